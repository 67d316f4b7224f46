"""Where the level of a series changes: on plain arrays. ruptures proposes, a margin and a rank test dispose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from deeptwins.errors import InputError

SEGMENT = 3  # runs between two steps, at least
LEAST = 2 * SEGMENT  # runs in which a step can be found
P_VALUE = 0.002  # of the rank test: that of airspeed velocity
# A step must lower the sum of absolute distances from the medians by this many sigma ln(n). Of a series without a step
# the best split lowers it by more than 2 sigma ln(n) in at most 1 of 100, by simulation: normal noise and Student's t
# with 3 degrees of freedom, n from 8 to 160. A step by d that holds for m runs lowers it by nearly m d.
PENALTY = 2.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """A change of level in a series, between two of its values."""

    at: int
    """The first value behind it."""
    size: float
    """Difference of the medians on both sides, up to the next step."""
    p: float
    """Of the rank test."""
    confirmed: bool
    """By it; False: there are too few values for it to tell."""
    before: int
    """Values on that side."""
    after: int


def steps(values: Floats, margin: float, error: float = 0.0) -> list[Step]:
    """Find where the level of a series changes, either direction: ruptures proposes, margin and rank test dispose.

    Proposals that do not hold are dropped one by one, the least convincing first, and what is left is judged anew,
    since its neighbours have grown.

    Args:
        values: the series.
        margin: the least difference that is a step.
        error: standard error of a value, if known: few values may happen to differ less.

    Raises:
        InputError: ruptures is not installed.
    """
    places = _proposed(values, error)
    while places:
        bounds = [0, *places, len(values)]
        found = [_step(values, start, at, end) for start, at, end in zip(bounds, places, bounds[2:], strict=False)]
        weak = [step for step in found if abs(step.size) < margin] or [step for step in found if not _holds(step)]
        if not weak:
            return found
        least = min(weak, key=lambda step: (abs(step.size) >= margin, abs(step.size)))
        places.remove(least.at)
    return []


def noise(values: Floats) -> float:
    """Return the standard deviation of a series around its level, from first differences: steps hardly count."""
    differences = np.diff(values)
    return float(stats.median_abs_deviation(differences, scale="normal") / math.sqrt(2)) if len(differences) else 0.0


def _proposed(values: Floats, error: float) -> list[int]:
    if len(values) < LEAST:
        return []
    try:
        import ruptures  # type: ignore[import-untyped]  # noqa: PLC0415  all but a history does without it
    except ImportError:
        raise InputError("ruptures is not installed, and a history needs it: pip install ruptures") from None
    sigma = max(noise(values), error, 1e-9)  # of a series without noise every step counts
    search = ruptures.Pelt(model="l1", min_size=SEGMENT, jump=1)
    return [int(at) for at in search.fit_predict(values, PENALTY * sigma * math.log(len(values)))[:-1]]


def _step(values: Floats, start: int, at: int, end: int) -> Step:
    before, after = values[start:at], values[at:end]
    p = float(stats.mannwhitneyu(before, after).pvalue)
    size = float(np.median(after) - np.median(before))
    return Step(at, size, p, p < P_VALUE, len(before), len(after))


def _holds(step: Step) -> bool:
    """Tell whether the rank test confirms it, or could not whatever the values are: two sides that do not overlap."""
    return step.confirmed or 2 / math.comb(step.before + step.after, step.before) >= P_VALUE
