"""What is inside a net: shapes, parameters and FLOPs.

They are counted on PyTorch's meta device, where nothing is computed. Not every net of one's own can be made there: one
is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from deeptwins.errors import InputError, SpecError, noting, own_frames, shown
from deeptwins.nets.blocks import Fork, Join
from deeptwins.nets.building import check
from deeptwins.nets.families import FAMILIES, ResNet
from deeptwins.nets.own import making
from deeptwins.nets.parts import watch
from deeptwins.nets.shortcuts import NoShortcut, ZeroPad
from deeptwins.study.specs import Net

PARTS = {"conv": "stem", "bn": "stem", "pool": "stem", "ending": "last norm", "average": "average pooling"}
ITSELF = "the net itself"  # what it computes, or has as parameters, outside its modules
CHILDREN = 60  # at most, of a net of one's own, are described
NAMED_KINDS = 4  # of the modules in a sequence; the others are summed up


def check_named(name: str, net: Net) -> None:
    """Refuse a network that cannot be built; say which other names have its depth.

    Args:
        name: of the network, as in `deeptwins.study.networks`.
        net: that network, maybe with fields changed.

    Raises:
        InputError: it cannot be built.
    """
    try:
        with noting(f"net {name}"):
            check(net)
    except SpecError as error:
        raise InputError(f"no network {shown(name)}: {error}{_elsewhere(name)}") from None


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


@dataclass(frozen=True)
class Traced:
    """A net of one's own: its modules that compute something or have parameters, and what it consists of at the top."""

    layers: tuple[Layer, ...]
    parts: tuple[Layer, ...]


@lru_cache(maxsize=1024)
def trace(net: Net, image: tuple[int, int, int], classes: int) -> tuple[Layer, ...]:
    """Run one image (C, H, W) through the net on the meta device and list every layer in order of execution.

    Raises:
        InputError: the image has no pixels, or something is too large for any machine.
    """
    _check_image(image)
    if net.is_own:
        return outline(net, image, classes).layers
    try:
        with torch.device("meta"):
            # Shapes and FLOPs are the same whatever computes them, and eager compiles nothing.
            model = ResNet(net.model_copy(update={"fused_op": "eager"}), image[0], classes).eval()
            x = torch.empty(1, *image)
        watch(model, net)
    except (RuntimeError, TypeError) as error:
        if "overflow" not in str(error).lower() or own_frames(error):
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


@lru_cache(maxsize=1024)
def outline(net: Net, image: tuple[int, int, int], classes: int) -> Traced:
    """Run a net of one's own on images (C, H, W) in evaluation mode, and list its modules in order of execution.

    Raises:
        InputError: the net cannot be made or run, or returns what it must not.
    """
    _check_image(image)
    model = making.make(net, image[0], classes, seed="one").eval()
    outputs: dict[str, tuple[int, ...]] = {}  # in the order in which they end; the last output of each
    flops, running = Counter[str](), [""]  # of each module, without those that it calls; the innermost is the last
    counter = FlopCounterMode(display=False)

    def count() -> None:
        flops[running[-1]] += counter.get_total_flops() - flops.total()

    def look(module: nn.Module, name: str) -> None:
        def begin(_module: nn.Module, _inputs: object) -> None:
            count()
            running.append(name)

        def end(_module: nn.Module, _inputs: object, output: object) -> None:
            count()
            running.pop()
            tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            outputs[name] = tuple(tensors[0].shape[1:]) if tensors else ()

        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end, always_call=True)

    for name, module in model.named_modules():
        look(module, name)
    with torch.no_grad(), counter:
        making.run(model, net, image, classes)
    # What lies in a module that is never called belongs to the one around it.
    parameters = Counter[str]()
    for name, parameter in model.named_parameters():
        parameters[_around(name.rpartition(".")[0], outputs)] += parameter.numel()
    rows = []
    for name, output in outputs.items():
        module = model.get_submodule(name)
        row = Layer(name, type(module).__name__, output, parameters[name], flops[name] // making.IMAGES)
        if row.parameters or row.flops or not ([*module.children()] or isinstance(module, nn.Identity)):
            rows.append(row)
    return Traced(tuple(replace(row, name=row.name or ITSELF) for row in rows), tuple(_consists(model, rows, outputs)))


def _around(name: str, known: Mapping[str, object]) -> str:
    """Name the innermost of some modules that a module is, or lies in; the net itself has the name ""."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def _consists(model: nn.Module, rows: Sequence[Layer], outputs: Mapping[str, tuple[int, ...]]) -> list[Layer]:
    """Sum up a net's modules by those at the top; where there is one alone, such as another net, by those inside it."""
    top = ""
    while len(inside := [*model.get_submodule(top).named_children()]) == 1 and [*inside[0][1].children()]:
        top = f"{top}.{inside[0][0]}".lstrip(".")
    depth = top.count(".") + 1 if top else 0
    groups: dict[str, list[Layer]] = {}
    for row in rows:
        inner = row.name.split(".")[depth:] if f"{row.name}.".startswith(f"{top}." if top else "") and row.name else []
        groups.setdefault(inner[0] if inner else ITSELF, []).append(row)
    parts = []
    for name, group in groups.items():
        parameters, flops = sum(row.parameters for row in group), sum(row.flops for row in group)
        if name == ITSELF:
            if parameters or flops:
                parts.append(Layer(name, type(model).__name__, outputs[""], parameters, flops))
            continue
        path = f"{top}.{name}".lstrip(".")
        last = [output for key, output in outputs.items() if f"{key}.".startswith(f"{path}.")][-1]
        parts.append(Layer(name, _kind(model.get_submodule(path)), last, parameters, flops))
    return parts


def _kind(module: nn.Module) -> str:
    """Say what a module is; of a sequence, what it is of."""
    if not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return type(module).__name__
    kinds = Counter(type(child).__name__ for child in module.children())
    words = [f"{number} {kind}" if number > 1 else kind for kind, number in kinds.most_common(NAMED_KINDS)]
    left = kinds.total() - sum(number for _, number in kinds.most_common(NAMED_KINDS))
    return ", ".join([*words, *([f"{left} more"] if left else [])]) or type(module).__name__


def _check_image(image: tuple[int, int, int]) -> None:
    if min(image) < 1:
        raise InputError(f"input {'x'.join(map(str, image))}: an image has one channel and one pixel at least")


def parts(net: Net, image: tuple[int, int, int], classes: int) -> list[Layer]:
    """Sum up a net's layers by part: stem, stages, average pooling, linear map; one's own by what it consists of."""
    if net.is_own:
        return [*outline(net, image, classes).parts]
    return _parts(trace(net, image, classes))


def _parts(layers: Sequence[Layer]) -> list[Layer]:

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

    In a net that grows, they also say how many of their blocks are `added`. Of a net of one's own none are known.
    """
    if net.is_own:
        return []
    plan = FAMILIES[net.family](net.depth)
    before = FAMILIES[net.family](net.grown_from).blocks if net.grown_from else plan.blocks
    ends = {layer.name.split(".")[1]: layer.output for layer in trace(net, image, classes) if "stages" in layer.name}
    layers = 3 if plan.bottleneck else 2
    return [
        {"blocks": blocks, "layers": layers, "output": list(ends[str(i)])}
        | ({"added": blocks - before[i]} if net.grown_from else {})
        for i, blocks in enumerate(plan.blocks)
    ]


def children(net: Net, image: tuple[int, int, int], classes: int) -> list[dict[str, Any]]:
    """Describe what a net of one's own consists of: name, kind, shape of the output, parameters. Of others none."""
    if not net.is_own:
        return []
    parts = outline(net, image, classes).parts
    parts = tuple(part for part in parts if part.name != ITSELF)[:CHILDREN] or parts  # of a net without modules, itself
    return [
        {"name": part.name, "kind": part.kind, "output": list(part.output), "parameters": part.parameters}
        for part in parts
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
