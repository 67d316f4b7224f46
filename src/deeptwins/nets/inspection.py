"""What is inside a net: shapes, parameters and FLOPs, counted on PyTorch's meta device, where nothing is computed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deeptwins.errors import InputError
from deeptwins.nets.blocks import Fork, Join
from deeptwins.nets.building import check
from deeptwins.nets.families import FAMILIES, ResNet
from deeptwins.nets.shortcuts import NoShortcut, ZeroPad
from deeptwins.specs import Net


@dataclass(frozen=True)
class Layer:
    """One row of a net's table: `output` is the shape of one image's, `flops` its forward pass, 2 a multiply-add."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    flops: int


def named(name: str) -> tuple[Net, tuple[int, int, int], int]:
    """The net that a name like `resnet-18` or `cifar-plain-56` means, with its usual input (C, H, W) and classes.

    Raises:
        InputError: no net has this name.
    """
    match = re.fullmatch(r"(cifar-)?(plain|resnet)-(\d{1,4})", name)
    if match is None:
        raise InputError(f"no network {name!r}: write resnet-18, plain-34, cifar-resnet-20, cifar-plain-56 or the like")
    cifar, kind, depth = match[1] is not None, match[2], int(match[3])
    shortcut = "none" if kind == "plain" else "zero-pad" if cifar else "projection"  # as in the papers and torchvision
    try:
        net = Net(
            family="cifar" if cifar else "imagenet",
            depth=depth,
            width=16 if cifar else 64,
            stem="cifar" if cifar else "imagenet",
            shortcut=shortcut,
        )
        check(net)
    except ValueError as error:
        raise InputError(f"no network {name!r}: {str(error).splitlines()[0]}") from None
    return net, (3, 32, 32) if cifar else (3, 224, 224), 10 if cifar else 1000


def trace(net: Net, image: tuple[int, int, int], classes: int) -> list[Layer]:
    """Run one image (C, H, W) through the net on the meta device and list every layer in order of execution.

    Raises:
        InputError: the image is too small for the net, or something is too large for any.
    """
    try:
        with torch.device("meta"):
            # Whatever computes them, shapes and FLOPs are the same; what compiles would do so here.
            model = ResNet(net.model_copy(update={"fused_op": "eager"}), image[0], classes).eval()
            x = torch.empty(1, *image)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"width {net.width}, {classes} classes: {str(error).splitlines()[0]}") from None
    seen: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def look(name: str) -> Callable[[nn.Module, Any, Tensor | Fork], None]:
        def note(module: nn.Module, _inputs: object, output: Tensor | Fork) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            seen.append((name, module, tuple(tensor.shape[1:])))

        return note

    for name, module in model.named_modules():
        copies = type(module) is ZeroPad and not module.step.changes
        if not copies and not isinstance(module, NoShortcut | nn.Identity | Join) and not list(module.children()):
            module.register_forward_hook(look(name))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        try:
            model(x)
        except RuntimeError as error:
            raise InputError(f"input {'x'.join(map(str, image))}: {str(error).splitlines()[0]}") from None
    flops = {name.removeprefix("ResNet."): sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    return [
        Layer(name, type(module).__name__, output, sum(p.numel() for p in module.parameters()), flops.get(name, 0))
        for name, module, output in seen
    ]


@lru_cache(maxsize=1024)
def size(net: Net, image: tuple[int, int, int], classes: int) -> tuple[int, int]:
    """Count a net's parameters and the FLOPs of one image forward."""
    layers = trace(net, image, classes)
    return sum(layer.parameters for layer in layers), sum(layer.flops for layer in layers)


@lru_cache(maxsize=1024)
def stages(net: Net, image: tuple[int, int, int], classes: int) -> list[dict[str, Any]]:
    """Describe the stages of a net: their blocks, the layers of each, and the shape (C, H, W) that they leave."""
    layout = FAMILIES[net.family](net.depth)
    ends = {layer.name.split(".")[1]: layer.output for layer in trace(net, image, classes) if "stages" in layer.name}
    layers = 3 if layout.bottleneck else 2
    return [
        {"blocks": blocks, "layers": layers, "output": list(ends[str(i)])} for i, blocks in enumerate(layout.blocks)
    ]
