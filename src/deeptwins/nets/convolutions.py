"""The convolutions of a net. Which bias they have depends on the norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.study.specs import Net

_VECTOR = 8  # floats per register of AVX2


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`, except that 1x1 convolutions with a stride and few input channels first drop the pixels they skip.

    PyTorch 2.14 (oneDNN) has a kernel for the weights' gradient of such a convolution which, on a processor with AVX2
    but not AVX-512, writes beyond its memory if there are fewer channels than floats in a register.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        step = self.stride[0]
        if self.kernel_size == (1, 1) and step > 1 and self.in_channels < _VECTOR:
            return F.conv2d(x[:, :, ::step, ::step], self.weight, self.bias)
        return super().forward(x)


class ShiftedConv2d(Conv2d):
    """A convolution whose input gets one bias for all channels (Zhang et al. 2019, section 3.2, rule 3)."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels_in, channels_out, size, stride, padding, bias=False)
        self.shift = nn.Parameter(torch.empty(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        return super().forward(x + self.shift)


def conv(net: Net, channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution that keeps the image size at stride 1; the norm that follows has the bias."""
    if net.norm == "scalar":
        return ShiftedConv2d(channels_in, channels_out, size, stride, padding=size // 2)
    return Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False)
