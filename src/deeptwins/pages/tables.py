"""What pages have in rows: plain text, which the templates escape."""

from __future__ import annotations

from dataclasses import dataclass

SHARED = ("family", "depth", "minus", "against", "metric", "source", "published", "ours", "seeds")


@dataclass(frozen=True)
class Table:
    """Rows of text under a caption; the first `words` columns hold names, the others numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: list[list[str]]
    words: int


def shorten(table: Table) -> Table:
    """Leave out columns without a number, and those that say the same in all rows, which the caption then says.

    The latter are those in `SHARED`.
    """
    columns = list(zip(*table.rows, strict=True))
    full = [i for i, cells in enumerate(columns) if {*cells} != {"-"}] if columns else range(len(table.columns))
    named = {table.columns[i]: i for i in full}
    several = len(table.rows) > 1
    same = [named[name] for name in SHARED if several and name in named and len({*columns[named[name]]}) == 1]
    kept = [i for i in full if i not in same]
    told = "; ".join(f"{table.columns[i]} {columns[i][0]}" for i in same)
    return Table(
        f"{table.caption}. The same in all rows: {told}" if told else table.caption,
        tuple(table.columns[i] for i in kept),
        [[row[i] for i in kept] for row in table.rows],
        sum(i < table.words for i in kept),
    )
