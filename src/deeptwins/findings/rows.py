"""The rows of findings: trends over depth, differences between twins, errors of nets; and tables made of them.

Errors are in percent, differences of errors in percentage points, intervals 95 % over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import pandas as pd

from deeptwins.findings import statistics
from deeptwins.findings.statistics import Floats
from deeptwins.study.claims import MIRRORED, Expect

DECIMALS = 9  # of a point: differences that differ by less do so by rounding, not by an image
NOT_TESTED = "not tested"

Places = frozenset[tuple[str, int]]
"""Groups and depths."""


@dataclass(frozen=True)
class MeanDifference:
    """The mean over seeds of paired differences, with its intervals and its test."""

    n: int
    """Seeds."""
    difference: float
    """Points."""
    low: float
    high: float
    """Student's t interval, points."""
    bootstrap_low: float
    bootstrap_high: float
    """The percentile bootstrap's interval, points."""
    p: float
    """Two-sided; not yet adjusted for the number of tests."""
    seeds_for: float
    """The number of seeds needed to detect a difference as large as the study's margin."""

    @classmethod
    def of(cls, values: Floats, margin: float, rounding: float) -> MeanDifference:
        """Summarize differences, one per seed.

        Args:
            values: the differences, in points.
            margin: points that count as agreement.
            rounding: the standard deviation that rounding to whole images gives a difference, in points.
        """
        values = values.round(DECIMALS)
        return cls(
            len(values),
            statistics.mean(values),
            *statistics.t_interval(values),
            *statistics.bootstrap_interval(values),
            statistics.t_test(values, rounding),
            statistics.seeds_needed(statistics.sd(values), margin),
        )

    def mirrored(self) -> MeanDifference:
        """Return the same with the sign of every difference changed."""
        return replace(
            self,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
            bootstrap_low=-self.bootstrap_high,
            bootstrap_high=-self.bootstrap_low,
        )


@dataclass(frozen=True)
class Trend:
    """How a metric of a twin moves with depth, from the seeds that finished at every depth."""

    VERDICTS: ClassVar = ("flat", "rises", "falls")
    """The verdicts on a difference: no effect, above 0, below 0."""

    family: str
    group: str
    twin: str
    metric: str
    depths: int
    """How many there are."""
    shallowest: int
    deepest: int
    shallowest_mean: float
    deepest_mean: float
    """The metric at these two depths, percent."""
    over_seeds: MeanDifference
    """Deepest minus shallowest; its p is the larger one of Student's and Page's test."""
    slope: float
    slope_low: float
    slope_high: float
    """Change in points per layer: the mean over seeds, and its t interval."""
    page_l: float
    page_p_rises: float
    page_p_falls: float
    """Page's test: its statistic, and its one-sided p in either direction."""
    weight: float = 0.0
    """Weight of the test in the correction for all tests of the study; 0: not tested."""
    p_holm: float = math.nan
    """Adjusted for all tests of the study."""
    verdict: str = NOT_TESTED

    def is_claimed_by(self, claim: Expect, places: Places) -> bool:
        """Whether a claim, which is about these places, is about this trend."""
        return claim.trend is not None and claim.twin == self.twin and self.group in {group for group, _ in places}


@dataclass(frozen=True)
class Difference:
    """How a metric of a twin differs from another twin's: twin minus other, paired by run."""

    VERDICTS: ClassVar = ("agree", "above", "below")
    """The verdicts on a difference: no effect, above 0, below 0."""

    family: str
    group: str
    depth: int
    """The deeper one's."""
    family_other: str
    group_other: str
    """The other's, which may be of another family."""
    depth_twin: int
    depth_other: int
    twin: str
    other: str
    metric: str
    mean: float
    other_mean: float
    """The metric of both twins, percent, over the seeds that have both."""
    over_seeds: MeanDifference
    weight: float = 0.0
    """Weight of the test in the correction for all tests of the study; 0: not tested."""
    p_holm: float = math.nan
    """Adjusted for all tests of the study."""
    verdict: str = NOT_TESTED

    def is_claimed_by(self, claim: Expect, places: Places) -> bool:
        """Whether a claim, which is about these places, is about this pair of twins."""
        return {claim.twin, claim.other} == {self.twin, self.other} and bool(
            {(self.group, self.depth), (self.group_other, self.depth)} & places
        )

    def mirrored(self) -> Difference:
        """Return the same difference seen from the other twin: other minus twin."""
        return replace(
            self,
            family=self.family_other,
            family_other=self.family,
            group=self.group_other,
            group_other=self.group,
            depth_twin=self.depth_other,
            depth_other=self.depth_twin,
            twin=self.other,
            other=self.twin,
            mean=self.other_mean,
            other_mean=self.mean,
            over_seeds=self.over_seeds.mirrored(),
            verdict=MIRRORED.get(self.verdict, self.verdict),
        )


@dataclass(frozen=True)
class ErrorSummary:
    """A metric of a twin at one depth, over seeds."""

    family: str
    group: str
    depth: int
    twin: str
    metric: str
    n: int
    """Seeds."""
    mean: float
    sd: float
    """Percent."""
    low: float
    high: float
    """Student's t interval, percent, cut to 0 to 100."""
    noise_floor: float
    """Of the test error: what the number of test images alone leaves open, points; NaN of others."""
    failed: int
    """Seeds above the study's `fails_above_pct`."""
    outcome: str
    """`trains`, `fails` or `inconclusive`."""


def cells(row: Trend | Difference | ErrorSummary) -> dict[str, Any]:
    """Return the cells of a row by column: its fields, and those of its mean difference."""
    values = dict(vars(row))
    over_seeds = values.pop("over_seeds", None)
    return values | (vars(over_seeds) if over_seeds is not None else {})


def table(
    kind: type[Trend | Difference | ErrorSummary], rows: Sequence[Trend | Difference | ErrorSummary]
) -> pd.DataFrame:
    """Return rows of one kind as a table, in the order of their fields."""
    columns: list[str] = []
    for field in fields(kind):
        columns += [part.name for part in fields(MeanDifference)] if field.name == "over_seeds" else [field.name]
    return pd.DataFrame([cells(row) for row in rows], columns=columns)


def grouped(table: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Group a table by two or more columns: their values by column, with the rows that have them, first come first."""
    for values, rows in table.groupby([*keys], sort=False):
        yield dict(zip(keys, values, strict=True)), rows
