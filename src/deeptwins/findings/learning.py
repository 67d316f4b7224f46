"""Which nets trained at all: where neither of two nets did, the difference of their errors says nothing."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from scipy.special import bdtrc

from deeptwins.findings.statistics import ALPHA

TRAINED, AT_CHANCE, DIVERGED = "trained", "at chance", "diverged"
"""The states of a net after its last evaluation."""
UNTRAINED = "untrained"
VOID = (UNTRAINED, DIVERGED)
"""Verdicts on what cannot be judged: in some seed no net trained, or one diverged, whose error is no number."""
COLUMNS = ["train_images", "chance_pct", "state"]
"""What `assess` reads, and what it adds."""


def assess(last: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Add the `state` of each net to its last evaluation.

    A net is at chance where an exact binomial test of its right answers, at 5 % over all nets of the study together
    (Bonferroni), does not show that its training error is lower than that of a constant answer by more than the study's
    margin, in points, or by more than half of the latter where that is less.

    Args:
        last: the last evaluation of each net of each run.
        margin: points that count as agreement.
    """
    nets = len(last.drop_duplicates(["family", "group", "depth", "twin", "seed"]))
    right = (last["train_images"] * (1 - last["train_error_pct"] / 100)).round()
    error = last["chance_pct"] - last["chance_pct"].div(2).clip(upper=margin)
    p = pd.Series(bdtrc(right - 1, last["train_images"], 1 - error / 100), index=last.index)
    state = p.map(lambda p: TRAINED if p < ALPHA / nets else AT_CHANCE)
    return last.assign(state=state.mask(last[["train_loss", "running_loss"]].isna().any(axis=1), DIVERGED))


def void(seeds: Iterable[Iterable[str]]) -> str | None:
    """Say why the errors of two nets, or of the nets of a trend, cannot be judged; None where they can.

    Args:
        seeds: for each seed the states of the nets, of which one must have trained and none may have diverged.
    """
    states = [{*nets} for nets in seeds]
    if any(DIVERGED in nets for nets in states):
        return DIVERGED
    return None if all(TRAINED in nets for nets in states) else UNTRAINED
