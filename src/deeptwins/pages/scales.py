"""Axes of figures: depth, iterations, errors, powers of ten."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from deeptwins.pages.drawing import MOST_DEPTHS, WIDTH, Panels

DECADES = 8  # between ticks of a logarithmic axis, at most


def depth_axis(ax: Axes, depths: pd.Series) -> None:
    """Put a tick at each depth, beginning with the deepest; leave out those whose labels would touch the one before."""
    *others, deepest = sorted(set(depths))
    grid = ax.get_subplotspec().get_gridspec()  # type: ignore[union-attr]
    room = (WIDTH / grid.ncols - 1.1) / max(1.16 * (deepest - min([*others, deepest])), 1)  # inches for one layer more
    ticks = [deepest]
    for depth in reversed(others):
        if (ticks[0] - depth) * room > 0.1 + 0.08 * len(str(ticks[0])):
            ticks.insert(0, depth)
    ax.set_xlabel("depth")
    ax.set_xticks(ticks)
    ax.margins(x=0.08)


def depth_bar(figure: Figure, axes: Panels, colours: dict[Any, Any]) -> None:
    """Draw a bar of the colours of many depths beside all panels."""
    norm = BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours))
    mappable = ScalarMappable(norm, ListedColormap([*colours.values()]))
    bar = figure.colorbar(mappable, ax=[*axes.values()], aspect=40, pad=0.02, label="depth")
    ticks = range(len(colours) - 1, -1, -len(colours) // MOST_DEPTHS)
    bar.set_ticks([*ticks], labels=[str([*colours][i]) for i in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.grid(visible=False)
    if bar.solids is not None:  # drawn as shapes, however many, so that shades of ink follow the page
        bar.solids.set_rasterized(False)
    bar.outline.set_visible(False)


def iteration_axis(ax: Axes) -> None:
    """Count iterations from 0."""
    ax.set(xlabel="iteration", ylabel="", xlim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def share_axis(axes: Panels, values: NDArray[np.float64]) -> None:
    """Scale by powers of ten; where there are zeros, they get a place of their own, a decade below the rest."""
    first = next(iter(axes.values()))
    positive, zeros = values[values > 0], bool((values == 0).any())
    least, most = (np.floor(np.log10(positive.min())), np.ceil(np.log10(positive.max()))) if len(positive) else (-1, 0)
    most = max(most, least + 1)
    if zeros:
        first.set_yscale("symlog", linthresh=10.0**least)
    else:
        first.set_yscale("log")
    exponents = range(int(least), int(most) + 1, int(np.ceil((most - least) / DECADES)))
    ticks = {10.0**exponent: f"1e{exponent}" if exponent else "1" for exponent in exponents}
    ticks |= {0.0: "0"} if zeros else {}
    first.set_yticks(list(ticks), list(ticks.values()))
    first.yaxis.set_minor_locator(NullLocator())
    first.set_ylim(-0.2 * 10.0**least if zeros else 10.0**least, 10.0**most)


def error_axis(figure: Figure, axes: Panels, label: str, values: Iterable[float], *, across: bool = False) -> None:
    """Choose the scale of an axis of errors: linear, or square root where the lowest errors would else lie on the axis.

    The axis is y, which the panels share, or, with `across`, x in each panel.
    """
    shown = [value for value in values if np.isfinite(value)]
    top = max(1.05 * max(shown), 0.1)
    ticks = [0.0]
    for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 100):
        if tick <= top and np.sqrt(tick) - np.sqrt(ticks[-1]) > 0.09 * np.sqrt(top):
            ticks.append(tick)
    root = top > 6 * min(shown)
    for ax in axes.values() if across else list(axes.values())[:1]:
        axis = ax.xaxis if across else ax.yaxis
        if root:
            # Unlike a logarithm, the root has room for 0 % and keeps large differences looking large.
            scale = ax.set_xscale if across else ax.set_yscale
            scale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_minor_locator(NullLocator())
        ax.set(**{"xlim" if across else "ylim": (0, top)})
    text = f"{label} (%{', root scale' if root else ''})"
    figure.supxlabel(text) if across else figure.supylabel(text)


def name_x_once(axes: Panels) -> None:
    """Leave the name of the x axis to the lowest panel of each column."""
    lowest = {ax.get_subplotspec().colspan.start: ax for ax in axes.values()}  # type: ignore[union-attr]
    for ax in axes.values():
        if ax not in lowest.values():
            ax.set_xlabel("")
