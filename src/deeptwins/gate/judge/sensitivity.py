"""What the gate finds, and what it takes for a change that is none: from its runs whose truth is known."""

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

CONTROL = "nothing (A/A)"
KINDS: tuple[Kind, ...] = ("aa", "slower", "mutant")
OUTCOMES = {0: "fine", 1: "found", 3: "inconclusive"}  # by exit code
NOT_MEASURED = "not measured"
FOUND: Mapping[Verdict, str] = {
    "regressed": "found",
    "inconclusive": "inconclusive",
    "no_worse": "fine",
    "improved": "fine",
    "not_measured": NOT_MEASURED,
}
QUANTILE = 0.99


@dataclass(frozen=True)
class Known:
    """A run whose truth is known, or one benchmark of it that was made slower, and what the gate says of it."""

    run: Run
    said: Conclusion
    slowed: str | None = None
    """The benchmark."""

    @property
    def treatment(self) -> str:
        """What was made worse, in words."""
        if self.slowed is not None:
            return f"+{100 * self.run.added[self.slowed]:g} % work in a benchmark"
        return CONTROL if self.run.kind == "aa" else self.run.injected or "not named"

    @property
    def judged(self) -> Judged | None:
        """What is said of the benchmark that was made slower."""
        return next((one for one in self.said.judged if one.id == self.slowed), None)

    @property
    def outcome(self) -> str:
        """What became of the benchmark that was made slower; where there is none, of the run."""
        if self.slowed is None:
            return OUTCOMES.get(self.said.code, NOT_MEASURED)
        return NOT_MEASURED if self.judged is None else FOUND[self.judged.verdict]

    @property
    def others(self) -> int:
        """Count the benchmarks that are called slower beside those that are, and are not."""
        return sum(
            one.verdict == "regressed" and one.id not in self.run.added
            for one in self.said.judged
            if self.run.kind == "slower"
        )

    @property
    def against(self) -> bool:
        """Whether it is called fine though slower, by an interval that excludes what was added."""
        one = self.judged
        if one is None or one.estimate is None or one.verdict not in {"no_worse", "improved"}:
            return False
        return one.estimate.high < math.log1p(self.run.added[one.id])


def known(runs: Iterable[Run]) -> list[Known]:
    """Judge the runs of the self-test, in the order A/A, added work, changed sources; others are left out."""
    found = []
    for run in runs:
        if run.kind in KINDS:
            said = conclude(run)
            found += [Known(run, said, name) for name in run.added] or [Known(run, said)]
    return sorted(found, key=lambda one: (KINDS.index(one.run.kind), one.run.added.get(one.slowed or "", 0)))


def outcomes(tested: Sequence[Known]) -> pd.DataFrame:
    """Say how each run came out: a row each."""
    rows = []
    for one in tested:
        verdicts = [judged.verdict for judged in one.said.judged]
        rows.append(
            {
                "kind": one.run.kind,
                "treatment": one.treatment,
                "run": one.run.id,
                "started": one.run.started,
                "machine": one.run.environment.machine,
                "commit": one.run.git.head[:12],
                "seconds": one.run.seconds,
                "outcome": one.outcome,
                "benchmarks": len(verdicts),
                "benchmark": one.slowed or "",
                "said_slower": verdicts.count("regressed"),
                "others": one.others,
                "said_faster": verdicts.count("improved"),
                "against": one.against,
                "failure": one.run.failure or "",
            }
        )
    return pd.DataFrame(rows)


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """Count outcomes by treatment; the rate is of alarms, which are false in A/A runs, with its exact interval."""
    rows = []
    for (kind, treatment), own in table.groupby(["kind", "treatment"], sort=False):
        counts = {name: int((own["outcome"] == name).sum()) for name in (*OUTCOMES.values(), NOT_MEASURED)}
        measured = len(own) - counts[NOT_MEASURED]
        low, high = _interval(counts["found"], measured)
        rows.append(
            {
                "kind": kind,
                "treatment": treatment,
                "runs": len(own),
                **{name.replace(" ", "_"): number for name, number in counts.items()},
                "rate": counts["found"] / measured if measured else math.nan,
                "low": low,
                "high": high,
                "others": int((own["others"] > 0).sum()),
                "said_faster": int((own["said_faster"] > 0).sum()),
                "against": int(own["against"].sum()),
                "median_s": float(own["seconds"].median()),
            }
        )
    return pd.DataFrame(rows)


def controls(tested: Sequence[Known]) -> pd.DataFrame:
    """Return what was estimated of every benchmark in every A/A run, whose truth is 0: a row each."""
    rows = [
        {
            "machine": one.run.environment.machine,
            "benchmark": judged.id,
            "run": one.run.id,
            "log_ratio": judged.estimate.log_ratio,
            "half_width": (judged.estimate.high - judged.estimate.low) / 2,
            "pairs": judged.estimate.pairs,
        }
        for one in tested
        if one.run.kind == "aa"
        for judged in one.said.judged
        if judged.verdict != "not_measured" and judged.estimate is not None and math.isfinite(judged.estimate.low)
    ]
    return pd.DataFrame(rows, columns=["machine", "benchmark", "run", "log_ratio", "half_width", "pairs"])


def detections(tested: Sequence[Known]) -> pd.DataFrame:
    """Count by benchmark how often added work was found."""
    rows = [
        {"benchmark": one.slowed, "treatment": one.treatment, "found": one.outcome == "found"}
        for one in tested
        if one.slowed is not None and one.outcome != NOT_MEASURED
    ]
    table = pd.DataFrame(rows, columns=["benchmark", "treatment", "found"])
    counted = table.groupby(["benchmark", "treatment"], sort=False)["found"].agg(["size", "sum"]).reset_index()
    return counted.rename(columns={"size": "measured", "sum": "found"})


def sensitivity(runs: Sequence[Run], measured: pd.DataFrame) -> pd.DataFrame:
    """Tell by machine and benchmark how small a slowdown is found: a row each.

    The error of an estimate is the larger of two: the root mean square of the A/A estimates, whose truth is 0, and what
    the width of their intervals says.

    Args:
        runs: all of them, the oldest first.
        measured: the A/A estimates, `controls`.
    """
    rows = []
    for (machine, name), own in measured.groupby(["machine", "benchmark"], sort=True):
        run, benchmark = _newest(runs, str(machine), str(name))
        margin = benchmark.margin or run.design.least_margin
        half, pairs = float(own["half_width"].median()), int(own["pairs"].median())
        error = max(float(np.sqrt(np.mean(own["log_ratio"] ** 2))), half / stdtrit(pairs - 1, 1 - ALPHA / 2))
        number = sum(each.status == "ok" for each in run.benchmarks)
        rows.append(
            {
                "machine": machine,
                "benchmark": name,
                "aa_runs": len(own),
                "noise": math.expm1(float(np.quantile(own["log_ratio"].abs(), QUANTILE))),
                "half_width": math.expm1(half),
                "margin": margin,
                "error": error,
                "pairs": pairs,
                "tests": number,
                "smallest": math.expm1(math.log1p(margin) + error * shift(pairs, run.design.alpha, number)),
            }
        )
    columns = (
        "machine",
        "benchmark",
        "aa_runs",
        "noise",
        "half_width",
        "margin",
        "error",
        "pairs",
        "tests",
        "smallest",
    )
    return pd.DataFrame(rows, columns=columns)


def shift(pairs: int, alpha: float, tests: int) -> float:
    """Return how many errors above its margin a slowdown lies that is found in 80 of 100 runs.

    Two batches must both be significant by Student's t of their pairs: the first for a lone slowdown among all
    benchmarks, the second by itself. By the noncentral t distribution.
    """
    critical = [stdtrit(pairs - 1, 1 - alpha / tests), stdtrit(pairs - 1, 1 - alpha)]

    def beyond(errors: float) -> float:
        return math.prod(1 - float(nctdtr(pairs - 1, errors, each)) for each in critical) - POWER

    most = 4.0
    while beyond(most) < 0:
        most *= 2
    return float(brentq(beyond, 0, most))


def _newest(runs: Sequence[Run], machine: str, name: str) -> tuple[Run, Benchmark]:
    """Return the newest A/A run on a machine with this benchmark: others may have measured a part of the suite."""
    return next(
        (run, benchmark)
        for run in reversed(runs)
        if run.kind == "aa" and run.environment.machine == machine
        for benchmark in run.benchmarks
        if benchmark.id == name and benchmark.status == "ok"
    )


def _interval(found: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's exact interval of a rate, at 95 %; NaN of nothing."""
    if not n:
        return math.nan, math.nan
    interval = binomtest(found, n).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)
