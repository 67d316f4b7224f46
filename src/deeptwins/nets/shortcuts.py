"""Shortcuts: what is added to a block's residual branch. To add one, write it and name it in `SHORTCUTS`.

A shortcut takes a block's input (N, C_in, H, W) and returns two things: what is added to the branch, of the output's
shape (N, C_out, H / stride, W / stride), or None; and what the branch is multiplied by, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.nets.convolutions import Conv2d, conv
from deeptwins.nets.norms import NORMS
from deeptwins.study.specs import Net
from deeptwins.system.importing import Parts

Way = tuple[Tensor | None, Tensor | float | None]
"""What a shortcut returns: what is added to the branch, and what the branch is multiplied by."""


@dataclass(frozen=True)
class Transition:
    """What a shortcut must bridge: the shape of a block's input and that of its output."""

    channels_in: int
    channels_out: int
    stride: int

    @property
    def changes(self) -> bool:
        """Whether the two shapes differ."""
        return self.channels_in != self.channels_out or self.stride > 1


@dataclass(frozen=True)
class Shortcut:
    """A line of `SHORTCUTS`: how a shortcut is made, and what allows nets with it to grow by added blocks."""

    make: Callable[[Transition, Net], nn.Module]
    copies: bool = False
    """Whether it adds x itself or nothing, at least where the shape is kept: only such blocks can be added."""
    keeps_sign: bool = False
    """Whether what it adds is never negative where x is not: the ReLU of an added plain block would cut off negative
    values."""


class NoShortcut(nn.Module):
    """Nothing to add: the plain twin."""

    def forward(self, _x: Tensor) -> Way:
        """Add nothing, whatever x."""
        return None, None


class ZeroPad(nn.Module):
    """The identity. Where the shape changes, x is subsampled and gets channels of zeros at the end; no parameters.

    Option A of He et al. 2015, section 3.3; the paper does not say on which side the zeros stand.
    """

    def __init__(self, transition: Transition) -> None:
        super().__init__()
        self.transition = transition

    def forward(self, x: Tensor) -> Way:
        """Add the identity."""
        return self.identity(x), None

    def identity(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        stride, missing = self.transition.stride, self.transition.channels_out - self.transition.channels_in
        if stride > 1:
            x = x[:, :, ::stride, ::stride]
        return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x


class Scaled(ZeroPad):
    """The identity times a constant, added to the branch times another.

    He et al. 2016, "Identity mappings in deep residual networks", section 3.1, constant scaling.
    """

    def __init__(self, transition: Transition, shortcut: float, branch: float) -> None:
        super().__init__(transition)
        self.shortcut, self.branch = shortcut, branch

    def forward(self, x: Tensor) -> Way:
        """Add shortcut * identity(x) to branch * F(x)."""
        return self.shortcut * self.identity(x), None if self.branch == 1 else self.branch


class Gate(Conv2d):
    """What a gate's sigmoid is taken of: a 1x1 convolution whose bias starts at the value that the net gives."""

    def __init__(self, transition: Transition, bias: float) -> None:
        super().__init__(transition.channels_in, transition.channels_out, 1, transition.stride)
        self.start = {"bias": bias}


class Gated(ZeroPad):
    """The identity times 1 - g(x), added to the branch times g(x), or to the branch; g(x) = sigmoid(W x + b).

    W is a 1x1 convolution; b starts as the net's `gate_bias`. He et al. 2016, section 3.1, exclusive gating and
    shortcut-only gating, as in highway networks (Srivastava et al. 2015).
    """

    def __init__(self, transition: Transition, bias: float, *, exclusive: bool) -> None:
        super().__init__(transition)
        self.gate = Gate(transition, bias)
        self.exclusive = exclusive

    def forward(self, x: Tensor) -> Way:
        """Add (1 - g(x)) * identity(x) to g(x) * F(x), or to F(x)."""
        gate = self.gate(x).sigmoid()
        return (1 - gate) * self.identity(x), gate if self.exclusive else None


class Dropped(ZeroPad):
    """The identity with half of its values dropped in training: the expectation is 0.5, as in evaluation.

    He et al. 2016, section 3.2: equivalent, in expectation, to constant scaling by 0.5.
    """

    def forward(self, x: Tensor) -> Way:
        """Add half of the identity; in training each of its values with probability 0.5, else zero."""
        return 0.5 * F.dropout(self.identity(x), 0.5, self.training), None


class Projection(nn.Sequential):
    """1x1 convolution and the net's norm: options B and C of He et al. 2015, section 3.3."""

    def __init__(self, transition: Transition, net: Net) -> None:
        super().__init__(
            conv(net, transition.channels_in, transition.channels_out, 1, transition.stride),
            NORMS[net.norm](transition.channels_out, net, "add-relu"),
        )

    def forward(self, x: Tensor) -> Way:
        """Add the projection of x."""
        convolution, norm = self
        return cast("Tensor", norm(convolution(x), relu=False)), None


def projection(transition: Transition, net: Net) -> nn.Module:
    """Make option B: the identity, or a projection where the shape changes."""
    return Projection(transition, net) if transition.changes else ZeroPad(transition)


SHORTCUTS = Parts(
    {
        "none": Shortcut(lambda _transition, _net: NoShortcut(), copies=True, keeps_sign=True),
        "zero-pad": Shortcut(lambda transition, _net: ZeroPad(transition), copies=True, keeps_sign=True),
        "projection": Shortcut(projection, copies=True),
        "projections": Shortcut(Projection),
        "scaled": Shortcut(lambda transition, _net: Scaled(transition, 0.5, 1.0), keeps_sign=True),
        # A gate that is frozen half open.
        "frozen-gate": Shortcut(lambda transition, _net: Scaled(transition, 0.5, 0.5), keeps_sign=True),
        "gate": Shortcut(lambda transition, net: Gated(transition, net.gate_bias, exclusive=True), keeps_sign=True),
        "shortcut-gate": Shortcut(
            lambda transition, net: Gated(transition, net.gate_bias, exclusive=False), keeps_sign=True
        ),
        "dropout": Shortcut(lambda transition, _net: Dropped(transition), keeps_sign=True),
    },
    wrap=Shortcut,
    called=("transition", "net"),
    returns=(nn.Module,),
)
