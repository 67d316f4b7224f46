"""A diff on a terminal, the answer first: tables where there is room for them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deeptwins.findings.comparisons import HEADLINE
from deeptwins.findings.contrast import APART, SAME
from deeptwins.pages.diff import tables, words
from deeptwins.pages.diff.facts import SHOWN, DiffFacts, spans
from deeptwins.pages.study.tables import METRICS

ROOM = 80  # columns of a table
KEY = 22  # of the column of names
LONGEST = 3  # lines of a cell
STAR = "*"
NUMBERS = "{:<20} {:>6} {:>6} {:>6} {:>18}  {}"
IN_WORDS = "{}: A {}, B {}, B - A {} ({}): {}"


def lines(facts: DiffFacts, columns: int) -> list[str]:
    """Write a diff as lines: tables as wide as the terminal, in words where it is too narrow; prose is not wrapped."""
    return [*(line.rstrip() for line in _lines(facts, columns)), ""]


def _lines(facts: DiffFacts, columns: int) -> Iterator[str]:
    yield words.answer(facts)
    yield from words.cautions(facts)
    yield ""
    for letter, side in facts.sides:
        frames = side.facts.frames
        yield f"{letter}  {side.name}: {frames.asked - frames.missing} of {frames.asked} runs"
    yield ""
    yield from words.verdict(facts)
    alike = facts.counts[SAME] == len(facts.headline)
    for metric in (HEADLINE,) if alike else SHOWN:
        yield from _nets(facts, metric, columns)
    yield from _two_sided("FIELD", tables.fields(facts), columns)
    yield from _two_sided("CLAIM", tables.claims(facts), columns)
    yield from _unpaired(facts)


def _nets(facts: DiffFacts, metric: str, columns: int) -> Iterator[str]:
    """Write the errors of all nets: a heading per twin, a line per family and depth."""
    rows = facts.found.nets[facts.found.nets["metric"] == metric].to_dict("records")
    if not rows:
        return
    yield ""
    form = NUMBERS if columns >= ROOM else IN_WORDS
    head = f"{METRICS[metric].upper()} (%)"
    yield form.format(head, "A", "B", "B - A", "95 % INTERVAL", "RESULT") if form == NUMBERS else head
    for heading in dict.fromkeys(map(_heading, rows)):
        yield heading
        for row in rows:
            if _heading(row) == heading:
                where = f"  {row['family']} {row['depth']}"
                yield form.format(where, *tables.errors(row), tables.spread(row), _result(row))
    if any(map(tables.corrected, rows)):
        yield f"{STAR} The interval excludes 0, but there are {facts.found.tests} tests: see the page."


def _heading(row: Mapping[Any, Any]) -> str:
    text = tables.setting(row)
    return f"{row['twin']} ({text})" if text else str(row["twin"])


def _result(row: Mapping[Any, Any]) -> str:
    """Say what became of a net in few letters."""
    if row["result"] == APART:
        return f"apart, B {row['verdict']}"
    return f"{row['result']} {STAR}" if tables.corrected(row) else str(row["result"])


def _two_sided(head: str, rows: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    """Write texts in three columns, or below one another."""
    if not rows:
        return
    rest = (columns - KEY - 4) // 2
    yield ""
    if columns < ROOM:
        yield head
        for key, *sides in rows:
            yield key
            for side, cell in zip("AB", sides, strict=True):
                yield f"  {side}  {cell}"
        return
    for cells in [(head, "A", "B"), *rows]:
        texts = [
            textwrap.wrap(cell, width, max_lines=LONGEST, placeholder=" ...") or [""]
            for cell, width in zip(cells, (KEY, rest, rest), strict=True)
        ]
        for i in range(max(map(len, texts))):
            parts = [text[i] if i < len(text) else "" for text in texts]
            yield f"{parts[0]:<{KEY}}  {parts[1]:<{rest}}  {parts[2]}"


def _unpaired(facts: DiffFacts) -> Iterator[str]:
    """Write what only one side has, twins with the same depths and seeds together."""
    for letter, _ in facts.sides:
        depths: dict[tuple[str, str, str], list[str]] = {}
        for row in facts.found.unpaired.to_dict("records"):
            if row["side"] == letter:
                place = row["group"], f"seed{'s' if len(row['seeds']) > 1 else ''} {spans(row['seeds'])}", row["twin"]
                depths.setdefault(place, []).append(str(row["depth"]))
        twins: dict[str, list[str]] = {}
        for (group, seeds, twin), some in depths.items():
            twins.setdefault(f"of {group}, depth {', '.join(some)}, {seeds}", []).append(twin)
        if twins:
            yield ""
            nets = "; ".join(f"{', '.join(names)} {place}" for place, names in twins.items())
            yield f"Only in {letter}: {nets}."
