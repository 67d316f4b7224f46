"""Make a net deeper without changing what it computes: the solution that He et al. 2015 construct in section 1.

"The added layers are identity mapping, and the other layers are copied from the learned shallower model."
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from deeptwins.errors import SpecError
from deeptwins.nets.blocks import Fork
from deeptwins.nets.diagnostics import Totals, moments
from deeptwins.nets.families import FAMILIES, ResNet
from deeptwins.nets.initialization import INITIALIZATIONS, zero_branch
from deeptwins.nets.norms import epsilon
from deeptwins.nets.orders import BLOCK_ORDERS
from deeptwins.nets.shortcuts import SHORTCUTS
from deeptwins.study.specs import Net


def check_growth(net: Net) -> None:
    """Raise SpecError where blocks that compute the identity cannot be added to a net of depth `grown_from`."""
    if net.grown_from is None:
        if net.grown_with is not None:
            raise SpecError(f"grown_with = {net.grown_with!r}: of no use without grown_from")
        return
    where = f"grown_from = {net.grown_from}"
    try:
        plan, before = FAMILIES[net.family](net.depth), FAMILIES[net.family](net.grown_from)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    fewer = any(new < old for new, old in zip(plan.blocks, before.blocks, strict=True))
    if fewer or plan.bottleneck != before.bottleneck:
        raise SpecError(f"{where}: its blocks are not among those of depth {net.depth}")
    if net.survival < 1:  # in evaluation a branch is weighted by its place among all blocks
        raise SpecError(f"{where}: with survival = {net.survival} the weight of each block depends on the depth")
    _check_added(net, where, bottleneck=plan.bottleneck)


@torch.no_grad()
def grow(shallow: ResNet, deep: ResNet, batches: Iterable[Tensor]) -> None:
    """Give a deep net the weights of a shallow one, and let the blocks that only it has compute the identity.

    A residual block computes it with a branch of 0. A plain block does with convolutions that copy and norms whose
    weight and bias undo their normalization by the statistics of what arrives. These become the running statistics,
    too: in evaluation both nets have the same outputs up to rounding, in training up to the noise of a batch's
    statistics.

    Args:
        shallow: as trained; it is put into evaluation mode.
        deep: of the same kind, on the same device.
        batches: images (N, C, H, W) over which the statistics are measured.
    """
    statistics = _statistics(shallow, batches)
    deep.load_state_dict(deep.state_dict() | shallow.state_dict())
    for stage, known, (mean, variance) in zip(deep.blocks, shallow.blocks, statistics, strict=True):
        for block in stage[len(known) :]:
            if block.residual:
                # A learned scale of 0 is enough: if the branch were 0, too, neither would have a gradient.
                if block.join.scale is None or block.join.scale != 0:
                    zero_branch(block)
                continue
            for conv, norm in block.layers:
                nn.init.dirac_(conv.get_parameter("weight"))
                if isinstance(norm, nn.BatchNorm2d):
                    norm.weight.copy_((variance + epsilon(norm)).sqrt())
                    norm.bias.copy_(mean)
                    norm.get_buffer("running_mean").copy_(mean)
                    norm.get_buffer("running_var").copy_(variance)


@torch.no_grad()
def largest_difference(one: nn.Module, other: nn.Module, batches: Iterable[Tensor]) -> float:
    """Measure the largest difference of two nets' logits in evaluation mode, as a share of the largest logit."""
    differences, largest = [], []
    one.eval()
    other.eval()
    for x in batches:
        y = one(x)
        differences.append((other(x) - y).abs().max())
        largest.append(y.abs().max())
    return (torch.stack(differences).max() / torch.stack(largest).max()).item()


def _check_added(net: Net, where: str, *, bottleneck: bool) -> None:
    """Raise SpecError unless blocks of the kind that is added can compute the identity, and then learn."""
    shortcut = net.grown_with or net.shortcut
    plain = shortcut == "none"
    if not SHORTCUTS[shortcut].copies:
        raise SpecError(f"{where}: no block with the shortcut {shortcut!r} computes the identity")
    if plain and bottleneck:
        raise SpecError(f"{where}: no plain bottleneck computes the identity, its inner layers are too narrow")
    zeroed = INITIALIZATIONS[net.initialization].scale != 0  # else the branch is 0 by its learned scale, which learns
    if not plain and zeroed and not BLOCK_ORDERS[net.block_order].learns_from_zero:
        raise SpecError(f"{where}: no block of the order {net.block_order!r} learns whose branch is 0")
    never_identity = ("relu-pre-activation", "full-pre-activation") if plain else ("norm-after-addition",)
    if net.block_order in never_identity:
        raise SpecError(f"{where}: no block of the order {net.block_order!r} computes the identity")
    if plain and _may_be_negative(net):
        raise SpecError(
            f"{where}: no plain block keeps what is negative, and blocks of the order {net.block_order!r} with"
            f" shortcut = {net.shortcut!r} and initialization = {net.initialization!r} may end so"
        )


def _may_be_negative(net: Net) -> bool:
    """Tell whether the outputs of a net's blocks may be negative, which the ReLU of an added plain block would cut off.

    They may not where a ReLU follows the addition, nor in a plain net. Where the branch ends in a ReLU, they may if the
    shortcut adds negative values, or if the branch is multiplied by a learned scalar, which may become negative.
    """
    if net.block_order != "relu-before-addition" or net.shortcut == "none":
        return False
    return not SHORTCUTS[net.shortcut].keeps_sign or INITIALIZATIONS[net.initialization].scale is not None


def _statistics(net: ResNet, batches: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Measure mean and variance of each channel that leaves each stage."""
    totals = Totals()

    def leaving(name: str) -> Callable[[nn.Module, object, Fork], None]:
        # They become weights, so that even squares are in float64.
        return lambda _block, _inputs, output: totals.add(name, output[0].double())

    net.eval()
    with ExitStack() as hooks:
        for i, stage in enumerate(net.blocks):
            hooks.enter_context(stage[-1].register_forward_hook(leaving(str(i))))
        for x in batches:
            net(x)
    return [moments(total) for total in totals.values()]
