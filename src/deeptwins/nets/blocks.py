"""The blocks that nets are stacked from. Plain and residual blocks are one class, and only the shortcut differs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from deeptwins.nets.convolutions import conv
from deeptwins.nets.norms import NORMS
from deeptwins.nets.orders import BLOCK_ORDERS, ConvNorm
from deeptwins.nets.shortcuts import SHORTCUTS, NoShortcut, Transition
from deeptwins.study.specs import Net

Fork = tuple[Tensor, Tensor]
"""One tensor for two uses, by the next layer and by the next shortcut, so that two gradients come back."""

EXPANSION = 4  # a bottleneck's output has so many times as many channels as its inner layers


class Join(nn.Module):
    """Where branch and shortcut meet: weight * scale * F(x) + what the shortcut adds.

    The weight is the shortcut's. The scale is a learned scalar, where the initialization asks for one, times, in
    evaluation, the block's probability to survive (Huang et al. 2016, "Deep networks with stochastic depth",
    equation 5).
    """

    def __init__(self, scale: float | None, survival: float) -> None:
        super().__init__()
        self.scale = None if scale is None else nn.Parameter(torch.empty(()))
        self.start = {"scale": scale}
        self.survival = survival

    @property
    def trivial(self) -> bool:
        """Whether it does nothing but add, so that a fused operation can take its place."""
        return self.scale is None and self._expectation is None

    @property
    def _expectation(self) -> float | None:
        """What stands in evaluation for branches being dropped in training."""
        return None if self.training or self.survival == 1 else self.survival

    def forward(self, branch: Tensor, added: Tensor | None, weight: Tensor | float | None) -> Tensor:
        """Weigh and add: branch and added (N, C, H, W) -> (N, C, H, W)."""
        for factor in (weight, self.scale, self._expectation):
            if factor is not None:
                branch = branch * factor
        return branch if added is None else branch + added


class Block(nn.Module):
    """Some layers and a shortcut around them; in the order `original`, relu(F(x) + shortcut(x)).

    He et al. 2015, equation 1 and figure 5: two layers of 3x3 (left), or a bottleneck of 1x1, 3x3, 1x1 (right), whose
    stride is the 3x3 layer's, as in torchvision. With the shortcut `none` nothing is added: the plain block.
    """

    def __init__(  # noqa: PLR0913  from where to where, and what kind of block
        self, net: Net, transition: Transition, *, bottleneck: bool, first: bool, scale: float | None, survival: float
    ) -> None:
        """Lay out a block.

        Args:
            net: norm, shortcut, order and their options.
            transition: channels and stride.
            bottleneck: whether it has three layers, and not two.
            first: whether it is the net's first block, whose input the stem has already normalized and rectified.
            scale: the initial value of the learned scalar that the branch is multiplied by; None: there is none.
            survival: the probability that the branch is kept in a training step.
        """
        super().__init__()
        self.order = BLOCK_ORDERS[net.block_order]
        # The layers' kernel sizes, strides, and channels between them.
        inner = transition.channels_out // EXPANSION if bottleneck else transition.channels_out
        sizes, strides = ((1, 3, 1), (1, transition.stride, 1)) if bottleneck else ((3, 3), (transition.stride, 1))
        channels = [transition.channels_in, *[inner] * (len(sizes) - 1), transition.channels_out]
        # The convolutions, each with its norm.
        for i, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
            closing = self.order.closing if i == len(sizes) - 1 else "add-relu"
            norm = NORMS[net.norm](channels[i if self.order.before else i + 1], net, closing)
            self.add_module(f"conv{i + 1}", conv(net, channels[i], channels[i + 1], size, stride))
            self.add_module(f"bn{i + 1}", nn.Identity() if first and self.order.before and i == 0 else norm)
        self.depth = len(sizes)
        # What is around them.
        self.shortcut = SHORTCUTS[net.shortcut].make(transition, net)
        self.join = Join(scale if self.residual else None, survival)
        self.fuse = True
        self.survival = survival

    @property
    def layers(self) -> list[ConvNorm]:
        """The convolutions with their norms, in order."""
        return [(getattr(self, f"conv{i}"), getattr(self, f"bn{i}")) for i in range(1, self.depth + 1)]

    @property
    def residual(self) -> bool:
        """Whether there is a shortcut, so that the layers are a residual branch."""
        return not isinstance(self.shortcut, NoShortcut)

    def forward(self, fork: Fork) -> Fork:
        """(N, C_in, H, W), twice -> (N, C_out, H / stride, W / stride), twice."""
        x, again = fork
        added, weight = self.shortcut(again)
        # The host draws, so that a dropped branch is not computed. The trainer seeds this generator at every step.
        if self.training and self.survival < 1 and torch.rand(()).item() >= self.survival:
            y = self.order.close(self.layers, added)
        elif self.fuse and weight is None and self.order.fused is not None and self.join.trivial:
            fused: Fork = self.order.fused(self.layers, x, added)
            return fused
        else:
            y = self.order.close(self.layers, self.join(self.order.branch(self.layers, x), added, weight))
        return y, y


def blocks(net: nn.Module) -> Iterator[Block]:
    """Iterate over the blocks of a net, in order."""
    return (module for module in net.modules() if isinstance(module, Block))
