"""What is asked of a worker about one benchmark: a segment, how many calls make one, and how its test ends."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deeptwins.errors import line
from deeptwins.gate.arms.processes import ArmError, ArmProcess
from deeptwins.gate.judge.sentences import names
from deeptwins.pages.wording import count

MOST_CALLS = 1 << 24  # per segment

# Calibration, in lengths of a segment.
CLOSE = 0.8  # a segment may be so much shorter than it should be
COLD = 10.0  # a call that takes this long fills a segment, even if it was the first and the next ones are quicker
SLOW = 20.0  # no calibration segment lasts longer by the wall clock
GROWTH = 100  # calls grow at most by this factor from one calibration segment to the next


class ArmResult(NamedTuple):
    """What became of a benchmark in one arm."""

    status: str
    reason: str


class EndedError(Exception):
    """A test ended in the midst of a measurement."""

    def __init__(self, worker: ArmProcess, reply: dict[str, Any]) -> None:
        super().__init__()
        self.worker, self.reply = worker, reply


def calibrate(
    worker: ArmProcess, seconds: float, segment_s: float, fixed: int | None = None
) -> tuple[int, float, float]:
    """Return how many calls make a segment, about how many seconds a call takes, and a segment by the wall clock.

    Args:
        worker: that runs the calls.
        seconds: that one call took; it may have been a cold one, slower than those that follow.
        segment_s: that a segment takes at least.
        fixed: the calls of a segment, where the benchmark says how many.
    """
    if seconds >= COLD * segment_s and fixed in {None, 1}:
        return 1, seconds, seconds
    calls = 1
    while True:
        calls = fixed or min(math.ceil(segment_s / max(seconds, 1e-9)), MOST_CALLS, GROWTH * calls)
        begun = time.monotonic()
        seconds = run(worker, calls)["seconds"]
        wall_s = time.monotonic() - begun
        if wall_s > SLOW * segment_s:  # a benchmark's own timer may go slower than the clock, or stand still
            return calls, wall_s / calls, wall_s
        if fixed or calls * seconds >= CLOSE * segment_s or calls >= MOST_CALLS:
            return calls, seconds, wall_s


def check_origin(worker: ArmProcess, reply: Mapping[str, Any]) -> None:
    """Refuse an arm that runs code of another."""
    if reply["elsewhere"]:
        raise ArmError(f"{worker.arm.name}: imports {reply['elsewhere'][0]}, not its own version of it")


def run(worker: ArmProcess, calls: int, patience: float | None = None) -> dict[str, Any]:
    """Run a segment, and return the worker's reply.

    Raises:
        EndedError: the test ended instead: a call raised.
    """
    reply = worker.ask(patience, run=calls)
    if "test" in reply:
        raise EndedError(worker, reply)
    return reply


def finish(worker: ArmProcess, reply: dict[str, Any], name: str) -> ArmResult:
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


def why_nothing(head: Mapping[str, Any], suite: Path, only: Sequence[str]) -> str:
    """Say why an arm names no benchmark, and what to do.

    Args:
        head: its first message.
        suite: where the benchmarks should be.
        only: words of which a benchmark's name should hold one.
    """
    if head["others"]:
        return (
            f"no benchmark's name holds {' or '.join(map(line, only))}; there is {names([*map(line, head['others'])])}"
        )
    uses = "uses pytest-benchmark's fixture `benchmark`, or has the mark `benchmark`"
    if head["tests"]:
        return f"{suite}: of {count(head['tests'], 'test')} none {uses}; name the benchmarks with --suite"
    return f"{suite}: pytest finds no test there; a benchmark is a function `test_*` or `bench_*` that {uses}"
