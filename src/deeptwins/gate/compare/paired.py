"""The paired tier: base and head take turns at each benchmark, in pairs of fresh processes on one core.

A block is four segments, base head head base or head base base head, as a seeded coin falls: a drift that is linear in
time cancels. Fresh processes for each pair average out where memory and code happen to lie and how hashes happen to
fall (Kalibera and Jones 2013).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from deeptwins.errors import line
from deeptwins.gate.compare.disturbances import BlockWatch
from deeptwins.gate.compare.processes import PATIENCE_S, ArmError, ArmProcess, Task, folder_for_files, pair_of_processes
from deeptwins.gate.judge import verdict
from deeptwins.gate.runs import Benchmark, Design, Pair, TimedBlock, rounded
from deeptwins.pages.wording import count

MOST_CALLS = 1 << 24  # per segment
SEGMENTS_FOR_ADDED_WORK = 3  # work is added as a share of the median call of so many segments
PAIR_S = 5.0  # seconds per pair: a benchmark that would take longer gets fewer blocks, and one at least

# Calibration, in lengths of a segment.
CLOSE = 0.8  # a segment may be so much shorter than it should be
COLD = 10.0  # a call that takes this long fills a segment, even if it was the first and the next ones are quicker
SLOW = 20.0  # no calibration segment lasts longer by the wall clock
GROWTH = 100  # calls grow at most by this factor from one calibration segment to the next

Selection = Callable[[Sequence[Benchmark], Design], list[str]]
"""Names the benchmarks to be measured further, by what has been measured."""


@dataclass
class Samples:
    """What has been measured of a benchmark so far."""

    calls: int = 0
    """Calls per segment; 0: not calibrated yet."""
    seconds: float = 0.0
    """About how long a call takes."""
    status: str = "unfinished"
    reason: str | None = "not begun"
    batches: dict[str, list[Pair]] = field(default_factory=lambda: {"pairs": [], "confirmation": []})


class ArmResult(NamedTuple):
    """What became of a benchmark in one arm."""

    status: str
    reason: str


class _EndedError(Exception):
    """A test ended in the midst of a measurement."""

    def __init__(self, worker: ArmProcess, reply: dict[str, Any]) -> None:
        super().__init__()
        self.worker, self.reply = worker, reply


class PairedMeasurement:
    """A comparison under way: what has been measured is never lost."""

    def __init__(
        self,
        task: Task,
        tell: Callable[[str], object],
        deadline: float,
        margins: Mapping[str, tuple[float, int]] | None = None,
        start: Callable[..., AbstractContextManager[tuple[ArmProcess, ArmProcess]]] = pair_of_processes,
    ) -> None:
        """Prepare.

        Args:
            task: what is measured.
            tell: is called with what happens now, for the user.
            deadline: by `time.monotonic`, after which nothing new begins.
            margins: by benchmark, its margin and the number of A/A runs that it comes from.
            start: starts a pair of processes.
        """
        self._task, self._tell, self._deadline, self._margins = task, tell, deadline, margins or {}
        self._start = start
        self._random = random.Random(task.design.seed)  # noqa: S311  the order of benchmarks
        self._samples: dict[str, Samples] = {}
        self._pairs = 0
        self._longest_pair_s = 0.0
        self.failure: str | None = None

    def run(self, only: Sequence[str] = ()) -> None:
        """Measure the benchmarks whose names hold one of some words; without a word, all of the suite."""
        pairs = self._task.design.pairs
        try:
            with folder_for_files() as scratch:
                names = self._collect(only, scratch)

                # A first batch of all, and more pairs of what it leaves open.
                self._measure_batch("pairs", names, pairs, scratch)
                self._enlarge("pairs", verdict.undecided, scratch)

                # A second, independent batch of what looks slower or faster, and more pairs where it was disturbed.
                if suspects := self._select(verdict.suspects):
                    self._measure_batch("confirmation", suspects, pairs, scratch)
                    self._enlarge("confirmation", verdict.spoiled, scratch)
        except (ArmError, OSError) as error:
            self.failure = str(error)
        except KeyboardInterrupt:
            self.failure = "interrupted"

    def benchmarks(self) -> tuple[Benchmark, ...]:
        """Return what has been measured, by name."""
        return tuple(self._benchmark(name, self._samples[name]) for name in sorted(self._samples))

    def _benchmark(self, name: str, samples: Samples) -> Benchmark:
        margin, controls = self._margins.get(name, (None, 0))
        return Benchmark.model_validate(
            {
                "id": name,
                "status": samples.status,
                "reason": samples.reason,
                "calls": samples.calls,
                "margin": margin,
                "controls": controls,
                **{batch: tuple(pairs) for batch, pairs in samples.batches.items()},
            }
        )

    def _select(self, selection: Selection) -> list[str]:
        return selection(self.benchmarks(), self._task.design)

    def _collect(self, only: Sequence[str], scratch: Path) -> list[str]:
        """Ask both arms for their benchmarks, and return those that both have: others cannot be compared."""
        self._tell("collecting benchmarks")
        with self._processes((), scratch, collect=True) as workers:
            base, head = [worker.read() for worker in workers]
        base_names, head_names = ([name for name in arm["collected"] if _matches(name, only)] for arm in (base, head))

        # What head alone has is new.
        for name in {*head_names} - {*base_names}:
            self._samples[name] = Samples(status="new", reason=_why_missing(name, "base", base["broken"]).reason)

        # What base alone has is lost. A file that head cannot import is named itself only if base names nothing in it.
        gone = {*base_names} - {*head_names}
        broken = {node for node in head["broken"] if _matches(node, only)}
        broken -= {node for node in broken for name in gone if _within(name, node)}
        for name in gone | broken:
            outcome = _why_missing(name, "head", head["broken"])
            self._samples[name] = Samples(status=outcome.status, reason=outcome.reason)

        both = [name for name in base_names if name in head_names]
        self._samples |= {name: Samples() for name in both}
        return both

    def _enlarge(self, batch: str, selection: Selection, scratch: Path) -> None:
        """Measure more of the selected benchmarks, pair by pair and up to twice the batch's size."""
        for _ in range(self._task.design.pairs):
            if not (names := self._select(selection)):
                return
            self._measure_batch(batch, names, 1, scratch)

    def _measure_batch(self, batch: str, names: Sequence[str], pairs: int, scratch: Path) -> None:
        """Measure pairs of a batch, as many as there is time for; the very first is begun in any case."""
        for number in range(pairs):
            names = [name for name in names if self._samples[name].status in {"ok", "unfinished"}]
            fits = time.monotonic() + self._longest_pair_s <= self._deadline
            if not names or (self._pairs and not fits):
                return
            which = "second" if batch == "confirmation" else "first"
            self._tell(f"timing {count(len(names), 'benchmark')}, {which} batch, pair {number + 1} of {pairs}")
            started = time.monotonic()
            self._measure_pair(batch, self._random.sample(names, len(names)), scratch)
            self._longest_pair_s = max(self._longest_pair_s, time.monotonic() - started)

    def _measure_pair(self, batch: str, names: Sequence[str], scratch: Path) -> None:
        """Measure benchmarks in one pair of fresh processes."""
        self._pairs += 1
        with self._processes(names, scratch, collect=False) as workers:
            orders = [worker.read()["collected"] for worker in workers]
            if orders[0] != orders[1]:
                raise ArmError("base and head do not run the same benchmarks in the same order")
            for name in orders[0]:
                if time.monotonic() > self._deadline:
                    self._mark_late()
                    return
                self._measure(batch, name, workers)

    def _mark_late(self) -> None:
        for samples in self._samples.values():
            if samples.status == "unfinished":
                samples.reason = "the time was up"

    def _measure(self, batch: str, name: str, workers: tuple[ArmProcess, ArmProcess]) -> None:
        """Measure one benchmark in one pair of processes, and note what became of it."""
        samples = self._samples[name]
        replies = {worker: worker.read() for worker in workers}
        base_ran = bool(samples.batches["pairs"])

        # Measure blocks where the test is ready in both arms; those before an interruption count, too.
        if all("ready" in reply for reply in replies.values()):
            for worker, reply in replies.items():
                if reply["elsewhere"]:
                    raise ArmError(f"{worker.arm.name}: imports {reply['elsewhere'][0]}, not its own version of it")
            blocks: list[TimedBlock] = []
            try:
                for block in self._blocks(name, workers, replies[workers[0]]["seconds"]):
                    blocks.append(block)  # noqa: PERF402  extending at once would lose them where a block raises
            except _EndedError as ended:
                replies[ended.worker], base_ran = ended.reply, True
            finally:
                samples.batches[batch] += [tuple(blocks)] if blocks else []

        # Let the test go on to its end in both arms.
        base, head = (_finish(worker, reply, name) for worker, reply in replies.items())
        samples.status, samples.reason = _combined(base, head, base_ran=base_ran)
        if samples.status == "ok" and not samples.batches[batch]:
            samples.status, samples.reason = "skipped", "one arm timed nothing"

    def _blocks(self, name: str, workers: tuple[ArmProcess, ArmProcess], first_call_s: float) -> Iterator[TimedBlock]:
        """Measure the blocks of one benchmark in one pair, whose workers are ready; the first call warmed base up."""
        samples, (base, head) = self._samples[name], workers
        if not samples.calls:
            samples.calls, samples.seconds = _calibrate(base, first_call_s, self._task.design.segment_s)
        calls = samples.calls
        patience = PATIENCE_S + 100 * calls * samples.seconds

        # Add work to head where that is asked for, measured out by base's calls.
        if share := self._task.added.get(name):
            segments = [_run(base, calls, patience)["seconds"] for _ in range(SEGMENTS_FOR_ADDED_WORK)]
            head.ask(add=share * median(segments))

        # Calibration has run such segments in base: head is warmed up likewise.
        if calls > 1:
            _run(head, calls, patience)

        block_s = 4 * calls * samples.seconds
        for _ in range(min(self._task.design.blocks, max(1, int(PAIR_S / max(block_s, 1e-9))))):
            order = self._random.choice(("ABBA", "BAAB"))
            watch = BlockWatch(self._task.core)
            replies = [_run(base if letter == "A" else head, calls, patience) for letter in order]
            seconds = tuple(rounded(max(reply["seconds"], 1e-12)) for reply in replies)
            yield TimedBlock.model_validate({"order": order, "seconds": seconds, "rejected": watch.disturbed(replies)})

    def _processes(
        self, names: Sequence[str], scratch: Path, *, collect: bool
    ) -> AbstractContextManager[tuple[ArmProcess, ArmProcess]]:
        """Start a pair of processes; the seed of their hashes differs from pair to pair and from run to run."""
        return self._start(self._task, names, scratch, 1000 * self._task.design.seed + self._pairs, collect=collect)


def _calibrate(worker: ArmProcess, seconds: float, segment_s: float) -> tuple[int, float]:
    """Return how many calls make a segment, and about how many seconds a call takes.

    Args:
        worker: that runs the calls.
        seconds: that one call took; it may have been a cold one, slower than those that follow.
        segment_s: that a segment takes at least.
    """
    if seconds >= COLD * segment_s:
        return 1, seconds
    calls = 1
    while True:
        calls = min(math.ceil(segment_s / max(seconds, 1e-9)), MOST_CALLS, GROWTH * calls)
        begun = time.monotonic()
        seconds = _run(worker, calls, PATIENCE_S)["seconds"]
        elapsed = time.monotonic() - begun
        if elapsed > SLOW * segment_s:  # a benchmark's own timer may go slower than the clock, or stand still
            return calls, elapsed / calls
        if calls * seconds >= CLOSE * segment_s or calls >= MOST_CALLS:
            return calls, seconds


def _run(worker: ArmProcess, calls: int, patience: float) -> dict[str, Any]:
    """Run a segment, and return the worker's reply.

    Raises:
        _EndedError: the test ended instead: a call raised.
    """
    reply = worker.ask(patience, run=calls)
    if "test" in reply:
        raise _EndedError(worker, reply)
    return reply


def _matches(name: str, words: Sequence[str]) -> bool:
    return not words or any(word in name for word in words)


def _within(name: str, node: str) -> bool:
    """Tell whether a node of pytest, such as a file, is a benchmark or holds it."""
    return name == node or name.startswith((f"{node}::", f"{node}/"))


def _why_missing(name: str, arm: str, broken: Mapping[str, str]) -> ArmResult:
    """Say why an arm lacks a benchmark; `broken` has the nodes that could not be collected, and why."""
    reason = next((why for node, why in broken.items() if _within(name, node)), None)
    return ArmResult("skipped", f"not in {arm}") if reason is None else ArmResult("failed", f"{arm}: {line(reason)}")


def _combined(base: ArmResult, head: ArmResult, *, base_ran: bool) -> tuple[str, str | None]:
    """Say what became of a benchmark, status and reason; what base could run before is not new."""
    if head.status != "ok":
        return head.status, f"head: {head.reason}"
    if base.status != "ok":
        return base.status if base_ran else "new", f"base: {base.reason}"
    return "ok", None


def _finish(worker: ArmProcess, reply: dict[str, Any], name: str) -> ArmResult:
    """Let a test go on to its end; returns what became of it, the first thing that went wrong."""
    if "ready" in reply:
        reply = worker.ask(end=True)
    outcome = ArmResult("ok", "")
    while True:
        if reply.get("test") != name:
            raise ArmError(f"{worker.arm.name}: {name} does not end")
        if reply["outcome"] != "passed" and outcome.status == "ok":
            outcome = ArmResult(reply["outcome"], line(reply["reason"] or "no reason given"))
        if reply["when"] == "teardown":
            return outcome
        reply = worker.read()
