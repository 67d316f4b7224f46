"""From runs of the gate to rows: data for CSV files, and tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from deeptwins.gate.judge.conclusion import Conclusion
from deeptwins.gate.judge.estimates import Estimate
from deeptwins.gate.judge.metrics import METRICS, Change, changes
from deeptwins.gate.judge.samples import segments
from deeptwins.gate.judge.verdict import Judged
from deeptwins.gate.runs import Benchmark, Run, Side
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import apart, p_value, points

VERDICTS = {
    "regressed": "slower",
    "inconclusive": "inconclusive",
    "improved": "faster",
    "no_worse": "no worse",
    "not_measured": "not measured",
}
"""What a page calls a verdict, the gravest first."""
LONGEST = 100  # characters of a name
FOR_THE_EYE = 40


def shown(text: object, longest: int = LONGEST) -> str:
    """Return what somebody else wrote on one printable line: no control characters, none that turn the direction."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def without(name: object, prefix: str) -> str:
    """Return a name on one line, without what all begin with."""
    return shown(shown(name, 10 * LONGEST).removeprefix(prefix))


def begin_with(caption: str, prefix: str) -> str:
    """Say in a caption what the names in a table begin with."""
    return f"{caption}; names begin with {prefix}" if prefix else caption


def short_names(names: Iterable[str]) -> tuple[dict[str, str], str]:
    """Shorten names for a figure: without the file or class that all share, and cut in the middle where still long.

    Returns:
        The short name of each, no two the same unless two names look the same; and what all begin with.
    """
    full = {name: shown(name, 10 * LONGEST) for name in names}
    prefix = os.path.commonprefix([*full.values()]).partition("[")[0]  # noqa: RUF071  no path: by characters
    prefix = prefix[: max(prefix.rfind("/") + 1, prefix.rfind("::") + 2 if "::" in prefix else 0)]
    for verb in ("bench_", "test_"):
        if prefix and all(name.startswith(prefix + verb) for name in full.values()):
            prefix += verb
    short = {name: _middle(text.removeprefix(prefix)) for name, text in full.items()}
    twice = [text for text in short.values() if [*short.values()].count(text) > 1]
    return {name: full[name].removeprefix(prefix) if text in twice else text for name, text in short.items()}, prefix


def signed(log_ratio: float) -> str:
    """Return a log ratio as a percentage with its sign, as plain text."""
    return points(100 * math.expm1(log_ratio))


def span(low: float, high: float) -> str:
    """Return an interval of a log ratio in percent; an end that is not known is endless."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "-"
    return apart(100 * math.expm1(low), 100 * math.expm1(high))


def judged(run: Run, conclusion: Conclusion) -> pd.DataFrame:
    """Set out what was found of each benchmark of a run: a row each, the gravest first."""
    order = [*VERDICTS]
    by_id = {benchmark.id: benchmark for benchmark in run.benchmarks}
    rows = []
    for one in sorted(conclusion.judged, key=lambda one: (order.index(one.verdict), one.id)):
        benchmark = by_id.get(one.id)
        rows.append({
            "benchmark": one.id,
            "verdict": one.verdict,
            "reason": one.reason,
            **_numbers(one.estimate, ""),
            **_numbers(one.confirmation, "second_"),
            "margin": one.margin,
            "controls": one.controls,
            "q": one.q,
            "blocks": one.blocks,
            "rejected": one.rejected,
            "calls": benchmark.calls if benchmark else 0,
            "base_s": _seconds(benchmark, "base"),
            "head_s": _seconds(benchmark, "head"),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=_JUDGED)


def forest(table: pd.DataFrame, prefix: str) -> Table:
    """Tabulate the ratios."""
    rows = [
        [
            without(row["benchmark"], prefix),
            VERDICTS[row["verdict"]],
            signed(row["log_ratio"]),
            span(row["low"], row["high"]),
            _second(row),
            f"{100 * row['margin']:.1f}",
            f"{row['controls']}",
            p_value(row["q"]),
            "-" if math.isnan(row["pairs"]) else f"{row['pairs']:.0f} / {row['blocks']:.0f}",
            f"{row['calls']}",
            _time(row["base_s"]),
        ]
        for row in table.to_dict("records")
    ]
    heads = (
        "benchmark",
        "verdict",
        "ratio - 1 (%)",
        "95 % interval",
        "second batch (%)",
        "margin (%)",
        "A/A runs of it",
    )
    caption = begin_with("Time of head over that of base; margin: the slowdown that is tolerated", prefix)
    return Table(caption, (*heads, "q", "pairs / blocks", "calls a segment", "seconds a call"), rows, 2)


def exact_values(run: Run) -> pd.DataFrame:
    """Set out all exact metrics of a run: a row each, the values of base and head."""
    rows = [
        {
            "subject": subject,
            "metric": metric,
            "base": base,
            "head": head,
            "unit": METRICS[metric].unit if metric in METRICS else "",
            "use": "judged" if judges(metric) else "information only",
            "same": base == head,
        }
        for subject, of in run.exact.items()
        for metric, (base, head) in of.items()
    ]
    return pd.DataFrame(rows, columns=["subject", "metric", "base", "head", "unit", "use", "same"])


def exact_changes(run: Run) -> Table:
    """Tabulate exact metrics that differ, what is worse first."""
    found = sorted(changes(run.exact), key=lambda change: ([True, None, False].index(change.worse), change.subject))
    rows = [
        [
            shown(change.subject),
            metric_name(change.metric),
            _state(change),
            value(change.base),
            value(change.head),
            difference(change.base, change.head),
        ]
        for change in found
    ]
    return Table("Exact metrics that differ", ("of", "metric", "head is", "base", "head", "difference"), rows, 3)


def metric_name(metric: str) -> str:
    """Name a metric with its unit."""
    known = METRICS.get(metric)
    if known is None:
        return shown(metric)
    return f"{known.words} ({known.unit})" if known.unit else known.words


def value(of: object) -> str:
    """Return an exact value as text, a hash by its first digits."""
    if of is None:
        return "none"
    if isinstance(of, str):
        return shown(of, 12)
    return f"{of:,}" if isinstance(of, int) else f"{of:,.6g}"


def difference(base: object, head: object) -> str:
    """Return by how much an exact value changed."""
    if not isinstance(base, int | float) or not isinstance(head, int | float):
        return "-"
    text = f"{head - base:+,}" if isinstance(head - base, int) else f"{head - base:+,.6g}"
    return f"{text} ({100 * (head / base - 1):+.1f} %)" if base else text


def rejected(run: Run) -> pd.DataFrame:
    """Count the blocks that a quality guard rejected, by benchmark, batch and reason."""
    rows = [
        {"benchmark": benchmark.id, "batch": batch, "reason": block.rejected}
        for benchmark in run.benchmarks
        for batch, pairs in (("first", benchmark.pairs), ("second", benchmark.confirmation))
        for pair in pairs
        for block in pair
        if block.rejected is not None
    ]
    table = pd.DataFrame(rows, columns=["benchmark", "batch", "reason"])
    return table.groupby([*table], sort=False).size().reset_index(name="blocks")


def rejections(table: pd.DataFrame, run: Run) -> Table:
    """Tabulate them, with how many blocks there were in all."""
    _, prefix = short_names(benchmark.id for benchmark in run.benchmarks)
    total = {
        (benchmark.id, batch): sum(map(len, pairs))
        for benchmark in run.benchmarks
        for batch, pairs in (("first", benchmark.pairs), ("second", benchmark.confirmation))
    }
    rows = [
        [
            without(row["benchmark"], prefix),
            row["batch"],
            shown(row["reason"]),
            f"{row['blocks']} of {total[row['benchmark'], row['batch']]}",
        ]
        for row in table.to_dict("records")
    ]
    return Table(begin_with("Blocks that do not count", prefix), ("benchmark", "batch", "why", "blocks"), rows, 3)


def unmeasured(run: Run, found: Iterable[Judged]) -> Table:
    """Tabulate what was not measured, or not to its end, and why."""
    rows = [["the run", "ended early", shown(run.failure, 400)]] if run.failure is not None else []
    known = {benchmark.id: benchmark for benchmark in run.benchmarks}
    for name in sorted({*known, *run.exact, *(run.expected or ())}):
        benchmark = known.get(name)
        if benchmark is not None and benchmark.status != "ok":
            rows.append([shown(name), benchmark.status, shown(benchmark.reason or "no reason given", 400)])
        elif benchmark is None and name not in run.exact:
            rows.append([shown(name), "missing", "expected, and not found in head"])
        elif run.expected is not None and name not in run.expected:
            rows.append([shown(name), "unexpected", "measured, though the list of what is expected lacks it"])
    rows += [
        [shown(one.id), "not measured", shown(one.reason or "no reason given", 400)]
        for one in found
        if one.verdict == "not_measured" and one.id in known and known[one.id].status == "ok"
    ]
    rows += [[shown(name), "unavailable", shown(why, 400)] for name, why in run.unavailable.items()]
    return Table("Not measured", ("what", "state", "why"), rows, 3)


def judges(metric: str) -> bool:
    """Tell whether one direction of a metric is worse; others are information only."""
    known = METRICS.get(metric)
    return known is not None and known.better is not None


def _state(change: Change) -> str:
    """Say what a difference means."""
    if not judges(change.metric):
        return "information only"
    if change.base is None or change.head is None:
        return "new" if change.base is None else "gone"
    return {True: "worse", False: "better", None: "different, at no cost"}[change.worse]


def _numbers(estimate: Estimate | None, prefix: str) -> dict[str, float]:
    keys = ("log_ratio", "low", "high", "pairs", "agreeing")
    return {f"{prefix}{key}": math.nan if estimate is None else float(getattr(estimate, key)) for key in keys}


def _seconds(benchmark: Benchmark | None, arm: Side) -> float:
    """Return the median seconds of a call in an arm."""
    values = segments(benchmark, arm) if benchmark else []
    return float(np.median(values)) if values else math.nan


def _second(row: Mapping[Hashable, Any]) -> str:
    if math.isnan(row["second_log_ratio"]):
        return "-"
    return f"{signed(row['second_log_ratio'])} ({span(row['second_low'], row['second_high'])})"


def _time(seconds: float) -> str:
    return f"{seconds:.3g}" if math.isfinite(seconds) else "-"


def _middle(text: str) -> str:
    half = (FOR_THE_EYE - 1) // 2
    return text if len(text) <= FOR_THE_EYE else f"{text[:half]}…{text[-half:]}"


_ESTIMATE = ("log_ratio", "low", "high", "pairs", "agreeing")
_JUDGED = [
    *("benchmark", "verdict", "reason", *_ESTIMATE, *(f"second_{key}" for key in _ESTIMATE), "margin", "controls", "q"),
    *("blocks", "rejected", "calls", "base_s", "head_s"),
]
