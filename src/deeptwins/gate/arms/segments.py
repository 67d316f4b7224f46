"""What is timed in an arm: calls of a benchmark, in segments. `worker.py` loads it; it needs nothing but Python."""

from __future__ import annotations

import gc
import hashlib
import inspect
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

MOST_S = 1e9  # seconds of a call: more is no time
SENTINEL = bytes(1 << 20)  # hashing it is work that no commit changes: about a millisecond


def work(seconds: float) -> None:
    """Be busy for so long without touching memory, so that the caches stay as they are."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def seconds_of(call: Callable[[], object]) -> float:
    """Time one call, in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def unobserved(files: set[str] | None = None) -> Iterator[None]:
    """Let neither a debugger nor a profiler see what is timed; note the files of all Python code that is called."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    noter = None if files is None else lambda frame, *_: files.add(frame.f_code.co_filename)
    sys.setprofile(noter)
    try:
        yield
    finally:
        sys.settrace(tracer)
        sys.setprofile(profiler)


def _checked(seconds: float) -> float:
    """Refuse what a timer cannot have measured."""
    if not abs(seconds) <= MOST_S:
        raise ValueError(f"the benchmark's timer gives {seconds} s for a call")
    return seconds


class Segments:
    """Runs the call of a benchmark in segments, on request."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        timer: Callable[[], float],
        target: Callable[..., Any],
        arguments: tuple[tuple[Any, ...], Mapping[str, Any]],
        around: tuple[Callable[..., Any] | None, Callable[..., Any] | None] = (None, None),
        rounds: int | None = None,
        iterations: int = 1,
    ) -> None:
        """Prepare.

        Args:
            timer: of pytest-benchmark, in seconds.
            target: what is timed.
            arguments: positional and by name.
            around: what is called, untimed, before and after every round; the first may return the calls' arguments.
            rounds: of a segment, where the benchmark says how often it can be called; None: as often as is asked.
            iterations: calls of a round, where rounds are given.
        """
        self._timer, self._target, self._arguments = timer, target, arguments
        (self._setup, self._teardown), self._iterations = around, iterations
        self.fixed = rounds and rounds * iterations
        """Calls of a segment, where the benchmark says how many; else None."""
        self.least = iterations if rounds else 1
        """Calls of the shortest segment."""
        self.awaits = inspect.iscoroutinefunction(target)
        """Whether a call is to be awaited."""
        self.added = 0.0
        """Seconds of work that make every call longer."""
        self.files: set[str] | None = None
        """Gathers the files of code that is called, where it is a set."""
        self.result: Any = None

    def run(self, calls: int) -> dict[str, float]:
        """Run a segment: seconds per call, with what tells whether the machine was disturbed meanwhile."""
        with self._watched() as told:
            total = 0.0
            for repeats, args, kwargs in self._rounds(calls):
                target, added, start = self._target, self.added, self._timer()
                for _ in repeats:
                    self.result = target(*args, **kwargs)
                    if added:
                        work(added)
                total += self._timer() - start
        return {"seconds": _checked(total / calls)} | told

    async def run_awaiting(self, calls: int) -> dict[str, float]:
        """Run a segment of calls that are awaited, on the loop that runs."""
        with self._watched() as told:
            total = 0.0
            for repeats, args, kwargs in self._rounds(calls):
                target, added, start = self._target, self.added, self._timer()
                for _ in repeats:
                    self.result = await target(*args, **kwargs)
                    if added:
                        work(added)
                total += self._timer() - start
        return {"seconds": _checked(total / calls)} | told

    def _rounds(self, calls: int) -> Iterator[tuple[range, tuple[Any, ...], Mapping[str, Any]]]:
        """Go through the rounds of a segment, with what is called around each, untimed: its calls, and arguments."""
        size = self._iterations if self.fixed else calls
        for _ in range(calls // size):
            args, kwargs = (self._setup() if self._setup else None) or self._arguments
            yield range(size), args, kwargs
            if self._teardown:
                self._teardown(*args, **kwargs)

    @contextmanager
    def _watched(self) -> Iterator[dict[str, float]]:
        """Tell, in the end, what the machine did beside a segment."""
        told: dict[str, float] = {}
        gc.collect()
        told["sentinel"] = seconds_of(lambda: hashlib.sha256(SENTINEL).digest())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        with unobserved(self.files):
            yield told
        told["switches"] = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before
