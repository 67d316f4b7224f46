"""What was found inside the nets, in words and rows: whether gradients vanish, figures, precise statistics."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from deeptwins.pages.study.descriptions import described
from deeptwins.pages.study.tables import FLOWS
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count, interval, listed, of_group, points

_SOMETIMES, _GROWN = "sometimes vanish", "are not judged"
_OPEN = {
    # What the interval does not exclude: that they vanish, that they explode.
    (True, False): "may vanish but do not explode",
    (False, True): "may explode but do not vanish",
    (True, True): "may or may not vanish or explode",
}
_ORDER = (FLOWS["vanish"], FLOWS["explode"], _SOMETIMES, *_OPEN.values(), FLOWS["healthy"], _GROWN)
_CLOSED = (
    "The weights of a branch have a gradient as small as what the branch is multiplied by, however large the one that"
    " arrives: where the last branches started at 0 and are still near it, the ratio is large, and nothing explodes."
)
_NAMED = 2  # twins of which there is nothing special to say, at most
_RATIO = " times as large in the first tenth of the layers as in the last"


def flow(gradient_flow: pd.DataFrame) -> list[str]:
    """Say in one sentence a family whether the gradients of its deepest nets reach their first layers."""
    words = [_said(row) for row in gradient_flow.to_dict("records")]
    sentences = []
    for group, nets in gradient_flow.assign(said=words).groupby("group", sort=False):
        clauses: list[str] = []
        for said in _ORDER:
            rows = nets[nets["said"] == said]
            if rows.empty:
                continue
            twins = listed(list(rows["twin"]))
            if said == FLOWS["healthy"] and len(rows) > _NAMED:
                twins = f"{'all' if len(rows) == len(nets) else 'the other'} {count(len(rows), 'twin')}"
            sizes = _sizes(rows, "" if any(_RATIO in clause for clause in clauses) else _RATIO)
            why = ", to which layers were added that pass on what arrives" if said == _GROWN else ""
            clauses.append(f"{said} in {twins}{why} ({sizes})")
        sentences.append(of_group(group, gradient_flow["group"], f"gradients {'; they '.join(clauses)}."))
    return sentences


def closed(gradient_flow: pd.DataFrame) -> str:
    """Warn of what looks like gradients that explode, and is none, where a ratio says that they do or may; else ''."""
    large = gradient_flow["may_explode"] & (gradient_flow["zeros"] == 0) & (gradient_flow["n"] > 1)
    return _CLOSED if large.any() else ""


def flows(gradient_flow: pd.DataFrame) -> Table:
    """Tabulate what the sentences on gradients rest on."""
    rows = [
        [
            row["group"],
            str(row["depth"]),
            row["twin"],
            "not judged: grown" if row["grown"] else _said(row),
            _zeros(row) if row["zeros"] else _short(row["ratio"]),
            "-" if pd.isna(row["low"]) else f"{_short(row['low'])} to {_short(row['high'])}",
            f"{_short(row['lowest'])} to {_short(row['highest'])}",
            _short(row["least"]),
            f"{row['least_at']:,}",
            str(row["n"]),
        ]
        for row in gradient_flow.to_dict("records")
    ]
    heads = ("family", "depth", "twin", "gradients", "ratio", "95 % interval", "of single seeds", "least")
    caption = "Gradient norms of the deepest nets: the ratio of the first tenth of the layers to the last"
    return Table(caption, (*heads, "at iteration", "seeds"), rows, 4)


def _said(row: Mapping[Hashable, Any]) -> str:
    """Say what gradients do."""
    if row["grown"]:
        return _GROWN
    if row["verdict"] in FLOWS:
        return FLOWS[row["verdict"]]
    return _SOMETIMES if row["zeros"] else _OPEN[row["may_vanish"], row["may_explode"]]


def _sizes(rows: pd.DataFrame, of: str) -> str:
    """Write the least and the largest of some ratios, and what they are of; or in how many seeds they are 0."""
    ratios = rows.loc[rows["zeros"] == 0, "ratio"]
    sizes = [_zeros(row, " in the first tenth of the layers") for row in rows.to_dict("records") if row["zeros"]]
    if len(ratios):
        sizes.insert(0, " to ".join(dict.fromkeys(map(_short, (ratios.min(), ratios.max())))) + of)
    return ", ".join(sizes)


def _zeros(row: Mapping[Hashable, Any], where: str = "") -> str:
    return f"exactly 0{where} in {row['zeros']} of {count(row['n'], 'seed')}"


def _short(value: float) -> str:
    """Write a positive number to two digits."""
    return f"{float(f'{value:.2g}'):,g}" if math.isfinite(value) else "-"


def precise(precise: pd.DataFrame) -> Table:
    """Tabulate test errors with running and with precise statistics."""
    rows = [
        [
            row["group"],
            str(row["depth"]),
            row["twin"],
            *(f"{row[key]:.1f}" for key in ("running_pct", "precise_pct")),
            points(row["difference"]),
            interval(row["low"], row["high"]),
            str(row["n"]),
        ]
        for row in precise.to_dict("records")
    ]
    heads = ("family", "depth", "twin", "running (%)", "precise (%)", "difference (points)", "95 % interval", "seeds")
    return Table("Test error with running and with precise statistics, paired by seed", heads, rows, 3)


def responses(responses: pd.DataFrame) -> str:
    """Describe the figure of the layer responses."""
    numbers = _over_places(responses, "response_std")
    return f"Standard deviation of each layer's response, in order and ranked; median over layers: {numbers}"


def branches(branches: pd.DataFrame) -> str:
    """Describe the figure of the branches' shares."""
    numbers = _over_places(branches, "branch_share")
    return f"Norm of each block's branch as a share of its input's; median over blocks: {numbers}"


def gradients(gradients: pd.DataFrame) -> str:
    """Describe the figure of the gradients."""
    lines = []
    for (group, twin, depth), cell in gradients.groupby(["group", "twin", "depth"], sort=False):
        last = cell[cell["iteration"] == cell["iteration"].max()]
        first, *_, end = last.sort_values("layer")["norm"]
        lines.append(f"{group}, {twin}, depth {depth}: {_short(first)} in its first layer, {_short(end)} in its last")
    text = "L2 norm of the gradient of each layer at some evaluations, on a log scale; at the last evaluation: "
    return f"{text}{'; '.join(lines)}."


def running_statistics(statistics: pd.DataFrame) -> str:
    """Describe the figure of running statistics against precise ones."""
    deepest = statistics[statistics["depth"] == statistics.groupby(["group", "twin"])["depth"].transform("max")]
    numbers = _over_places(deepest, "running_mean_error")
    return f"Error of running means and standard deviations by layer; of means, median over layers: {numbers}"


def _over_places(table: pd.DataFrame, value: str) -> str:
    """Read out the median of each net over its layers or blocks."""
    medians = table.groupby(["group", "twin", "depth"], sort=False)[value].median().reset_index()
    return described(medians, value, _short)
