"""The page of the gate, `reports/performance/`: the verdict on the newest comparison, and all that it rests on."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import pandas as pd

from deeptwins.gate import runs
from deeptwins.gate.page import tables
from deeptwins.gate.page.facts import COMMANDS, GateFacts, JudgedRun, load
from deeptwins.gate.page.names import KIND_NAMES, VERDICTS, printable
from deeptwins.gate.page.sections import UNTESTED, sections
from deeptwins.gate.runs import COMMIT, Run
from deeptwins.pages.page import Commands, Number, PageSpec
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count, digits, listed

SENTENCES = 8  # of a conclusion
NOTHING = "No two commits have been compared yet."
WHERE = "In a clone of the repository; the last command writes this page from the stored runs:"


class Exhibit(NamedTuple):
    """The data behind a figure or table."""

    content: str
    name: str
    """The stem of its file."""
    table: pd.DataFrame
    command: str
    """It measures the data."""


def _answer(facts: GateFacts) -> str:
    return printable(facts.newest.conclusion.answer if facts.newest else NOTHING, 200)


def _verdict(facts: GateFacts) -> list[str]:
    """Say what else the newest comparison found, which commits it compared, and where."""
    sentences = [] if facts.newest else [f"`{COMMANDS['paired']}` compares this commit with another."]
    if facts.newest:
        details = facts.newest.conclusion.details
        sentences += details[:SENTENCES]
        more = len(details) - SENTENCES
        sentences += [f"{count(more, 'more finding')}: see below."] if more > 0 else []
        sentences.append(_compared(facts.newest.run))
    sentences += [UNTESTED] if facts.self_test is None else []
    return [printable(sentence, 600) for sentence in sentences]


def _compared(run: Run) -> str:
    base = f"the anchor {run.git.anchor or run.git.base[:12]}" if run.kind == "anchor" else run.git.base[:12]
    head = f"{run.git.head[:12]}{' with uncommitted changes' if run.git.dirty else ''}"
    return f"{head} was compared with {base} on {run.environment.machine}."


def _numbers(facts: GateFacts) -> list[Number]:
    """Say how much was measured, how often the gate gives a false alarm, and how small a slowdown it detects."""
    numbers = [] if facts.newest is None else _measured(facts.newest)
    if facts.self_test is None:
        return numbers
    numbers += [
        Number(
            "false alarms",
            f"{row['found']} of {row['runs'] - row['not_measured']}",
            "runs that compared a commit with itself;"
            f" 95 % interval of the rate {100 * row['low']:.0f} to {100 * row['high']:.0f} %",
        )
        for row in facts.self_test.rates.to_dict("records")
        if row["kind"] == "aa" and math.isfinite(row["rate"])
    ]
    smallest = facts.self_test.smallest
    machine = facts.newest.run.environment.machine if facts.newest else None
    here = smallest[smallest["machine"] == machine] if machine else smallest
    known = here if len(here) else smallest
    if len(known):
        least, most = 100 * known["smallest"].min(), 100 * known["smallest"].max()
        where = "" if len(here) else ", on other machines"
        note = f"slowdown detected in 4 of 5 runs, by benchmark{where}; calculated from the noise"
        numbers.append(Number("sensitivity", f"{least:.1f} to {most:.1f} %", note))
    return numbers


def _measured(newest: JudgedRun) -> list[Number]:
    """Say how many benchmarks were timed, and how many exact values are unchanged."""
    verdicts, numbers = Counter[str](one.verdict for one in newest.conclusion.judged), []
    if total := verdicts.total():
        timed = total - verdicts.pop("not_measured", 0)
        note = ", ".join(f"{verdicts[verdict]} {name}" for verdict, name in VERDICTS.items() if verdicts[verdict])
        numbers.append(Number("benchmarks", f"{timed} of {total}", f"timed: {note}" if timed else "timed"))
    if total := len(newest.exact):
        changed = len(newest.conclusion.changes)
        worse = sum(change.worse is True for change in newest.conclusion.changes)
        note = f"unchanged; {worse or 'none'} worse" if changed else "unchanged"
        numbers.append(Number("exact values", f"{total - changed:,} of {total:,}", note))
    return numbers


def _sources(facts: GateFacts) -> list[Exhibit]:
    """List the data behind figures and tables, in the page's order."""
    sources = []
    if facts.newest:
        command = _command(facts.newest.run)
        sources += [
            Exhibit("changes in time", "ratios", facts.newest.ratios, command),
            Exhibit("exact values", "exact", facts.newest.exact, command),
            Exhibit("rejected blocks", "rejected", facts.newest.rejected, command),
        ]
    command = COMMANDS["anchor"]
    sources += [
        Exhibit("history of times", "history", facts.history.points, command),
        Exhibit("steps of times", "steps", facts.history.changes, command),
        Exhibit("history of exact values", "exact-steps", facts.history.exact, command),
        Exhibit("other changes", "events", facts.history.events, command),
    ]
    if facts.self_test:
        command = COMMANDS["aa"]
        sources += [
            Exhibit("self-test, by change made", "self-test", facts.self_test.rates, command),
            Exhibit("runs of the self-test", "self-test-runs", facts.self_test.outcomes, command),
            Exhibit("changes in A/A runs", "controls", facts.self_test.controls, command),
            Exhibit("smallest slowdown detected", "sensitivity", facts.self_test.smallest, command),
        ]
    return [source for source in sources if len(source.table)]


def _command(run: Run) -> str:
    base = run.git.base if COMMIT.fullmatch(run.git.base) else "REF"
    return COMMANDS[run.kind].replace("REF", base[:12])


def _origin(facts: GateFacts) -> tuple[Table, ...]:
    run = facts.newest.run if facts.newest else facts.runs[-1]
    design, git, environment = run.design, run.git, run.environment
    how = (
        f"{count(design.pairs, 'pair')} of processes, {count(design.blocks, 'block')} per pair, segments of at least"
        f" {design.segment_s:g} s, least margin {100 * design.least_margin:g} %, alpha {design.alpha:g},"
        f" seed {design.seed}"
    )
    kinds = Counter(stored.kind for stored in facts.runs)
    rows = [
        ("runs", listed(f"{number} {KIND_NAMES[kind]}" for kind, number in kinds.items())),
        ("this run", f"{run.id}, {run.kind}, {run.started}, {digits(run.seconds)} s"),
        ("head", git.head + (" with uncommitted changes" if git.dirty else "")),
        ("base", git.base + (f" ({git.anchor})" if git.anchor else "")),
        ("benchmark code", f"SHA-256 {git.suite[:12]}" if git.suite else "not known"),
        ("design", how),
        ("machine", environment.machine),
        *((name.replace("_", " "), str(value)) for name, value in environment.facts.items() if value is not None),
        *((name, version) for name, version in run.toolchain.items() if name not in environment.facts),
    ]
    printed = [[printable(cell, 300) for cell in row] for row in rows]
    sources = [[source.content, f"data/{source.name}.csv", source.command] for source in _sources(facts)]
    return (
        Table.facts(printed, "Where the verdict's numbers come from"),
        Table(
            "The data behind every figure and table, and the command that measures it",
            ("what", "data", "command"),
            sources,
            3,
        ),
    )


def _commands(facts: GateFacts) -> Commands:
    kinds = {run.kind for run in facts.runs}
    measuring = dict.fromkeys(command for kind, command in COMMANDS.items() if kind in kinds)
    return Commands(WHERE, (*measuring, "deeptwins gate page"))


PAGE = PageSpec(
    load=load,
    name=lambda _: "performance",
    question=lambda _: "Is this commit slower?",
    answer=_answer,
    numbers=_numbers,
    verdict=_verdict,
    group=lambda _: "Speed",
    sections=sections,
    origin=_origin,
    commands=_commands,
    data=lambda facts: {source.name: source.table for source in _sources(facts)},
    size=lambda facts: count(len(facts.runs), "run"),
    cost=lambda facts: f"{digits(sum(run.seconds for run in facts.runs) / 60)} min",
    date=lambda facts: facts.runs[-1].started[:10],
    summary=lambda facts: tables.compared(facts.newest) if facts.newest else (),
    find=lambda results: [(results,)] if runs.path_of(results).joinpath("runs").exists() else [],
)
