"""From tidy tables to findings: every number with its interval, every claim with its verdict.

Errors are in percent, differences of errors in percentage points, intervals 95 % over seeds, seconds are wall time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from deeptwins.claims import Expect, Metric, Paper
from deeptwins.frames import Frames
from deeptwins.study import Study

METRICS = get_args(Metric)
PLACE = ["family", "group", "depth"]
CELL = [*PLACE, "twin"]
CLAIMED = ("trend", "agrees_with")  # a claim says one of these
CONFIDENCE = 0.95
SEEDS_FOR_INTERVAL = 2
DEPTHS_FOR_PAGE = 3

Floats = NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True)
class Findings:
    """Every table that a report draws from; the functions of the same names say what is in them."""

    final: pd.DataFrame
    by_depth: pd.DataFrame
    trends: pd.DataFrame
    gaps: pd.DataFrame
    agreements: pd.DataFrame
    drift: pd.DataFrame
    claims: pd.DataFrame
    against_paper: pd.DataFrame
    curves: pd.DataFrame
    responses: pd.DataFrame
    cost: pd.DataFrame


def derive(study: Study, frames: Frames) -> Findings:
    """Compute all findings of a study."""
    last = final(frames.epochs)
    summary, judged = by_depth(last), trends(last, study.flat_within_pct)
    compared = agreements(study.expect, last, study.flat_within_pct)
    return Findings(
        final=last,
        by_depth=summary,
        trends=judged,
        gaps=gaps(last, next(iter(study.twins))),
        agreements=compared,
        drift=drift(study.expect, frames.epochs),
        claims=claims(study.expect, judged, compared),
        against_paper=against_paper(study.paper, summary),
        curves=curves(frames.epochs),
        responses=responses(frames.layers),
        cost=cost(frames.runs),
    )


def final(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return the last evaluation of each net; one that diverged stays in, at the 100 % of its last record."""
    last = epochs.groupby(["run", "twin"], sort=False).tail(1)
    # A twin that fixes its own depth is trained in several runs, to the same numbers.
    return last.drop_duplicates([*CELL, "seed"], ignore_index=True)


def by_depth(final: pd.DataFrame) -> pd.DataFrame:
    """Summarize each metric by family, depth and twin: n seeds, mean, sd, Student's t interval (cut to 0 to 100 %)."""
    rows = []
    for keys, cell in final.groupby(CELL, sort=False):
        for metric in METRICS:
            values = cell[metric].dropna().to_numpy(float)
            low, high = np.clip(_t_interval(values), 0, 100)  # no error lies outside: this costs no coverage
            row = dict(zip(CELL, keys, strict=True)) | {"metric": metric, "n": len(values)}
            rows.append(row | {"mean": _mean(values), "sd": _sd(values), "low": low, "high": high})
    return pd.DataFrame(rows)


def trends(final: pd.DataFrame, flat_within_pct: float) -> pd.DataFrame:
    """Judge how each metric of each twin moves with depth, from the seeds that finished at every depth.

    A verdict needs two seeds and two depths. `flat`: the t interval of deepest minus shallowest lies within
    `flat_within_pct` points of 0. `rises`: it lies above 0 and, where there are three depths, Page's trend test agrees
    (p < 0.05). `falls`: the mirror image. All else is `inconclusive`. Without a trend, at most 5 % rise or fall.
    """
    rows = []
    keys = ["family", "group", "twin"]
    for values, cell in final.groupby(keys, sort=False):
        for metric in METRICS:
            table = cell.pivot(index="seed", columns="depth", values=metric).dropna()
            row = dict(zip(keys, values, strict=True)) | {"metric": metric} | _trend(table)
            rows.append(row | {"verdict": _verdict(row, flat_within_pct)})
    return pd.DataFrame(rows)


def gaps(final: pd.DataFrame, first: str) -> pd.DataFrame:
    """Return the first twin's error minus each other twin's at each depth, in points, paired by seed."""
    rows = []
    for values, cell in final.groupby(PLACE, sort=False):
        for metric in METRICS:
            table = cell.pivot(index="seed", columns="twin", values=metric)
            for twin in [twin for twin in cell["twin"].unique() if first in table and twin != first]:
                difference = (table[first] - table[twin]).dropna().to_numpy(float)
                row = dict(zip(PLACE, values, strict=True)) | {"gap": f"{first} minus {twin}", "metric": metric}
                rows.append(row | _difference(difference))
    return pd.DataFrame(rows)


def agreements(expected: Sequence[Expect], final: pd.DataFrame, flat_within_pct: float) -> pd.DataFrame:
    """Judge whether the twins that a claim says agree do so at each depth: twin minus other in points, paired by seed.

    A verdict needs two seeds. `agree`: the t interval of the difference lies within `flat_within_pct` points of 0.
    `differ`: it does not, and excludes 0. All else is `inconclusive`.
    """
    rows = []
    for values, cell in final.groupby(PLACE, sort=False):
        place = dict(zip(PLACE, values, strict=True))
        for twin, other, metric in _compared(expected, "twin", "agrees_with", "metric", family=place["family"]):
            table = cell.pivot(index="seed", columns="twin", values=metric)
            if {twin, other} <= {*table} and len(pairs := table[[twin, other]].dropna()):
                row = place | {"twin": twin, "other": other, "metric": metric}
                row |= {"mean": _mean(pairs[twin].to_numpy(float)), "other_mean": _mean(pairs[other].to_numpy(float))}
                row |= _difference((pairs[twin] - pairs[other]).to_numpy(float))
                rows.append(row | {"verdict": _agreement(row, flat_within_pct)})
    return pd.DataFrame(rows, columns=None if rows else [*PLACE, "twin", "other", "metric", "n", "verdict"])


def drift(expected: Sequence[Expect], epochs: pd.DataFrame) -> pd.DataFrame:
    """Say how far the loss traces of twins that a claim says agree lie apart, at every evaluation.

    A trace is `running_loss`. `median` and `largest` are over the `n` seeds in which both twins have a loss, and
    `between_seeds`, the yardstick of what chance alone makes, is the median over all pairs of two seeds of the other
    twin; each is a difference as a share of the other's loss. A net that diverged has no loss from there on.
    """
    rows = []
    for values, cell in epochs.drop_duplicates([*CELL, "seed", "iteration"]).groupby(PLACE, sort=False):
        place = dict(zip(PLACE, values, strict=True))
        for twin, other in _compared(expected, "twin", "agrees_with", family=place["family"]):
            losses = cell.pivot(index=["iteration", "seed"], columns="twin", values="running_loss").astype(float)
            for iteration, seeds in losses.groupby("iteration") if {twin, other} <= {*losses} else ():
                own, reference = seeds[twin].to_numpy(), seeds[other].to_numpy()
                if len(apart := _apart(own, reference)):
                    row = place | {"twin": twin, "other": other, "iteration": iteration, "n": len(apart)}
                    row |= {"median": float(np.median(apart)), "largest": float(apart.max())}
                    rows.append(row | {"between_seeds": _between_seeds(reference)})
    columns = [*PLACE, "twin", "other", "iteration", "n", "median", "largest", "between_seeds"]
    return pd.DataFrame(rows, columns=columns)


def jointly(verdicts: Iterable[str]) -> str:
    """Return the verdict on several agreements together: twins agree if they do in all, and differ if in any."""
    found = {*verdicts}
    return found.pop() if len(found) == 1 else "differ" if "differ" in found else "inconclusive"


def claims(expected: Sequence[Expect], trends: pd.DataFrame, agreements: pd.DataFrame) -> pd.DataFrame:
    """Check a study's claims: `met`, `contradicted` (the verdict is another definite one) or `undecided`."""
    rows = []
    over_depths = agreements.groupby(["family", "group", "twin", "other", "metric"], sort=False)
    agreed = over_depths.agg(n=("n", "min"), verdict=("verdict", jointly)).reset_index()
    for claim in expected:
        known = trends if claim.trend else agreed[agreed["other"] == claim.agrees_with]
        known = known[(known["twin"] == claim.twin) & (known["metric"] == claim.metric)]
        if claim.family is not None:
            known = known[known["family"] == claim.family]
        missing = pd.DataFrame([{"group": claim.family or "any", "verdict": "inconclusive", "n": 0}])
        for row in (missing if known.empty else known).to_dict("records"):
            undecided = "undecided" if row["verdict"] == "inconclusive" else "contradicted"
            rows.append(
                claim.model_dump(include={"twin", "metric", *CLAIMED})
                | {key: row[key] for key in ("group", "n", "verdict")}
                | {"result": "met" if row["verdict"] == (claim.trend or "agree") else undecided}
            )
    kinds = [kind for kind in CLAIMED if any(row[kind] for row in rows)]
    return pd.DataFrame(rows, columns=["group", "twin", "metric", *kinds, "n", "verdict", "result"])


def against_paper(published: Sequence[Paper], by_depth: pd.DataFrame) -> pd.DataFrame:
    """Set published values beside ours; `reading` says whether one lies inside our interval."""
    keys = ["family", "depth", "twin", "metric"]
    paper = pd.DataFrame([value.model_dump() for value in published], columns=[*keys, "value", "source"])
    table = paper.merge(by_depth, on=keys).rename(columns={"value": "paper"})
    inside = (table["low"] <= table["paper"]) & (table["paper"] <= table["high"])
    table["difference"] = table["mean"] - table["paper"]
    table["reading"] = np.where(table["n"] < SEEDS_FOR_INTERVAL, "too few seeds", np.where(inside, "inside", "outside"))
    return table


def curves(epochs: pd.DataFrame) -> pd.DataFrame:
    """Average the training and test error of each net over seeds, at every iteration evaluated.

    A net that diverged keeps its last error, or the mean of those left would improve by its loss.
    """
    tables = []
    for keys, cell in epochs.groupby(CELL, sort=False):
        longest = cell.loc[cell["run"] == cell.sort_values("iteration")["run"].iloc[-1], "iteration"]
        means = {
            metric: cell.pivot_table(index="iteration", columns="seed", values=metric)
            .ffill()
            .mean(axis=1)
            .loc[longest.to_list()]
            for metric in ("train_error_pct", "test_error_pct")
        }
        tables.append(pd.DataFrame(dict(zip(CELL, keys, strict=True)) | means).rename_axis("iteration").reset_index())
    return pd.concat(tables, ignore_index=True)[[*CELL, "iteration", "train_error_pct", "test_error_pct"]]


def responses(layers: pd.DataFrame) -> pd.DataFrame:
    """Average the standard deviation of each layer's response over seeds."""
    if layers.empty:
        return pd.DataFrame(columns=[*CELL, "layer", "response_std"])
    return layers.groupby([*CELL, "layer"], sort=False)["response_std"].mean().reset_index()


def cost(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the training time by family and depth, of all runs that ended, whatever their status."""
    ended = runs.drop_duplicates("run").dropna(subset="seconds")
    seconds = ended.groupby(PLACE, sort=False)["seconds"]
    return seconds.agg(runs="count", mean_seconds="mean", total_seconds="sum").reset_index()


def _trend(table: pd.DataFrame) -> Row:
    """Describe errors by seed (rows) and depth (columns), none missing."""
    values, depths = table.to_numpy(float), table.columns.to_numpy(float)
    row: Row = {"depths": len(depths), "shallowest": int(depths[0]), "deepest": int(depths[-1])}
    row |= {"shallowest_mean": _mean(values[:, 0]), "deepest_mean": _mean(values[:, -1])}
    row |= _difference(values[:, -1] - values[:, 0] if len(depths) > 1 else np.array([]))
    row["n"] = len(values)
    centred = depths - depths.mean()
    slopes = values @ centred / (centred @ centred) if len(depths) > 1 else np.array([])
    row["slope"] = _mean(slopes)  # points a layer
    row["slope_low"], row["slope_high"] = _t_interval(slopes)
    row |= {"page_l": math.nan, "page_p_rises": math.nan, "page_p_falls": math.nan}
    if len(depths) >= DEPTHS_FOR_PAGE and len(values) >= SEEDS_FOR_INTERVAL:
        ranks = np.arange(1, len(depths) + 1)
        rises = scipy.stats.page_trend_test(values, predicted_ranks=ranks)
        falls = scipy.stats.page_trend_test(values, predicted_ranks=ranks[::-1])
        row |= {"page_l": rises.statistic, "page_p_rises": rises.pvalue, "page_p_falls": falls.pvalue}
    return row


def _verdict(row: Row, flat_within_pct: float) -> str:
    # Student's t interval decides, not the bootstrap's: a percentile bootstrap of three seeds spans them from least to
    # greatest, and all three lie on one side of the truth in 2 of 8 cases: it covers 75 %, not 95 %.
    if not math.isfinite(row["low"]):
        return "inconclusive"
    if -flat_within_pct <= row["low"] and row["high"] <= flat_within_pct:
        return "flat"
    no_page = row["depths"] < DEPTHS_FOR_PAGE
    if row["low"] > 0 and (no_page or row["page_p_rises"] < 1 - CONFIDENCE):
        return "rises"
    if row["high"] < 0 and (no_page or row["page_p_falls"] < 1 - CONFIDENCE):
        return "falls"
    return "inconclusive"


def _agreement(row: Row, flat_within_pct: float) -> str:
    if not math.isfinite(row["low"]):
        return "inconclusive"
    if -flat_within_pct <= row["low"] and row["high"] <= flat_within_pct:
        return "agree"
    return "differ" if row["low"] > 0 or row["high"] < 0 else "inconclusive"


def _compared(expected: Sequence[Expect], *keys: str, family: object) -> list[tuple[Any, ...]]:
    """Return these fields of the claims that twins of a family agree, each combination once."""
    claims = [claim for claim in expected if claim.agrees_with and claim.family in {None, family}]
    return list(dict.fromkeys(tuple(getattr(claim, key) for key in keys) for claim in claims))


def _apart(own: Floats, reference: Floats) -> Floats:
    """Return |own - reference| as shares of the reference, where there are both and the share is finite.

    Equal losses, zeros too, lie 0 apart; beside a reference of 0, nothing else has a share.
    """
    with np.errstate(all="ignore"):
        shares = np.where(own == reference, 0.0, np.abs(own - reference) / reference)
    return shares[np.isfinite(shares)]


def _between_seeds(losses: Floats) -> float:
    """Return the median difference between two seeds, each relative to each; NaN where there are fewer than two."""
    pairs = ~np.eye(len(losses), dtype=bool)
    apart = _apart(*(side[pairs] for side in np.broadcast_arrays(losses[:, None], losses)))
    return float(np.median(apart)) if len(apart) else math.nan


def _difference(values: Floats) -> Row:
    """Summarize differences paired by seed."""
    low, high = _t_interval(values)
    row = {"n": len(values), "difference": _mean(values), "low": low, "high": high}
    row["bootstrap_low"] = row["bootstrap_high"] = math.nan
    if len(values) >= SEEDS_FOR_INTERVAL:
        interval = scipy.stats.bootstrap(
            (values,), np.mean, confidence_level=CONFIDENCE, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        row["bootstrap_low"], row["bootstrap_high"] = interval.low, interval.high
    return row


def _t_interval(values: Floats) -> tuple[float, float]:
    """Student's t interval of the mean: a point where all values are equal, NaN where there are fewer than two."""
    if len(values) < SEEDS_FOR_INTERVAL:
        return math.nan, math.nan
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * _sd(values) / math.sqrt(len(values))
    return _mean(values) - half, _mean(values) + half


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan


def _sd(values: Floats) -> float:
    return float(values.std(ddof=1)) if len(values) >= SEEDS_FOR_INTERVAL else math.nan
