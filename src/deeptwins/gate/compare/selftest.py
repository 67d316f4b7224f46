"""The gate, tested on itself: a commit against itself, as it is, with work added, with its source made worse.

Each trial is an ordinary run of the gate and leaves an ordinary file. A trial whose file lies in the results is not
done again, so that a self-test goes on where it was interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeptwins.gate import runs
from deeptwins.gate.compare.comparison import Request, compare
from deeptwins.gate.compare.mutations import MUTATIONS
from deeptwins.gate.runs import Kind, Run

TRIALS = 20
ADDED = (0.1, 0.05)  # work that is added, as shares of a call


@dataclass(frozen=True)
class Trial:
    """A run whose truth is known."""

    kind: Kind
    injected: str | None = None
    """Name of the mutation of the source; of the kind `mutant` only."""
    added: tuple[tuple[str, float], ...] = ()
    """Benchmarks that are made slower, and by what share of a call; of the kind `slower` only."""

    @property
    def words(self) -> str:
        """Say what differs between the arms."""
        added = " and ".join(f"+{100 * share:g} % work in {name}" for name, share in self.added)
        return self.injected or added or "no change"

    def request(self, usual: Request, seed: int, quick: Sequence[str] = ()) -> Request:
        """Return what is to be compared.

        Args:
            usual: what is compared otherwise: head against its base.
            seed: of the order of benchmarks and blocks.
            quick: benchmarks that are measured beside those that are made slower; none: all.
        """
        same = replace(usual, base=usual.head, kind=self.kind, seed=seed)
        if self.kind == "mutant":
            return replace(same, mutation=MUTATIONS[str(self.injected)], tiers=("exact",))
        only = tuple(dict.fromkeys([*quick, *dict(self.added)])) if quick and self.added else ()
        return replace(same, added=dict(self.added), only=only, tiers=("paired",))


def plan(benchmarks: Sequence[str], trials: int = TRIALS) -> list[Trial]:
    """List the trials. Those with nothing added and those with work added alternate, so that a part of them is of use.

    Each slowdown goes round the benchmarks, so that every one has its share. Where there are several benchmarks, the
    slowdowns of a run are in different ones.

    Args:
        benchmarks: names; at least one.
        trials: number of A/A trials, and of trials of each slowdown. A changed source has no noise: one trial each.
    """
    planned = [Trial("mutant", name) for name in MUTATIONS]
    for number in range(trials):
        places = [(number + place * len(benchmarks) // len(ADDED)) % len(benchmarks) for place in range(len(ADDED))]
        slowdowns = [(benchmarks[place], share) for place, share in zip(places, ADDED, strict=True)]
        planned.append(Trial("aa"))
        if len({*places}) == len(places):
            planned.append(Trial("slower", added=tuple(slowdowns)))
        else:
            planned += [Trial("slower", added=(slowdown,)) for slowdown in slowdowns]
    return planned


def quick(done: Iterable[Run]) -> list[str]:
    """Name the benchmarks that are not slow, by the newest A/A run; none where there is none.

    A slow one would take half of the time of all trials, and tells little where another is slowed. It is known by its
    single block per pair.
    """
    newest = next((run for run in reversed([*done]) if run.kind == "aa"), None)
    if newest is None:
        return []
    return [benchmark.id for benchmark in newest.benchmarks if benchmark.pairs and len(benchmark.pairs[0]) > 1]


def left(planned: Iterable[Trial], done: Iterable[Run]) -> list[Trial]:
    """List the trials that are not done yet, on whatever machine; a run that ended early does not count."""
    finished = Counter((run.kind, run.injected, frozenset(run.added.items())) for run in done if run.failure is None)
    missing = []
    for trial in planned:
        same = trial.kind, trial.injected, frozenset(trial.added)
        if finished[same]:
            finished[same] -= 1
        else:
            missing.append(trial)
    return missing


def run(
    request: Request, planned: Sequence[Trial], results: Path, teller: Callable[[], Callable[[str], object]]
) -> str | None:
    """Do the trials that are not done yet, and store each; returns what ended them early, None if nothing did.

    Args:
        request: what is compared otherwise.
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
        tell = teller()
        tell(f"trial {number} of {len(planned)}: {trial.words}")
        result = compare(trial.request(request, number, quick(runs.load(results))), results, tell)
        runs.write(results, result)
        if result.failure is not None:
            return result.failure
    return None
