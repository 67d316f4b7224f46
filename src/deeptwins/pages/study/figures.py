"""From findings to figures, each with what it shows in words; none computes a number that the text prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deeptwins.pages import drawing
from deeptwins.pages.drawing import CHANCE, DASHED, DEPTH_NOTE, DEPTHS, INK, MARKERS, TWINS, End, Panels, Picture
from deeptwins.pages.wording import percent, points, share

ASIDE = {"train_error_pct": -0.16, "test_error_pct": 0.16}  # of a twin's row, so that intervals do not hide each other
LABELS = {"train_error_pct": "training", "test_error_pct": "test"}


def error_by_depth(by_depth: pd.DataFrame, final: pd.DataFrame) -> Picture:
    """Draw training error against depth: a panel per family, a line per twin, 95 % intervals, seeds as faint dots.

    Many twins have a panel each.
    """
    table, many = _apart(by_depth[by_depth["metric"] == "train_error_pct"], "twin")
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"])
        twins = drawing.styles(table["twin"])
        ends: list[End] = []
        for title, ax in axes.items():
            panel = table[table["panel"] == title]
            seeds = final[final["group"] == panel["group"].iloc[0]]
            shown = {twin: twins[twin] for twin in (panel["twin"].unique() if many else twins)}
            step = _step(panel["depth"], len(shown))
            for i, (twin, style) in enumerate(shown.items()):
                colour = style["color"]
                aside = step * (i - (len(shown) - 1) / 2)
                dots, line = seeds[seeds["twin"] == twin], panel[panel["twin"] == twin]
                ax.scatter(dots["depth"] + aside, dots["train_error_pct"], s=7, color=colour, alpha=0.6, linewidths=0)
                drawing.points(ax, line, "mean", aside, **style, marker=MARKERS[i % len(MARKERS)], label=twin)
                right = panel["depth"].max() + step * (len(shown) - 1) / 2
                ends += [(title, right, mean, f"{mean:.1f} %", colour) for mean in line["mean"].tail(1)]
            drawing.depth_axis(ax, panel["depth"])
        drawn = [*table["mean"], *table["high"].dropna(), *final["train_error_pct"]]
        drawing.error_axis(figure, axes, "training error", drawn)
        drawing.label_ends(figure, axes, ends)
        _name_lines(figure, axes, many=many)
    caption = "Mean over seeds; bars are 95 % intervals, dots single seeds. Evaluation mode, no augmentation."
    alt = f"Training error against depth. {in_words(table, 'mean', percent)}"
    return Picture("error-by-depth", caption, alt, figure)


def learning_curves(curves: pd.DataFrame) -> Picture:
    """Draw errors against iterations, mean over seeds: a panel per family and twin, training dashed, test bold.

    A line has the colour of its depth or, where twins have one depth each, of its twin.
    """
    alone = drawing.one_depth(curves)
    table = curves.assign(panel=drawing.headings(curves, "group", *(["depth"] if alone else []), "twin"))
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"], columns=table["twin"].nunique())
        twins = drawing.palette(table["twin"], TWINS)
        depths = drawing.palette(table["depth"].sort_values(), sns.blend_palette(DEPTHS, table["depth"].nunique()))
        for ax, panel in drawing.by_panel(axes, table, "panel"):
            colours = dict.fromkeys(panel["depth"], twins[panel["twin"].iloc[0]]) if alone else depths
            lines: dict[str, Any] = {"data": panel, "x": "iteration", "hue": "depth"}
            lines |= {"palette": colours, "errorbar": None, "legend": False, "ax": ax}
            sns.lineplot(**lines, y="train_error_pct", linewidth=1.0, linestyle=DASHED)
            sns.lineplot(**lines, y="test_error_pct", linewidth=1.9)
            drawing.iteration_axis(ax)
        drawing.name_x_once(axes)
        drawing.error_axis(figure, axes, "error", [*table["train_error_pct"], *table["test_error_pct"]])
        many = len(depths) > drawing.MOST_DEPTHS
        if many and not alone:
            drawing.depth_bar(figure, axes, depths)
        elif not alone:
            last = table.groupby(["panel", "depth"], sort=False).tail(1)
            ends = zip(last["panel"], last["iteration"], last["test_error_pct"], last["depth"], strict=True)
            drawing.label_ends(figure, axes, [(panel, x, y, str(depth), depths[depth]) for panel, x, y, depth in ends])
        first = next(iter(axes.values()))
        first.plot([], [], color=INK, linewidth=1.9, label="test")
        first.plot([], [], color=INK, linewidth=1.0, linestyle=DASHED, label="training")
        drawing.legend(figure, axes, "" if alone or many else DEPTH_NOTE)
    caption = "Error in evaluation mode, mean over seeds: training thin and dashed, test bold."
    last = curves.groupby(["group", "twin", "depth"], sort=False).tail(1)
    errors = in_words(last, "test_error_pct", percent)
    alt = f"Training and test error against iterations; test error at the end: {errors}"
    return Picture("learning-curves", caption, alt, figure)


def gap_by_depth(comparisons: pd.DataFrame) -> Picture:
    """Draw the difference in training error between twins against depth, paired by seed, with 95 % intervals."""
    table = comparisons[comparisons["metric"] == "train_error_pct"]
    table, many = _apart(table.assign(gap=table["twin"] + " minus " + table["other"]), "gap")
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"], height=2.3)
        colours = drawing.palette(table["gap"], TWINS[1:] if table["gap"].nunique() > 1 else [INK])
        for ax, panel in drawing.by_panel(axes, table, "panel"):
            for i, (gap, colour) in enumerate(colours.items()):
                line = panel[panel["gap"] == gap]
                if many and line.empty:
                    continue
                drawing.points(ax, line, "difference", color=colour, marker=MARKERS[i % len(MARKERS)], label=gap)
            ax.axhline(0, color=INK, linewidth=0.8)
            ax.spines.bottom.set_visible(False)
            drawing.depth_axis(ax, panel["depth"])
        figure.supylabel("difference (points)")
        _name_lines(figure, axes, many=many)
    caption = "Difference in training error between twins of the same seed; bars are 95 % intervals."
    gaps = in_words(table.assign(twin=table["gap"]), "difference", points)
    alt = f"Difference in training error against depth, in points. {gaps}"
    return Picture("gap-by-depth", caption, alt, figure)


def drift(drift: pd.DataFrame, final: pd.DataFrame) -> Picture:
    """Draw how far the loss traces of twins lie apart: a panel per family and depth, a line per pair of twins.

    The line is the median over seeds, in the first twin's colour; the band reaches to the largest. Dashed, the same
    between two seeds: what chance alone makes. Many pairs have a panel each.
    """
    pairs = drift["twin"] + " and " + drift["other"]
    place = drift["group"] + ", depth " + drift["depth"].astype(str)
    table, many = _apart(drift.assign(pair=pairs, place=place), "pair", "place")
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"])
        colours = drawing.palette(final["twin"], TWINS)
        for ax, panel in drawing.by_panel(axes, table, "panel"):
            for i, (pair, twin) in enumerate(dict(zip(table["pair"], table["twin"], strict=True)).items()):
                line = panel[panel["pair"] == pair]
                if many and line.empty:
                    continue
                x, colour = line["iteration"], colours[twin]
                ax.fill_between(x, line["median"], line["largest"], color=colour, alpha=0.2, linewidth=0)
                style: dict[str, Any] = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "markersize": 5}
                ax.plot(x, line["median"], label=None if many else pair, linewidth=1.6, **style)
            for other in dict.fromkeys((panel if many else table).dropna(subset="between_seeds")["other"]):
                line = panel[panel["other"] == other].drop_duplicates("iteration").dropna(subset="between_seeds")
                style = {"color": CHANCE, "linewidth": 1.6, "linestyle": DASHED}
                name = "the second twin" if many else other
                ax.plot(line["iteration"], line["between_seeds"], label=f"two seeds of {name}", **style)
            drawing.iteration_axis(ax)
        drawing.name_x_once(axes)
        drawing.share_axis(axes, table[["median", "largest", "between_seeds"]].to_numpy(float))
        figure.supylabel("difference (share of the loss)")
        drawing.legend(figure, axes)
    caption = "Lines are medians over seeds, bands reach to the largest; dashed, two seeds of one twin: chance alone."
    return Picture("drift", caption, _drift_in_words(drift), figure)


def errors_by_twin(by_depth: pd.DataFrame, final: pd.DataFrame) -> Picture:
    """Draw training and test error: a panel per family, a row per twin, 95 % intervals, seeds as faint dots."""
    table = by_depth[by_depth["metric"].isin(ASIDE)]
    twins = list(dict.fromkeys(table["twin"]))
    with drawing.styled():
        figure, axes = drawing.panels(table["group"], height=0.42 * len(twins) + 0.75)
        colours = drawing.palette(table["twin"], TWINS)
        for group, ax in axes.items():
            for metric, aside in ASIDE.items():
                means = table[(table["group"] == group) & (table["metric"] == metric)]
                for row in means.to_dict("records"):
                    y, colour = twins.index(row["twin"]) + aside, colours[row["twin"]]
                    seeds = final[(final["group"] == group) & (final["twin"] == row["twin"])][metric]
                    ax.hlines(y, row["low"], row["high"], color=colour, linewidth=7, alpha=0.2)
                    ax.scatter(seeds, [y] * len(seeds), s=7, color=colour, alpha=0.6, linewidths=0)
                    ax.plot([row["mean"]], [y], **_marker(metric, colour))
            ax.set_yticks(range(len(twins)), twins)
            ax.set_ylim(len(twins) - 0.5, -0.5)
            ax.grid(axis="x")
            ax.grid(visible=False, axis="y")
        drawn = [*table["mean"], *table["high"].dropna(), *final[[*ASIDE]].to_numpy().flat]
        drawing.error_axis(figure, axes, "error", drawn, across=True)
        first = next(iter(axes.values()))
        for metric, label in LABELS.items():
            first.add_line(Line2D([], [], label=label, **_marker(metric, INK)))
        drawing.legend(figure, axes)
    caption = "Mean over seeds, training filled and test hollow; bars are 95 % intervals, small dots single seeds."
    alt = f"Training and test error of each twin. {drawing.read_out(by_depth, ['group', 'twin'], _errors_in_words)}"
    return Picture("error-by-twin", caption, alt, figure)


def _apart(table: pd.DataFrame, key: str, place: str = "group") -> tuple[pd.DataFrame, bool]:
    """Give each family a `panel`, or each of its lines where they are many; says whether they are.

    Args:
        table: of lines.
        key: the column that names them.
        place: the column of what has a panel otherwise.
    """
    many = table[key].nunique() > drawing.MOST_TWINS
    return table.assign(panel=drawing.headings(table, place, key) if many else table[place]), many


def _step(depths: pd.Series, lines: int) -> float:
    """Choose how far the intervals of twins stand beside each other: not so far that they come to the next depth."""
    each = np.unique(depths).astype(float)
    apart = np.diff(each).min(initial=np.inf)
    return float(min(0.015 * (each[-1] - each[0]), 0.5 * apart / max(lines - 1, 1)))


def _name_lines(figure: Figure, axes: Panels, *, many: bool) -> None:
    """Name lines in a legend, unless each has a panel with its name."""
    if many:
        drawing.name_x_once(axes)
    else:
        drawing.legend(figure, axes)


def _marker(metric: str, colour: str) -> dict[str, Any]:
    """Return the style of a mean: training errors are filled, test errors hollow."""
    fill = colour if metric == "train_error_pct" else "none"
    return {"color": colour, "marker": "o", "markersize": 6.5, "markerfacecolor": fill, "linestyle": ""}


def in_words(table: pd.DataFrame, value: str, write: Callable[[float], str]) -> str:
    """Read out the numbers of a figure against depth, line by line."""

    def say(line: pd.DataFrame) -> str:
        return ", ".join(f"{write(y)} at depth {depth}" for depth, y in zip(line["depth"], line[value], strict=True))

    return drawing.read_out(table, ["group", "twin"], say)


def _drift_in_words(drift: pd.DataFrame) -> str:
    """Describe each line of the drift by its ends."""
    lines = []
    for (group, depth, twin, other), cell in drift.groupby(["group", "depth", "twin", "other"], sort=False):
        ends = [
            f"{share(row['median'])} at iteration {row['iteration']:,}"
            for row in cell.iloc[[0, -1]].drop_duplicates().to_dict("records")
        ]
        seeds = cell["between_seeds"].iloc[-1]
        chance = "" if pd.isna(seeds) else f"; two seeds of {other} {share(seeds)} there"
        lines.append(f"{group}, depth {depth}, {twin} and {other}: {', '.join(ends)}{chance}")
    text = "Difference of the loss traces of two twins, as a share of the loss, against iterations, on a log scale. "
    return f"{text}{'. '.join(lines)}."


def _errors_in_words(metrics: pd.DataFrame) -> str:
    means = metrics.set_index("metric")["mean"]
    return f"{percent(means['train_error_pct'])} in training, {percent(means['test_error_pct'])} in test"
