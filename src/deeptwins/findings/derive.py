"""From tidy tables to findings: every number with its interval, every claim with its verdict.

Errors are in percent, differences of errors in percentage points, intervals 95 % over seeds, seconds are wall time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deeptwins.findings import judging, learning, statistics
from deeptwins.findings.comparisons import CELL, PAIR, PLACE, judge, measured, pair, scopes
from deeptwins.findings.frames import Frames
from deeptwins.findings.inside import gradient_flow
from deeptwins.findings.judging import INCONCLUSIVE, TRAINS, Evidence
from deeptwins.findings.learning import TRAINED
from deeptwins.findings.rows import Difference, ErrorSummary, Places, Trend, grouped, table
from deeptwins.findings.statistics import Floats
from deeptwins.study import Study
from deeptwins.study.claims import FAILS, Expect
from deeptwins.study.specs import by_setting


@dataclass(frozen=True)
class Findings:
    """Every table that a report draws from; the functions of the same names say what is in them."""

    final: pd.DataFrame
    untrained: pd.DataFrame
    by_depth: pd.DataFrame
    trends: pd.DataFrame
    comparisons: pd.DataFrame
    agreements: pd.DataFrame
    drift: pd.DataFrame
    claims: pd.DataFrame
    against_paper: pd.DataFrame
    across_scales: pd.DataFrame
    curves: pd.DataFrame
    growth: pd.DataFrame
    cost: pd.DataFrame


def derive(study: Study, frames: Frames) -> Findings:
    """Compute all findings of a study."""
    last = learning.assess(latest(frames), study.flat_within_pct)
    claimed = scopes(study, last)
    trends, differences = judge(study, last)
    nets = final(last)
    errors = by_depth(nets, study.fails_above_pct)
    # Only claims about gradients need their flow, which takes a good part of all the time.
    asked = any(claim.gradients for claim, _ in claimed)
    flow = gradient_flow(frames.gradients if asked else frames.gradients.iloc[:0])
    return Findings(
        final=nets.drop(columns=learning.COLUMNS),
        untrained=untrained(nets),
        by_depth=table(ErrorSummary, errors),
        trends=table(Trend, trends),
        comparisons=table(Difference, differences),
        agreements=table(Difference, judging.agreements(claimed, differences)),
        drift=drift(_implementations(study, claimed), frames.epochs),
        claims=judging.claims(claimed, Evidence(trends, differences, errors, states(nets), flow)),
        against_paper=judging.against_paper(study, last, errors),
        across_scales=judging.across_scales(study, last, errors, differences),
        curves=curves(frames.epochs),
        growth=growth(frames.growth),
        cost=cost(frames.runs),
    )


def latest(frames: Frames) -> pd.DataFrame:
    """Return the last evaluation of each twin of each run; one that diverged stays in, at 100 %."""
    last = frames.epochs.groupby(["run", "twin"], sort=False).tail(1)
    return last.merge(frames.runs[["run", "twin", "test_images", "train_images", "chance_pct"]], on=["run", "twin"])


def final(last: pd.DataFrame) -> pd.DataFrame:
    """Return each net once: a twin that fixes its own depth is trained in several runs, to the same numbers."""
    return last.drop_duplicates([*CELL, "seed"], ignore_index=True)


def untrained(final: pd.DataFrame) -> pd.DataFrame:
    """Return the nets that did not train, with their `state` and the error of one answer to all images."""
    return final.loc[final["state"] != TRAINED, [*CELL, "seed", "state", "chance_pct"]].reset_index(drop=True)


def by_depth(final: pd.DataFrame, fails_above_pct: float | None) -> list[ErrorSummary]:
    """Summarize each metric by family, depth and twin, with Student's t interval, cut to 0 to 100 %.

    `failed` seeds are those above `fails_above_pct`, and those that did not train. The `outcome` is that the twin
    `fails` where the whole interval lies above, or all seeds diverged or are at chance; that it `trains` where the
    interval does not reach above, and no seed did so; else `inconclusive`, as with one seed. Where `fails_above_pct` is
    None, no error is a failure by itself. `noise_floor`, of the test error, is what the number of test images alone
    leaves open, in points.
    """
    rows = []
    metrics, bound = measured(final), math.inf if fails_above_pct is None else fails_above_pct
    for net, cell in grouped(final, CELL):
        for metric in metrics:
            rows_measured = cell.dropna(subset=metric)
            values = rows_measured[metric].to_numpy(float)
            lost = (rows_measured["state"] != TRAINED).to_numpy()
            mean = statistics.mean(values)
            low, high = np.clip(statistics.t_interval(values), 0, 100)  # no error lies outside: this costs no coverage
            noise_floor = math.nan
            if metric == "test_error_pct":
                noise_floor = float(statistics.noise_floor(mean, cell["test_images"].iloc[0]))
            row = ErrorSummary(
                **net,
                metric=metric,
                n=len(values),
                mean=mean,
                sd=statistics.sd(values),
                low=low,
                high=high,
                noise_floor=noise_floor,
                failed=int((lost | (values > bound)).sum()),
                outcome=_outcome(low, high, bound, lost),
            )
            rows.append(row)
    return rows


def drift(claimed: Iterable[tuple[Expect, Places]], epochs: pd.DataFrame) -> pd.DataFrame:
    """Say how far the loss traces of twins that claims say agree lie apart, at every evaluation.

    A trace is `running_loss`. `median` and `largest` are over the `n` seeds in which both twins have a loss, and
    `between_seeds`, the yardstick of what chance alone makes, is the median over all pairs of two seeds of the other
    twin; each is a difference as a share of the other's loss. A net that diverged has no loss from there on.
    """
    rows = []
    for twin, other, places in _agreeing(claimed):
        both = pair(epochs, twin, other, "iteration")
        for place, cell in grouped(both, PLACE):
            if (place["group"], place["depth"]) not in places:
                continue
            chance = epochs[(epochs["twin"] == other) & epochs["run"].isin(cell["run"])].groupby("iteration")
            for iteration, seeds in cell.groupby("iteration"):
                apart = _apart(*seeds[["running_loss", "running_loss_other"]].to_numpy(float).T)
                if not len(apart):
                    continue
                row = place | {"twin": twin, "other": other, "iteration": iteration, "n": len(apart)}
                row |= {"median": float(np.median(apart)), "largest": float(apart.max())}
                losses = chance.get_group(iteration)["running_loss"].to_numpy(float)
                rows.append(row | {"between_seeds": _between_seeds(losses)})
    columns = [*PLACE, *PAIR, "iteration", "n", "median", "largest", "between_seeds"]
    return pd.DataFrame(rows, columns=columns)


def curves(epochs: pd.DataFrame) -> pd.DataFrame:
    """Average the training and test error of each net over seeds, at every iteration evaluated.

    A net that diverged keeps its last error: if it were left out, the mean of the others would look better.
    """
    tables = []
    for net, cell in grouped(epochs, CELL):
        longest = cell.loc[cell["run"] == cell.sort_values("iteration")["run"].iloc[-1], "iteration"]
        metrics = ["train_error_pct", "test_error_pct"]
        by_seed = cell.pivot_table(index="iteration", columns="seed", values=metrics).ffill()
        means = {metric: by_seed.loc[longest.to_list(), [metric]].mean(axis=1) for metric in metrics}
        tables.append(pd.DataFrame(net | means).rename_axis("iteration").reset_index())
    return pd.concat(tables, ignore_index=True)[[*CELL, "iteration", "train_error_pct", "test_error_pct"]]


def growth(growth: pd.DataFrame) -> pd.DataFrame:
    """Return the largest change of a logit by growing, and the mean errors before and after."""
    if growth.empty:
        return pd.DataFrame(columns=[*CELL, "depth_before", "iteration"])
    errors = {f"train_error_{when}_pct": (f"train_error_{when}_pct", "mean") for when in ("before", "after")}
    table = growth.groupby([*CELL, "depth_before", "iteration"], sort=False)
    return table.agg(n=("seed", "nunique"), largest_difference=("largest_difference", "max"), **errors).reset_index()


def cost(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the training time of all runs that are over, also failed, by family and depth (20/56: twins differ)."""
    depths = runs.groupby("run")["depth"].agg(lambda twins: "/".join(map(str, dict.fromkeys(twins))))
    ended = runs.drop_duplicates("run").dropna(subset="seconds").assign(depth=lambda run: run["run"].map(depths))
    seconds = ended.groupby(PLACE, sort=False)["seconds"]
    return seconds.agg(runs="count", mean_seconds="mean", total_seconds="sum").reset_index()


def states(final: pd.DataFrame) -> dict[tuple[str, int, str], list[str]]:
    """Group, depth and twin -> the states of its seeds."""
    states: dict[tuple[str, int, str], list[str]] = {}
    for net in zip(final["group"], final["depth"], final["twin"], final["state"], strict=True):
        states.setdefault(net[:3], []).append(net[3])
    return states


def _outcome(low: float, high: float, bound: float, lost: NDArray[np.bool_]) -> str:
    """Say whether a net fails to train, from the interval of its error, and which of its seeds learned nothing."""
    if low > bound or (lost.all() and not math.isnan(low)):
        return FAILS
    return TRAINS if high <= bound and not lost.any() else INCONCLUSIVE


def _implementations(study: Study, claimed: Iterable[tuple[Expect, Places]]) -> list[tuple[Expect, Places]]:
    """Return the claims about twins that are one net, however computed: only of these the losses should be the same."""
    runs = by_setting(study.runs).values()

    def one_net(claim: Expect) -> bool:
        pairs = [(run.twins[claim.twin], run.twins[str(claim.other)]) for run in runs if claim.covers(run)]
        return all(net.model_copy(update={"fused_op": other.fused_op}) == other for net, other in pairs)

    return [(claim, places) for claim, places in claimed if claim.agrees_with and one_net(claim)]


def _agreeing(claimed: Iterable[tuple[Expect, Places]]) -> list[tuple[str, str, Places]]:
    """Return the pairs of twins that are claimed to agree, each once, with all places where they are."""
    pairs: dict[tuple[str, str], Places] = {}
    for claim, places in claimed:
        if claim.agrees_with:
            key = (claim.twin, claim.agrees_with)
            pairs[key] = pairs.get(key, frozenset()) | places
    return [(*key, places) for key, places in pairs.items()]


def _apart(losses: Floats, references: Floats) -> Floats:
    """Return |loss - reference| as shares of the reference, where there are both and the share is finite.

    Equal losses, zeros too, lie 0 apart; beside a reference of 0, no other loss has a share.
    """
    with np.errstate(all="ignore"):
        shares = np.where(losses == references, 0.0, np.abs(losses - references) / references)
    return shares[np.isfinite(shares)]


def _between_seeds(losses: Floats) -> float:
    """Return the median difference of a seed's loss from another's, as a share of that; NaN of fewer than two seeds."""
    pairs = ~np.eye(len(losses), dtype=bool)
    apart = _apart(*(side[pairs] for side in np.broadcast_arrays(losses[:, None], losses)))
    return float(np.median(apart)) if len(apart) else math.nan
