"""From the timings of `bench/bench_bn_relu_add.py` to figures, tables, and what became of the targets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deeptwins.drawing import DASHED, INK, MARKERS, STYLE, TWINS, WIDTH
from deeptwins.errors import line
from deeptwins.records import benchmarks
from deeptwins.tables import Table

BENCH = "bench_bn_relu_add"
AGAIN = "write it with `tox -e bench -- bench/bench_bn_relu_add.py`"
DIRECTIONS = ("forward", "forward+backward")
WORDS = ("dtype", "layout", "direction", "implementation", "timed", "device", "torch")
NUMBERS = ("bytes", "tensor_bytes", "copy_gb_per_s")
SETTING = ["nets", "site", "shape", "dtype", "layout", "direction"]  # timings are compared within one

SITES = ("join", "no join")
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 20, 50, 100)


@dataclass(frozen=True)
class Target:
    """At least so much in a column, in each of those rows of the Triton kernels that it is about."""

    text: str
    column: str
    least: float
    about: str
    """A query to the rows."""


TARGETS_ARE_FOR = ("H100", "H200")
_OF_RESNET_50 = "nets.str.contains('(?:^|, )resnet-50(?:,|$)') and dtype == 'bf16' and direction == 'forward+backward'"
TARGETS = (
    Target(
        "at least 90 % of a copy's bandwidth, tensors that exceed the L2 cache",
        "percent_of_copy",
        90,
        "tensor_bytes > l2_bytes",
    ),
    *(
        Target(
            f"at least {least} times as fast as {baseline}, ResNet-50's {places} in bf16, forward+backward",
            f"over_{baseline}",
            least,
            f"site == '{site}' and {_OF_RESNET_50}",
        )
        for places, site, baseline, least in (
            ("joins", "join", "compiled", 1.15),
            ("joins", "join", "eager", 1.6),
            ("other sites", "no join", "compiled", 1.2),
            ("other sites", "no join", "eager", 1.5),
        )
    ),
    Target("never slower than eager", "over_eager", 1, "over_eager > 0"),
)


def load(path: Path) -> pd.DataFrame:
    """Read what pytest-benchmark wrote: a row a timing, with the effective bandwidth and the speed-ups that it means.

    `gb_per_s` counts the bytes that the fused operation must move, whatever the implementation moves. `over_eager` and
    `over_compiled` are their times divided by this one, in the same setting; NaN where they were not timed.

    Raises:
        InputError: the file cannot be read, is damaged, or has no timing of the fused operation.
    """
    timings = benchmarks.read([path], AGAIN).of(BENCH)
    try:
        frame = pd.DataFrame(map(_row, timings.content["benchmarks"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise timings.refused(f"damaged, or not pytest-benchmark's ({line(repr(error))})") from None
    if frame.empty:
        raise timings.refused(f"no timing of {BENCH}")
    frame["gb_per_s"] = frame["bytes"] / frame["median_s"] / 1e9
    frame["percent_of_copy"] = 100 * frame["gb_per_s"] / frame["copy_gb_per_s"]
    for baseline in ("eager", "compiled"):
        times = frame[frame["implementation"] == baseline].drop_duplicates(SETTING).set_index(SETTING)["median_s"]
        frame[f"over_{baseline}"] = frame.join(times.rename("baseline_s"), on=SETTING)["baseline_s"] / frame["median_s"]
    return frame


def _row(benchmark: Mapping[str, Any]) -> dict[str, str | float]:
    """Flatten a timing; what is missing or makes no sense raises."""
    info, stats = benchmark["extra_info"], benchmark["stats"]
    words = {key: str(info[key]) for key in WORDS}
    numbers = {key: float(info[key]) for key in NUMBERS}
    numbers |= {f"{key}_s": float(stats[key]) for key in ("median", "q1", "q3")}
    if wrong := [key for key, value in numbers.items() if not 0 < value < math.inf]:
        raise ValueError(f"{wrong[0]} = {numbers[wrong[0]]}")
    if words["direction"] not in DIRECTIONS:
        raise ValueError(f"direction = {words['direction']}")
    return {
        "nets": ", ".join(info["nets"]),
        "site": SITES[0] if info["join"] else SITES[1],
        "shape": "x".join(str(int(size)) for size in info["shape"]),
        "l2_bytes": math.nan if info["l2_bytes"] is None else float(info["l2_bytes"]),  # a CPU's is not known
        **words,
        **numbers,
    }


def roofline(frame: pd.DataFrame) -> Figure:
    """Draw effective bandwidth against bytes moved: a panel a direction; the roof is the bandwidth of a copy."""
    directions = [direction for direction in DIRECTIONS if (frame["direction"] == direction).any()]
    colours, markers, copy = _colours(frame), _markers(frame["site"]), frame["copy_gb_per_s"].max()
    wide = frame["bytes"].max() > 50 * frame["bytes"].min()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout=ConstrainedLayoutEngine(h_pad=0.06))
        axes = figure.subplots(1, len(directions), sharex=True, sharey=True, squeeze=False).flatten()
        for direction, ax in zip(directions, axes, strict=True):
            ax.axhline(copy, color=INK, linewidth=0.8, linestyle=DASHED)
            ax.set(title=direction, xscale="log")
            _dots(ax, frame[frame["direction"] == direction], ("bytes", "gb_per_s", "site"), colours, markers)
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
        _legend(figure, colours, markers)
    return figure


def speedups(frame: pd.DataFrame) -> Figure:
    """Draw how many times as fast as eager the others are: joins and other sites apart, a row of panels a data type."""
    colours, markers = _colours(frame), _markers(frame["direction"])
    if len(colours) > 1:
        colours.pop("eager", None)
    table = frame[frame["implementation"].isin(colours)].assign(kind=frame["dtype"] + ", " + frame["layout"])
    kinds, sites = list(dict.fromkeys(table["kind"])), sorted(set(table["site"]))
    heights = [table[table["kind"] == kind].groupby("site")["shape"].nunique().max() for kind in kinds]
    with mpl.rc_context({**STYLE, "axes.grid.axis": "both"}):
        size = WIDTH, 1.0 + sum(0.5 + 0.19 * height for height in heights)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.06))
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
                _site_by_site(ax, panel, colours, markers)
                lowest = ax
            lowest.tick_params(labelbottom=True)
        figure.supxlabel("times as fast as eager")
        _legend(figure, colours, markers)
    return figure


def _site_by_site(ax: Axes, panel: pd.DataFrame, colours: dict[str, str], markers: dict[str, str]) -> None:
    """Draw the speed-ups of one panel, a line a site, on which the directions are a little apart."""
    lines = {shape: i for i, shape in enumerate(dict.fromkeys(panel["shape"]))}
    aside = panel["direction"].map({DIRECTIONS[0]: -0.12, DIRECTIONS[1]: 0.12})
    panel = panel.assign(line=panel["shape"].map(lines) + aside)
    ax.axvline(1, color=INK, linewidth=0.8)
    _dots(ax, panel, ("over_eager", "line", "direction"), colours, markers)
    ax.set(xlabel="", ylabel="")
    ax.set_yticks([*lines.values()], [*lines])


def tables(frame: pd.DataFrame) -> tuple[Table, ...]:
    """Tabulate the targets, the speed-ups, the times, and what they were measured on."""
    return _targets(frame), _speedups(frame), _times(frame), _machine(frame)


def _targets(frame: pd.DataFrame) -> Table:
    """Check each target on each row it is about: the worst one decides."""
    here = frame["device"].str.contains("|".join(TARGETS_ARE_FOR)).all()
    triton = frame[frame["implementation"] == "triton"]
    rows = []
    for target in TARGETS:
        found = triton.query(target.about, engine="python").dropna(subset=target.column)
        found = found.sort_values(target.column, kind="stable")
        if not here or found.empty:
            rows.append([target.text, "-", "-", "-", "not measured here"])
            continue
        worst, values = found.iloc[0], found[target.column]
        place = ", ".join(worst[["site", "shape", "dtype", "layout", "direction"]])
        mark = "✓ met" if values.iloc[0] >= target.least else "✗ missed"
        met = f"{(values >= target.least).sum()} of {len(values)}"
        rows.append([target.text, f"{values.iloc[0]:.2f} ({place})", f"{values.median():.2f}", met, mark])
    heads = ("target of the Triton kernels", "least", "median", "settings that meet it", "result")
    return Table(f"Targets for an {' or '.join(TARGETS_ARE_FOR)}; each setting must meet them", heads, rows, 5)


def _speedups(frame: pd.DataFrame) -> Table:
    columns = {
        f"{name}, times as fast as {baseline}": (name, f"over_{baseline}", "{:.2f}")
        for baseline in ("eager", "compiled")
        for name in dict.fromkeys(frame["implementation"])
        if name not in {"eager", baseline}
    }
    columns |= {
        f"{name}, % of a copy's bandwidth": (name, "percent_of_copy", "{:.0f}")
        for name in dict.fromkeys(frame["implementation"])
    }
    return _table("Speed-ups, and effective bandwidth beside that of a copy", frame, columns)


def _times(frame: pd.DataFrame) -> Table:
    microseconds = frame[["median_s", "q1_s", "q3_s"]] * 1e6
    cells = [f"{median:,.1f} ({q1:,.1f} to {q3:,.1f})" for median, q1, q3 in microseconds.to_numpy()]
    columns = {f"{name} (µs)": (name, "cell", "{}") for name in dict.fromkeys(frame["implementation"])}
    return _table("Times of a call: median, first and third quartile", frame.assign(cell=cells), columns)


def _table(caption: str, frame: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]]) -> Table:
    """Tabulate settings; a column, by its head, is a value of an implementation and how to write it."""
    rows = []
    for setting, timings in frame.groupby(SETTING, sort=False):
        of = {timing["implementation"]: timing for timing in timings.to_dict("records")}
        cells = [(of.get(name, {}).get(key), form) for name, key, form in columns.values()]
        rows.append([*map(str, setting), *("-" if pd.isna(value) else form.format(value) for value, form in cells)])
    return Table(caption, (*SETTING, *columns), rows, len(SETTING))


def _machine(frame: pd.DataFrame) -> Table:
    speeds = (f"{speed:,.0f} GB/s" for speed in frame["copy_gb_per_s"])
    values = {"device": frame["device"], "torch": frame["torch"], "timed by": frame["timed"], "a copy": speeds}
    rows = [[what, "; ".join(dict.fromkeys(texts))] for what, texts in values.items()]
    return Table("What the timings were measured on", ("what", "value"), rows, 2)


def _colours(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(dict.fromkeys(frame["implementation"]), itertools.cycle(TWINS)))


def _markers(names: pd.Series) -> dict[str, str]:
    return dict(zip(sorted(set(names)), MARKERS, strict=False))


def _dots(
    ax: Axes, table: pd.DataFrame, columns: tuple[str, str, str], colours: dict[str, str], markers: dict[str, str]
) -> None:
    """Draw a dot a timing at two of the columns, its colour the implementation, its marker by the third."""
    x, y, style = columns
    sns.scatterplot(
        table, x=x, y=y, hue="implementation", style=style, palette=colours, markers=markers, s=36, alpha=0.8,
        linewidth=0, legend=False, ax=ax,
    )  # fmt: skip


def _legend(figure: Figure, colours: dict[str, str], markers: dict[str, str]) -> None:
    marks: dict[str, Any] = {"linestyle": "", "markersize": 6}
    handles = [Line2D([], [], marker="o", color=colour, label=name, **marks) for name, colour in colours.items()]
    handles += [Line2D([], [], marker=marker, color=INK, label=name, **marks) for name, marker in markers.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.2, handletextpad=0.2)


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
