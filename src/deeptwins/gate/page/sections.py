"""The sections of the gate's page: what the newest comparison found, what was before, and the gate's own errors."""

from __future__ import annotations

from deeptwins.gate.judge.history import History
from deeptwins.gate.judge.steps import LEAST
from deeptwins.gate.page import figures, tables
from deeptwins.gate.page.facts import COMMANDS, GateFacts, JudgedRun, SelfTest
from deeptwins.pages.page import Section
from deeptwins.pages.wording import count

NO_HISTORY = f"There is none yet: no commit was timed against an anchor, as {COMMANDS['anchor']} does."
UNTESTED = f"How often the gate errs is not measured here yet: {COMMANDS['aa']} does so."
STEPS = f"""
A series is the time of each commit over that of a fixed commit, the anchor, timed side by side: the machine cancels.
Steps are proposed by a search with an L1 cost (PELT, ruptures) whose penalty lets a series without a step have one in
at most 1 of 100; those below the benchmark's margin are dropped, and the rest must pass a rank test at 0.002. Where
there are too few runs for that test to tell, a step is suspected. A series needs {LEAST} runs. Where an anchor follows
another, the series goes on by their measured ratio, whose error then enters all that follows.
"""
SMALLEST = """
The smallest slowdown found in 80 % of runs is calculated from the measured spread, by the noncentral t distribution:
two batches must both be significantly above the margin, by Student's t of their pairs, the first for a lone slowdown
among all benchmarks of the newest A/A run, the second by itself. The error of an estimate is the larger of two: the
root mean square of the A/A ratios, whose truth is 0, and what the width of their intervals says. The columns that count
what was found are measurements.
"""
METHOD = """
Base and head run side by side: a pair of fresh processes, segments in the order base head head base or its reverse,
drawn at random, on one pinned core. A ratio is the Hodges-Lehmann estimate over all blocks; its interval comes from a
bootstrap of pairs and blocks. A benchmark is slower if its ratio lies significantly above its margin, many benchmarks
considered (Benjamini and Hochberg), and a second, independent batch agrees; it is no worse if the ratio lies
significantly below; else it is inconclusive. The margin is the least that is tolerated, or the noise seen in A/A runs
on such a machine where that is more.
"""
LIMITS = """
Times hold for the machine that is named, and a ratio for the benchmarks as they are defined in head. What is slower
only in other cases, with more cores or on a GPU is not seen. Exact metrics tell of compiled code and counts, not of
time. The self-test knows the changes that it makes, and no others.
"""


def sections(facts: GateFacts) -> list[Section]:
    """Show all facts, those of the newest comparison first."""
    newest = facts.newest
    return [
        *([_ratios(newest), _exact(newest), _rejected(newest)] if newest else []),
        _history(facts.history),
        _self_test(facts.self_test),
        Section("Method and limits", paragraphs=(METHOD, LIMITS)),
    ]


def _ratios(newest: JudgedRun) -> Section:
    ratios = tables.ratios(newest.ratios)
    return Section("Head against base", (figures.ratios(newest.ratios),), (ratios,) if ratios.rows else ())


def _exact(newest: JudgedRun) -> Section:
    values = newest.exact
    if values.empty:
        return Section("Exact metrics", paragraphs=("No exact metric was taken in this run.",))
    same = int(values["same"].sum())
    informs = int((values["use"] == "information only").sum())
    text = (
        f"{same:,} of {len(values):,} values are the same in base and head; all of them are in exact.csv."
        f" {informs:,} of the values are information only: they may differ without being worse, and decide nothing."
    )
    changes = tables.exact_changes(newest.conclusion.changes)
    return Section("Exact metrics", (), tables.first_rows([changes], "exact.csv"), (text,))


def _rejected(newest: JudgedRun) -> Section:
    rejections, unmeasured = tables.rejections(newest), tables.unmeasured(newest)
    sentences = [] if rejections.rows else ["No block was rejected."]
    sentences += [] if unmeasured.rows else ["Nothing that should be measured was not."]
    details = tables.first_rows([rejections, unmeasured], "rejected.csv")
    return Section("Rejected, and not measured", (), details, tuple(sentences))


def _history(past: History) -> Section:
    if not past.runs:
        return Section("History", paragraphs=(NO_HISTORY,))
    pictures = [figures.history(past)] if len(past.points) else []
    changes = [tables.steps(past), tables.exact_steps(past.exact), tables.events(past.events)]
    sentences = [] if len(past.changes) else [f"No step was found in {count(past.runs, 'run')}."]
    if past.short:
        fewest, most = min(past.short.values()), max(past.short.values())
        sentences.append(
            f"Of {count(len(past.short), 'benchmark')} there are too few runs for a step to be found: {LEAST} are"
            f" needed without a break, and there are {fewest}{' or more' if fewest < most else ''}."
        )
    return Section("History", tuple(pictures), tables.first_rows(changes, "the CSV files"), (*sentences, STEPS))


def _self_test(self_test: SelfTest | None) -> Section:
    title = "The gate, tested on itself"
    if self_test is None:
        return Section(title, paragraphs=(UNTESTED,))
    picture, detection = figures.outcomes(self_test.rates), tables.detection(self_test.rates)
    if self_test.smallest.empty:
        return Section(title, (picture,), (detection,))
    sensitivity = figures.sensitivity(self_test.smallest, self_test.controls)
    return Section(title, (picture, sensitivity), (detection, tables.sensitivities(self_test)), (SMALLEST,))
