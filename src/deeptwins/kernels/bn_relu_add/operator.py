"""The Triton kernels as operators of PyTorch: implementation, fake, gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from triton.runtime.interpreter import InterpretedFunction

from deeptwins.kernels.bn_relu_add import launches
from deeptwins.kernels.bn_relu_add.kernels import bn_relu_add_apply
from deeptwins.kernels.bn_relu_add.launches import dense

INTERPRETED = isinstance(bn_relu_add_apply, InterpretedFunction)  # by TRITON_INTERPRET=1: on the CPU, slowly
INTERPRETED_PROCESSORS = 2  # enough for splits to be merged

Tensors = tuple[Tensor, ...]


def unavailable(device: str) -> str | None:
    """Say in one line why the kernels cannot run on a device, `cpu` or `cuda`; None if they can."""
    if INTERPRETED or device == "cuda":
        return None
    return f"Triton needs a CUDA device, not {device}; its interpreter can run on a CPU, slowly: set TRITON_INTERPRET=1"


def _processors(x: Tensor) -> int:
    """How many multiprocessors x's device has.

    Raises:
        RuntimeError: the kernels cannot run there.
    """
    if reason := unavailable(x.device.type):
        raise RuntimeError(f"implementation 'triton': {reason}")
    if INTERPRETED:
        return INTERPRETED_PROCESSORS
    return torch.cuda.get_device_properties(x.device).multi_processor_count


def _packed(of_channels: Tensor | None) -> Tensor | None:
    """Return values a channel without gaps, which the kernels take for granted."""
    return None if of_channels is None else of_channels.contiguous()


def _launch(x: Tensor, prepared: list[launches.Launch]) -> None:
    """Launch on x's device, which need not be the current one."""
    if x.is_cuda:
        with torch.cuda.device(x.device):
            for launch in prepared:
                launch()
    else:
        for launch in prepared:
            launch()


def _forward(
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
    fork: bool,
    save: bool,
) -> Tensors:
    """(y, twin, stats, mask), as `launches.outputs` says; running statistics and the counter change in place."""
    processors = _processors(x)
    x = dense(x)
    made = launches.outputs(x, residual, relu_first, fork, save)
    if x.numel():
        mean, variance = _packed(running_mean), _packed(running_var)
        prepared = launches.forward(
            made, processors, x, residual, _packed(weight), _packed(bias), mean, variance, num_batches_tracked,
            training, momentum, eps, relu_first,
        )  # fmt: skip
        _launch(x, prepared)
        for running, copy in ((running_mean, mean), (running_var, variance)):
            if training and running is not None and copy is not None and copy is not running:
                running.copy_(copy)
    else:  # as in PyTorch: the batch counts, but leaves the running statistics alone
        made[2].zero_()
        if num_batches_tracked is not None:
            num_batches_tracked.add_(1)
    return made


def _backward(
    dy: Tensor,
    other: Tensor | None,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    mask: Tensor,
    training: bool,
    residual: bool,
    relu_first: bool,
) -> Tensors:
    """(dx, g, dweight, dbias), as `launches.gradients` says."""
    processors = _processors(x)
    x = dense(x)
    made = launches.gradients(x, weight, bias, residual, relu_first, other is not None)
    if x.numel():
        prepared = launches.backward(
            made, processors, dy, other, x, _packed(weight), _packed(bias), stats, mask, training, relu_first
        )  # fmt: skip
        _launch(x, prepared)
    else:
        made[2].zero_()
        made[3].zero_()
    return made


def _forward_fake(x: Tensor, residual: Tensor | None, *rest: Any) -> Tensors:
    relu_first, fork, save = rest[-3:]
    return launches.outputs(dense(x), residual, relu_first, fork, save)


def _backward_fake(_dy: Tensor, other: Tensor | None, x: Tensor, *rest: Any) -> Tensors:
    weight, bias, _stats, _mask, _training, residual, relu_first = rest
    return launches.gradients(dense(x), weight, bias, residual, relu_first, other is not None)


class _Differentiable(torch.autograd.Function):
    """The operator with its gradient. Where y is used twice, `twin` receives the gradient of its second use."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensors:
        """Run the operator, and keep what its gradient needs."""
        with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001  PyTorch's own idiom for operators
            y, twin, stats, mask = torch.ops.deeptwins.bn_relu_add(*inputs)
        x, residual, weight, bias, _, _, _, training, _, _, relu_first, fork, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(stats, mask, *([] if fork else [twin]))
        ctx.save_for_backward(x, weight, bias, stats, mask)
        ctx.options = training, residual is not None, relu_first
        return y, twin, stats, mask

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, other: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, residual, weight and bias; those of both uses of y are summed on the way."""
        if dy is None:
            dy, other = other, None
        if dy is None:
            return (None,) * 13
        x, weight, bias, stats, mask = ctx.saved_tensors
        _, residual, relu_first = ctx.options
        dx, g, dweight, dbias = torch.ops.deeptwins.bn_relu_add_backward(
            dy, other, x, weight, bias, stats, mask, *ctx.options
        )
        return (
            dx,
            None if not residual else dy if relu_first and other is None else g,
            None if weight is None else dweight,
            None if bias is None else dbias,
            *(None,) * 9,
        )


class _Fork(torch.autograd.Function):
    """y again, for its second use, whose gradient goes to `twin`: so it reaches the backward kernel unsummed.

    Autograd itself would sum the gradients of the two uses in a pass of its own: three more tensors moved.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, _twin: Tensor) -> Tensor:
        """Return y."""
        ctx.set_materialize_grads(False)
        return y.view_as(y)

    @staticmethod
    def backward(_ctx: Any, dy: Tensor | None) -> tuple[None, Tensor | None]:
        """Hand the gradient to `twin`."""
        return None, dy


_LIBRARY = torch.library.Library("deeptwins", "FRAGMENT")
_LIBRARY.define(
    "bn_relu_add(Tensor x, Tensor? residual, Tensor? weight, Tensor? bias, Tensor(a!)? running_mean,"
    " Tensor(b!)? running_var, Tensor(c!)? num_batches_tracked, bool training, float? momentum, float eps,"
    " bool relu_first, bool fork, bool save) -> (Tensor y, Tensor twin, Tensor stats, Tensor mask)",
    tags=[torch.Tag.pt2_compliant_tag],
)
_LIBRARY.define(
    "bn_relu_add_backward(Tensor dy, Tensor? other, Tensor x, Tensor? weight, Tensor? bias, Tensor stats, Tensor mask,"
    " bool training, bool residual, bool relu_first) -> (Tensor dx, Tensor g, Tensor dweight, Tensor dbias)",
    tags=[torch.Tag.pt2_compliant_tag],
)
for _name, _implementation, _fake in (
    ("bn_relu_add", _forward, _forward_fake),
    ("bn_relu_add_backward", _backward, _backward_fake),
):
    for _device in ("CPU", "CUDA"):
        _LIBRARY.impl(_name, _implementation, _device)
    torch.library.register_fake(f"deeptwins::{_name}", _fake, lib=_LIBRARY)
_LIBRARY.impl("bn_relu_add", _Differentiable.apply, "Autograd")


def bn_relu_add(
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
    fork: bool,
) -> Tensor | tuple[Tensor, Tensor]:
    """The implementation `triton` of `deeptwins.kernels.bn_relu_add.definition`, whose arguments it takes checked."""
    save = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, residual, weight, bias))
    y: Tensor
    twin: Tensor
    y, twin, _, _ = torch.ops.deeptwins.bn_relu_add(
        x, residual, weight, bias, running_mean, running_var, num_batches_tracked, training, momentum, eps,
        relu_first and residual is not None, fork and save, save,
    )  # fmt: skip
    if not fork:
        return y
    return y, _Fork.apply(y, twin) if save else y
