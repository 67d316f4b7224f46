"""The Triton kernels as operators of PyTorch: implementation, fake, gradient."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from deeptwins.kernels.bn_relu_add import launches
from deeptwins.kernels.bn_relu_add.inputs import Inputs
from deeptwins.kernels.bn_relu_add.kernels import bn_relu_add_apply
from deeptwins.kernels.bn_relu_add.launches import dense
from deeptwins.kernels.bn_relu_add.transforms import transformed

# Whether Triton was imported under TRITON_INTERPRET=1. The kernels then run on the CPU, slowly.
INTERPRETED = isinstance(bn_relu_add_apply, InterpretedFunction)
INTERPRETED_PROCESSORS = 2  # so many that there is more than one split, and splits are merged

DIMS = (0, 2, 3)  # of the values of a channel
ARGUMENTS = len(Inputs._fields) + 1  # of the operator: the inputs, and `save`

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
    """Return values per channel without gaps in memory, which the kernels take for granted."""
    return None if of_channels is None else of_channels.contiguous()


def _unpacked(arguments: tuple[Any, ...]) -> tuple[Inputs, bool]:
    """Split the arguments of the operator into the inputs and `save`: whether to keep what the backward pass needs."""
    *inputs, save = arguments
    return Inputs(*inputs), save


def _launch(x: Tensor, prepared: list[launches.Launch]) -> None:
    """Launch on x's device, which need not be CUDA's current one."""
    if x.is_cuda:
        with torch.cuda.device(x.device):
            for launch in prepared:
                launch()
    else:
        for launch in prepared:
            launch()


def _forward(*arguments: Any) -> Tensors:
    """(y, twin, stats, mask), as `launches.outputs` says; running statistics and the counter change in place."""
    inputs, save = _unpacked(arguments)
    processors = _processors(inputs.x)
    packed = inputs._replace(
        x=dense(inputs.x),
        weight=_packed(inputs.weight),
        bias=_packed(inputs.bias),
        running_mean=_packed(inputs.running_mean),
        running_var=_packed(inputs.running_var),
    )
    outputs = launches.outputs(packed, save)
    if packed.x.numel():
        _launch(packed.x, launches.forward(outputs, processors, packed))
        # Running statistics with gaps were updated in a copy.
        pairs = (inputs.running_mean, packed.running_mean), (inputs.running_var, packed.running_var)
        for running, copy in pairs:
            if inputs.training and running is not None and copy is not None and copy is not running:
                running.copy_(copy)
    else:  # as in PyTorch: the batch counts, but leaves the running statistics alone
        _, _, stats, _ = outputs
        stats.zero_()
        if inputs.num_batches_tracked is not None:
            inputs.num_batches_tracked.add_(1)
    return outputs


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
    gradients = launches.gradients(x, weight, bias, residual, relu_first, other is not None)
    if x.numel():
        prepared = launches.backward(
            gradients, processors, dy, other, x, _packed(weight), _packed(bias), stats, mask, training, relu_first
        )  # fmt: skip
        _launch(x, prepared)
    else:
        _, _, dweight, dbias = gradients
        dweight.zero_()
        dbias.zero_()
    return gradients


def _forward_fake(*arguments: Any) -> Tensors:
    inputs, save = _unpacked(arguments)
    return launches.outputs(inputs._replace(x=dense(inputs.x)), save)


def _backward_fake(_dy: Tensor, other: Tensor | None, x: Tensor, *rest: Any) -> Tensors:
    weight, bias, _stats, _mask, _training, residual, relu_first = rest
    return launches.gradients(dense(x), weight, bias, residual, relu_first, other is not None)


def _gradients(
    dy: Tensor,
    other: Tensor | None,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    mask: Tensor,
    training: bool,
    _residual: bool,
    relu_first: bool,
    eps: float,
) -> Tensors:
    """(dx, g, dweight, dbias) by the kernels' formulas in PyTorch's own operations, for any order of derivative."""
    with torch.no_grad():  # what ReLU let pass: the gradient of ones
        _, ones, _, _ = torch.ops.deeptwins.bn_relu_add_backward(
            torch.ones_like(x), None, x, weight, bias, stats, mask, training, residual=True, relu_first=False
        )
    count = max(x.numel() // x.shape[1], 1)
    mean, low, rstd = stats[:, None, :, None, None]
    away = x.to(stats.dtype) - mean - low
    if training:
        away = away - away.sum(DIMS, keepdim=True) / count
        rstd = (away.square().sum(DIMS, keepdim=True) / count + eps).rsqrt()
    xhat = away * rstd
    scale = rstd if weight is None else rstd * weight.to(stats.dtype)[:, None, None]
    z = scale * away if bias is None else scale * away + bias.to(stats.dtype)[:, None, None]
    total = dy if other is None else dy + other
    # As in PyTorch the gradient depends on z, if only with a derivative of 0: so it is never said to be a constant.
    nothing = torch.where(torch.zeros_like(ones, dtype=torch.bool), z, 0).to(dy.dtype)
    passed = torch.where(ones != 0, total, nothing)
    g = passed.to(stats.dtype)
    dbias, dweight = g.sum(DIMS), (g * xhat).sum(DIMS)
    if training:
        g = g - (dbias[:, None, None] + xhat * dweight[:, None, None]) / count
    return (
        (scale * g).to(x.dtype),
        total if relu_first else passed,
        dweight if weight is None else dweight.to(weight.dtype),
        dbias if bias is None else dbias.to(bias.dtype),
    )


class _Differentiable(torch.autograd.Function):
    """The operator with its gradient. Where y is used twice, `twin` receives the gradient of its second use."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensors:
        """Run the operator, and keep what its gradient needs."""
        with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001  PyTorch's own idiom for operators
            y, twin, stats, mask = torch.ops.deeptwins.bn_relu_add(*arguments)
        inputs, _ = _unpacked(arguments)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(stats, mask, *([] if inputs.fork else [twin]))
        ctx.save_for_backward(inputs.x, inputs.weight, inputs.bias, stats, mask)
        ctx.options = inputs.training, inputs.residual is not None, inputs.relu_first
        ctx.eps = inputs.eps
        return y, twin, stats, mask

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, other: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, residual, weight and bias; those of both uses of y are summed on the way."""
        if dy is None:
            dy, other = other, None
        if dy is None:
            return (None,) * ARGUMENTS
        x, weight, bias, stats, mask = ctx.saved_tensors
        _, residual, relu_first = ctx.options
        # With create_graph the gradients are differentiated again, which the kernels cannot be.
        again = torch.is_grad_enabled() or transformed(dy, other)
        compute = partial(_gradients, eps=ctx.eps) if again else torch.ops.deeptwins.bn_relu_add_backward
        dx, g, dweight, dbias = compute(dy, other, x, weight, bias, stats, mask, *ctx.options)
        if not residual:
            dresidual = None
        elif relu_first and other is None:
            dresidual = dy
        else:
            dresidual = g
        gradients = dx, dresidual, None if weight is None else dweight, None if bias is None else dbias
        return *gradients, *(None,) * (ARGUMENTS - len(gradients))


def _wanted(inputs: Inputs) -> bool:
    """Whether a gradient will be asked for."""
    differentiable = inputs.x, inputs.residual, inputs.weight, inputs.bias
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in differentiable)


def _autograd(*arguments: Any) -> Tensors:
    """Run the operator so that it can be differentiated, also where it was traced without: with `save` false."""
    inputs, save = _unpacked(arguments)
    outputs: Tensors = _Differentiable.apply(*inputs, save or _wanted(inputs))
    return outputs


class _SecondUse(torch.autograd.Function):
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
_LIBRARY.impl("bn_relu_add", _autograd, "Autograd")


def bn_relu_add(inputs: Inputs) -> Tensor | tuple[Tensor, Tensor]:
    """The implementation `triton` in `definition.IMPLEMENTATIONS`."""
    save = _wanted(inputs)
    relu_first = inputs.relu_first and inputs.residual is not None
    # An exported program has no functions of autograd's: it would forget where the gradient of the second use goes.
    fork = inputs.fork and save and not torch.compiler.is_exporting()
    y: Tensor
    twin: Tensor
    y, twin, _, _ = torch.ops.deeptwins.bn_relu_add(*inputs._replace(relu_first=relu_first, fork=fork), save)
    if not inputs.fork:
        return y
    return y, _SecondUse.apply(y, twin) if fork else y
