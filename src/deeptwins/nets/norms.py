"""What follows a convolution: normalization, or what stands in its place, and ReLU. To add one, name it in `NORMS`.

All are called alike: `norm(x, residual, fork=..., relu=...)`, and all have `normalize(x)`, the response of their layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.kernels import BNReLUAdd
from deeptwins.kernels.bn_relu_add.definition import Order, Outcome
from deeptwins.study.specs import Net


class BatchNorm(BNReLUAdd):
    """Batch normalization, addition, ReLU as one operation, or batch normalization alone."""

    def forward(  # type: ignore[override]
        self, x: Tensor, residual: Tensor | None = None, *, fork: bool = False, relu: bool = True
    ) -> Outcome:
        """(N, C, H, W) -> (N, C, H, W), or with `fork` the same twice; without `relu`, nothing can be added."""
        return super().forward(x, residual, fork=fork) if relu else self.normalize(x)


class GhostBatchNorm(BatchNorm):
    """Batch normalization over parts of the batch, as if each were on a device of its own.

    Hoffer et al. 2017, "Train longer, generalize better", algorithm 1. The running statistics forget a batch, of
    however many parts, as fast as `nn.BatchNorm2d` does.
    """

    def __init__(self, channels: int, size: int, order: Order, implementation: str) -> None:
        """Make the module; `size` is the number of images in a part."""
        super().__init__(channels, order=order, implementation=implementation)
        self.size = size

    def forward(  # type: ignore[override]
        self, x: Tensor, residual: Tensor | None = None, *, fork: bool = False, relu: bool = True
    ) -> Outcome:
        """As `BatchNorm.forward`; in evaluation it is the same."""
        if not self.training or len(x) <= self.size:
            return super().forward(x, residual, fork=fork, relu=relu)
        parts = x.split(self.size)
        residuals = [None] * len(parts) if residual is None else residual.split(self.size)
        whole = self.momentum or 0.0
        self.momentum = 1.0 - (1.0 - whole) ** (1.0 / len(parts))
        try:
            pairs = zip(parts, residuals, strict=True)
            y = torch.cat([cast("Tensor", BatchNorm.forward(self, *pair, relu=relu)) for pair in pairs])
        finally:
            self.momentum = whole
        return (y, y) if fork else y


class Bias(nn.Module):
    """A bias, addition, ReLU: what is left of a layer's end without normalization. A bias a channel, or one for all."""

    def __init__(self, channels: int, order: Order) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels))
        self.order = order

    def forward(self, x: Tensor, residual: Tensor | None = None, *, fork: bool = False, relu: bool = True) -> Outcome:
        """(N, C, H, W) -> (N, C, H, W), or with `fork` the same twice; without `relu`, nothing can be added."""
        y = self.normalize(x)
        if relu:
            if residual is None or self.order == "relu-add":
                y = F.relu(y)
            if residual is not None:
                y = y + residual if self.order == "relu-add" else F.relu(y + residual)
        return (y, y) if fork else y

    def normalize(self, x: Tensor) -> Tensor:
        """Add the bias alone."""
        return x + self.bias[:, None, None]


def batch(channels: int, net: Net, order: Order) -> nn.Module:
    """Batch normalization (Ioffe and Szegedy 2015), over the batch or over parts of `net.norm_batch` images."""
    if net.norm_batch is None:
        return BatchNorm(channels, order=order, implementation=net.fused_op)
    return GhostBatchNorm(channels, net.norm_batch, order, net.fused_op)


def none(channels: int, _net: Net, order: Order) -> nn.Module:
    """No normalization: a bias a channel."""
    return Bias(channels, order)


def scalar(_channels: int, _net: Net, order: Order) -> nn.Module:
    """No normalization: one bias for all channels, and one before each convolution.

    Zhang et al. 2019, "Fixup initialization", section 3.2, rule 3; the linear map has its own bias instead.
    """
    return Bias(1, order)


NORMS: dict[str, Callable[[int, Net, Order], nn.Module]] = {"batch": batch, "none": none, "scalar": scalar}
