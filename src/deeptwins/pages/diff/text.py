"""A diff on a terminal: 80 columns, the answer first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deeptwins.findings.comparisons import HEADLINE
from deeptwins.findings.contrast import APART, SAME
from deeptwins.pages.diff import tables, words
from deeptwins.pages.diff.facts import SHOWN, DiffFacts, spans
from deeptwins.pages.study.tables import METRICS

WIDTH = 80
KEY = 22  # of the column of names
LONGEST = 3  # lines of a cell
STAR = "*"
NUMBERS = "{:<20} {:>6} {:>6} {:>6} {:>18}  {}"


def lines(facts: DiffFacts) -> list[str]:
    """Write a diff as lines."""
    return [*(line.rstrip() for line in _lines(facts)), ""]


def _lines(facts: DiffFacts) -> Iterator[str]:
    yield from _wrapped(words.answer(facts))
    for caution in words.cautions(facts):
        yield from _wrapped(caution)
    yield ""
    for letter, side in facts.sides:
        frames = side.facts.frames
        yield from _wrapped(f"{letter}  {side.name}: {frames.asked - frames.missing} of {frames.asked} runs", "   ")
    yield ""
    for sentence in words.verdict(facts):
        yield from _wrapped(sentence)
    alike = facts.counts[SAME] == len(facts.headline)
    for metric in (HEADLINE,) if alike else SHOWN:
        yield from _nets(facts, metric)
    yield from _two_sided("FIELD", tables.fields(facts))
    yield from _two_sided("CLAIM", tables.claims(facts))
    yield from _unpaired(facts)


def _nets(facts: DiffFacts, metric: str) -> Iterator[str]:
    """Write the errors of all nets: a heading per twin, a line per family and depth."""
    rows = facts.found.nets[facts.found.nets["metric"] == metric].to_dict("records")
    if not rows:
        return
    yield ""
    yield NUMBERS.format(f"{METRICS[metric].upper()} (%)", "A", "B", "B - A", "95 % INTERVAL", "RESULT")
    for heading in dict.fromkeys(map(_heading, rows)):
        yield from _wrapped(heading)
        for row in rows:
            if _heading(row) == heading:
                where = f"  {row['family']} {row['depth']}"
                yield NUMBERS.format(where, *tables.errors(row), tables.spread(row), _result(row))
    if any(map(tables.corrected, rows)):
        yield from _wrapped(f"{STAR} The interval excludes 0, but there are {facts.found.tests} tests: see the page.")


def _heading(row: Mapping[Any, Any]) -> str:
    text = tables.setting(row)
    return f"{row['twin']} ({text})" if text else str(row["twin"])


def _result(row: Mapping[Any, Any]) -> str:
    """Say what became of a net in few letters."""
    if row["result"] == APART:
        return f"apart, B {row['verdict']}"
    return f"{row['result']} {STAR}" if tables.corrected(row) else str(row["result"])


def _two_sided(head: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write texts in three columns."""
    if not rows:
        return
    rest = (WIDTH - KEY - 4) // 2
    yield ""
    for cells in [(head, "A", "B"), *rows]:
        columns = [
            textwrap.wrap(cell, width, max_lines=LONGEST, placeholder=" ...") or [""]
            for cell, width in zip(cells, (KEY, rest, rest), strict=True)
        ]
        for i in range(max(map(len, columns))):
            parts = [column[i] if i < len(column) else "" for column in columns]
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
            yield from _wrapped(f"Only in {letter}: {nets}.", "  ")


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
