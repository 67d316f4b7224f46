"""What the gate gives to other tools.

An export comes from a run alone: the same run gives the same bytes. The time of an arm is the median of its segments in
all blocks that count. Other tools know neither status nor pairs, so they get only the benchmarks that are `ok`; CSV has
all of a run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Literal, get_args

import pandas as pd

from deeptwins.errors import InputError
from deeptwins.gate.formats import asv_files, pytest_files
from deeptwins.gate.judge.estimates import Estimate
from deeptwins.gate.judge.metrics import METRICS
from deeptwins.gate.judge.samples import ARMS, LETTERS, measured, numbers, segments
from deeptwins.gate.judge.verdict import Judged, judge
from deeptwins.gate.runs import DIGITS, Benchmark, Run, Value
from deeptwins.pages.tables import csv

Format = Literal["pytest-benchmark", "csv", "asv", "github-action-benchmark"]
FORMATS: tuple[Format, ...] = get_args(Format)
SMALLER = "github-action-benchmark.json"

# Columns of the CSV files. Times are seconds per call, and ratios are head over base.
BENCHMARK = (
    *("id", "status", "status_reason", "calls", "base_s", "head_s", "blocks", "rejected"),
    *("ratio", "low", "high", "confirmation_ratio", "confirmation_low", "confirmation_high"),
    *("margin", "controls", "q", "verdict", "verdict_reason"),
)
SEGMENT = ("id", "batch", "pair", "block", "segment", "arm", "seconds", "rejected")
EXACT = ("subject", "metric", "base", "head")


def export(run: Run, to: Format) -> Mapping[str, str]:
    """Write a run for another tool; returns the content of each file, by its name in the folder that they go to.

    Raises:
        InputError: the run holds nothing that the tool takes, or the tool files by commit and an arm has none.
    """
    match to:
        case "csv":
            return _csv(run)
        case "asv":
            files = asv_files.files(run)
        case "pytest-benchmark":
            files = pytest_files.files(run)
        case "github-action-benchmark":
            entries = _smaller(run)
            files = {SMALLER: json.dumps(entries, indent=1, ensure_ascii=False) + "\n"} if entries else {}
    if not files:
        raise InputError(f"run {run.id}: no benchmark in it was measured to the end, and {to} takes no others")
    return files


def _smaller(run: Run) -> list[dict[str, Any]]:
    """List what github-action-benchmark calls customSmallerIsBetter.

    All times are in milliseconds: if the unit changed from run to run, its charts would jump.
    """
    judged = {verdict.id: verdict for verdict in judge(run.benchmarks, run.design)}
    times = [_time(run, benchmark, judged[benchmark.id]) for benchmark in measured(run)]
    counts = [
        {
            "name": f"{subject} {metric}",
            "unit": METRICS[metric].unit or "count",
            "value": values["head"],
            "extra": f"base {values['base']:g}" if "base" in values else "not in base",
        }
        for (subject, metric), values in numbers(run).items()
        if "head" in values
    ]
    return [*times, *counts]


def _time(run: Run, benchmark: Benchmark, judged: Judged) -> dict[str, Any]:
    base, head = (float(f"{1e3 * median(segments(benchmark, arm)):.{DIGITS + 1}g}") for arm in ARMS)
    entry = {"name": benchmark.id, "unit": "ms", "value": head}
    ratio, low, high = _ratios(judged.estimate)
    extra = "" if ratio is None else f"{ratio:.3f} times base"
    if ratio is not None and low is not None and high is not None:
        entry["range"] = f"± {50 * (high - low) / ratio:.2g} %"
        extra += f", 95 % interval {low:.3f} to {high:.3f}"
    verdict = judged.verdict.replace("_", " ")
    return {**entry, "extra": "\n".join(filter(None, [extra, verdict, f"base {base:g} ms, {run.git.base[:12]}"]))}


def _csv(run: Run) -> dict[str, str]:
    """Tabulate all of a run: one row per benchmark, per segment, and per number of the exact tier."""
    judged = zip(run.benchmarks, judge(run.benchmarks, run.design), strict=True)
    exact = [[subject, metric, *values] for subject, metrics in run.exact.items() for metric, values in metrics.items()]
    return {
        "benchmarks.csv": _table(BENCHMARK, [_row(*of_benchmark) for of_benchmark in judged]),
        "segments.csv": _table(SEGMENT, _segments(run)),
        "exact.csv": _table(EXACT, exact),
    }


def _row(benchmark: Benchmark, judged: Judged) -> list[Value]:
    seconds = [segments(benchmark, arm) for arm in ARMS]
    medians = [median(arm_seconds) if arm_seconds else None for arm_seconds in seconds]
    measurement: list[Value] = [benchmark.id, benchmark.status, benchmark.reason, benchmark.calls, *medians]
    ratios = (*_ratios(judged.estimate), *_ratios(judged.confirmation))
    decision = (judged.margin, judged.controls, judged.q, judged.verdict, judged.reason or None)
    return [*measurement, judged.blocks, judged.rejected, *ratios, *decision]


def _ratios(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    """Return the ratio of head to base and the ends of its interval; None for what is not known."""
    if estimate is None:
        return None, None, None
    return _exp(estimate.log_ratio), _exp(estimate.low), _exp(estimate.high)


def _exp(log_ratio: float) -> float | None:
    return math.exp(log_ratio) if math.isfinite(log_ratio) else None


def _segments(run: Run) -> Iterator[list[Value]]:
    arms = {letter: arm for arm, letter in LETTERS.items()}
    for benchmark in run.benchmarks:
        for batch, pairs in (("first", benchmark.pairs), ("confirmation", benchmark.confirmation)):
            blocks = ((i, j, block) for i, pair in enumerate(pairs, 1) for j, block in enumerate(pair, 1))
            for pair_number, block_number, block in blocks:
                for place, (letter, seconds) in enumerate(zip(block.order, block.seconds, strict=True), 1):
                    numbers = (pair_number, block_number, place)
                    yield [benchmark.id, batch, *numbers, arms[letter], seconds, block.rejected]


def _table(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    return csv(pd.DataFrame([*rows], columns=[*columns], dtype=object))
