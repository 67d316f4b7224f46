"""A run of the gate as Markdown, for the summary of a CI job or a comment on a pull request.

Names in it come from whoever wrote the pull request: all that could mean something to Markdown or HTML is written as
character references, and what GitHub makes links of, mentions and references, is broken up.
"""

from __future__ import annotations

import re

import pandas as pd

from deeptwins.gate.page import tables
from deeptwins.gate.page.facts import JudgedRun
from deeptwins.gate.page.names import VERDICTS, printable
from deeptwins.gate.runs import Run
from deeptwins.pages.tables import Column, Table

MOST = 60_000  # characters; GitHub takes 65,536 in a comment
UNFOLDED = ("regressed", "inconclusive", "improved")  # verdicts whose rows are not folded away
_SENTENCES = 12
_LONGEST = 400  # characters of a sentence, or of a cell
_MEANT = re.compile(r"^\W|[^A-Za-z0-9 ,;%()'+/.:-]|[.:](?=[A-Za-z/])")
_LINKED = re.compile(r"([@#])(?=\S)")
_SPARE = 3_000  # characters: for the last line, and for how many rows were left out


def summary(judged: JudgedRun) -> str:
    """Summarize a run: the verdict, exact differences, what changed or is undecided; the rest is folded."""
    first, *others = judged.conclusion.lines
    ratios, exact = judged.ratios, judged.exact
    unfolded = ratios["verdict"].isin(UNFOLDED)
    text = f"**{plain(first)}**\n\n" + "".join(f"{plain(line)}\n\n" for line in others[:_SENTENCES])
    for table, folded in (
        (tables.exact_changes(judged.conclusion.changes), False),
        (_ratios("Changed or undecided", ratios[unfolded]), False),
        (tables.unmeasured(judged), True),
        (_ratios("No worse", ratios[ratios["verdict"] == "no_worse"]), True),
    ):
        text += _block(table, MOST - _SPARE - len(text), folded=folded)
    same = f"{int(exact['same'].sum()):,} of {len(exact):,} exact metrics are the same. " if len(exact) else ""
    return f"{text}{same}{plain(_where(judged.run))}\n"


def _ratios(caption: str, ratios: pd.DataFrame) -> Table:
    words = Column("benchmark", "benchmark", printable), Column("verdict", "verdict", VERDICTS.__getitem__)
    numbers = (
        Column("time of head", "log_ratio", lambda log_ratio: f"{tables.signed(log_ratio)} %"),
        Column("95 % interval", ("low", "high"), tables.span),
        Column("margin", "margin", lambda margin: f"{tables.percent(margin)} %"),
    )
    return Table.of(ratios, caption, words, numbers)


def _block(table: Table, room: int, *, folded: bool) -> str:
    """Write a table, of as many rows as there is room for; nothing of a table without one."""
    if not table.rows:
        return ""
    title = f"{table.caption}: {len(table.rows)}"
    start, end = (f"<details><summary>{title}</summary>\n\n", "\n</details>\n\n") if folded else (f"{title}\n\n", "\n")
    marks = ["---" if i < table.words else "---:" for i in range(len(table.columns))]
    lines = [_row(table.columns), _row(marks)]
    room -= sum(map(len, (start, end, *lines)))
    for i, row in enumerate(table.rows):
        line = _row([plain(cell) for cell in row])
        if (room := room - len(line)) < 0:
            end = f"\n{len(table.rows) - i} more: see the report.\n{end}"
            break
        lines.append(line)
    return f"{start}{''.join(lines)}{end}"


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _where(run: Run) -> str:
    git = run.git
    changes = " with changes that are not committed" if git.dirty else ""
    head, base = printable(git.head, 12), printable(git.base, 12)
    return f"Head {head}{changes} against {base} on {printable(run.environment.machine, 200)}."


def plain(text: str) -> str:
    """Make text mean itself in Markdown, in HTML and to GitHub, on one line."""
    broken = _LINKED.sub("\\1\N{ZERO WIDTH SPACE}", printable(text, _LONGEST))
    return _MEANT.sub(lambda match: f"&#{ord(match[0])};", broken)
