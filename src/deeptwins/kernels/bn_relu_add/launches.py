"""What the fused BN-ReLU-add launches: each kernel with its grid and arguments, prepared but not launched.

`bn_relu_add_operator` launches it; `compiled` compiles it for GPUs that are not there, from tensors without data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from deeptwins.kernels.bn_relu_add import kernels
from deeptwins.kernels.tiles import WARPS, Layout, layout


@dataclass(frozen=True)
class Launch:
    """A kernel to launch: `arguments` by position, then `constants` by name."""

    kernel: Any
    grid: tuple[int, int]
    arguments: tuple[Tensor | float | None, ...]
    constants: dict[str, Any]

    def __call__(self) -> None:
        """Launch it on the current device."""
        self.kernel[self.grid](*self.arguments, **self.constants, num_warps=WARPS)


def dense(x: Tensor, like: Tensor | None = None) -> Tensor:
    """Return x without gaps, in the memory format that PyTorch gives what it makes of x, or of `like`."""
    return x.contiguous(memory_format=_suggested(x if like is None else like))


def channels_last(x: Tensor) -> bool:
    """Whether the kernels see a dense x with channels last: so it lies in memory where images have one pixel, too."""
    return x.shape[1] > 1 and (x.shape[2] * x.shape[3] == 1 or _suggested(x) == torch.channels_last)


def _suggested(x: Tensor) -> torch.memory_format:
    """What C++'s `suggest_memory_format` says, and Python cannot ask: channels last, if strides say so clearly."""
    least = 1
    for axis in (1, 3, 2, 0):
        size, stride = x.shape[axis], x.stride(axis)
        if size == 0 or stride < least or (axis == 0 and least == x.stride(1)):
            return torch.contiguous_format
        least = stride * size if size > 1 else stride
    return torch.channels_last


def outputs(x: Tensor, residual: Tensor | None, relu_first: bool, fork: bool, save: bool) -> tuple[Tensor, ...]:
    """Make (y, twin, stats, mask) for a dense x; what is not wanted is empty.

    Args:
        x: (N, C, H, W).
        residual: like x, or None.
        relu_first: whether ReLU comes before the addition.
        fork: whether y is used twice; `twin` then has its shape, but the memory of one element.
        save: whether to keep what the backward pass needs: `stats` (3, C), and `mask`, a bit an element.
    """
    positions, channels = x.shape[0] * x.shape[2] * x.shape[3], x.shape[1]
    length = 0
    if save and residual is not None and not relu_first:
        length = positions * ((channels + 7) // 8) if channels_last(x) else channels * ((positions + 7) // 8)
    return (
        torch.empty_like(x),
        x.new_empty(1).expand(x.shape) if fork else x.new_empty(0),
        x.new_empty((3 if save else 0, channels), dtype=_accumulator(x)),
        x.new_empty(length, dtype=torch.uint8),
    )


def gradients(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: bool, relu_first: bool, forked: bool
) -> tuple[Tensor, ...]:
    """Make (dx, g, dweight, dbias) for a dense x; what is not wanted is empty.

    The residual's gradient g is written where it is not simply dy: where ReLU stands before it, or two are summed.
    """
    write = forked or (residual and not relu_first)
    return (
        torch.empty_like(x),
        torch.empty_like(x) if write else x.new_empty(0),
        x.new_empty(0) if weight is None else torch.empty_like(weight),
        x.new_empty(0) if bias is None else torch.empty_like(bias),
    )


def forward(
    made: tuple[Tensor, ...],
    processors: int,
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    num_batches_tracked: Tensor | None,
    training: bool,
    momentum: float | None,
    eps: float,
    relu_first: bool,
) -> list[Launch]:
    """Prepare the forward pass of a dense x that is not empty.

    It fills what `outputs` made, on a device of so many multiprocessors; the other arguments are the operator's.
    """
    y, twin, stats, mask = made
    cut, constants = _cut(x, processors)
    launches = []
    partial = None
    if training:
        partial = _partial(cut, x)
        arguments = (x, partial, num_batches_tracked, cut.N, cut.tiles)
        launches.append(Launch(kernels.bn_relu_add_statistics, cut.grid, arguments, constants))
    apply = (
        x,
        None if residual is None else dense(residual, x),
        y,
        twin if twin.numel() else None,
        mask if mask.numel() else None,
        partial,
        stats if len(stats) else None,
        weight,
        bias,
        running_mean,
        running_var,
        num_batches_tracked if momentum is None else None,
        cut.N,
        cut.tiles,
        cut.splits,
        0.0 if momentum is None else momentum,
        eps,
    )
    constants = {**constants, "RELU_FIRST": relu_first, "SLOTS": cut.slots if training else 1}
    return [*launches, Launch(kernels.bn_relu_add_apply, cut.grid, apply, constants)]


def backward(
    made: tuple[Tensor, ...],
    processors: int,
    dy: Tensor,
    other: Tensor | None,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    mask: Tensor,
    training: bool,
    relu_first: bool,
) -> list[Launch]:
    """Prepare the backward pass of a dense x that is not empty.

    It fills what `gradients` made, on a device of so many multiprocessors; the other arguments are the operator's.
    """
    dx, g, dweight, dbias = made
    cut, constants = _cut(x, processors)
    dy = dense(dy, x)
    partial = _partial(cut, x)
    written = g if g.numel() else None
    reduce = (
        dy,
        None if other is None else dense(other, x),
        x,
        mask if mask.numel() else None,
        stats,
        weight,
        bias,
        written,
        partial,
        cut.N,
        cut.tiles,
    )
    gradient = (
        dy if written is None else written,
        x,
        stats,
        weight,
        bias,
        partial,
        dx,
        None if weight is None else dweight,
        None if bias is None else dbias,
        cut.N,
        cut.tiles,
        cut.splits,
    )
    passed = written is not None and not relu_first
    return [
        Launch(kernels.bn_relu_add_reduce, cut.grid, reduce, {**constants, "RELU_FIRST": relu_first}),
        Launch(
            kernels.bn_relu_add_gradient,
            cut.grid,
            gradient,
            {**constants, "PASSED": passed, "TRAINING": training, "SLOTS": cut.slots},
        ),
    ]


def _accumulator(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _partial(cut: Layout, x: Tensor) -> Tensor:
    return x.new_empty((2, cut.splits, cut.C), dtype=_accumulator(x))


def _cut(x: Tensor, processors: int) -> tuple[Layout, dict[str, Any]]:
    """The layout of a dense tensor, and the constants of every kernel that follow from it."""
    cut = layout(tuple(x.shape), x.element_size(), channels_last(x), processors)
    acc = tl.float64 if x.dtype == torch.float64 else tl.float32
    same = {"C": cut.C, "HW": cut.HW, "LAST": cut.last, "WIDE": cut.wide, "ACC": acc, "BM": cut.BM, "BC": cut.BC}
    return cut, same
