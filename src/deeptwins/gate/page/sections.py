"""The sections of the gate's page: what the newest comparison found, what was before, and the gate's own errors."""

from __future__ import annotations

from deeptwins.gate.judge.history import History
from deeptwins.gate.judge.steps import LEAST
from deeptwins.gate.page import figures, history, tables
from deeptwins.gate.page.facts import COMMANDS, GateFacts, JudgedRun, SelfTest
from deeptwins.pages.page import Section
from deeptwins.pages.wording import count

NO_HISTORY = f"No history yet: `{COMMANDS['anchor']}` times a commit against a fixed one and adds a point."
UNTESTED = f"How often the gate is wrong was not measured yet: `{COMMANDS['aa']}` does so."
STEPS = f"""
A point is the time of a commit divided by that of a fixed commit, the anchor. Both ran side by side, so the speed of
the machine cancels. Steps are found by change-point detection (PELT with an L1 cost, package ruptures). At most one in
100 series without a step is given one. A step below the benchmark's margin is dropped. The others must pass a rank test
at p < 0.002. Where there are too few runs for that test, a step is called suspected. A series needs {LEAST} runs. Where
the anchor changes, later points are multiplied by the measured ratio of the two anchors; the error of that ratio is
then in all of them.
"""
SMALLEST = """
The slowdown detected in 4 of 5 runs is calculated from the noise, by the noncentral t distribution: both batches exceed
the margin significantly with a probability of 80 %. The calculation assumes that no other benchmark is slower: the
first batch is corrected for all benchmarks of the newest A/A run, the second for none. The standard error is the larger
of two: the root mean square of the A/A changes, whose true value is 0, and the one that the widths of their intervals
imply. How often an added slowdown was detected is measured.
"""
METHOD = """
Base and head run side by side in pairs of fresh processes on one core, and take turns: base, head, head, base, or the
reverse, at random. The change of a benchmark is the Hodges-Lehmann estimate over all blocks of four such turns, its
interval a bootstrap over pairs and blocks. A benchmark is slower if the change is significantly above the margin,
adjusted for the number of benchmarks (Benjamini-Hochberg). A slowdown counts only if a second, independent batch
confirms it. A benchmark is no slower if its interval ends below the margin. Otherwise it is inconclusive. The margin is
the design's least margin or, where it is larger, the noise of A/A runs on this kind of machine: runs that compare a
commit with itself.
"""
LIMITS = """
Times hold for the machine that is named. Both commits run head's benchmarks on one core of a CPU. The gate does not see
what is slower only on several cores, on a GPU, or in code that no benchmark runs. Exact values count compiled code and
operations, not time. The self-test covers the changes that it makes, and no others.
"""


def sections(facts: GateFacts) -> list[Section]:
    """Show what the newest comparison found, what was before, and the gate's own errors; details are folded."""
    newest = facts.newest
    return [
        *(_found(newest) if newest else []),
        *_history(facts.history),
        *_self_test(facts.self_test),
        *(_details(newest) if newest else []),
        Section("Method and limits", paragraphs=(METHOD, LIMITS), folded=True),
    ]


def _found(newest: JudgedRun) -> list[Section]:
    """Show times, exact values, and what was not measured, if anything was not."""
    ratios, unmeasured = tables.ratios(newest.ratios), tables.unmeasured(newest)
    times = Section("Times", (figures.ratios(newest.ratios),), (ratios,) if ratios.rows else ())
    missing = [Section("Not measured", tables=tables.first_rows([unmeasured], "rejected.csv"))]
    return [times, _exact(newest), *(missing if unmeasured.rows else [])]


def _exact(newest: JudgedRun) -> Section:
    values, title = newest.exact, "Exact values"
    if values.empty:
        return Section(title, paragraphs=("No exact value was counted in this run.",))
    same = int(values["same"].sum())
    informs = int((values["use"] == "information only").sum())
    text = (
        f"{same:,} of {len(values):,} values are unchanged; all of them are in exact.csv. {informs:,} are for"
        " information only: a change of them is neither better nor worse."
    )
    changes = tables.exact_changes(newest.conclusion.changes)
    return Section(title, (), tables.first_rows([changes], "exact.csv"), (text,))


def _details(newest: JudgedRun) -> list[Section]:
    """Show what verdicts rest on, and which blocks were rejected."""
    ratios, rejections = tables.ratio_details(newest.ratios), tables.rejections(newest)
    sentences = [] if rejections.rows else ["No block was rejected."]
    sentences += [] if tables.unmeasured(newest).rows else ["All expected benchmarks ran."]
    shown = (*tables.first_rows([ratios], "ratios.csv"), *tables.first_rows([rejections], "rejected.csv"))
    return [Section("Details of the times", (), shown, tuple(sentences), folded=True)]


def _history(past: History) -> list[Section]:
    title = "History"
    if not past.runs:
        return [Section(title, paragraphs=(NO_HISTORY,))]
    pictures = [history.history(past)] if len(past.points) else []
    sentences = [] if len(past.changes) else [f"No step was found in {count(past.runs, 'run')}."]
    if past.short:
        fewest, most = min(past.short.values()), max(past.short.values())
        sentences.append(
            f"{count(len(past.short), 'benchmark')} had too few runs to find a step: {LEAST} in a row are needed, not"
            f" {fewest if fewest == most else f'{fewest} to {most}'}."
        )
    steps = tables.first_rows([tables.steps(past)], "steps.csv")
    others = tables.first_rows([tables.exact_steps(past.exact), tables.events(past.events)], "the CSV files")
    return [
        Section(title, tuple(pictures), steps, tuple(sentences)),
        Section("Details of the history", (), others, (STEPS,), folded=True),
    ]


def _self_test(self_test: SelfTest | None) -> list[Section]:
    title = "How reliable is the gate?"
    if self_test is None:
        return [Section(title, paragraphs=(UNTESTED,))]
    picture, detection = figures.outcomes(self_test.rates), tables.detection(self_test.rates)
    known = Section(title, (picture,), (detection,))
    if self_test.smallest.empty:
        return [known]
    sensitivity = figures.sensitivity(self_test.smallest, self_test.controls)
    small = Section(
        "The smallest slowdown detected", (sensitivity,), (tables.sensitivities(self_test),), (SMALLEST,), folded=True
    )
    return [known, small]
