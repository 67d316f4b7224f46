"""What findings say of a study's claims, and beside published values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from deeptwins.claims import FAILS, STATEMENTS, Expect, Paper
from deeptwins.comparisons import PAIR, PLACE, Places, Row, between, comparisons
from deeptwins.statistics import SEEDS_FOR_INTERVAL
from deeptwins.study import Study

Record = Mapping[Any, Any]  # a row of a table

MET, CONTRADICTED, UNDECIDED = "met", "contradicted", "undecided"
TRAINS, INCONCLUSIVE = "trains", "inconclusive"
TOO_FEW = "too few seeds"
DIFFERENT = ("outside", "trains here", "opposite direction", "no difference seen", "a difference here")
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
    """Set published values of the study's own data beside ours.

    The reading of a number: whether it lies `inside` our interval or `outside`. Of a net that fails: whether ours
    `fails too` or `trains here`. Neither is supported by fewer than two seeds.
    """
    rows = []
    for value in study.paper:
        settings = {run.setting for run in study.runs if value.dataset in {None, run.recipe.dataset}}
        groups = {*last.loc[last["setting"].isin(settings), "group"]}
        place = {"family": value.family, "depth": value.depth, "twin": value.twin, "metric": value.metric}
        for row in by_depth.to_dict("records"):
            if row["group"] in groups and all(row[key] == wanted for key, wanted in place.items()):
                number = math.nan if value.value == FAILS else value.value
                ours = {key: row[key] for key in ("group", "n", "mean", "low", "high", "outcome")}
                paper = {"source": value.source, "paper": value.value, "difference": row["mean"] - number}
                rows.append(place | ours | paper | {"reading": _reading(value, row)})
    columns = [*PLACE, "twin", "metric", "n", "mean", "low", "high", "outcome", "source", "paper", "difference"]
    return pd.DataFrame(rows, columns=[*columns, "reading"])


def across_scales(study: Study, last: pd.DataFrame, by_depth: pd.DataFrame) -> pd.DataFrame:
    """Set published values of other data beside ours: not the values, but how a twin differs from the baseline.

    The baseline is the study's first twin that has a value on the same data, of the same family, depth and metric; ours
    is the difference at our deepest depth, paired by seed. A net that fails is worse than any number; two that fail do
    not differ. The reading says whether both differ in the same direction. A value without a baseline stands beside
    ours, and is read only where it is that the net fails.
    """
    data = {run.recipe.dataset for run in study.runs}
    places: dict[tuple[Any, ...], list[Paper]] = {}
    for value in study.paper:
        if value.dataset not in {None, *data}:
            places.setdefault((value.dataset, value.family, value.depth, value.metric), []).append(value)
    rows: list[Row] = []
    for values in places.values():
        baseline, *others = sorted(values, key=lambda value: list(study.twins).index(value.twin))
        paper = {"data": baseline.dataset, "paper_family": baseline.family, "paper_depth": baseline.depth}
        for value in others:
            compared = comparisons(last, [(value.twin, baseline.twin)], study.flat_within_pct)
            for row in _deepest(compared, value):
                direction = {"paper_other": baseline.value, "reading": _direction(value, baseline, row, by_depth)}
                rows.append(paper | {"source": value.source, "paper": value.value} | {**row} | direction)
        if not others:
            alone = by_depth[by_depth["twin"] == baseline.twin].to_dict("records")
            for row in _deepest(alone, baseline):
                reading = _reading(baseline, row) if baseline.value == FAILS else "other data"
                rows.append(
                    paper | {"source": baseline.source, "paper": baseline.value} | {**row} | {"reading": reading}
                )
    columns = [
        "data",
        "paper_family",
        "paper_depth",
        *PAIR,
        "metric",
        "paper",
        "paper_other",
        "source",
        "group",
        "depth",
    ]
    columns += ["n", "mean", "other_mean", "difference", "low", "high", "reading"]
    return pd.DataFrame(rows, columns=columns)


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
    if row["high"] <= limit:
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
        return {FAILS: "fails too", TRAINS: "trains here"}.get(row["outcome"], INCONCLUSIVE)
    return "inside" if row["low"] <= value.value <= row["high"] else "outside"


def _deepest(rows: Sequence[Record], value: Paper) -> list[Record]:
    """Return the rows of a published value's metric at the deepest depth of each group, of its family if we have it."""
    rows = [row for row in rows if row["metric"] == value.metric]
    rows = [row for row in rows if row["family"] == value.family] or rows
    deepest = {row["group"]: row for row in sorted(rows, key=lambda row: row["depth"])}
    return list(deepest.values())


def _direction(value: Paper, baseline: Paper, row: Record, by_depth: pd.DataFrame) -> str:
    """Say whether a twin differs from the baseline in the direction in which the published values do."""
    if row["n"] < SEEDS_FOR_INTERVAL:
        return TOO_FEW
    own, reference = (math.inf if paper.value == FAILS else paper.value for paper in (value, baseline))
    published = int(own > reference) - int(own < reference)
    cells = by_depth[(by_depth["group"] == row["group"]) & (by_depth["metric"] == row["metric"])]
    outcomes = cells.set_index(["twin", "depth"])["outcome"]
    fail, other = outcomes[row["twin"], row["depth_twin"]], outcomes[row["other"], row["depth_other"]]
    ours = int(row["low"] > 0) - int(row["high"] < 0)
    if {fail, other} <= {FAILS, TRAINS} and FAILS in {fail, other}:
        ours = int(fail == FAILS) - int(other == FAILS)
    if not published:
        return "a difference here" if ours else "no difference either"
    return {published: "same direction", 0: "no difference seen"}.get(ours, "opposite direction")
