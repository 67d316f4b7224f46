"""What findings say about a study's claims, and beside published values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from deeptwins.findings import learning
from deeptwins.findings.comparisons import PAIR, PLACE, between, comparisons
from deeptwins.findings.rows import Difference, ErrorSummary, Places, Trend, cells
from deeptwins.findings.statistics import SEEDS_FOR_INTERVAL, t_bound
from deeptwins.study import Study
from deeptwins.study.claims import FAILS, STATEMENTS, Expect, Paper
from deeptwins.study.specs import RunSpec, by_setting

T = TypeVar("T", Difference, ErrorSummary)

MET, CONTRADICTED, UNDECIDED = "met", "contradicted", "undecided"
TRAINS, INCONCLUSIVE = "trains", "inconclusive"
OPEN = (INCONCLUSIVE, *learning.VOID)
"""Verdicts that decide nothing."""
TOO_FEW = "too few seeds"
OUTSIDE = "outside"
ALONE = "published alone"
FAILS_HERE, FAILS_THERE = "trains as published, fails here", "fails as published, trains here"
SAME, OPPOSITE, NO_SUCH = "same direction", "opposite direction", "no such difference here"
NONE_EITHER, ONE_HERE = "no difference either", "a difference here"
TOO_IMPRECISE = "too imprecise to tell"
DIFFERENT = (OUTSIDE, FAILS_HERE, FAILS_THERE, OPPOSITE, NO_SUCH, ONE_HERE)
"""Readings that say that our answer is not the paper's."""


class Evidence(NamedTuple):
    """The findings that claims are checked by."""

    trends: Sequence[Trend]
    differences: Sequence[Difference]
    errors: Sequence[ErrorSummary]
    states: Mapping[tuple[str, int, str], Sequence[str]]
    """Of the seeds of a net: by group, depth and twin."""
    gradient_flow: pd.DataFrame


class Ruling(NamedTuple):
    """The verdict on one of the things that a claim is about: a net, a pair of nets, a trend."""

    group: str
    verdict: str
    n: int
    """Seeds."""


def agreements(claimed: Iterable[tuple[Expect, Places]], compared: Sequence[Difference]) -> list[Difference]:
    """Return the differences of twins that a claim says agree: they `agree`, they `differ`, or it is inconclusive."""
    rows = [
        _as_agreement(row)
        for claim, places in claimed
        if claim.agrees_with
        for row in between(compared, claim.twin, claim.agrees_with)
        if _covers(claim, places, row)
    ]
    order = list(dict.fromkeys(group for row in compared for group in (row.group, row.group_other)))
    rows.sort(key=lambda row: (order.index(row.group), row.depth))
    keys = [
        (row.group, row.group_other, row.depth, row.depth_twin, row.depth_other, row.twin, row.other, row.metric)
        for row in rows
    ]
    return [row for i, row in enumerate(rows) if keys.index(keys[i]) == i]  # each once, though two claims name it


def claims(claimed: Iterable[tuple[Expect, Places]], evidence: Evidence) -> pd.DataFrame:
    """Check a study's claims, group by group: `met`, `contradicted` (the verdict is another one) or `undecided`.

    A claim about errors, not trends, covers every depth: it is met where it is at all of them, and contradicted where
    it is at one. A result that `learning.void` says cannot be judged neither meets nor contradicts a claim.

    `claim` counts the claims as the study file does, from 0; `of` is how many depths the verdict is about.
    """
    rows = []
    for number, (claim, places) in enumerate(claimed):
        claimed_verdict = _claimed_verdict(claim)
        by_group: dict[str, list[Ruling]] = {}
        for ruling in _rulings(claim, places, evidence):
            by_group.setdefault(ruling.group, []).append(ruling)
        none = {claim.family or "any": [Ruling(claim.family or "any", INCONCLUSIVE, 0)]}
        for group, rulings in (by_group or none).items():
            verdict = jointly([ruling.verdict for ruling in rulings], claimed_verdict)
            row: dict[str, Any] = {"claim": number, "group": group, "twin": claim.twin, "metric": claim.metric}
            row |= {claim.statement: getattr(claim, claim.statement), "where": _where(claim, group)}
            row |= {"says": claim.says or "", "of": len(rulings)}
            row |= {"n": min(ruling.n for ruling in rulings), "verdict": verdict}
            decided = MET if verdict == claimed_verdict else CONTRADICTED
            rows.append(row | {"result": UNDECIDED if verdict in OPEN else decided})
    statements = [key for key in STATEMENTS if any(key in row for row in rows)]
    words = [key for key in ("where", "says") if any(row[key] for row in rows)]
    columns = ["claim", "group", "twin", "metric", *statements, *words, "of", "n", "verdict", "result"]
    return pd.DataFrame(rows, columns=columns)


def against_paper(study: Study, last: pd.DataFrame, errors: Sequence[ErrorSummary]) -> pd.DataFrame:
    """Set published values of the study's own data beside ours, of the runs that they are about.

    The reading of a number: whether it lies `inside` our interval or `outside`. Of a net that fails: whether ours
    `fails too`, or it `fails as published, trains here`. Neither is supported by fewer than two seeds. A number beside
    nets of which one did not train: that it `trains as published, fails here`, or else what `learning.void` says of
    ours.
    """
    rows, runs = [], by_setting(study.runs)
    for value in study.paper:
        same_data = {setting: run for setting, run in runs.items() if value.dataset in {None, run.recipe.dataset}}
        covered = _covered(value, same_data, last)
        for row in _ours(value, covered, errors):
            if (row.family, row.depth, row.metric) == (value.family, value.depth, value.metric):
                ours = covered.loc[(covered["group"] == row.group) & (covered["depth"] == row.depth)]
                states = ours.loc[ours["twin"] == row.twin, "state"]
                lost = None if value.value == FAILS else learning.void([state] for state in states)
                reading = lost and (_trained(value, row.outcome, study.fails_above_pct) or lost)
                number = math.nan if value.value == FAILS else value.value
                paper = {"source": value.source, "paper": value.value, "difference": row.mean - number}
                rows.append(cells(row) | paper | {"reading": reading or _reading(value, row)})
    columns = [*PLACE, "twin", "metric", "n", "mean", "low", "high", "outcome", "source", "paper", "difference"]
    return pd.DataFrame(rows, columns=[*columns, "reading"])


def across_scales(
    study: Study, last: pd.DataFrame, errors: Sequence[ErrorSummary], tested: Sequence[Difference]
) -> pd.DataFrame:
    """Set published values of other data beside ours: not the values, but how a twin differs from the baseline.

    The baseline is the study's first twin that has a value on the same data, of the same family, depth and metric,
    about the same runs, and if it can be of the same source; ours is the difference, paired by seed, at that depth
    where we have it, else at our deepest. Twins that fix their depths, as published, need not share them. A net that
    fails is worse than any number; two that fail do not differ.

    The reading is first whether a net trains in one place and fails in the other, then whether both differences have
    the same direction, or ours is too imprecise to tell; so is one that was `tested`, and is undecided after correction
    for all tests. A value without a baseline is `published alone`, unless there
    is something to say of its training; a baseline's own has a row only then.
    """
    runs = by_setting(study.runs)
    data = {run.recipe.dataset for run in runs.values()}
    places: dict[tuple[Any, ...], list[Paper]] = {}
    for value in study.paper:
        if value.dataset not in {None, *data}:
            places.setdefault(_place(study, value, runs), []).append(value)
    rows: list[dict[str, Any]] = []
    for values in places.values():
        rows += _across(study, values, _covered(values[0], runs, last), errors, tested)
    columns = ["data", "paper_family", "paper_depth", "paper_depth_other", *PAIR, "metric", "paper", "paper_other"]
    columns += ["source", *PLACE, "depth_twin", "depth_other", "n", "mean", "other_mean", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "reading"])


def _across(
    study: Study,
    values: Sequence[Paper],
    last: pd.DataFrame,
    errors: Sequence[ErrorSummary],
    tested: Sequence[Difference],
) -> list[dict[str, Any]]:
    """Set values of one place beside the nets of the runs that they are about."""
    first = min((value.twin for value in values), key=list(study.twins).index)
    baselines = [value for value in values if value.twin == first]
    pairs = [(value, _baseline(value, baselines)) for value in values if value.twin != first]
    pairs.sort(key=lambda pair: list(study.twins).index(pair[0].twin))
    rows: list[dict[str, Any]] = []
    for value in baselines:
        paired = any(baseline is value for _, baseline in pairs)
        rows += _alone(study, value, _ours(value, last, errors), paired=paired)
    for value, baseline in pairs:
        rows += _paired(study, (value, baseline), last, errors, tested)
    return rows


def _baseline(value: Paper, baselines: Sequence[Paper]) -> Paper:
    """Return the baseline that a value has in its own source, or else the first."""
    return next((baseline for baseline in baselines if baseline.source == value.source), baselines[0])


def _settings(value: Paper, runs: Mapping[str, RunSpec]) -> frozenset[str]:
    """Return those of the settings, given with a run each, that a published value is about."""
    return frozenset(setting for setting, run in runs.items() if value.covers(run))


def _covered(value: Paper, runs: Mapping[str, RunSpec], last: pd.DataFrame) -> pd.DataFrame:
    """Return the last evaluations of those of the runs that a published value is about."""
    return last[last["setting"].isin(_settings(value, runs))]


def _ours(value: Paper, last: pd.DataFrame, errors: Sequence[ErrorSummary]) -> list[ErrorSummary]:
    """Return the errors of the nets of a value's twin that are among these evaluations."""
    nets = last[last["twin"] == value.twin]
    places = {*zip(nets["group"], nets["depth"], strict=True)}
    return [row for row in errors if row.twin == value.twin and (row.group, row.depth) in places]


def _claimed_verdict(claim: Expect) -> str:
    """Return the verdict that meets a claim."""
    words = {"agrees_with": "agree", "at_most": "at most", "fails": FAILS if claim.fails else TRAINS}
    return str(claim.trend or claim.gradients or words.get(claim.statement, claim.statement))


def _where(claim: Expect, group: str) -> str:
    """Say what a claim is limited to, but for what the group's name says already: `warmup = 5`."""
    in_name = group.split(", ")
    limits = [(key, value) for key, value in claim.where.items() if f"{key.replace('_', ' ')} {value}" not in in_name]
    return ", ".join(f"{key} = {value}" for key, value in limits)


def _rulings(claim: Expect, places: Places, evidence: Evidence) -> list[Ruling]:
    """Return the verdict on all that a claim is about."""
    if claim.gradients:
        flow = evidence.gradient_flow
        flow = flow[(flow["twin"] == claim.twin) & flow["group"].isin({group for group, _ in places})]
        return [Ruling(row["group"], row["verdict"], row["n"]) for row in flow.to_dict("records")]
    if claim.trend:
        trends = [row for row in evidence.trends if row.metric == claim.metric and row.is_claimed_by(claim, places)]
        return [Ruling(row.group, row.verdict, row.over_seeds.n) for row in trends]
    if claim.other:
        rows = [row for row in between(evidence.differences, claim.twin, claim.other) if _covers(claim, places, row)]
        rows = [_as_agreement(row) for row in rows] if claim.agrees_with else rows
        return [Ruling(row.group, row.verdict, row.over_seeds.n) for row in rows]
    errors = [row for row in evidence.errors if row.twin == claim.twin and _covers(claim, places, row)]
    if claim.at_most is None:
        return [Ruling(row.group, row.outcome, row.n) for row in errors]
    return [Ruling(row.group, _void(row, evidence) or _at_most(row, claim.at_most), row.n) for row in errors]


def _covers(claim: Expect, places: Places, row: Difference | ErrorSummary) -> bool:
    """Whether a row is of a claim's metric and places."""
    return row.metric == claim.metric and (row.group, row.depth) in places


def _as_agreement(row: Difference) -> Difference:
    """Return a difference judged by whether twins agree: which of the two is above does not matter."""
    return replace(row, verdict="differ") if row.verdict in {"above", "below"} else row


def _void(row: ErrorSummary, evidence: Evidence) -> str | None:
    """Say why an error is no number to judge by: in some seed its net did not train."""
    return learning.void([state] for state in evidence.states[row.group, row.depth, row.twin])


def _at_most(row: ErrorSummary, limit: float) -> str:
    if t_bound(row.mean, row.sd, row.n) <= limit:
        return "at most"
    return "more" if row.low > limit else INCONCLUSIVE


def jointly(verdicts: Sequence[str], claimed: str) -> str:
    """Judge several depths together: as claimed where all are, otherwise where any is, else open, with the reason."""
    if all(verdict == claimed for verdict in verdicts):
        return claimed
    others = [verdict for verdict in verdicts if verdict not in {claimed, INCONCLUSIVE}]
    return next((verdict for verdict in others if verdict not in OPEN), [*others, INCONCLUSIVE][0])


def _reading(value: Paper, row: ErrorSummary) -> str:
    """Say how a published value compares with ours."""
    if row.n < SEEDS_FOR_INTERVAL:
        return TOO_FEW
    if value.value == FAILS:
        return {FAILS: "fails too", TRAINS: FAILS_THERE}.get(row.outcome, INCONCLUSIVE)
    return "inside" if row.low <= value.value <= row.high else OUTSIDE


def _place(study: Study, value: Paper, runs: Mapping[str, RunSpec]) -> tuple[Any, ...]:
    """Return what published values have to share, to be compared: no depth, where it is the one that the twin fixes."""
    fixed = study.twins[value.twin].get("depth") == value.depth
    return value.dataset, value.family, None if fixed else value.depth, value.metric, _settings(value, runs)


def _alone(study: Study, value: Paper, ours: Sequence[ErrorSummary], *, paired: bool) -> list[dict[str, Any]]:
    """Set a published value beside ours, where no pair has it, or where it says more of its training than a pair."""
    rows = []
    for row in _beside(ours, value):
        reading = _trained(value, row.outcome, study.fails_above_pct)
        if not reading and not paired:
            reading = _reading(value, row) if value.value == FAILS else ALONE
        if reading:
            net = {"family": row.family, "group": row.group, "depth": row.depth, "depth_twin": row.depth}
            rows.append(_published(value) | net | {"n": row.n, "mean": row.mean, "reading": reading})
    return rows


def _paired(
    study: Study,
    values: tuple[Paper, Paper],
    last: pd.DataFrame,
    errors: Sequence[ErrorSummary],
    tested: Sequence[Difference],
) -> list[dict[str, Any]]:
    """Set the difference between two published values, a twin's and its baseline's, beside ours."""
    value, baseline = values
    undecided = [
        (row.group, row.depth_twin, row.depth_other, row.metric)
        for row in between(tested, value.twin, baseline.twin)
        if row.verdict == INCONCLUSIVE
    ]
    outcomes = {(row.group, row.metric, row.twin, row.depth): row.outcome for row in errors}
    published = _published(value) | {"paper_depth_other": baseline.depth, "paper_other": baseline.value}
    rows = []
    for row in _beside(comparisons(last, [(value.twin, baseline.twin)], study.flat_within_pct), value):
        ours = (
            outcomes[row.group, row.metric, row.twin, row.depth_twin],
            outcomes[row.group_other, row.metric, row.other, row.depth_other],
        )
        reading = _trained(value, ours[0], study.fails_above_pct)
        is_open = (row.group, row.depth_twin, row.depth_other, row.metric) in undecided
        judged = replace(row, verdict=INCONCLUSIVE) if is_open else row
        rows.append(published | cells(row) | {"reading": reading or _direction(values, judged, ours, study)})
    return rows


def _published(value: Paper) -> dict[str, Any]:
    """Return what a row says of a published value."""
    place = {"data": value.dataset, "paper_family": value.family, "paper_depth": value.depth}
    return place | {"twin": value.twin, "metric": value.metric, "paper": value.value, "source": value.source}


def _beside(rows: Sequence[T], value: Paper) -> list[T]:
    """Return a row of each group: of the value's metric; of its family and depth if we have them, else the deepest."""
    of_metric = [row for row in rows if row.metric == value.metric]
    of_family = [row for row in of_metric if row.family == value.family] or of_metric
    best_last: list[T] = sorted(of_family, key=lambda row: (row.depth == value.depth, row.depth))
    return list({row.group: row for row in best_last}.values())


def _trained(value: Paper, outcome: str, fails_above_pct: float | None) -> str | None:
    """Say that a net trains here and not there, or there and not here; None where it does not, or nobody can tell.

    A published number above the bound says neither: on other data a net may have learnt much and err as often. Without
    a bound only nets that learned nothing fail, and no published number is of these.
    """
    if value.value == FAILS:
        return FAILS_THERE if outcome == TRAINS else None
    bound = math.inf if fails_above_pct is None else fails_above_pct
    return FAILS_HERE if outcome == FAILS and value.value <= bound else None


def _direction(values: tuple[Paper, Paper], row: Difference, outcomes: tuple[str, str], study: Study) -> str:
    """Say whether a twin differs from the baseline in the direction in which the published values do.

    Args:
        values: the twin's and the other's, as published.
        row: our difference; where it is undecided, it has no direction.
        outcomes: whether our twin trains, and whether our other does.
        study: its margin.
    """
    ours, (value, baseline) = row.over_seeds, values
    if ours.n < SEEDS_FOR_INTERVAL:
        return TOO_FEW
    of_twin, of_other = (math.inf if paper.value == FAILS else paper.value for paper in (value, baseline))
    published = _sign(of_twin > of_other, of_twin < of_other)
    # Where one of ours fails, that is how they differ, whatever the errors; of two that fail none is worse.
    failing = FAILS in outcomes and INCONCLUSIVE not in outcomes
    one_fails, both_fail_there = TRAINS in outcomes and failing, value.value == baseline.value == FAILS
    if row.verdict in learning.VOID and not (one_fails or (failing and both_fail_there)):
        return INCONCLUSIVE
    excludes_zero = ours.low * ours.high > 0
    direction = 0 if row.verdict == INCONCLUSIVE else _sign(ours.low > 0, ours.high < 0)
    if failing:
        direction = _sign(outcomes[0] == FAILS, outcomes[1] == FAILS)
    if direction:
        return {direction: SAME, 0: ONE_HERE}.get(published, OPPOSITE)
    if not published:
        alike = failing or max(-ours.low, ours.high) <= study.flat_within_pct
        return NONE_EITHER if alike else TOO_IMPRECISE
    # No difference is seen here: either one as large as the published is excluded, or our seeds cannot tell.
    gap = of_twin - of_other
    possible = excludes_zero or ours.low <= gap <= ours.high or (math.isinf(gap) and INCONCLUSIVE in outcomes)
    return TOO_IMPRECISE if possible and not failing else NO_SUCH


def _sign(positive: bool, negative: bool) -> int:  # noqa: FBT001
    """Return 1, -1, or 0 where both hold or neither does."""
    return int(positive) - int(negative)
