"""What the fused BN-ReLU-add launches: each kernel with its grid and arguments, prepared but not launched.

`operator` launches them. `kernels.offline.compiled` prepares them from tensors without data, to compile the kernels for
GPUs that are not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from deeptwins.kernels.bn_relu_add import kernels
from deeptwins.kernels.bn_relu_add.inputs import Inputs
from deeptwins.kernels.tiles import WARPS, Tiling, tile


@dataclass(frozen=True)
class Launch:
    """A kernel to launch: `arguments` by position, `constants` by name."""

    kernel: Any
    grid: tuple[int, int]
    arguments: tuple[Tensor | float | None, ...]
    constants: dict[str, Any]

    def __call__(self) -> None:
        """Launch it on the current device."""
        self.kernel[self.grid](*self.arguments, **self.constants, num_warps=WARPS)


def dense(x: Tensor, like: Tensor | None = None) -> Tensor:
    """Return x without gaps, in the memory format that PyTorch gives to what it computes from x, or from `like`."""
    return x.contiguous(memory_format=_suggested(x if like is None else like))


def channels_last(x: Tensor) -> bool:
    """Whether channels are last in the memory of a dense x, to the kernels: images of one pixel count as such, too."""
    return x.shape[1] > 1 and (x.shape[2] * x.shape[3] == 1 or _suggested(x) == torch.channels_last)


def _suggested(x: Tensor) -> torch.memory_format:
    """PyTorch's `suggest_memory_format`, which Python cannot call: channels last only if the strides leave no doubt."""
    least = 1
    for axis in (1, 3, 2, 0):
        size, stride = x.shape[axis], x.stride(axis)
        if size == 0 or stride < least or (axis == 0 and least == x.stride(1)):
            return torch.contiguous_format
        least = stride * size if size > 1 else stride
    return torch.channels_last


def outputs(inputs: Inputs, save: bool) -> tuple[Tensor, ...]:
    """Make (y, twin, stats, mask) for inputs whose x is dense; what is not wanted is empty.

    `twin`, wanted where y is used twice, has y's shape, but the memory of one element. `save` says whether to keep what
    the backward pass needs: `stats` (3, C), and `mask`, one bit per element, at a join where ReLU comes last.
    """
    x = inputs.x
    positions, channels = x.shape[0] * x.shape[2] * x.shape[3], x.shape[1]
    mask_bytes = 0
    if save and inputs.residual is not None and not inputs.relu_first:
        # Each row, of channels or else of positions, has whole bytes.
        mask_bytes = positions * ((channels + 7) // 8) if channels_last(x) else channels * ((positions + 7) // 8)
    return (
        torch.empty_like(x),
        x.new_empty(1).expand(x.shape) if inputs.fork else x.new_empty(0),
        x.new_empty((3 if save else 0, channels), dtype=_accumulator(x)),
        x.new_empty(mask_bytes, dtype=torch.uint8),
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


def forward(outputs: tuple[Tensor, ...], processors: int, inputs: Inputs) -> list[Launch]:
    """Prepare the forward pass of a dense x that is not empty.

    It fills what the function `outputs` made, on a device of so many multiprocessors.
    """
    y, twin, stats, mask = outputs
    x, momentum = inputs.x, inputs.momentum
    tiling, constants = _tiling(x, processors)
    # In training, a reduction first.
    launches = []
    partial = None
    if inputs.training:
        partial = _partial(tiling, x)
        arguments = (x, partial, inputs.num_batches_tracked, tiling.N, tiling.tiles)
        launches.append(Launch(kernels.bn_relu_add_statistics, tiling.grid, arguments, constants))
    # Then the pass over all elements.
    apply = (
        x,
        None if inputs.residual is None else dense(inputs.residual, x),
        y,
        twin if twin.numel() else None,
        mask if mask.numel() else None,
        partial,
        stats if len(stats) else None,
        inputs.weight,
        inputs.bias,
        inputs.running_mean,
        inputs.running_var,
        inputs.num_batches_tracked if momentum is None else None,
        tiling.N,
        tiling.tiles,
        tiling.splits,
        0.0 if momentum is None else momentum,
        inputs.eps,
    )
    constants = {**constants, "RELU_FIRST": inputs.relu_first, "SLOTS": tiling.slots if inputs.training else 1}
    return [*launches, Launch(kernels.bn_relu_add_apply, tiling.grid, apply, constants)]


def backward(
    gradients: tuple[Tensor, ...],
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

    It fills what the function `gradients` made, on a device of so many multiprocessors; the other arguments are
    those of the operator `bn_relu_add_backward`.
    """
    dx, g, dweight, dbias = gradients
    tiling, constants = _tiling(x, processors)
    dy = dense(dy, x)
    partial = _partial(tiling, x)
    # A reduction, which also writes the gradient that has been summed and masked, if any was.
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
        tiling.N,
        tiling.tiles,
    )
    # Then the pass over all elements.
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
        tiling.N,
        tiling.tiles,
        tiling.splits,
    )
    passed = written is not None and not relu_first
    return [
        Launch(kernels.bn_relu_add_reduce, tiling.grid, reduce, {**constants, "RELU_FIRST": relu_first}),
        Launch(
            kernels.bn_relu_add_gradient,
            tiling.grid,
            gradient,
            {**constants, "PASSED": passed, "TRAINING": training, "SLOTS": tiling.slots},
        ),
    ]


def _accumulator(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _partial(tiling: Tiling, x: Tensor) -> Tensor:
    return x.new_empty((2, tiling.splits, tiling.C), dtype=_accumulator(x))


def _tiling(x: Tensor, processors: int) -> tuple[Tiling, dict[str, Any]]:
    """How a dense tensor is cut, and the constants of every kernel that follow from it."""
    tiling = tile(tuple(x.shape), x.element_size(), channels_last(x), processors)
    constants = {
        "C": tiling.C,
        "HW": tiling.HW,
        "LAST": tiling.last,
        "WIDE": tiling.wide,
        "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32,
        "BM": tiling.BM,
        "BC": tiling.BC,
    }
    return tiling, constants
