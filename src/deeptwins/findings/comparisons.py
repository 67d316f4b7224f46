"""What seeds tell of differences: over depth, between twins; each judged as one of all the tests that a study makes.

Errors are in percent, differences of errors in percentage points, intervals 95 % over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from deeptwins.findings import statistics
from deeptwins.findings.statistics import ALPHA, Floats
from deeptwins.study import Study
from deeptwins.study.claims import MIRRORED, Expect, Metric

METRICS = get_args(Metric)
PLACE = ["family", "group", "depth"]
CELL = [*PLACE, "twin"]
PAIR = ["twin", "other"]
EFFECTS = ("rises", "falls", "above", "below")  # what a claim states that only a test can show
NOT_TESTED = "not tested"
# Weights of tests, a tenth at each step away from what a study says before it is run, which is what it is run for: a
# claimed effect; another test in a metric that a claim names; one in another metric, so that these cost claims little.
CLAIMED, UNCLAIMED, ASIDE = 10.0, 1.0, 0.1
HEADLINE: Metric = "train_error_pct"  # what a study without claims is about
DECIMALS = 9  # of a point: what differs by less is rounding, no image

Row = dict[str, Any]
Places = frozenset[tuple[str, int]]  # groups and depths


def measured(table: pd.DataFrame) -> list[str]:
    """Return the metrics that the records have: without a validation set there is no error on it."""
    return [metric for metric in METRICS if metric in table and table[metric].notna().any()]


def pair(table: pd.DataFrame, twin: str, other: str, *on: str) -> pd.DataFrame:
    """Set two twins of the same run side by side; the other's columns end in `_other`, the depth is the deeper's.

    Twins that both fix their depth are in several runs of a seed, with the same numbers, and count once.
    """
    own, reference = table[table["twin"] == twin], table[table["twin"] == other]
    both = own.merge(reference, on=["run", *on], suffixes=("", "_other"))
    depths = {"depth_twin": both["depth"], "depth": both[["depth", "depth_other"]].max(axis=1)}
    return both.assign(**depths).drop_duplicates([*PLACE, "depth_twin", "depth_other", "seed", *on])


def scopes(study: Study, last: pd.DataFrame) -> list[tuple[Expect, Places]]:
    """Return the study's claims, each with the places that it is about."""
    found = []
    for claim in study.expect:
        settings = {run.setting for run in study.runs if claim.covers(run)}
        rows = last[last["setting"].isin(settings)]
        rows = pair(rows, claim.twin, claim.other) if claim.other else rows[rows["twin"] == claim.twin]
        found.append((claim, frozenset(zip(rows["group"], rows["depth"], strict=True))))
    return found


def judge(study: Study, last: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test all that a study asks of trends over depth and of differences between twins; return both tables.

    Args:
        study: its twins, claims and margin.
        last: the last evaluation of each net of each run.
    """
    margin = study.flat_within_pct
    return verdicts(study, scopes(study, last), trends(last, margin), comparisons(last, pairs(study), margin))


def verdicts(
    study: Study, claimed: Sequence[tuple[Expect, Places]], moved: Sequence[Row], compared: Sequence[Row]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judge a study's trends and comparisons, of all metrics, together; return them as tables.

    The trends of all twins are tested, and the comparisons that claims name; all of them, where the study has no
    trends. An effect needs p < 0.05 after `statistics.holm` over all these tests, in which those of effects that a
    claim states weigh most, and those in metrics that no claim names least; so, without any effect, at most 5 % of the
    studies claim one, of whatever metric. `flat` and `agree` are no effects: the t interval lies within
    `flat_within_pct` points of 0.

    Args:
        study: its claims and margin.
        claimed: its `scopes`.
        moved: its `trends`.
        compared: its `comparisons`.
    """
    margin = study.flat_within_pct
    no_trends = all(row["depths"] == 1 for row in moved)
    tested = [*moved, *(row for row in compared if no_trends or any(_about_pair(row, *scope) for scope in claimed))]
    for row in tested:
        row["weight"] = _weight(row, claimed)
    adjust(tested)
    columns = [*PLACE, *PAIR, "metric", "n", "difference", "verdict"]
    return (
        pd.DataFrame([row | {"verdict": _verdict(row, margin, "flat", "rises", "falls")} for row in moved]),
        pd.DataFrame(
            [row | {"verdict": _verdict(row, margin, "agree", "above", "below")} for row in compared],
            columns=None if compared else columns,
        ),
    )


def pairs(study: Study) -> list[tuple[str, str]]:
    """Return which twins are compared: each with the study's first, the baseline, and those that claims name."""
    first, *others = study.twins
    found = [(twin, first) for twin in others]
    for claim in study.expect:
        if claim.other and not {(claim.twin, claim.other), (claim.other, claim.twin)} & {*found}:
            found.append((claim.twin, claim.other))
    return found


def trends(last: pd.DataFrame, margin: float) -> list[Row]:
    """Describe how each metric of each twin moves with depth, from the seeds that finished at every depth."""
    rows = []
    keys, metrics, rounding = ["family", "group", "twin"], measured(last), _rounding(last)
    for values, cell in last.drop_duplicates([*CELL, "seed"]).groupby(keys, sort=False):
        tables = cell.pivot(index="seed", columns="depth", values=metrics)
        for metric in metrics:
            errors, depths = (np.asarray(part, float) for part in (tables[metric], tables[metric].columns))
            row = dict(zip(keys, values, strict=True)) | {"metric": metric}
            rows.append(row | _trend(errors[np.isfinite(errors).all(axis=1)], depths, margin, rounding))
    return rows


def comparisons(last: pd.DataFrame, pairs: Iterable[tuple[str, str]], margin: float) -> list[Row]:
    """Describe how each metric of a twin differs from another's: twin minus other in points, paired by run."""
    rows = []
    keys, metrics, rounding = [*PLACE, "depth_twin", "depth_other"], measured(last), _rounding(last)
    for twin, other in pairs:
        for values, cell in pair(last, twin, other).groupby(keys, sort=False):
            place = dict(zip(keys, values, strict=True)) | {"twin": twin, "other": other}
            for metric in metrics:
                own, reference = (cell[key].to_numpy(float) for key in (metric, f"{metric}_other"))
                both = np.isfinite(own) & np.isfinite(reference)
                if both.any():
                    means = {"mean": statistics.mean(own[both]), "other_mean": statistics.mean(reference[both])}
                    row = place | {"metric": metric} | means | _difference((own - reference)[both], margin, rounding)
                    rows.append(row | {"weight": 0.0, "p_holm": math.nan})
    order = list(dict.fromkeys(zip(last["group"], last["depth"], strict=True)))
    return sorted(rows, key=lambda row: order.index((row["group"], row["depth"])))


def adjust(rows: Sequence[Row]) -> None:
    """Put the adjusted p values into the tests of a study: one family, over all metrics."""
    p, weights = (np.array([row[key] for row in rows], float) for key in ("p", "weight"))
    for row, adjusted in zip(rows, statistics.holm(p, weights), strict=True):
        row["p_holm"] = float(adjusted)


def between(compared: pd.DataFrame, twin: str, other: str) -> pd.DataFrame:
    """Return the comparisons of a twin with another, whichever way round they were made."""
    rows = compared[(compared["twin"] == twin) & (compared["other"] == other)]
    if len(rows):
        return rows
    rows = compared[(compared["twin"] == other) & (compared["other"] == twin)]
    swapped = {"twin": "other", "mean": "other_mean", "depth_twin": "depth_other"}
    swapped |= {"low": "high", "bootstrap_low": "bootstrap_high"}
    swapped |= {new: old for old, new in swapped.items()}
    mirrored = rows.rename(columns=swapped)[list(rows)]
    negative = [key for key in ("difference", "low", "high", "bootstrap_low", "bootstrap_high") if key in mirrored]
    mirrored[negative] = -mirrored[negative]
    return mirrored.assign(verdict=rows["verdict"].replace(MIRRORED))


def _weight(row: Row, claimed: Sequence[tuple[Expect, Places]]) -> float:
    """Weigh a test by what the claims say of it, never by what was measured: Holm's correction holds for no other."""
    about = _about_pair if "other" in row else _about_trend
    named = [(claim, places) for claim, places in claimed if claim.metric == row["metric"]]
    if any((claim.trend or claim.statement) in EFFECTS and about(row, claim, places) for claim, places in named):
        return CLAIMED
    return UNCLAIMED if named or (not claimed and row["metric"] == HEADLINE) else ASIDE


def _about_trend(row: Row, claim: Expect, places: Places) -> bool:
    return claim.trend is not None and claim.twin == row["twin"] and row["group"] in {group for group, _ in places}


def _about_pair(row: Row, claim: Expect, places: Places) -> bool:
    return {claim.twin, claim.other} == {row["twin"], row["other"]} and (row["group"], row["depth"]) in places


def _rounding(last: pd.DataFrame) -> float:
    # Whole images make differences equal that are not, and of two seeds often: with p = 0 they would be certain. All
    # errors are taken to be measured on as few images as the test error, which only makes the others less sure.
    return statistics.rounding(float(last["test_images"].min()))


def _trend(values: Floats, depths: Floats, margin: float, rounding: float) -> Row:
    """Describe errors by seed (rows) and depth (columns), none missing."""
    row: Row = {"depths": len(depths), "shallowest": int(depths[0]), "deepest": int(depths[-1])}
    row |= {"shallowest_mean": statistics.mean(values[:, 0]), "deepest_mean": statistics.mean(values[:, -1])}
    row |= _difference(values[:, -1] - values[:, 0] if len(depths) > 1 else np.array([]), margin, rounding)
    row["n"] = len(values)
    centred = depths - depths.mean()
    slopes = values @ centred / (centred @ centred) if len(depths) > 1 else np.array([])
    row["slope"] = statistics.mean(slopes)  # points a layer
    row["slope_low"], row["slope_high"] = statistics.t_interval(slopes)
    row["page_l"], row["page_p_rises"], row["page_p_falls"] = statistics.page(values)
    if math.isfinite(row["page_l"]):  # a trend is what both tests see
        row["p"] = max(row["p"], row["page_p_rises"] if row["difference"] > 0 else row["page_p_falls"])
    return row | {"weight": 0.0, "p_holm": math.nan}


def _difference(values: Floats, margin: float, rounding: float) -> Row:
    """Summarize differences paired by seed; `seeds_for` is how many seeds would show one as large as the margin."""
    values = values.round(DECIMALS)
    low, high = statistics.t_interval(values)
    row = {"n": len(values), "difference": statistics.mean(values), "low": low, "high": high}
    row["bootstrap_low"], row["bootstrap_high"] = statistics.bootstrap_interval(values)
    seeds = statistics.seeds_needed(statistics.sd(values), margin)
    return row | {"p": statistics.t_test(values, rounding), "seeds_for": seeds}


def _verdict(row: Row, margin: float, none: str, more: str, less: str) -> str:
    # Student's t interval decides, not the bootstrap's: a percentile bootstrap of three seeds spans them from least to
    # greatest, and all three lie on one side of the truth in 2 of 8 cases: it covers 75 %, not 95 %.
    if not row["weight"]:
        return NOT_TESTED
    if -margin <= row["low"] and row["high"] <= margin:
        return none
    if row["p_holm"] < ALPHA:
        return more if row["difference"] > 0 else less
    return "inconclusive"
