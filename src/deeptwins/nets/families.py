"""Families of nets: how a depth becomes stages of blocks. To add one, write its rule and name it in `FAMILIES`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from deeptwins.kernels import IMPLEMENTATIONS, BNReLUAdd
from deeptwins.nets.blocks import BasicBlock, conv3x3
from deeptwins.nets.initialization import INITIALIZATIONS, initialize
from deeptwins.nets.shortcuts import SHORTCUTS
from deeptwins.specs import Net


def cifar(depth: int) -> tuple[int, ...]:
    """Three stages of n blocks, 6n+2 layers (He et al. 2015, section 4.2)."""
    n, rest = divmod(depth - 2, 6)
    if rest or not 8 <= depth <= 1202:  # noqa: PLR2004
        raise ValueError(f"depth = {depth}: family cifar has depths 6n+2 from 8 to 1202")
    return n, n, n


def imagenet(depth: int) -> tuple[int, ...]:
    """Four stages of basic blocks (He et al. 2015, table 1)."""
    stages = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
    if depth not in stages:
        raise ValueError(f"depth = {depth}: family imagenet has depths {', '.join(map(str, stages))}")
    return stages[depth]


FAMILIES: dict[str, Callable[[int], tuple[int, ...]]] = {"cifar": cifar, "imagenet": imagenet}


class ResNet(nn.Module):
    """A stem, stages of blocks that each double the width and halve the image, global average pooling, one linear map.

    Plain nets are of this class too: their blocks have the shortcut `none`.
    """

    def __init__(self, net: Net, channels: int, classes: int) -> None:
        """Lay out the net; weights are `initialize`'s.

        Args:
            net: family, depth, width of the first stage, stem and shortcut.
            channels: of the input images.
            classes: outputs.
        """
        super().__init__()
        if net.stem == "cifar":
            self.conv = conv3x3(channels, net.width)
            self.pool: nn.Module | None = None
        else:
            self.conv = nn.Conv2d(channels, net.width, 7, 2, padding=3, bias=False)
            self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.bn = BNReLUAdd(net.width, implementation=net.fused_op)
        self.stages = nn.Sequential()
        width = net.width
        for i, blocks in enumerate(FAMILIES[net.family](net.depth)):
            stage = nn.Sequential()
            for j in range(blocks):
                stride = 2 if i > 0 and j == 0 else 1
                stage.append(BasicBlock(width, net.width * 2**i, stride, net.shortcut, net.fused_op))
                width = net.width * 2**i
            self.stages.append(stage)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = self.conv(x)
        if self.pool is None:
            fork = self.bn(x, fork=True)
        else:
            x = self.pool(self.bn(x))
            fork = x, x
        x, _ = self.stages(fork)
        logits: Tensor = self.linear(self.flatten(self.average(x)))
        return logits


def check(net: Net) -> None:
    """Raise ValueError, naming field, value and what is allowed, for a net that cannot be built."""
    for field, table in (
        ("family", FAMILIES),
        ("shortcut", SHORTCUTS),
        ("initialization", INITIALIZATIONS),
        ("fused_op", ("auto", *IMPLEMENTATIONS)),
    ):
        if getattr(net, field) not in table:
            raise ValueError(f"{field} = {getattr(net, field)!r}: choose from {', '.join(table)}")
    FAMILIES[net.family](net.depth)


def build(net: Net, channels: int, classes: int, seed: int) -> ResNet:
    """Build a net on the CPU with the initial weights of this seed."""
    check(net)
    model = ResNet(net, channels, classes)
    initialize(model, net.initialization, seed)
    return model
