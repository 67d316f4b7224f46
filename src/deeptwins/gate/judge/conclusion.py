"""From a run to its conclusion, an exit code and sentences: by verdicts, exact metrics, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deeptwins.gate.judge import sentences
from deeptwins.gate.judge.metrics import Change, changes, lost
from deeptwins.gate.judge.verdict import Judged, Verdict, judge
from deeptwins.gate.runs import Run
from deeptwins.pages.wording import count

FINE, SLOWER, FAILED, UNDECIDED, OTHERS = 0, 1, 2, 3, 4
"""Exit codes: nothing is worse; something is; the run ended early; it cannot be told; the benchmarks are not those that
are expected, or nothing was measured."""


@dataclass(frozen=True)
class Conclusion:
    """What is said of a run."""

    code: int
    answer: str
    """The verdict in a sentence."""
    lines: tuple[str, ...]
    """What was found, in sentences, the gravest first; the answer may be one of them."""
    judged: tuple[Judged, ...]
    changes: tuple[Change, ...]

    @property
    def details(self) -> tuple[str, ...]:
        """The sentences beside the answer."""
        return tuple(line for line in self.lines if line != self.answer)


def conclude(run: Run) -> Conclusion:
    """Judge a run.

    Where several exit codes would do, the first of 2, 1, 4, 3, 0 holds. A run that ended early is neither good nor bad,
    and must not be taken for either when bisecting. What is slower for sure stays so whatever else was not measured: no
    change of the benchmarks hides it. Benchmarks that are missing may be slower, which is worse than a doubt about one
    that was measured.
    """
    # Judge times and exact metrics, and compare what was measured with what is expected.
    judged, different = judge(run.benchmarks, run.design), changes(run.exact)
    worse = [change for change in different if change.worse]
    missing, unexpected = _missing(run, judged), _unexpected(run)
    nothing = not _compared(run, judged)
    verdicts = {one.verdict for one in judged}

    # The exit code.
    if run.failure is not None:
        code = FAILED
    elif "regressed" in verdicts or worse:
        code = SLOWER
    elif missing or unexpected or nothing:
        code = OTHERS
    else:
        code = UNDECIDED if "inconclusive" in verdicts else FINE

    # The sentences. What is wrong comes first; that nothing is worse does so only where all is fine.
    lines = (
        [] if run.failure is None else [f"No verdict, the run ended early: {run.failure.strip().removesuffix('.')}."]
    )
    lines += _confirmed(judged, "regressed")
    lines += sentences.differing("Worse", worse)
    lines += ["Nothing was measured."] if nothing else []
    lines += [f"Not measured: {sentences.reasoned(missing)}."] if missing else []
    lines += [f"Not in the suite's list, gate.txt: {sentences.names(unexpected)}."] if unexpected else []
    lines += [sentences.doubtful(one.id, one.estimate, one.reason) for one in judged if one.verdict == "inconclusive"]
    harmless = _confirmed(judged, "improved") + sentences.exact(different)
    if new := _new(run):
        harmless.append(f"New, and so not compared: {sentences.reasoned(new)}.")
    if skipped := _skipped(run):
        harmless.append(f"Skipped in both: {sentences.reasoned(skipped)}.")
    no_worse = _no_worse(run, judged, different, alone=code == FINE)
    lines += no_worse + harmless if code == FINE else harmless + no_worse
    answer = _answer(code, judged, len(worse), len(missing), nothing=nothing) or lines[0]
    return Conclusion(code, answer, tuple(lines), tuple(judged), tuple(different))


def _answer(code: int, judged: Sequence[Judged], worse: int, missing: int, *, nothing: bool) -> str:
    """Sum up several sentences in one; empty where the first of them says it."""
    slower = [(one.id, one.estimate) for one in judged if one.verdict == "regressed" and one.estimate]
    if code == SLOWER and len(slower) + worse > 1:
        return sentences.several(slower, worse)
    if code == OTHERS and (nothing or missing > 1):
        what = f"{missing} expected benchmarks were not" if missing > 1 else "nothing was"
        return f"No verdict: {what} measured."
    if code == UNDECIDED:
        undecided = sum(one.verdict == "inconclusive" for one in judged)
        return f"No slowdown was confirmed; {undecided} of {count(len(judged), 'benchmark')} inconclusive."
    return ""


def _no_worse(run: Run, judged: Iterable[Judged], different: Sequence[Change], *, alone: bool) -> list[str]:
    """Count the benchmarks and exact values that are no worse, in a sentence; none where there are none."""
    margins = [one.margin for one in judged if one.verdict == "no_worse"]
    same = sum(map(len, run.exact.values())) - len(different)
    parts = [sentences.no_slower(margins)] if margins else []
    parts += [f"{count(same, 'exact value')} unchanged"] if same else []
    return [f"No slowdown{'' if alone else ' elsewhere'}: {', '.join(parts)}."] if parts else []


def _confirmed(judged: Iterable[Judged], verdict: Verdict) -> list[str]:
    return [
        sentences.confirmed(one.id, one.estimate, one.confirmation)
        for one in judged
        if one.verdict == verdict and one.estimate and one.confirmation
    ]


def _compared(run: Run, judged: Iterable[Judged]) -> set[str]:
    """Name what was measured in head and can be compared with base."""
    subjects = {name for name, metrics in run.exact.items() if metrics} - {*lost(run.exact)}
    return subjects | {one.id for one in judged if one.verdict != "not_measured"}


def _new(run: Run) -> dict[str, str]:
    """Return the benchmarks that base cannot run, by name, with the reason."""
    return {new.id: new.reason or "no reason given" for new in run.benchmarks if new.status == "new"}


def _skipped(run: Run) -> dict[str, str]:
    """Return the benchmarks that neither arm can run here, by name, with the reason."""
    return {one.id: one.reason or "no reason given" for one in run.benchmarks if one.status == "skipped in both"}


def _missing(run: Run, judged: Sequence[Judged]) -> dict[str, str]:
    """Return what was not measured in head and is expected, by name, with the reason.

    Where a run does not say what is expected, that is all that it names.
    """
    reasons = {name.removesuffix(" (head)"): reason for name, reason in run.unavailable.items()}
    reasons |= {one.id: one.reason for one in judged if one.verdict == "not_measured"}
    expected = [*_benchmark_names(run), *run.exact] if run.expected is None else run.expected
    measured = _compared(run, judged) | {*_new(run), *_skipped(run)}
    missing = [name for name in dict.fromkeys(expected) if name not in measured]
    why = "not in head" if run.failure is None else "the run ended early"
    return {name: reasons.get(name, why) for name in missing}


def _unexpected(run: Run) -> list[str]:
    """Name what head has, measured or not, and is not expected."""
    if run.expected is None:
        return []
    subjects = {*run.exact} - {*lost(run.exact)}
    return sorted({*_benchmark_names(run), *subjects} - {*run.expected, *_skipped(run)})


def _benchmark_names(run: Run) -> list[str]:
    return [benchmark.id for benchmark in run.benchmarks]
