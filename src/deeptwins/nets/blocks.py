"""The blocks that nets are stacked from: plain and residual ones are one class, and only the shortcut differs."""

from __future__ import annotations

from functools import lru_cache

import torch
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


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution that keeps the image size at stride 1; the bias is the following BN's.

    Where an image has come down to 2x2 pixels or fewer, each output sees every input, and more than half of the taps
    fall on padding. On a CPU the rest is computed as one matrix product: a step of a four-stage net on 8x8 images takes
    a fifth less time, one of a three-stage net 6 to 8 % (`bench/bench_training_step.py`).
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, 3, stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        images, channels, height, width = x.shape
        stride = self.stride[0]
        if x.device.type != "cpu" or max(height, width) > 2:  # noqa: PLR2004
            return super().forward(x)
        taps = _taps_inside(self.out_channels, height, width, stride)
        matrix = self.weight.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, taps)
        y = F.linear(x.permute(0, 2, 3, 1).reshape(images, -1), matrix.view(-1, height * width * channels))
        return y.view(images, -(-height // stride), -(-width // stride), -1).permute(0, 3, 1, 2)


@lru_cache(maxsize=256)
def _taps_inside(channels: int, height: int, width: int, stride: int) -> Tensor:
    """Which rows of a kernel as (channels * 9, C_in) fall inside the image: by output pixel, channel, input pixel."""
    taps = torch.arange(channels * 9).view(channels, 3, 3)
    down, right = range(1, 1 - height, -stride), range(1, 1 - width, -stride)
    return torch.stack([taps[:, i : i + height, j : j + width] for i in down for j in right]).flatten()


class BasicBlock(nn.Module):
    """Two 3x3 layers and a shortcut around them: `relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`.

    He et al. 2015, equation 1 and figure 5 (left). With the shortcut `none` nothing is added: the plain block.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = Conv3x3(channels_in, channels_out, stride)
        self.bn1 = BNReLUAdd(channels_out)
        self.conv2 = Conv3x3(channels_out, channels_out)
        self.bn2 = BNReLUAdd(channels_out)
        self.shortcut = SHORTCUTS[shortcut](channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        y: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x))), self.shortcut(x))
        return y
