"""A run of the gate as Markdown, for the summary of a CI job and the comment on a pull request.

Names in it come from whoever wrote the pull request: all that could mean something to Markdown or HTML is written as
character references. What code hosts look for in the text that is left (mentions, references, addresses, emoji) is
broken up by spaces without width.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from deeptwins.errors import InputError, naming
from deeptwins.gate import runs
from deeptwins.gate.judge.conclusion import FAILED, OTHERS, UNDECIDED
from deeptwins.gate.page import tables
from deeptwins.gate.page.facts import JudgedRun, judge_run
from deeptwins.gate.page.names import VERDICTS, distinct, printable
from deeptwins.gate.runs import Run
from deeptwins.pages.tables import Column, Table
from deeptwins.pages.wording import count

MOST = 60_000  # characters; GitHub takes 65,536 in a comment
SHOWN = 5  # rows that are not folded away, of all tables together
UNFOLDED = ("regressed", "inconclusive", "improved")  # verdicts of benchmarks whose rows stand there
_LONGEST = 400  # characters of a sentence, or of a cell
_MEANT = re.compile(r"^\W|[^A-Za-z0-9 ,;%()'+/.:\N{ZERO WIDTH SPACE}-]")
# The first part of a mention, a number, a reference (GH-1), an address, or an emoji.
_LINKED = re.compile(r"[@#!&~$](?=\S)|%(?=[\w\"])|\b(?:GH(?=-\d)|www(?=\.))|:(?=//|[\w+-]+:)", re.IGNORECASE)
NEUTRAL = "Inconclusive does not fail the build: neither a slowdown nor its absence could be shown."
_SPARE = 3_000  # characters: for the last line, and for how many rows were left out


def summary(judged: JudgedRun) -> str:
    """Summarize a run: the verdict, where it holds, at most five rows of what changed; the rest is folded."""
    conclusion, ratios = judged.conclusion, judged.ratios
    sentences = [_where(judged.run), *_unknown(judged), *([NEUTRAL] if conclusion.code == UNDECIDED else [])]
    text = "".join(f"{paragraph}\n\n" for paragraph in (f"**{plain(conclusion.answer)}**", *map(plain, sentences)))
    worse = tables.exact_changes(change for change in conclusion.changes if change.worse)
    changed = _ratios("Benchmarks that changed or are inconclusive", ratios[ratios["verdict"].isin(UNFOLDED)])
    missing = tables.unmeasured(judged) if conclusion.code in {FAILED, OTHERS} else Table("", (), [], 0)
    room, folded = SHOWN, []
    for table in (missing, changed, replace(worse, caption="Exact values that are worse")):
        text += _block(replace(table, rows=table.rows[:room]), MOST - _SPARE - len(text), of=len(table.rows))
        if len(table.rows) > room:
            folded.append(replace(table, caption=f"{table.caption}, the rest", rows=table.rows[room:]))
        room -= min(room, len(table.rows))
    folded += [
        Table("All findings", ("finding",), [[line] for line in conclusion.details], 1),
        tables.exact_changes(change for change in conclusion.changes if not change.worse),
        Table("", (), [], 0) if missing.rows else tables.unmeasured(judged),
        _ratios("Benchmarks that are no slower", ratios[ratios["verdict"] == "no_worse"]),
    ]
    for table in folded:
        text += _block(table, MOST - _SPARE - len(text), folded=True)
    exact = judged.exact
    same = f"{int(exact['same'].sum()):,} of {len(exact):,} exact values are unchanged.\n" if len(exact) else ""
    return f"{text}{same}"


def told(path: Path) -> str:
    """Summarize what a gate has left: a run, or what it said with --json where it measured nothing.

    Raises:
        InputError: the file is neither.
    """
    with naming(path):
        content = path.read_bytes()
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and "schema" not in said:
        for key, answer in (("error", "Nothing was compared."), ("verdict", "No slowdown.")):
            if isinstance(said.get(key), str):
                return uncompared(answer, said[key])
        raise InputError(f"{path}: neither a run of the gate nor what `{runs.COMMAND} --json` prints")
    return summary(judge_run(runs.read(path)))


def uncompared(answer: str, reason: str) -> str:
    """Summarize a comparison for which nothing was measured."""
    return f"**{plain(answer)}** {plain(reason)}\n"


def _unknown(judged: JudgedRun) -> list[str]:
    """Say that nothing is known of any benchmark, and why, where that is so."""
    reasons = [one.reason for one in judged.conclusion.judged if one.verdict in {"inconclusive", "not_measured"}]
    if not reasons or len(reasons) < len(judged.conclusion.judged):
        return []
    others = len({*reasons}) - 1
    more = f"; {count(others, 'other reason')} below" if others else ""
    return [f"Nothing is known of the time of any benchmark: {reasons[0]}{more}."]


def _ratios(caption: str, ratios: pd.DataFrame) -> Table:
    names = distinct(ratios["benchmark"])
    words = Column("benchmark", "benchmark", names.__getitem__), Column("verdict", "verdict", VERDICTS.__getitem__)
    numbers = (
        Column("change in time", "log_ratio", lambda log_ratio: f"{tables.signed(log_ratio)} %"),
        Column("95 % interval", ("low", "high"), tables.span),
        Column("margin", "margin", lambda margin: f"{tables.percent(margin)} %"),
    )
    return Table.of(ratios, caption, words, numbers)


def _block(table: Table, room: int, *, of: int | None = None, folded: bool = False) -> str:
    """Write a table, of as many rows as there is room for; nothing of a table without one.

    Args:
        table: with its rows.
        room: characters.
        of: how many rows there are in all, where the others stand elsewhere.
        folded: whether it is shown on demand.
    """
    if not table.rows:
        return ""
    title = f"{table.caption}: {of or len(table.rows)}"
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
    changes = " with uncommitted changes" if git.dirty else ""
    head, base = (name[:12] if runs.COMMIT.fullmatch(name) else printable(name, 80) for name in (git.head, git.base))
    return f"Head {head}{changes} compared with base {base} on {printable(run.environment.machine, 200)}."


def plain(text: str) -> str:
    """Make text mean itself in Markdown, in HTML and to code hosts, on one line."""
    broken = _LINKED.sub("\\g<0>\N{ZERO WIDTH SPACE}", printable(text, _LONGEST))
    return _MEANT.sub(lambda match: f"&#{ord(match[0])};", broken)
