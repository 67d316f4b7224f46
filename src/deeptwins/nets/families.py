"""Families of nets: how a depth becomes stages of blocks. To add one, write its rule and name it in `FAMILIES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.errors import SpecError
from deeptwins.nets.blocks import EXPANSION, Block
from deeptwins.nets.convolutions import conv
from deeptwins.nets.initialization import INITIALIZATIONS
from deeptwins.nets.norms import NORMS
from deeptwins.nets.orders import BLOCK_ORDERS
from deeptwins.nets.shortcuts import Transition
from deeptwins.study.specs import Net
from deeptwins.system.importing import Parts


@dataclass(frozen=True)
class StagePlan:
    """How many blocks each stage has, and whether they are bottlenecks."""

    blocks: tuple[int, ...]
    bottleneck: bool = False


def cifar(depth: int) -> StagePlan:
    """Three stages of n blocks of two layers, 6n+2 layers (He et al. 2015, section 4.2)."""
    return _three_stages("cifar", depth, layers=2)


def cifar_bottleneck(depth: int) -> StagePlan:
    """Three stages of n bottlenecks, 9n+2 layers (He et al. 2016, "Identity mappings in deep residual networks")."""
    return _three_stages("cifar-bottleneck", depth, layers=3)


def imagenet(depth: int) -> StagePlan:
    """Four stages, of basic blocks up to depth 34, then of bottlenecks (He et al. 2015, table 1)."""
    plans = {
        18: StagePlan((2, 2, 2, 2)),
        34: StagePlan((3, 4, 6, 3)),
        50: StagePlan((3, 4, 6, 3), bottleneck=True),
        101: StagePlan((3, 4, 23, 3), bottleneck=True),
        152: StagePlan((3, 8, 36, 3), bottleneck=True),
    }
    if depth not in plans:
        raise SpecError(f"depth = {depth}: family imagenet has depths {', '.join(map(str, plans))}")
    return plans[depth]


def _three_stages(family: str, depth: int, layers: int) -> StagePlan:
    n, rest = divmod(depth - 2, 3 * layers)
    if rest or not 3 * layers + 2 <= depth <= 1202:  # noqa: PLR2004
        last = 1202 - 1200 % (3 * layers)
        raise SpecError(f"depth = {depth}: family {family} has depths {3 * layers}n+2 from {3 * layers + 2} to {last}")
    return StagePlan((n, n, n), bottleneck=layers == 3)  # noqa: PLR2004


FAMILIES = Parts[Callable[[int], StagePlan]](
    {
        "cifar": cifar,
        "cifar-bottleneck": cifar_bottleneck,
        "imagenet": imagenet,
    }
)
"""Those that ship. A name of one's own is that of a function that makes a whole net: see `own`."""


class ResNet(nn.Module):
    """A stem, stages of blocks, global average pooling, one linear map.

    Each stage but the first doubles the width and halves the image. Plain nets are of this class too: their blocks have
    the shortcut `none`.
    """

    def __init__(self, net: Net, channels: int, classes: int) -> None:
        """Lay out the net; `initialize` sets its weights.

        Args:
            net: what it is.
            channels: of the input images.
            classes: how many outputs it has.
        """
        super().__init__()
        plan, order = FAMILIES[net.family](net.depth), BLOCK_ORDERS[net.block_order]
        # The stem.
        if net.stem == "cifar":
            self.conv = conv(net, channels, net.width, 3)
            self.pool: nn.Module | None = None
        else:
            self.conv = conv(net, channels, net.width, 7, 2)
            self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.drops = net.survival < 1
        """Whether blocks are dropped from training steps; they then have no gradient."""
        self.bn = NORMS[net.norm](net.width, net, "add-relu")
        # The stages. In a net that is to grow, the last blocks of each may be of another kind.
        self.stages = nn.Sequential()
        before = FAMILIES[net.family](net.grown_from).blocks if net.grown_from else plan.blocks
        added = net.model_copy(update={"shortcut": net.grown_with or net.shortcut})
        width, total, number = net.width, sum(plan.blocks), 0
        for i, blocks in enumerate(plan.blocks):
            stage = nn.Sequential()
            for j in range(blocks):
                number += 1
                channels_out = net.width * 2**i * (EXPANSION if plan.bottleneck else 1)
                transition = Transition(width, channels_out, stride=2 if i > 0 and j == 0 else 1)
                stage.append(
                    Block(
                        net if j < before[i] else added,
                        transition,
                        bottleneck=plan.bottleneck,
                        first=number == 1,
                        scale=INITIALIZATIONS[net.initialization].scale,
                        survival=1 - number / total * (1 - net.survival),  # Huang et al. 2016, equation 4
                    )
                )
                width = channels_out
            self.stages.append(stage)
        # The end.
        self.ending: Callable[[Tensor], Tensor] | None = F.relu if order.ending == "relu" else None
        if order.ending == "norm":
            self.ending = NORMS[net.norm](width, net, "add-relu")
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(width, classes)

    @property
    def blocks(self) -> list[list[Block]]:
        """The blocks of each stage."""
        return [[cast("Block", block) for block in stage.children()] for stage in self.stages.children()]

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = self.conv(x)
        if self.pool is None:
            fork = self.bn(x, fork=True)
        else:
            x = self.pool(self.bn(x))
            fork = x, x
        x, _ = self.stages(fork)
        if self.ending is not None:
            x = self.ending(x)
        logits: Tensor = self.linear(self.flatten(self.average(x)))
        return logits
