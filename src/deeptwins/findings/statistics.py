"""Statistics on plain arrays: intervals, tests, correction for many tests, power, the noise of a test set."""

from __future__ import annotations

import math

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from scipy.special import nctdtr, ndtri, stdtr, stdtrit  # the distributions: quicker than those of scipy.stats

CONFIDENCE = 0.95
ALPHA = 0.05  # 1 - CONFIDENCE, without its rounding
POWER = 0.8
SEEDS_FOR_INTERVAL = 2
DEPTHS_FOR_PAGE = 3

Floats = NDArray[np.float64]


def mean(values: Floats) -> float:
    """Return the mean, NaN of nothing."""
    return float(values.mean()) if len(values) else math.nan


def sd(values: Floats) -> float:
    """Return the population's standard deviation, estimated by n - 1; NaN of fewer than two values."""
    return float(values.std(ddof=1)) if len(values) >= SEEDS_FOR_INTERVAL else math.nan


def t_interval(values: Floats) -> tuple[float, float]:
    """Student's t interval of the mean: a point where all values are equal, NaN where there are fewer than two."""
    if len(values) < SEEDS_FOR_INTERVAL:
        return math.nan, math.nan
    half = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * sd(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def t_bound(mean: float, sd: float, n: int) -> float:
    """Student's one-sided upper bound, at 95 %, of the mean of n values; NaN where there are fewer than two."""
    if n < SEEDS_FOR_INTERVAL:
        return math.nan
    return mean + float(stdtrit(n - 1, CONFIDENCE)) * sd / math.sqrt(n)


def t_test(values: Floats, rounding: float = 0.0) -> float:
    """Student's two-sided p that the mean is 0: below 0.05 where `t_interval` excludes it. NaN of fewer than two.

    Without rounding, values that are all equal leave no doubt: p is 1 where they are 0, else 0.

    Args:
        values: a sample.
        rounding: the standard deviation that rounding gives them; theirs is taken to be at least that.
    """
    if len(values) < SEEDS_FOR_INTERVAL:
        return math.nan
    error = max(sd(values), rounding) / math.sqrt(len(values))
    if error == 0:
        return float(mean(values) == 0)
    return float(2 * stdtr(len(values) - 1, -abs(mean(values)) / error))


def bootstrap_interval(values: Floats) -> tuple[float, float]:
    """Return the percentile bootstrap's interval of the mean (Efron 1979), the same at every call."""
    if len(values) < SEEDS_FOR_INTERVAL:
        return math.nan, math.nan
    interval = scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=CONFIDENCE, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(interval.low), float(interval.high)


def page(values: Floats) -> tuple[float, float, float]:
    """Page's trend test (1963) of rows that should each rise: L, the one-sided p that they rise, and that they fall.

    NaN where there are fewer than three columns or two rows.
    """
    rows, columns = values.shape
    if columns < DEPTHS_FOR_PAGE or rows < SEEDS_FOR_INTERVAL:
        return math.nan, math.nan, math.nan
    ranks = np.arange(1, columns + 1)
    rises = scipy.stats.page_trend_test(values, predicted_ranks=ranks)
    falls = scipy.stats.page_trend_test(values, predicted_ranks=ranks[::-1])
    return float(rises.statistic), float(rises.pvalue), float(falls.pvalue)


def holm(p: Floats, weights: Floats) -> Floats:
    """Adjust p values for the number of tests by Holm's method (1979), with weights.

    A test that weighs more has its p raised less; only the ratios of weights count. Whatever is true, the chance that
    any true null hypothesis has an adjusted p below alpha is at most alpha. An entry with weight 0, or a p of NaN, is
    no test, and is adjusted to NaN.
    """
    adjusted = np.full(len(p), math.nan)
    tested = np.flatnonzero(np.isfinite(p) & (weights > 0))
    order = tested[np.argsort(p[tested] / weights[tested], kind="stable")]
    left = np.cumsum(weights[order][::-1])[::-1]  # the weights of all tests not yet rejected
    adjusted[order] = np.clip(np.maximum.accumulate(p[order] * (left / weights[order])), 0, 1)
    return adjusted


def seeds_needed(sd: float, difference: float) -> float:
    """Return how many seeds would show a mean difference, where paired differences have this standard deviation.

    With so many seeds the two-sided t test at 5 % sees the difference in 80 of 100 studies, by the noncentral t
    distribution (Cohen 1988, section 2.3). NaN where the standard deviation is not known, infinite for a difference
    of 0.
    """
    if not math.isfinite(sd) or difference == 0:
        return math.nan if not math.isfinite(sd) else math.inf
    effect = abs(difference) / sd if sd > 0 else math.inf
    normal = ndtri(1 - ALPHA / 2) + ndtri(POWER)
    # Begin with as many as a test with a known standard deviation needs; Student's test needs at least as many.
    n = max(SEEDS_FOR_INTERVAL, math.floor((normal / effect) ** 2))
    while math.isfinite(effect) and power(n, effect) < POWER:
        n += 1
    return float(n)


def power(n: int, effect: float) -> float:
    """Return the chance that the two-sided t test at 5 % of n values sees a mean of `effect` standard deviations."""
    critical = stdtrit(n - 1, 1 - ALPHA / 2)
    shift = effect * math.sqrt(n)
    # The far tail is left out: a difference with the wrong sign is no success, and its chance is less than 0.025.
    return float(1 - nctdtr(n - 1, shift, critical))


def rounding(images: float) -> float:
    """Return the standard deviation, in points, that rounding to whole images gives a difference of two errors.

    Rounding gives each error the width of a step, 100 / images, divided by the root of 12 (Sheppard 1898).
    """
    return 100 / images * math.sqrt(2 / 12)


def noise_floor(error_pct: Floats | float, images: Floats | float) -> Floats:
    """Return the standard deviation, in points, of an error measured on so many images: that of a binomial share."""
    share = np.asarray(error_pct, float) / 100
    return np.asarray(100 * np.sqrt(share * (1 - share) / images), float)
