"""From findings inside the nets to sentences and tables: whether gradients vanish, and precise statistics."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from deeptwins.pages.study.tables import FLOWS, NET, SEEDS
from deeptwins.pages.tables import Column, Table, span
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
_NAMED = 2  # twins whose gradients are healthy are named up to this number; of more, the number is given
_RATIO = " times as large in the first tenth of the layers as in the last"


def flow(gradient_flow: pd.DataFrame) -> list[str]:
    """Say in one sentence per family whether the gradients of its deepest nets reach their first layers."""
    table = gradient_flow.assign(behaviour=[_behaviour(row) for row in gradient_flow.to_dict("records")])
    sentences = []
    for group, nets in table.groupby("group", sort=False):
        clauses: list[str] = []
        for behaviour in _ORDER:
            rows = nets[nets["behaviour"] == behaviour]
            if rows.empty:
                continue
            twins = listed(list(rows["twin"]))
            if behaviour == FLOWS["healthy"] and len(rows) > _NAMED:
                twins = f"{'all' if len(rows) == len(nets) else 'the other'} {count(len(rows), 'twin')}"
            # What a ratio is of is said once in a sentence.
            sizes = _sizes(rows, "" if any(_RATIO in clause for clause in clauses) else _RATIO)
            why = ", to which layers were added that pass on what arrives" if behaviour == _GROWN else ""
            clauses.append(f"{behaviour} in {twins}{why} ({sizes})")
        sentences.append(of_group(group, table["group"], f"gradients {'; they '.join(clauses)}."))
    return sentences


def closed(gradient_flow: pd.DataFrame) -> list[str]:
    """Warn where a ratio suggests that gradients explode, but branches that are nearly closed may be the reason."""
    large = gradient_flow["may_explode"] & (gradient_flow["zeros"] == 0) & (gradient_flow["n"] > 1)
    return [_CLOSED] if large.any() else []


def flows(gradient_flow: pd.DataFrame) -> Table:
    """Tabulate what the sentences on gradients rest on."""
    gradients = Column("gradients", lambda row: "not judged: grown" if row["grown"] else _behaviour(row))
    numbers = (
        Column("ratio", lambda row: _zeros(row) if row["zeros"] else two_digits(row["ratio"])),
        Column("95 % interval", ("low", "high"), lambda low, high: "-" if pd.isna(low) else _range(low, high)),
        Column("of single seeds", ("lowest", "highest"), _range),
        Column("least", "least", two_digits),
        Column("at iteration", "least_at", "{:,}".format),
        SEEDS,
    )
    caption = "Gradient norms of the deepest nets: the ratio of the first tenth of the layers to the last"
    return Table.of(gradient_flow, caption, (*NET, gradients), numbers)


def precise(precise: pd.DataFrame) -> Table:
    """Tabulate test errors with running and with precise statistics."""
    numbers = (
        Column("running (%)", "running_pct", "{:.1f}".format),
        Column("precise (%)", "precise_pct", "{:.1f}".format),
        Column("difference (points)", "difference", points),
        Column("95 % interval", ("low", "high"), interval),
        SEEDS,
    )
    return Table.of(precise, "Test error with running and with precise statistics, paired by seed", NET, numbers)


def two_digits(value: float) -> str:
    """Write a positive number to two digits."""
    return f"{float(f'{value:.2g}'):,g}" if math.isfinite(value) else "-"


def _range(low: float, high: float) -> str:
    return f"{two_digits(low)} to {two_digits(high)}"


def _behaviour(row: Mapping[Hashable, Any]) -> str:
    """Say what the gradients of a net do."""
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
        sizes.insert(0, span(ratios, two_digits) + of)
    return ", ".join(sizes)


def _zeros(row: Mapping[Hashable, Any], where: str = "") -> str:
    return f"exactly 0{where} in {row['zeros']} of {count(row['n'], 'seed')}"
