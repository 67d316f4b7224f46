"""How much slower head is, by the log ratios of its blocks, and how sure that is: for any samples in pairs.

A pair of processes has its own layout of memory, and its blocks are more alike than blocks of others. So a pair is one
value, however many blocks it has: the estimator of Hodges and Lehmann (1963) of its blocks. The estimate is the same
estimator of these values; a block in four, and a pair in four, may be far off without moving it far.

There are two intervals, and the one that is given covers both. Student's of the pairs' values holds for few pairs, if
they are about normal. The bootstrap draws pairs with replacement, and blocks within each (Kalibera and Jones 2013 give
reasons for such levels); it needs no normality, and is too narrow for few pairs. Tests are one-sided, and the larger of
their two p counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.stats
from scipy.special import stdtr

from deeptwins.findings.statistics import CONFIDENCE, Floats, mean, sd, t_interval
from deeptwins.gate.runs import Pair

DRAWS = 2000  # of the bootstrap; even
PAIRS_FOR_TEST = 2
_CELLS = 2_000_000  # averages that are held at once

Pairs = Sequence[Sequence[float]]
"""The log ratios of blocks, by pair; each pair has some."""


@dataclass(frozen=True)
class Estimate:
    """How much slower head is, on the log scale: above 0 it is slower."""

    log_ratio: float
    """NaN without a pair."""
    low: float
    """End of the two-sided 95 % interval; NaN with fewer than two pairs."""
    high: float
    pairs: int
    blocks: int
    agreeing: int
    """Pairs whose own value has the sign of the estimate."""


@dataclass(frozen=True, eq=False)
class _Sample:
    values: Floats
    """A value a pair, in ascending order."""
    draws: Floats
    """Estimates of the bootstrap; none of fewer than two pairs."""


def usable(pairs: Iterable[Pair]) -> list[list[float]]:
    """Return the log ratios of the blocks that count, by pair; pairs without one are left out."""
    kept = ([block.log_ratio for block in pair if block.rejected is None] for pair in pairs)
    return [pair for pair in kept if pair]


def hodges_lehmann(values: Sequence[float] | Floats) -> float:
    """Return the median of the averages of every two values, and of each with itself; NaN of nothing."""
    return float(_hodges_lehmann(np.asarray(values, float)[None])[0]) if len(values) else math.nan


def estimate(pairs: Pairs) -> Estimate:
    """Estimate the log ratio: the same whatever the order of pairs and blocks; swapping the arms turns its sign."""
    sample = _sample(pairs)
    point = hodges_lehmann(sample.values)
    low, high = t_interval(sample.values)
    if len(sample.draws):
        ends = np.quantile(sample.draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    agreeing = int((np.sign(sample.values) == np.sign(point)).sum())
    return Estimate(point, low, high, len(sample.values), sum(map(len, pairs)), agreeing)


def p_above(pairs: Pairs, threshold: float) -> float:
    """Return the p of a true log ratio that is no more than the threshold; 1 with fewer than two pairs."""
    return _p(pairs, threshold, 1)


def p_below(pairs: Pairs, threshold: float) -> float:
    """Return the p of a true log ratio that is no less than the threshold; 1 with fewer than two pairs."""
    return _p(pairs, threshold, -1)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjust p values for their number, by Benjamini and Hochberg (1995).

    Of those that are below alpha then, a share of at most alpha is false in the mean, if the tests are independent or
    depend on each other as benchmarks on one machine do: what makes one slow makes none fast.
    """
    return [float(q) for q in scipy.stats.false_discovery_control(p)] if len(p) else []


def _p(pairs: Pairs, threshold: float, sign: int) -> float:
    sample = _sample(pairs)
    if len(sample.values) < PAIRS_FOR_TEST:
        return 1.0
    beyond = sign * (mean(sample.values) - threshold)
    error = sd(sample.values) / math.sqrt(len(sample.values))
    student = float(stdtr(len(sample.values) - 1, -beyond / error)) if error > 0 else float(beyond <= 0)
    # One is added to both counts, so that no p is 0 for want of draws (Davison and Hinkley 1997, section 4.4).
    against = int((sign * (sample.draws - threshold) <= 0).sum())
    return max(student, (against + 1) / (len(sample.draws) + 1))


def _sample(pairs: Pairs) -> _Sample:
    """Put blocks and pairs in order, so that how they were ordered changes nothing, not even the draws."""
    ordered = sorted((hodges_lehmann(pair), *sorted(pair)) for pair in pairs)
    return _drawn(tuple(tuple(blocks) for _, *blocks in ordered))


@lru_cache(maxsize=1024)
def _drawn(pairs: tuple[tuple[float, ...], ...]) -> _Sample:
    """Draw pairs, and blocks within each.

    Of the draws one half mirrors the other: for a pair or a block it has that of the opposite rank (Hall 1989). So the
    arms may be swapped and the whole shifted, and all that is drawn follows.
    """
    values = np.array([hodges_lehmann(pair) for pair in pairs])
    if len(pairs) < PAIRS_FOR_TEST:
        return _Sample(values, np.empty(0))
    rng = np.random.default_rng(0)
    size = (DRAWS // 2, len(pairs))
    half = rng.integers(len(pairs), size=size)
    picked = np.concatenate([half, len(pairs) - 1 - half])
    places = rng.random((*size, max(map(len, pairs))))
    mirrored = np.repeat([False, True], DRAWS // 2)[:, None]
    drawn = np.empty(picked.shape)
    for pair, blocks in enumerate(pairs):
        here = picked == pair
        ranks = (np.concatenate([places, places])[here][:, : len(blocks)] * len(blocks)).astype(int)
        back = np.broadcast_to(mirrored, picked.shape)[here]
        ranks[back] = len(blocks) - 1 - ranks[back]
        drawn[here] = _hodges_lehmann(np.array(blocks)[ranks])
    return _Sample(values, _hodges_lehmann(drawn))


def _hodges_lehmann(rows: Floats) -> Floats:
    """Estimate each row."""
    first, second = np.triu_indices(rows.shape[1])
    step = max(1, _CELLS // len(first))
    parts = (rows[i : i + step] for i in range(0, len(rows), step))
    medians = [np.median((part[:, first] + part[:, second]) / 2, axis=1) for part in parts]
    return np.concatenate(medians) if medians else np.empty(0)
