"""The roofline: what a device can do at most, measured, and the least bytes that a training step moves.

Williams et al. 2009: no operation takes less time than its bytes at the rate of a copy, or than its FLOPs at the rate
of a product of matrices.
"""

from __future__ import annotations

import math
import time

import torch

from deeptwins.kernels.formats import PRECISIONS
from deeptwins.nets.inspection import trace
from deeptwins.profile.clock import MIB, EventTimer, Work, flush
from deeptwins.records.profiles import Rate
from deeptwins.study.specs import Net

COPIED = {"cpu": 512 * MIB, "cuda": 1024 * MIB}  # bytes: well beyond any cache
MULTIPLIED = {"cpu": 1024, "cuda": 8192}  # rows and columns: so many that multiplying them takes all of the time
ROUNDS = 10
LONG_S = 2.0  # no further round once they took this long: a processor without arithmetic in bf16 imitates it, slowly
# How often the least possible step passes over the output of a convolution. Batch normalization, ReLU and addition cost
# no pass of their own: the epilogue of a convolution takes the statistics, the prologue of the next does the rest.
# Forward 2 (written, read), backward 7 (batch normalization's two sums, the gradients of input and of weights). At a
# join, the added tensor is read once more forward, and its gradient once more backward: 2 for every second convolution
# in blocks of two, and so 1 on average.
PLAIN_PASSES, RESIDUAL_PASSES = 9, 10


def measure(device: str, precision: str) -> Rate:
    """Measure what a device can do, on a CPU with PyTorch's current number of threads."""
    copied, multiplied = copy_gb_per_s(device) * 1e9, flops_per_s(device, precision)
    return Rate(precision=precision, copy_bytes_per_s=copied, flops_per_s=multiplied)


def copy_gb_per_s(device: str) -> float:
    """Measure how fast a tensor is copied on its device: bytes read and written, the best of some rounds."""
    source = torch.ones(COPIED[device], dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source), device) / 1e9


def flops_per_s(device: str, precision: str) -> float:
    """Measure how fast large square matrices are multiplied, two FLOPs per multiply-add, the best of some rounds."""
    size, dtype = MULTIPLIED[device], PRECISIONS[precision]
    draw = torch.Generator(device).manual_seed(0)
    # Of random numbers: a GPU that multiplies ones switches fewer transistors, and so may run faster than it ever will.
    left, right = (torch.randn(size, size, dtype=dtype, device=device, generator=draw) for _ in range(2))
    product = torch.empty_like(left)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        return 2 * size**3 / _best(lambda: torch.mm(left, right, out=product), device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def least_bytes(net: Net, image: tuple[int, int, int], batch: int, itemsize: int) -> int:
    """Count the least bytes that a training step of a net with batch normalization must move: a model.

    Every convolution's output is passed over 9 times in a plain net and 10 times in a residual one; weights, statistics
    and the ends of the net, which are small beside them, are left out. It is no model of a net of one's own: 0.

    Args:
        net: the net.
        image: channels, height and width of an image.
        batch: images.
        itemsize: bytes per element of an activation.
    """
    if net.is_own:
        return 0
    layers = trace(net, image, 1)
    elements = sum(math.prod(layer.output) for layer in layers if layer.kind.endswith("Conv2d"))
    plain = net.shortcut == "none" and (net.grown_with or "none") == "none"
    passes = PLAIN_PASSES if plain else RESIDUAL_PASSES
    return passes * elements * batch * itemsize


def _best(work: Work, device: str, rounds: int = ROUNDS) -> float:
    """Time work, in seconds, the best of some rounds, the cache of a GPU emptied before each.

    Of all statistics the best suffers least from other work on the machine, which only makes a round longer.
    """
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
