"""Clocks: how long work takes on a device, whatever the processor that feeds it does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

Work = Callable[[], Any]

MIB = 2**20
FLUSHED = 256 * MIB  # bytes at least: overwriting them takes longer than to launch the work that is timed
WARMUP = 3  # calls before a capture: to compile, to load kernels, to make handles

_refused: list[torch.cuda.CUDAGraph] = []  # kept alive: before PyTorch 2.13 the allocator goes on to ask them


class EventTimer:
    """A clock for a GPU: read it before and after the work; the second reading is the device's time.

    The first reading is 0, so that their difference is what elapsed between two events on the device.
    """

    def __init__(self, event: Callable[..., Any] = torch.cuda.Event) -> None:
        self._event = event
        self._start: Any = None

    def __call__(self) -> float:
        """Read it, in seconds."""
        event = self._event(enable_timing=True)
        event.record()
        if self._start is None:
            self._start = event
            return 0.0
        event.synchronize()
        milliseconds: float = self._start.elapsed_time(event)
        self._start = None
        return milliseconds / 1000


def timed(work: Work, device: torch.device) -> float:
    """Time work by the host's clock, in seconds, until the device has done all of it."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def replay(work: Work) -> tuple[Work, str]:
    """Capture what the work launches as a CUDA graph, whose replay costs no Python; return it and `graph`.

    The stream that warms up captures, too: then all of the backward pass belongs to it. Work that cannot be captured is
    returned as it is, with `events`: its time is then the processor's, to launch it, wherever that is longer.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP):
            work()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                work()
        except RuntimeError as error:
            print(f"\nnot captured, but timed by events: {str(error).splitlines()[0]}")  # noqa: T201  benches call it
            _refused.append(graph)
    torch.cuda.synchronize()
    return (work, "events") if graph in _refused else (graph.replay, "graph")


def flush() -> Work:
    """Make a call that empties the GPU's cache, and keeps the GPU busy while the next work is launched."""
    return torch.empty(max(2 * l2_bytes(), FLUSHED), dtype=torch.int8, device="cuda").zero_


def l2_bytes() -> int:
    """The size of the GPU's cache."""
    return int(torch.cuda.get_device_properties(0).L2_cache_size)


def _wait(device: torch.device) -> None:
    """Wait until a GPU has done all that was launched; a CPU has done it when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize()
