"""From the runs of the gate to their page, `reports/performance/`: the verdict, and all that it rests on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from deeptwins.errors import InputError
from deeptwins.gate import runs
from deeptwins.gate.judge import sensitivity
from deeptwins.gate.judge.conclusion import Conclusion, conclude
from deeptwins.gate.judge.history import history
from deeptwins.gate.page import figures, run_tables, sections, tables
from deeptwins.gate.page.sections import COMMANDS, Parts, left_out, picture
from deeptwins.gate.page.summary import summary
from deeptwins.gate.runs import Kind, Run
from deeptwins.pages import page as pages
from deeptwins.pages.page import Page, Section, Written
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count, digits, listed

__all__ = ["compared", "summary", "write"]

NAME = "performance"
QUESTION = "Is this commit slower?"
PAGE = "deeptwins gate page"
JUDGED: tuple[tuple[Kind, ...], ...] = (("paired", "imported"), ("anchor",))  # the newest of the first that there are
SENTENCES = 8  # of a verdict
METHOD = """
Base and head run side by side: a pair of fresh processes, segments in the order base head head base or its reverse,
drawn at random, on one pinned core. A ratio is the Hodges-Lehmann estimate over all blocks; its interval comes from a
bootstrap of pairs and blocks. A benchmark is slower if its ratio lies significantly above its margin, many benchmarks
considered (Benjamini and Hochberg), and a second, independent batch agrees; it is no worse if the ratio lies
significantly below; else it is inconclusive. The margin is the least that is tolerated, or the noise seen in A/A runs
on such a machine where that is more.
"""
SMALLEST = """
The smallest slowdown found in 80 % of runs is calculated from the measured spread, by the noncentral t distribution:
two batches must both be significantly above the margin, by Student's t of their pairs, the first for a lone slowdown
among all benchmarks of the newest A/A run, the second by itself. The error of an estimate is the larger of two: the
root mean square of the A/A ratios, whose truth is 0, and what the width of their intervals says. The columns that count
what was found are measurements.
"""
LIMITS = """
Times hold for the machine that is named, and a ratio for the benchmarks as they are defined in head. What is slower
only in other cases, with more cores or on a GPU is not seen. Exact metrics tell of compiled code and counts, not of
time. The self-test knows the changes that it makes, and no others.
"""


def write(results: Path, reports: Path) -> Written[None]:
    """Write the page of all runs. The same runs give the same bytes.

    Raises:
        InputError: there is no run, one is damaged, ruptures is missing, or the folder cannot be written.
    """
    found = runs.load(results)
    if not found:
        raise InputError(f"{runs.path_of(results)}: no run of the gate; `{COMMANDS['paired']}` makes one")
    newest = next((own[-1] for kinds in JUDGED if (own := [run for run in found if run.kind in kinds])), None)
    parts = Parts()
    said: list[str] = []
    shown: tuple[Table, ...] = ()
    if newest:
        conclusion = conclude(newest)
        more = len(conclusion.lines) - SENTENCES
        said += [*conclusion.lines[:SENTENCES], *([f"{count(more, 'more sentence')}: see below."] if more > 0 else [])]
        said.append(_checked(newest, conclusion))
        shown = compared(newest, conclusion)
        sections.comparison(parts, newest, conclusion)
        sections.exact(parts, newest)
        sections.rejected(parts, newest, conclusion)
    else:
        said.append(f"No comparison of two commits is stored yet: {COMMANDS['paired']} makes one.")
    sections.past(parts, history(found))
    said += _self_test(parts, found, newest)
    _provenance(parts, found, newest or found[-1])
    page = Page(
        name=NAME,
        question=QUESTION,
        source="",
        verdict=[tables.shown(line, 600) for line in said],
        remarks=[],
        sections=parts.sections,
        runs=count(len(found), "run"),
        data=parts.data,
        answer=tables.shown(said[0], 200),
        cost=f"{digits(sum(run.seconds for run in found) / 60)} min",
        date=found[-1].started[:10],
    )
    folder = pages.save(page, reports)
    return Written(None, shown, tuple(page.verdict), folder / "index.html")


def compared(run: Run, conclusion: Conclusion) -> tuple[Table, ...]:
    """Tabulate a run for a terminal: ratios, and exact metrics that differ."""
    ratios = tables.judged(run, conclusion)
    found = tables.forest(ratios, tables.short_names(ratios["benchmark"])[1]), tables.exact_changes(run)
    return tuple(table for table in found if table.rows)


def _checked(run: Run, conclusion: Conclusion) -> str:
    """Count what the verdict rests on."""
    verdicts = Counter(one.verdict for one in conclusion.judged)
    timed = sum(verdicts.values()) - verdicts["not_measured"]
    metrics = sum(map(len, run.exact.values()))
    told = f"{count(metrics, 'exact check')}, {len(conclusion.changes)} of them different"
    told += f"; {count(timed, 'benchmark')} timed, {verdicts['inconclusive']} inconclusive"
    if verdicts["not_measured"]:
        told += f", {verdicts['not_measured']} not measured"
    base = f"the anchor {run.git.anchor or run.git.base[:12]}" if run.kind == "anchor" else run.git.base[:12]
    head = f"{run.git.head[:12]}{' with changes' if run.git.dirty else ''}"
    return f"{head} against {base}: {told}. Machine: {run.environment.machine}."


def _self_test(parts: Parts, found: Sequence[Run], newest: Run | None) -> list[str]:
    """Show what the gate makes of changes that are known; returns sentences for the verdict."""
    tested = sensitivity.known(found)
    title, command = "The gate, tested on itself", COMMANDS["aa"]
    if not tested:
        text = f"How often the gate errs is not measured here yet: {command} does so."
        parts.sections.append(Section(title, paragraphs=(text,)))
        return [text]
    outcomes = sensitivity.outcomes(tested)
    rates, controls = sensitivity.rates(outcomes), sensitivity.controls(tested)
    smallest = sensitivity.sensitivity(found, controls)
    told = "; ".join(
        f"{tables.shown(row['treatment'])}: {row['found']} alarms, {row['inconclusive']} inconclusive,"
        f" {row['fine']} fine"
        for row in rates.to_dict("records")
    )
    caption = "What the gate said of commits set against themselves, made worse on purpose or not at all."
    pictures = [picture("self-test", caption, f"{told}.", figures.outcomes(rates))]
    shown = [run_tables.detection(rates)]
    paragraphs: list[str] = []
    if len(smallest):
        names, prefix = tables.short_names(smallest["benchmark"])
        ends = [100 * float(getattr(smallest["smallest"], end)()) for end in ("min", "max")]
        caption = (
            f"A/A runs: each dot is a ratio whose truth is 0. Diamonds are calculated, as said below.{left_out(prefix)}"
        )
        alt = f"Smallest slowdown found in 80 %: {ends[0]:.1f} % to {ends[1]:.1f} % by benchmark."
        pictures.append(picture("sensitivity", caption, alt, figures.sensitivity(smallest, controls, names)))
        shown.append(run_tables.sensitivities(smallest, sensitivity.detections(tested), prefix))
        paragraphs.append(SMALLEST)
    parts.sections.append(Section(title, tuple(pictures), tuple(shown), tuple(paragraphs)))
    parts.source("self-test, by what was made worse", "self-test", rates, command)
    parts.source("runs of the self-test", "self-test-runs", outcomes, command)
    parts.source("A/A ratios", "controls", controls, command)
    parts.source("smallest slowdown that is found", "sensitivity", smallest, command)
    return _tested(rates, smallest, newest)


def _tested(rates: pd.DataFrame, smallest: pd.DataFrame, newest: Run | None) -> list[str]:
    """Say how often the gate cried wolf, and how small a slowdown it sees."""
    said = []
    control = rates[rates["kind"] == "aa"]
    if len(control) and math.isfinite(control.iloc[0]["rate"]):
        row = control.iloc[0]
        said.append(
            f"The gate itself: {row['found']} of {row['runs'] - row['not_measured']} A/A runs gave a false alarm (95 %"
            f" interval of the rate: {100 * row['low']:.0f} to {100 * row['high']:.0f} %)."
        )
    own = smallest[smallest["machine"] == newest.environment.machine] if newest and len(smallest) else smallest
    if len(own):
        least, most = 100 * own["smallest"].min(), 100 * own["smallest"].max()
        said.append(f"Smallest slowdown that it finds in 80 %, calculated from A/A runs: {least:.1f} to {most:.1f} %.")
    elif len(smallest):
        said.append("How small a slowdown it finds was measured on other machines only.")
    return said


def _provenance(parts: Parts, found: Sequence[Run], run: Run) -> None:
    kinds = Counter(one.kind for one in found)
    design, git = run.design, run.git
    told = (
        f"{count(design.pairs, 'pair')} of processes, {count(design.blocks, 'block')} each, segments of at least"
        f" {design.segment_s:g} s, least margin {100 * design.least_margin:g} %, alpha {design.alpha:g},"
        f" seed {design.seed}"
    )
    rows = [
        ["runs", listed(f"{number} {kind}" for kind, number in kinds.items())],
        ["this run", f"{run.id}, {run.kind}, {run.started}, {digits(run.seconds)} s"],
        ["head", git.head + (" with changes that are not committed" if git.dirty else "")],
        ["base", git.base + (f" ({git.anchor})" if git.anchor else "")],
        ["definitions of benchmarks", f"SHA-256 {git.suite[:12]}" if git.suite else "not known"],
        ["design", told],
        ["machine", run.environment.machine],
        *([name.replace("_", " "), str(value)] for name, value in run.environment.facts.items() if value is not None),
        *([name, version] for name, version in run.toolchain.items() if name not in run.environment.facts),
    ]
    rows = [[tables.shown(cell, 300) for cell in row] for row in rows]
    where = Table("Where the numbers of the verdict come from", ("what", "value"), rows, 2)
    own = Table("Every figure and table: its data, and what measures it", ("of", "data", "command"), parts.sources, 3)
    parts.sections.append(Section("Method and limits", paragraphs=(METHOD, LIMITS)))
    parts.sections.append(Section("Provenance", (), (where, own)))
    commands = dict.fromkeys([*(COMMANDS[kind] for kind in COMMANDS if kind in kinds), PAGE])
    how = "In a clone of the repository; the last line writes this page from the runs that are stored:"
    parts.sections.append(Section("How to reproduce", paragraphs=(how,), commands=tuple(commands)))
