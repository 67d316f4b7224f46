"""Shortcuts: what is added to a block's output. To add one, write it and name it in `SHORTCUTS`."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class NoShortcut(nn.Module):
    """Nothing to add: the plain twin."""

    def forward(self, x: Tensor) -> None:
        """Return no residual, whatever x."""


class ZeroPad(nn.Module):
    """The identity, where the shape changes subsampled and padded with zero channels at the end; free of parameters.

    Option A of He et al. 2015, section 3.3; the paper does not say on which side the zeros stand.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.missing = channels_out - channels_in
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.missing)) if self.missing else x


def no_shortcut(_channels_in: int, _channels_out: int, _stride: int) -> nn.Module:
    """Make the plain twin's shortcut."""
    return NoShortcut()


def projection(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """Make the identity, or 1x1 convolution and BN where the shape changes: option B of He et al. 2015, section 3.3."""
    if channels_in == channels_out and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))


SHORTCUTS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "none": no_shortcut,
    "zero-pad": ZeroPad,
    "projection": projection,
}
