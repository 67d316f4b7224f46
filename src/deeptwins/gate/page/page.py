"""The page of the gate, `reports/performance/`: the verdict on the newest comparison, and all that it rests on."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import pandas as pd

from deeptwins.gate import runs
from deeptwins.gate.page import tables
from deeptwins.gate.page.facts import COMMANDS, GateFacts, JudgedRun, SelfTest, load
from deeptwins.gate.page.names import printable
from deeptwins.gate.page.sections import UNTESTED, sections
from deeptwins.gate.runs import COMMIT, Run
from deeptwins.pages.page import Commands, PageSpec
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count, digits, listed

SENTENCES = 8  # of a conclusion
WHERE = "In a clone of the repository; the last line writes this page from the runs that are stored:"


class Exhibit(NamedTuple):
    """The data behind a figure or table."""

    content: str
    name: str
    """The stem of its file."""
    table: pd.DataFrame
    command: str
    """It measures the data."""


def _verdict(facts: GateFacts) -> list[str]:
    if facts.newest:
        sentences = _conclusion(facts.newest)
    else:
        sentences = [f"No comparison of two commits is stored yet: {COMMANDS['paired']} makes one."]
    sentences += [UNTESTED] if facts.self_test is None else _trust(facts.self_test, facts.newest)
    return [printable(sentence, 600) for sentence in sentences]


def _conclusion(newest: JudgedRun) -> list[str]:
    """Say what the newest comparison found, and what that rests on."""
    sentences = [*newest.conclusion.lines[:SENTENCES]]
    more = len(newest.conclusion.lines) - SENTENCES
    if more > 0:
        sentences.append(f"{count(more, 'more sentence')}: see below.")
    run, verdicts = newest.run, Counter(benchmark.verdict for benchmark in newest.conclusion.judged)
    timed = sum(verdicts.values()) - verdicts["not_measured"]
    checks = f"{count(len(newest.exact), 'exact check')}, {len(newest.conclusion.changes)} of them different"
    times = f"{count(timed, 'benchmark')} timed, {verdicts['inconclusive']} inconclusive"
    if verdicts["not_measured"]:
        times += f", {verdicts['not_measured']} not measured"
    base = f"the anchor {run.git.anchor or run.git.base[:12]}" if run.kind == "anchor" else run.git.base[:12]
    head = f"{run.git.head[:12]}{' with changes' if run.git.dirty else ''}"
    return [*sentences, f"{head} against {base}: {checks}; {times}. Machine: {run.environment.machine}."]


def _trust(self_test: SelfTest, newest: JudgedRun | None) -> list[str]:
    """Say how often the gate gave a false alarm, and how small a slowdown it finds."""
    sentences = [
        f"The gate itself: {row['found']} of {row['runs'] - row['not_measured']} A/A runs gave a false alarm (95 %"
        f" interval of the rate: {100 * row['low']:.0f} to {100 * row['high']:.0f} %)."
        for row in self_test.rates.to_dict("records")
        if row["kind"] == "aa" and math.isfinite(row["rate"])
    ]
    smallest = self_test.smallest
    here = smallest[smallest["machine"] == newest.run.environment.machine] if newest else smallest
    if len(here):
        least, most = 100 * here["smallest"].min(), 100 * here["smallest"].max()
        text = f"Smallest slowdown that it finds in 80 %, calculated from A/A runs: {least:.1f} to {most:.1f} %."
        sentences.append(text)
    elif len(smallest):
        sentences.append("How small a slowdown it finds was measured on other machines only.")
    return sentences


def _sources(facts: GateFacts) -> list[Exhibit]:
    """List the data behind figures and tables, in the page's order."""
    sources = []
    if facts.newest:
        command = _command(facts.newest.run)
        sources += [
            Exhibit("ratios of head to base", "ratios", facts.newest.ratios, command),
            Exhibit("exact metrics", "exact", facts.newest.exact, command),
            Exhibit("rejected blocks", "rejected", facts.newest.rejected, command),
        ]
    command = COMMANDS["anchor"]
    sources += [
        Exhibit("history of times", "history", facts.history.points, command),
        Exhibit("steps of times", "steps", facts.history.changes, command),
        Exhibit("history of exact metrics", "exact-steps", facts.history.exact, command),
        Exhibit("other changes", "events", facts.history.events, command),
    ]
    if facts.self_test:
        command = COMMANDS["aa"]
        sources += [
            Exhibit("self-test, by what was made worse", "self-test", facts.self_test.rates, command),
            Exhibit("runs of the self-test", "self-test-runs", facts.self_test.outcomes, command),
            Exhibit("A/A ratios", "controls", facts.self_test.controls, command),
            Exhibit("smallest slowdown that is found", "sensitivity", facts.self_test.smallest, command),
        ]
    return [source for source in sources if len(source.table)]


def _command(run: Run) -> str:
    base = run.git.base if COMMIT.fullmatch(run.git.base) else "REF"
    return COMMANDS[run.kind].replace("REF", base[:12])


def _origin(facts: GateFacts) -> tuple[Table, ...]:
    run = facts.newest.run if facts.newest else facts.runs[-1]
    design, git, environment = run.design, run.git, run.environment
    how = (
        f"{count(design.pairs, 'pair')} of processes, {count(design.blocks, 'block')} each, segments of at least"
        f" {design.segment_s:g} s, least margin {100 * design.least_margin:g} %, alpha {design.alpha:g},"
        f" seed {design.seed}"
    )
    kinds = Counter(stored.kind for stored in facts.runs)
    rows = [
        ("runs", listed(f"{number} {kind}" for kind, number in kinds.items())),
        ("this run", f"{run.id}, {run.kind}, {run.started}, {digits(run.seconds)} s"),
        ("head", git.head + (" with changes that are not committed" if git.dirty else "")),
        ("base", git.base + (f" ({git.anchor})" if git.anchor else "")),
        ("definitions of benchmarks", f"SHA-256 {git.suite[:12]}" if git.suite else "not known"),
        ("design", how),
        ("machine", environment.machine),
        *((name.replace("_", " "), str(value)) for name, value in environment.facts.items() if value is not None),
        *((name, version) for name, version in run.toolchain.items() if name not in environment.facts),
    ]
    printed = [[printable(cell, 300) for cell in row] for row in rows]
    sources = [[source.content, f"data/{source.name}.csv", source.command] for source in _sources(facts)]
    return (
        Table.facts(printed, "Where the numbers of the verdict come from"),
        Table("Every figure and table: its data, and what measures it", ("of", "data", "command"), sources, 3),
    )


def _commands(facts: GateFacts) -> Commands:
    kinds = {run.kind for run in facts.runs}
    measuring = dict.fromkeys(command for kind, command in COMMANDS.items() if kind in kinds)
    return Commands(WHERE, (*measuring, "deeptwins gate page"))


PAGE = PageSpec(
    load=load,
    name=lambda _: "performance",
    question=lambda _: "Is this commit slower?",
    answer=lambda facts: printable(_verdict(facts)[0], 200),
    verdict=lambda facts: _verdict(facts)[1:],
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
