"""From the facts of the gate's page to figures; none computes a number that the text prints. Ratios are logarithms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from deeptwins.gate.page.names import LONGEST_SHORT, VERDICTS, in_lines, left_out, printable, short_names, whole
from deeptwins.gate.page.tables import ROWS, signed, span
from deeptwins.pages import drawing, marks
from deeptwins.pages.colours import CHANCE, INK, KINDS, WORSE
from deeptwins.pages.drawing import Picture
from deeptwins.pages.wording import count, minus

FINE, UNSURE = KINDS[0], KINDS[2]
# By verdict: colour, marker, and the marker's fill. The markers differ, so that verdicts can be read without colours.
LOOKS: Mapping[str, tuple[str, str, str]] = {
    "regressed": (WORSE, ">", WORSE),
    "inconclusive": (UNSURE, "D", "none"),
    "improved": (FINE, "<", FINE),
    "no_worse": (INK, "o", INK),
    "not_measured": (CHANCE, "", CHANCE),
}
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # between ticks, in percent
TICKS_ACROSS, TICKS_UP = 7, 5  # at most
OUTCOME_NAMES = {
    "found": "detected",
    "inconclusive": "inconclusive",
    "fine": "no slowdown",
    "not_measured": "not measured",
}
OUTCOMES = {"found": INK, "inconclusive": UNSURE, "fine": FINE, "not_measured": CHANCE}
BAR: Any = {"alpha": 0.35, "edgecolor": INK, "linewidth": 0.6}
NAMED = 17  # percent: a bar that is longer has room for the name of the outcome
BAND: Any = {"color": INK, "alpha": 0.09, "linewidth": 0}
CHARACTERS = 66  # in a line above a panel as wide as the figure
ALT = 4000  # characters


def ratios(table: pd.DataFrame) -> Picture:
    """Draw the ratio of each benchmark with its interval, its margin as a band, its second batch below it."""
    names, prefix = short_names(table["benchmark"])
    rows = table.head(ROWS).to_dict("records")
    with drawing.styled(axes__grid__axis="x"):
        height = 0.36 * max(len(rows), 1) + 1.25
        labels = [names[row["benchmark"]] for row in rows]
        figure, ax = _ratio_rows(labels, "change in time from base to head (%)", height, _ends(rows))
        for i, row in enumerate(rows):
            _ratio_row(ax, i, row)
        if not rows:
            ax.text(0.5, 0.5, "no benchmark was measured", ha="center", transform=ax.transAxes)
        present = {row["verdict"] for row in rows} - {"not_measured"}
        handles: list[Any] = [Patch(**BAND, label="margin")]
        handles += [_mark(look, VERDICTS[verdict]) for verdict, look in LOOKS.items() if verdict in present]
        if any(not math.isnan(row["second_log_ratio"]) for row in rows):
            handles.append(Line2D([], [], color=CHANCE, marker="|", linewidth=1, label="second batch"))
        figure.legend(
            handles=handles, loc="outside upper left", ncols=len(handles), handlelength=1.2, columnspacing=1.2
        )
    caption = (
        "Right of 0, head is slower. Lines are 95 % intervals, grey is the margin: the change that is tolerated. A thin"
        f" mark below is the second batch, in new processes.{left_out(prefix)}{more(len(table), ROWS)}"
    )
    return picture("ratios", caption, _ratios_in_words(table, names), figure, ("ratios",))


def outcomes(rates: pd.DataFrame) -> Picture:
    """Draw what the gate said of runs whose truth is known: a bar per treatment, in shares that are named."""
    rows = rates.to_dict("records")
    labels = [printable(row["treatment"], LONGEST_SHORT) for row in rows]
    with drawing.styled(axes__grid=False):
        figure, ax = drawing.rows(labels, "share of runs (%)", 0.36 * len(rows) + 1.1)
        ax.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 100))
        colours: dict[str, str] = {}
        for i, row in enumerate(rows):
            left = 0.0
            for outcome, colour in OUTCOMES.items():
                number, share = row[outcome], 100 * row[outcome] / row["runs"]
                if not number:
                    continue
                false = outcome == "found" and row["kind"] == "aa"
                name = "false alarm" if false else OUTCOME_NAMES[outcome]
                colours[name] = WORSE if false else colour
                ax.barh(i, share, left=left, height=0.66, color=colours[name], **BAR)
                text = f"{number} {name}" if share > NAMED else str(number)
                ax.text(left + share / 2, i, text, ha="center", va="center", fontsize=8.5)
                words = f"{labels[i]}: {name} in {number} of {row['runs']} runs"
                marks.tell_bar(ax, (left, left + share), (i - 0.33, i + 0.33), words)
                left += share
        handles = [Patch(facecolor=fill, **BAR, label=name) for name, fill in colours.items()]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.2)
    sentences = [
        f"{printable(row['treatment'])}: {count(row['found'], 'alarm')}, {row['inconclusive']} inconclusive,"
        f" {row['fine']} no slowdown"
        for row in rows
    ]
    caption = "Verdicts on a commit compared with itself, unchanged (A/A) or made slower on purpose."
    return picture("self-test", caption, f"{'; '.join(sentences)}.", figure, ("self-test",))


def sensitivity(smallest: pd.DataFrame, controls: pd.DataFrame) -> Picture:
    """Draw A/A ratios, which should be 0, in their margins, and the smallest slowdown that is mostly found.

    Each machine has a panel.
    """
    names, prefix = short_names(smallest["benchmark"])
    machines = smallest["machine"].value_counts(sort=False)
    edges = [*controls["log_ratio"], *np.log1p(smallest["smallest"]), *-np.log1p(smallest["margin"])]
    ends = 1.08 * min(edges), 1.08 * max(edges)
    with drawing.styled(axes__grid__axis="x"):
        figure = drawing.canvas(0.34 * len(smallest) + 0.3 * len(machines) + 0.95)
        axes = figure.subplots(len(machines), sharex=True, squeeze=False, height_ratios=[*machines]).flatten()
        for ax, machine in zip(axes, machines.index, strict=True):
            here = smallest["machine"] == machine
            _sensitivity_rows(ax, smallest[here], controls[controls["machine"] == machine], names, ends)
            if len(machines) > 1:
                ax.set_title(in_lines(printable(machine), CHARACTERS), fontsize=9)
        axes[-1].set_xlabel("change from a commit to itself (%)")
        handles: list[Any] = [
            Line2D([], [], marker="o", linestyle="", color=INK, markersize=4, label="A/A run"),
            Patch(**BAND, label="margin"),
            _mark((WORSE, "D", "none"), "slowdown detected in 4 of 5 runs"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
    caption = f"Each dot is an A/A run, whose true change is 0. Diamonds are calculated (see below).{left_out(prefix)}"
    least, most = 100 * smallest["smallest"].min(), 100 * smallest["smallest"].max()
    alt = f"Smallest slowdown detected in 4 of 5 runs: {least:.1f} % to {most:.1f} % by benchmark."
    return picture("sensitivity", caption, alt, figure, ("sensitivity", "controls"))


def _sensitivity_rows(
    ax: Axes, smallest: pd.DataFrame, controls: pd.DataFrame, names: Mapping[str, str], ends: tuple[float, float]
) -> None:
    """Draw the benchmarks of one machine."""
    rows = smallest.to_dict("records")
    _ratio_axis(ax, [names[row["benchmark"]] for row in rows], ends)
    for i, row in enumerate(rows):
        margin, of = math.log1p(row["margin"]), f"{whole(row['benchmark'])}, {printable(row['machine'])}"
        ax.add_patch(Rectangle((-margin, i - 0.36), 2 * margin, 0.72, **BAND))
        dots = controls.loc[controls["benchmark"] == row["benchmark"], "log_ratio"]
        aside = np.linspace(-0.2, 0.2, len(dots)) if len(dots) > 1 else np.zeros(1)
        ax.scatter(dots, i + aside, s=13, color=INK, alpha=0.75, linewidth=0)
        marks.tell(ax, dots, i + aside, [f"{of}, A/A run: {minus(signed(dot))} %" for dot in dots], "dot")
        ax.scatter(math.log1p(row["smallest"]), i, s=46, marker="D", color=WORSE, facecolor="none", linewidth=1.5)
        words = f"{of}: smallest slowdown detected in 4 of 5 runs, {100 * row['smallest']:.1f} %"
        marks.tell(ax, math.log1p(row["smallest"]), i, [words])


def picture(name: str, caption: str, alt: str, figure: Figure, data: tuple[str, ...]) -> Picture:
    """Put a picture together; its words are on one line, and not too long."""
    return Picture(name, caption, printable(alt, ALT), figure, data)


def more(number: int, most: int) -> str:
    """Say in a caption how many of all are not drawn."""
    return f" {number - most} more are in the data." if number > most else ""


def _ratios_in_words(table: pd.DataFrame, names: Mapping[str, str]) -> str:
    benchmarks = [
        f"{names[row['benchmark']]} {signed(row['log_ratio'])} % ({span(row['low'], row['high'])}),"
        f" {VERDICTS[row['verdict']]}"
        for row in table.to_dict("records")
    ]
    return f"Change in time from base to head. {'; '.join(benchmarks)}." if benchmarks else "No benchmark was measured."


def _ratio_rows(labels: Sequence[str], xlabel: str, height: float, ends: tuple[float, float]) -> tuple[Figure, Axes]:
    """Lay out a figure of such an axis."""
    figure = drawing.canvas(height)
    ax = figure.subplots()
    _ratio_axis(ax, labels, ends)
    ax.set_xlabel(xlabel)
    return figure, ax


def _ratio_axis(ax: Axes, labels: Sequence[str], ends: tuple[float, float]) -> None:
    """Give an axis of log ratios a row per label, from the top, and a line at 0."""
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(labels)), map(in_lines, labels))
    ax.set(xlim=ends, ylim=(max(len(labels), 1) - 0.4, -0.6))
    percent_ticks(ax, *ends)


def _ratio_row(ax: Axes, i: int, row: Mapping[Any, Any]) -> None:
    """Draw the ratio of a benchmark, and that of its second batch below it."""
    colour, marker, fill = LOOKS[row["verdict"]]
    name = whole(row["benchmark"])
    margin = math.log1p(row["margin"])
    ax.add_patch(Rectangle((-margin, i - 0.4), 2 * margin, 0.8, **BAND))
    if math.isnan(row["log_ratio"]):
        text = VERDICTS[row["verdict"]]
    else:
        second = not math.isnan(row["second_log_ratio"])
        y = i - 0.12 if second else i
        left, right = ax.get_xlim()
        ax.hlines(y, max(row["low"], left), min(row["high"], right), color=colour, linewidth=2)
        ax.scatter(row["log_ratio"], y, s=52, marker=marker, color=colour, facecolor=fill, linewidth=1.5, zorder=3)
        words = f"{name}: {with_interval(row, '')}, {count(row['pairs'], 'pair')}: {VERDICTS[row['verdict']]}"
        marks.tell_line(ax, [max(row["low"], left), min(row["high"], right)], [y, y], words)
        marks.tell(ax, row["log_ratio"], y, [words])
        if second:
            low, high = max(row["second_low"], left), min(row["second_high"], right)
            ax.hlines(i + 0.2, low, high, color=colour, linewidth=1)
            ax.scatter(row["second_log_ratio"], i + 0.2, s=30, marker="|", color=colour)
            words = f"{name}, second batch: {with_interval(row, 'second_')}, {count(row['second_pairs'], 'pair')}"
            marks.tell_line(ax, [low, high], [i + 0.2, i + 0.2], words)
        text = f"{minus(signed(row['log_ratio']))} % {VERDICTS[row['verdict']]}"
    ax.text(1.02, i, text, va="center", fontsize=9, transform=ax.get_yaxis_transform())


def with_interval(row: Mapping[Any, Any], batch: str) -> str:
    """Write the ratio of a batch, and between what it lies."""
    low, high = row[f"{batch}low"], row[f"{batch}high"]
    return f"{minus(signed(row[f'{batch}log_ratio']))} %, 95 % interval {minus(span(low, high))}"


def _ends(rows: Sequence[Mapping[Any, Any]]) -> tuple[float, float]:
    """Return the ends of an axis that shows all ratios, all margins, and all intervals that are not endless."""
    edges = [0.0]
    for row in rows:
        edges += [math.log1p(row["margin"]), -math.log1p(row["margin"])]
        edges += [row[f"{batch}{end}"] for batch in ("", "second_") for end in ("log_ratio", "low", "high")]
    finite = [edge for edge in edges if math.isfinite(edge)]
    pad = 0.05 * (max(finite) - min(finite)) + 0.002
    return min(finite) - pad, max(finite) + pad


def percent_ticks(ax: Axes, low: float, high: float, *, vertical: bool = False) -> None:
    """Put ticks at round percentages of an axis of log ratios."""
    least, most = 100 * math.expm1(low), 100 * math.expm1(high)
    number = TICKS_UP if vertical else TICKS_ACROSS
    step = next((step for step in STEPS if (most - least) / step <= number), None)
    step = step or 100 * math.ceil((most - least) / 100 / number)
    ticks = [step * i for i in range(math.ceil(least / step), math.floor(most / step) + 1)]
    ticks = [tick for tick in ticks if tick > -100]  # noqa: PLR2004  nothing is faster by 100 %
    axis = ax.yaxis if vertical else ax.xaxis
    axis.set_ticks([math.log1p(tick / 100) for tick in ticks], [minus(f"{tick:+g}") if tick else "0" for tick in ticks])


def _mark(look: tuple[str, str, str], label: str) -> Line2D:
    colour, marker, fill = look
    style: dict[str, Any] = {"color": colour, "marker": marker, "markerfacecolor": fill, "markeredgewidth": 1.5}
    return Line2D([], [], linestyle="", markersize=6.5, label=label, **style)
