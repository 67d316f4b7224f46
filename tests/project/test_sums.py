"""The committed pages: numbers that stand together add up as printed."""

import re
from decimal import Decimal

import pytest

from places import ROOT

PAGES = sorted((ROOT / "reports" / "reference").glob("*/report.md"))
NUMBER = r"([-+]?\d+(?:\.\d+)?)"
EVIDENCE = rf"\({NUMBER} points, 95 % interval {NUMBER} to {NUMBER}"
TREND = re.compile(rf"{NUMBER} % at depth \d+(?: to|,) {NUMBER} % at depth \d+ {EVIDENCE}")
TWINS = re.compile(rf"{NUMBER} % against {NUMBER} %[^(]*{EVIDENCE}")
# The columns of a table: a number, what is taken from it, and their difference.
COLUMNS = [("precise (%)", "running (%)", "points"), ("ours (%)", "paper (%)", "difference")]
PAIRS = [("ours (%)", "our difference"), ("paper (%)", "paper's difference")]  # of "7.4 against 12.9"


def _text(page):
    """Read a page, with the minus that Python reads."""
    return page.read_text(encoding="utf-8").replace("\N{MINUS SIGN}", "-")


def _sentences(text):
    """Find numbers with their difference and its interval in sentences."""
    for first, last, *rest in TREND.findall(text):
        yield last, first, *rest
    yield from TWINS.findall(text)


def _rows(text):
    """Find numbers with their difference, and its interval if it has one, in tables."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.strip("|\n ").split(" | ")] for line in table.splitlines())
        for row in rows:
            cells = dict(zip(reversed(head), reversed(row), strict=True))  # of several intervals the first
            ends = cells.get("95 % interval", "-").split(" to ")
            yield from ((*(cells[head] for head in heads), *ends) for heads in COLUMNS if {*heads} <= {*cells})
            for pair, difference in PAIRS:
                if " against " in cells.get(pair, ""):
                    yield *cells[pair].split(" against "), cells[difference], *(ends if "our" in difference else "-")


def _adds_up(first, other, difference, *interval):
    """A difference is that of the numbers beside it, and in the middle of its interval, as far as rounding allows."""
    if not re.fullmatch(NUMBER, difference):  # of nets that did not train there is none
        return True
    first, other, difference = map(Decimal, (first, other, difference))
    if first - other != difference:
        return False
    if len(interval) == 1:
        return True
    low, high = map(Decimal, interval)
    # Of an error, its own interval is meant, not that of the difference.
    middle = (low + high) / 2
    return min(abs(middle - difference), abs(middle - first)) <= Decimal("1.5").scaleb(low.as_tuple().exponent)


@pytest.mark.parametrize("page", PAGES, ids=[page.parent.name for page in PAGES])
def test_numbers_that_stand_together_add_up(page):
    """In sentences and rows a difference is that of the numbers as printed, and in the middle of its interval."""
    text = _text(page)

    assert [said for said in (*_sentences(text), *_rows(text)) if not _adds_up(*said)] == []


def test_such_numbers_are_found():
    """Trends, twins, and rows of each kind are on some page, so that none is left out when the words change."""
    texts = [_text(page) for page in PAGES]
    heads = {
        cell.strip() for text in texts for line in re.findall(r"^\|.*", text, re.MULTILINE) for cell in line.split("|")
    }

    assert any(map(TREND.search, texts))
    assert any(map(TWINS.search, texts))
    assert {*sum(COLUMNS + PAIRS, ())} <= heads
    assert all(any(True for _ in _rows(text)) for text in texts if "Against the paper" in text)
