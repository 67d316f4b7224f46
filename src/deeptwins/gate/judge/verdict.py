"""From the times of benchmarks to the verdict on each.

A slowdown must exceed the benchmark's margin by a one-sided test, adjusted for the number of benchmarks (Benjamini and
Hochberg 1995). A second batch, in processes of its own, must show it again by itself. In each batch four pairs in five
must agree in its direction. The first batch may be enlarged until it says something. A test does not allow for so many
looks at the data; the second batch makes up for them.

A benchmark is no worse if the 95 % interval ends below the margin. By simulation one that is slower by just the margin
is called no worse in 2 or 3 of 100 cases, and in 2 to 6 where the batch is looked at after each of five more pairs.
This is not adjusted for the number of benchmarks: a run is fine only if all of them are, which errs no more often than
the test of one (Berger 1982).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from deeptwins.gate.judge import noise, sentences
from deeptwins.gate.judge.estimates import PAIRS_FOR_TEST, Estimate, benjamini_hochberg, estimate, p_beyond, usable
from deeptwins.gate.runs import Benchmark, Design, Pair
from deeptwins.pages.wording import count, percent

AGREEING = Fraction(4, 5)  # least share of a batch's pairs that have the estimate's sign
PAIRS_TO_HALVE = 6  # of imported files, at least, so that the pairs themselves are two batches (bench/import_rates.py)
Verdict = Literal["regressed", "improved", "no_worse", "inconclusive", "not_measured"]


@dataclass(frozen=True)
class Judged:
    """What is said of a benchmark."""

    id: str
    verdict: Verdict
    reason: str
    """Why it is inconclusive or not measured; else nothing."""
    margin: float
    """Slowdown that is tolerated, as a share. A speed-up counts likewise where the time is below 1 / (1 + margin)."""
    controls: int
    estimate: Estimate | None
    """None: no block counts."""
    confirmation: Estimate | None
    q: float
    """Adjusted p of the first batch: the smaller of those of a slowdown and of a speed-up beyond the margin."""
    rejected: int
    """Blocks of both batches."""
    blocks: int


@dataclass(frozen=True, eq=False)
class _Batch:
    pairs: tuple[Pair, ...]
    limit: float
    """The margin as a log ratio."""

    @cached_property
    def sample(self) -> list[list[float]]:
        return usable(self.pairs)

    @cached_property
    def estimate(self) -> Estimate | None:
        return estimate(self.sample) if self.sample else None

    @property
    def scarce(self) -> str:
        """How many pairs of imported files there must be; empty where they suffice, or none were imported."""
        files = any(len(block.order) == len("AB") for pair in self.pairs for block in pair)
        few = files and len(self.pairs) < PAIRS_TO_HALVE
        return f"{count(len(self.pairs), 'pair')} of files, where {PAIRS_TO_HALVE} are needed" if few else ""

    @cached_property
    def blocks(self) -> int:
        return sum(map(len, self.pairs))

    @cached_property
    def rejected(self) -> int:
        return sum(block.rejected is not None for pair in self.pairs for block in pair)

    @cached_property
    def defect(self) -> str:
        """Why the batch says nothing; empty where it says something."""
        if noise.spoiled(self.pairs):
            why = Counter(block.rejected for pair in self.pairs for block in pair if block.rejected is not None)
            return f"{self.rejected} of {count(self.blocks, 'block')} rejected ({', '.join(dict(why.most_common()))})"
        if len(self.sample) < PAIRS_FOR_TEST:
            return self.scarce or f"{count(len(self.sample), 'pair')} of processes; {PAIRS_FOR_TEST} are needed"
        return ""

    def p(self, direction: int) -> float:
        """Return the p value of there being no slowdown (direction 1), or speed-up (-1), beyond the margin."""
        return 1.0 if self.defect else p_beyond(self.sample, direction * self.limit, direction)

    @property
    def agrees(self) -> bool:
        return self.estimate is not None and self.estimate.agreeing >= AGREEING * self.estimate.pairs

    def confirms(self, direction: int, alpha: float) -> bool:
        return self.p(direction) < alpha and self.agrees

    @property
    def fine(self) -> bool:
        return not self.defect and self.estimate is not None and self.estimate.high < self.limit


@dataclass(frozen=True, eq=False)
class _Case:
    """A benchmark that was measured, among the others."""

    benchmark: Benchmark
    margin: float
    first: _Batch
    second: _Batch
    slower: float
    """Adjusted p of a slowdown."""
    faster: float
    alpha: float

    @property
    def direction(self) -> int:
        """What the first batch shows: a slowdown (1), a speed-up (-1), or no change (0)."""
        if not self.first.agrees or min(self.slower, self.faster) >= self.alpha:
            return 0
        return 1 if self.slower < self.alpha else -1

    @property
    def verdict(self) -> Verdict:
        if self.direction and self.second.confirms(self.direction, self.alpha):
            return "regressed" if self.direction > 0 else "improved"
        fine = self.first.fine and (self.second.fine or not self.second.pairs)
        return "no_worse" if fine else "inconclusive"

    @property
    def reason(self) -> str:
        """Why it is inconclusive."""
        reasons = dict.fromkeys((self._open, self.first.scarce))
        return "; ".join(filter(None, reasons))

    @property
    def _open(self) -> str:
        """Why the times leave it open."""
        first, second = self.first.estimate, self.second.estimate
        margin = f"the margin of {percent(100 * self.margin)}"
        if self.first.defect or first is None:
            return self.first.defect
        if self.direction:
            return f"{'slower' if self.direction > 0 else 'faster'} in the first batch, {self._unconfirmed}"
        if min(self.slower, self.faster) < self.alpha:
            return f"only {first.agreeing} of {first.pairs} pairs agree in direction"
        if self.first.fine and second is not None:
            return f"the interval of the second batch ({sentences.span(second)}) reaches beyond {margin}"
        if self.first.p(1) < self.alpha:
            return f"beyond {margin}, but not significantly, adjusted for the number of benchmarks"
        return f"the interval reaches beyond {margin}"

    @property
    def _unconfirmed(self) -> str:
        """Why the second batch does not confirm the first."""
        estimate = self.second.estimate
        if not self.second.pairs:
            return "and no second was taken"
        if self.second.defect or estimate is None:
            return f"and the second cannot be judged: {self.second.defect}"
        reason = f"not confirmed by the second: {sentences.speed(estimate.log_ratio)} ({sentences.span(estimate)})"
        return reason if self.second.agrees else f"{reason}, {estimate.agreeing} of {estimate.pairs} pairs agree"

    @property
    def need(self) -> float:
        """By what factor there would have to be more pairs to put the interval on one side of the margin.

        Infinite where that is not known. The width of an interval falls with the root of the number of pairs.
        """
        estimate = self.first.estimate
        if self.first.defect or estimate is None:
            return math.inf
        distance = abs(estimate.log_ratio - self.first.limit)
        return ((estimate.high - estimate.low) / 2 / distance) ** 2 if distance > 0 else math.inf


def judge(benchmarks: Sequence[Benchmark], design: Design) -> list[Judged]:
    """Judge each benchmark among the others; the order stays."""
    cases = {id(case.benchmark): case for case in _cases(benchmarks, design)}
    return [_judged(benchmark, cases.get(id(benchmark)), design) for benchmark in benchmarks]


def suspects(benchmarks: Sequence[Benchmark], design: Design) -> list[str]:
    """Name the benchmarks whose first batch shows a change, in either direction, and that have no second batch."""
    cases = _cases(benchmarks, design)
    return [case.benchmark.id for case in cases if case.direction and not case.benchmark.confirmation]


def spoiled(benchmarks: Sequence[Benchmark], design: Design) -> list[str]:
    """Name the benchmarks whose second batch says nothing, since too much of it is rejected.

    Which blocks are rejected does not depend on their times, so that measuring more pairs favours no verdict.
    """
    cases = _cases(benchmarks, design)
    return [case.benchmark.id for case in cases if noise.spoiled(case.benchmark.confirmation)]


def undecided(benchmarks: Sequence[Benchmark], design: Design) -> list[str]:
    """Name the benchmarks that the first batch leaves open: first those that the fewest pairs would decide."""
    cases = [case for case in _cases(benchmarks, design) if not case.direction and not case.benchmark.confirmation]
    undecided = [case for case in cases if case.verdict == "inconclusive"]
    return [case.benchmark.id for case in sorted(undecided, key=lambda case: case.need)]


def _cases(benchmarks: Iterable[Benchmark], design: Design) -> list[_Case]:
    """Put each benchmark that was measured among the others: its p values are adjusted for their number."""
    measured = [benchmark for benchmark in benchmarks if benchmark.status == "ok" and any(benchmark.pairs)]
    batches = [_batches(benchmark, design) for benchmark in measured]
    slower = benjamini_hochberg([first.p(1) for first, _ in batches])
    faster = benjamini_hochberg([first.p(-1) for first, _ in batches])
    return [
        _Case(
            benchmark=benchmark,
            margin=_margin(benchmark, design),
            first=first,
            second=second,
            slower=p_slower,
            faster=p_faster,
            alpha=design.alpha,
        )
        for benchmark, (first, second), p_slower, p_faster in zip(measured, batches, slower, faster, strict=True)
    ]


def _batches(benchmark: Benchmark, design: Design) -> tuple[_Batch, _Batch]:
    limit = math.log1p(_margin(benchmark, design))
    return _Batch(benchmark.pairs, limit), _Batch(benchmark.confirmation, limit)


def _margin(benchmark: Benchmark, design: Design) -> float:
    return design.least_margin if benchmark.margin is None else benchmark.margin


def _judged(benchmark: Benchmark, case: _Case | None, design: Design) -> Judged:
    if case is None:
        first, second = _batches(benchmark, design)
        verdict: Verdict = "not_measured"
        reason = benchmark.reason or ("no block was measured" if benchmark.status == "ok" else benchmark.status)
    else:
        verdict, first, second = case.verdict, case.first, case.second
        reason = case.reason if verdict == "inconclusive" else ""
    return Judged(
        id=benchmark.id,
        verdict=verdict,
        reason=reason,
        margin=_margin(benchmark, design),
        controls=benchmark.controls,
        estimate=first.estimate,
        confirmation=second.estimate,
        q=math.nan if case is None else min(case.slower, case.faster),
        rejected=first.rejected + second.rejected,
        blocks=first.blocks + second.blocks,
    )
