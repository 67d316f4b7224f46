"""What seeds say about differences: over depth, and between twins.

Each difference is judged as one of all the tests that a study makes. Errors are in percent, differences of errors in
percentage points, intervals 95 % over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deeptwins.findings import learning, statistics
from deeptwins.findings.rows import NOT_TESTED, Difference, MeanDifference, Places, Trend, grouped
from deeptwins.findings.statistics import ALPHA, Floats
from deeptwins.study import Study
from deeptwins.study.claims import Expect, Metric
from deeptwins.study.specs import by_setting

METRICS = get_args(Metric)
PLACE = ["family", "group", "depth"]
CELL = [*PLACE, "twin"]
PAIR = ["twin", "other"]
EFFECTS = ("rises", "falls", "above", "below")  # what a claim states that only a test can show
# Weights of tests in Holm's correction. A study is run for the effects that it claims, so their tests weigh most. Tests
# without a claim, in a metric that a claim names, weigh a tenth of that; tests in other metrics a hundredth.
CLAIMED, UNCLAIMED, ASIDE = 10.0, 1.0, 0.1
HEADLINE: Metric = "train_error_pct"  # the metric that a study without claims is about


def measured(table: pd.DataFrame) -> list[str]:
    """Return the metrics that the records have: without a validation set there is no error on it."""
    return [metric for metric in METRICS if metric in table and table[metric].notna().any()]


def pair(table: pd.DataFrame, twin: str, other: str, *on: str) -> pd.DataFrame:
    """Set two twins of the same run side by side; the other's columns end in `_other`, the depth is the deeper's.

    Twins that both fix their depth are in several runs of a seed, with the same numbers, and count once.
    """
    left, right = table[table["twin"] == twin], table[table["twin"] == other]
    both = left.merge(right, on=["run", *on], suffixes=("", "_other"))
    depths = {"depth_twin": both["depth"], "depth": both[["depth", "depth_other"]].max(axis=1)}
    return both.assign(**depths).drop_duplicates([*PLACE, "group_other", "depth_twin", "depth_other", "seed", *on])


def scopes(study: Study, last: pd.DataFrame) -> list[tuple[Expect, Places]]:
    """Return the study's claims, each with the places that it is about."""
    claimed, runs = [], by_setting(study.runs)
    for claim in study.expect:
        settings = {setting for setting, run in runs.items() if claim.covers(run)}
        rows = last[last["setting"].isin(settings)]
        rows = pair(rows, claim.twin, claim.other) if claim.other else rows[rows["twin"] == claim.twin]
        claimed.append((claim, frozenset(zip(rows["group"], rows["depth"], strict=True))))
    return claimed


def judge(study: Study, last: pd.DataFrame) -> tuple[list[Trend], list[Difference]]:
    """Test all that a study asks of trends over depth and of differences between twins; return both, judged.

    Args:
        study: its twins, claims and margin.
        last: the last evaluation of each net of each run.
    """
    margin = study.flat_within_pct
    return verdicts(study, scopes(study, last), trends(last, margin), comparisons(last, pairs(study), margin))


def verdicts(
    study: Study, claimed: Sequence[tuple[Expect, Places]], moved: Sequence[Trend], compared: Sequence[Difference]
) -> tuple[list[Trend], list[Difference]]:
    """Judge a study's trends and differences, of all metrics, together.

    The trends of all twins are tested, and the differences that claims name; all of them, where the study has no
    trends. An effect needs p < 0.05 after `statistics.holm` over all these tests, in which those of effects that a
    claim states weigh most, and those in metrics that no claim names least; so, without any effect, at most 5 % of the
    studies claim one, of whatever metric. `flat` and `agree` are no effects: the t interval lies within
    `flat_within_pct` points of 0. What `learning.void` says cannot be judged keeps that as its verdict, whatever its p.

    Args:
        study: its claims and margin.
        claimed: its `scopes`.
        moved: its `trends`.
        compared: its `comparisons`.
    """
    margin = study.flat_within_pct
    # Weigh the tests; what is not tested keeps the weight 0.
    all_pairs = all(trend.depths == 1 for trend in moved)
    rows: list[Trend | Difference] = [*moved, *compared]
    tests = [
        replace(row, weight=_weight(row, claimed))
        if all_pairs or isinstance(row, Trend) or any(row.is_claimed_by(claim, places) for claim, places in claimed)
        else row
        for row in rows
    ]
    # Adjust their p values, as one family, and judge each.
    p, weights = np.array([(row.over_seeds.p, row.weight) for row in tests]).reshape(-1, 2).T
    judged = [_judged(row, p, margin) for row, p in zip(tests, statistics.holm(p, weights).tolist(), strict=True)]
    return [row for row in judged if isinstance(row, Trend)], [row for row in judged if isinstance(row, Difference)]


def pairs(study: Study) -> list[tuple[str, str]]:
    """Return which twins are compared: each with the study's first, the baseline, and those that claims name."""
    first, *others = study.twins
    compared = [(twin, first) for twin in others]
    for claim in study.expect:
        if claim.other and not {(claim.twin, claim.other), (claim.other, claim.twin)} & {*compared}:
            compared.append((claim.twin, claim.other))
    return compared


def trends(last: pd.DataFrame, margin: float) -> list[Trend]:
    """Describe how each metric of each twin moves with depth, from the seeds that finished at every depth."""
    rows = []
    metrics, rounding = measured(last), _rounding(last)
    for net, cell in grouped(last.drop_duplicates([*CELL, "seed"]), ["family", "group", "twin"]):
        by_seed = cell.pivot(index="seed", columns="depth", values=[*metrics, "state"])
        depths = by_seed["state"].columns.to_numpy(float)
        *by_metric, states = by_seed.to_numpy(object).reshape(len(by_seed), -1, len(depths)).swapaxes(0, 1)
        for metric, values in zip(metrics, by_metric, strict=True):
            errors = values.astype(float)
            complete = np.isfinite(errors).all(axis=1)
            trend = _trend(net | {"metric": metric}, errors[complete], depths, margin, rounding)
            rows.append(replace(trend, verdict=_void_trend(states[complete]) or trend.verdict))
    return rows


def comparisons(last: pd.DataFrame, pairs: Iterable[tuple[str, str]], margin: float) -> list[Difference]:
    """Describe how each metric of a twin differs from another's: twin minus other in points, paired by run."""
    rows = []
    keys = [*PLACE, "family_other", "group_other", "depth_twin", "depth_other"]
    metrics, rounding = measured(last), _rounding(last)
    for twin, other in pairs:
        for place, cell in grouped(pair(last, twin, other), keys):
            states = cell[["state", "state_other"]].to_numpy(object)
            columns = [*metrics, *(f"{metric}_other" for metric in metrics)]
            by_metric = cell[columns].to_numpy(float).reshape(len(cell), 2, -1)
            for number, metric in enumerate(metrics):
                errors = by_metric[:, :, number]
                measured_in_both = np.isfinite(errors).all(axis=1)
                left, right = errors[measured_in_both].T
                if not len(left):
                    continue
                row = Difference(
                    **place,
                    twin=twin,
                    other=other,
                    metric=metric,
                    mean=statistics.mean(left),
                    other_mean=statistics.mean(right),
                    over_seeds=MeanDifference.of(left - right, margin, rounding),
                    verdict=learning.void(states[measured_in_both].tolist()) or NOT_TESTED,
                )
                rows.append(row)
    order = list(dict.fromkeys(last["group"]))
    return sorted(rows, key=lambda row: (order.index(row.group), row.depth))


def between(compared: Iterable[Difference], twin: str, other: str) -> list[Difference]:
    """Return the differences of a twin from another, whichever way round they were taken."""
    of_both = (row for row in compared if {row.twin, row.other} == {twin, other})
    return [row if row.twin == twin else row.mirrored() for row in of_both]


def _weight(row: Trend | Difference, claimed: Sequence[tuple[Expect, Places]]) -> float:
    """Weigh a test by what the claims say of it, never by what was measured: else Holm's correction would not hold."""
    in_metric = [(claim, places) for claim, places in claimed if claim.metric == row.metric]
    effects = [(claim, places) for claim, places in in_metric if (claim.trend or claim.statement) in EFFECTS]
    if any(row.is_claimed_by(claim, places) for claim, places in effects):
        return CLAIMED
    if in_metric or (not claimed and row.metric == HEADLINE):
        return UNCLAIMED
    return ASIDE


def _rounding(last: pd.DataFrame) -> float:
    # Errors are shares of whole images. So differences that are not equal may be measured as equal, often where there
    # are two seeds, and p would be 0: a certainty. All errors are taken to be measured on as few images as the test
    # error is, which only makes the tests of the others more cautious.
    return statistics.rounding(float(last["test_images"].min()))


def _trend(net: dict[str, Any], values: Floats, depths: Floats, margin: float, rounding: float) -> Trend:
    """Describe the errors of a twin in one metric, by seed (rows) and depth (columns), none missing."""
    several = len(depths) > 1
    over_seeds = MeanDifference.of(values[:, -1] - values[:, 0] if several else np.array([]), margin, rounding)
    centred = depths - depths.mean()
    slopes = values @ centred / (centred @ centred) if several else np.array([])
    slope_low, slope_high = statistics.t_interval(slopes)
    page_l, p_rises, p_falls = statistics.page(values)
    p = over_seeds.p
    if math.isfinite(page_l):  # a trend is what both tests see
        p = max(p, p_rises if over_seeds.difference > 0 else p_falls)
    return Trend(
        **net,
        depths=len(depths),
        shallowest=int(depths[0]),
        deepest=int(depths[-1]),
        shallowest_mean=statistics.mean(values[:, 0]),
        deepest_mean=statistics.mean(values[:, -1]),
        over_seeds=replace(over_seeds, n=len(values), p=p),
        slope=statistics.mean(slopes),
        slope_low=slope_low,
        slope_high=slope_high,
        page_l=page_l,
        page_p_rises=p_rises,
        page_p_falls=p_falls,
    )


def _void_trend(states: NDArray[np.object_]) -> str | None:
    """Say why the trend of a twin cannot be judged: from its states by seed (rows) and depth (columns)."""
    if states.shape[1] == 1:
        return None
    if (states == learning.DIVERGED).any():
        return learning.DIVERGED
    return learning.void(states[:, [0, -1]].tolist())  # what it leads from and to


def _judged(row: Trend | Difference, p_holm: float, margin: float) -> Trend | Difference:
    """Return a row with its adjusted p and its verdict.

    Student's t interval decides, not the bootstrap's. A percentile bootstrap of three seeds spans them from the least
    to the greatest, and in 2 of 8 cases all three lie on one side of the truth: it covers 75 %, not 95 %.
    """
    none, more, less = row.VERDICTS
    verdict = "inconclusive"
    if not row.weight:
        verdict = NOT_TESTED
    elif row.verdict in learning.VOID:
        verdict = row.verdict
    elif -margin <= row.over_seeds.low and row.over_seeds.high <= margin:
        verdict = none
    elif p_holm < ALPHA:
        verdict = more if row.over_seeds.difference > 0 else less
    return replace(row, p_holm=p_holm, verdict=verdict)
