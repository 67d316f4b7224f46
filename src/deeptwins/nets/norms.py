"""What follows a convolution: normalization, or what replaces it, and ReLU. To add one, name it in `NORMS`.

All are called alike, `norm(x, residual, fork=..., relu=...)`, and all have `normalize(x)`: the response of their layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.kernels import BNReLUAdd
from deeptwins.kernels.bn_relu_add.definition import Output, ReLUOrder
from deeptwins.study.specs import Net
from deeptwins.system.importing import Parts


def epsilon(norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> float:
    """What a batch normalization adds to the variance."""
    return norm.epsilon if isinstance(norm, BNReLUAdd) else norm.eps


class BatchNorm(BNReLUAdd):
    """Batch normalization, addition, ReLU as one operation, or batch normalization alone."""

    def forward(  # type: ignore[override]
        self, x: Tensor, residual: Tensor | None = None, *, fork: bool = False, relu: bool = True
    ) -> Output:
        """(N, C, H, W) -> (N, C, H, W), or with `fork` the same twice; without `relu`, nothing can be added."""
        return super().forward(x, residual, fork=fork) if relu else self.normalize(x)


class GhostBatchNorm(BatchNorm):
    """Batch normalization over parts of the batch, as if each part were on another device.

    Hoffer et al. 2017, "Train longer, generalize better", algorithm 1. Running statistics forget a batch as fast as
    those of `nn.BatchNorm2d` do, however many parts the batch has.
    """

    def __init__(self, channels: int, size: int, order: ReLUOrder, implementation: str) -> None:
        """Make the module; `size` is the number of images in a part."""
        super().__init__(channels, order=order, implementation=implementation)
        self.size = size

    def forward(  # type: ignore[override]
        self, x: Tensor, residual: Tensor | None = None, *, fork: bool = False, relu: bool = True
    ) -> Output:
        """As `BatchNorm.forward`; in evaluation it is the same."""
        if not self.training or len(x) <= self.size:
            return super().forward(x, residual, fork=fork, relu=relu)
        parts = x.split(self.size)
        residuals = [None] * len(parts) if residual is None else residual.split(self.size)
        # All parts together then move the running statistics by the momentum of a batch.
        whole = self.momentum or 0.0
        self.momentum = 1.0 - (1.0 - whole) ** (1.0 / len(parts))
        try:
            pairs = zip(parts, residuals, strict=True)
            y = torch.cat([cast("Tensor", BatchNorm.forward(self, *pair, relu=relu)) for pair in pairs])
        finally:
            self.momentum = whole
        return (y, y) if fork else y


class Norm(nn.Module, ABC):
    """Normalization, addition, ReLU: the end of a layer. What normalizes it is `normalize`."""

    def __init__(self, order: ReLUOrder) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor, residual: Tensor | None = None, *, fork: bool = False, relu: bool = True) -> Output:
        """(N, C, H, W) -> (N, C, H, W), or with `fork` the same twice; without `relu`, nothing can be added."""
        y = self.normalize(x)
        if relu:
            if residual is None or self.order == "relu-add":
                y = F.relu(y)
            if residual is not None:
                y = y + residual if self.order == "relu-add" else F.relu(y + residual)
        return (y, y) if fork else y

    @abstractmethod
    def normalize(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""


class Bias(Norm):
    """A bias, addition, ReLU: the end of a layer without normalization. One bias per channel, or one for all."""

    def __init__(self, channels: int, order: ReLUOrder) -> None:
        super().__init__(order)
        self.bias = nn.Parameter(torch.empty(channels))

    def normalize(self, x: Tensor) -> Tensor:
        """Add the bias alone."""
        return x + self.bias[:, None, None]


def batch(channels: int, net: Net, order: ReLUOrder) -> nn.Module:
    """Batch normalization (Ioffe and Szegedy 2015), over the batch or over parts of `net.norm_batch` images."""
    if net.norm_batch is None:
        return BatchNorm(channels, order=order, implementation=net.fused_op)
    return GhostBatchNorm(channels, net.norm_batch, order, net.fused_op)


Maker = Callable[[int, Net, ReLUOrder], nn.Module]
"""Makes what follows a convolution. Arguments: channels, the net, and whether the end of a block adds or rectifies
first."""

NORMS: Parts[Maker] = Parts(
    {
        "batch": batch,
        # No normalization, and one bias per channel.
        "none": lambda channels, _net, order: Bias(channels, order),
        # No normalization, one bias for all channels, and one before each convolution: Zhang et al. 2019, "Fixup
        # initialization", section 3.2, rule 3; the linear map has its own bias instead.
        "scalar": lambda _channels, _net, order: Bias(1, order),
    },
    called=("channels", "net", "order"),
    returns=(nn.Module,),
)
