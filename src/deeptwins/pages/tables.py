"""Tables of text on pages: every column is its head and how its cells are written. The templates escape the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import pandas as pd
from pandas.api.types import is_numeric_dtype

from deeptwins.errors import one_line
from deeptwins.pages.wording import count

# What a formula begins with; spreadsheets also take the wide forms of East Asian text.
FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
NUMBER = re.compile(r"-|[-+]?\d[\d.,]*(e[-+]?\d+)?( %)?( to [-+]?\d[\d.,]*( %)?)?")  # or numbers, or none
# Columns of which a caption says what is in all rows, and how.
SHARED: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("twin", "twins", "metric", "source"), str),
    **{head: f"{head} {{}}".format for head in ("family", "depth", "against")},
    **{head: f"{head}: {{}}".format for head in ("published", "ours")},
    "seeds": lambda seeds: count(int(seeds), "seed") if seeds.isdecimal() else f"seeds {seeds}",
}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    `values` names a column of the frame, or several, whose values `write` takes; or it computes one from the whole row.
    `Column("95 % interval", ("low", "high"), apart)` writes `apart(row["low"], row["high"])`.
    """

    head: str
    values: str | tuple[str, ...] | Callable[[Mapping[Any, Any]], object]
    write: Callable[..., str] = str

    def cell(self, row: Mapping[Any, Any]) -> str:
        """Write the cell of a row."""
        if callable(self.values):
            return self.write(self.values(row))
        names = (self.values,) if isinstance(self.values, str) else self.values
        return self.write(*(row[name] for name in names))


@dataclass(frozen=True)
class Table:
    """Rows of text under a caption; the first `words` columns hold names, the others numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: list[list[str]]
    words: int

    @classmethod
    def of(
        cls,
        rows: pd.DataFrame | Iterable[Mapping[Any, Any]],
        caption: str,
        words: Sequence[Column],
        numbers: Sequence[Column] = (),
    ) -> Self:
        """Write a table, a row per row of a frame.

        Args:
            rows: a frame, or its rows.
            caption: what stands above the table.
            words: the columns of names, which are flush left and come first.
            numbers: the columns of numbers, flush right.
        """
        records = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else list(rows)
        columns = (*words, *numbers)
        cells = [[column.cell(row) for column in columns] for row in records]
        return cls(caption, tuple(column.head for column in columns), cells, len(words))

    @classmethod
    def facts(cls, rows: Iterable[Sequence[str]], caption: str = "Where the numbers come from") -> Self:
        """Write facts, a name and a value per row."""
        return cls(caption, ("what", "value"), [[*row] for row in rows], 2)

    def columns_at(self, places: Sequence[int]) -> Self:
        """Return the table with only these columns."""
        return replace(
            self,
            columns=tuple(self.columns[i] for i in places),
            rows=[[row[i] for i in places] for row in self.rows],
            words=sum(i < self.words for i in places),
        )

    def without(self, *heads: str) -> Self:
        """Leave out columns, e.g. those that are too wide for a terminal."""
        return self.columns_at([i for i, head in enumerate(self.columns) if head not in heads])


def shorten(table: Table) -> Table:
    """Leave out columns without a number, and those of `SHARED` that say the same in all rows.

    What they say stands in the caption then.
    """
    cells = list(zip(*table.rows, strict=True))
    full = [i for i, column in enumerate(cells) if {*column} != {"-"}] if cells else range(len(table.columns))
    places = {table.columns[i]: i for i in full}
    several = len(table.rows) > 1
    same = {places[head]: head for head in SHARED if several and head in places and len({*cells[places[head]]}) == 1}
    names = {i for i in full if i < table.words}
    if names and names <= same.keys():
        del same[max(names)]  # a row keeps a name
    common = ", ".join(SHARED[head](cells[i][0]) for i, head in same.items())
    caption = f"{table.caption}. All rows: {common}." if common else table.caption
    return replace(table.columns_at([i for i in full if i not in same]), caption=caption)


def csv(table: pd.DataFrame, float_format: str | None = None) -> str:
    """Write a table as CSV. Text that a spreadsheet would take for a formula gets an apostrophe in front.

    Args:
        table: whose index is left out.
        float_format: as in pandas.
    """
    whole = table.rename(columns=_guarded)
    for name in whole:
        if not is_numeric_dtype(whole[name]):
            whole[name] = whole[name].map(_guarded)
    content: str = whole.to_csv(index=False, lineterminator="\n", float_format=float_format)
    return content


def _guarded(value: object) -> object:
    """Put text on one line, and keep what is not a number from being a formula."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(FORMULAS) and not NUMBER.fullmatch(text) else text


def span(values: pd.Series, write: Callable[[Any], str] = str) -> str:
    """Write the least and the largest of some values, or the one text where both are written alike."""
    return " to ".join(dict.fromkeys((write(values.min()), write(values.max()))))
