"""How long a GPU takes, whatever the processor that feeds it does; and how fast a device copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

Work = Callable[[], Any]

MIB = 2**20
COPIED = {"cpu": 512 * MIB, "cuda": 1024 * MIB}  # bytes: well beyond any cache
FLUSHED = 256 * MIB  # bytes at least: overwriting them takes longer than to launch what is timed
WARMUP = 3  # calls: to compile, to load kernels, to make handles

_refused: list[torch.cuda.CUDAGraph] = []  # kept alive: before PyTorch 2.13 the allocator goes on to ask them


class EventTimer:
    """A clock for pytest-benchmark, read before and after what is timed: the second reading is the device's time.

    The first one is 0, so that their difference is what elapsed between two events on the device.
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
            print(f"\nnot captured, but timed by events: {str(error).splitlines()[0]}")
            _refused.append(graph)
    torch.cuda.synchronize()
    return (work, "events") if graph in _refused else (graph.replay, "graph")


def flush() -> Work:
    """Make a call that empties the cache of what matters, and keeps the device busy while the next work is launched."""
    buffer = torch.empty(max(2 * l2_bytes(), FLUSHED), dtype=torch.int8, device="cuda")

    def overwrite() -> None:
        buffer.zero_()

    return overwrite


def l2_bytes() -> int:
    """The size of the GPU's cache."""
    return int(torch.cuda.get_device_properties(0).L2_cache_size)


def copy_gb_per_s(device: str, rounds: int = 10) -> float:
    """Measure how fast a tensor is copied on its own device: bytes read and written, the best of some rounds."""
    source = torch.ones(COPIED[device], dtype=torch.int8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)

    timer, before = (EventTimer(), flush()) if device == "cuda" else (time.perf_counter, lambda: None)
    copy()  # touches the pages, loads the kernel
    seconds = []
    for _ in range(rounds):
        before()
        start = timer()
        copy()
        seconds.append(timer() - start)
    return 2 * source.nbytes / min(seconds) / 1e9
