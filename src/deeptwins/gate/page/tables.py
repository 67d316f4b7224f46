"""From the facts of the gate's page to tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace

import pandas as pd

from deeptwins.gate.judge.history import History
from deeptwins.gate.judge.metrics import Change, metric_of
from deeptwins.gate.page.facts import JudgedRun, SelfTest
from deeptwins.gate.page.names import VERDICTS, begin_with, metric_name, printable, short_names, whole, without
from deeptwins.pages.tables import Column, Table
from deeptwins.pages.wording import apart, digits, interval, p_value, points

ROWS = 60  # of a table or figure on the page: the rest is in its CSV file
GRAVITY = (True, None, False)  # of `Change.worse`, the gravest first
RARE = {
    "not_measured": "not measured",
    "others": "another benchmark called slower",
    "said_faster": "a benchmark called faster",
}
"""Columns of the self-test that are left out where nothing of the kind ever happened."""


def signed(log_ratio: float) -> str:
    """Return a log ratio as a percentage with its sign, as plain text."""
    return points(100 * math.expm1(log_ratio))


def span(low: float, high: float) -> str:
    """Return an interval of a log ratio in percent; a dash where an end is not known."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "-"
    return apart(100 * math.expm1(low), 100 * math.expm1(high))


def percent(share: float) -> str:
    """Return a share in percent, without the unit."""
    return f"{100 * share:.1f}"


def value(exact: object) -> str:
    """Return an exact value as text, a hash by its first digits."""
    if exact is None:
        return "none"
    if isinstance(exact, str):
        return printable(exact, 12)
    return f"{exact:,}" if isinstance(exact, int) else f"{exact:,.6g}"


def difference(base: object, head: object) -> str:
    """Return by how much an exact value changed."""
    if not isinstance(base, int | float) or not isinstance(head, int | float):
        return "-"
    text = f"{head - base:+,}" if isinstance(head - base, int) else f"{head - base:+,.6g}"
    return f"{text} ({100 * (head / base - 1):+.1f} %)" if base else text


def first_rows(tables: Iterable[Table], where: str) -> tuple[Table, ...]:
    """Leave out tables without a row, and rows that are too many for the page: `where` has them all."""
    shown = []
    for table in tables:
        more = f"; the first {ROWS} of {len(table.rows)}, see {where}" if len(table.rows) > ROWS else ""
        if table.rows:
            shown.append(replace(table, caption=table.caption + more, rows=table.rows[:ROWS]))
    return tuple(shown)


def compared(judged: JudgedRun) -> tuple[Table, ...]:
    """Tabulate a run for a terminal: ratios, and exact metrics that changed."""
    tables = ratios(judged.ratios), exact_changes(judged.conclusion.changes)
    return tuple(table for table in tables if table.rows)


def ratios(table: pd.DataFrame) -> Table:
    """Tabulate by how much the time of each benchmark changed."""
    _, prefix = short_names(table["benchmark"])
    caption = begin_with("Change in time from base to head; margin: the change that is tolerated", prefix)
    words = (
        Column("benchmark", "benchmark", lambda name: without(name, prefix)),
        Column("verdict", "verdict", VERDICTS.__getitem__),
    )
    numbers = (
        Column("change (%)", "log_ratio", signed),
        Column("95 % interval", ("low", "high"), span),
        Column("margin (%)", "margin", percent),
        Column("seconds per call", "base_s", lambda seconds: f"{seconds:.3g}" if math.isfinite(seconds) else "-"),
    )
    return Table.of(table, caption, words, numbers)


def ratio_details(table: pd.DataFrame) -> Table:
    """Tabulate what the verdict on each benchmark rests on."""
    _, prefix = short_names(table["benchmark"])
    caption = begin_with("What each verdict rests on; the margin comes from the A/A runs where there are 10", prefix)
    numbers = (
        Column("second batch (%)", ("second_log_ratio", "second_low", "second_high"), _ratio_and_span),
        Column("A/A runs", "controls"),
        Column("adjusted p", "q", p_value),
        Column("pairs / blocks", ("pairs", "blocks"), _pairs_and_blocks),
        Column("calls per segment", "calls"),
    )
    words = [Column("benchmark", "benchmark", lambda name: without(name, prefix))]
    return Table.of(table, caption, words, numbers)


def _ratio_and_span(log_ratio: float, low: float, high: float) -> str:
    return "-" if math.isnan(log_ratio) else f"{signed(log_ratio)} ({span(low, high)})"


def _pairs_and_blocks(pairs: float, blocks: float) -> str:
    return "-" if math.isnan(pairs) else f"{pairs:.0f} / {blocks:.0f}"


def exact_changes(changes: Iterable[Change]) -> Table:
    """Tabulate exact metrics that changed, what is worse first."""
    gravest_first = sorted(changes, key=lambda change: (GRAVITY.index(change.worse), change.subject))
    rows = [asdict(change) | {"state": _state(change)} for change in gravest_first]
    words = Column("what", "subject", printable), Column("metric", "metric", metric_name), Column("head is", "state")
    numbers = (
        Column("base", "base", value),
        Column("head", "head", value),
        Column("difference", ("base", "head"), difference),
    )
    return Table.of(rows, "Exact values that changed", words, numbers)


def _state(change: Change) -> str:
    """Say what a difference means."""
    if metric_of(change.metric).better is None:
        return "information only"
    if change.base is None:
        return "new"
    if change.head is None:
        return "gone"
    return {True: "worse", False: "better", None: "changed, not worse"}[change.worse]


def rejections(judged: JudgedRun) -> Table:
    """Tabulate the rejected blocks, with how many blocks there were in all."""
    benchmarks = judged.run.benchmarks
    _, prefix = short_names(benchmark.id for benchmark in benchmarks)
    total = {
        (benchmark.id, batch): sum(map(len, pairs))
        for benchmark in benchmarks
        for batch, pairs in (("first", benchmark.pairs), ("second", benchmark.confirmation))
    }
    words = (
        Column("benchmark", "benchmark", lambda name: without(name, prefix)),
        Column("batch", "batch"),
        Column("why", "reason", printable),
    )
    blocks = Column("blocks", lambda row: f"{row['blocks']} of {total[row['benchmark'], row['batch']]}")
    return Table.of(judged.rejected, begin_with("Rejected blocks, which do not count", prefix), words, [blocks])


def unmeasured(judged: JudgedRun) -> Table:
    """Tabulate what was not measured, or not to its end, and why."""
    rows = [[whole(what), state, printable(why, 400)] for what, state, why in _unmeasured(judged)]
    return Table("What has no result, and why", ("what", "state", "why"), rows, 3)


def _unmeasured(judged: JudgedRun) -> Iterator[tuple[str, str, str]]:
    """List what was not measured, in which state it is, and why."""
    run = judged.run
    if run.failure is not None:
        yield "the run", "ended early", run.failure
    benchmarks = {benchmark.id: benchmark for benchmark in run.benchmarks}
    for name in sorted({*benchmarks, *run.exact, *(run.expected or ())}):
        benchmark = benchmarks.get(name)
        if benchmark is not None and benchmark.status != "ok":
            yield name, benchmark.status, benchmark.reason or "no reason given"
        elif benchmark is None and name not in run.exact:
            yield name, "missing", "expected, but not in head" if run.failure is None else "the run ended early"
        elif run.expected is not None and name not in run.expected:
            yield name, "unexpected", "measured, but not in the suite's list, gate.txt"
    for one in judged.conclusion.judged:
        if one.verdict == "not_measured" and one.id in benchmarks and benchmarks[one.id].status == "ok":
            yield one.id, "not measured", one.reason or "no reason given"
    for name, why in run.unavailable.items():
        yield name, "unavailable", why


def steps(history: History) -> Table:
    """Tabulate the steps of histories."""
    noted = history.changes["note"].ne("").any()
    _, prefix = short_names(history.points["benchmark"])
    words = (
        Column("benchmark", "benchmark", lambda name: without(name, prefix)),
        Column("state", "confirmed", lambda confirmed: "step" if confirmed else "suspected"),
        Column("between commits", ("before", "after"), _between),
        *([Column("what else changed", "note", lambda note: printable(note, 200) or "-")] if noted else []),
    )
    numbers = (
        Column("size (%)", "percent", "{:+.1f}".format),
        Column("runs before / after", ("runs_before", "runs_after"), "{} / {}".format),
        Column("p", "p", p_value),
    )
    caption = begin_with("Steps, with the last commit before and the first after", prefix)
    return Table.of(history.changes, caption, words, numbers)


def events(table: pd.DataFrame) -> Table:
    """Tabulate what changed between runs other than the code."""
    words = (
        Column("before run", "place"),
        Column("commit", "commit", printable),
        Column("what", "text", lambda text: printable(text, 300)),
    )
    return Table.of(table, "Other changes (dotted lines in the figure)", words)


def exact_steps(table: pd.DataFrame) -> Table:
    """Tabulate when exact metrics changed: of each metric the first subject, and how many more did so there."""
    alike = table.groupby(["place", "before", "after", "metric", "kind"], sort=False)
    firsts = alike.head(1).assign(more=alike["subject"].transform("size") - 1)
    words = (
        Column("what", "subject", printable),
        Column("others alike", "more", lambda more: str(more or "-")),
        Column("metric", "metric", metric_name),
        Column("change", "kind", lambda kind: "new tools, new baseline" if kind == "re-baseline" else kind),
        Column("between commits", ("before", "after"), _between),
    )
    values = Column("before", "old", value), Column("after", "new", value)
    return Table.of(firsts, "When exact values changed", words, values)


def _between(before: str, after: str) -> str:
    return printable(f"{before} to {after}")


def detection(rates: pd.DataFrame) -> Table:
    """Tabulate what the gate said of runs whose truth is known."""
    caption = (
        "Verdicts where the truth is known: a commit compared with itself (A/A, where every alarm is false), or made"
        " slower on purpose. Wrong: the interval of a slowed benchmark lies below what was added"
    )
    numbers = (
        Column("runs", "runs"),
        Column("alarms", "found"),
        Column("inconclusive", "inconclusive"),
        Column("no slowdown", "fine"),
        Column("alarm rate (%), 95 %", ("low", "high"), lambda low, high: interval(100 * low, 100 * high, 0)),
        Column("wrong", lambda row: str(row["against"]) if row["kind"] == "slower" else "-"),
        *(Column(head, key) for key, head in RARE.items() if rates[key].any()),
        Column("median seconds", "median_s", digits),
    )
    return Table.of(rates, caption, [Column("change made", "treatment", printable)], numbers)


def sensitivities(self_test: SelfTest) -> Table:
    """Tabulate how small a slowdown is detected, by benchmark, and how often those that were tried were."""
    table = self_test.smallest
    _, prefix = short_names(table["benchmark"])
    words = [Column("benchmark", "benchmark", lambda name: without(name, prefix))]
    where = ""
    if table["machine"].nunique() > 1:
        words.append(Column("machine", "machine", lambda machine: printable(machine, 60)))
    else:
        where = f" on {printable(table['machine'].iloc[0], 60)}"
    numbers = (
        Column("A/A runs", "aa_runs"),
        Column("noise (%)", "noise", percent),
        Column("half interval (%)", "half_width", percent),
        Column("margin (%)", "margin", percent),
        Column("detected in 4 of 5 (%)", "smallest", percent),
        *_tried(self_test.detections),
    )
    caption = f"Noise{where} (99th percentile of A/A changes), and the smallest slowdown detected in 4 of 5 runs"
    return Table.of(table, begin_with(caption, prefix), words, numbers)


def _tried(detections: pd.DataFrame) -> Sequence[Column]:
    """Make a column per slowdown that was tried: in how many runs it was found."""
    columns = []
    for treatment, rows in detections.groupby("treatment", sort=False):
        cells = {row["benchmark"]: f"{row['found']} of {row['measured']}" for row in rows.to_dict("records")}
        head = f"{printable(treatment)}: detected"
        columns.append(Column(head, "benchmark", lambda name, cells=cells: cells.get(name, "-")))
    return columns
