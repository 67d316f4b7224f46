"""The figure of the gate's history: a panel per benchmark, with its levels and steps. Ratios are logarithms."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deeptwins.gate.judge.history import History
from deeptwins.gate.page.figures import more, percent_ticks, picture, with_interval
from deeptwins.gate.page.names import in_lines, left_out, printable, short_names, whole
from deeptwins.gate.page.tables import signed
from deeptwins.pages import drawing, marks
from deeptwins.pages.colours import DASHED, INK, MARKERS, WORSE
from deeptwins.pages.drawing import Picture
from deeptwins.pages.wording import minus

TICKS_OF_COMMITS = 4  # at most
BETWEEN = re.compile(r"[0-9a-f]{12}\.{3}[0-9a-f]{12}")  # two commits
PANELS, PER_ROW = 24, 2  # of the history
# The share of a panel's height that is left free for the text beside no step, one, two, and more steps.
ROOM = (0.0, 0.3, 0.55, 0.3)
LEAST_HEIGHT = 0.01  # of a panel, in log ratios
DOTTED = (0, (1, 1.6))


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
        f"{more(len(names), PANELS)}"
    )
    return picture("history", caption, _history_in_words(past, names), figure, ("history",))


def _history_in_words(past: History, names: Mapping[str, str]) -> str:
    steps = []
    for row in past.changes.to_dict("records"):
        suspected = "" if row["confirmed"] else " (suspected)"
        step = f"{names[row['benchmark']]} {row['percent']:+.1f} % between {row['before']} and {row['after']}"
        steps.append(step + suspected)
    return f"{past.runs} runs of {len(names)} benchmarks. Steps: {'; '.join(steps) or 'none'}."


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


def _points_in_words(series: pd.DataFrame, name: str) -> list[str]:
    """Say what each point of a history is."""
    return [
        f"{name}, {printable(row['commit'])[:12]}, {row['date']}: {with_interval(row, '')}"
        for row in series.to_dict("records")
    ]


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
    percent_ticks(ax, low, high, vertical=True)
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
