"""From the times of benchmarks to the verdict on each.

A slowdown must exceed the benchmark's margin, by a one-sided test and among as many benchmarks as there are (Benjamini
and Hochberg 1995); be found again, by itself, in a second batch of processes of its own; and four pairs in five of each
batch must agree in its direction. The first batch may be enlarged until it says something. These are more looks than a
test allows for; the second batch makes that good.

A benchmark is no worse if the 95 % interval ends below the margin. By simulation one that is slower by just the margin
is called so in 2 or 3 of 100 cases, and in 2 to 6 where the batch is looked at after each of five more pairs. That is
not adjusted for how many there are: a run is fine only if all are, which errs no more often than one (Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from deeptwins.gate.judge import noise, sentences
from deeptwins.gate.judge.estimates import (
    PAIRS_FOR_TEST,
    Estimate,
    benjamini_hochberg,
    estimate,
    p_above,
    p_below,
    usable,
)
from deeptwins.gate.runs import Benchmark, Design, Pair
from deeptwins.pages.wording import count, percent

AGREEING = 4, 5  # pairs of a batch, of how many
Verdict = Literal["regressed", "improved", "no_worse", "inconclusive", "not_measured"]


@dataclass(frozen=True)
class Judged:
    """What is found of a benchmark."""

    id: str
    verdict: Verdict
    reason: str
    """Why it is inconclusive or not measured; else nothing."""
    margin: float
    """As a share: a speed-up counts from 1 / (1 + margin) of the time."""
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
    """Log ratio of the margin."""

    @cached_property
    def sample(self) -> list[list[float]]:
        return usable(self.pairs)

    @cached_property
    def estimate(self) -> Estimate | None:
        return estimate(self.sample) if self.sample else None

    @cached_property
    def blocks(self) -> int:
        return sum(map(len, self.pairs))

    @cached_property
    def rejected(self) -> int:
        return sum(block.rejected is not None for pair in self.pairs for block in pair)

    @cached_property
    def defect(self) -> str:
        """Why it says nothing; nothing where it does."""
        if noise.spoiled(self.pairs):
            return f"{self.rejected} of {count(self.blocks, 'block')} rejected"
        if len(self.sample) < PAIRS_FOR_TEST:
            return f"{count(len(self.sample), 'pair')} of processes; {PAIRS_FOR_TEST} are needed"
        return ""

    def p(self, direction: int) -> float:
        """Return the p of no change beyond the margin: a slowdown, 1, or a speed-up, -1."""
        if self.defect:
            return 1.0
        return p_above(self.sample, self.limit) if direction > 0 else p_below(self.sample, -self.limit)

    @property
    def agrees(self) -> bool:
        found = self.estimate
        return found is not None and AGREEING[1] * found.agreeing >= AGREEING[0] * found.pairs

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
        """What the first batch shows: a slowdown, 1, a speed-up, -1, or no change, 0."""
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
        found, again = self.first.estimate, self.second.estimate
        margin = f"the margin of {percent(100 * self.margin)}"
        if self.first.defect or found is None:
            return self.first.defect
        if self.direction:
            return f"{'slower' if self.direction > 0 else 'faster'} in the first batch, {self._unconfirmed}"
        if min(self.slower, self.faster) < self.alpha:
            return f"only {found.agreeing} of {found.pairs} pairs agree in direction"
        if self.first.fine and again is not None:
            return f"the interval of the second batch ({sentences.span(again)}) does not end below {margin}"
        if min(self.first.p(1), self.first.p(-1)) < self.alpha:
            return f"beyond {margin} by itself, but not sure enough for one of so many benchmarks"
        return f"the interval does not end below {margin}"

    @property
    def _unconfirmed(self) -> str:
        again = self.second.estimate
        if not self.second.pairs:
            return "and no second was taken"
        if self.second.defect or again is None:
            return f"and the second tells nothing: {self.second.defect}"
        told = f"not confirmed by the second: {sentences.change(again.log_ratio)} ({sentences.span(again)})"
        return told if self.second.agrees else f"{told}, {again.agreeing} of {again.pairs} pairs agree"

    @property
    def need(self) -> float:
        """How many times the pairs might tell on which side of the margin it is; infinite where that is not known."""
        found = self.first.estimate
        if self.first.defect or found is None:
            return math.inf
        away = abs(found.log_ratio - self.first.limit)
        return ((found.high - found.low) / 2 / away) ** 2 if away > 0 else math.inf


def judge(benchmarks: Sequence[Benchmark], design: Design) -> list[Judged]:
    """Judge each benchmark among the others; in their order."""
    cases = {id(case.benchmark): case for case in _cases(benchmarks, design)}
    return [_judged(benchmark, cases.get(id(benchmark)), design) for benchmark in benchmarks]


def suspects(benchmarks: Sequence[Benchmark], design: Design) -> list[str]:
    """Name those whose first batch shows a change, in either direction, and that have no second."""
    found = _cases(benchmarks, design)
    return [case.benchmark.id for case in found if case.direction and not case.benchmark.confirmation]


def spoiled(benchmarks: Sequence[Benchmark], design: Design) -> list[str]:
    """Name those whose second batch says nothing, for too much of it is rejected.

    What is rejected does not depend on what was found, so that more pairs of these favour no verdict.
    """
    found = _cases(benchmarks, design)
    return [case.benchmark.id for case in found if noise.spoiled(case.benchmark.confirmation)]


def undecided(benchmarks: Sequence[Benchmark], design: Design) -> list[str]:
    """Name those whose first batch says nothing and has no second: first those that fewer pairs would decide."""
    found = [case for case in _cases(benchmarks, design) if not case.direction and not case.benchmark.confirmation]
    found = [case for case in found if case.verdict == "inconclusive"]
    return [case.benchmark.id for case in sorted(found, key=lambda case: case.need)]


def _cases(benchmarks: Iterable[Benchmark], design: Design) -> list[_Case]:
    measured = [each for each in benchmarks if each.status == "ok" and any(each.pairs)]
    margins = [_margin(each, design) for each in measured]
    firsts = [_Batch(each.pairs, math.log1p(margin)) for each, margin in zip(measured, margins, strict=True)]
    slower, faster = (benjamini_hochberg([batch.p(direction) for batch in firsts]) for direction in (1, -1))
    return [
        _Case(each, margin, first, _Batch(each.confirmation, first.limit), up, down, design.alpha)
        for each, margin, first, up, down in zip(measured, margins, firsts, slower, faster, strict=True)
    ]


def _margin(benchmark: Benchmark, design: Design) -> float:
    return design.least_margin if benchmark.margin is None else benchmark.margin


def _judged(benchmark: Benchmark, case: _Case | None, design: Design) -> Judged:
    margin = _margin(benchmark, design)
    first, second = (_Batch(pairs, math.log1p(margin)) for pairs in (benchmark.pairs, benchmark.confirmation))
    if case is None:
        verdict: Verdict = "not_measured"
        reason = benchmark.reason or ("no block was measured" if benchmark.status == "ok" else benchmark.status)
    else:
        verdict, first, second = case.verdict, case.first, case.second
        reason = case.reason if verdict == "inconclusive" else ""
    return Judged(
        id=benchmark.id,
        verdict=verdict,
        reason=reason,
        margin=margin,
        controls=benchmark.controls,
        estimate=first.estimate,
        confirmation=second.estimate,
        q=math.nan if case is None else min(case.slower, case.faster),
        rejected=first.rejected + second.rejected,
        blocks=first.blocks + second.blocks,
    )
