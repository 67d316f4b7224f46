"""From what the gate found to figures; none computes a number that the text prints. Ratios are drawn as logarithms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from deeptwins.gate.page.tables import VERDICTS, shown, signed
from deeptwins.pages import drawing
from deeptwins.pages.drawing import DASHED, HUES, INK, MARKERS, WIDTH

LOOKS: Mapping[str, tuple[str, str, str]] = {  # of a verdict: colour, marker, its fill; read without colours, too
    "regressed": (HUES[0], ">", HUES[0]),
    "inconclusive": (HUES[3], "D", "none"),
    "improved": (HUES[2], "<", HUES[2]),
    "no_worse": (HUES[1], "o", HUES[1]),
    "not_measured": (HUES[4], "", HUES[4]),
}
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # between ticks, in percent
TICKS = 7
OUTCOMES = {"found": HUES[1], "inconclusive": HUES[3], "fine": HUES[2], "not_measured": HUES[4]}
BAND: Any = {"color": INK, "alpha": 0.09, "linewidth": 0}
PER_ROW = 2  # panels of histories
ROOM = (0.0, 0.3, 0.55, 0.3)  # share of a panel's height for what is written beside none, one, two, more steps
DOTTED = (0, (1, 1.6))


def forest(table: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw the ratio of each benchmark with its interval, its margin as a band, its second batch below it."""
    rows = table.to_dict("records")
    with drawing.styled():
        size = WIDTH, 0.36 * max(len(rows), 1) + 1.25
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.06))
        ax = figure.subplots()
        ax.axvline(0, color=INK, linewidth=0.8)
        span = _span(rows)
        ax.set(xlim=span, ylim=(max(len(rows), 1) - 0.4, -0.6), xlabel="time of head over base (%)")
        _percent_ticks(ax, *span)
        for i, row in enumerate(rows):
            _forest_row(ax, i, row)
        ax.set_yticks(range(len(rows)), [names[row["benchmark"]] for row in rows])
        ax.grid(visible=True, axis="x")
        ax.grid(visible=False, axis="y")
        if not rows:
            ax.text(0.5, 0.5, "no benchmark was measured", ha="center", transform=ax.transAxes)
        marks: list[Any] = [Patch(**BAND, label="margin")]
        present = {row["verdict"] for row in rows}
        marks += [
            _mark(look, VERDICTS[verdict]) for verdict, look in LOOKS.items() if verdict in present - {"not_measured"}
        ]
        if rows and table["second_log_ratio"].notna().any():
            marks.append(Line2D([], [], color=HUES[4], marker="|", linewidth=1, label="second batch"))
        figure.legend(handles=marks, loc="outside upper left", ncols=len(marks), handlelength=1.2, columnspacing=1.2)
    return figure


def history(points: pd.DataFrame, changes: pd.DataFrame, events: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw the history of each benchmark in a panel: intervals, levels, steps with their commits, other changes."""
    machines = drawing.palette(points["machine"], MARKERS)
    titles = list(dict.fromkeys(points["benchmark"]))
    columns = min(PER_ROW, len(titles))
    rows = -(-len(titles) // columns)
    with drawing.styled():
        size = WIDTH, 2.05 * rows + 0.6
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.06))
        axes = figure.subplots(rows, columns, sharex=True, squeeze=False).flatten()
        for ax in axes[len(titles) :]:
            ax.remove()
        last = int(points["place"].max())
        axes[0].set_xlim(-0.6, last + 0.6)
        axes[0].set_xticks(_counts(last))
        for name, ax in zip(titles, axes, strict=False):
            own = points[points["benchmark"] == name]
            _series(ax, own, changes[changes["benchmark"] == name], machines)
            for event in events.to_dict("records"):
                ax.axvline(event["place"] - 0.5, color=INK, linewidth=1, alpha=0.55, linestyle=DOTTED)
            ax.set_title(names[name], fontsize=9)
            ax.tick_params(labelbottom=True)
        figure.supxlabel("run, the oldest first")
        figure.supylabel("time over the anchor's (%)")
        figure.legend(handles=_history_marks(changes, events, machines), loc="outside upper left", ncols=2)
    return figure


def outcomes(table: pd.DataFrame) -> Figure:
    """Draw what the gate said of runs whose truth is known: a bar a treatment, in shares that are named."""
    rows = table.to_dict("records")
    with drawing.styled():
        size = WIDTH, 0.36 * len(rows) + 1.1
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.06))
        ax = figure.subplots()
        told: dict[str, str] = {}
        for i, row in enumerate(rows):
            left = 0.0
            for outcome, colour in OUTCOMES.items():
                if not (number := row[outcome]):
                    continue
                share = 100 * number / row["runs"]
                said = "false alarm" if outcome == "found" and row["kind"] == "aa" else outcome.replace("_", " ")
                fill = told.setdefault(said, HUES[0] if said == "false alarm" else colour)
                ax.barh(i, share, left=left, height=0.66, color=fill, alpha=0.35, edgecolor=INK, linewidth=0.6)
                text = f"{number} {said}" if share > 17 else str(number)  # noqa: PLR2004  there is room for words
                ax.text(left + share / 2, i, text, ha="center", va="center", fontsize=8.5)
                left += share
        names = [_cut(shown(row["treatment"])) for row in rows]
        ax.set_yticks(range(len(rows)), names)
        ax.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 100), xlabel="share of runs (%)")
        ax.grid(visible=False)
        marks = [
            Patch(facecolor=fill, alpha=0.35, edgecolor=INK, linewidth=0.6, label=said) for said, fill in told.items()
        ]
        figure.legend(handles=marks, loc="outside upper left", ncols=len(marks), columnspacing=1.2)
    return figure


def sensitivity(table: pd.DataFrame, measured: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw A/A ratios, which should be 0, in their margins, and the smallest slowdown that is mostly found."""
    keys = [(row["machine"], row["benchmark"]) for row in table.to_dict("records")]
    with drawing.styled():
        size = WIDTH, 0.34 * len(keys) + 1.25
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.06))
        ax = figure.subplots()
        ax.axvline(0, color=INK, linewidth=0.8)
        for i, row in enumerate(table.to_dict("records")):
            margin = math.log1p(row["margin"])
            ax.add_patch(Rectangle((-margin, i - 0.36), 2 * margin, 0.72, **BAND))
            own = measured[(measured["machine"] == row["machine"]) & (measured["benchmark"] == row["benchmark"])]
            aside = np.linspace(-0.2, 0.2, len(own)) if len(own) > 1 else [0.0]
            ax.scatter(own["log_ratio"], i + np.asarray(aside), s=13, color=HUES[1], alpha=0.75, linewidth=0)
            ax.scatter(math.log1p(row["smallest"]), i, s=46, marker="D", color=HUES[0], facecolor="none", linewidth=1.5)
        edges = [*measured["log_ratio"], *np.log1p(table["smallest"]), *-np.log1p(table["margin"])]
        span = 1.08 * min(edges), 1.08 * max(edges)
        ax.set(xlim=span, ylim=(len(keys) - 0.4, -0.6), xlabel="ratio of a commit to itself (%)")
        _percent_ticks(ax, *span)
        several = table["machine"].nunique() > 1
        ax.set_yticks(
            range(len(keys)),
            [names[name] + (f", {_cut(shown(machine), 22)}" if several else "") for machine, name in keys],
        )
        ax.grid(visible=True, axis="x")
        ax.grid(visible=False, axis="y")
        marks: list[Any] = [
            Line2D([], [], marker="o", linestyle="", color=HUES[1], markersize=4, label="A/A run"),
            Patch(**BAND, label="margin"),
            _mark((HUES[0], "D", "none"), "smallest slowdown found in 80 %"),
        ]
        figure.legend(handles=marks, loc="outside upper left", ncols=3)
    return figure


def _forest_row(ax: Axes, i: int, row: Mapping[Any, Any]) -> None:
    colour, marker, fill = LOOKS[row["verdict"]]
    margin = math.log1p(row["margin"])
    ax.add_patch(Rectangle((-margin, i - 0.4), 2 * margin, 0.8, **BAND))
    if math.isnan(row["log_ratio"]):
        told = VERDICTS[row["verdict"]]
    else:
        second = not math.isnan(row["second_log_ratio"])
        y = i - 0.12 if second else i
        left, right = ax.get_xlim()
        ax.hlines(y, max(row["low"], left), min(row["high"], right), color=colour, linewidth=2)
        ax.scatter(row["log_ratio"], y, s=52, marker=marker, color=colour, facecolor=fill, linewidth=1.5, zorder=3)
        if second:
            low, high = max(row["second_low"], left), min(row["second_high"], right)
            ax.hlines(i + 0.2, low, high, color=colour, linewidth=1)
            ax.scatter(row["second_log_ratio"], i + 0.2, s=30, marker="|", color=colour)
        told = f"{_minus(signed(row['log_ratio']))} % {VERDICTS[row['verdict']]}"
    ax.text(1.02, i, told, va="center", fontsize=9, transform=ax.get_yaxis_transform())


def _span(rows: Sequence[Mapping[Any, Any]]) -> tuple[float, float]:
    """Return the ends of an axis that shows all ratios, all margins, and all intervals that are not endless."""
    edges = [0.0]
    for row in rows:
        edges += [math.log1p(row["margin"]), -math.log1p(row["margin"])]
        edges += [row[f"{batch}{end}"] for batch in ("", "second_") for end in ("log_ratio", "low", "high")]
    shown = [edge for edge in edges if math.isfinite(edge)]
    pad = 0.05 * (max(shown) - min(shown)) + 0.002
    return min(shown) - pad, max(shown) + pad


def _percent_ticks(ax: Axes, low: float, high: float, *, vertical: bool = False) -> None:
    """Put ticks at round percentages of an axis of log ratios."""
    ends = 100 * math.expm1(low), 100 * math.expm1(high)
    most = 5 if vertical else TICKS
    step = next((step for step in STEPS if (ends[1] - ends[0]) / step <= most), None)
    step = step or 100 * math.ceil((ends[1] - ends[0]) / 100 / most)
    ticks = [step * i for i in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1) if step * i > -100]  # noqa: PLR2004
    places, texts = [math.log1p(tick / 100) for tick in ticks], [f"{tick:+g}" if tick else "0" for tick in ticks]
    (ax.set_yticks if vertical else ax.set_xticks)(places, [_minus(text) for text in texts])


def _series(ax: Axes, own: pd.DataFrame, changes: pd.DataFrame, machines: Mapping[str, str]) -> None:
    """Draw the values of a benchmark, the level of each stretch, and its steps."""
    for chain, series in own.groupby("chain"):
        starts = sorted(changes.loc[changes["chain"] == chain, "place"])
        for _, level in series.groupby(np.searchsorted(starts, series["place"], side="right")):
            ends = level["place"].min() - 0.35, level["place"].max() + 0.35
            ax.hlines(level["log_ratio"].median(), *ends, color=HUES[1], linewidth=1.4)
    ax.vlines(own["place"], own["low"], own["high"], color=HUES[1], linewidth=2.4, alpha=0.25)
    for machine, points in own.groupby("machine", sort=False):
        ax.scatter(points["place"], points["log_ratio"], s=12, marker=machines[str(machine)], color=HUES[1], zorder=3)
    # A lone wide interval would flatten all others: it may leave the panel.
    half = (own["high"] - own["low"]).median() if np.isfinite(own["high"] - own["low"]).any() else 0.0
    low, high = own["log_ratio"].min() - half, own["log_ratio"].max() + half
    wanting = max(0.01 - (high - low), 0) / 2
    low, high = low - wanting, high + wanting
    room = ROOM[min(len(changes), len(ROOM) - 1)]
    high += (high - low) * room / (1 - room)
    ax.set_ylim(low, high)
    _percent_ticks(ax, low, high, vertical=True)
    _name_steps(ax, changes.sort_values("place"), high)


def _name_steps(ax: Axes, changes: pd.DataFrame, high: float) -> None:
    """Write beside each step its size and, of no more than two, between which commits it lies: a table has the rest."""
    lines = 2 if len(changes) <= 2 else 1  # noqa: PLR2004
    for i, change in enumerate(changes.to_dict("records")):
        x = change["place"] - 0.5
        ax.axvline(x, color=HUES[0], linewidth=1.5, linestyle="-" if change["confirmed"] else DASHED)
        right = x > np.mean(ax.get_xlim())
        text = f"{_minus(signed(change['log_size']))} %{'' if change['confirmed'] else ' ?'}"
        if lines > 1:
            text += f"\n{shown(change['before'])[:7]}..{shown(change['after'])[:7]}"
        offset = (-4 if right else 4, -1 - 12 * lines * (i % 2))  # points: below the one before
        style: dict[str, Any] = {"ha": "right" if right else "left", "va": "top", "fontsize": 8, "color": INK}
        ax.annotate(text, (x, high), offset, textcoords="offset points", **style)


def _history_marks(changes: pd.DataFrame, events: pd.DataFrame, machines: Mapping[str, str]) -> list[Line2D]:
    marks = [
        Line2D([], [], marker=marker, linestyle="", color=HUES[1], markersize=4, label=_cut(shown(machine), 50))
        for machine, marker in machines.items()
    ]
    if changes["confirmed"].eq(True).any():  # noqa: FBT003
        marks.append(Line2D([], [], color=HUES[0], linewidth=1.5, label="step"))
    if changes["confirmed"].eq(False).any():  # noqa: FBT003
        marks.append(Line2D([], [], color=HUES[0], linewidth=1.5, linestyle=DASHED, label="suspected step"))
    if len(events):
        marks.append(Line2D([], [], color=INK, linewidth=1.1, linestyle=DOTTED, label="other change"))
    return marks


def _counts(last: int) -> list[int]:
    """Return round numbers of runs."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 10**9) if last / step <= 6)  # noqa: PLR2004
    return list(range(0, last + 1, step))


def _mark(look: tuple[str, str, str], label: str) -> Line2D:
    colour, marker, fill = look
    style: dict[str, Any] = {"color": colour, "marker": marker, "markerfacecolor": fill, "markeredgewidth": 1.5}
    return Line2D([], [], linestyle="", markersize=6.5, label=label, **style)


def _cut(text: str, length: int = 40) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
