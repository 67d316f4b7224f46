"""From the facts of the gate's page to figures; none computes a number that the text prints. Ratios are logarithms."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from deeptwins.gate.judge.history import History
from deeptwins.gate.page.names import LONGEST_SHORT, VERDICTS, in_lines, left_out, printable, short_names, whole
from deeptwins.gate.page.tables import ROWS, signed, span
from deeptwins.pages import drawing, marks
from deeptwins.pages.colours import CHANCE, DASHED, INK, KINDS, MARKERS, WORSE
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
TICKS_ACROSS, TICKS_UP, TICKS_OF_COMMITS = 7, 5, 4  # at most
BETWEEN = re.compile(r"[0-9a-f]{12}\.{3}[0-9a-f]{12}")  # two commits
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
PANELS, PER_ROW = 24, 2  # of the history
CHARACTERS = 66  # in a line above a panel as wide as the figure
# The share of a panel's height that is left free for the text beside no step, one, two, and more steps.
ROOM = (0.0, 0.3, 0.55, 0.3)
LEAST_HEIGHT = 0.01  # of a panel, in log ratios
ALT = 4000  # characters
DOTTED = (0, (1, 1.6))


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
        f" mark below is the second batch, in new processes.{left_out(prefix)}{_more(len(table), ROWS)}"
    )
    return _picture("ratios", caption, _ratios_in_words(table, names), figure, ("ratios",))


def history(past: History) -> Picture:
    """Draw the history of each benchmark in a panel: intervals, levels, steps with their commits, other changes."""
    names, prefix = short_names(past.points["benchmark"])
    points = _drawn(past)
    machines = dict(zip(dict.fromkeys(points["machine"]), itertools.cycle(MARKERS), strict=False))
    with drawing.styled():
        figure, axes = _panels(list(dict.fromkeys(points["benchmark"])))
        last, first = int(points["place"].max()), next(iter(axes.values()))
        first.set_xlim(-0.6, last + 0.6)
        labels = {row["place"]: f"{printable(row['commit'])[:7]}\n{row['date']}" for row in points.to_dict("records")}
        places = [place for place in _counts(last) if place in labels]
        first.set_xticks(places, [labels[place] for place in places], fontsize=8)
        for name, ax in axes.items():
            changes = past.changes[past.changes["benchmark"] == name]
            series = points[points["benchmark"] == name]
            _series(ax, series, changes, machines, past.repository)
            told = _points_in_words(series, whole(name))
            marks.tell_upright(ax, series["place"], series["low"], series["high"], told)
            marks.tell(ax, series["place"], series["log_ratio"], told, "dot")
            for place in past.events["place"]:
                ax.axvline(place - 0.5, color=INK, linewidth=1, alpha=0.55, linestyle=DOTTED)
            ax.set_title(in_lines(names[name]), fontsize=9)
            ax.tick_params(labelbottom=True)
        figure.supxlabel("commit and its date, the first run on the left")
        figure.supylabel("change in time from the anchor (%)")
        handles = _history_marks(past.changes, past.events, machines)
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
    caption = (
        "Change in time from the anchor, with 95 % intervals; each panel has its own scale. Lines are medians between"
        f" steps; a step is labelled with the commits before and after it, where there is room.{left_out(prefix)}"
        f"{_more(len(names), PANELS)}"
    )
    return _picture("history", caption, _history_in_words(past, names), figure, ("history",))


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
    return _picture("self-test", caption, f"{'; '.join(sentences)}.", figure, ("self-test",))


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
    return _picture("sensitivity", caption, alt, figure, ("sensitivity", "controls"))


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


def _picture(name: str, caption: str, alt: str, figure: Figure, data: tuple[str, ...]) -> Picture:
    return Picture(name, caption, printable(alt, ALT), figure, data)


def _more(number: int, most: int) -> str:
    return f" {number - most} more are in the data." if number > most else ""


def _ratios_in_words(table: pd.DataFrame, names: Mapping[str, str]) -> str:
    benchmarks = [
        f"{names[row['benchmark']]} {signed(row['log_ratio'])} % ({span(row['low'], row['high'])}),"
        f" {VERDICTS[row['verdict']]}"
        for row in table.to_dict("records")
    ]
    return f"Change in time from base to head. {'; '.join(benchmarks)}." if benchmarks else "No benchmark was measured."


def _history_in_words(past: History, names: Mapping[str, str]) -> str:
    steps = []
    for row in past.changes.to_dict("records"):
        suspected = "" if row["confirmed"] else " (suspected)"
        step = f"{names[row['benchmark']]} {row['percent']:+.1f} % between {row['before']} and {row['after']}"
        steps.append(step + suspected)
    return f"{past.runs} runs of {len(names)} benchmarks. Steps: {'; '.join(steps) or 'none'}."


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
    _percent_ticks(ax, *ends)


def _drawn(past: History) -> pd.DataFrame:
    """Return the points of as many benchmarks as there are panels for; those with a step take precedence."""
    names = dict.fromkeys([*past.changes["benchmark"], *past.points["benchmark"]])
    return past.points[past.points["benchmark"].isin([*names][:PANELS])]


def _panels(titles: Sequence[str]) -> tuple[Figure, drawing.Panels]:
    """Lay out one panel per title, each with its own y."""
    columns = min(PER_ROW, len(titles))
    rows = -(-len(titles) // columns)
    figure = drawing.canvas(2.05 * rows + 0.6)
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False).flatten()
    for ax in axes[len(titles) :]:
        ax.remove()
    return figure, dict(zip(titles, axes, strict=False))


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
        words = f"{name}: {_with_interval(row, '')}, {count(row['pairs'], 'pair')}: {VERDICTS[row['verdict']]}"
        marks.tell_line(ax, [max(row["low"], left), min(row["high"], right)], [y, y], words)
        marks.tell(ax, row["log_ratio"], y, [words])
        if second:
            low, high = max(row["second_low"], left), min(row["second_high"], right)
            ax.hlines(i + 0.2, low, high, color=colour, linewidth=1)
            ax.scatter(row["second_log_ratio"], i + 0.2, s=30, marker="|", color=colour)
            words = f"{name}, second batch: {_with_interval(row, 'second_')}, {count(row['second_pairs'], 'pair')}"
            marks.tell_line(ax, [low, high], [i + 0.2, i + 0.2], words)
        text = f"{minus(signed(row['log_ratio']))} % {VERDICTS[row['verdict']]}"
    ax.text(1.02, i, text, va="center", fontsize=9, transform=ax.get_yaxis_transform())


def _with_interval(row: Mapping[Any, Any], batch: str) -> str:
    """Write the ratio of a batch, and between what it lies."""
    low, high = row[f"{batch}low"], row[f"{batch}high"]
    return f"{minus(signed(row[f'{batch}log_ratio']))} %, 95 % interval {minus(span(low, high))}"


def _points_in_words(series: pd.DataFrame, name: str) -> list[str]:
    """Say what each point of a history is."""
    return [
        f"{name}, {printable(row['commit'])[:12]}, {row['date']}: {_with_interval(row, '')}"
        for row in series.to_dict("records")
    ]


def _ends(rows: Sequence[Mapping[Any, Any]]) -> tuple[float, float]:
    """Return the ends of an axis that shows all ratios, all margins, and all intervals that are not endless."""
    edges = [0.0]
    for row in rows:
        edges += [math.log1p(row["margin"]), -math.log1p(row["margin"])]
        edges += [row[f"{batch}{end}"] for batch in ("", "second_") for end in ("log_ratio", "low", "high")]
    finite = [edge for edge in edges if math.isfinite(edge)]
    pad = 0.05 * (max(finite) - min(finite)) + 0.002
    return min(finite) - pad, max(finite) + pad


def _percent_ticks(ax: Axes, low: float, high: float, *, vertical: bool = False) -> None:
    """Put ticks at round percentages of an axis of log ratios."""
    least, most = 100 * math.expm1(low), 100 * math.expm1(high)
    number = TICKS_UP if vertical else TICKS_ACROSS
    step = next((step for step in STEPS if (most - least) / step <= number), None)
    step = step or 100 * math.ceil((most - least) / 100 / number)
    ticks = [step * i for i in range(math.ceil(least / step), math.floor(most / step) + 1)]
    ticks = [tick for tick in ticks if tick > -100]  # noqa: PLR2004  nothing is faster by 100 %
    axis = ax.yaxis if vertical else ax.xaxis
    axis.set_ticks([math.log1p(tick / 100) for tick in ticks], [minus(f"{tick:+g}") if tick else "0" for tick in ticks])


def _series(
    ax: Axes, values: pd.DataFrame, changes: pd.DataFrame, machines: Mapping[str, str], repository: str
) -> None:
    """Draw the values of a benchmark, the level of each stretch, and its steps."""
    for chain, series in values.groupby("chain"):
        starts = sorted(changes.loc[changes["chain"] == chain, "place"])
        for _, level in series.groupby(np.searchsorted(starts, series["place"], side="right")):
            ends = level["place"].min() - 0.35, level["place"].max() + 0.35
            ax.hlines(level["log_ratio"].median(), *ends, color=INK, linewidth=1.4)
    ax.vlines(values["place"], values["low"], values["high"], color=INK, linewidth=2.4, alpha=0.25)
    for machine, dots in values.groupby("machine", sort=False):
        ax.scatter(dots["place"], dots["log_ratio"], s=12, marker=machines[str(machine)], color=INK, zorder=3)
    low, high = _limits(values, len(changes))
    ax.set_ylim(low, high)
    _percent_ticks(ax, low, high, vertical=True)
    _name_steps(ax, changes.sort_values("place"), high, repository)


def _limits(values: pd.DataFrame, steps: int) -> tuple[float, float]:
    """Return the ends of a panel's y axis, with room at the top for what is written beside steps."""
    # A lone wide interval would flatten all others: it may leave the panel.
    widths = values["high"] - values["low"]
    half = widths.median() if np.isfinite(widths).any() else 0.0
    low, high = values["log_ratio"].min() - half, values["log_ratio"].max() + half
    missing = max(LEAST_HEIGHT - (high - low), 0) / 2
    low, high = low - missing, high + missing
    room = ROOM[min(steps, len(ROOM) - 1)]
    return low, high + (high - low) * room / (1 - room)


def _name_steps(ax: Axes, changes: pd.DataFrame, high: float, repository: str) -> None:
    """Write beside each step its size and, of no more than two, between which commits it lies: a table has the rest.

    The text is a link to what changed between the commits, where the repository is known.
    """
    lines = 2 if len(changes) <= 2 else 1  # noqa: PLR2004
    for i, change in enumerate(changes.to_dict("records")):
        x = change["place"] - 0.5
        ax.axvline(x, color=WORSE, linewidth=1.5, linestyle="-" if change["confirmed"] else DASHED)
        right = x > np.mean(ax.get_xlim())
        text = f"{minus(signed(change['log_size']))} %{'' if change['confirmed'] else ' ?'}"
        if lines > 1:
            text += f"\n{printable(change['before'])[:7]}..{printable(change['after'])[:7]}"
        # In points. Every second text stands lower, below the one before.
        offset = (-4 if right else 4, -1 - 12 * lines * (i % 2))
        style: dict[str, Any] = {"ha": "right" if right else "left", "va": "top", "fontsize": 8, "color": INK}
        between = f"{change['before'][:12]}...{change['after'][:12]}"
        if repository and BETWEEN.fullmatch(between):
            style["url"] = f"{repository}/compare/{between}"
        ax.annotate(text, (x, high), offset, textcoords="offset points", **style)


def _history_marks(changes: pd.DataFrame, events: pd.DataFrame, machines: Mapping[str, str]) -> list[Line2D]:
    handles = [
        Line2D([], [], marker=marker, linestyle="", color=INK, markersize=4, label=printable(machine, 50))
        for machine, marker in machines.items()
    ]
    if changes["confirmed"].eq(True).any():  # noqa: FBT003
        handles.append(Line2D([], [], color=WORSE, linewidth=1.5, label="step"))
    if changes["confirmed"].eq(False).any():  # noqa: FBT003
        handles.append(Line2D([], [], color=WORSE, linewidth=1.5, linestyle=DASHED, label="suspected step"))
    if len(events):
        handles.append(Line2D([], [], color=INK, linewidth=1.1, linestyle=DOTTED, label="other change"))
    return handles


def _counts(last: int) -> list[int]:
    """Return round numbers of runs."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 10**9) if last / step <= TICKS_OF_COMMITS)
    return list(range(0, last + 1, step))


def _mark(look: tuple[str, str, str], label: str) -> Line2D:
    colour, marker, fill = look
    style: dict[str, Any] = {"color": colour, "marker": marker, "markerfacecolor": fill, "markeredgewidth": 1.5}
    return Line2D([], [], linestyle="", markersize=6.5, label=label, **style)
