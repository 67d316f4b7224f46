"""The blocks that nets are stacked from: plain and residual ones are one class, and only the shortcut differs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.nets.shortcuts import SHORTCUTS


class BNReLUAdd(nn.BatchNorm2d):
    """`relu(bn(x) + residual)`; without a residual, `relu(bn(x))`. Its state_dict is `nn.BatchNorm2d`'s.

    This one operation closes every layer of every net, so it is the seam where a fused kernel takes its place.
    """

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Normalize, add, rectify: x and residual (N, C, H, W) -> (N, C, H, W)."""
        y = self.normalize(x)
        if residual is not None:
            y = y.add_(residual) if y.dtype == residual.dtype else y + residual
        return F.relu_(y)

    def normalize(self, x: Tensor) -> Tensor:
        """Batch normalization alone: the response of a layer before addition and ReLU (He et al. 2015, figure 7)."""
        return super().forward(x)


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """Make a 3x3 convolution that keeps the image size at stride 1; the bias is the following BN's."""
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 layers and a shortcut around them: `relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`.

    He et al. 2015, equation 1 and figure 5 (left). With the shortcut `none` nothing is added: the plain block.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, channels_out, stride)
        self.bn1 = BNReLUAdd(channels_out)
        self.conv2 = conv3x3(channels_out, channels_out)
        self.bn2 = BNReLUAdd(channels_out)
        self.shortcut = SHORTCUTS[shortcut](channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        y: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x))), self.shortcut(x))
        return y
