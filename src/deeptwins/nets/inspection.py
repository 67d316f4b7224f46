"""What is inside a net: shapes, parameters and FLOPs, counted on PyTorch's meta device, where nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deeptwins.errors import InputError, SpecError, shown
from deeptwins.nets.blocks import Fork, Join
from deeptwins.nets.building import check
from deeptwins.nets.families import FAMILIES, ResNet
from deeptwins.nets.parts import watch
from deeptwins.nets.shortcuts import NoShortcut, ZeroPad
from deeptwins.study.specs import Net

PARTS = {"conv": "stem", "bn": "stem", "pool": "stem", "ending": "last norm", "average": "average pooling"}


@dataclass(frozen=True)
class Layer:
    """A row of a net's table."""

    name: str
    kind: str
    output: tuple[int, ...]
    """The shape, without the batch."""
    parameters: int
    flops: int
    """Of one image, forward; a multiply-add counts as 2."""


def check_named(name: str, net: Net) -> None:
    """Refuse a network that cannot be built; say which other names have its depth.

    Args:
        name: of the network, as in `deeptwins.study.networks`.
        net: that network, maybe with fields changed.

    Raises:
        InputError: it cannot be built.
    """
    try:
        check(net)
    except SpecError as error:
        raise InputError(f"no network {shown(name)}: {error}{_elsewhere(name)}") from None


@lru_cache(maxsize=1024)
def trace(net: Net, image: tuple[int, int, int], classes: int) -> tuple[Layer, ...]:
    """Run one image (C, H, W) through the net on the meta device and list every layer in order of execution.

    Raises:
        InputError: the image has no pixels, or something is too large for any machine.
    """
    if min(image) < 1:
        raise InputError(f"input {'x'.join(map(str, image))}: an image has one channel and one pixel at least")
    try:
        with torch.device("meta"):
            # Shapes and FLOPs are the same whatever computes them, and eager compiles nothing.
            model = ResNet(net.model_copy(update={"fused_op": "eager"}), image[0], classes).eval()
            x = torch.empty(1, *image)
        watch(model, net)
    except (RuntimeError, TypeError) as error:
        if "overflow" not in str(error).lower():
            raise  # an error in a part of the net, such as a block of one's own
        raise InputError(f"width {net.width}, {classes} classes: {str(error).splitlines()[0]}") from None
    # Note every layer that computes something, when it is called.
    seen: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def look(name: str) -> Callable[[nn.Module, Any, Tensor | Fork], None]:
        def note(module: nn.Module, _inputs: object, output: Tensor | Fork) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            if tensor is not None:  # a shortcut may add nothing
                seen.append((name, module, tuple(tensor.shape[1:])))

        return note

    for name, module in model.named_modules():
        copies = type(module) is ZeroPad and not module.transition.changes
        adds = isinstance(module, Join) and module.scale is None
        empty = isinstance(module, NoShortcut | nn.Identity)
        if not copies and not adds and not empty and not [*module.children()]:
            module.register_forward_hook(look(name))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    flops = {name.removeprefix("ResNet."): sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    return tuple(
        Layer(name, type(module).__name__, output, sum(p.numel() for p in module.parameters()), flops.get(name, 0))
        for name, module, output in seen
    )


def parts(layers: Sequence[Layer]) -> list[Layer]:
    """Sum up a net's layers by part: stem, stages, average pooling, flattening, linear map."""

    def part(layer: Layer) -> str:
        first, *rest = layer.name.split(".")
        return f"stage {int(rest[0]) + 1}" if first == "stages" else PARTS.get(first, first)

    summed = []
    for name, group in groupby(layers, part):
        rows = list(group)
        kind = ", ".join(row.kind for row in rows)
        if name.startswith("stage "):
            blocks = len({row.name.split(".")[2] for row in rows})
            convolutions = sum(row.name.split(".")[3].startswith("conv") for row in rows)
            kind = f"{blocks} block{'s' * (blocks > 1)} of {convolutions // blocks} layers"
        parameters, flops = sum(row.parameters for row in rows), sum(row.flops for row in rows)
        summed.append(Layer(name, kind, rows[-1].output, parameters, flops))
    return summed


def size(net: Net, image: tuple[int, int, int], classes: int) -> tuple[int, int]:
    """Count a net's parameters, and the FLOPs of its forward pass for one image."""
    layers = trace(net, image, classes)
    return sum(layer.parameters for layer in layers), sum(layer.flops for layer in layers)


def stages(net: Net, image: tuple[int, int, int], classes: int) -> list[dict[str, Any]]:
    """Describe the stages of a net: number of blocks, layers per block, shape (C, H, W) of the output.

    In a net that grows, they also say how many of their blocks are `added`.
    """
    plan = FAMILIES[net.family](net.depth)
    before = FAMILIES[net.family](net.grown_from).blocks if net.grown_from else plan.blocks
    ends = {layer.name.split(".")[1]: layer.output for layer in trace(net, image, classes) if "stages" in layer.name}
    layers = 3 if plan.bottleneck else 2
    return [
        {"blocks": blocks, "layers": layers, "output": list(ends[str(i)])}
        | ({"added": blocks - before[i]} if net.grown_from else {})
        for i, blocks in enumerate(plan.blocks)
    ]


def _elsewhere(name: str) -> str:
    """Name the networks of other families that have a network's depth, where its own family has not."""
    *prefix, kind, depth = name.split("-")
    family = "-".join(prefix) or "imagenet"
    families = [other for other in FAMILIES if _is_depth(int(depth), other)]
    names = [f"{other}-{kind}-{depth}".removeprefix("imagenet-") for other in families]
    return f"; there is {' and '.join(names)}" if names and family not in families else ""


def _is_depth(depth: int, family: str) -> bool:
    try:
        FAMILIES[family](depth)
    except SpecError:
        return False
    return True
