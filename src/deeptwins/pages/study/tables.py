"""From findings to tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, get_args

import pandas as pd

from deeptwins.findings.rows import NOT_TESTED
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import apart, count, interval, number, p_value, points, power, published
from deeptwins.study.claims import FAILS, STATEMENTS, Metric

METRICS = dict(
    zip(get_args(Metric), ("training error", "running training error", "validation error", "test error"), strict=True)
)
FLOWS = {"vanish": "vanish", "explode": "explode", "healthy": "neither vanish nor explode"}
_TRENDS = {"rises": "rises", "falls": "falls", "flat": "stays flat"}
_MARKS = {"met": "✓ met", "contradicted": "✗ contradicted", "undecided": "? undecided"}


def errors(by_depth: pd.DataFrame) -> Table:
    """Tabulate the errors of every net, and which fail to train, if any does."""
    metrics = sorted(dict.fromkeys(by_depth["metric"]), key="running_error_pct".__eq__)  # that one last
    failing = bool(by_depth["failed"].any())
    rows = []
    for (group, depth, twin), cell in by_depth.groupby(["group", "depth", "twin"], sort=False):
        first = cell.iloc[0]
        row = [str(group), str(depth), str(twin)]
        row += [f"{first['outcome']}, {first['failed']} of {first['n']}"] if failing else []
        for metric, error in cell.set_index("metric").reindex(metrics).iterrows():
            row += [number(error["mean"]), interval(error["low"], error["high"])]
            row += [number(error["noise_floor"])] if metric == "test_error_pct" else []
        rows.append([*row, str(cell["n"].max())])
    names = ["family", "depth", "twin", *(["training fails, seeds"] if failing else [])]
    heads = []
    for metric in metrics:
        heads += [f"{METRICS[metric]} (%)", "95 % interval"]
        heads += ["noise floor (points)"] if metric == "test_error_pct" else []
    return Table("Errors after the last iteration, mean over seeds", (*names, *heads, "seeds"), rows, len(names))


def trends(table: pd.DataFrame, margin: float) -> Table:
    """Tabulate what every verdict on a trend rests on."""
    rows = [
        [
            *(row[key] for key in ("group", "twin")),
            METRICS[row["metric"]],
            row["verdict"],
            points(row["difference"]),
            apart(row["low"], row["high"]),
            p_value(row["p_holm"]),
            str(row["n"]),
            _seeds(row["seeds_for"]),
            *(p_value(row[key]) for key in ("p", "page_p_rises", "page_p_falls")),
            apart(row["bootstrap_low"], row["bootstrap_high"]),
            number(row["slope"], 3),
            apart(row["slope_low"], row["slope_high"], 3),
        ]
        for row in table.to_dict("records")
    ]
    heads = ("family", "twin", "metric", "verdict", "deepest minus shallowest", "95 % interval", "p, Holm", "seeds")
    more = ("p", "Page's p, rises", "Page's p, falls", "bootstrap interval", "slope a layer", "95 % interval")
    return Table("Trends over depth, in points, paired by seed", (*heads, _seeds_for(margin), *more), rows, 4)


def comparisons(table: pd.DataFrame, margin: float) -> Table:
    """Tabulate differences between twins and, where any was tested, verdicts; the running error is in the data."""
    tested = bool((table["verdict"] != NOT_TESTED).any())
    rows = [
        [
            row["group"],
            "/".join(dict.fromkeys(str(row[key]) for key in ("depth_twin", "depth_other"))),
            row["twin"],
            row["other"],
            METRICS[row["metric"]],
            *([row["verdict"]] if tested else []),
            points(row["difference"]),
            apart(row["low"], row["high"]),
            *([p_value(row["p_holm"])] if tested else []),
            str(row["n"]),
            _seeds(row["seeds_for"]),
            p_value(row["p"]),
            apart(row["bootstrap_low"], row["bootstrap_high"]),
        ]
        for row in table[table["metric"] != "running_error_pct"].to_dict("records")
    ]
    heads = ["family", "depth", "twin", "minus", "metric", *(["verdict"] if tested else [])]
    numbers = ["points", "95 % interval", *(["p, Holm"] if tested else []), "seeds", _seeds_for(margin)]
    caption = "Differences between twins, in points, paired by seed"
    return Table(caption, (*heads, *numbers, "p", "bootstrap interval"), rows, len(heads))


def agreements(table: pd.DataFrame, margin: float) -> Table:
    """Tabulate what every verdict on an agreement rests on."""
    rows = [
        [
            row["group"],
            str(row["depth"]),
            row["twin"],
            row["other"],
            METRICS[row["metric"]],
            row["verdict"],
            points(row["difference"]),
            apart(row["low"], row["high"]),
            str(row["n"]),
            _seeds(row["seeds_for"]),
            apart(row["bootstrap_low"], row["bootstrap_high"]),
        ]
        for row in table.to_dict("records")
    ]
    heads = ("family", "depth", "twin", "minus", "metric", "verdict", "points", "95 % interval", "seeds")
    caption = "Agreement of twins, in points, paired by seed"
    return Table(caption, (*heads, _seeds_for(margin), "bootstrap interval"), rows, 6)


def drift(table: pd.DataFrame) -> Table:
    """Tabulate how far loss traces lie apart: at the first evaluation, at the last, and where it is furthest."""
    rows = []
    for (group, depth, twin, other), cell in table.groupby(["group", "depth", "twin", "other"], sort=False):
        places = {"first": cell.index[0], "furthest apart": cell["largest"].idxmax(), "last": cell.index[-1]}
        if not cell["largest"].any():
            del places["furthest apart"]
        for i, row in cell.loc[sorted({*places.values()})].iterrows():
            evaluation = ", ".join(name for name, place in places.items() if place == i)
            numbers = [power(row[key]) for key in ("median", "largest", "between_seeds")]
            words = [str(group), str(depth), f"{twin} and {other}", evaluation]
            rows.append([*words, f"{row['iteration']:,}", *numbers, str(row["n"])])
    heads = ("family", "depth", "twins", "evaluation", "iteration", "median", "largest", "between two seeds", "seeds")
    return Table(
        "Difference of the loss traces, as a share of the loss; every evaluation is in the data", heads, rows, 4
    )


def claims(table: pd.DataFrame) -> Table:
    """Tabulate what the study expected and what the records say."""
    rows = [
        [row["group"], claim(row), row["verdict"], _MARKS[row["result"]], str(row["n"])]
        for row in table.to_dict("records")
    ]
    heads = ("family", "claim", "verdict", "result", "seeds")
    return Table("What the study expects, and what the records say", heads, rows, 4)


def claim(row: Mapping[Hashable, Any]) -> str:
    """Say what a study claims."""
    key, value = next((key, row[key]) for key in STATEMENTS if key in row and not pd.isna(row[key]))
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
    rows = [
        [
            row["group"],
            str(row["depth"]),
            row["twin"],
            METRICS[row["metric"]],
            row["source"],
            published(row["paper"]),
            number(row["mean"]),
            interval(row["low"], row["high"]),
            points(row["difference"]),
            str(row["n"]),
            row["reading"],
        ]
        for row in table.to_dict("records")
    ]
    heads = ("family", "depth", "twin", "metric", "source", "paper (%)", "ours (%)", "95 % interval", "difference")
    caption = "Published values beside ours, and whether they lie inside our interval"
    return Table(caption, (*heads, "seeds", "reading"), rows, 5)


def across_scales(table: pd.DataFrame) -> Table:
    """Tabulate how twins differ in published values of other data, and in ours.

    What stands beside several published values is written once: it is no second result.
    """
    rows = []
    for _, cell in table.groupby(["twin", "other", "metric", "group", "depth"], sort=False, dropna=False):
        for i, row in enumerate(cell.to_dict("records")):
            alone = pd.isna(row["other"])
            family = f"family {row['paper_family']}, " if row["paper_family"] != row["family"] else ""
            there = depths(row["paper_depth"], row["paper_depth_other"])
            words = [row["twin"], "-" if alone else row["other"], METRICS[row["metric"]], row["source"]]
            words += [f"{row['data']}, {family}{there}"]
            words += [f"{row['group']}, {depths(row['depth_twin'], row['depth_other'])}", row["reading"]]
            ours = ["as above"] * 3 if i else _ours(row)
            rows.append([*words, *_theirs(row), *ours, str(row["n"])])
    heads = ("twin", "against", "metric", "source", "published", "ours", "reading")
    numbers = ("paper (%)", "paper's difference", "ours (%)", "our difference", "95 % interval", "seeds")
    caption = "Published values of other data beside ours, and whether differences (in points) have the same direction"
    return Table(caption, (*heads, *numbers), rows, len(heads))


def depths(twin: float, other: float) -> str:
    """Name the depth of a net, or those of two that are compared."""
    return f"depth {twin:.0f}" if pd.isna(other) or twin == other else f"depth {twin:.0f} against {other:.0f}"


def growth(table: pd.DataFrame) -> Table:
    """Tabulate what growing changed in the nets that were grown."""
    rows = [
        [
            row["group"],
            f"{row['depth_before']} to {row['depth']}",
            row["twin"],
            f"{row['iteration']:,}",
            power(row["largest_difference"]),
            *(f"{row[f'train_error_{when}_pct']:.2f}" for when in ("before", "after")),
            str(row["n"]),
        ]
        for row in table.to_dict("records")
    ]
    heads = ("family", "depth", "twin", "at iteration", "largest change of a logit", "training error before (%)")
    caption = "Nets before and after they were grown; the largest change over all training images and seeds"
    return Table(caption, (*heads, "after (%)", "seeds"), rows, 3)


def _theirs(row: Mapping[Hashable, Any]) -> list[str]:
    """Write published values, and their difference: to two decimals, since that is how they are published."""
    if pd.isna(row["other"]):
        return [published(row["paper"]), "-"]
    values = [row["paper"], row["paper_other"]]
    difference = "-" if FAILS in values else f"{round(values[0] - values[1], 2) + 0.0:+.2f}"
    return [" against ".join(map(published, values)), difference]


def _ours(row: Mapping[Hashable, Any]) -> list[str]:
    """Write our errors, their difference and its interval."""
    if pd.isna(row["other"]):
        return [number(row["mean"]), "-", "-"]
    errors = f"{number(row['mean'])} against {number(row['other_mean'])}"
    return [errors, points(row["difference"]), apart(row["low"], row["high"])]


def _seeds(needed: float) -> str:
    return f"{needed:,.0f}" if math.isfinite(needed) else "-"


def _seeds_for(margin: float) -> str:
    return f"seeds to see {count(margin, 'point')}"
