"""ResNet-18 as a classic tutorial has it, in Keras's edition and in PyTorch's: padding, norms and start.

These are parts of one's own that ship, `family = "deeptwins.nets.own.tutorial:keras"` and so on. Both editions have a
7x7 stem, 3x3 max pooling, four stages of two basic blocks, and biases in all convolutions, 1x1 projections included.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.nets.initialization import generator

BLOCKS, STAGES = 2, 4
DEPTH = 2 + 2 * BLOCKS * STAGES  # the layers with weights, as the papers count them


def same(x: Tensor, size: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad (N, C, H, W) so that a window of `size` gives ceil(H / stride) rows and ceil(W / stride) columns.

    As Keras's padding "same": where an odd number of rows or columns is missing, the last one goes below, to the right.
    """
    missing = [max((math.ceil(side / stride) - 1) * stride + size - side, 0) for side in (x.shape[3], x.shape[2])]
    return F.pad(x, [pad for total in missing for pad in (total // 2, total - total // 2)], value=value)


class Conv(nn.Conv2d):
    """A convolution with bias, padded by the rule of its edition."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int, *, keras: bool) -> None:
        super().__init__(channels_in, channels_out, size, stride, padding=0 if keras else size // 2)
        self.keras = keras

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """(N, C_in, H, W) -> (N, C_out, ceil(H / stride), ceil(W / stride))."""
        x = same(input, self.kernel_size[0], self.stride[0]) if self.keras else input
        return super().forward(x)


class TutorialBlock(nn.Module):
    """Two layers of 3x3 and a shortcut around them, through a 1x1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int, *, keras: bool) -> None:
        super().__init__()
        self.conv1 = Conv(channels_in, channels, 3, stride, keras=keras)
        self.bn1 = _norm(channels, keras=keras)
        self.conv2 = Conv(channels, channels, 3, 1, keras=keras)
        self.bn2 = _norm(channels, keras=keras)
        changes = stride > 1 or channels_in != channels
        self.projection = Conv(channels_in, channels, 1, stride, keras=keras) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.projection is None else self.projection(x)))


class Tutorial(nn.Module):
    """The whole net: 28x28 images become 14x14 in the stem, 7x7 by pooling, and 7, 4, 2 and 1 in the stages."""

    def __init__(self, channels: int, classes: int, width: int, *, keras: bool) -> None:
        super().__init__()
        self.keras = keras
        self.conv = Conv(channels, width, 7, 2, keras=keras)
        self.bn = _norm(width, keras=keras)
        sizes = [width * 2**stage for stage in range(STAGES)]
        self.blocks = nn.Sequential()
        for before, size in zip([width, *sizes], sizes, strict=False):
            for i in range(BLOCKS):
                stride = 2 if i == 0 and size > width else 1
                self.blocks.append(TutorialBlock(before if i == 0 else size, size, stride, keras=keras))
        self.linear = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = F.relu(self.bn(self.conv(x)))
        x = F.max_pool2d(same(x, 3, 2, -math.inf), 3, 2) if self.keras else F.max_pool2d(x, 3, 2, padding=1)
        y: Tensor = self.linear(self.blocks(x).mean((2, 3)))
        return y


def _norm(channels: int, *, keras: bool) -> nn.BatchNorm2d:
    """Make batch normalization with the edition's defaults; Keras's momentum, 0.99, is 1 minus PyTorch's."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01) if keras else nn.BatchNorm2d(channels)


def keras(channels: int, classes: int, depth: int, width: int) -> nn.Module:
    """Make the net with Keras's padding, epsilon and momentum; its width is that of the first stage.

    Raises:
        ValueError: the depth is not 18.
    """
    return _made(channels, classes, depth, width, keras=True)


def pytorch(channels: int, classes: int, depth: int, width: int) -> nn.Module:
    """Make the net with PyTorch's padding, epsilon and momentum; its width is that of the first stage.

    Raises:
        ValueError: the depth is not 18.
    """
    return _made(channels, classes, depth, width, keras=False)


def _made(channels: int, classes: int, depth: int, width: int, *, keras: bool) -> nn.Module:
    if depth != DEPTH:
        raise ValueError(f"depth = {depth}: the tutorial's net has {DEPTH} layers")
    return Tutorial(channels, classes, width, keras=keras)


@torch.no_grad()
def keras_start(net: nn.Module, seed: int) -> None:
    """Draw weights from U(-a, a) with a^2 = 6 / (fan_in + fan_out); biases are 0. Keras's default.

    Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", equation 16.
    """
    for name, module in _layers(net):
        fans = module.weight[0].numel() + module.weight[:, 0].numel()
        _fill(module.weight, math.sqrt(6 / fans), seed, f"{name}.weight")
        module.get_parameter("bias").zero_()


@torch.no_grad()
def pytorch_start(net: nn.Module, seed: int) -> None:
    """Draw weights and biases from U(-a, a) with a^2 = 1 / fan_in: PyTorch's default."""
    for name, module in _layers(net):
        bound = 1 / math.sqrt(module.weight[0].numel())
        _fill(module.weight, bound, seed, f"{name}.weight")
        _fill(module.get_parameter("bias"), bound, seed, f"{name}.bias")


def _layers(net: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    return [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _fill(parameter: Tensor, bound: float, seed: int, name: str) -> None:
    parameter.uniform_(-bound, bound, generator=generator(seed, name))
