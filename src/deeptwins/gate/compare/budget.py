"""How the time is shared among benchmarks: known before the start, as a survey has told what each of them takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deeptwins.gate.runs import Design
from deeptwins.pages.wording import count

MINUTE_S = 60
SURVEY = 1 / 4  # share of the time in which it is learned what the benchmarks take
LEAST_BLOCKS = 3  # per pair: so few where there is no time for the design's number
FIRST_BATCH = 2 / 3  # share of the time: the rest is for second batches, and for more pairs of what is undecided


@dataclass(frozen=True)
class Cost:
    """What a benchmark takes in a pair of processes."""

    name: str
    fixed_s: float
    """Seconds before its first block, and after the last."""
    block_s: float
    blocks: int
    """Blocks in a pair, at most."""
    changed: bool = False
    """Whether it runs code that differs between the commits."""

    def pair_s(self, most: int) -> float:
        """Return the seconds that a pair takes, with so many blocks at most."""
        return self.fixed_s + min(most, self.blocks) * self.block_s


@dataclass(frozen=True)
class TimePlan:
    """What the time suffices for."""

    names: tuple[str, ...]
    """The benchmarks that are measured, the most valuable first."""
    blocks: int
    """Per pair, at most."""
    batch_s: float
    """Seconds that a first batch of them takes."""
    limit_s: float
    """Seconds in all that every benchmark would take, with the least number of blocks."""
    all: int
    """Number of benchmarks, with those that are dropped."""

    @property
    def words(self) -> str:
        """Say how long it will take, and whether the limit suffices."""
        if len(self.names) < self.all:
            enough = f"the limit suffices for {len(self.names)} of {count(self.all, 'benchmark')}"
            return f"{enough}; all of them take --time-limit {math.ceil(self.limit_s / MINUTE_S)}m"
        batch = f"a first batch of {count(self.all, 'benchmark')} takes about {_time(self.batch_s)}"
        return f"{batch}; what it leaves open takes longer"


def plan(costs: Sequence[Cost], start_s: float, spent_s: float, left_s: float, design: Design) -> TimePlan:
    """Share the time: with fewer blocks if need be, and then without the least valuable benchmarks.

    Those that run changed code are the most valuable, and among equals those that take the least time.

    Args:
        costs: of all benchmarks.
        start_s: seconds until the processes of a pair are ready.
        spent_s: seconds that have gone by.
        left_s: seconds that are left.
        design: how many pairs and blocks there should be.
    """
    order = sorted(costs, key=lambda cost: (not cost.changed, cost.pair_s(design.blocks)))
    fewest = min(LEAST_BLOCKS, design.blocks)

    def batch_s(costs: Sequence[Cost], blocks: int) -> float:
        return design.pairs * (start_s + sum(cost.pair_s(blocks) for cost in costs))

    room = FIRST_BATCH * left_s
    blocks = next((most for most in range(design.blocks, fewest, -1) if batch_s(order, most) <= room), fewest)
    fitting = order
    while fitting and batch_s(fitting, blocks) > room:
        fitting = fitting[:-1]
    names = tuple(cost.name for cost in fitting)
    return TimePlan(names, blocks, batch_s(fitting, blocks), spent_s + batch_s(order, fewest) / FIRST_BATCH, len(order))


def _time(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds <= MINUTE_S else f"{math.ceil(seconds / MINUTE_S)} min"
