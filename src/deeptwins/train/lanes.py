"""Lanes: where work that repeats is issued, in order. On a GPU a lane is a stream of its own, and captures its work.

A training step of a small net is hundreds of launches, each of which costs the host more than the device. So the first
steps on a lane are issued as they are, and prepare whatever libraries prepare; then work is captured once as a CUDA
graph, and replayed as one launch. On a CPU the work is simply called.

A graph reads new values (batches, learning rates, weights) only from the memory that it was captured with. What it
draws at random on the device depends on the seed at the time of the replay. Work that draws on the host decides by the
draw what to launch: it is never captured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

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

    def __init__(self, device: torch.device, parameters: Sequence[nn.Parameter] = (), *, capture: bool = True) -> None:
        """Open a lane on a device.

        Args:
            device: of all that its steps use.
            parameters: the parameters whose gradients its steps leave behind.
            capture: whether its steps may be captured.
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
        self._draws = False  # at random, on the device

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
            if not self._capture or self._warm < WARMUP:
                for place in range(count):
                    self._issue(step, place, seeds)
            elif self._draws:
                for place in range(count):
                    torch.manual_seed(seeds[place])
                    self._replay(step, place, 1)
            else:
                self._replay(step, 0, count)

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
            torch.manual_seed(seeds[place])
            if self._warm < WARMUP:
                host, device = _states(self.device)
                step(place)
                host_after, device_after = _states(self.device)
                self._capture &= torch.equal(host, host_after)
                self._draws |= not torch.equal(device, device_after)
                self._capture &= not self._draws or DRAWS_APART
            else:
                step(place)
        self._warm += 1

    def _replay(self, step: PlacedStep, first: int, count: int) -> None:
        """Replay some steps; the first time, capture them."""
        if (first, count) not in self._replays:

            def work() -> None:
                for place in range(first, first + count):
                    step(place)

            self._replays[first, count] = self._captured(work)
        self._replays[first, count]()

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
    """Wait until a lane has come to its mark."""
    if mark is not None:
        mark.synchronize()


def _states(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The states of the random generators of host and device, which on a CPU are one: the host's."""
    host = torch.get_rng_state()
    return host, torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.empty(0)
