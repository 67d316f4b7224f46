"""Orders of convolution, norm, ReLU and addition in a block. To add one, write it and name it in `BLOCK_ORDERS`.

He et al. 2016, "Identity mappings in deep residual networks", figure 4 and table 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.system.importing import Parts

ConvNorm = tuple[nn.Module, nn.Module]
"""A convolution, and the norm behind it or before it."""
Layers = Sequence[ConvNorm]
"""The layers of a block, in order."""


@dataclass(frozen=True)
class BlockOrder:
    """An order: the residual branch, what follows the addition, and what nets must know of it."""

    branch: Callable[[Layers, Tensor], Tensor]
    """F: the layers of a block and its input -> the residual branch."""
    close: Callable[[Layers, Tensor], Tensor] = lambda _layers, y: y
    """What follows the addition: the layers of a block and the sum -> the block's output."""
    fused: Callable[[Layers, Tensor, Tensor | None], tuple[Tensor, Tensor]] | None = None
    """The whole block, if the last norm can add and rectify in one operation.

    The layers, the block's input, what is added -> the block's output, twice.
    """
    closing: Literal["add-relu", "relu-add"] = "add-relu"
    """What the last norm of the block does first where it is fused with the addition: add, or rectify."""
    before: bool = False
    """Whether each norm stands before its convolution."""
    ends_in_norm: bool = True
    """Whether the last thing in the branch that scales is a norm, and not a convolution."""
    learns_from_zero: bool = True
    """Whether a gradient reaches the last scaling layer of the branch while its weight is 0. A ReLU behind it lets none
    through."""
    ending: Literal["none", "relu", "norm"] = "none"
    """What must follow the last block of the net before pooling."""


def original(layers: Layers, x: Tensor) -> Tensor:
    """Convolution, norm, ReLU, convolution, norm."""
    *inner, (conv, norm) = layers
    return norm(conv(_activated(inner, x)), relu=False)  # type: ignore[no-any-return]


def norm_after_addition(layers: Layers, x: Tensor) -> Tensor:
    """Convolution, norm, ReLU, convolution; addition; norm and ReLU."""
    *inner, (conv, _) = layers
    return conv(_activated(inner, x))  # type: ignore[no-any-return]


def relu_before_addition(layers: Layers, x: Tensor) -> Tensor:
    """Convolution, norm, ReLU, convolution, norm, ReLU."""
    return _activated(layers, x)


def relu_pre_activation(layers: Layers, x: Tensor) -> Tensor:
    """ReLU, convolution, norm, ReLU, convolution, norm."""
    return original(layers, F.relu(x))


def full_pre_activation(layers: Layers, x: Tensor) -> Tensor:
    """Norm, ReLU, convolution, norm, ReLU, convolution."""
    for conv, norm in layers:
        x = conv(norm(x))
    return x


def _activated(layers: Layers, x: Tensor) -> Tensor:
    for conv, norm in layers:
        x = norm(conv(x))
    return x


def _rectified(_layers: Layers, y: Tensor) -> Tensor:
    return F.relu(y)


def _normalized(layers: Layers, y: Tensor) -> Tensor:
    return layers[-1][1](y)  # type: ignore[no-any-return]


def _fused(layers: Layers, x: Tensor, added: Tensor | None) -> tuple[Tensor, Tensor]:
    """Let the last norm add and rectify."""
    *inner, (conv, norm) = layers
    return norm(conv(_activated(inner, x)), added, fork=True)  # type: ignore[no-any-return]


BLOCK_ORDERS = Parts(
    {
        "original": BlockOrder(original, close=_rectified, fused=_fused),
        "norm-after-addition": BlockOrder(norm_after_addition, close=_normalized, ends_in_norm=False),
        "relu-before-addition": BlockOrder(
            relu_before_addition, fused=_fused, closing="relu-add", learns_from_zero=False
        ),
        "relu-pre-activation": BlockOrder(relu_pre_activation, ending="relu"),
        "full-pre-activation": BlockOrder(full_pre_activation, before=True, ends_in_norm=False, ending="norm"),
    },
    wrap=BlockOrder,
    called=("layers", "x"),
)
