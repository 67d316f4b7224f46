"""Whether shortcuts, orders and norms return what they must; those of one's own may not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn, cast

from torch import Tensor, nn

from deeptwins.errors import PartError
from deeptwins.nets.blocks import Block, blocks
from deeptwins.study.specs import Net
from deeptwins.system.importing import check_call, defined


def watch(model: nn.Module, net: Net) -> None:
    """Check what the parts of a net's blocks return whenever the net runs; a PartError says what is wrong."""
    for block in blocks(model):
        _check_calls(block, net)
        _watch(block, net)


def _check_calls(block: Block, net: Net) -> None:
    """Check that shortcut and norms can be called as blocks call them."""
    check_call(f"shortcut = {net.shortcut!r}", block.shortcut.forward, ("x",))
    for _, norm in block.layers:
        if not isinstance(norm, nn.Identity):
            check_call(f"norm = {net.norm!r}", norm.forward, ("x", "residual"), "fork", "relu")


def _watch(block: Block, net: Net) -> None:
    convolutions = [cast("nn.Conv2d", conv) for conv, _ in block.layers]
    stride, channels = math.prod(conv.stride[0] for conv in convolutions), convolutions[-1].out_channels

    def wanted(x: Tensor) -> tuple[int, ...]:
        return x.shape[0], channels, *(-(-side // stride) for side in x.shape[2:])

    def look_at_shortcut(shortcut: nn.Module, inputs: tuple[Tensor], way: object) -> None:
        name, shape = f"shortcut = {net.shortcut!r}", wanted(*inputs)
        if not isinstance(way, tuple) or len(way) != 2 or isinstance(way[1], str):  # noqa: PLR2004  see `Way`
            _refuse(name, type(shortcut).forward, way, "two: what is added, and a factor")
        if way[0] is not None:
            _look(name, type(shortcut).forward, way[0], shape)

    def look_at_norm(norm: nn.Module, inputs: Sequence[Any], output: object) -> None:
        tensor = output[0] if isinstance(output, tuple) and output else output
        _look(f"norm = {net.norm!r}", type(norm).forward, tensor, tuple(inputs[0].shape))

    def looking(function: Callable[..., Tensor], shape: Callable[[Tensor], tuple[int, ...]]) -> Callable[..., Tensor]:
        def called(layers: object, x: Tensor) -> Tensor:
            output = function(layers, x)
            _look(f"block_order = {net.block_order!r}", function, output, shape(x))
            return output

        return called

    block.shortcut.register_forward_hook(look_at_shortcut)
    for _, norm in block.layers:
        norm.register_forward_hook(look_at_norm)
    order = block.order
    same = lambda y: tuple(y.shape)  # noqa: E731
    block.order = replace(order, branch=looking(order.branch, wanted), close=looking(order.close, same))


def _look(name: str, part: Callable[..., Any], output: object, shape: tuple[int, ...]) -> None:
    """Refuse what is no tensor of a shape."""
    if not isinstance(output, Tensor) or tuple(output.shape) != shape:
        _refuse(name, part, output, f"a tensor of the shape {shape}")


def _refuse(name: str, part: Callable[..., Any], output: object, wanted: str) -> NoReturn:
    """Say what a part returns, what it must, and where it is defined."""
    returned = f"a tensor of the shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
    raise PartError(f"{name} returns {returned}, and must return {wanted}", defined(part))
