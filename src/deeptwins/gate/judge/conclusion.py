"""From a run to its conclusion, an exit code and a few sentences: by verdicts, exact metrics, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deeptwins.gate.judge import sentences
from deeptwins.gate.judge.metrics import Change, changes, lost
from deeptwins.gate.judge.verdict import Judged, Verdict, judge
from deeptwins.gate.runs import Run
from deeptwins.pages.wording import count

FINE, SLOWER, FAILED, UNDECIDED, OTHERS = 0, 1, 2, 3, 4
"""Exit codes: nothing is worse; something is; the run ended early; it cannot be told; the set is not the expected."""


@dataclass(frozen=True)
class Conclusion:
    """What is found of a run."""

    code: int
    lines: tuple[str, ...]
    """Sentences; the first is the verdict."""
    judged: tuple[Judged, ...]
    changes: tuple[Change, ...]


def conclude(run: Run) -> Conclusion:
    """Judge a run.

    Of several exit codes the first of 2, 1, 4, 3, 0 holds. A run that ended early is neither good nor bad, and must not
    be taken for either when bisecting. What is slower for sure is so whatever else was not measured: no change of the
    set hides it. A set that changed may have lost what is slower: graver than what was measured and is in doubt.
    """
    judged, different = judge(run.benchmarks, run.design), changes(run.exact)
    missing, more = _missing(run, judged), _unexpected(run)
    nothing = not _compared(run, judged)
    verdicts = {one.verdict for one in judged}
    if run.failure is not None:
        code = FAILED
    elif "regressed" in verdicts or any(change.worse for change in different):
        code = SLOWER
    elif missing or more or nothing:
        code = OTHERS
    else:
        code = UNDECIDED if "inconclusive" in verdicts else FINE
    lines = [] if run.failure is None else [f"Ended early: {run.failure.strip().removesuffix('.')}."]
    lines += _confirmed(judged, "regressed")
    lines += sentences.differing("Worse", [change for change in different if change.worse])
    lines += ["Nothing was measured."] if nothing else []
    lines += [f"Not measured: {sentences.names([*missing.values()])}."] if missing else []
    lines += [f"Not expected: {sentences.names(more)}."] if more else []
    doubtful = [one for one in judged if one.verdict == "inconclusive"]
    lines += [sentences.doubtful(one.id, one.estimate, one.reason) for one in doubtful]
    told = [*_confirmed(judged, "improved"), *sentences.exact(different)]
    told += [f"New, with nothing to compare: {sentences.names([*new.values()])}."] if (new := _new(run)) else []
    same = sum(map(len, run.exact.values())) - len(different)
    margins = [one.margin for one in judged if one.verdict == "no_worse"]
    parts = [sentences.no_slower(margins)] if margins else []
    parts += [f"{count(same, 'exact value')} the same"] if same else []
    fine = [f"No worse: {', '.join(parts)}."] if parts else []
    lines += [*fine, *told] if code == FINE else [*told, *fine]
    return Conclusion(code, tuple(lines), tuple(judged), tuple(different))


def _confirmed(judged: Iterable[Judged], verdict: Verdict) -> list[str]:
    return [
        sentences.confirmed(one.id, one.estimate, one.confirmation)
        for one in judged
        if one.verdict == verdict and one.estimate and one.confirmation
    ]


def _compared(run: Run, judged: Iterable[Judged]) -> set[str]:
    """Name what was measured in head, and is not new."""
    counted = {name for name, metrics in run.exact.items() if metrics} - {*lost(run.exact)}
    return counted | {one.id for one in judged if one.verdict != "not_measured"}


def _new(run: Run) -> dict[str, str]:
    """Say why base lacks what head has."""
    return {each.id: f"{each.id} ({each.reason})" for each in run.benchmarks if each.status == "new"}


def _missing(run: Run, judged: Sequence[Judged]) -> dict[str, str]:
    """Say why head lacks what is expected or, where nothing is said to be, what is named."""
    why = {name.removesuffix(" (head)"): reason for name, reason in run.unavailable.items()}
    why |= {one.id: one.reason for one in judged if one.verdict == "not_measured"}
    expected = [*(each.id for each in run.benchmarks), *run.exact] if run.expected is None else run.expected
    there = _compared(run, judged) | {*_new(run)}
    missing = [name for name in dict.fromkeys(expected) if name not in there]
    return {name: f"{name} ({why.get(name, 'head has none')})" for name in missing}


def _unexpected(run: Run) -> list[str]:
    """Name what head has and is not expected, measured or not."""
    if run.expected is None:
        return []
    named = [*(each.id for each in run.benchmarks), *({*run.exact} - {*lost(run.exact)})]
    return sorted({*named} - {*run.expected})
