"""What findings say of a study's claims, and beside published values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from deeptwins.findings.comparisons import PAIR, PLACE, Places, Row, between, comparisons
from deeptwins.findings.statistics import SEEDS_FOR_INTERVAL, t_bound
from deeptwins.study import Study
from deeptwins.study.claims import FAILS, STATEMENTS, Expect, Paper
from deeptwins.study.specs import RunSpec

Record = Mapping[Any, Any]  # a row of a table

MET, CONTRADICTED, UNDECIDED = "met", "contradicted", "undecided"
TRAINS, INCONCLUSIVE = "trains", "inconclusive"
TOO_FEW = "too few seeds"
OUTSIDE = "outside"
ALONE = "published alone"
FAILS_HERE, FAILS_THERE = "trains there, fails here", "fails there, trains here"
SAME, OPPOSITE, NO_SUCH = "same direction", "opposite direction", "no such difference here"
NONE_EITHER, ONE_HERE = "no difference either", "a difference here"
TOO_IMPRECISE = "too imprecise to tell"
DIFFERENT = (OUTSIDE, FAILS_HERE, FAILS_THERE, OPPOSITE, NO_SUCH, ONE_HERE)
"""Readings that say that our answer is not the paper's."""


class Evidence(NamedTuple):
    """The tables of findings that claims are about."""

    trends: pd.DataFrame
    comparisons: pd.DataFrame
    by_depth: pd.DataFrame
    gradient_flow: pd.DataFrame


def agreements(claimed: Iterable[tuple[Expect, Places]], compared: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons of twins that a claim says agree: they `agree`, they `differ`, or it is inconclusive."""
    tables = [
        _at(between(compared, claim.twin, str(claim.other)), claim, places)
        for claim, places in claimed
        if claim.agrees_with
    ]
    tables = [table for table in tables if len(table)]
    if not tables:
        return compared.head(0)
    table = pd.concat(tables)
    order = {key: i for i, key in enumerate(zip(compared["group"], compared["depth"], strict=True))}
    rank = [order[key] for key in zip(table["group"], table["depth"], strict=True)]
    table = table.assign(rank=rank).sort_values("rank", kind="stable").drop(columns="rank")
    table["verdict"] = table["verdict"].replace({"above": "differ", "below": "differ"})
    return table.drop_duplicates(
        ["group", "depth", "depth_twin", "depth_other", "twin", "other", "metric"]
    ).reset_index(drop=True)


def claims(claimed: Iterable[tuple[Expect, Places]], evidence: Evidence) -> pd.DataFrame:
    """Check a study's claims, group by group: `met`, `contradicted` (the verdict is another one) or `undecided`.

    A claim about errors, not trends, covers every depth: it is met where it is at all of them, and contradicted where
    it is at one.
    """
    rows = []
    for claim, places in claimed:
        wanted = _wanted(claim)
        found = _judged(claim, places, evidence)
        groups: list[tuple[Any, Sequence[Record]]]
        groups = [(group, cell.to_dict("records")) for group, cell in found.groupby("group", sort=False)]
        for group, cells in groups or [(claim.family or "any", [{"verdict": INCONCLUSIVE, "n": 0}])]:
            verdict = jointly([cell["verdict"] for cell in cells], wanted)
            result = {wanted: MET, INCONCLUSIVE: UNDECIDED}.get(verdict, CONTRADICTED)
            place = {"group": group, "twin": claim.twin, "metric": claim.metric}
            statement = {claim.statement: getattr(claim, claim.statement)}
            named = str(group).split(", ")  # a group may be named by what a claim is limited to
            told = [
                (key, value) for key, value in claim.where.items() if f"{key.replace('_', ' ')} {value}" not in named
            ]
            where = {"where": ", ".join(f"{key} = {value}" for key, value in told)}
            n = min(cell["n"] for cell in cells)
            rows.append(place | statement | where | {"n": n, "verdict": verdict, "result": result})
    made = [key for key in STATEMENTS if any(key in row for row in rows)]
    made += ["where"] if any(row["where"] for row in rows) else []
    return pd.DataFrame(rows, columns=["group", "twin", "metric", *made, "n", "verdict", "result"])


def against_paper(study: Study, last: pd.DataFrame, by_depth: pd.DataFrame) -> pd.DataFrame:
    """Set published values of the study's own data beside ours, of the runs that they are about.

    The reading of a number: whether it lies `inside` our interval or `outside`. Of a net that fails: whether ours
    `fails too`, or it `fails there, trains here`. Neither is supported by fewer than two seeds.
    """
    rows = []
    for value in study.paper:
        runs = [run for run in study.runs if value.dataset in {None, run.recipe.dataset}]
        place = {"family": value.family, "depth": value.depth, "twin": value.twin, "metric": value.metric}
        for row in _ours(value, _covered(value, runs, last), by_depth):
            if all(row[key] == wanted for key, wanted in place.items()):
                number = math.nan if value.value == FAILS else value.value
                ours = {key: row[key] for key in ("group", "n", "mean", "low", "high", "outcome")}
                paper = {"source": value.source, "paper": value.value, "difference": row["mean"] - number}
                rows.append(place | ours | paper | {"reading": _reading(value, row)})
    columns = [*PLACE, "twin", "metric", "n", "mean", "low", "high", "outcome", "source", "paper", "difference"]
    return pd.DataFrame(rows, columns=[*columns, "reading"])


def across_scales(study: Study, last: pd.DataFrame, by_depth: pd.DataFrame) -> pd.DataFrame:
    """Set published values of other data beside ours: not the values, but how a twin differs from the baseline.

    The baseline is the study's first twin that has a value on the same data, of the same family, depth and metric,
    about the same runs, and if it can be of the same source; ours is the difference, paired by seed, at that depth
    where we have it, else at our deepest. Twins that fix their depths, as published, need not share them. A net that
    fails is worse than any number; two that fail do not differ.

    The reading is first whether a net trains in one place and fails in the other, then whether both differences have
    the same direction, or ours is too imprecise to tell. A value without a baseline is `published alone`, unless there
    is something to say of its training; a baseline's own has a row only then.
    """
    data = {run.recipe.dataset for run in study.runs}
    places: dict[tuple[Any, ...], list[Paper]] = {}
    for value in study.paper:
        if value.dataset not in {None, *data}:
            places.setdefault(_place(study, value), []).append(value)
    rows: list[Row] = []
    for values in places.values():
        rows += _across(study, values, _covered(values[0], study.runs, last), by_depth)
    columns = ["data", "paper_family", "paper_depth", "paper_depth_other", *PAIR, "metric", "paper", "paper_other"]
    columns += ["source", *PLACE, "depth_twin", "depth_other", "n", "mean", "other_mean", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "reading"])


def _across(study: Study, values: Sequence[Paper], last: pd.DataFrame, by_depth: pd.DataFrame) -> list[Row]:
    """Set values of one place beside the nets of the runs that they are about."""
    first = min((value.twin for value in values), key=list(study.twins).index)
    baselines = [value for value in values if value.twin == first]
    pairs = [(value, _baseline(value, baselines)) for value in values if value.twin != first]
    pairs.sort(key=lambda pair: list(study.twins).index(pair[0].twin))
    rows: list[Row] = []
    for value in baselines:
        paired = any(baseline is value for _, baseline in pairs)
        rows += _alone(study, value, _ours(value, last, by_depth), paired=paired)
    for value, baseline in pairs:
        rows += _paired(study, value, baseline, last, by_depth)
    return rows


def _baseline(value: Paper, baselines: Sequence[Paper]) -> Paper:
    """Return the baseline that a value has in its own source, or else the first."""
    return next((baseline for baseline in baselines if baseline.source == value.source), baselines[0])


def _covered(value: Paper, runs: Iterable[RunSpec], last: pd.DataFrame) -> pd.DataFrame:
    """Return the last evaluations of those of the runs that a published value is about."""
    return last[last["setting"].isin({run.setting for run in runs if value.covers(run)})]


def _ours(value: Paper, last: pd.DataFrame, by_depth: pd.DataFrame) -> list[Record]:
    """Return the summaries of the nets of a value's twin that are among these evaluations."""
    own = last[last["twin"] == value.twin]
    places = {*zip(own["group"], own["depth"], strict=True)}
    rows: Sequence[Record] = [*by_depth[by_depth["twin"] == value.twin].to_dict("records")]
    return [row for row in rows if (row["group"], row["depth"]) in places]


def _wanted(claim: Expect) -> str:
    """Return the verdict that meets a claim."""
    words = {"agrees_with": "agree", "at_most": "at most", "fails": FAILS if claim.fails else TRAINS}
    return str(claim.trend or claim.gradients or words.get(claim.statement, claim.statement))


def _judged(claim: Expect, places: Places, evidence: Evidence) -> pd.DataFrame:
    """Return the rows that a claim is about, with the verdict on each."""
    if claim.trend or claim.gradients:  # of all depths, or of the deepest net
        table = evidence.trends if claim.trend else evidence.gradient_flow
        table = table[(table["twin"] == claim.twin) & table["group"].isin({group for group, _ in places})]
        return table[table["metric"] == claim.metric] if claim.trend else table
    if claim.other:
        table = _at(between(evidence.comparisons, claim.twin, claim.other), claim, places)
        if claim.agrees_with:
            table = table.assign(verdict=table["verdict"].replace({"above": "differ", "below": "differ"}))
        return table
    table = _at(evidence.by_depth[evidence.by_depth["twin"] == claim.twin], claim, places)
    if claim.at_most is None:
        return table.assign(verdict=table["outcome"])
    return table.assign(verdict=[_at_most(row, claim.at_most) for row in table.to_dict("records")])


def _at(table: pd.DataFrame, claim: Expect, places: Places) -> pd.DataFrame:
    """Return the rows of a claim's metric and places."""
    inside = [place in places for place in zip(table["group"], table["depth"], strict=True)]
    return table[(table["metric"] == claim.metric) & pd.Series(inside, table.index, dtype=bool)]


def _at_most(row: Record, limit: float) -> str:
    if t_bound(row["mean"], row["sd"], row["n"]) <= limit:
        return "at most"
    return "more" if row["low"] > limit else INCONCLUSIVE


def jointly(verdicts: Sequence[str], wanted: str) -> str:
    """Judge several depths together: as wanted where all are, otherwise where any is, else inconclusive."""
    if all(verdict == wanted for verdict in verdicts):
        return wanted
    return next((verdict for verdict in verdicts if verdict not in {wanted, INCONCLUSIVE}), INCONCLUSIVE)


def _reading(value: Paper, row: Record) -> str:
    """Say how a published value compares with ours."""
    if row["n"] < SEEDS_FOR_INTERVAL:
        return TOO_FEW
    if value.value == FAILS:
        return {FAILS: "fails too", TRAINS: FAILS_THERE}.get(row["outcome"], INCONCLUSIVE)
    return "inside" if row["low"] <= value.value <= row["high"] else OUTSIDE


def _place(study: Study, value: Paper) -> tuple[Any, ...]:
    """Return what published values have to share, to be compared: no depth, where it is the one that the twin fixes."""
    fixed = study.twins[value.twin].get("depth") == value.depth
    settings = frozenset(run.setting for run in study.runs if value.covers(run))
    return value.dataset, value.family, None if fixed else value.depth, value.metric, settings


def _alone(study: Study, value: Paper, ours: Sequence[Record], *, paired: bool) -> list[Row]:
    """Set a published value beside ours, where no pair has it, or where it says more of its training than a pair."""
    rows = []
    for row in _beside(ours, value):
        reading = _trained(value, row["outcome"], study.fails_above_pct)
        if not reading and not paired:
            reading = _reading(value, row) if value.value == FAILS else ALONE
        if reading:
            numbers = {key: row[key] for key in (*PLACE, "n", "mean")} | {"depth_twin": row["depth"]}
            rows.append(_published(value) | numbers | {"reading": reading})
    return rows


def _paired(study: Study, value: Paper, baseline: Paper, last: pd.DataFrame, by_depth: pd.DataFrame) -> list[Row]:
    """Set the difference between two published values beside ours."""
    outcomes = by_depth.set_index(["group", "metric", "twin", "depth"])["outcome"]
    published = _published(value) | {"paper_depth_other": baseline.depth, "paper_other": baseline.value}
    rows = []
    for row in _beside(comparisons(last, [(value.twin, baseline.twin)], study.flat_within_pct), value):
        ends = [outcomes[row["group"], row["metric"], row[twin], row[f"depth_{twin}"]] for twin in PAIR]
        reading = _trained(value, ends[0], study.fails_above_pct)
        rows.append(published | row | {"reading": reading or _direction(value, baseline, row, ends, study)})
    return rows


def _published(value: Paper) -> Row:
    """Return what a row says of a published value."""
    place = {"data": value.dataset, "paper_family": value.family, "paper_depth": value.depth}
    return place | {"twin": value.twin, "metric": value.metric, "paper": value.value, "source": value.source}


def _beside(rows: Sequence[Record], value: Paper) -> list[Row]:
    """Return a row of each group: of the value's metric; of its family and depth if we have them, else the deepest."""
    rows = [row for row in rows if row["metric"] == value.metric]
    rows = [row for row in rows if row["family"] == value.family] or rows
    ordered = sorted(rows, key=lambda row: (row["depth"] == value.depth, row["depth"]))
    return [{**row} for row in {row["group"]: row for row in ordered}.values()]


def _trained(value: Paper, outcome: str, fails_above_pct: float) -> str | None:
    """Say that a net trains here and not there, or there and not here; None where it does not, or nobody can tell.

    A published number above the bound says neither: on other data a net may have learnt much and err as often.
    """
    if value.value == FAILS:
        return FAILS_THERE if outcome == TRAINS else None
    return FAILS_HERE if outcome == FAILS and value.value <= fails_above_pct else None


def _direction(value: Paper, baseline: Paper, row: Record, ends: Sequence[str], study: Study) -> str:
    """Say whether a twin differs from the baseline in the direction in which the published values do."""
    if row["n"] < SEEDS_FOR_INTERVAL:
        return TOO_FEW
    own, reference = (math.inf if paper.value == FAILS else paper.value for paper in (value, baseline))
    published = int(own > reference) - int(own < reference)
    failing = FAILS in ends and INCONCLUSIVE not in ends  # then that is how they differ, whatever the errors
    ours = int(row["low"] > 0) - int(row["high"] < 0)
    if failing:
        ours = int(ends[0] == FAILS) - int(ends[1] == FAILS)
    if ours:
        return {ours: SAME, 0: ONE_HERE}.get(published, OPPOSITE)
    if not published:
        alike = failing or max(-row["low"], row["high"]) <= study.flat_within_pct
        return NONE_EITHER if alike else TOO_IMPRECISE
    possible = row["low"] <= own - reference <= row["high"] or (math.isinf(own - reference) and INCONCLUSIVE in ends)
    return TOO_IMPRECISE if possible and not failing else NO_SUCH
