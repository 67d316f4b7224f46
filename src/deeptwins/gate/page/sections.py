"""Parts of the gate's page that tell of one run and of the past: pictures, tables, sentences, the data behind them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from deeptwins.gate.judge.conclusion import Conclusion
from deeptwins.gate.judge.history import History
from deeptwins.gate.judge.steps import LEAST
from deeptwins.gate.page import figures, run_tables, tables
from deeptwins.gate.runs import COMMIT, Kind, Run
from deeptwins.pages import page
from deeptwins.pages.drawing import Picture
from deeptwins.pages.page import Section
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count

COMMANDS: dict[Kind, str] = {
    "paired": "deeptwins gate --base REF",
    "imported": "deeptwins gate import FILE ...",
    "anchor": "deeptwins gate --anchor REF",
    "aa": "deeptwins gate --self-test",
    "slower": "deeptwins gate --self-test",
    "mutant": "deeptwins gate --self-test",
}
ALT = 4000  # characters
ROWS = 60  # of a table or figure on the page: the rest is in its CSV file
PANELS = 24  # of the history
STEPS = f"""
A series is the time of each commit over that of a fixed commit, the anchor, timed side by side: the machine cancels.
Steps are proposed by a search with an L1 cost (PELT, ruptures) whose penalty lets a series without a step have one in
at most 1 of 100; those below the benchmark's margin are dropped, and the rest must pass a rank test at 0.002. Where
there are too few runs for that test to tell, a step is suspected. A series needs {LEAST} runs. Where an anchor follows
another, the series goes on by their measured ratio, whose error then enters all that follows.
"""


@dataclass
class Parts:
    """What the page is made of, as it grows."""

    sections: list[Section] = field(default_factory=list)
    data: dict[str, pd.DataFrame] = field(default_factory=dict)
    sources: list[list[str]] = field(default_factory=list)
    """Figure or table, its file, the command that measures it."""

    def source(self, what: str, name: str, table: pd.DataFrame, command: str) -> None:
        """Keep the data of a figure or table, if there is any."""
        if len(table):
            self.data[name] = table
            self.sources.append([what, f"data/{name}.csv", command])


def comparison(parts: Parts, run: Run, conclusion: Conclusion) -> None:
    """Draw and tabulate the ratios."""
    table = tables.judged(run, conclusion)
    names, prefix = tables.short_names(table["benchmark"])
    caption = (
        "95 % intervals; the thin mark below is the second batch, of processes of its own. Grey: the slowdown, or"
        f" speed-up, that is tolerated. Right of 0 head is slower.{left_out(prefix)}{_more(len(table), ROWS)}"
    )
    told = "; ".join(
        f"{names[row['benchmark']]} {tables.signed(row['log_ratio'])} % ({tables.span(row['low'], row['high'])}),"
        f" {tables.VERDICTS[row['verdict']]}"
        for row in table.to_dict("records")
    )
    alt = f"Time of head over base. {told}." if told else "No benchmark was measured."
    ratio_picture = picture("ratios", caption, alt, figures.forest(table.head(ROWS), names))
    ratios = tables.forest(table, prefix)
    parts.sections.append(Section("Head against base", (ratio_picture,), (ratios,) if ratios.rows else ()))
    parts.source("ratios of head to base", "ratios", table, _command(run))


def exact(parts: Parts, run: Run) -> None:
    """Tabulate exact metrics that differ, and count those that do not."""
    values = tables.exact_values(run)
    if not len(values):
        told = "No exact metric was taken in this run."
        parts.sections.append(Section("Exact metrics", paragraphs=(told,)))
        return
    same = int(values["same"].sum())
    informs = int((values["use"] == "information only").sum())
    told = (
        f"{same:,} of {len(values):,} values are the same in base and head; all of them are in exact.csv."
        f" {informs:,} of the values are information only: they may differ without being worse, and decide nothing."
    )
    table = tables.exact_changes(run)
    parts.sections.append(Section("Exact metrics", (), _few([table], "exact.csv"), (told,)))
    parts.source("exact metrics", "exact", values, _command(run))


def rejected(parts: Parts, run: Run, conclusion: Conclusion) -> None:
    """Tabulate what does not count, or is not there, and why."""
    table = tables.rejected(run)
    missing = tables.unmeasured(run, conclusion.judged)
    told = [] if len(table) else ["No block was rejected."]
    told += [] if missing.rows else ["Nothing that should be measured was not."]
    shown = [tables.rejections(table, run), missing]
    parts.sections.append(Section("Rejected, and not measured", (), _few(shown, "rejected.csv"), tuple(told)))
    parts.source("rejected blocks", "rejected", table, _command(run))


def past(parts: Parts, told: History) -> None:
    """Draw and tabulate the history of times, steps, and when exact metrics changed."""
    command = COMMANDS["anchor"]
    if not told.runs:
        text = f"There is none yet: no commit was timed against an anchor, as {command} does."
        parts.sections.append(Section("History", paragraphs=(text,)))
        return
    pictures, prefix = [], ""
    if len(told.points):
        names, prefix = tables.short_names(told.points["benchmark"])
        caption = (
            "Time over that of the anchor, which is 0, with 95 % intervals; each panel has its own scale. Lines are"
            f" medians between steps; a step names the commits on its sides, where there is room.{left_out(prefix)}"
            f"{_more(len(names), PANELS)}"
        )
        lines = [
            f"{names[row['benchmark']]} {row['percent']:+.1f} % between {row['before']} and {row['after']}"
            + ("" if row["confirmed"] else " (suspected)")
            for row in told.changes.to_dict("records")
        ]
        alt = f"{told.runs} runs of {len(names)} benchmarks. Steps: {'; '.join(lines) or 'none'}."
        pictures.append(
            picture("history", caption, alt, figures.history(_panels(told), told.changes, told.events, names))
        )
    shown = [run_tables.steps(told.changes, prefix), run_tables.exact_steps(told.exact), run_tables.events(told.events)]
    said = [] if len(told.changes) else [f"No step was found in {count(told.runs, 'run')}."]
    if told.short:
        fewest = min(told.short.values())
        said.append(
            f"Of {count(len(told.short), 'benchmark')} there are too few runs for a step to be found: {LEAST} are"
            f" needed without a break, and there are {fewest}{' or more' if fewest < max(told.short.values()) else ''}."
        )
    parts.sections.append(Section("History", tuple(pictures), _few(shown, "the CSV files"), (*said, STEPS)))
    parts.source("history of times", "history", told.points, command)
    parts.source("steps of times", "steps", told.changes, command)
    parts.source("history of exact metrics", "exact-steps", told.exact, command)
    parts.source("other changes", "events", told.events, command)


def _panels(told: History) -> pd.DataFrame:
    """Return the points of as many benchmarks as there are panels for; those with a step take precedence."""
    names = dict.fromkeys([*told.changes["benchmark"], *told.points["benchmark"]])
    return told.points[told.points["benchmark"].isin([*names][:PANELS])]


def _more(number: int, most: int) -> str:
    return f" {number - most} more are in the data." if number > most else ""


def _command(run: Run) -> str:
    base = run.git.base if COMMIT.fullmatch(run.git.base) else "REF"
    return COMMANDS[run.kind].replace("REF", base[:12])


def _few(shown: Sequence[Table], where: str) -> tuple[Table, ...]:
    """Leave out tables without a row, and rows that are too many."""
    return tuple(
        Table(
            f"{one.caption}; the first {ROWS} of {len(one.rows)}, see {where}", one.columns, one.rows[:ROWS], one.words
        )
        if len(one.rows) > ROWS
        else one
        for one in shown
        if one.rows
    )


def left_out(prefix: str) -> str:
    """Say what names begin with, where it is left out."""
    return f" All names begin with {prefix}, left out here." if prefix else ""


def picture(name: str, caption: str, alt: str, figure: Figure) -> Picture:
    """Put a figure on the page, in whatever letters names are written."""
    with warnings.catch_warnings():  # of letters that matplotlib cannot measure; the reader's browser has them
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        return page.illustrate(name, caption, tables.shown(alt, ALT), figure)
