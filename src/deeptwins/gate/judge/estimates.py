"""How much slower head is, by the log ratios of its blocks, and how sure that is: for any samples in pairs.

A pair of processes has its own layout of memory, and its blocks are more alike than blocks of different pairs. So a
pair is one value, however many blocks it has: the estimator of Hodges and Lehmann (1963) of its blocks. The estimate is
the same estimator of these values. One block in four, and one pair in four, may be far off without moving it far.

The interval covers two others. Student's t interval of the pairs' values holds for few pairs, if they are about normal.
The bootstrap draws pairs with replacement, and blocks within each pair (Kalibera and Jones 2013 give reasons for such
levels); it needs no normality, but is too narrow for few pairs. Tests are one-sided: one by Student's t and one by the
bootstrap, of whose two p the larger counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from scipy.special import stdtr

from deeptwins.findings.statistics import CONFIDENCE, Floats, mean, sd, t_interval
from deeptwins.gate.runs import Pair

DRAWS = 2000  # of the bootstrap; even
PAIRS_FOR_TEST = 2
_CELLS = 2_000_000  # averages that are held in memory at once

Pairs = Sequence[Sequence[float]]
"""The log ratios of blocks, by pair; no pair is empty."""


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
    """Pairs whose value has the sign of the estimate."""


@dataclass(frozen=True, eq=False)
class _Sample:
    values: Floats
    """One per pair, in ascending order."""
    draws: Floats
    """Estimates of the bootstrap; empty where there are fewer than two pairs."""


def usable(pairs: Iterable[Pair]) -> list[list[float]]:
    """Return the log ratios of the blocks that count, by pair; pairs without one are left out."""
    log_ratios = ([block.log_ratio for block in pair if block.rejected is None] for pair in pairs)
    return [pair for pair in log_ratios if pair]


def hodges_lehmann(values: Sequence[float] | Floats) -> float:
    """Return the estimator of Hodges and Lehmann (1963), NaN of nothing.

    It is the median of the averages of every two values, each value with itself included.
    """
    return float(_hodges_lehmann(np.asarray(values, float)[None])[0]) if len(values) else math.nan


def estimate(pairs: Pairs) -> Estimate:
    """Estimate the log ratio. The order of pairs and blocks does not matter; swapping the arms turns the sign."""
    sample = _sample(pairs)
    point = hodges_lehmann(sample.values)
    low, high = t_interval(sample.values)
    if len(sample.draws):
        ends = np.quantile(sample.draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    agreeing = int((np.sign(sample.values) == np.sign(point)).sum())
    return Estimate(point, low, high, len(sample.values), sum(map(len, pairs)), agreeing)


def p_beyond(pairs: Pairs, threshold: float, direction: int = 1) -> float:
    """Return the p value of the hypothesis that the log ratio is the threshold or less, or for direction -1 or more.

    It is 1 with fewer than two pairs.
    """
    sample = _sample(pairs)
    if len(sample.values) < PAIRS_FOR_TEST:
        return 1.0
    beyond = direction * (mean(sample.values) - threshold)
    error = sd(sample.values) / math.sqrt(len(sample.values))
    student = float(stdtr(len(sample.values) - 1, -beyond / error)) if error > 0 else float(beyond <= 0)
    # One is added to both counts, so that no p is 0 for lack of draws (Davison and Hinkley 1997, section 4.4).
    against = int((direction * (sample.draws - threshold) <= 0).sum())
    return max(student, (against + 1) / (len(sample.draws) + 1))


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjust p values for their number, by Benjamini and Hochberg (1995).

    Of the adjusted values below alpha, a share of at most alpha is false on average. That holds for independent tests,
    and for tests that depend on each other positively, as benchmarks on one machine do: what makes one slow makes none
    fast.
    """
    return [float(q) for q in scipy.stats.false_discovery_control(p)] if len(p) else []


def _sample(pairs: Pairs) -> _Sample:
    return _drawn(_ordered(tuple(map(tuple, pairs))))


@lru_cache(maxsize=1024)
def _ordered(pairs: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    """Sort blocks and pairs, so that their order changes nothing, not even the draws of the bootstrap."""
    ordered = sorted((hodges_lehmann(pair), *sorted(pair)) for pair in pairs)
    return tuple(tuple(blocks) for _, *blocks in ordered)


@lru_cache(maxsize=1024)
def _drawn(pairs: tuple[tuple[float, ...], ...]) -> _Sample:
    """Draw pairs, and blocks within each pair.

    One half of the draws mirrors the other: where the first half draws the pair or block of a rank, the second draws
    that of the opposite rank (antithetic resampling, Hall 1989). So an estimate follows exactly where the arms are
    swapped, or all log ratios are shifted.
    """
    values = np.array([hodges_lehmann(pair) for pair in pairs])
    if len(pairs) < PAIRS_FOR_TEST:
        return _Sample(values, np.empty(0))
    rng = np.random.default_rng(0)
    size = (DRAWS // 2, len(pairs))

    # Which pairs each draw has, by rank: a first half, and its mirror image.
    half = rng.integers(len(pairs), size=size)
    drawn_pairs = np.concatenate([half, len(pairs) - 1 - half])
    mirrored = np.repeat([False, True], DRAWS // 2)[:, None]

    # The value of each drawn pair, from blocks that are drawn from it: a random number in [0, 1) gives a block's rank.
    places = rng.random((*size, max(map(len, pairs))))
    drawn_values = np.empty(drawn_pairs.shape)
    for pair, blocks in enumerate(pairs):
        cells = drawn_pairs == pair
        ranks = (np.concatenate([places, places])[cells][:, : len(blocks)] * len(blocks)).astype(int)
        opposite = np.broadcast_to(mirrored, drawn_pairs.shape)[cells]
        ranks[opposite] = len(blocks) - 1 - ranks[opposite]
        drawn_values[cells] = _hodges_lehmann(np.array(blocks)[ranks])
    return _Sample(values, _hodges_lehmann(drawn_values))


def _hodges_lehmann(rows: Floats) -> Floats:
    """Estimate each row; several rows at once, as many as memory should hold."""
    first, second = _every_two(rows.shape[1])
    rows_at_once = max(1, _CELLS // len(first))
    medians = np.empty(len(rows))
    for start in range(0, len(rows), rows_at_once):
        part = rows[start : start + rows_at_once]
        sums = part[:, first] + part[:, second]
        sums.sort(axis=1)  # of rows as short as these it is quicker than np.median
        middle = sums[:, (len(first) - 1) // 2] + sums[:, len(first) // 2]
        medians[start : start + rows_at_once] = middle / 4  # of two sums, twice an average each
    return medians


@lru_cache(maxsize=64)
def _every_two(values: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of every two of so many values, each value with itself included."""
    return np.triu_indices(values)
