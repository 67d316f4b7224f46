"""Check the description of a net, and build the net."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import nn

from deeptwins.errors import SpecError
from deeptwins.kernels import IMPLEMENTATIONS
from deeptwins.nets.families import FAMILIES, ResNet
from deeptwins.nets.growing import check_growth
from deeptwins.nets.initialization import INITIALIZATIONS, initialize
from deeptwins.nets.norms import NORMS
from deeptwins.nets.orders import BLOCK_ORDERS
from deeptwins.nets.own import making, weights
from deeptwins.nets.shortcuts import SHORTCUTS
from deeptwins.study.specs import Net
from deeptwins.system.importing import check_name

NAMES: dict[str, Collection[str]] = {
    "family": FAMILIES,
    "shortcut": SHORTCUTS,
    "block_order": BLOCK_ORDERS,
    "norm": NORMS,
    "initialization": INITIALIZATIONS,
    "grown_with": SHORTCUTS,
    "fused_op": ("auto", *IMPLEMENTATIONS),
}
"""The names that these fields of a net may have."""


def check_names(fields: Mapping[str, object]) -> None:
    """Raise SpecError, naming field, value and what is allowed, for a name that does not exist.

    Raises:
        InputError: a part of one's own cannot be imported, or be called as it must.
    """
    for field, names in NAMES.items():
        if (name := fields.get(field)) is not None:
            check_name(field, name, names)


def check(net: Net) -> None:
    """Raise SpecError, naming field, value and what is allowed, for a net that cannot be built."""
    check_names(vars(net))
    if net.is_own:
        making.check(net)
        return
    if net.options:
        raise SpecError(f"options: of no use with family = {net.family!r}, only with a net of your own")
    # Depth and growth are possible.
    FAMILIES[net.family](net.depth)
    check_growth(net)
    # The initialization fits the norm and the order of blocks.
    needed = INITIALIZATIONS[net.initialization].norms
    if needed is not None and net.norm not in needed:
        raise SpecError(f"initialization = {net.initialization!r}: needs norm = {' or '.join(map(repr, needed))}")
    learns = net.shortcut == "none" or BLOCK_ORDERS[net.block_order].learns_from_zero
    if INITIALIZATIONS[net.initialization].zeroes and not learns:
        raise SpecError(
            f"initialization = {net.initialization!r}: no block of the order {net.block_order!r} learns then"
        )
    # Options are not without effect.
    if net.survival < 1 and net.shortcut == "none":
        raise SpecError(f"survival = {net.survival}: without shortcuts, what is left when a block is dropped?")
    if net.norm_batch is not None and net.norm != "batch":
        raise SpecError(f"norm_batch = {net.norm_batch}: needs norm = 'batch'")


def build(net: Net, channels: int, classes: int, seed: int) -> nn.Module:
    """Build a net on the CPU with the initial weights of this seed."""
    check(net)
    if net.is_own:
        return weights.build(net, channels, classes, seed)
    model = ResNet(net, channels, classes)
    initialize(model, net.initialization, seed)
    return model
