"""The gate, tested on itself: a commit against itself, as it is, with work added, with its source made worse.

Each trial is an ordinary run of the gate and leaves an ordinary document. Trials that lie in the results are not done
again, so that a self-test goes on where it was interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from deeptwins.gate.comparison import Asked
from deeptwins.gate.mutations import MUTATIONS
from deeptwins.gate.runs import Kind, Run

TRIALS = 20
ADDED = (0.1, 0.05)  # shares of a call


@dataclass(frozen=True)
class Trial:
    """A run whose truth is known."""

    kind: Kind
    injected: str | None = None
    """The benchmark that is slower, or the change of the source."""
    added: float | None = None

    @property
    def words(self) -> str:
        """Say what it is."""
        if self.kind == "aa":
            return "A/A"
        return self.injected or "" if self.added is None else f"+{100 * self.added:g} % work in {self.injected}"

    def asked(self, usual: Asked, seed: int) -> Asked:
        """Say what is to be compared."""
        base = usual.head
        if self.kind == "mutant":
            return replace(usual, base=base, kind="mutant", mutation=MUTATIONS[str(self.injected)], tiers=("exact",))
        added = {} if self.added is None else {str(self.injected): self.added}
        return replace(usual, base=base, kind=self.kind, added=added, tiers=("paired",), seed=seed)


def plan(benchmarks: Sequence[str], trials: int = TRIALS) -> list[Trial]:
    """List the trials: as many of A/A and of each slowdown, by turns, so that a part of them tells something, too.

    Slowdowns go round the benchmarks, so that each has its share.

    Args:
        benchmarks: names; at least one.
        trials: of each kind, but for changed sources, which have no noise: one is enough.
    """
    found = [Trial("mutant", name) for name in MUTATIONS]
    for number in range(trials):
        found.append(Trial("aa"))
        found += [Trial("slower", benchmarks[number % len(benchmarks)], added) for added in ADDED]
    return found


def left(planned: Iterable[Trial], done: Iterable[Run], machine: str) -> list[Trial]:
    """List the trials that are not done yet on a kind of machine; what ended early does not count."""
    there = Counter(
        Trial(run.kind, run.injected, run.added)
        for run in done
        if run.failure is None and (run.environment.machine == machine or run.kind == "mutant")
    )
    missing = []
    for trial in planned:
        if there[trial]:
            there[trial] -= 1
        else:
            missing.append(trial)
    return missing
