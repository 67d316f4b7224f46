"""From findings to figures; none computes a number that the text prints. `svg` fits a file to light and dark pages."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Panels = dict[str, Axes]
End = tuple[str, float, float, str, Any]  # of a line: panel, x, y, text beside it, colour

# Near Okabe and Ito's hues: told apart by the colour-blind, and at least 3:1 against white and GitHub's dark page.
TWINS = ("#d55e00", "#2580c8", "#0a9a74", "#c06c9c", "#8a8a8a")
MARKERS = ("o", "s", "^", "D", "v", "P")
# Depth is ordered, so its colours are a ramp; of one lightness, so that both ends stand out on white and on dark.
DEPTHS = ("#2580c8", "#8c6bd1", "#cc5a8e", "#d55e00")
CHANCE = "#8a8a8a"
DASHED = (0, (3, 1.5))
DECADES = 8  # between ticks of a logarithmic axis, at most
INK = "#010203"  # stands for the page's own text colour: `svg` puts currentColor in its place
INK_LIGHT, INK_DARK = "#1f2328", "#e6edf3"  # where a page does not give one: GitHub's
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

COLUMNS = 3  # panels side by side, at most
WIDTH = 7.6  # inches: shown at 96 px an inch the figure fills a page's column, and its text has the size it says

STYLE: Any = {
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "grid.color", "xtick.color", "ytick.color"), INK
    ),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "figure.labelsize": 9.5,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the layout is the same on every machine
    "grid.alpha": 0.15,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "deeptwins",
    "text.parse_math": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "ytick.major.size": 0,
}


def error_by_depth(by_depth: pd.DataFrame, final: pd.DataFrame) -> Figure:
    """Draw training error against depth: a panel a family, a line a twin, 95 % intervals, seeds as faint dots."""
    table = by_depth[by_depth["metric"] == "train_error_pct"]
    with _style():
        figure, axes = _panels(table["group"])
        twins = _colours(table["twin"], TWINS)
        ends: list[End] = []
        for group, ax in axes.items():
            panel, seeds = table[table["group"] == group], final[final["group"] == group]
            step = 0.015 * (panel["depth"].max() - panel["depth"].min())  # so that intervals do not hide each other
            for i, (twin, colour) in enumerate(twins.items()):
                aside = step * (i - (len(twins) - 1) / 2)
                dots, line = seeds[seeds["twin"] == twin], panel[panel["twin"] == twin]
                ax.scatter(dots["depth"] + aside, dots["train_error_pct"], s=7, color=colour, alpha=0.6, linewidths=0)
                _points(ax, line, "mean", aside, color=colour, marker=MARKERS[i % len(MARKERS)], label=twin)
                right = panel["depth"].max() + step * (len(twins) - 1) / 2
                ends += [(group, right, mean, f"{mean:.1f} %", colour) for mean in line["mean"].tail(1)]
            _depth_axis(ax, panel["depth"])
        _error_axis(
            figure, axes, "training error", [*table["mean"], *table["high"].dropna(), *final["train_error_pct"]]
        )
        _label_ends(figure, axes, ends)
        _legend(figure, axes)
    return figure


def learning_curves(curves: pd.DataFrame) -> Figure:
    """Draw errors against iterations, mean over seeds: a panel a family and twin, training dashed, test bold."""
    table = curves.assign(panel=curves["group"] + ": " + curves["twin"])
    with _style():
        figure, axes = _panels(table["panel"], columns=min(table["twin"].nunique(), COLUMNS))
        depths = _colours(table["depth"].sort_values(), sns.blend_palette(DEPTHS, table["depth"].nunique()))
        for title, ax in axes.items():
            lines: dict[str, Any] = {"data": table[table["panel"] == title], "x": "iteration", "hue": "depth"}
            lines |= {"palette": depths, "errorbar": None, "legend": False, "ax": ax}
            sns.lineplot(**lines, y="train_error_pct", linewidth=1.0, linestyle=DASHED)
            sns.lineplot(**lines, y="test_error_pct", linewidth=1.9)
            _iteration_axis(ax)
        _error_axis(figure, axes, "error", [*table["train_error_pct"], *table["test_error_pct"]])
        last = table.groupby(["panel", "depth"], sort=False).tail(1)
        ends = zip(last["panel"], last["iteration"], last["test_error_pct"], last["depth"], strict=True)
        _label_ends(figure, axes, [(panel, x, y, str(depth), depths[depth]) for panel, x, y, depth in ends])
        first = next(iter(axes.values()))
        first.plot([], [], color=INK, linewidth=1.9, label="test")
        first.plot([], [], color=INK, linewidth=1.0, linestyle=DASHED, label="training")
        _legend(figure, axes, "the number at a line's end is its depth")
    return figure


def gap_by_depth(gaps: pd.DataFrame) -> Figure:
    """Draw the difference in training error between twins against depth, paired by seed, with 95 % intervals."""
    table = gaps[gaps["metric"] == "train_error_pct"]
    with _style():
        figure, axes = _panels(table["group"], height=2.3)
        colours = _colours(table["gap"], TWINS[1:] if table["gap"].nunique() > 1 else [INK])
        for group, ax in axes.items():
            panel = table[table["group"] == group]
            for i, (gap, colour) in enumerate(colours.items()):
                line = panel[panel["gap"] == gap]
                _points(ax, line, "difference", color=colour, marker=MARKERS[i % len(MARKERS)], label=gap)
            ax.axhline(0, color=INK, linewidth=0.8)
            ax.spines.bottom.set_visible(False)
            _depth_axis(ax, panel["depth"])
        figure.supylabel("gap (points)")
        _legend(figure, axes)
    return figure


def drift(drift: pd.DataFrame, final: pd.DataFrame) -> Figure:
    """Draw how far the loss traces of twins lie apart: a panel a family and depth, a line a pair, in the twin's colour.

    The line is the median over seeds, the band reaches to the largest; dashed, the same between two seeds: chance.
    """
    table = drift.assign(panel=drift["group"] + ", depth " + drift["depth"].astype(str))
    with _style():
        figure, axes = _panels(table["panel"])
        colours = _colours(final["twin"], TWINS)
        pairs = dict.fromkeys(zip(table["twin"], table["other"], strict=True))
        for title, ax in axes.items():
            panel = table[table["panel"] == title]
            for i, (twin, other) in enumerate(pairs):
                line = panel[(panel["twin"] == twin) & (panel["other"] == other)]
                x, colour = line["iteration"], colours[twin]
                ax.fill_between(x, line["median"], line["largest"], color=colour, alpha=0.2, linewidth=0)
                style: dict[str, Any] = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "markersize": 5}
                ax.plot(x, line["median"], label=f"{twin} and {other}", linewidth=1.6, **style)
            for other in dict.fromkeys(table.dropna(subset="between_seeds")["other"]):
                line = panel[panel["other"] == other].drop_duplicates("iteration").dropna(subset="between_seeds")
                style = {"color": CHANCE, "linewidth": 1.6, "linestyle": DASHED}
                ax.plot(line["iteration"], line["between_seeds"], label=f"two seeds of {other}", **style)
            _iteration_axis(ax)
        _share_axis(axes, table[["median", "largest", "between_seeds"]].to_numpy(float))
        figure.supylabel("difference (share of the loss)")
        _legend(figure, axes)
    return figure


def layer_responses(responses: pd.DataFrame) -> Figure:
    """Draw the standard deviation of each 3x3 layer's response, mean over seeds: a panel a family, a line a net."""
    with _style():
        figure, axes = _panels(responses["group"])
        twins = _colours(responses["twin"], TWINS)
        ends: list[End] = []
        for group, ax in axes.items():
            panel = responses[responses["group"] == group]
            for depth in panel["depth"].unique():
                for twin, colour in twins.items():
                    net = panel[(panel["depth"] == depth) & (panel["twin"] == twin)]
                    width = 0.8 + 1.1 * (depth / responses["depth"].max()) ** 2
                    end: dict[str, Any] = {"marker": "o", "markersize": 3, "markevery": [-1]}
                    label = twin if depth == panel["depth"].max() else None
                    ax.plot(net["layer"], net["response_std"], color=colour, linewidth=width, label=label, **end)
                    last = zip(net["layer"].tail(1), net["response_std"].tail(1), strict=True)
                    ends += [(group, x, y, str(depth), colour) for x, y in last]
            ax.set_xlabel("layer")
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        next(iter(axes.values())).set_ylim(0, None)
        figure.supylabel("standard deviation")
        _label_ends(figure, axes, ends)
        _legend(figure, axes, "the number at a line's end is its depth")
    return figure


def svg(figure: Figure, name: str, alt: str) -> str:
    """Render a figure as standalone SVG whose ink follows the reader's light or dark mode. Same figure, same text."""
    buffer = io.StringIO()
    with _style():
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", text)  # figures that share a page share no id
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONTS, text).replace(INK, "currentColor")
    # `svg:root` is the figure where it stands alone; inside a page it takes the page's colour.
    style = f"svg:root{{color:{INK_LIGHT}}}@media(prefers-color-scheme:dark){{svg:root{{color:{INK_DARK}}}}}"
    start, rest = text.split(">", 1)
    start += f' role="img" aria-labelledby="{name}-title" stroke-linejoin="round">'
    return f'{start}\n<title id="{name}-title">{escape(alt)}</title>\n<style>{style}</style>{rest}'


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(STYLE)


def _panels(titles: pd.Series, columns: int = COLUMNS, height: float = 3.0) -> tuple[Figure, Panels]:
    """Lay out one panel a title, with common y: the families are there to be compared."""
    names = list(dict.fromkeys(titles))
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH, height * rows + 0.3), layout=ConstrainedLayoutEngine(h_pad=0.06))
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for ax in axes[len(names) :]:
        ax.remove()
    for name, ax in zip(names, axes, strict=False):
        ax.set_title(name)
    return figure, dict(zip(names, axes, strict=False))


def _colours(names: pd.Series, colours: Sequence[Any]) -> dict[Any, Any]:
    return {name: colours[i % len(colours)] for i, name in enumerate(dict.fromkeys(names))}


def _points(ax: Axes, table: pd.DataFrame, y: str, aside: float = 0.0, **style: Any) -> None:  # noqa: ANN401 - matplotlib's
    """Draw a line through the means, with their intervals where there are any."""
    x = table["depth"] + aside
    ax.vlines(x, table["low"], table["high"], color=style["color"], linewidth=7, alpha=0.2)
    ax.plot(x, table[y], linewidth=1.6, markersize=5, **style)


def _depth_axis(ax: Axes, depths: pd.Series) -> None:
    ax.set_xlabel("depth")
    ax.set_xticks(sorted(set(depths)))
    ax.margins(x=0.08)


def _iteration_axis(ax: Axes) -> None:
    ax.set(xlabel="iteration", ylabel="", xlim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _share_axis(axes: Panels, values: NDArray[np.float64]) -> None:
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


def _error_axis(figure: Figure, axes: Panels, label: str, values: Iterable[float]) -> None:
    """Choose the scale: linear, or square roots where errors differ so much that the low ones would lie on the axis."""
    first = next(iter(axes.values()))
    shown = [value for value in values if np.isfinite(value)]
    top = max(1.05 * max(shown), 0.1)
    scale = ""
    if top > 6 * min(shown):
        # Unlike a logarithm, the root has room for 0 % and keeps large differences looking large.
        first.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
        ticks = [0.0]
        for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 100):
            if tick <= top and np.sqrt(tick) - np.sqrt(ticks[-1]) > 0.09 * np.sqrt(top):
                ticks.append(tick)
        first.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        first.yaxis.set_minor_locator(NullLocator())
        scale = ", square-root scale"
    first.set_ylim(0, top)
    figure.supylabel(f"{label} (%{scale})")


def _label_ends(figure: Figure, axes: Panels, ends: Sequence[End]) -> None:
    """Write beside each line's end; labels that would overlap are moved apart, as little as that takes."""
    figure.draw_without_rendering()  # settles where on the page the ends lie
    columns = defaultdict(list)
    for end in sorted(ends, key=lambda end: end[2]):
        columns[end[:2]].append(end)
    for (panel, x), column in columns.items():
        at = np.array([axes[panel].transData.transform((x, y))[1] * 72 / figure.dpi for _, _, y, _, _ in column])
        room = 11.0 * np.arange(len(at))  # in points; least squares with such gaps is an isotonic regression
        offsets = isotonic_regression(at - room).x + room - at
        for (_, _, y, text, colour), offset in zip(column, offsets, strict=True):
            style: dict[str, Any] = {"va": "center", "fontsize": 9, "color": colour, "annotation_clip": False}
            axes[panel].annotate(text, (x, y), (10, offset), textcoords="offset points", **style)


def _legend(figure: Figure, axes: Panels, note: str = "") -> None:
    handles, labels = next(iter(axes.values())).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels) + 1)
    if note:
        figure.legend([Line2D([], [], linestyle="")], [note], loc="upper right", handlelength=0, handletextpad=0)
