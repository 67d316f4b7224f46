"""The paired tier: base and head take turns at each benchmark, in pairs of fresh processes on one core.

A block is four segments, base head head base or head base base head, as a seeded coin falls: a drift that is linear in
time cancels. Fresh processes for each pair average out where memory and code happen to lie and how hashes happen to
fall (Kalibera and Jones 2013). One pair of processes serves many benchmarks. A survey first tells what each of them
takes, so that the time can be shared.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from deeptwins.errors import line
from deeptwins.gate.arms import dialogue
from deeptwins.gate.arms.dialogue import ArmResult, EndedError
from deeptwins.gate.arms.processes import (
    PATIENCE_S,
    PATTERNS,
    ArmError,
    ArmProcess,
    GoneError,
    LateError,
    Task,
    folder_for_files,
    pair_of_processes,
)
from deeptwins.gate.compare import budget
from deeptwins.gate.compare.budget import Cost
from deeptwins.gate.compare.disturbances import BlockWatch
from deeptwins.gate.judge import verdict
from deeptwins.gate.runs import Benchmark, Pair, TimedBlock, rounded
from deeptwins.pages.wording import count

SEGMENTS_FOR_ADDED_WORK = 3  # work is added as a share of the median call of so many segments
NOT_BEGUN = "not begun"
LEAST_PATIENCE_S = 5.0  # how long a benchmark may be silent in the survey, however short the time is
PAIR_S = 5.0  # seconds per pair: a benchmark that would take longer gets fewer blocks, and one at least
FIRST, SECOND = "pairs", "confirmation"  # the batches, as `Benchmark` has them


@dataclass
class Samples:
    """What has been measured of a benchmark so far."""

    calls: int = 0
    """Calls per segment; 0: not calibrated yet."""
    seconds: float = 0.0
    """About how long a call takes."""
    ran: bool = False
    """Whether base could run it at least once."""
    once: bool = False
    """Whether it can be run but once in a process: so many calls as it says itself."""
    cost: Cost | None = None
    """What it takes in a pair; None: not known."""
    status: str = "unfinished"
    reason: str | None = NOT_BEGUN
    batches: dict[str, list[Pair]] = field(default_factory=lambda: {FIRST: [], SECOND: []})


class PairedMeasurement:
    """A comparison under way: what has been measured is never lost."""

    def __init__(
        self,
        task: Task,
        tell: Callable[[str], object],
        margins: Mapping[str, tuple[float, int]] | None = None,
        changed: Collection[str] = (),
        start: Callable[..., AbstractContextManager[tuple[ArmProcess, ArmProcess]]] = pair_of_processes,
    ) -> None:
        """Prepare.

        Args:
            task: what is measured.
            tell: is called with what happens now, for the user.
            margins: by benchmark, its margin and the number of A/A runs that it comes from.
            changed: files that differ between the commits; benchmarks that run their code come first.
            start: starts a pair of processes.
        """
        self._task, self._tell, self._margins = task, tell, margins or {}
        self._changed, self._start = {*changed}, start
        self._random = random.Random(task.design.seed)  # noqa: S311  the order of benchmarks
        self._samples: dict[str, Samples] = {}
        self._begun, self._blocks = time.monotonic(), task.design.blocks
        self._start_s = 0.0
        self._pairs = 0
        self._patterns: Mapping[str, str] = {}
        self.failure: str | None = None
        self.nothing = ""
        """Why there is nothing to measure, where that is so."""

    def run(self, only: Sequence[str] = ()) -> None:
        """Measure the benchmarks whose names hold one of some words; without a word, all of the suite."""
        try:
            with folder_for_files() as scratch:
                self._tell("collecting benchmarks")
                self._survey(only, scratch)
                if self.nothing:  # of what pytest takes for tests: perhaps something is called a benchmark
                    self._patterns, self.nothing = PATTERNS, ""
                    self._survey(only, scratch)
                self._share_time()
                while wanted := self._fitting(self._wanted()):
                    self._measure_pair(wanted, scratch)
                self._mark_late()
        except LateError as error:
            self.failure = None if self._samples else str(error)
            self._mark_late()
        except (ArmError, OSError) as error:
            self.failure = str(error)
        except Exception as error:  # noqa: BLE001  whatever it is, what was measured is kept
            self.failure = f"unexpected {type(error).__name__}: {line(error)}"
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

    def _survey(self, only: Sequence[str], scratch: Path) -> None:
        """Ask both arms for their benchmarks, and run those that both have, one arm after the other.

        Base tells how long each takes, and head which files it runs. What fails in both is known then.
        """
        outcomes: tuple[dict[str, ArmResult], dict[str, ArmResult]] = ({}, {})
        both: list[str] = []
        names: list[str] | None = None
        while names is None or names:
            begun = time.monotonic()
            with self._processes(names, scratch, only=only, note_files=True) as workers:
                base, head = [worker.read() for worker in workers]
                if names is None:
                    self._start_s = time.monotonic() - begun
                    both = self._sort_out(base, head, only)
                    if not self._samples:
                        self.nothing = dialogue.why_nothing(head, self._task.suite.path, only)
                        return
                    self._tell(f"trying {count(len(both), 'benchmark')} once")
                # Where a benchmark hangs or ends its process, the others go on in fresh ones.
                left_s = max(0.0, self._task.deadline - time.monotonic())
                stuck = None
                for worker, told, done in zip(workers, (base, head), outcomes, strict=True):
                    worker.patience = min(PATIENCE_S, max(LEAST_PATIENCE_S, budget.SURVEY / 6 * left_s))
                    until = time.monotonic() + budget.SURVEY / 2 * left_s
                    stuck = stuck or self._survey_arm(worker, told["collected"], until, done)
            if stuck:
                for done in outcomes:
                    done.setdefault(stuck, ArmResult("ok", ""))
            names = [name for name in both if not all(name in done for done in outcomes)] if stuck else []
        for name in both:
            if all(name in done for done in outcomes):
                self._note(name, *(done[name] for done in outcomes))

    def _sort_out(self, base: Mapping[str, Any], head: Mapping[str, Any], only: Sequence[str]) -> list[str]:
        """Return the names of the benchmarks that both arms have, and note the others, which cannot be compared."""
        base_names, head_names = base["collected"], head["collected"]

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

        both = [name for name in base_names if name in {*head_names}]
        self._samples |= {name: Samples() for name in both}
        return both

    def _survey_arm(
        self, worker: ArmProcess, names: Iterable[str], until: float, done: dict[str, ArmResult]
    ) -> str | None:
        """Run each benchmark of an arm once, and note in `done` what became of it, as far as there is time.

        Returns the name of one that does not end: no other can follow it in that process.
        """
        for name in names:
            if time.monotonic() > until:
                break
            try:
                outcome = self._survey_one(worker, name, known=name in done)
            except GoneError as error:
                self._samples[name].ran = True  # else it would pass for new where base hangs
                done[name] = ArmResult("failed", str(error).removeprefix(f"{worker.arm.name}: "))
                return name
            done.setdefault(name, outcome)
        return None

    def _survey_one(self, worker: ArmProcess, name: str, *, known: bool) -> ArmResult:
        """Run a benchmark of an arm once; returns what became of it. Of one that is known there is nothing to learn."""
        samples, begun = self._samples[name], time.monotonic()
        reply = worker.read()
        ready_s = time.monotonic() - begun
        try:
            if "ready" in reply and not known:
                dialogue.check_origin(worker, reply)
                self._learn(samples, worker, reply, ready_s)
        except EndedError as ended:
            outcome = dialogue.finish(worker, ended.reply, name)
            if not samples.once:
                return outcome
            # What says how often it is called may fail when it is called again: it has one segment per process.
            samples.calls, samples.cost = reply["calls"], Cost(name, 2 * ready_s, 2 * ready_s, 1)
            return ArmResult("ok", "")
        return dialogue.finish(worker, reply, name)

    def _learn(self, samples: Samples, worker: ArmProcess, reply: Mapping[str, Any], ready_s: float) -> None:
        """Learn of a benchmark that is ready: of base what it takes, of head whether it runs changed code."""
        if worker.arm is self._task.arms[0]:
            segment_s, fixed = self._task.design.segment_s, reply["calls"]
            samples.ran, samples.once = True, fixed is not None  # until it has run again
            samples.calls, samples.seconds, wall_s = dialogue.calibrate(worker, reply["seconds"], segment_s, fixed)
            samples.once = False
            blocks = max(1, int(PAIR_S / max(4 * samples.calls * samples.seconds, 1e-9)))
            samples.cost = Cost(reply["ready"], ready_s + 2 * wall_s, 4 * wall_s, blocks)
        elif samples.cost:
            files = {*reply["files"], reply["ready"].split("::")[0]}
            samples.cost = replace(samples.cost, changed=bool(self._changed & files))

    def _note(self, name: str, base: ArmResult, head: ArmResult) -> None:
        """Note what became of a benchmark in the survey, where it did not end well."""
        samples = self._samples[name]
        status, reason = _combined(base, head, base_ran=samples.ran)
        if status != "ok":
            samples.status, samples.reason = status, reason
        elif samples.cost is None:
            samples.status, samples.reason = "skipped", "one arm timed nothing"

    def _share_time(self) -> None:
        """Say how long it will take, and drop what there is no time for."""
        measurable = [one for one in self._samples.values() if one.status == "unfinished"]
        costs = [one.cost for one in measurable if one.cost]
        if not costs:
            return
        now = time.monotonic()
        plan = budget.plan(costs, self._start_s, now - self._begun, self._task.deadline - now, self._task.design)
        self._blocks = plan.blocks
        self._tell(plan.words)
        self._samples = {name: self._samples[name] for name in dict.fromkeys([*plan.names, *self._samples])}
        for cost in costs:
            if cost.name not in plan.names:
                self._samples[cost.name].reason = f"dropped: {plan.words}"
                self._samples[cost.name].cost = None

    def _wanted(self) -> dict[str, str]:
        """Return the benchmarks that are to be measured further, the most valuable first, and for which batch."""
        pairs, batches = self._task.design.pairs, {name: one.batches for name, one in self._samples.items()}
        able = [name for name, one in self._samples.items() if one.cost and one.status in {"ok", "unfinished"}]
        first = [name for name in able if len(batches[name][FIRST]) < pairs]
        whole = [one for one in self.benchmarks() if one.id in {*able} - {*first}]

        # A second, independent batch of what looks slower or faster, and more pairs where it was disturbed.
        begun = [one.id for one in whole if 0 < len(one.confirmation) < pairs]
        spoiled = [name for name in verdict.spoiled(whole, self._task.design) if len(batches[name][SECOND]) < 2 * pairs]
        second = {*begun, *spoiled, *verdict.suspects(whole, self._task.design)}

        # More pairs of what the first batch leaves open, up to twice its size.
        undecided = verdict.undecided(whole, self._task.design)
        more = [name for name in undecided if len(batches[name][FIRST]) < 2 * pairs]
        return dict.fromkeys(sorted(second), SECOND) | dict.fromkeys([*first, *more], FIRST)

    def _fitting(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Return those that there is time for, in a pair of processes."""
        left = self._task.deadline - time.monotonic() - self._start_s
        fitting = {}
        for name, batch in wanted.items():
            cost = self._samples[name].cost
            if cost and (left := left - cost.pair_s(self._blocks)) >= 0:
                fitting[name] = batch
        return fitting

    def _measure_pair(self, wanted: Mapping[str, str], scratch: Path) -> None:
        """Measure benchmarks in one pair of fresh processes."""
        self._pairs += 1
        second = sum(batch == SECOND for batch in wanted.values())
        again = f", {second} of them a second time" if second else ""
        self._tell(f"pair {self._pairs}: timing {count(len(wanted), 'benchmark')}{again}")
        names, begun = self._random.sample([*wanted], len(wanted)), time.monotonic()
        once = [name for name in names if self._samples[name].once]
        with self._processes(names, scratch, once=once) as workers:
            orders = [worker.read()["collected"] for worker in workers]
            self._start_s = max(self._start_s, time.monotonic() - begun)
            if any(order != names for order in orders):
                raise ArmError("base and head do not run the same benchmarks in the same order")
            for name in names:
                if time.monotonic() > self._task.deadline:
                    return
                self._measure(wanted[name], name, workers)

    def _mark_late(self) -> None:
        for samples in self._samples.values():
            if samples.status == "unfinished" and samples.reason == NOT_BEGUN:
                samples.reason = "the time was up"

    def _measure(self, batch: str, name: str, workers: tuple[ArmProcess, ArmProcess]) -> None:
        """Measure one benchmark in one pair of processes, and note what became of it."""
        samples = self._samples[name]
        replies = {worker: worker.read() for worker in workers}

        # Measure blocks where the test is ready in both arms; those before an interruption count, too.
        if all("ready" in reply for reply in replies.values()):
            for worker, reply in replies.items():
                dialogue.check_origin(worker, reply)
            blocks: list[TimedBlock] = []
            try:
                for block in self._measured(name, workers):
                    blocks.append(block)  # noqa: PERF402  extending at once would lose them where a block raises
            except EndedError as ended:
                replies[ended.worker] = ended.reply
            finally:
                samples.batches[batch] += [tuple(blocks)] if blocks else []

        # Let the test go on to its end in both arms.
        base, head = (dialogue.finish(worker, reply, name) for worker, reply in replies.items())
        samples.status, samples.reason = _combined(base, head, base_ran=samples.ran)
        if samples.status == "ok" and not samples.batches[batch]:
            samples.status, samples.reason = "skipped", "one arm timed nothing"

    def _measured(self, name: str, workers: tuple[ArmProcess, ArmProcess]) -> Iterator[TimedBlock]:
        """Measure the blocks of one benchmark in one pair, whose workers are ready."""
        samples, (base, head) = self._samples[name], workers
        calls, most = samples.calls, samples.cost.blocks if samples.cost else 1
        patience = PATIENCE_S + 100 * calls * samples.seconds

        # Warm both up by a segment: their first calls were too few for that.
        if calls > 1 and not samples.once:
            for worker in workers:
                dialogue.run(worker, calls, patience)

        # Add work to head where that is asked for, measured out by base's calls.
        if share := self._task.added.get(name):
            segments = [dialogue.run(base, calls, patience)["seconds"] for _ in range(SEGMENTS_FOR_ADDED_WORK)]
            head.ask(add=share * median(segments))

        for _ in range(min(self._blocks, most)):
            order = self._random.choice(("AB", "BA") if samples.once else ("ABBA", "BAAB"))
            watch = BlockWatch(self._task.core)
            replies = [dialogue.run(base if letter == "A" else head, calls, patience) for letter in order]
            seconds = tuple(rounded(max(reply["seconds"], 1e-12)) for reply in replies)
            yield TimedBlock.model_validate({"order": order, "seconds": seconds, "rejected": watch.disturbed(replies)})

    def _processes(
        self, names: Sequence[str] | None, scratch: Path, **settings: object
    ) -> AbstractContextManager[tuple[ArmProcess, ArmProcess]]:
        """Start a pair of processes; the seed of their hashes differs from pair to pair and from run to run."""
        number = 1000 * self._task.design.seed + self._pairs
        return self._start(self._task, names, scratch, number, patterns=self._patterns, **settings)


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
    if base.status == head.status == "skipped" and not base_ran:
        reasons = [head.reason] if base.reason == head.reason else [f"base: {base.reason}", f"head: {head.reason}"]
        return "skipped in both", "; ".join(reasons)
    if head.status != "ok":
        return head.status, f"head: {head.reason}"
    if base.status != "ok":
        return base.status if base_ran else "new", f"base: {base.reason}"
    return "ok", None
