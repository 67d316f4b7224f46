"""Batch normalization, addition of a residual, ReLU: the end of a residual block as one operation.

The eager implementation is the definition; every other computes the same, and `IMPLEMENTATIONS` lists them all.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable
from typing import Any, Literal, NoReturn, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from deeptwins.kernels.bn_relu_add.inputs import Inputs
from deeptwins.kernels.bn_relu_add.transforms import functorch, transformed

ReLUOrder = Literal["add-relu", "relu-add"]
"""Which comes first: the addition of the residual, or ReLU."""
Output: TypeAlias = Tensor | tuple[Tensor, Tensor]
"""y, or with `fork` y twice."""

ORDERS = ("add-relu", "relu-add")
KINDS = 1024  # so many kinds of inputs torch.compile may meet in one process
OLDEST = (8, 0)  # the least compute capability at which `auto` takes Triton


def eager(inputs: Inputs) -> Output:
    """The definition, in PyTorch's own operations."""
    y = _normalized(inputs)
    if inputs.relu_first or inputs.residual is None:
        y = F.relu_(y)
    if inputs.residual is not None:
        # Under vmap y may be one tensor where residuals are many: nothing can then be added to it in place.
        y = y + inputs.residual if inputs.relu_first or functorch() else y.add_(inputs.residual)
        y = y if inputs.relu_first else F.relu_(y)
    return (y, y) if inputs.fork else y


def _normalized(inputs: Inputs) -> Tensor:
    """Normalize alone. Batches are counted, if at all, as `nn.BatchNorm2d` does."""
    momentum = inputs.momentum
    if inputs.num_batches_tracked is not None:
        inputs.num_batches_tracked.add_(1)
        if momentum is None:
            momentum = 1.0 / float(inputs.num_batches_tracked)
    return F.batch_norm(
        inputs.x, inputs.running_mean, inputs.running_var, inputs.weight, inputs.bias, inputs.training,
        momentum or 0.0, inputs.eps,
    )  # fmt: skip


def compiled(inputs: Inputs) -> Output:
    """Call `eager` through torch.compile, which takes some seconds for each kind of inputs that it has not seen yet."""
    if inputs.num_batches_tracked is not None and inputs.momentum is None:
        # The momentum is then 1 / batches: a number of the host, which a compiled graph cannot read off a tensor.
        momentum = 1.0 / float(inputs.num_batches_tracked.add_(1))
        inputs = inputs._replace(momentum=momentum, num_batches_tracked=None)
    if torch.compiler.is_compiling():
        return eager(inputs)
    # A net has more kinds of sites than torch.compile would compile one function for before it runs it eagerly.
    with torch._dynamo.config.patch(recompile_limit=KINDS, accumulated_recompile_limit=KINDS):  # noqa: SLF001
        return _compile()(inputs)


def triton(inputs: Inputs) -> Output:
    """Call the Triton kernels: two launches forward, two backward; `eager` under the transforms of `transforms`."""
    if transformed(inputs.x, inputs.residual, inputs.weight, inputs.bias):
        return eager(inputs)
    from deeptwins.kernels.bn_relu_add import operator  # noqa: PLC0415  it loads Triton, which only its users need

    return operator.bn_relu_add(inputs)


IMPLEMENTATIONS: dict[str, Callable[[Inputs], Output]] = {"eager": eager, "compiled": compiled, "triton": triton}


@functools.cache
def _compile() -> Callable[[Inputs], Output]:
    return torch.compile(eager)


def unavailable(implementation: str, device: str) -> str | None:
    """Say in one line why an implementation cannot run on a device, `cpu` or `cuda`; None if it can."""
    if implementation == "triton":
        if importlib.util.find_spec("triton") is None:
            return "the package triton is not installed (it exists for Linux)"
        from deeptwins.kernels.bn_relu_add import operator  # noqa: PLC0415

        return operator.unavailable(device)
    if implementation == "compiled" and device == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        return "torch.compile needs a C++ compiler on the CPU, and there is no g++"
    return None


def _native(device: torch.device) -> bool:
    """Whether `auto` takes Triton on a CUDA device."""
    return torch.cuda.get_device_capability(device) >= OLDEST and unavailable("triton", "cuda") is None


# As torch.compiler.assume_constant_result does, which would also load torch._dynamo: a second of every command.
_native._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001


def bn_relu_add(
    x: Tensor,
    residual: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    order: ReLUOrder = "add-relu",
    implementation: str = "auto",
) -> Tensor:
    """Batch normalization, addition of a residual, ReLU, in one operation; differentiable, also more than once.

    y = relu(bn(x) + residual), the end of a residual block (He et al. 2015, figure 2), or with `order="relu-add"`
    y = relu(bn(x)) + residual ("Identity mappings in deep residual networks", He et al. 2016, figure 4c); without a
    residual y = relu(bn(x)). Batch normalization is `torch.nn.functional.batch_norm`'s: statistics of the batch in
    training, which update the running ones in place (the variance as its unbiased estimate), else the running ones.

    Args:
        x: (N, C, H, W), floating point, in any memory format; the result keeps it.
        residual: of x's shape, dtype and device. Under autocast it is cast to x's dtype.
        weight: (C,), the scale.
        bias: (C,), the shift.
        running_mean: (C,); needed in evaluation.
        running_var: (C,); needed in evaluation.
        training: whether the batch's own statistics normalize it.
        momentum: the weight of this batch in the running statistics.
        eps: added to the variance.
        order: which comes first, addition or ReLU.
        implementation: a name from `IMPLEMENTATIONS`, or `auto`: triton on a CUDA device that can run it, else eager.

    Raises:
        TypeError: an argument is no tensor.
        ValueError: x is not 4-dimensional, training has one value per channel or eps <= 0, only one of the running
            statistics is given, or an option does not exist.
        RuntimeError: shapes, dtypes or devices do not fit, or the implementation cannot run here.
    """
    inputs = Inputs(
        x, residual, weight, bias, running_mean, running_var, None, training, momentum, eps,
        relu_first=order == "relu-add", fork=False,
    )  # fmt: skip
    return cast("Tensor", _run(inputs, order, implementation))


class BNReLUAdd(nn.BatchNorm2d):
    """`bn_relu_add` as a module: `nn.BatchNorm2d` with a residual and a ReLU.

    Its parameters, buffers and state_dict are those of `nn.BatchNorm2d`, whatever the implementation, so that swapping
    implementations never changes a checkpoint. What it adds to the variance is `epsilon`: `eps` can be set, but not
    read, so that what would put batch normalization alone in its place, and drop addition and ReLU, fails instead. Such
    are `nn.SyncBatchNorm.convert_sync_batchnorm` and `torch.nn.utils.fuse_conv_bn_eval`. `torch.jit.trace` works,
    `torch.jit.script` is refused.
    """

    __constants__: list[str] = [name for name in nn.BatchNorm2d.__constants__ if name != "eps"]  # noqa: RUF012
    epsilon: float

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,  # noqa: FBT002  as in nn.BatchNorm2d
        track_running_stats: bool = True,  # noqa: FBT002
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
        order: ReLUOrder = "add-relu",
        implementation: str = "auto",
    ) -> None:
        """Make the module.

        Args:
            num_features: channels C.
            eps: added to the variance.
            momentum: the weight of a batch in the running statistics; None averages over all batches.
            affine: whether there is a weight (and a bias) per channel.
            track_running_stats: whether running statistics are kept; else each batch is normalized by its own.
            device: of parameters and buffers.
            dtype: of parameters and buffers.
            bias: whether an affine module has a bias.
            order: `add-relu`, or `relu-add`.
            implementation: a name from `IMPLEMENTATIONS`, or `auto`.

        Raises:
            ValueError: the order or the implementation does not exist.
        """
        _check_options(order, implementation)
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        if not bias:
            self.register_parameter("bias", None)
        self.order = order
        self.implementation = implementation

    @property
    def eps(self) -> float:
        """Refuse: see the class.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "BNReLUAdd also adds and rectifies: batch normalization alone, or a convolution, cannot take its place"
            " (`eps` is its `epsilon`)"
        )

    @eps.setter
    def eps(self, value: float) -> None:
        self.epsilon = value

    def __dir__(self) -> list[str]:
        """Leave out `eps`: `torch.jit.trace` reads whatever is listed."""
        names: list[str] = super().__dir__()  # type: ignore[no-untyped-call]
        return [name for name in names if name != "eps"]

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script`, which calls this.

        Raises:
            TypeError: always.
        """
        raise TypeError("torch.jit.script cannot compile BNReLUAdd: use torch.compile, or torch.jit.trace")

    def forward(self, x: Tensor, residual: Tensor | None = None, *, fork: bool = False) -> Output:  # type: ignore[override]
        """Normalize, add, rectify: x and residual (N, C, H, W) -> y (N, C, H, W).

        Args:
            x: the input.
            residual: what is added; None adds nothing.
            fork: return (y, y) for two uses. Their gradients arrive apart, and the backward kernel sums them, at a
                third of the cost of autograd's own sum.

        Raises:
            TypeError, ValueError, RuntimeError: as `bn_relu_add`.
        """
        if isinstance(x, fx.Proxy) or isinstance(residual, fx.Proxy):
            return self._traced(x, residual, fork)
        return _run(self._inputs(x, residual, fork=fork), self.order, self.implementation)

    def _inputs(self, x: Tensor, residual: Tensor | None = None, *, fork: bool = False) -> Inputs:
        """Put together what the operation takes, as `nn.BatchNorm2d` does."""
        counts = self.training and self.track_running_stats
        uses_running = not self.training or self.track_running_stats  # else they are neither read nor updated
        return Inputs(
            x=x,
            residual=residual,
            weight=self.weight,
            bias=self.bias,
            running_mean=self.running_mean if uses_running else None,
            running_var=self.running_var if uses_running else None,
            num_batches_tracked=self.num_batches_tracked if counts else None,
            training=self.training or (self.running_mean is None and self.running_var is None),
            momentum=self.momentum,
            eps=self.epsilon,
            relu_first=self.order == "relu-add",
            fork=fork,
        )

    def _traced(self, x: Any, residual: Any, fork: bool) -> Any:
        """Become a node of the graph that torch.fx traces, as PyTorch's own modules do: it knows these by name."""
        tracer: Any = (x if isinstance(x, fx.Proxy) else residual).tracer
        if tracer.root is self:
            raise fx.proxy.TraceError("torch.fx traces BNReLUAdd as a part of other modules, not by itself")
        return tracer.create_proxy("call_module", tracer.path_of_module(self), (x, residual), {"fork": fork})

    def normalize(self, x: Tensor) -> Tensor:
        """Batch normalization alone: the response of a layer before addition and ReLU (He et al. 2015, figure 7)."""
        return _normalized(self._inputs(x))

    def reset_parameters(self) -> None:
        """Set weight to 1, bias to 0, and the running statistics back."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:  # which PyTorch before 2.14 takes for granted
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """Describe the module's options."""
        return (
            f"{self.num_features}, eps={self.epsilon}, momentum={self.momentum}, affine={self.affine},"
            f" track_running_stats={self.track_running_stats}, order={self.order}, implementation={self.implementation}"
        )


def _run(inputs: Inputs, order: str, implementation: str) -> Output:
    """Check everything, choose the implementation, call it."""
    _check_options(order, implementation)
    x, residual = inputs.x, inputs.residual
    of_channels = {
        "weight": inputs.weight, "bias": inputs.bias,
        "running_mean": inputs.running_mean, "running_var": inputs.running_var,
    }  # fmt: skip
    # All are tensors, of types and on devices that fit x.
    for name, tensor in {"x": x, "residual": residual, **of_channels}.items():
        if tensor is not None or name == "x":
            _check_tensor(name, tensor, x)
    # Shapes fit. Under autocast the residual is first cast, as for PyTorch's own additions.
    if x.dim() != 4:  # noqa: PLR2004
        raise ValueError(f"expected 4D input (got {x.dim()}D input)")
    if residual is not None:
        if x.device.type in {"cpu", "cuda"} and torch.is_autocast_enabled(x.device.type):  # others may know none
            residual = residual.to(x.dtype)
            inputs = inputs._replace(residual=residual)
        _check_residual(residual, x)
    for name, tensor in of_channels.items():
        if tensor is not None and tensor.shape != x.shape[1:2]:
            raise RuntimeError(f"{name} should contain {x.shape[1]} elements not {tensor.numel()}")
    _check_statistics(inputs)
    if implementation == "auto":
        implementation = "triton" if x.is_cuda and _native(x.device) else "eager"
    return IMPLEMENTATIONS[implementation](inputs)


def _check_options(order: str, implementation: str) -> None:
    if order not in ORDERS:
        raise ValueError(f"order = {order!r}: choose from {', '.join(ORDERS)}")
    if implementation not in ("auto", *IMPLEMENTATIONS):
        raise ValueError(f"implementation = {implementation!r}: choose from auto, {', '.join(IMPLEMENTATIONS)}")


def _check_tensor(name: str, tensor: object, x: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"bn_relu_add(): argument '{name}' must be Tensor, not {type(tensor).__name__}")
    if not tensor.is_floating_point() or tensor.element_size() < 2:  # noqa: PLR2004  bytes
        raise RuntimeError(
            f"bn_relu_add(): argument '{name}' must be floating point of 16 bits or more, not {tensor.dtype}"
        )
    if tensor.device != x.device:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices,"
            f" {x.device} (argument 'x') and {tensor.device} (argument '{name}')"
        )


def _check_residual(residual: Tensor, x: Tensor) -> None:
    must = "bn_relu_add(): argument 'residual' must have"
    if residual.shape != x.shape:
        raise RuntimeError(f"{must} the shape of 'x', {tuple(x.shape)}, not {tuple(residual.shape)}")
    if residual.dtype != x.dtype:
        raise RuntimeError(f"{must} the dtype of 'x', {x.dtype}, not {residual.dtype}")


def _check_statistics(inputs: Inputs) -> None:
    """Raise what `torch.nn.functional.batch_norm` raises, in PyTorch of any version."""
    x, training, eps = inputs.x, inputs.training, inputs.eps
    if (inputs.running_mean is None) != (inputs.running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    if not training and inputs.running_mean is None:
        raise RuntimeError("running_mean must be defined in evaluation mode")
    if training and x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
    if training and eps <= 0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    if eps < 0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
