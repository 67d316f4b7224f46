"""What goes on inside a net: layer responses, gradients, residual branches, statistics of batch normalization.

None of it slows training down: gradients are those that a step has left behind, and the rest is measured once, at the
end of a run. The net stays as it was, and nothing is drawn at random. `docs/method.md` has the formulas.

In a net of one's own, every convolution and linear map is a layer, in the order in which the net has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deeptwins.kernels import BNReLUAdd
from deeptwins.nets.blocks import Block, Fork, Join, blocks
from deeptwins.nets.families import ResNet
from deeptwins.nets.norms import epsilon
from deeptwins.nets.own.making import layer_by_layer

Batches = Iterable[tuple[Tensor, Tensor]]
"""Images (N, C, H, W) and labels (N,)."""
Statistics = dict[str, tuple[Tensor, Tensor]]
"""By the name of each batch normalization: mean and variance per channel of what arrives at it, float64 (C,)."""

LAYERS = (nn.Conv2d, nn.Linear)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
BatchNormalization = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
DIGITS = 4  # significant digits in a record: more than a figure shows, and files stay small


@dataclass(frozen=True)
class DepthLayer:
    """One of the layers that make a net's depth: a convolution or the last linear map, with its norm, if it has one."""

    weights: nn.Module
    norm: nn.Module

    @property
    def responds(self) -> bool:
        """Whether it has a norm, whose output is the layer's response."""
        return hasattr(self.norm, "normalize")

    @property
    def kernel(self) -> int | None:
        """The side of the convolution, in pixels; None: it is not square, or no convolution."""
        sizes = {*self.weights.kernel_size} if isinstance(self.weights, nn.Conv2d) else set()
        return sizes.pop() if len(sizes) == 1 else None


def layers(net: nn.Module) -> list[DepthLayer]:
    """List the layers that make a net's depth, in order, without those on shortcuts; of one's own, all of them."""
    if not isinstance(net, ResNet):
        return [DepthLayer(module, nn.Identity()) for module in net.modules() if isinstance(module, LAYERS)]
    inner = [DepthLayer(*layer) for block in blocks(net) for layer in block.layers]
    last = net.ending if isinstance(net.ending, nn.Module) else nn.Identity()
    return [DepthLayer(net.conv, net.bn), *inner, DepthLayer(net.linear, last)]


def look(net: nn.Module, test: Batches, training: Batches, count: Callable[[], Tensor]) -> Iterator[dict[str, Any]]:
    """Look inside a trained net: yield the records of its layers, its blocks, and its error with precise statistics.

    Args:
        net: it stays as it was.
        test: the batches over which responses and shares are measured.
        training: the batches over which precise statistics are measured, of the size trained on.
        count: evaluates on the test split; returns images, errors and the sum of the loss, as a tensor (3,).
    """
    # Measure.
    names = {module: name for name, module in net.named_modules()}
    if isinstance(net, ResNet):
        responses, shares = responses_and_shares(net, test)
        norms = {names[layer.norm]: names[layer.norm] for layer in layers(net) if layer.responds}
    else:
        responses, norms = own_responses(net, test)
        shares = {}
    precise = precise_statistics(net, training)
    errors = running_errors(net, precise)
    # Write down what was measured, by layer and by block.
    for i, layer in enumerate(layers(net), 1):
        name = names[layer.norm if layer.responds else layer.weights]
        if name in responses:
            means, deviations = errors.get(norms.get(name, ""), (math.nan, math.nan))
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
    # Evaluate with precise statistics in place of running ones.
    if precise:
        with _as_defined(net), normalized_by(net, precise):
            images, wrong, loss = count().tolist()
        yield {"kind": "precise", "test_error_pct": 100.0 * wrong / images, "test_loss": rounded(loss / images)}


def rounded(value: float) -> float | None:
    """Write a number as a record does: to a few digits, None where it is not finite."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def gradient_norms(net: nn.Module) -> list[float | None]:
    """Measure the L2 norm of each layer's weight gradient, as the last step left it; None where it left none.

    These gradients are without weight decay, which the optimizer adds. The host waits for the device once.
    """
    parameters = [dict(layer.weights.named_parameters(recurse=False)).get("weight") for layer in layers(net)]
    gradients = [None if parameter is None else parameter.grad for parameter in parameters]
    measured = [torch.linalg.vector_norm(gradient.float()) for gradient in gradients if gradient is not None]
    values = iter(torch.stack(measured).tolist() if measured else [])
    norms = [math.nan if gradient is None else next(values) for gradient in gradients]
    # A block that was dropped from the step has no gradient, or one of zeros.
    drops = isinstance(net, ResNet) and net.drops
    return [None if drops and norm == 0 else rounded(norm) for norm in norms]


@torch.inference_mode()
def responses_and_shares(net: ResNet, batches: Batches) -> tuple[dict[str, float], dict[str, float]]:
    """Measure each layer's response, by the name of its norm, and each branch's share, by the name of its block.

    A response is the standard deviation of the norm's output, before addition and ReLU, over all images, pixels and
    channels (He et al. 2015, figure 7). A share is ||F(x)|| / ||x||, L2 norms over all images: x is the block's input,
    F(x) what is added to its shortcut, or would be if there were one. Both are in order, and in evaluation mode.
    """
    responses, branches, inputs = Totals(), Totals(), Totals()

    def leaving(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda norm, args: responses.add(name, norm.normalize(args[0]))  # type: ignore[operator]

    def entering(name: str) -> Callable[[nn.Module, tuple[Fork]], None]:
        return lambda _block, args: inputs.add(name, args[0][0])

    def joining(name: str) -> Callable[[Join, tuple[Tensor, Tensor | None, Tensor | float | None]], None]:
        return lambda join, args: branches.add(name, join.forward(args[0], None, args[2]))  # without what is added

    names = {module: name for name, module in net.named_modules()}
    with _as_defined(net), ExitStack() as hooks:
        for norm in (layer.norm for layer in layers(net) if layer.responds):
            hooks.enter_context(norm.register_forward_pre_hook(leaving(names[norm])))
        for block in blocks(net):
            hooks.enter_context(block.register_forward_pre_hook(entering(names[block])))
            hooks.enter_context(block.join.register_forward_pre_hook(joining(names[block])))
        for x, _ in batches:
            net(x)
    shares = torch.stack([(branches[name][2].sum() / total[2].sum()).sqrt() for name, total in inputs.items()])
    return _deviations(responses), dict(zip(inputs, shares.tolist(), strict=True))


def _norms_before(modules: Iterable[tuple[str, nn.Module]], norms: Mapping[str, str]) -> dict[str, str]:
    """Give batch normalizations that no layer has to the first layer behind each that has none: names, by layer."""
    found, waiting = {}, None
    for name, module in modules:
        if isinstance(module, BATCH_NORMS) and name not in norms.values():
            waiting = name
        elif waiting is not None and isinstance(module, LAYERS) and name not in norms:
            found[name], waiting = waiting, None
    return found


def _deviations(responses: Totals) -> dict[str, float]:
    """Compute the standard deviations of responses over all images, pixels and channels."""
    if not responses:
        return {}
    deviations = torch.stack([moments(total.sum(1))[1].sqrt() for total in responses.values()])
    return dict(zip(responses, deviations.tolist(), strict=True))


@torch.inference_mode()
def own_responses(net: nn.Module, batches: Batches) -> tuple[dict[str, float], dict[str, str]]:
    """Measure the response of each layer of a net of one's own that is used, by its name, and find its norm's name.

    A layer's norm is the one that takes its output, as it is; the response is the norm's output then, and else the
    layer's own. A batch normalization that takes something else is that of the first layer behind it without a norm.
    """
    own, normalized, norms = Totals(), Totals(), dict[str, str]()
    latest: list[tuple[str, Tensor]] = []  # the layer that was called last, and its output

    def answering(name: str) -> Callable[[nn.Module, object, object], None]:
        def note(_layer: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                latest[:] = [(name, output)]
                own.add(name, output.reshape(1, 1, -1))

        return note

    def normalizing(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def note(_norm: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            if latest and inputs and inputs[0] is latest[0][1] and isinstance(output, Tensor):
                norms[latest[0][0]] = name
                normalized.add(latest[0][0], output.reshape(1, 1, -1))

        return note

    modules = [(name, module) for name, module in net.named_modules() if isinstance(module, (*LAYERS, *NORMS))]
    with _as_defined(net), ExitStack() as hooks:
        for name, module in modules:
            hook = (answering if isinstance(module, LAYERS) else normalizing)(name)
            hooks.enter_context(module.register_forward_hook(hook))
        for x, _ in batches:
            net(x)
    return _deviations(own) | _deviations(normalized), norms | _norms_before(modules, norms)


@torch.inference_mode()
def precise_statistics(net: nn.Module, batches: Batches) -> Statistics:
    """Measure mean and variance of what arrives at each batch normalization, over all batches, with fixed weights.

    Kaiming He's release of the paper's nets normalizes by such statistics, and not by running averages ("precise BN").
    The net is in evaluation mode, so that nothing is dropped, but each batch is normalized by its own statistics.
    """
    totals = Totals()

    def arriving(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _norm, args: totals.add(name, args[0])

    norms = batch_norms(net)
    with _as_defined(net), ExitStack() as hooks:
        for name, norm in norms.items():
            norm.training = True
            hooks.callback(setattr, norm, "track_running_stats", norm.track_running_stats)
            norm.track_running_stats = False  # so that the running statistics stay as they are
            hooks.enter_context(norm.register_forward_pre_hook(arriving(name)))
        for x, _ in batches if norms else ():
            net(x)
    return {name: moments(total) for name, total in totals.items()}


def batch_norms(net: nn.Module) -> dict[str, BatchNormalization]:
    """List the batch normalizations of a net that have running statistics by name, with those on shortcuts."""
    named = net.named_modules()
    return {name: norm for name, norm in named if isinstance(norm, BATCH_NORMS) and norm.running_mean is not None}


def running_errors(net: nn.Module, precise: Statistics) -> dict[str, tuple[float, float]]:
    """Measure how far running statistics lie from precise ones, by the norm's name: errors of means and of deviations.

    Both are root mean squares over channels: of (running mean - precise mean) / precise standard deviation, and of the
    natural logarithm of running standard deviation / precise standard deviation. `eps` is a part of each variance.
    """
    errors = []
    norms = batch_norms(net)
    for name, (mean, variance) in precise.items():
        norm = norms[name]
        whole = variance + epsilon(norm)
        off = (norm.get_buffer("running_mean") - mean) / whole.sqrt()
        ratio = ((norm.get_buffer("running_var") + epsilon(norm)) / whole).log() / 2
        errors.append(torch.stack([off, ratio]).square().mean(1).sqrt())
    return dict(zip(precise, map(tuple, torch.stack(errors).tolist()), strict=True)) if errors else {}


@contextmanager
def normalized_by(net: nn.Module, precise: Statistics) -> Iterator[None]:
    """Let a net normalize by precise statistics in evaluation mode, and afterwards by its running ones again."""
    before = []
    norms = batch_norms(net)
    for name in precise:
        norm = norms[name]
        for key, value in zip(("running_mean", "running_var"), precise[name], strict=True):
            buffer = norm.get_buffer(key)
            before.append((buffer, buffer.clone()))
            buffer.copy_(value)
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)


class Totals(dict[str, Tensor]):
    """Count, sum and sum of squares per channel, by name: float64 (3, C), on the device."""

    def add(self, name: str, x: Tensor) -> None:
        """Add a batch (N, C, ...). It is squared in float32, or in float64 if that is its type."""
        others = [0, *range(2, x.ndim)]
        sums = x.sum(others, dtype=torch.float64)
        squares = x.to(torch.promote_types(x.dtype, torch.float32)).square().sum(others, dtype=torch.float64)
        total = torch.stack([torch.full_like(sums, x.numel() // x.shape[1]), sums, squares])
        self[name] = self[name] + total if name in self else total


def moments(total: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and variance from counts, sums and sums of squares: (3, ...) -> (...), (...)."""
    count, sums, squares = total
    mean = sums / count
    return mean, (squares / count - mean.square()).clamp(min=0)


@contextmanager
def _as_defined(net: nn.Module) -> Iterator[None]:
    """Put a net into evaluation mode, computing by definition: nothing is fused, no kernel compiled for this."""
    options = {nn.Module: ("training", False), Block: ("fuse", False), BNReLUAdd: ("implementation", "eager")}
    set_to = [
        (module, *option) for module in net.modules() for kind, option in options.items() if isinstance(module, kind)
    ]
    before = [(module, key, getattr(module, key)) for module, key, _ in set_to]
    try:
        for module, key, value in set_to:
            setattr(module, key, value)
        with layer_by_layer():
            yield
    finally:
        for module, key, value in before:
            setattr(module, key, value)
