"""How far a benchmark's estimate strays where nothing differs: the margin that a slowdown must exceed.

A commit is set against itself, in two worktrees. The ratio is 1, and what is estimated is noise, with all that two
worktrees and two sets of processes bring along. rustc-perf takes its thresholds from earlier commits in this way; here
none of what is looked at is a change.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from deeptwins.gate.judge.estimates import PAIRS_FOR_TEST, estimate, usable
from deeptwins.gate.runs import Benchmark, Pair, Run

LAST = 30  # controls that count
# Fewer say nothing yet. With n of them the next strays further than all in 1 case of n + 1.
LEAST_CONTROLS = 10
QUANTILE = 0.99
MOST_REJECTED = 0.25  # share of the blocks of a batch; with more it says nothing


def spoiled(pairs: Iterable[Pair]) -> bool:
    """Tell whether more than a quarter of the blocks of a batch are rejected."""
    blocks = [block for pair in pairs for block in pair]
    return sum(block.rejected is not None for block in blocks) > MOST_REJECTED * len(blocks)


def margin(controls: Sequence[float], least: float) -> float:
    """Return the slowdown that is tolerated, as a share.

    It is the 99 % quantile of how far the last 30 controls stray to either side, as a ratio: of so few, the largest.

    Args:
        controls: log ratios of A/A runs, the oldest first; with fewer than 10 the least margin holds.
        least: the least margin, as a share.
    """
    last = np.abs(np.asarray(controls[-LAST:], float))
    if len(last) < LEAST_CONTROLS:
        return least
    return max(least, math.expm1(float(np.quantile(last, QUANTILE, method="higher"))))


def margins(aa_runs: Iterable[Run], machine: str, least: float) -> Mapping[str, tuple[float, int]]:
    """Return each benchmark's margin on a kind of machine, and how many controls it rests on.

    A control is the first batch of an A/A run. One that could not be judged, for too few pairs or too many rejected
    blocks, is none.

    Args:
        aa_runs: runs; those of other kinds, or other machines, are passed over.
        machine: as `Environment.machine` has it.
        least: the least margin, as a share.
    """
    controls: dict[str, list[float]] = {}
    for run in sorted(aa_runs, key=lambda run: run.started):
        for benchmark in run.benchmarks if run.kind == "aa" and run.environment.machine == machine else ():
            controls.setdefault(benchmark.id, []).extend(_control(benchmark))
    return {name: (margin(own, least), len(own[-LAST:])) for name, own in controls.items()}


def _control(benchmark: Benchmark) -> list[float]:
    pairs = usable(benchmark.pairs)
    if benchmark.status != "ok" or len(pairs) < PAIRS_FOR_TEST or spoiled(benchmark.pairs):
        return []
    return [estimate(pairs).log_ratio]
