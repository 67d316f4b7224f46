"""Where the level of a series changes, on plain arrays.

PELT (Killick, Fearnhead and Eckley 2012), from ruptures, proposes steps. One that is smaller than a margin is dropped,
and so is one that a rank test (Mann and Whitney 1947) could confirm and does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from deeptwins.errors import InputError
from deeptwins.findings.statistics import Floats

SEGMENT = 3  # runs between two steps, at least
LEAST = 2 * SEGMENT  # runs in which a step can be found
P_VALUE = 0.002  # of the rank test: the one that airspeed velocity uses
# A step must lower the sum of absolute distances from the medians by PENALTY sigma ln(n). In a series without a step
# the best split lowers it by more than 2 sigma ln(n) in at most 1 of 100 cases, by simulation: normal noise and
# Student's t with 3 degrees of freedom, n from 8 to 160. A step by d that holds for m runs lowers it by nearly m d.
PENALTY = 2.0


@dataclass(frozen=True)
class ChangePoint:
    """A change of level in a series, between two of its values."""

    at: int
    """Index of the first value behind it."""
    size: float
    """Difference of the medians on its two sides, each up to the next change."""
    p: float
    """Of the rank test."""
    confirmed: bool
    """Whether the rank test confirms it; False: there are too few values for the test to say anything."""
    before: int
    """Number of values before it, back to the change before."""
    after: int
    """Number of values behind it, up to the next change."""


def steps(values: Floats, margin: float, error: float = 0.0) -> list[ChangePoint]:
    """Find where the level of a series changes, in either direction.

    Proposals that do not hold are dropped one by one, the least convincing first. Those that are left are judged anew
    each time, since the stretches on their sides have grown.

    Args:
        values: the series.
        margin: the least difference that is a step.
        error: standard error of a value, if known. A few values may by chance differ less than that among themselves.

    Raises:
        InputError: ruptures is not installed.
    """
    places = _proposed(values, error)
    while places:
        bounds = [0, *places, len(values)]
        points = [_point(values, start, at, end) for start, at, end in zip(bounds, places, bounds[2:], strict=False)]
        small = [point for point in points if abs(point.size) < margin]
        weak = small or [point for point in points if not _holds(point)]
        if not weak:
            return points
        places.remove(min(weak, key=lambda point: abs(point.size)).at)
    return []


def noise(values: Floats) -> float:
    """Return the standard deviation of a series around its level.

    It comes from the median absolute deviation of first differences, of which a step is only one.
    """
    differences = np.diff(values)
    return float(stats.median_abs_deviation(differences, scale="normal") / math.sqrt(2)) if len(differences) else 0.0


def _proposed(values: Floats, error: float) -> list[int]:
    if len(values) < LEAST:
        return []
    try:
        import ruptures  # type: ignore[import-untyped]  # noqa: PLC0415  all but a history does without it
    except ImportError:
        raise InputError("ruptures is not installed, and a history needs it: pip install ruptures") from None
    sigma = max(noise(values), error, 1e-9)  # in a series without noise every step counts
    search = ruptures.Pelt(model="l1", min_size=SEGMENT, jump=1)
    return [int(at) for at in search.fit_predict(values, PENALTY * sigma * math.log(len(values)))[:-1]]


def _point(values: Floats, start: int, at: int, end: int) -> ChangePoint:
    before, after = values[start:at], values[at:end]
    p = float(stats.mannwhitneyu(before, after).pvalue)
    size = float(np.median(after) - np.median(before))
    return ChangePoint(at, size, p, p < P_VALUE, len(before), len(after))


def _holds(point: ChangePoint) -> bool:
    """Tell whether the rank test confirms a change, or could not even if the values on its sides did not overlap."""
    least_p = 2 / math.comb(point.before + point.after, point.before)
    return point.confirmed or least_p >= P_VALUE
