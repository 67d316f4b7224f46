"""The paired tier: both arms of a benchmark by turns, in pairs of fresh processes on one core.

A block is four segments, base head head base or head base base head, as a seeded coin falls: a drift that is linear in
time cancels. Fresh processes a pair average out where memory, code and hashes happen to lie (Kalibera and Jones 2013).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from deeptwins.errors import line
from deeptwins.gate.compare.disturbances import Watch
from deeptwins.gate.compare.processes import PATIENCE_S, ArmError, Task, Worker, folder_for_files
from deeptwins.gate.judge import verdict
from deeptwins.gate.runs import Benchmark, Block, Design, Pair, rounded

MOST_CALLS = 1 << 24  # a segment
CLOSE, COLD = 0.8, 10.0  # segments: what is long enough; what is so even if the first call was a cold one
SLOW, GROWTH = 20.0, 100  # segments that calibration may last, by the clock; times that it may go up at once
SEGMENTS = 3  # by whose median added work is measured out
PAIR_S = 5.0  # a benchmark may take of a pair: a slow one gets fewer blocks, and one at least

_Choice = Callable[[Sequence[Benchmark], Design], list[str]]


@dataclass
class Samples:
    """What was measured of a benchmark so far."""

    calls: int = 0
    seconds: float = 0.0
    """Of a call, about."""
    status: str = "unfinished"
    reason: str | None = "not begun"
    batches: dict[str, list[Pair]] = field(default_factory=lambda: {"pairs": [], "confirmation": []})


class _EndedError(Exception):
    """A test ended in the midst of a measurement."""

    def __init__(self, worker: Worker, told: dict[str, Any]) -> None:
        super().__init__()
        self.worker, self.told = worker, told


class Measurement:
    """A comparison under way: what has been measured is never lost."""

    def __init__(
        self,
        task: Task,
        told: Callable[[str], object],
        deadline: float,
        margins: Mapping[str, tuple[float, int]] | None = None,
    ) -> None:
        """Prepare.

        Args:
            task: what is measured.
            told: is called with what happens now, for the user.
            deadline: by `time.monotonic`, after which nothing new begins.
            margins: by name, what is tolerated and on how many runs of A/A that rests.
        """
        self._task, self._told, self._deadline, self._margins = task, told, deadline, margins or {}
        self._random = random.Random(task.design.seed)  # noqa: S311  the order of benchmarks
        self._samples: dict[str, Samples] = {}
        self._pairs = 0
        self._longest = 0.0  # of a pair, in seconds
        self.failure: str | None = None

    def run(self, only: Sequence[str] = ()) -> None:
        """Measure all benchmarks of the suite, or those whose names hold one of some words.

        A first batch of pairs; more of it where it leaves open what is asked; a second batch, independent of it, of
        what looks slower or faster; more of that where too much of it was disturbed.

        Args:
            only: words.
        """
        design = self._task.design
        try:
            with folder_for_files() as scratch:
                names = self._collect(only, scratch)
                self._batch("pairs", names, design.pairs, scratch)
                self._enlarge("pairs", verdict.undecided, scratch)
                if suspects := self._of(verdict.suspects):
                    self._batch("confirmation", suspects, design.pairs, scratch)
                    self._enlarge("confirmation", verdict.spoiled, scratch)
        except (ArmError, OSError) as error:
            self.failure = str(error)
        except KeyboardInterrupt:
            self.failure = "interrupted"

    def benchmarks(self) -> tuple[Benchmark, ...]:
        """What has been measured."""
        found = []
        for name in sorted(self._samples):
            own = self._samples[name]
            margin, controls = self._margins.get(name, (None, 0))
            found.append(
                Benchmark.model_validate(
                    {
                        "id": name,
                        "status": own.status,
                        "reason": own.reason,
                        "calls": own.calls,
                        "margin": margin,
                        "controls": controls,
                        "pairs": tuple(own.batches["pairs"]),
                        "confirmation": tuple(own.batches["confirmation"]),
                    }
                )
            )
        return tuple(found)

    def _of(self, choose: _Choice) -> list[str]:
        return choose(self.benchmarks(), self._task.design)

    def _fits(self) -> bool:
        """Whether there is time for another pair."""
        return time.monotonic() + self._longest <= self._deadline

    def _collect(self, only: Sequence[str], scratch: Path) -> list[str]:
        """Ask both arms for their benchmarks; those of one arm alone cannot be compared."""
        self._told("collecting")
        with self._workers((), scratch, collect=True) as workers:
            base, head = [worker.read() for worker in workers]
        wanted = [[name for name in each["collected"] if _holds(name, only)] for each in (base, head)]
        new, gone = {*wanted[1]} - {*wanted[0]}, {*wanted[0]} - {*wanted[1]}
        broken = {node for node in head["broken"] if _holds(node, only)}
        broken -= {node for node in broken for name in gone if _within(name, node)}
        self._samples |= {name: Samples(status="new", reason=_why(name, "base", base["broken"])[1]) for name in new}
        for name in gone | broken:
            status, reason = _why(name, "head", head["broken"])
            self._samples[name] = Samples(status=status, reason=reason)
        both = [name for name in wanted[0] if name in wanted[1]]
        self._samples |= {name: Samples() for name in both}
        return both

    def _enlarge(self, batch: str, choose: _Choice, scratch: Path) -> None:
        """Go on, pair by pair and to twice the size at most, with those that are chosen."""
        for _ in range(self._task.design.pairs):
            if not (chosen := self._of(choose)):
                return
            self._batch(batch, chosen, 1, scratch)

    def _batch(self, batch: str, names: Sequence[str], pairs: int, scratch: Path) -> None:
        for number in range(pairs):
            left = [name for name in names if self._samples[name].status in {"ok", "unfinished"}]
            if not left or (self._pairs and not self._fits()):
                return
            told = "once more, to confirm" if batch == "confirmation" else "measuring"
            self._told(f"{told}: {len(left)} benchmarks, pair {number + 1} of {pairs}")
            started = time.monotonic()
            self._pair(batch, self._random.sample(left, len(left)), scratch)
            self._longest = max(self._longest, time.monotonic() - started)

    def _pair(self, batch: str, names: Sequence[str], scratch: Path) -> None:
        """Measure benchmarks in one pair of fresh processes."""
        self._pairs += 1
        with self._workers(names, scratch, collect=False) as workers:
            orders = [worker.read()["collected"] for worker in workers]
            if orders[0] != orders[1]:
                raise ArmError("base and head do not run the same benchmarks in the same order")
            for name in orders[0]:
                if time.monotonic() > self._deadline:
                    self._late()
                    return
                self._benchmark(batch, name, workers)

    def _late(self) -> None:
        for own in self._samples.values():
            if own.status == "unfinished":
                own.reason = "the time was up"

    def _benchmark(self, batch: str, name: str, workers: tuple[Worker, Worker]) -> None:
        own, told = self._samples[name], {worker: worker.read() for worker in workers}
        known = bool(own.batches["pairs"])
        if all("ready" in each for each in told.values()):
            for worker, each in told.items():
                if each["elsewhere"]:
                    raise ArmError(f"{worker.arm.name}: imports {each['elsewhere'][0]}, not its own version of it")
            blocks: list[Block] = []
            try:
                for block in self._blocks(name, workers, told[workers[0]]["seconds"]):
                    blocks.append(block)  # noqa: PERF402  a list that is extended at once loses them
            except _EndedError as ended:
                told[ended.worker], known = ended.told, True
            finally:  # what there is of it counts, too
                own.batches[batch] += [tuple(blocks)] if blocks else []
        base, head = (_outcome(worker, each, name) for worker, each in told.items())
        own.status, own.reason = self._status(base, head, known=known)
        if own.status == "ok" and not own.batches[batch]:
            own.status, own.reason = "skipped", "one arm timed nothing"

    @staticmethod
    def _status(base: tuple[str, str], head: tuple[str, str], *, known: bool = False) -> tuple[str, str | None]:
        """Say what became of a benchmark, by what became of it in each arm, and why.

        Args:
            base: outcome and reason.
            head: likewise.
            known: whether base could run it before, so that it is not new.
        """
        if head[0] != "ok":
            return head[0], f"head: {head[1]}"
        if base[0] == "ok":
            return "ok", None
        return base[0] if known else "new", f"base: {base[1]}"

    def _blocks(self, name: str, workers: tuple[Worker, Worker], warm: float) -> Iterator[Block]:
        """Measure the blocks of one benchmark in one pair.

        Args:
            name: of the benchmark.
            workers: of base and head, both ready.
            warm: seconds of the call that warmed base up.
        """
        own, (base, head) = self._samples[name], workers
        if not own.calls:
            own.calls, own.seconds = _calibrate(base, warm, self._task.design.segment_s)
        patience = PATIENCE_S + 100 * own.calls * own.seconds
        if share := self._task.added.get(name):
            usual = median(_ran(base, base.ask(patience, run=own.calls))["seconds"] for _ in range(SEGMENTS))
            head.ask(add=share * usual)
        if own.calls > 1:
            _ran(head, head.ask(patience, run=own.calls))  # as warm as base
        length = 4 * own.calls * own.seconds
        for _ in range(min(self._task.design.blocks, max(1, int(PAIR_S / max(length, 1e-9))))):
            order = self._random.choice(("ABBA", "BAAB"))
            watch = Watch(self._task.core)
            turns = [base if letter == "A" else head for letter in order]
            replies = [_ran(worker, worker.ask(patience, run=own.calls)) for worker in turns]
            seconds = tuple(rounded(max(reply["seconds"], 1e-12)) for reply in replies)
            yield Block.model_validate({"order": order, "seconds": seconds, "rejected": watch.disturbed(replies)})

    @contextmanager
    def _workers(self, names: Sequence[str], scratch: Path, *, collect: bool) -> Iterator[tuple[Worker, Worker]]:
        with ExitStack() as stack:
            started = []
            for arm in self._task.arms:
                number = 1000 * self._task.design.seed + self._pairs
                worker = Worker(self._task, arm, names, scratch, number, collect=collect)
                stack.callback(worker.close)
                started.append(worker)
            yield started[0], started[1]


def _calibrate(worker: Worker, seconds: float, segment_s: float) -> tuple[int, float]:
    """Return how many calls make a segment, and the seconds of one, about.

    Args:
        worker: that is asked.
        seconds: that one call took, which may have been a cold one.
        segment_s: that a segment takes at least.
    """
    calls = 1
    while calls * seconds < COLD * segment_s:
        wanted = min(math.ceil(segment_s / max(seconds, 1e-9)), MOST_CALLS, GROWTH * calls)
        begun = time.monotonic()
        seconds = _ran(worker, worker.ask(run=wanted))["seconds"]
        if (lasted := time.monotonic() - begun) > SLOW * segment_s:  # the benchmark's own timer goes slower
            return wanted, lasted / wanted
        if wanted * seconds >= CLOSE * segment_s or wanted >= MOST_CALLS:
            return wanted, seconds
        calls = wanted
    return calls, seconds


def _ran(worker: Worker, told: dict[str, Any]) -> dict[str, Any]:
    """Check that a segment was run.

    Raises:
        _EndedError: the test ended instead: a call raised.
    """
    if "test" in told:
        raise _EndedError(worker, told)
    return told


def _holds(name: str, words: Sequence[str]) -> bool:
    return not words or any(word in name for word in words)


def _within(name: str, node: str) -> bool:
    """Tell whether a node of pytest, such as a file, is a benchmark or holds it."""
    return name == node or name.startswith((f"{node}::", f"{node}/"))


def _why(name: str, arm: str, broken: Mapping[str, str]) -> tuple[str, str]:
    """Say why an arm lacks a benchmark: status and reason.

    Args:
        name: of the benchmark.
        arm: its name.
        broken: nodes that could not be collected, and why.
    """
    reason = next((why for node, why in broken.items() if _within(name, node)), None)
    return ("skipped", f"not in {arm}") if reason is None else ("failed", f"{arm}: {line(reason)}")


def _outcome(worker: Worker, told: dict[str, Any], name: str) -> tuple[str, str]:
    """Let a test go on to its end; returns what became of it, and why."""
    if "ready" in told:
        told = worker.ask(end=True)
    status, reason = "ok", ""
    while True:
        if told.get("test") != name:
            raise ArmError(f"{worker.arm.name}: {name} does not end")
        if told["outcome"] != "passed" and status == "ok":
            status, reason = told["outcome"], line(told["reason"] or "no reason given")
        if told["when"] == "teardown":
            return status, reason
        told = worker.read()
