"""How often the gate detects a slowdown, and how often it raises a false alarm: from runs whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import nctdtr, stdtrit
from scipy.stats import binomtest

from deeptwins.findings.statistics import ALPHA, CONFIDENCE, POWER
from deeptwins.gate.judge.conclusion import Conclusion, conclude
from deeptwins.gate.judge.verdict import Judged, Verdict
from deeptwins.gate.runs import Benchmark, Kind, Run

CONTROL = "none (A/A)"
KINDS: tuple[Kind, ...] = ("aa", "slower", "mutant")
OUTCOMES = {0: "fine", 1: "found", 3: "inconclusive"}  # by exit code
NOT_MEASURED = "not measured"
VERDICT_OUTCOMES: Mapping[Verdict, str] = {
    "regressed": "found",
    "inconclusive": "inconclusive",
    "no_worse": "fine",
    "improved": "fine",
    "not_measured": NOT_MEASURED,
}
QUANTILE = 0.99


@dataclass(frozen=True)
class KnownRun:
    """A run whose truth is known, and what the gate says of it.

    A run in which several benchmarks were made slower is there once for each of them.
    """

    run: Run
    conclusion: Conclusion
    slowed: str | None = None
    """The benchmark that was made slower; None where none was."""

    @property
    def treatment(self) -> str:
        """What was made worse, in words."""
        if self.slowed is not None:
            return f"+{100 * self.run.added[self.slowed]:g} % work in a benchmark"
        return CONTROL if self.run.kind == "aa" else self.run.injected or "not named"

    @property
    def judged(self) -> Judged | None:
        """The verdict on the benchmark that was made slower."""
        return next((one for one in self.conclusion.judged if one.id == self.slowed), None)

    @property
    def outcome(self) -> str:
        """What became of the benchmark that was made slower; where there is none, of the run."""
        if self.slowed is None:
            return OUTCOMES.get(self.conclusion.code, NOT_MEASURED)
        return NOT_MEASURED if self.judged is None else VERDICT_OUTCOMES[self.judged.verdict]

    @property
    def others(self) -> int:
        """Count the benchmarks that are called slower and are not, in a run in which others are."""
        if self.run.kind != "slower":
            return 0
        return sum(one.verdict == "regressed" and one.id not in self.run.added for one in self.conclusion.judged)

    @property
    def against(self) -> bool:
        """Whether a slowed benchmark was called fine: its interval excludes the slowdown that was added."""
        verdict = self.judged
        if verdict is None or verdict.estimate is None or verdict.verdict not in {"no_worse", "improved"}:
            return False
        return verdict.estimate.high < math.log1p(self.run.added[verdict.id])


def known(runs: Iterable[Run]) -> list[KnownRun]:
    """Judge the runs of the self-test, in the order A/A, added work, changed sources; others are left out."""
    tested = []
    for run in runs:
        if run.kind in KINDS:
            conclusion = conclude(run)
            tested += [KnownRun(run, conclusion, name) for name in run.added] or [KnownRun(run, conclusion)]
    return sorted(tested, key=lambda test: (KINDS.index(test.run.kind), test.run.added.get(test.slowed or "", 0)))


def outcomes(tested: Sequence[KnownRun]) -> pd.DataFrame:
    """Return what became of each run: one row each."""
    rows = []
    for test in tested:
        run, verdicts = test.run, [judged.verdict for judged in test.conclusion.judged]
        rows.append(
            {
                "kind": run.kind,
                "treatment": test.treatment,
                "run": run.id,
                "started": run.started,
                "machine": run.environment.machine,
                "commit": run.git.head[:12],
                "seconds": run.seconds,
                "outcome": test.outcome,
                "benchmarks": len(verdicts),
                "benchmark": test.slowed or "",
                "said_slower": verdicts.count("regressed"),
                "others": test.others,
                "said_faster": verdicts.count("improved"),
                "against": test.against,
                "failure": run.failure or "",
            }
        )
    return pd.DataFrame(rows)


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """Count outcomes by treatment. The rate is that of alarms, which are false in A/A runs, with its exact interval."""
    rows = []
    for (kind, treatment), group in table.groupby(["kind", "treatment"], sort=False):
        counts = {name: int((group["outcome"] == name).sum()) for name in (*OUTCOMES.values(), NOT_MEASURED)}
        measured = len(group) - counts[NOT_MEASURED]
        low, high = _interval(counts["found"], measured)
        rows.append(
            {
                "kind": kind,
                "treatment": treatment,
                "runs": len(group),
                **{name.replace(" ", "_"): number for name, number in counts.items()},
                "rate": counts["found"] / measured if measured else math.nan,
                "low": low,
                "high": high,
                "others": int((group["others"] > 0).sum()),
                "said_faster": int((group["said_faster"] > 0).sum()),
                "against": int(group["against"].sum()),
                "median_s": float(group["seconds"].median()),
            }
        )
    return pd.DataFrame(rows)


def controls(tested: Sequence[KnownRun]) -> pd.DataFrame:
    """Return the estimate of every benchmark in every A/A run, whose truth is 0: one row each."""
    rows = [
        {
            "machine": test.run.environment.machine,
            "benchmark": judged.id,
            "run": test.run.id,
            "log_ratio": judged.estimate.log_ratio,
            "half_width": (judged.estimate.high - judged.estimate.low) / 2,
            "pairs": judged.estimate.pairs,
        }
        for test in tested
        if test.run.kind == "aa"
        for judged in test.conclusion.judged
        if judged.verdict != "not_measured" and judged.estimate is not None and math.isfinite(judged.estimate.low)
    ]
    return pd.DataFrame(rows, columns=["machine", "benchmark", "run", "log_ratio", "half_width", "pairs"])


def detections(tested: Sequence[KnownRun]) -> pd.DataFrame:
    """Count by benchmark how often added work was found."""
    rows = [
        {"benchmark": test.slowed, "treatment": test.treatment, "found": test.outcome == "found"}
        for test in tested
        if test.slowed is not None and test.outcome != NOT_MEASURED
    ]
    table = pd.DataFrame(rows, columns=["benchmark", "treatment", "found"])
    groups = table.groupby(["benchmark", "treatment"], sort=False, as_index=False)
    return groups.agg(measured=("found", "size"), found=("found", "sum"))


def sensitivity(runs: Sequence[Run], measured: pd.DataFrame) -> pd.DataFrame:
    """Return how small a slowdown is found, by machine and benchmark: one row each.

    The standard error of an estimate is the larger of two: the root mean square of the A/A estimates, whose truth is 0,
    and the one that the width of their intervals implies.

    Args:
        runs: all runs, the oldest first.
        measured: the A/A estimates, as `controls` returns them.
    """
    rows = []
    for (machine, name), estimates in measured.groupby(["machine", "benchmark"], sort=True):
        run, benchmark = _newest(runs, str(machine), str(name))
        margin = benchmark.margin or run.design.least_margin
        half, pairs = float(estimates["half_width"].median()), int(estimates["pairs"].median())
        spread = float(np.sqrt(np.mean(estimates["log_ratio"] ** 2)))
        error = max(spread, half / stdtrit(pairs - 1, 1 - ALPHA / 2))
        tests = sum(other.status == "ok" for other in run.benchmarks)
        rows.append(
            {
                "machine": machine,
                "benchmark": name,
                "aa_runs": len(estimates),
                "noise": math.expm1(float(np.quantile(estimates["log_ratio"].abs(), QUANTILE))),
                "half_width": math.expm1(half),
                "margin": margin,
                "error": error,
                "pairs": pairs,
                "tests": tests,
                "smallest": math.expm1(math.log1p(margin) + error * shift(pairs, run.design.alpha, tests)),
            }
        )
    columns = ("machine", "benchmark", "aa_runs", "noise", "half_width", "margin", "error", "pairs", "tests")
    return pd.DataFrame(rows, columns=[*columns, "smallest"])


def shift(pairs: int, alpha: float, tests: int) -> float:
    """Return how many standard errors above its margin a slowdown lies that is found in 80 of 100 runs.

    Two batches must both be significant by Student's t of their pairs: the first with alpha divided by the number of
    tests, as for the only slowdown among them, the second with alpha itself. A t statistic of a slowdown beyond the
    margin has the noncentral t distribution.
    """
    critical = [stdtrit(pairs - 1, 1 - alpha / tests), stdtrit(pairs - 1, 1 - alpha)]

    def excess_power(errors: float) -> float:
        return math.prod(1 - float(nctdtr(pairs - 1, errors, bound)) for bound in critical) - POWER

    upper = 4.0
    while excess_power(upper) < 0:
        upper *= 2
    return float(brentq(excess_power, 0, upper))


def _newest(runs: Sequence[Run], machine: str, name: str) -> tuple[Run, Benchmark]:
    """Return the newest A/A run on a machine that has this benchmark: some runs measure a part of the suite alone."""
    return next(
        (run, benchmark)
        for run in reversed(runs)
        if run.kind == "aa" and run.environment.machine == machine
        for benchmark in run.benchmarks
        if benchmark.id == name and benchmark.status == "ok"
    )


def _interval(alarms: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a rate (Clopper and Pearson 1934); NaN of nothing."""
    if not n:
        return math.nan, math.nan
    interval = binomtest(alarms, n).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)
