"""How far a benchmark's estimate strays where nothing differs: the margin that a slowdown must exceed.

In an A/A run a commit is set against itself, in two worktrees. The true ratio is 1, so that the estimate is noise, with
all that two worktrees and two sets of processes add to it. rustc-perf takes its thresholds in the same way from earlier
commits, some of which did change something; an A/A run never does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from deeptwins.gate.judge.estimates import PAIRS_FOR_TEST, estimate, usable
from deeptwins.gate.runs import Pair, Run

LAST = 30  # only so many controls count, the newest
LEAST_CONTROLS = 10  # fewer say too little: of n + 1 controls the last strays furthest in 1 case of n + 1
QUANTILE = 0.99
MOST_REJECTED = 0.25  # share of a batch's blocks: if more of them are rejected, the batch says nothing


def spoiled(pairs: Iterable[Pair]) -> bool:
    """Tell whether more than a quarter of the blocks of a batch are rejected."""
    blocks = [block for pair in pairs for block in pair]
    return sum(block.rejected is not None for block in blocks) > MOST_REJECTED * len(blocks)


def margin(controls: Sequence[float], least: float) -> float:
    """Return the slowdown that is tolerated, as a share.

    It is the 99 % quantile of how far the last 30 controls stray to either side, as a ratio; of 30 that is the largest.

    Args:
        controls: log ratios of A/A runs, the oldest first; with fewer than 10 the least margin holds.
        least: the least margin, as a share.
    """
    last = np.abs(np.asarray(controls[-LAST:], float))
    if len(last) < LEAST_CONTROLS:
        return least
    return max(least, math.expm1(float(np.quantile(last, QUANTILE, method="higher"))))


def margins(runs: Iterable[Run], machine: str, least: float) -> Mapping[str, tuple[float, int]]:
    """Return each benchmark's margin on a kind of machine, and how many controls it rests on.

    A control is the first batch of an A/A run. A batch that could not be judged, for too few pairs or too many rejected
    blocks, is no control.

    Args:
        runs: those of other kinds than `aa`, or of other machines, are passed over.
        machine: as `Environment.machine` has it.
        least: the least margin, as a share.
    """
    controls: dict[str, list[float]] = {}
    for run in sorted(runs, key=lambda run: run.started):
        if run.kind != "aa" or run.environment.machine != machine:
            continue
        for benchmark in run.benchmarks:
            log_ratios = controls.setdefault(benchmark.id, [])
            pairs = usable(benchmark.pairs)
            if benchmark.status == "ok" and len(pairs) >= PAIRS_FOR_TEST and not spoiled(benchmark.pairs):
                log_ratios.append(estimate(pairs).log_ratio)
    return {name: (margin(log_ratios, least), len(log_ratios[-LAST:])) for name, log_ratios in controls.items()}
