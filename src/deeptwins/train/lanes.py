"""Lanes: where work that repeats is issued, in order. On a GPU a lane is a stream of its own, and captures its work.

A training step of a small net is hundreds of launches, each of which costs the host more than the device. So the first
steps on a lane are issued as they are, and prepare whatever libraries prepare; then work is captured once as a CUDA
graph, and replayed as one launch. On a CPU the work is simply called.

A graph reads new values (batches, learning rates, weights) only from the memory that it was captured with. What it
draws at random on the device depends on the seed at the time of the replay. Work that draws on the host decides by the
draw what to launch: it is never captured. Nor are the steps of a net of one's own that wait for the device, as `item`
does, or that CUDA cannot capture for another reason: they are issued as they are.
"""

from __future__ import annotations

import pickle
import random
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np
import torch
from torch import nn

from deeptwins.errors import line

# Steps in one replay at most. More of them would save little: at 8 the host issues a replay of eight nets in less time
# than the device needs for one step of one of them.
STEPS = {"cpu": 1, "cuda": 8}
# Before its pull request 176752 PyTorch had all graphs of a device draw from one seed in its memory, the last one's:
# several that draw could not run at once.
DRAWS_APART = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 14)
WARMUP = 3  # steps before the first capture, as PyTorch's documentation of CUDA graphs has it

Replay = Callable[[], None]
PlacedStep = Callable[[int], None]
"""A step, called with its place among the steps of one replay."""
Mark = torch.cuda.Event | None


class Lane:
    """Steps in order. `with lane:` makes its stream the current one."""

    def __init__(
        self,
        device: torch.device,
        parameters: Sequence[nn.Parameter] = (),
        *,
        capture: bool = True,
        watched: bool = False,
    ) -> None:
        """Open a lane on a device.

        Args:
            device: of all that its steps use.
            parameters: the parameters whose gradients its steps leave behind.
            capture: whether its steps may be captured.
            watched: whether its steps may do what cannot be captured, so that the first of them are watched.
        """
        self.device = device
        self._parameters = parameters
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)
            self._pool = torch.cuda.graph_pool_handle()
        self._fresh = True
        self._entered: list[AbstractContextManager[object]] = []
        self._replays: dict[tuple[int, int], Replay] = {}  # by first place and number of steps
        self._warm = 0  # steps issued so far
        self._capture = capture
        self._watched = watched
        self._draws = False  # at random, on the device
        self.refusal: str | None = None
        """Why its steps could not be captured, where they should have been."""

    def __enter__(self) -> None:
        """Issue what follows on this lane."""
        context: AbstractContextManager[object] = nullcontext()
        if self._stream is not None:
            if self._fresh:  # what its steps use was made on the default stream
                self._stream.wait_stream(torch.cuda.default_stream(self.device))
                self._fresh = False
            context = torch.cuda.stream(self._stream)
        self._entered.append(context)
        context.__enter__()

    def __exit__(self, *_error: object) -> None:
        """Issue what follows where things were issued before."""
        self._entered.pop().__exit__(None, None, None)

    def run(self, step: PlacedStep, count: int, seeds: Sequence[int] = ()) -> None:
        """Issue step(0) to step(count - 1). The host waits for nothing.

        Args:
            step: on one lane always the same, and so is the memory that it uses.
            count: how many steps.
            seeds: one per step, for what it draws at random; none if it draws nothing.
        """
        with self:
            if self._capture and self._warm >= WARMUP and self._prepared(step, count):
                for first, steps in self._blocks(count):
                    if self._draws:
                        _seed(seeds[first])
                    self._replays[first, steps]()
            else:
                for place in range(count):
                    self._issue(step, place, seeds)

    def mark(self) -> Mark:
        """Mark how far the work on this lane has been issued."""
        return None if self._stream is None else self._stream.record_event()

    def after(self, marks: Iterable[Mark]) -> None:
        """Hold back what is issued from now on until other lanes have come to their marks. The host does not wait."""
        for mark in marks:
            if mark is not None and self._stream is not None:
                self._stream.wait_event(mark)

    def finish(self) -> None:
        """Wait until all that was issued is done."""
        if self._stream is not None:
            self._stream.synchronize()

    def _issue(self, step: PlacedStep, place: int, seeds: Sequence[int]) -> None:
        """Call a step, and find out whether it draws at random."""
        if not seeds:
            step(place)
        else:
            _seed(seeds[place])
            if self._warm < WARMUP:
                host, device = _states(self.device)
                if _waits(partial(step, place), self.device if self._watched else None):
                    self._refuse("it waits for the device")
                host_after, device_after = _states(self.device)
                self._capture &= host == host_after
                self._draws |= not torch.equal(device, device_after)
                self._capture &= not self._draws or DRAWS_APART
            else:
                step(place)
        self._warm += 1

    def _blocks(self, count: int) -> list[tuple[int, int]]:
        """Cut steps into replays, by first place and number: those that draw one by one, each with its seed."""
        return [(place, 1) for place in range(count)] if self._draws else [(0, count)]

    def _prepared(self, step: PlacedStep, count: int) -> bool:
        """Capture the replays of some steps that have not been; say whether that is possible."""
        for first, steps in self._blocks(count):
            if (first, steps) not in self._replays:
                work = partial(_each, step, range(first, first + steps))
                try:
                    self._replays[first, steps] = self._captured(work)
                except torch.OutOfMemoryError:
                    raise
                except RuntimeError as error:  # nothing has been done yet
                    self._refuse(line(error))
                    return False
        return True

    def _refuse(self, reason: str) -> None:
        """Issue all steps to come as they are."""
        self.refusal, self._capture = reason, False

    def _captured(self, work: Replay) -> Replay:
        """Capture work without doing it; the function that is returned does it."""
        if self._stream is None:
            return work
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            work()
        # They lie in the graph's own memory: another graph of this lane leaves its gradients elsewhere.
        gradients = [(parameter, parameter.grad) for parameter in self._parameters]

        def replay() -> None:
            graph.replay()
            for parameter, gradient in gradients:
                parameter.grad = gradient

        return replay


def finished(mark: Mark) -> None:
    """Wait until a lane has reached its mark."""
    if mark is not None:
        mark.synchronize()


def _each(step: PlacedStep, places: Iterable[int]) -> None:
    for place in places:
        step(place)


def _waits(work: Replay, device: torch.device | None) -> bool:
    """Do some work, and tell whether the host waits for a device in it; without a device, it is not asked."""
    if device is None or device.type != "cuda":
        work()
        return False
    before = torch.cuda.get_sync_debug_mode()
    try:
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return any("synchronizing" in str(warning.message) for warning in warned)


def _seed(number: int) -> None:
    """Seed all that a step may draw from: a net of one's own may use Python's generator or NumPy's."""
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002


def _states(device: torch.device) -> tuple[object, torch.Tensor]:
    """The states of the random generators of host and device, which on a CPU are one: the host's."""
    others = pickle.dumps((random.getstate(), np.random.get_state()))  # noqa: NPY002
    host = torch.get_rng_state().numpy().tobytes(), others
    return host, torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.empty(0)
