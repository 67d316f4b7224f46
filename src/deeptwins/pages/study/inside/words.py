"""From findings inside the nets to sentences and tables: whether gradients vanish, and precise statistics."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from deeptwins.pages.study.tables import FLOWS, NET, SEEDS
from deeptwins.pages.tables import Column, Table, span
from deeptwins.pages.wording import (
    cannot_tell,
    capital,
    count,
    decimals_adding,
    difference,
    interval,
    listed,
    number,
    of_group,
)

_GROWN = "are not judged"
_UNDECIDED = "undecided"
_ORDER = (FLOWS["vanish"], FLOWS["explode"], FLOWS["healthy"], _GROWN)
_CLOSED = (
    "A large ratio need not mean that gradients explode. The gradient of a branch's weights is proportional to the"
    " factor that multiplies the branch. In the last branches this factor started at 0 and may still be near 0: then"
    " their gradients are small."
)
_NAMED = 2  # twins whose gradients are healthy are named up to this number; of more, the number is given
_RATIO = " times as large in the first tenth of the layers as in the last"


def flow(gradient_flow: pd.DataFrame) -> list[str]:
    """Say in a paragraph per family whether the gradients of its deepest nets reach their first layers."""
    table = gradient_flow.assign(behaviour=[_behaviour(row) for row in gradient_flow.to_dict("records")])
    paragraphs = []
    for group, nets in table.groupby("group", sort=False):
        parts: list[tuple[str, pd.DataFrame]] = []  # each with the nets that it is about
        for behaviour in _ORDER:
            rows = nets[nets["behaviour"] == behaviour]
            if rows.empty:
                continue
            twins = listed(list(rows["twin"]))
            if behaviour == FLOWS["healthy"] and len(rows) > _NAMED:
                twins = f"{'all ' if len(rows) == len(nets) else f'{len(rows)} of '}{count(len(nets), 'twin')}"
            why = ", as the layers added to them compute the identity at first" if behaviour == _GROWN else ""
            parts.append((f"gradients {behaviour} in {twins}{why}", rows))
        for (_, what), rows in _undecided(nets).groupby(["n", "open"], sort=False):
            parts.append(
                (f"{cannot_tell(rows['n'].iloc[0])} whether gradients {what} in {listed(list(rows['twin']))}", rows)
            )
        # What a ratio is of is said once in a paragraph.
        first = next((i for i, (_, rows) in enumerate(parts) if (rows["zeros"] == 0).any()), 0)
        sentences = [f"{text} ({_sizes(rows, _RATIO if i == first else '')})" for i, (text, rows) in enumerate(parts)]
        text = ". ".join([sentences[0], *map(capital, sentences[1:])])
        paragraphs.append(of_group(group, table["group"], f"{text}."))
    return paragraphs


def _undecided(nets: pd.DataFrame) -> pd.DataFrame:
    """Return the nets of which nothing is decided, and what is `open`: that gradients vanish, or explode, or either."""
    rows = nets[nets["behaviour"] == _UNDECIDED]
    kinds = {"may_vanish": "vanish", "may_explode": "explode"}
    may = (" or ".join(word for key, word in kinds.items() if row[key]) for row in rows.to_dict("records"))
    return rows.assign(open=list(may))


def closed(gradient_flow: pd.DataFrame) -> list[str]:
    """Warn where a ratio suggests that gradients explode, but branches multiplied by nearly 0 may be the reason."""
    large = gradient_flow["may_explode"] & (gradient_flow["zeros"] == 0) & (gradient_flow["n"] > 1)
    return [_CLOSED] if large.any() else []


def flows(gradient_flow: pd.DataFrame) -> Table:
    """Tabulate what the sentences on gradients rest on."""
    gradients = Column("gradients", lambda row: "not judged: grown" if row["grown"] else _behaviour(row))
    numbers = (
        Column("ratio", lambda row: _zeros(row) if row["zeros"] else two_digits(row["ratio"])),
        Column("95 % interval", ("low", "high"), lambda low, high: "-" if pd.isna(low) else _range(low, high)),
        Column("single seeds", ("lowest", "highest"), _range),
        Column("lowest over training", "least", two_digits),
        Column("at iteration", "least_at", "{:,}".format),
        SEEDS,
    )
    caption = (
        "Gradient norms in the deepest nets: first tenth of the layers divided by last tenth. A layer has its median"
        " over the evaluations; the ratio is the geometric mean over seeds"
    )
    return Table.of(gradient_flow, caption, (*NET, gradients), numbers)


def precise(precise: pd.DataFrame) -> Table:
    """Tabulate test errors with running and with precise statistics."""
    shown = precise.assign(decimals=list(map(decimals_adding, precise["precise_pct"], precise["running_pct"])))
    numbers = (
        Column("running (%)", ("running_pct", "decimals"), number),
        Column("precise (%)", ("precise_pct", "decimals"), number),
        Column("points", ("precise_pct", "running_pct", "decimals"), difference),
        Column("95 % interval", ("low", "high", "decimals"), interval),
        SEEDS,
    )
    caption = "Test error with running and with precise statistics, paired by seed; points: precise - running"
    return Table.of(shown, caption, NET, numbers)


def two_digits(value: float) -> str:
    """Write a positive number to two digits."""
    return f"{float(f'{value:.2g}'):,g}" if math.isfinite(value) else "-"


def _range(low: float, high: float) -> str:
    return f"{two_digits(low)} to {two_digits(high)}"


def _behaviour(row: Mapping[Hashable, Any]) -> str:
    """Say what the gradients of a net do."""
    if row["grown"]:
        return _GROWN
    return FLOWS.get(str(row["verdict"]), _UNDECIDED)


def _sizes(rows: pd.DataFrame, of: str) -> str:
    """Write the least and the largest of some ratios, and what they are of; or in how many seeds they are 0."""
    ratios = rows.loc[rows["zeros"] == 0, "ratio"]
    sizes = [_zeros(row, " in the first tenth of the layers") for row in rows.to_dict("records") if row["zeros"]]
    if len(ratios):
        sizes.insert(0, span(ratios, two_digits) + of)
    return ", ".join(sizes)


def _zeros(row: Mapping[Hashable, Any], where: str = "") -> str:
    return f"exactly 0{where} in {row['zeros']} of {count(row['n'], 'seed')}"
