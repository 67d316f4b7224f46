"""What a device can do at most, measured: bytes copied and FLOPs multiplied a second; and the least that a step moves.

Williams et al. 2009, "Roofline": no operation is faster than its bytes at the one rate, or its FLOPs at the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from deeptwins.kernels.formats import PRECISIONS
from deeptwins.nets.inspection import trace
from deeptwins.study.specs import Net

Work = Callable[[], Any]

MIB = 2**20
COPIED = {"cpu": 512 * MIB, "cuda": 1024 * MIB}  # bytes: well beyond any cache
MULTIPLIED = {"cpu": 1024, "cuda": 8192}  # rows and columns: so many that multiplying them takes all of the time
FLUSHED = 256 * MIB  # bytes at least: overwriting them takes longer than to launch what is timed
ROUNDS = 10
LONG_S = 2.0  # where a round takes long, there are fewer: processors without arithmetic in bf16 imitate it
# How often the least possible step passes over an activation. Batch normalization, ReLU and addition cost no pass
# of their own where statistics are taken in the epilogue of a convolution, and the rest is done in the prologue of the
# next. Forward 2 (it is written, and read), backward 7 (batch normalization's two sums, the gradients of input and of
# weights). At a join what is added is read once more forward, and its gradient once more backward: 2 for every second
# convolution, and so 1 on average, in blocks of two.
PLAIN_PASSES, RESIDUAL_PASSES = 9, 10


@dataclass(frozen=True)
class Rates:
    """What a device does a second, in a precision."""

    bytes_per_s: float
    flops_per_s: float

    def floor_s(self, moved: int, flops: int) -> float:
        """The least time for so many bytes and FLOPs, of which the one can be done while the other is."""
        return max(moved / self.bytes_per_s, flops / self.flops_per_s)


class EventTimer:
    """A clock that is read before and after what is timed: the second reading is the device's time.

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


def measure(device: str, precision: str) -> Rates:
    """Measure what a device can do, with the threads that there are."""
    return Rates(copy_gb_per_s(device) * 1e9, flops_per_s(device, precision))


def copy_gb_per_s(device: str, rounds: int = ROUNDS) -> float:
    """Measure how fast a tensor is copied on its own device: bytes read and written, the best of some rounds."""
    source = torch.ones(COPIED[device], dtype=torch.int8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)

    return 2 * source.nbytes / _best(copy, device, rounds) / 1e9


def flops_per_s(device: str, precision: str, rounds: int = ROUNDS) -> float:
    """Measure how fast two large square matrices are multiplied, two FLOPs a multiply-add, the best of some rounds."""
    size, dtype = MULTIPLIED[device], PRECISIONS[precision]
    draw = torch.Generator(device).manual_seed(0)
    # Of random numbers: a GPU that multiplies ones switches fewer transistors, and so may run faster than it ever will.
    left, right = (torch.randn(size, size, dtype=dtype, device=device, generator=draw) for _ in range(2))
    product = torch.empty_like(left)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        return 2 * size**3 / _best(lambda: torch.mm(left, right, out=product), device, rounds)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def flush() -> Work:
    """Make a call that empties the cache of what matters, and keeps the device busy while the next work is launched."""
    buffer = torch.empty(max(2 * l2_bytes(), FLUSHED), dtype=torch.int8, device="cuda")

    def overwrite() -> None:
        buffer.zero_()

    return overwrite


def l2_bytes() -> int:
    """The size of the GPU's cache."""
    return int(torch.cuda.get_device_properties(0).L2_cache_size)


def least_bytes(net: Net, image: tuple[int, int, int], batch: int, itemsize: int) -> int:
    """Count the least bytes that a training step of a net with batch normalization must move: a model.

    Every convolution's output is passed over 9 times in a plain net and 10 times in a residual one; weights, statistics
    and the ends of the net, which are small beside them, are left out.

    Args:
        net: the net.
        image: channels, height and width of an image.
        batch: images.
        itemsize: bytes of an element of an activation.
    """
    layers = trace(net, image, 1)
    elements = sum(math.prod(layer.output) for layer in layers if layer.kind.endswith("Conv2d"))
    passes = PLAIN_PASSES if {net.shortcut, net.grown_with or "none"} == {"none"} else RESIDUAL_PASSES
    return passes * elements * batch * itemsize


def _best(work: Work, device: str, rounds: int) -> float:
    """Time work, in seconds, the best of some rounds, the cache of a GPU emptied before each."""
    timer, before = (EventTimer(), flush()) if device == "cuda" else (time.perf_counter, lambda: None)
    work()  # touches the pages, loads the kernel
    seconds = []
    for _ in range(rounds):
        before()
        start = timer()
        work()
        seconds.append(timer() - start)
        if sum(seconds) > LONG_S:
            break
    return min(seconds)
