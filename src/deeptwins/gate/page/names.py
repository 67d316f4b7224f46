"""Names as the page writes them: of verdicts, of metrics, and of whatever others have named."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from deeptwins.errors import one_line
from deeptwins.gate.judge.metrics import metric_of
from deeptwins.gate.judge.sentences import brief

VERDICTS = {
    "regressed": "slower",
    "inconclusive": "inconclusive",
    "improved": "faster",
    "no_worse": "no slower",
    "not_measured": "not measured",
}
"""What the page calls a verdict, the gravest first."""
KIND_NAMES = {
    "paired": "comparisons",
    "imported": "imported",
    "anchor": "against an anchor",
    "aa": "of a commit with itself (A/A)",
    "slower": "with added work",
    "mutant": "with the source made worse",
}
"""What the page calls runs of a kind."""
LONGEST = 100  # characters of a name
LONGEST_WHOLE = 2000  # characters of a name that is shown whole
LONGEST_SHORT = 40  # characters of a name in a line of a figure
LINES = 2  # of a name in a figure


def printable(text: object, longest: int = LONGEST) -> str:
    """Return text that others wrote on one printable line: what is not printable is escaped."""
    line = one_line(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def without(name: object, prefix: str) -> str:
    """Return a name on one line, without the prefix that all names share."""
    return whole(name).removeprefix(prefix)


def begin_with(caption: str, prefix: str) -> str:
    """Say in a table's caption what all its names begin with."""
    return f"{caption}; names begin with {prefix}" if prefix else caption


def left_out(prefix: str) -> str:
    """Say in a figure's caption what all its names begin with."""
    return f" All names begin with {prefix}, left out here." if prefix else ""


def short_names(names: Iterable[str]) -> tuple[dict[str, str], str]:
    """Shorten names for a figure: without what all share; cut where two lines do not hold them.

    Returns:
        The short name of each, no two the same unless two names look the same; and what all begin with.
    """
    full = {name: whole(name) for name in names}
    prefix = os.path.commonprefix([*full.values()]).partition("[")[0]  # noqa: RUF071  no path: by characters
    prefix = prefix[: max(prefix.rfind("/") + 1, prefix.rfind("::") + 2 if "::" in prefix else 0)]
    for verb in ("bench_", "test_"):
        if prefix and all(name.startswith(prefix + verb) for name in full.values()):
            prefix += verb
    short = _cut([text.removeprefix(prefix) for text in full.values()], LINES * LONGEST_SHORT)
    return {name: short[text.removeprefix(prefix)] for name, text in full.items()}, prefix


def distinct(names: Iterable[str]) -> dict[str, str]:
    """Shorten names for a table of little room, so that no two look the same."""
    full = {name: whole(name) for name in names}
    short = _cut([*full.values()], LONGEST)
    return {name: short[text] for name, text in full.items()}


def whole(name: object) -> str:
    """Return a name as it is, on one line."""
    return printable(name, LONGEST_WHOLE)


def metric_name(metric: str) -> str:
    """Name an exact metric with its unit."""
    definition = metric_of(metric)
    return printable(f"{definition.words} ({definition.unit})" if definition.unit else definition.words)


def in_lines(name: str, longest: int = LONGEST_SHORT) -> str:
    """Break a name in two lines of a figure where one is too short for it; between its words where both fit so."""
    if len(name) <= longest:
        return name
    ends = [found.end() for found in re.finditer(r"::|[/, ]|(?=\[)", name)]
    fitting = [at for at in ends if at <= longest and len(name) - at <= longest]
    at = max(fitting, default=longest)
    return f"{name[:at].rstrip()}\n{name[at:]}"


def _cut(texts: Sequence[str], longest: int) -> dict[str, str]:
    """Cut what is long: in the middle, or to where those differ that would be the same, or else by number."""
    cut = {text: brief(text, longest) for text in texts}
    begin = longest // 3
    for same in _same(cut):
        start = len(os.path.commonprefix(same))  # noqa: RUF071  by characters
        cut |= {text: f"{text[:begin]}…{text[max(start - 2, begin) :][: longest - begin - 2]}…" for text in same}
    taken = {*cut.values()}
    for same in _same(cut):
        number = 1
        for text in same:
            while (numbered := f"{text[: longest - 6]}… {number}") in taken:
                number += 1
            taken.add(numbered)
            cut[text] = numbered
    return cut


def _same(cut: Mapping[str, str]) -> list[list[str]]:
    """List those that are cut to the same."""
    groups: dict[str, list[str]] = {}
    for text, short in cut.items():
        groups.setdefault(short, []).append(text)
    return [group for group in groups.values() if len(group) > 1]
