"""The gate, tested on itself: a commit against itself, as it is, with work added, with its source made worse.

Each trial is an ordinary run of the gate and leaves an ordinary document. Trials that lie in the results are not done
again, so that a self-test goes on where it was interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeptwins.gate import runs
from deeptwins.gate.compare.comparison import Asked, compare
from deeptwins.gate.compare.mutations import MUTATIONS
from deeptwins.gate.runs import Kind, Run

TRIALS = 20
ADDED = (0.1, 0.05)  # shares of a call


@dataclass(frozen=True)
class Trial:
    """A run whose truth is known."""

    kind: Kind
    injected: str | None = None
    """How the source is made worse."""
    added: tuple[tuple[str, float], ...] = ()
    """Benchmarks that are slower, and by what share."""

    @property
    def words(self) -> str:
        """Say what it is."""
        more = " and ".join(f"+{100 * share:g} % work in {name}" for name, share in self.added)
        return self.injected or more or "nothing differs"

    def asked(self, usual: Asked, seed: int, quick: Sequence[str] = ()) -> Asked:
        """Say what is to be compared.

        Args:
            usual: without what makes it this trial.
            seed: of its order.
            quick: names of benchmarks that are measured beside those that are slower; none: all.
        """
        same = replace(usual, base=usual.head, kind=self.kind, seed=seed)
        if self.kind == "mutant":
            return replace(same, mutation=MUTATIONS[str(self.injected)], tiers=("exact",))
        only = tuple(dict.fromkeys([*quick, *dict(self.added)])) if quick and self.added else ()
        return replace(same, added=dict(self.added), only=only, tiers=("paired",))


def plan(benchmarks: Sequence[str], trials: int = TRIALS) -> list[Trial]:
    """List the trials: with nothing, and with work added, by turns, so that a part of them tells something, too.

    Each slowdown goes round the benchmarks, so that every one has its share; where there are several, the slowdowns of
    a run are in different ones.

    Args:
        benchmarks: names; at least one.
        trials: of A/A, and of every slowdown. Of a changed source, which has no noise, one is enough.
    """
    found = [Trial("mutant", name) for name in MUTATIONS]
    for number in range(trials):
        places = [(number + place * len(benchmarks) // len(ADDED)) % len(benchmarks) for place in range(len(ADDED))]
        slower = [(benchmarks[place], share) for place, share in zip(places, ADDED, strict=True)]
        apart = [slower] if len({*places}) == len(places) else [[one] for one in slower]
        found += [Trial("aa"), *(Trial("slower", added=tuple(one)) for one in apart)]
    return found


def quick(done: Iterable[Run]) -> list[str]:
    """Name the benchmarks that are not slow, by the newest A/A run; none where there is none.

    A slow one would take half of the time of all trials, and tells little where another is slowed.
    """
    newest = next((run for run in reversed([*done]) if run.kind == "aa"), None)
    return [] if newest is None else [one.id for one in newest.benchmarks if one.pairs and len(one.pairs[0]) > 1]


def left(planned: Iterable[Trial], done: Iterable[Run]) -> list[Trial]:
    """List the trials that are not done yet, on whatever machine; what ended early does not count."""
    there = Counter(Trial(run.kind, run.injected, _sorted(run.added)) for run in done if run.failure is None)
    missing = []
    for trial in planned:
        same = replace(trial, added=_sorted(dict(trial.added)))
        if there[same]:
            there[same] -= 1
        else:
            missing.append(trial)
    return missing


def _sorted(added: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(added.items()))


def run(
    asked: Asked, planned: Sequence[Trial], results: Path, teller: Callable[[], Callable[[str], object]]
) -> str | None:
    """Do the trials that are not done yet, and keep each; says what ended them early.

    Args:
        asked: what is usually compared.
        planned: all trials.
        results: where runs lie, and go.
        teller: gives, for every trial, what is called with what happens now.

    Raises:
        InputError: as `compare`.
    """
    missing = left(planned, runs.load(results))
    done = len(planned) - len(missing)
    teller()(f"{done} of {len(planned)} trials are done")
    for number, trial in enumerate(missing, done + 1):
        told = teller()
        told(f"trial {number} of {len(planned)}: {trial.words}")
        found = compare(trial.asked(asked, number, quick(runs.load(results))), results, told)
        runs.write(results, found)
        if found.failure is not None:
            return found.failure
    return None
