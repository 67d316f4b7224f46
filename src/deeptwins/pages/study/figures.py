"""From findings to figures, each with what it shows in words; none computes a number that the text prints."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deeptwins.pages import colours, drawing, marks, scales
from deeptwins.pages.colours import CHANCE, DASHED, INK
from deeptwins.pages.drawing import End, Picture
from deeptwins.pages.wording import apart, count, interval, percent, points, share

ASIDE = {"train_error_pct": -0.16, "test_error_pct": 0.16}  # of a twin's row, so that intervals do not hide each other
LABELS = {"train_error_pct": "training", "test_error_pct": "test"}
LINES: dict[str, dict[str, Any]] = {
    "train_error_pct": {"linewidth": 1.0, "linestyle": DASHED},
    "test_error_pct": {"linewidth": 1.9},
}
DEPTH_NOTE = "the number at a line's end is its depth"
FIRST = 2.3  # inches: of a row of panels at the top of a page, which is to fit a screen with what stands above it
LONGEST = 40  # characters of a pair's name beside its row
MOST_TOLD = 24  # evaluations of a curve that a pointer shows


def error_by_depth(by_depth: pd.DataFrame, final: pd.DataFrame) -> Picture:
    """Draw training error against depth: a panel per family, a line per twin, 95 % intervals, seeds as faint dots.

    Many twins have a panel each.
    """
    table, many = _apart(by_depth[by_depth["metric"] == "train_error_pct"], "twin")
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"], height=FIRST)
        looks, markers = colours.styles(table["twin"]), colours.markers(table["twin"])
        ends: list[End] = []
        for title, ax in axes.items():
            panel = table[table["panel"] == title]
            seeds = final[final["group"] == panel["group"].iloc[0]]
            shown = panel["twin"].unique() if many else list(looks)
            step = _step(panel["depth"], len(shown))
            for i, twin in enumerate(shown):
                colour = looks[twin]["color"]
                aside = step * (i - (len(shown) - 1) / 2)
                dots, line = seeds[seeds["twin"] == twin], panel[panel["twin"] == twin]
                ax.scatter(dots["depth"] + aside, dots["train_error_pct"], s=7, color=colour, alpha=0.6, linewidths=0)
                _line(ax, line, "mean", aside, **looks[twin], marker=markers[twin], label=twin)
                _tell_means(ax, line["depth"] + aside, line, _error_words(table, "training error"))
                words = _each(dots, _seed_words(table, "train_error_pct"))
                marks.tell(ax, dots["depth"] + aside, dots["train_error_pct"], words, "dot")
                right = panel["depth"].max() + step * (len(shown) - 1) / 2
                ends += [(title, right, mean, f"{mean:.1f} %", colour) for mean in line["mean"].tail(1)]
            scales.depth_axis(ax, panel["depth"])
        drawn = [*table["mean"], *table["high"].dropna(), *final["train_error_pct"]]
        scales.error_axis(figure, axes, "training error", drawn)
        drawing.label_ends(figure, axes, ends)
        _name_lines(figure, axes, many=many)
    caption = "Mean over seeds; bars are 95 % intervals, dots single seeds. Evaluation mode, no augmentation."
    alt = f"Training error against depth. {in_words(table, 'mean', percent)}"
    return Picture("error-by-depth", caption, alt, figure, ("by_depth", "final"))


def learning_curves(curves: pd.DataFrame) -> Picture:
    """Draw errors against iterations, mean over seeds: a panel per family and twin, training dashed, test bold.

    A line has the shade of its depth or, where twins have one depth each, the hue of its twin.
    """
    alone = drawing.one_depth(curves)
    table = curves.assign(panel=drawing.headings(curves, "group", *(["depth"] if alone else []), "twin"))
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"], columns=table["twin"].nunique())
        hues, shades = colours.of_twins(table["twin"]), colours.ramp(table["depth"].sort_values())
        for ax, panel in drawing.by_panel(axes, table, "panel"):
            palette = dict.fromkeys(panel["depth"], hues[panel["twin"].iloc[0]]) if alone else shades
            for error, look in LINES.items():
                for depth, line in panel.groupby("depth"):
                    dot = {"marker": ".", "markersize": 6} if len(line) == 1 else {}  # a line of one point is none
                    ax.plot(line["iteration"], line[error], color=palette[depth], **look | dot)
            _tell_curves(ax, panel, table)
            scales.iteration_axis(ax)
        scales.name_x_once(axes)
        scales.error_axis(figure, axes, "error", [*table["train_error_pct"], *table["test_error_pct"]])
        many = len(shades) > drawing.MOST_DEPTHS
        if many and not alone:
            scales.depth_bar(figure, axes, shades)
        elif not alone:
            last = table.groupby(["panel", "depth"], sort=False).tail(1)
            ends = zip(last["panel"], last["iteration"], last["test_error_pct"], last["depth"], strict=True)
            drawing.label_ends(figure, axes, [(panel, x, y, str(depth), INK) for panel, x, y, depth in ends])
        first = next(iter(axes.values()))
        for error, look in reversed(LINES.items()):
            first.plot([], [], color=INK, label=LABELS[error], **look)
        drawing.legend(figure, axes, "" if alone or many else DEPTH_NOTE)
    caption = "Error in evaluation mode, mean over seeds: training thin and dashed, test bold."
    caption += "" if alone else " The deeper a net, the stronger its lines."
    last = curves.groupby(["group", "twin", "depth"], sort=False).tail(1)
    errors = in_words(last, "test_error_pct", percent)
    alt = f"Training and test error against iterations; test error at the end: {errors}"
    return Picture("learning-curves", caption, alt, figure, ("curves",))


def gap_by_depth(comparisons: pd.DataFrame) -> Picture:
    """Draw the difference in training error between twins against depth, paired by seed, with 95 % intervals."""
    table = comparisons[comparisons["metric"] == "train_error_pct"]
    table, many = _apart(table.assign(gap=table["twin"] + " \N{MINUS SIGN} " + table["other"]), "gap")
    named = table.assign(twin=table["gap"])

    def say(row: Mapping[Hashable, Any]) -> str:
        return f"{net_words(row, named)}: {points(row['difference'])} points{_between(row, apart)}"

    with drawing.styled():
        figure, axes = drawing.panels(table["panel"], height=2.1)
        twins = dict(zip(table["gap"], table["twin"], strict=True))
        names = [*table["other"], *table["twin"]]  # all twins, that each looks as in other figures
        looks, markers = colours.styles(names), colours.markers(names)
        lone = len(twins) == 1
        for ax, panel in drawing.by_panel(axes, table, "panel"):
            for gap, twin in twins.items():
                line = panel[panel["gap"] == gap]
                if many and line.empty:
                    continue
                look = {"color": INK, "marker": "o"} if lone else {**looks[twin], "marker": markers[twin]}
                _line(ax, line, "difference", **look, label=gap)
                _tell_means(ax, line["depth"], line.assign(twin=gap), say, "difference")
            ax.axhline(0, color=INK, linewidth=0.8)
            ax.spines.bottom.set_visible(False)
            scales.depth_axis(ax, panel["depth"])
        figure.supylabel("difference (points)")
        _name_lines(figure, axes, many=many)
    caption = "Difference in training error between twins of the same seed; bars are 95 % intervals."
    alt = f"Difference in training error against depth, in points. {in_words(named, 'difference', points)}"
    return Picture("gap-by-depth", caption, alt, figure, ("comparisons",))


def drift(drift: pd.DataFrame, final: pd.DataFrame) -> Picture:
    """Draw how far the loss traces of twins lie apart: a panel per family and depth, a line per pair of twins.

    The line is the median over seeds, in the first twin's colour; the band reaches to the largest. Dashed, the same
    between two seeds: what chance alone makes. Many pairs have a panel each.
    """
    pairs = drift["twin"] + " and " + drift["other"]
    place = drift["group"] + ", depth " + drift["depth"].astype(str)
    table, many = _apart(drift.assign(pair=pairs, place=place), "pair", "place")
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"], height=FIRST)
        looks, markers = colours.styles(final["twin"]), colours.markers(final["twin"])
        for ax, panel in drawing.by_panel(axes, table, "panel"):
            for pair, twin in dict(zip(table["pair"], table["twin"], strict=True)).items():
                line = panel[panel["pair"] == pair]
                if many and line.empty:
                    continue
                x, style = line["iteration"], {**looks[twin], "marker": markers[twin], "markersize": 5}
                ax.fill_between(x, line["median"], line["largest"], color=style["color"], alpha=0.2, linewidth=0)
                ax.plot(x, line["median"], label=None if many else pair, linewidth=1.6, **style)
                marks.tell(ax, x, line["median"], _each(line, _drift_words))
            for other in dict.fromkeys((panel if many else table).dropna(subset="between_seeds")["other"]):
                line = panel[panel["other"] == other].drop_duplicates("iteration").dropna(subset="between_seeds")
                style = {"color": CHANCE, "linewidth": 1.6, "linestyle": DASHED}
                name = "the second twin" if many else other
                ax.plot(line["iteration"], line["between_seeds"], label=f"two seeds of {name}", **style)
                marks.tell(ax, line["iteration"], line["between_seeds"], _each(line, _chance_words))
            scales.iteration_axis(ax)
        scales.name_x_once(axes)
        scales.share_axis(axes, table[["median", "largest", "between_seeds"]].to_numpy(float))
        figure.supylabel("difference (share of the loss)")
        drawing.legend(figure, axes)
    caption = (
        "Lines are medians over seeds; bands reach to the largest value. Dashed: the difference between two seeds"
        " of one twin, which is chance alone."
    )
    return Picture("drift", caption, _drift_in_words(drift), figure, ("drift",))


def errors_by_twin(by_depth: pd.DataFrame, final: pd.DataFrame) -> Picture:
    """Draw training and test error: a panel per family, a row per twin, 95 % intervals, seeds as faint dots."""
    table = by_depth[by_depth["metric"].isin(ASIDE)]
    twins = list(dict.fromkeys(table["twin"]))
    with drawing.styled():
        figure, axes = drawing.panels(table["group"], height=0.33 * len(twins) + 0.75)
        hues = colours.of_twins(table["twin"])
        for group, ax in axes.items():
            for metric, aside in ASIDE.items():
                error = f"{LABELS[metric]} error"
                means = table[(table["group"] == group) & (table["metric"] == metric)]
                for row in means.to_dict("records"):
                    y, colour = twins.index(row["twin"]) + aside, hues[row["twin"]]
                    seeds = final[(final["group"] == group) & (final["twin"] == row["twin"])]
                    ax.scatter(seeds[metric], [y] * len(seeds), s=7, color=colour, alpha=0.6, linewidths=0)
                    _bar(ax, row, y, _marker(metric, colour), _error_words(table, error)(row))
                    marks.tell(ax, seeds[metric], y, _each(seeds, _seed_words(table, metric)), "dot")
            _name_rows(ax, twins)
        drawn = [*table["mean"], *table["high"].dropna(), *final[[*ASIDE]].to_numpy().flat]
        scales.error_axis(figure, axes, "error", drawn, across=True)
        _tell_filled_from_hollow(figure, axes)
    caption = (
        "Mean over seeds: training error filled, test error hollow. Bars are 95 % intervals, small dots single seeds."
    )
    alt = f"Training and test error of each twin. {drawing.read_out(by_depth, ['group', 'twin'], _errors_in_words)}"
    return Picture("error-by-twin", caption, alt, figure, ("by_depth", "final"))


def gap_by_twin(comparisons: pd.DataFrame, final: pd.DataFrame) -> Picture:
    """Draw differences between twins of one depth: a panel per family, a row per pair in its first twin's hue."""
    table = comparisons[comparisons["metric"].isin(ASIDE)]
    table = table.assign(mean=table["difference"], gap=table["twin"] + " \N{MINUS SIGN} " + table["other"])
    pairs = list(dict.fromkeys(table["gap"]))
    # Names take two lines where they would leave the panel no room.
    two = max(map(len, pairs)) > LONGEST
    names = [pair.replace(" \N{MINUS SIGN}", "\n\N{MINUS SIGN}") if two else pair for pair in pairs]
    with drawing.styled():
        figure, axes = drawing.panels(table["group"], height=(0.45 if two else 0.33) * len(pairs) + 0.75)
        hues = colours.of_twins(final["twin"])
        for ax, panel in drawing.by_panel(axes, table, "group"):
            for row in panel.to_dict("records"):
                y = pairs.index(row["gap"]) + ASIDE[row["metric"]]
                family = f"{row['group']}, " if len(axes) > 1 else ""
                words = f"{family}{row['gap']}: {LABELS[row['metric']]} error {points(row['difference'])} points"
                look = _marker(row["metric"], hues[row["twin"]])
                _bar(ax, row, y, look, f"{words}{_between(row, apart)}")
            ax.axvline(0, color=INK, linewidth=0.8)
            _name_rows(ax, names)
        figure.supxlabel("difference (points)")
        _tell_filled_from_hollow(figure, axes)
    caption = (
        "Difference between twins of the same seed: training error filled, test error hollow. Bars are 95 % intervals."
    )
    told = drawing.read_out(table, ["group", "gap"], _differences_in_words)
    alt = f"Differences in training and test error between twins, in points. {told}"
    return Picture("gap-by-twin", caption, alt, figure, ("comparisons",))


def _bar(ax: Axes, row: Mapping[Hashable, Any], y: float, look: Mapping[str, Any], words: str) -> None:
    """Draw a mean in a row, on its interval, and say what both are."""
    ax.hlines(y, row["low"], row["high"], color=look["color"], linewidth=7, alpha=0.2)
    ax.plot([row["mean"]], [y], **look)
    marks.tell_line(ax, [row["low"], row["high"]], [y, y], words)
    marks.tell(ax, row["mean"], y, [words])


def _name_rows(ax: Axes, names: list[str]) -> None:
    """Name the rows of a panel, from the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")


def _tell_filled_from_hollow(figure: Figure, axes: drawing.Panels) -> None:
    """Write the legend of marks of training and test errors."""
    first = next(iter(axes.values()))
    for metric, label in LABELS.items():
        first.add_line(Line2D([], [], label=label, **_marker(metric, INK)))
    drawing.legend(figure, axes)


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


def _line(ax: Axes, table: pd.DataFrame, y: str, aside: float = 0.0, **style: Any) -> None:  # noqa: ANN401 - matplotlib's
    """Draw a line through the means, with their intervals where there are any."""
    x = table["depth"] + aside
    ax.vlines(x, table["low"], table["high"], color=style["color"], linewidth=7, alpha=0.2)
    ax.plot(x, table[y], linewidth=1.6, markersize=5, **style)


def _name_lines(figure: Figure, axes: drawing.Panels, *, many: bool) -> None:
    """Name lines in a legend, unless each has a panel with its name."""
    if many:
        scales.name_x_once(axes)
    else:
        drawing.legend(figure, axes)


def _marker(metric: str, colour: str) -> dict[str, Any]:
    """Return the style of a mean: training errors are filled, test errors hollow."""
    fill = colour if metric == "train_error_pct" else "none"
    return {"color": colour, "marker": "o", "markersize": 6.5, "markerfacecolor": fill, "linestyle": ""}


def _tell_means(
    ax: Axes, x: pd.Series, table: pd.DataFrame, say: Callable[[Mapping[Hashable, Any]], str], y: str = "mean"
) -> None:
    """Say what each mean and its interval is."""
    for at, row in zip(x, table.to_dict("records"), strict=True):
        marks.tell_line(ax, [at, at], [row["low"], row["high"]], say(row))
        marks.tell(ax, at, row[y], [say(row)])


def _tell_curves(ax: Axes, panel: pd.DataFrame, table: pd.DataFrame) -> None:
    """Say what the curves of a panel are at some evaluations, the first and the last among them."""
    for _, line in panel.groupby("depth"):
        some = line.iloc[np.unique(np.linspace(0, len(line) - 1, min(len(line), MOST_TOLD)).round().astype(int))]
        for metric, label in LABELS.items():
            nets = _each(some, lambda row: f"{net_words(row, table)}, iteration {row['iteration']:,}")
            errors = some[metric].map(percent)
            words = [f"{net}: {label} error {error}" for net, error in zip(nets, errors, strict=True)]
            marks.tell(ax, some["iteration"], some[metric], words, "dot")


def _each(rows: pd.DataFrame, say: Callable[[Mapping[Hashable, Any]], str]) -> list[str]:
    """Say something of each row."""
    return [say(row) for row in rows.to_dict("records")]


def net_words(row: Mapping[Hashable, Any], table: pd.DataFrame) -> str:
    """Name a net: its family, where a figure has several, its twin and depth."""
    family = f"{row['group']}, " if table["group"].nunique() > 1 else ""
    return f"{family}{row['twin']}, depth {row['depth']}"


def _between(row: Mapping[Hashable, Any], write: Callable[[float, float], str] = interval) -> str:
    """Say between what a mean lies, and how many seeds it is of."""
    ends = "" if pd.isna(row["low"]) else f", 95 % interval {write(row['low'], row['high'])}"
    return f"{ends}, {count(row['n'], 'seed')}"


def _error_words(table: pd.DataFrame, error: str) -> Callable[[Mapping[Hashable, Any]], str]:
    """Return what says of a row which net's error it is, and between what it lies."""
    return lambda row: f"{net_words(row, table)}: {error} {percent(row['mean'])}{_between(row)}"


def _seed_words(table: pd.DataFrame, metric: str) -> Callable[[Mapping[Hashable, Any]], str]:
    """Return what says of a row of single nets which net's error it is."""
    error = f"{LABELS[metric]} error"
    return lambda row: f"{net_words(row, table)}, seed {row['seed']}: {error} {percent(row[metric])}"


def _drift_words(row: Mapping[Hashable, Any]) -> str:
    pair = f"{row['pair']}, {row['place']}, iteration {row['iteration']:,}"
    return f"{pair}: median {share(row['median'])} of the loss, at most {share(row['largest'])}"


def _chance_words(row: Mapping[Hashable, Any]) -> str:
    where = f"{row['place']}, iteration {row['iteration']:,}"
    return f"two seeds of {row['other']}, {where}: {share(row['between_seeds'])} of the loss"


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


def _differences_in_words(metrics: pd.DataFrame) -> str:
    differences = metrics.set_index("metric")["difference"].map(points)
    return ", ".join(f"{differences[metric]} in {label}" for metric, label in LABELS.items() if metric in differences)


def _errors_in_words(metrics: pd.DataFrame) -> str:
    means = metrics.set_index("metric")["mean"]
    return f"{percent(means['train_error_pct'])} in training, {percent(means['test_error_pct'])} in test"
