"""From the metrics of compiled kernels to figures; none computes a number that the text prints."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deeptwins.drawing import MARKERS, STYLE, TWINS, WIDTH

LAYOUTS = {"channels_last": "channels last", "contiguous": "channels first"}
REGISTERS = {32: 64, 64: 32, 128: 16, 255: 8}  # a thread, and the warps that 64 Ki registers are then enough for
PASSES = {"forward": "#2580c8", "backward": "#d55e00"}


def registers(kernels: pd.DataFrame) -> Figure:
    """Draw registers a thread: a panel a kernel, a column an architecture and layout, a dot a compiled kernel."""
    archs = {arch: i for i, arch in enumerate(dict.fromkeys(kernels["arch"]))}
    layouts = list(dict.fromkeys(kernels["layout"]))
    with mpl.rc_context(STYLE):
        figure, axes = _panels(kernels["kernel"], 4, 3.2)
        for kernel, ax in axes.items():
            for i, layout in enumerate(layouts):
                dots = kernels[(kernels["kernel"] == kernel) & (kernels["layout"] == layout)]
                x = dots["arch"].map(archs) + 0.36 * (i - (len(layouts) - 1) / 2)
                style: dict[str, Any] = {"color": TWINS[i], "marker": MARKERS[i], "alpha": 0.5, "linewidths": 0}
                ax.scatter(x, dots["registers"], s=20, label=LAYOUTS[layout], **style)
            ax.set_xticks([*archs.values()], [arch.removeprefix("sm_") for arch in archs])
            ax.set_xlim(-0.6, len(archs) - 0.4)
        first = next(iter(axes.values()))
        most = min(number for number in REGISTERS if number >= kernels["registers"].max())
        shown = {number: warps for number, warps in REGISTERS.items() if number <= most}
        first.set_ylim(0, 1.04 * most)
        first.set_yticks(list(shown), [f"{number}: {warps} warps" for number, warps in shown.items()])
        figure.supylabel("registers a thread")
        figure.supxlabel("architecture (sm_)")
        _legend(figure, axes)
    return figure


def traffic(sites: pd.DataFrame) -> Figure:
    """Draw bytes an element: a panel a site, a bar an implementation, forward and backward."""
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = _panels(sites["site"], 3, 1.7)
        names = list(dict.fromkeys(sites["implementation"]))
        longest = (sites["bytes_per_element_forward"] + sites["bytes_per_element_backward"]).max()
        for site, ax in axes.items():
            panel = sites[sites["site"] == site].set_index("implementation").reindex(names)
            left = panel["bytes_per_element_forward"] * 0
            for name, colour in PASSES.items():
                width = panel[f"bytes_per_element_{name}"]
                ax.barh(names, width, left=left, height=0.6, color=colour, label=name)
                left = left + width
            for i, total in enumerate(left):
                ax.annotate(f"{total:g}", (total, i), (4, 0), textcoords="offset points", va="center", fontsize=9)
            ax.set_xlim(0, 1.18 * longest)
            ax.tick_params(left=False)
        next(iter(axes.values())).invert_yaxis()
        figure.supxlabel("bytes an element")
        _legend(figure, axes)
    return figure


def floors(floors: pd.DataFrame) -> Figure:
    """Draw the modelled time, forward and backward together: a panel a site, a row a shape, a dot a GPU."""
    with mpl.rc_context({**STYLE, "axes.grid.axis": "both"}):
        figure, axes = _panels(floors["site"], 2, 2.2)
        shapes = list(dict.fromkeys(floors["shape"]))
        for site, ax in axes.items():
            panel = floors[floors["site"] == site]
            for i, (device, dots) in enumerate(panel.groupby("device", sort=False)):
                rows = dots["shape"].map(shapes.index)
                ax.scatter(dots["total_us"], rows, s=38, color=TWINS[i], marker=MARKERS[i], label=device)
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1.0,)))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xlim(10 ** math.floor(math.log10(floors["total_us"].min())), 1.6 * floors["total_us"].max())
        first = next(iter(axes.values()))
        first.set_yticks(range(len(shapes)), shapes)
        first.set_ylim(len(shapes) - 0.4, -0.6)
        figure.supxlabel("microseconds, forward and backward (model)")
        _legend(figure, axes)
    return figure


def _panels(titles: Iterable[str], columns: int, height: float) -> tuple[Figure, dict[str, Axes]]:
    """Lay out one panel a title, with common y."""
    names = list(dict.fromkeys(titles))
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH, height * rows + 0.3), layout=ConstrainedLayoutEngine(h_pad=0.06))
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for ax in grid[len(names) :]:
        ax.remove()
    for name, ax in zip(names, grid, strict=False):
        ax.set_title(name)
    return figure, dict(zip(names, grid, strict=False))


def _legend(figure: Figure, axes: dict[str, Axes]) -> None:
    handles, labels = next(iter(axes.values())).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
