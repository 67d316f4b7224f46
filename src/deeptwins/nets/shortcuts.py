"""Shortcuts: what is added to a block's output. To add one, write it and name it in `SHORTCUTS`.

A shortcut takes a block's input (N, C_in, H, W) and returns what is added to the residual branch, of the output's shape
(N, C_out, H / stride, W / stride), or None; and what the branch is multiplied by, None where it is left as it is.
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

Way = tuple[Tensor | None, Tensor | float | None]


@dataclass(frozen=True)
class Step:
    """From what to what a shortcut leads."""

    channels_in: int
    channels_out: int
    stride: int

    @property
    def changes(self) -> bool:
        """Whether the shape changes on the way."""
        return self.channels_in != self.channels_out or self.stride > 1


class NoShortcut(nn.Module):
    """Nothing to add: the plain twin."""

    def forward(self, _x: Tensor) -> Way:
        """Add nothing, whatever x."""
        return None, None


class ZeroPad(nn.Module):
    """The identity, where the shape changes subsampled and padded with zero channels at the end; free of parameters.

    Option A of He et al. 2015, section 3.3; the paper does not say on which side the zeros stand.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Way:
        """Add the identity."""
        return self.identity(x), None

    def identity(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        stride, missing = self.step.stride, self.step.channels_out - self.step.channels_in
        if stride > 1:
            x = x[:, :, ::stride, ::stride]
        return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x


class Scaled(ZeroPad):
    """The identity times a constant, beside the branch times another.

    He et al. 2016, "Identity mappings in deep residual networks", section 3.1, constant scaling.
    """

    def __init__(self, step: Step, shortcut: float, branch: float) -> None:
        super().__init__(step)
        self.shortcut, self.branch = shortcut, branch

    def forward(self, x: Tensor) -> Way:
        """Add shortcut * identity(x) to branch * F(x)."""
        return self.shortcut * self.identity(x), None if self.branch == 1 else self.branch


class Gate(Conv2d):
    """The map under a gate's sigmoid: a 1x1 convolution whose bias starts at a value of its own."""

    def __init__(self, step: Step, bias: float) -> None:
        super().__init__(step.channels_in, step.channels_out, 1, step.stride)
        self.start = {"bias": bias}


class Gated(ZeroPad):
    """The identity times 1 - g(x), beside the branch times g(x), or times 1; g(x) = sigmoid(W x + b).

    W is a 1x1 convolution; b starts as the net's `gate_bias`. He et al. 2016, section 3.1, exclusive gating and
    shortcut-only gating, as in highway networks (Srivastava et al. 2015).
    """

    def __init__(self, step: Step, bias: float, *, exclusive: bool) -> None:
        super().__init__(step)
        self.gate = Gate(step, bias)
        self.exclusive = exclusive

    def forward(self, x: Tensor) -> Way:
        """Add (1 - g(x)) * identity(x) to g(x) * F(x), or to F(x)."""
        gate = self.gate(x).sigmoid()
        return (1 - gate) * self.identity(x), gate if self.exclusive else None


class Dropped(ZeroPad):
    """The identity, half of whose values are dropped in training: the expectation is 0.5, as in evaluation.

    He et al. 2016, section 3.2: equivalent, in expectation, to constant scaling by 0.5.
    """

    def forward(self, x: Tensor) -> Way:
        """Add half the identity: in training each of its values or zero, else half of it."""
        return 0.5 * F.dropout(self.identity(x), 0.5, self.training), None


class Projection(nn.Sequential):
    """1x1 convolution and the net's norm: options B and C of He et al. 2015, section 3.3."""

    def __init__(self, step: Step, net: Net) -> None:
        super().__init__(
            conv(net, step.channels_in, step.channels_out, 1, step.stride),
            NORMS[net.norm](step.channels_out, net, "add-relu"),
        )

    def forward(self, x: Tensor) -> Way:
        """Add the projection of x."""
        convolution, norm = self
        return cast("Tensor", norm(convolution(x), relu=False)), None


def none(_step: Step, _net: Net) -> nn.Module:
    """Make the plain twin's shortcut."""
    return NoShortcut()


def zero_pad(step: Step, _net: Net) -> nn.Module:
    """Make option A."""
    return ZeroPad(step)


def projection(step: Step, net: Net) -> nn.Module:
    """Make option B: the identity, or a projection where the shape changes."""
    return Projection(step, net) if step.changes else ZeroPad(step)


def projections(step: Step, net: Net) -> nn.Module:
    """Make option C: a projection everywhere."""
    return Projection(step, net)


def scaled(step: Step, _net: Net) -> nn.Module:
    """Make constant scaling: 0.5 times the identity."""
    return Scaled(step, 0.5, 1.0)


def frozen_gate(step: Step, _net: Net) -> nn.Module:
    """Make constant scaling of both ways by 0.5: a gate that is frozen half open."""
    return Scaled(step, 0.5, 0.5)


def gate(step: Step, net: Net) -> nn.Module:
    """Make exclusive gating."""
    return Gated(step, net.gate_bias, exclusive=True)


def shortcut_gate(step: Step, net: Net) -> nn.Module:
    """Make shortcut-only gating."""
    return Gated(step, net.gate_bias, exclusive=False)


def dropout(step: Step, _net: Net) -> nn.Module:
    """Make dropout on the shortcut."""
    return Dropped(step)


SHORTCUTS: dict[str, Callable[[Step, Net], nn.Module]] = {
    "none": none,
    "zero-pad": zero_pad,
    "projection": projection,
    "projections": projections,
    "scaled": scaled,
    "frozen-gate": frozen_gate,
    "gate": gate,
    "shortcut-gate": shortcut_gate,
    "dropout": dropout,
}
