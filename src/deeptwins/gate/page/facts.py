"""What the gate's page rests on: all runs, the newest comparison and its verdict, the history, the self-test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd

from deeptwins.errors import InputError
from deeptwins.gate import runs
from deeptwins.gate.judge import sensitivity
from deeptwins.gate.judge.conclusion import Conclusion, conclude
from deeptwins.gate.judge.estimates import Estimate
from deeptwins.gate.judge.history import History, history
from deeptwins.gate.judge.metrics import metric_of
from deeptwins.gate.judge.samples import segments
from deeptwins.gate.page.names import VERDICTS
from deeptwins.gate.runs import Benchmark, Kind, Run, Side

COMMANDS: dict[Kind, str] = {
    "paired": "deeptwins gate --base REF",
    "imported": "deeptwins gate import FILE ...",
    "anchor": "deeptwins gate --anchor REF",
    "aa": "deeptwins gate --self-test",
    "slower": "deeptwins gate --self-test",
    "mutant": "deeptwins gate --self-test",
}
"""By kind of run, the command that measures it."""
# The verdict is that of the newest comparison; runs against an anchor count only where there is no other comparison.
COMPARISONS: tuple[tuple[Kind, ...], ...] = (("paired", "imported"), ("anchor",))
_ESTIMATE = ("log_ratio", "low", "high", "pairs", "agreeing")
_RATIOS = [
    *("benchmark", "verdict", "reason", *_ESTIMATE, *(f"second_{key}" for key in _ESTIMATE), "margin", "controls", "q"),
    *("blocks", "rejected", "calls", "base_s", "head_s"),
]


@dataclass(frozen=True)
class JudgedRun:
    """A run and what the gate says of it."""

    run: Run
    conclusion: Conclusion
    ratios: pd.DataFrame
    """A row per benchmark, the gravest verdict first."""
    exact: pd.DataFrame
    """A row per exact metric: its values in base and head."""
    rejected: pd.DataFrame
    """The number of blocks that a quality guard rejected, by benchmark, batch and reason."""


@dataclass(frozen=True)
class SelfTest:
    """What the gate says of runs whose truth is known, in the tables of `judge.sensitivity`."""

    outcomes: pd.DataFrame
    rates: pd.DataFrame
    controls: pd.DataFrame
    smallest: pd.DataFrame
    detections: pd.DataFrame


@dataclass(frozen=True)
class GateFacts:
    """All that the page tells."""

    runs: Sequence[Run]
    """The oldest first; at least one."""
    newest: JudgedRun | None
    """The newest comparison of two commits; None: there is none yet."""
    history: History
    self_test: SelfTest | None
    """None: the gate was not tested on itself yet."""


def load(results: Path) -> GateFacts:
    """Load all runs and judge them.

    Raises:
        InputError: there is no run, one is damaged, or ruptures is missing.
    """
    stored = runs.load(results)
    if not stored:
        raise InputError(f"{runs.path_of(results)}: no run of the gate; `{COMMANDS['paired']}` makes one")
    newest = next((run for kinds in COMPARISONS for run in reversed(stored) if run.kind in kinds), None)
    return GateFacts(
        runs=stored,
        newest=judge_run(newest) if newest else None,
        history=history(stored),
        self_test=_self_test(stored),
    )


def judge_run(run: Run) -> JudgedRun:
    """Judge a run, and set out what it measured."""
    conclusion = conclude(run)
    return JudgedRun(run, conclusion, _ratios(run, conclusion), _exact(run), _rejected(run))


def _self_test(stored: Sequence[Run]) -> SelfTest | None:
    trials = sensitivity.known(stored)
    if not trials:
        return None
    outcomes, controls = sensitivity.outcomes(trials), sensitivity.controls(trials)
    return SelfTest(
        outcomes=outcomes,
        rates=sensitivity.rates(outcomes),
        controls=controls,
        smallest=sensitivity.sensitivity(stored, controls),
        detections=sensitivity.detections(trials),
    )


def _ratios(run: Run, conclusion: Conclusion) -> pd.DataFrame:
    gravity = [*VERDICTS]
    pairs = zip(conclusion.judged, run.benchmarks, strict=True)
    rows = []
    for judged, benchmark in sorted(pairs, key=lambda pair: (gravity.index(pair[0].verdict), pair[0].id)):
        rows.append({
            "benchmark": judged.id,
            "verdict": judged.verdict,
            "reason": judged.reason,
            **_numbers(judged.estimate, ""),
            **_numbers(judged.confirmation, "second_"),
            "margin": judged.margin,
            "controls": judged.controls,
            "q": judged.q,
            "blocks": judged.blocks,
            "rejected": judged.rejected,
            "calls": benchmark.calls,
            "base_s": _seconds(benchmark, "base"),
            "head_s": _seconds(benchmark, "head"),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=_RATIOS)


def _numbers(estimate: Estimate | None, prefix: str) -> dict[str, float]:
    return {f"{prefix}{key}": math.nan if estimate is None else float(getattr(estimate, key)) for key in _ESTIMATE}


def _seconds(benchmark: Benchmark, arm: Side) -> float:
    """Return the median seconds per call in an arm."""
    values = segments(benchmark, arm)
    return median(values) if values else math.nan


def _exact(run: Run) -> pd.DataFrame:
    rows = [
        {
            "subject": subject,
            "metric": metric,
            "base": base,
            "head": head,
            "unit": metric_of(metric).unit,
            "use": "judged" if metric_of(metric).better else "information only",
            "same": base == head,
        }
        for subject, metrics in run.exact.items()
        for metric, (base, head) in metrics.items()
    ]
    return pd.DataFrame(rows, columns=["subject", "metric", "base", "head", "unit", "use", "same"])


def _rejected(run: Run) -> pd.DataFrame:
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
