"""Where ResNets normalize: the shapes that the fused operation meets, derived from the nets.

`deeptwins.kernels.offline.cases` names a few of them, which kernels are compiled for; a test finds those among these.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from typing import Literal

from deeptwins.kernels.formats import LAYOUTS
from deeptwins.nets.inspection import stages, trace
from deeptwins.study.networks import named

DTYPES = ("bf16", "fp32", "fp16")  # what matters most first


@dataclass(frozen=True)
class Normalization:
    """A batch normalization of a net: at a join, before a ReLU, or bare, in a projection."""

    kind: Literal["join", "relu", "bare"]
    channels: int
    size: int
    """Height and width of the image."""


@dataclass(frozen=True)
class Site:
    """A shape of a batch on which some nets run the operation."""

    nets: tuple[str, ...]
    join: bool
    """A residual is added, and the result is used twice: by the next block's layers and by its shortcut."""
    shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class Setting:
    """A site in a data type and a memory layout."""

    site: Site
    dtype: str
    layout: str

    def __str__(self) -> str:
        """Name it so that `pytest -k` can choose by net, kind, shape, data type and layout."""
        kind, shape = "join" if self.site.join else "relu", "x".join(map(str, self.site.shape))
        return "-".join(("+".join(self.site.nets), kind, shape, self.dtype, self.layout))


def layers(network: str) -> tuple[Normalization, ...]:
    """List a net's batch normalizations, in order of execution, by its name and with its usual input."""
    net, image, classes = named(network)
    last = f"bn{stages(net, image, classes)[0]['layers']}"
    normalizations = []
    for layer in trace(net, image, classes):
        if layer.kind == "BatchNorm":
            kind = "join" if layer.name.endswith(last) else "relu"
            if "shortcut" in layer.name:
                kind = "bare"
            normalizations.append(Normalization(kind, *layer.output[:2]))
    return tuple(normalizations)


NETS = {name: layers(name) for name in ("resnet-50", "resnet-18", "cifar-resnet-20")}
BATCHES = {"resnet-50": (128, 256), "resnet-18": (128, 256), "cifar-resnet-20": (128,)}


def sites() -> list[Site]:
    """List every shape once, with the nets that have it."""
    nets = defaultdict(list)
    for net, normalizations in NETS.items():
        for batch, layer in product(BATCHES[net], dict.fromkeys(normalizations)):
            if layer.kind != "bare":
                nets[layer.kind == "join", (batch, layer.channels, layer.size, layer.size)].append(net)
    return [Site(tuple(names), join, shape) for (join, shape), names in nets.items()]


def settings(device: str, *, full: bool = False) -> list[Setting]:
    """Choose what is timed on a device, `cpu` or `cuda`: what matters most, or with `full` everything.

    A CPU gets the CIFAR net only, and without `full` only in fp32 and channels_last. Without `full` a GPU gets all
    sites in bf16 and channels_last, the CIFAR net also in fp32, and ResNet-50's first and last join in every
    combination.
    """
    places = [site for site in sites() if device == "cuda" or _is_cifar(site)]
    grid = [Setting(site, dtype, layout) for dtype, layout, site in product(DTYPES, LAYOUTS, places)]
    if full:
        return grid
    usual = {"fp32": [site for site in places if _is_cifar(site)]}
    if device == "cuda":
        usual["bf16"] = places
    joins = [site for site in places if site.join and "resnet-50" in site.nets and site.shape[0] == 128]
    return [
        setting
        for setting in grid
        if (setting.layout == "channels_last" and setting.site in usual.get(setting.dtype, ()))
        or setting.site in joins[:1] + joins[-1:]
    ]


def _is_cifar(site: Site) -> bool:
    return "cifar-resnet-20" in site.nets
