"""The convolutions of a net: what bias they have is the norm's to say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deeptwins.specs import Net


class ShiftedConv2d(nn.Conv2d):
    """A convolution whose input gets one bias for all channels (Zhang et al. 2019, section 3.2, rule 3)."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels_in, channels_out, size, stride, padding, bias=False)
        self.shift = nn.Parameter(torch.empty(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        return super().forward(x + self.shift)


def conv(net: Net, channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution that keeps the image size at stride 1; the bias is the following norm's."""
    if net.norm == "scalar":
        return ShiftedConv2d(channels_in, channels_out, size, stride, padding=size // 2)
    return nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False)
