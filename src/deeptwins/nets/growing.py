"""Make a net deeper without changing what it computes: the solution that He et al. 2015 construct in section 1.

"The added layers are identity mapping, and the other layers are copied from the learned shallower model."
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from deeptwins.nets.blocks import Block
from deeptwins.nets.families import FAMILIES, ResNet
from deeptwins.nets.initialization import INITIALIZATIONS, zero_branch
from deeptwins.nets.orders import BLOCK_ORDERS
from deeptwins.study.specs import Net

SIGNED = ("projection", "projections")  # shortcuts that may add what is negative, where the shape changes at least
KEEPING = ("none", "zero-pad", "projection")  # shortcuts that add nothing, or x itself where its shape is kept


def check_growth(net: Net) -> None:
    """Raise ValueError where blocks that compute the identity cannot be added to a net of depth `grown_from`."""
    if net.grown_from is None:
        if net.grown_with is not None:
            raise ValueError(f"grown_with = {net.grown_with!r}: of no use without grown_from")
        return
    where = f"grown_from = {net.grown_from}"
    try:
        layout, before = FAMILIES[net.family](net.depth), FAMILIES[net.family](net.grown_from)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    fewer = any(new < old for new, old in zip(layout.blocks, before.blocks, strict=True))
    if fewer or layout.bottleneck != before.bottleneck:
        raise ValueError(f"{where}: its blocks are not among those of depth {net.depth}")
    if net.survival < 1:  # in evaluation a branch is weighed by its place among all blocks
        raise ValueError(f"{where}: with survival = {net.survival} the weight of each block depends on the depth")
    _check_added(net, where, bottleneck=layout.bottleneck)


@torch.no_grad()
def grow(shallow: ResNet, deep: ResNet, batches: Iterable[Tensor]) -> None:
    """Give a deep net the weights of a shallow one, and let the blocks that only it has compute the identity.

    A residual block does so with a branch of 0; a plain one with convolutions that copy, and norms that undo, by their
    weight and bias, the normalization by the statistics of what arrives. These become the running statistics, too: in
    evaluation the nets have the same outputs, up to rounding; in training up to the noise of a batch's statistics.

    Args:
        shallow: as trained; is put into evaluation mode.
        deep: of the same kind, on the same device.
        batches: images (N, C, H, W) over which the statistics are measured.
    """
    statistics = _statistics(shallow, batches)
    deep.load_state_dict(deep.state_dict() | shallow.state_dict())
    for stage, known, (mean, variance) in zip(deep.blocks, shallow.blocks, statistics, strict=True):
        for block in stage[len(known) :]:
            if block.residual:
                if block.join.scale is None or block.join.scale != 0:  # were both 0, neither would have a gradient
                    zero_branch(block)
                continue
            for conv, norm in block.layers:
                nn.init.dirac_(conv.get_parameter("weight"))
                if isinstance(norm, nn.BatchNorm2d):
                    norm.weight.copy_((variance + norm.eps).sqrt())
                    norm.bias.copy_(mean)
                    norm.get_buffer("running_mean").copy_(mean)
                    norm.get_buffer("running_var").copy_(variance)


@torch.no_grad()
def largest_difference(one: nn.Module, other: nn.Module, batches: Iterable[Tensor]) -> float:
    """Measure the largest difference of two nets' logits in evaluation mode, as a share of the largest logit."""
    apart, largest = [], []
    one.eval()
    other.eval()
    for x in batches:
        y = one(x)
        apart.append((other(x) - y).abs().max())
        largest.append(y.abs().max())
    return (torch.stack(apart).max() / torch.stack(largest).max()).item()


def _check_added(net: Net, where: str, *, bottleneck: bool) -> None:
    """Raise ValueError where no block of the kind that is added computes the identity, and then learns."""
    shortcut = net.grown_with or net.shortcut
    plain = shortcut == "none"
    if shortcut not in KEEPING:
        raise ValueError(f"{where}: no block with the shortcut {shortcut!r} computes the identity")
    if plain and bottleneck:
        raise ValueError(f"{where}: no plain bottleneck computes the identity, its inner layers are too narrow")
    zeroed = INITIALIZATIONS[net.initialization].scale != 0  # else the learned scale makes the branch 0, and learns
    if not plain and zeroed and not BLOCK_ORDERS[net.block_order].learns_from_zero:
        raise ValueError(f"{where}: no block of the order {net.block_order!r} learns whose branch is 0")
    if net.block_order in (("relu-pre-activation", "full-pre-activation") if plain else ("norm-after-addition",)):
        raise ValueError(f"{where}: no block of the order {net.block_order!r} computes the identity")
    if plain and _may_be_negative(net):
        raise ValueError(
            f"{where}: no plain block keeps what is negative, and blocks of the order {net.block_order!r} with"
            f" shortcut = {net.shortcut!r} and initialization = {net.initialization!r} may end so"
        )


def _may_be_negative(net: Net) -> bool:
    """Tell whether what leaves the blocks of a net may be negative, which the ReLU of a plain block would cut off.

    Not where a ReLU follows the addition, and not in a plain net. Where the branch ends in one, its sum with a shortcut
    is negative only if that is, or if the branch is multiplied by a learned scalar that has become so.
    """
    if net.block_order != "relu-before-addition" or net.shortcut == "none":
        return False
    return net.shortcut in SIGNED or INITIALIZATIONS[net.initialization].scale is not None


def _statistics(net: ResNet, batches: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Measure mean and variance of each channel that leaves each stage."""
    sums: list[list[Tensor]] = [[] for _ in net.stages]

    def note(into: list[Tensor], block: Block) -> None:
        def hook(_module: nn.Module, _inputs: object, output: tuple[Tensor, Tensor]) -> None:
            y = output[0].double()
            count = torch.full_like(y[0, :, 0, 0], y.numel() // y.shape[1])
            into.append(torch.stack([count, y.sum((0, 2, 3)), y.square().sum((0, 2, 3))]))

        handles.append(block.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for into, stage in zip(sums, net.blocks, strict=True):
            note(into, stage[-1])
        net.eval()
        for x in batches:
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    totals = [torch.stack(parts).sum(0) for parts in sums]
    means = [total[1] / total[0] for total in totals]
    squares = [total[2] / total[0] for total in totals]
    return [(mean, (square - mean.square()).clamp(min=0)) for mean, square in zip(means, squares, strict=True)]
