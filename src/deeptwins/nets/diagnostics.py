"""What goes on inside a net: layer responses, gradients, residual branches, statistics of batch normalization.

Off the hot path: gradients are those that a step has left behind, the rest is measured once, when a run is over. The
net stays as it was, and nothing is drawn at random. `docs/method.md` has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deeptwins.nets import ResNet
from deeptwins.nets.blocks import Fork, Join, blocks

Batches = Iterable[tuple[Tensor, Tensor]]
"""Images (N, C, H, W) and labels (N,)."""
Statistics = dict[str, tuple[Tensor, Tensor]]
"""Mean and variance of each channel, float64 (C,), of what arrives at each batch normalization, by its name."""

DIGITS = 4  # significant ones, in a record: small files, and more than a figure shows


@dataclass(frozen=True)
class Layer:
    """A layer of a net: a convolution, or the linear map at the end; and the norm behind it, or before it."""

    weights: nn.Module
    norm: nn.Module

    @property
    def responds(self) -> bool:
        """Whether there is a norm, whose output is the layer's response."""
        return hasattr(self.norm, "normalize")

    @property
    def kernel(self) -> int | None:
        """The size of the convolution, in pixels."""
        return self.weights.kernel_size[0] if isinstance(self.weights, nn.Conv2d) else None


def layers(net: ResNet) -> list[Layer]:
    """List the layers that make a net's depth, in order; those on shortcuts are none of them."""
    inner = [Layer(*layer) for block in blocks(net) for layer in block.layers]
    last = net.ending if isinstance(net.ending, nn.Module) else nn.Identity()
    return [Layer(net.conv, net.bn), *inner, Layer(net.linear, last)]


def look(net: ResNet, test: Batches, training: Batches, count: Callable[[], Tensor]) -> Iterator[dict[str, Any]]:
    """Look inside a trained net: make the records of its layers, of its blocks, of its errors with precise statistics.

    Args:
        net: stays as it was.
        test: what responses and shares are measured over.
        training: what precise statistics are measured over, in batches as trained on.
        count: returns images, errors and loss summed over the test split, in evaluation mode, as a tensor (3,).
    """
    names = {module: name for name, module in net.named_modules()}
    responses, shares = responses_and_shares(net, test)
    precise = precise_statistics(net, training)
    errors = running_errors(net, precise)
    for i, layer in enumerate(layers(net), 1):
        if layer.responds:
            name = names[layer.norm]
            means, deviations = errors.get(name, (math.nan, math.nan))
            yield {
                "kind": "layer",
                "layer": i,
                "name": name,
                "kernel": layer.kernel,
                "response_std": rounded(responses[name]),
                "running_mean_error": rounded(means),
                "running_std_error": rounded(deviations),
            }
    for i, (name, share) in enumerate(shares.items(), 1):
        yield {"kind": "block", "block": i, "name": name, "branch_share": rounded(share)}
    if precise:
        with _as_defined(net), normalized_by(net, precise):
            images, wrong, loss = count().tolist()
        yield {"kind": "precise", "test_error_pct": 100.0 * wrong / images, "test_loss": rounded(loss / images)}


def rounded(value: float) -> float | None:
    """Write a number as a record does: to a few digits, None where it is not finite."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def gradient_norms(net: ResNet) -> list[float | None]:
    """Measure the L2 norm of each layer's weight gradient, as the last step left it; None where it left none.

    Without weight decay, which the optimizer adds. The host waits for the device once.
    """
    gradients = [layer.weights.get_parameter("weight").grad for layer in layers(net)]
    found = [torch.linalg.vector_norm(gradient.float()) for gradient in gradients if gradient is not None]
    norms = iter(torch.stack(found).tolist() if found else [])
    every = [math.nan if gradient is None else next(norms) for gradient in gradients]
    # A block that was dropped from the step has none, or one of zeros in its place.
    return [None if net.drops and norm == 0 else rounded(norm) for norm in every]


@torch.inference_mode()
def responses_and_shares(net: ResNet, batches: Batches) -> tuple[dict[str, float], dict[str, float]]:
    """Measure each layer's response, by the name of its norm, and each branch's share, by that of its block; in order.

    A response is the standard deviation of the norm's output, before addition and ReLU, over all images, pixels and
    channels (He et al. 2015, figure 7). A share is ||F(x)|| / ||x||, L2 norms over all images: x is the block's input,
    F(x) what is added to its shortcut, or would be if there were one. In evaluation mode.
    """
    responses, branches, inputs = _Totals(), _Totals(), _Totals()

    def leaving(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda norm, args: responses.add(name, norm.normalize(args[0]))  # type: ignore[operator]

    def entering(name: str) -> Callable[[nn.Module, tuple[Fork]], None]:
        return lambda _block, args: inputs.add(name, args[0][0])

    def joining(name: str) -> Callable[[Join, tuple[Tensor, Tensor | None, Tensor | float | None]], None]:
        return lambda join, args: branches.add(name, join.forward(args[0], None, args[2]))  # weighed, not yet added

    names = {module: name for name, module in net.named_modules()}
    with _as_defined(net), ExitStack() as hooks:
        for norm in (layer.norm for layer in layers(net) if layer.responds):
            hooks.enter_context(norm.register_forward_pre_hook(leaving(names[norm])))
        for block in blocks(net):
            hooks.enter_context(block.register_forward_pre_hook(entering(names[block])))
            hooks.enter_context(block.join.register_forward_pre_hook(joining(names[block])))
        for x, _ in batches:
            net(x)
    deviations = torch.stack([_moments(total.sum(1))[1].sqrt() for total in responses.values()])
    shares = torch.stack([(branches[name][2].sum() / total[2].sum()).sqrt() for name, total in inputs.items()])
    return dict(zip(responses, deviations.tolist(), strict=True)), dict(zip(inputs, shares.tolist(), strict=True))


@torch.inference_mode()
def precise_statistics(net: ResNet, batches: Batches) -> Statistics:
    """Measure mean and variance of what arrives at each batch normalization, over all batches, the weights standing.

    Kaiming He's release of the paper's nets normalizes with such, in place of running averages ("precise BN"). All is
    as in evaluation, so that nothing is dropped, but that each batch is normalized by its own statistics.
    """
    totals = _Totals()

    def arriving(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _norm, args: totals.add(name, args[0])

    norms = batch_norms(net)
    with _as_defined(net), ExitStack() as hooks:
        for name, norm in norms.items():
            norm.training = True
            hooks.callback(setattr, norm, "track_running_stats", norm.track_running_stats)
            norm.track_running_stats = False  # else the running statistics would move
            hooks.enter_context(norm.register_forward_pre_hook(arriving(name)))
        for x, _ in batches if norms else ():
            net(x)
    return {name: _moments(total) for name, total in totals.items()}


def batch_norms(net: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """List the batch normalizations of a net, those on shortcuts too, by name."""
    return {name: module for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}


def running_errors(net: ResNet, precise: Statistics) -> dict[str, tuple[float, float]]:
    """Measure how far running statistics lie from precise ones, by the norm's name: the means', the deviations' error.

    Root mean squares over channels: of (running mean - precise mean) / precise standard deviation, and of the natural
    logarithm of running standard deviation / precise standard deviation. `eps` counts as a part of each variance.
    """
    errors = []
    norms = batch_norms(net)
    for name, (mean, variance) in precise.items():
        norm = norms[name]
        variance = variance + norm.eps  # noqa: PLW2901
        off = (norm.get_buffer("running_mean") - mean) / variance.sqrt()
        ratio = ((norm.get_buffer("running_var") + norm.eps) / variance).log() / 2
        errors.append(torch.stack([off, ratio]).square().mean(1).sqrt())
    return dict(zip(precise, map(tuple, torch.stack(errors).tolist()), strict=True)) if errors else {}


@contextmanager
def normalized_by(net: ResNet, precise: Statistics) -> Iterator[None]:
    """Let a net normalize by precise statistics in evaluation mode; then by its running ones again."""
    kept = []
    for name, norm in batch_norms(net).items():
        for key, value in zip(("running_mean", "running_var"), precise[name], strict=True):
            buffer = norm.get_buffer(key)
            kept.append((buffer, buffer.clone()))
            buffer.copy_(value)
    try:
        yield
    finally:
        for buffer, before in kept:
            buffer.copy_(before)


class _Totals(dict[str, Tensor]):
    """Count, sum and sum of squares of each channel, by name: float64 (3, C), on the device."""

    def add(self, name: str, x: Tensor) -> None:
        """Add a batch (N, C, H, W)."""
        sums = x.sum((0, 2, 3), dtype=torch.float64)
        squares = x.float().square().sum((0, 2, 3), dtype=torch.float64)
        total = torch.stack([torch.full_like(sums, x.numel() // x.shape[1]), sums, squares])
        self[name] = self[name] + total if name in self else total


def _moments(total: Tensor) -> tuple[Tensor, Tensor]:
    """Compute means and variances from counts, sums and sums of squares: (3, ...) -> (...), (...)."""
    count, sums, squares = total
    mean = sums / count
    return mean, (squares / count - mean.square()).clamp(min=0)


@contextmanager
def _as_defined(net: ResNet) -> Iterator[None]:
    """Put a net into evaluation mode and compute it by definition: nothing is fused, no kernel compiled for this."""
    options = {"training": False, "fuse": False, "implementation": "eager"}
    places = [(module, key) for module in net.modules() for key in options if hasattr(module, key)]
    before = [getattr(module, key) for module, key in places]
    try:
        for module, key in places:
            setattr(module, key, options[key])
        yield
    finally:
        for (module, key), value in zip(places, before, strict=True):
            setattr(module, key, value)
