"""From findings to tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

import pandas as pd

from deeptwins.findings.judging import INCONCLUSIVE, TRAINS
from deeptwins.findings.learning import DIVERGED, UNTRAINED, VOID
from deeptwins.findings.rows import NOT_TESTED, grouped
from deeptwins.pages.tables import Column, Table
from deeptwins.pages.wording import (
    PUBLISHED,
    apart,
    count,
    decimals_adding,
    difference,
    interval,
    number,
    p_value,
    points,
    power,
    published,
)
from deeptwins.study.claims import FAILS, STATEMENTS, Metric

METRICS = dict(
    zip(get_args(Metric), ("training error", "running training error", "validation error", "test error"), strict=True)
)
FLOWS = {"vanish": "vanish", "explode": "explode", "healthy": "neither vanish nor explode"}
_TRENDS = {"rises": "rises", "falls": "falls", "flat": "stays flat"}
LOST = {UNTRAINED: "did not train", DIVERGED: "diverged"}
_VERDICTS = {"at most": "at most, by a one-sided 95 % bound"}
_MARKS = {"met": "✓ met", "contradicted": "✗ contradicted", "undecided": "? undecided"}


def verdict(row: Mapping[Any, Any]) -> str:
    """Write a verdict; where it is undecided although the interval excludes 0, say why."""
    if row["verdict"] == INCONCLUSIVE:
        return f"undecided{corrected(row)}"
    return _VERDICTS.get(row["verdict"], str(row["verdict"]))


def _tested(row: Mapping[Any, Any], p: str) -> float:
    """Return a p; none where nothing was tested, or where nets that did not train leave nothing to decide."""
    return math.nan if row["verdict"] in {NOT_TESTED, *VOID} else row[p]


_VERDICT = Column("verdict", verdict)
_READING = Column("reading", "reading", lambda reading: "undecided" if reading == INCONCLUSIVE else reading)
NET = _FAMILY, _DEPTH, _TWIN = Column("family", "group"), Column("depth", "depth"), Column("twin", "twin")
SEEDS = Column("seeds", "n")
_DIFFERENCE = Column("twins", ("twin", "other"), "{} - {}".format)
_METRIC = Column("metric", "metric", METRICS.__getitem__)
_INTERVAL = Column("95 % interval", ("low", "high"), apart)
_BOOTSTRAP = Column("bootstrap interval", ("bootstrap_low", "bootstrap_high"), apart)
_HOLM = Column("p, corrected", lambda row: _tested(row, "p_holm"), p_value)
_P = Column("p", lambda row: _tested(row, "p"), p_value)
_UNCORRECTED = "an interval is for its row alone, a verdict uses p after Holm's correction"
_OURS = ("ours (%)", "our difference", "95 % interval")


def errors(by_depth: pd.DataFrame, fails_above_pct: float | None) -> Table:
    """Tabulate the errors of every net and, if any did not train or ends above the bound, in how many seeds."""
    # The running error is the last one, and the test error stands beside the noise of its test set.
    metrics = sorted(dict.fromkeys(by_depth["metric"]), key=lambda metric: metric == "running_error_pct")
    numbers = []
    for metric in metrics:
        numbers.append(Column(f"{METRICS[metric]} (%)", metric, lambda error: number(error["mean"])))
        numbers.append(Column("95 % interval", metric, lambda error: interval(error["low"], error["high"])))
        if metric == "test_error_pct":
            numbers.append(Column("noise floor (points)", metric, lambda error: number(error["noise_floor"])))
    words = [*NET]
    if by_depth["failed"].any():
        words.append(Column("fails to train", ("outcome", "failed", "n"), _failed))
        if fails_above_pct is None:
            words[-1] = Column("did not train", ("failed", "n"), "{} of {}".format)
    rows = []
    for net, cell in grouped(by_depth, ["group", "depth", "twin"]):
        first = {key: cell[key].iloc[0] for key in ("outcome", "failed", "n")} | {"most_seeds": cell["n"].max()}
        rows.append(net | first | cell.set_index("metric").reindex(metrics).to_dict("index"))
    caption = "Errors after the last iteration, means over seeds"
    return Table.of(rows, caption, words, [*numbers, Column("seeds", "most_seeds")])


def _failed(outcome: str, failed: int, seeds: int) -> str:
    """Say whether a net fails to train, and in how many seeds it does."""
    verdict = {FAILS: "yes", TRAINS: "no"}.get(outcome, "undecided")
    return f"{verdict}, {failed} of {seeds}"


def trends(table: pd.DataFrame, margin: float) -> Table:
    """Tabulate what every verdict on a trend rests on."""
    words = (_FAMILY, _TWIN, _METRIC, _VERDICT)
    numbers = (
        Column("deepest - shallowest", "difference", points),
        _INTERVAL,
        _HOLM,
        SEEDS,
        _seeds_for(margin),
        _P,
        Column("Page's p, rises", "page_p_rises", p_value),
        Column("Page's p, falls", "page_p_falls", p_value),
        _BOOTSTRAP,
        Column("slope per layer", "slope", lambda slope: number(slope, 3)),
        Column("95 % interval", ("slope_low", "slope_high"), lambda low, high: apart(low, high, 3)),
    )
    return Table.of(table, f"Trends over depth, in points, paired by seed; {_UNCORRECTED}", words, numbers)


def comparisons(table: pd.DataFrame, margin: float) -> Table:
    """Tabulate differences between twins and, where any was tested, verdicts; the running error is in the data.

    What was not tested has no p.
    """
    tested = bool((table["verdict"] != NOT_TESTED).any())
    words = [_FAMILY, Column("depth", ("depth_twin", "depth_other"), _both), _DIFFERENCE, _METRIC]
    numbers = [Column("points", "difference", points), _INTERVAL]
    if tested:
        words.append(_VERDICT)
        numbers.append(_HOLM)
    numbers += [SEEDS, _seeds_for(margin), _P, _BOOTSTRAP]
    shown = table[table["metric"] != "running_error_pct"]
    note = _UNCORRECTED if tested else "not tested, as no claim is about them"
    return Table.of(shown, f"Differences between twins, in points, paired by seed; {note}", words, numbers)


def agreements(table: pd.DataFrame, margin: float) -> Table:
    """Tabulate what every verdict on an agreement rests on."""
    words = (_FAMILY, _DEPTH, _DIFFERENCE, _METRIC, _VERDICT)
    numbers = (Column("points", "difference", points), _INTERVAL, SEEDS, _seeds_for(margin), _BOOTSTRAP)
    return Table.of(table, "Agreement of twins, in points, paired by seed", words, numbers)


def drift(table: pd.DataFrame) -> Table:
    """Tabulate how far loss traces lie apart: at the first evaluation, at the last, and where it is furthest."""
    rows = []
    for _, cell in table.groupby(["group", "depth", "twin", "other"], sort=False):
        places = {"first": cell.index[0], "furthest apart": cell["largest"].idxmax(), "last": cell.index[-1]}
        if not cell["largest"].any():
            del places["furthest apart"]
        for place in sorted({*places.values()}):
            evaluation = ", ".join(name for name, at in places.items() if at == place)
            rows.append(cell.loc[place].to_dict() | {"evaluation": evaluation})
    twins = Column("twins", ("twin", "other"), "{} and {}".format)
    words = (_FAMILY, _DEPTH, twins, Column("evaluation", "evaluation"))
    numbers = (
        Column("iteration", "iteration", "{:,}".format),
        Column("median", "median", power),
        Column("largest", "largest", power),
        Column("between two seeds", "between_seeds", power),
        SEEDS,
    )
    caption = "Difference between the loss traces as a share of the loss; every evaluation is in the data"
    return Table.of(rows, caption, words, numbers)


def claims(table: pd.DataFrame) -> Table:
    """Tabulate what the study expected and what the records say."""
    words = (_FAMILY, Column("claim", claim), _VERDICT, Column("result", "result", _MARKS.__getitem__))
    return Table.of(table, "What the study expects, and what was found", words, (SEEDS,))


def results(table: pd.DataFrame) -> list[str]:
    """Say what became of each claim, a line per claim, for a terminal."""
    return [f"{row['group']}: {claim(row)}: {_MARKS[row['result']]}{why(row)}" for row in table.to_dict("records")]


def why(row: Mapping[Any, Any]) -> str:
    """Say why what a claim is about cannot be judged; empty where it can."""
    return f", as nets {LOST[row['verdict']]}" if row.get("verdict") in LOST else ""


def corrected(row: Mapping[Any, Any]) -> str:
    """Say why nothing is decided though the interval excludes 0; empty where that is not so.

    The interval is of a difference alone, and what decides is its p after correction for all tests of the study.
    """
    excludes = row.get("low", 0) * row.get("high", 0) > 0
    return f", p {p_value(row['p_holm'])} corrected" if row["verdict"] == INCONCLUSIVE and excludes else ""


def says(row: Mapping[Any, Any]) -> str:
    """Say what a study claims in its own words, or else in those of its statement."""
    return str(row["says"]) if row.get("says") else claim(row)


def instead(row: Mapping[Any, Any], margin: float) -> str:
    """Say what was found instead of a contradicted claim; of several depths, what holds at one at least.

    Args:
        row: of the table of claims.
        margin: the points within which twins agree.
    """
    (key, value), verdict = _statement(row), row["verdict"]
    error = f"{METRICS[row['metric']]} of {row['twin']}"
    match verdict:
        case "agree":
            text = f"{error} is within {count(margin, 'point')} of that of {value}"
        case "differ":
            text = f"{error} differs from that of {value}"
        case "more":
            text = f"{error} is more than {value:g} %"
        case _:
            found = {"fails": {"fails": verdict == FAILS}, "above": {verdict: value}, "below": {verdict: value}}
            text = claim(
                {key: cell for key, cell in row.items() if key not in STATEMENTS} | found.get(key, {key: verdict})
            )
    return f"at some depth, {text}" if row["of"] > 1 else text


def _statement(row: Mapping[Any, Any]) -> tuple[str, Any]:
    """Return which of `STATEMENTS` a claim makes, and its value."""
    return next((key, row[key]) for key in STATEMENTS if key in row and not pd.isna(row[key]))


def claim(row: Mapping[Any, Any]) -> str:
    """Say what a study claims."""
    key, value = _statement(row)
    text = f"{METRICS[row['metric']]} of {row['twin']} "
    match key:
        case "trend":
            text += _TRENDS[value]
        case "agrees_with":
            text += f"agrees with that of {value}"
        case "above" | "below":
            text += f"is {key} that of {value}"
        case "at_most":
            text += f"is at most {value:g} %"
        case "gradients":
            text = f"gradients of {row['twin']} {FLOWS[value]}"
        case _:
            text = f"{row['twin']} {'fails to train' if value else 'trains'}"
            text += "" if row["metric"] == "train_error_pct" else f", by its {METRICS[row['metric']]}"
    return f"{text}, where {row['where']}" if row.get("where") else text


def paper(table: pd.DataFrame) -> Table:
    """Tabulate published values beside ours."""
    words = (*NET, _METRIC, Column("source", "source"))
    numbers = (
        Column("paper (%)", "paper", published),
        Column("ours (%)", "mean", partial(number, decimals=PUBLISHED)),
        Column("95 % interval", ("low", "high"), partial(interval, decimals=PUBLISHED)),
        Column("difference", "difference", partial(points, decimals=PUBLISHED)),
        SEEDS,
        _READING,
    )
    return Table.of(table, "Published values beside ours: whether they lie inside our 95 % interval", words, numbers)


def across_scales(table: pd.DataFrame) -> Table:
    """Tabulate how twins differ in published values of other data, and in ours.

    A result of ours that stands beside several published values is written once: it is a single result.
    """
    rows = []
    for _, cell in table.groupby(["twin", "other", "metric", "group", "depth"], sort=False, dropna=False):
        first, *others = cell.to_dict("records")
        rows += [first | _ours(first), *(row | dict.fromkeys(_OURS, "as above") for row in others)]
    words = (
        _TWIN,
        Column("against", "other", lambda other: "-" if pd.isna(other) else other),
        _METRIC,
        Column("source", "source"),
        Column("published", _published_net),
        Column("ours", lambda row: f"{row['group']}, {depths(row['depth_twin'], row['depth_other'])}"),
        _READING,
    )
    numbers = (
        Column("paper (%)", _published_values),
        Column("paper's difference", _published_difference),
        *(Column(head, head) for head in _OURS),
        SEEDS,
    )
    caption = "Published values of other data beside ours; readings compare the direction of differences, in points"
    return Table.of(rows, caption, words, numbers)


def depths(twin: float, other: float) -> str:
    """Name the depth of a net, or those of two that are compared."""
    return f"depth {twin:.0f}" if pd.isna(other) or twin == other else f"depth {twin:.0f} against {other:.0f}"


def growth(table: pd.DataFrame) -> Table:
    """Tabulate what growing changed in the nets that were grown."""
    words = (_FAMILY, Column("depth", ("depth_before", "depth"), "{} to {}".format), _TWIN)
    numbers = (
        Column("at iteration", "iteration", "{:,}".format),
        Column("largest change of a logit", "largest_difference", power),
        Column("training error before (%)", "train_error_before_pct", "{:.2f}".format),
        Column("after (%)", "train_error_after_pct", "{:.2f}".format),
        SEEDS,
    )
    caption = "Nets before and after growing; the largest change of a logit is over all training images and seeds"
    return Table.of(table, caption, words, numbers)


def _both(depth: object, other: object) -> str:
    """Write the depth of two twins, as 20, or as 20/56 where they differ."""
    return str(depth) if depth == other else f"{depth}/{other}"


def _published_net(row: Mapping[Any, Any]) -> str:
    """Name the data and the depth of published values, and their family where ours is another."""
    family = f"{row['paper_family']} family, " if row["paper_family"] != row["family"] else ""
    return f"{row['data']}, {family}{depths(row['paper_depth'], row['paper_depth_other'])}"


def _published_values(row: Mapping[Any, Any]) -> str:
    """Write a published value, or the two that are compared."""
    if pd.isna(row["other"]):
        return published(row["paper"])
    return f"{published(row['paper'])} against {published(row['paper_other'])}"


def _published_difference(row: Mapping[Any, Any]) -> str:
    """Write the difference of published values: to two decimals, since that is how they are published."""
    if pd.isna(row["other"]) or FAILS in {row["paper"], row["paper_other"]}:
        return "-"
    return f"{round(row['paper'] - row['paper_other'], PUBLISHED) + 0.0:+.{PUBLISHED}f}"


def _ours(row: Mapping[Any, Any]) -> dict[str, str]:
    """Write our errors, their difference and its interval, by their heads."""
    if pd.isna(row["other"]):
        cells = (number(row["mean"]), "-", "-")
    else:
        mean, other = row["mean"], row["other_mean"]
        decimals = decimals_adding(mean, other)
        errors = f"{number(mean, decimals)} against {number(other, decimals)}"
        cells = (errors, difference(mean, other, decimals), apart(row["low"], row["high"], decimals))
    return dict(zip(_OURS, cells, strict=True))


def _seeds_for(margin: float) -> Column:
    """Give the seeds that it takes to detect a difference of this size a column."""
    head = f"seeds needed to detect {count(margin, 'point')}"
    return Column(head, "seeds_for", lambda seeds: f"{seeds:,.0f}" if math.isfinite(seeds) else "-")
