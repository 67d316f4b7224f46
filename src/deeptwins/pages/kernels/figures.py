"""From the metrics of compiled kernels and their timings to figures; none computes a number that the text prints."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deeptwins.pages import colours, drawing, marks
from deeptwins.pages.colours import DASHED, INK, MARKERS, PASSES
from deeptwins.pages.drawing import Picture
from deeptwins.pages.kernels import tables
from deeptwins.pages.kernels.timings import DIRECTIONS
from deeptwins.pages.tables import span
from deeptwins.pages.wording import count, digits, listed
from deeptwins.records.benchmarks import distinct

# Warps by registers per thread: for so many the 64 Ki registers of a multiprocessor are enough.
REGISTERS = {32: 64, 64: 32, 128: 16, 255: 8}
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 20, 50, 100)


def registers(kernels: pd.DataFrame) -> Picture:
    """Draw registers per thread: a panel per kernel, a column per architecture and layout, a dot per compilation."""
    archs = {arch: i for i, arch in enumerate(dict.fromkeys(kernels["arch"]))}
    layouts = list(dict.fromkeys(kernels["layout"]))
    with drawing.styled():
        figure, axes = drawing.panels(kernels["kernel"], 4, 3.2, most=4)
        hues = colours.of_kinds(layouts)
        for ax, panel in drawing.by_panel(axes, kernels, "kernel"):
            for i, layout in enumerate(layouts):
                dots = panel[panel["layout"] == layout]
                aside = 0.36 * (i - (len(layouts) - 1) / 2)
                style: dict[str, Any] = {"color": hues[layout], "marker": MARKERS[i], "alpha": 0.5, "linewidths": 0}
                name = tables.LAYOUT_NAMES[layout]
                ax.scatter(dots["arch"].map(archs) + aside, dots["registers"], s=20, label=name, **style)
                for (arch, number), same in dots.groupby(["arch", "registers"], sort=False):
                    what = f"{same['kernel'].iloc[0]}, {name}, {arch}: {number} registers per thread"
                    marks.tell(ax, archs[arch] + aside, number, [f"{what}; {count(len(same), 'compilation')}"])
            ax.set_xticks([*archs.values()], [arch.removeprefix("sm_") for arch in archs])
            ax.set_xlim(-0.6, len(archs) - 0.4)
        first = next(iter(axes.values()))
        most = min(number for number in REGISTERS if number >= kernels["registers"].max())
        shown = {number: warps for number, warps in REGISTERS.items() if number <= most}
        first.set_ylim(0, 1.04 * most)
        first.set_yticks(list(shown), [f"{number}: {warps} warps" for number, warps in shown.items()])
        figure.supylabel("registers per thread")
        figure.supxlabel("architecture (sm_)")
        drawing.legend(figure, axes)
    caption = (
        "Each dot is a compiled kernel. The axis also says how many warps fit into the registers of a multiprocessor."
    )
    named = kernels.assign(layout=kernels["layout"].map(tables.LAYOUT_NAMES))
    alt = f"Registers per thread. {drawing.read_out(named, ['kernel', 'layout'], _registers_in_words)}"
    return Picture("registers", caption, alt, figure, ("kernels",))


def traffic(sites: pd.DataFrame) -> Picture:
    """Draw bytes per element: a panel per site, a bar per implementation, forward and backward."""
    sites = tables.compared(sites)
    with drawing.styled(axes__grid=False):
        figure, axes = drawing.panels(sites["site"], 3, 1.7)
        names = list(dict.fromkeys(sites["implementation"]))
        longest = (sites["bytes_per_element_forward"] + sites["bytes_per_element_backward"]).max()
        for ax, rows in drawing.by_panel(axes, sites, "site"):
            panel = rows.set_index("implementation").reindex(names)
            left = panel["bytes_per_element_forward"] * 0
            for name, colour in PASSES.items():
                width = panel[f"bytes_per_element_{name}"]
                ax.barh(names, width, left=left, height=0.6, color=colour, label=name)
                for i, (of, start, size) in enumerate(zip(names, left, width, strict=True)):
                    words = f"{panel['site'].iloc[i]}, {of}: {size:g} bytes per element {name}"
                    marks.tell_bar(ax, (start, start + size), (i - 0.3, i + 0.3), words)
                left = left + width
            for i, total in enumerate(left):
                ax.annotate(f"{total:g}", (total, i), (4, 0), textcoords="offset points", va="center", fontsize=9)
            ax.set_xlim(0, 1.18 * longest)
            ax.tick_params(left=False)
        next(iter(axes.values())).invert_yaxis()
        figure.supxlabel("bytes per element")
        drawing.legend(figure, axes)
    caption = f"Counted, not measured; {tables.COMPARED}. Sources are under Provenance."
    numbers = drawing.read_out(sites, ["site", "implementation"], _bytes_in_words)
    alt = f"Bytes per element in {tables.COMPARED}. {numbers}"
    return Picture("traffic", caption, alt, figure, ("sites",))


def floors(floors: pd.DataFrame, sites: pd.DataFrame) -> Picture:
    """Draw the modelled time, forward and backward together: a panel per site, a row per shape, a dot per GPU."""
    floors = tables.modelled(floors, sites)
    with drawing.styled(axes__grid__axis="both"):
        figure, axes = drawing.panels(floors["site"], 2, 2.2)
        shapes, hues = list(dict.fromkeys(floors["shape"])), colours.of_kinds(floors["device"])
        for ax, panel in drawing.by_panel(axes, floors, "site"):
            for i, (device, dots) in enumerate(panel.groupby("device", sort=False)):
                rows = dots["shape"].map(shapes.index)
                ax.scatter(dots["total_us"], rows, s=38, color=hues[device], marker=MARKERS[i], label=device)
                of = f"{dots['site'].iloc[0]}, {device}"
                words = [
                    f"{of}, {shape}: {total:,.1f} microseconds (model)"
                    for shape, total in zip(dots["shape"], dots["total_us"], strict=True)
                ]
                marks.tell(ax, dots["total_us"], rows, words)
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1.0,)))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xlim(10 ** math.floor(math.log10(floors["total_us"].min())), 1.6 * floors["total_us"].max())
        first = next(iter(axes.values()))
        first.set_yticks(range(len(shapes)), shapes)
        first.set_ylim(len(shapes) - 0.4, -0.6)
        figure.supxlabel("microseconds, forward and backward (model)")
        drawing.legend(figure, axes)
    caption = f"Model, no measurement: the fused operation's bytes at peak bandwidth; {tables.COMPARED}."
    times = drawing.read_out(floors, ["site", "shape"], _times_in_words)
    alt = f"Model of the time in microseconds, forward and backward, {tables.COMPARED}. {times}"
    return Picture("floors", caption, alt, figure, ("floors",))


def roofline(frame: pd.DataFrame) -> Picture:
    """Draw effective bandwidth against bytes moved: a panel per direction; the roof is the bandwidth of a copy."""
    directions = [direction for direction in DIRECTIONS if (frame["direction"] == direction).any()]
    hues, markers = colours.of_kinds(frame["implementation"]), _markers(frame["site"])
    copy = frame["copy_gb_per_s"].max()
    wide = frame["bytes"].max() > 50 * frame["bytes"].min()
    with drawing.styled():
        figure = drawing.canvas(3.6)
        axes = figure.subplots(1, len(directions), sharex=True, sharey=True, squeeze=False).flatten()
        for direction, ax in zip(directions, axes, strict=True):
            ax.axhline(copy, color=INK, linewidth=0.8, linestyle=DASHED)
            ax.set(title=direction, xscale="log")
            _dots(ax, frame[frame["direction"] == direction], ("bytes", "gb_per_s", "site"), hues, markers)
            ax.set(xlabel="bytes that a call must move", ylabel="")
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _size(x)))
            ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.margins(x=0.1)
        axes[0].set_ylim(0, 1.12 * max(copy, frame["gb_per_s"].max()))
        axes[0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
        axes[0].annotate(
            f"a copy: {copy:,.0f} GB/s",
            (0, copy),
            (3, 3),
            xycoords=axes[0].get_yaxis_transform(),
            textcoords="offset points",
            fontsize=9,
        )
        figure.supylabel("effective bandwidth (GB/s)")
        device = distinct(frame["device"])
        _key(figure, hues, markers, f"Measured on {device}")
    best = frame.groupby("implementation", sort=False)["percent_of_copy"].max()
    reached = ", ".join(f"{name} {percent:.0f} %" for name, percent in best.items())
    alt = f"Effective bandwidth against bytes moved, measured on {device}. At most, as a share of a copy's: {reached}."
    return Picture("roofline", "Each dot is a timing; the line is the bandwidth of a copy.", alt, figure, ("timings",))


def speedups(frame: pd.DataFrame) -> Picture:
    """Draw how many times as fast as eager the others are: a column of panels per kind of site, a row per data type."""
    hues, markers = colours.of_kinds(frame["implementation"]), _markers(frame["direction"])
    if len(hues) > 1:
        hues.pop("eager", None)
    table = frame[frame["implementation"].isin(hues)].assign(kind=frame["dtype"] + ", " + frame["layout"])
    kinds, sites = list(dict.fromkeys(table["kind"])), sorted(set(table["site"]))
    heights = [table[table["kind"] == kind].groupby("site")["shape"].nunique().max() for kind in kinds]
    with drawing.styled(axes__grid__axis="both"):
        figure = drawing.canvas(1.0 + sum(0.5 + 0.19 * height for height in heights))
        grid = figure.subplots(len(kinds), len(sites), sharex=True, squeeze=False, height_ratios=heights)
        _ratio_axis(grid[0, 0], [1.0, *frame["over_eager"].dropna()])
        for site, column in zip(sites, grid.T, strict=True):
            lowest = column[0]
            for kind, height, ax in zip(kinds, heights, column, strict=True):
                panel = table[(table["kind"] == kind) & (table["site"] == site)]
                if panel.empty:
                    ax.remove()
                    continue
                ax.set(title=f"{site}, {kind}", ylim=(height - 0.4, -0.6))
                _site_by_site(ax, panel, hues, markers)
                lowest = ax
            lowest.tick_params(labelbottom=True)
        figure.supxlabel("times as fast as eager")
        device = distinct(frame["device"])
        _key(figure, hues, markers, f"Measured on {device}")
    medians = frame[frame["implementation"] != "eager"].groupby("implementation", sort=False)["over_eager"].median()
    faster = ", ".join(f"{name} {ratio:.2f}" for name, ratio in medians.items())
    alt = f"Times as fast as eager, measured on {device}, by site, data type and layout. Median: {faster}."
    return Picture(
        "speedups", "Each dot is a timing, relative to eager at the same setting.", alt, figure, ("timings",)
    )


def _site_by_site(ax: Axes, panel: pd.DataFrame, hues: dict[str, str], markers: dict[str, str]) -> None:
    """Draw the speed-ups of one panel, a line per shape, on which the directions are a little apart."""
    lines = {shape: i for i, shape in enumerate(dict.fromkeys(panel["shape"]))}
    aside = panel["direction"].map({DIRECTIONS[0]: -0.12, DIRECTIONS[1]: 0.12})
    panel = panel.assign(line=panel["shape"].map(lines) + aside)
    ax.axvline(1, color=INK, linewidth=0.8)
    _dots(ax, panel, ("over_eager", "line", "direction"), hues, markers)
    ax.set(xlabel="", ylabel="")
    ax.set_yticks([*lines.values()], [*lines])


def _markers(names: pd.Series) -> dict[str, str]:
    return dict(zip(sorted(set(names)), MARKERS, strict=False))


def _dots(
    ax: Axes, table: pd.DataFrame, columns: tuple[str, str, str], hues: dict[str, str], markers: dict[str, str]
) -> None:
    """Draw a dot per timing at two of the columns; its colour is the implementation, its marker the third column."""
    x, y, style = columns
    sns.scatterplot(
        table, x=x, y=y, hue="implementation", style=style, palette=hues, markers=markers, s=36, alpha=0.8,
        linewidth=0, legend=False, ax=ax,
    )  # fmt: skip
    marks.tell(ax, table[x], table[y], [_timing_in_words(row) for row in table.to_dict("records")])


def _key(figure: Figure, hues: dict[str, str], markers: dict[str, str], heading: str) -> None:
    look: dict[str, Any] = {"linestyle": "", "markersize": 6}
    handles = [Line2D([], [], marker="o", color=colour, label=name, **look) for name, colour in hues.items()]
    handles += [Line2D([], [], marker=marker, color=INK, label=name, **look) for name, marker in markers.items()]
    layout: dict[str, Any] = {"ncols": len(handles), "columnspacing": 1.2, "handletextpad": 0.2, "alignment": "left"}
    bold = {"weight": "bold", "size": 10}
    figure.legend(handles=handles, loc="outside upper left", title=heading, title_fontproperties=bold, **layout)


def _timing_in_words(row: Mapping[Hashable, Any]) -> str:
    setting = f"{row['implementation']}, {row['direction']}, {row['site']}, {row['shape']}, {row['dtype']}"
    median, *quartiles = (digits(1e3 * row[key]) for key in ("median_s", "q1_s", "q3_s"))
    rate = f"{row['gb_per_s']:,.0f} GB/s, {row['over_eager']:.2f} times as fast as eager"
    return f"{setting}, {row['layout']}: {median} ms (quartiles {' to '.join(quartiles)}), {rate}"


def _ratio_axis(ax: Axes, ratios: list[float]) -> None:
    """Scale ratios by their logarithm, so that half as fast lies as far from 1 as twice as fast."""
    margin = (max(ratios) / min(ratios)) ** 0.05 * 1.02
    low, high = min(ratios) / margin, max(ratios) * margin
    ticks = [1.0]
    for tick in (*(ratio for ratio in RATIOS if ratio > 1), *(ratio for ratio in reversed(RATIOS) if ratio < 1)):
        if low <= tick <= high and all(abs(math.log(tick / other)) > 0.07 * math.log(high / low) for other in ticks):
            ticks.append(tick)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())


def _size(count: float) -> str:
    """Return a number of bytes as text."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:g} {unit}"
    return f"{count:g} B"


def _registers_in_words(kernels: pd.DataFrame) -> str:
    archs = kernels.groupby("arch", sort=False)["registers"]
    return listed(f"{span(registers)} on {arch}" for arch, registers in archs)


def _bytes_in_words(passes: pd.DataFrame) -> str:
    return ", ".join(f"{passes[f'bytes_per_element_{way}'].iloc[0]:g} {way}" for way in PASSES)


def _times_in_words(devices: pd.DataFrame) -> str:
    return listed(f"{row['total_us']:,.1f} on {row['device']}" for row in devices.to_dict("records"))
