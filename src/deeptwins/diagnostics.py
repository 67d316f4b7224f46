"""Diagnostics of trained nets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from deeptwins.kernels import BNReLUAdd


@torch.inference_mode()
def layer_responses(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Measure the standard deviation of each 3x3 layer's output after BN, before addition and ReLU, over all the data.

    He et al. 2015, figure 7. In evaluation mode; by the name of the layer's BN, in order of execution.
    """
    layers = {name: module for name, module in net.named_modules() if isinstance(module, BNReLUAdd)}
    sums: dict[str, Tensor] = {}
    count: dict[str, int] = dict.fromkeys(layers, 0)

    def hook(name: str) -> Callable[[BNReLUAdd, tuple[Tensor, ...]], None]:
        def measure(module: BNReLUAdd, inputs: tuple[Tensor, ...]) -> None:
            response = module.normalize(inputs[0]).double()
            moments = torch.stack([response.sum(), response.square().sum()])
            sums[name] = sums[name] + moments if name in sums else moments
            count[name] += response.numel()

        return measure

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in layers.items()]
    try:
        net.eval()
        for x, _ in batches:
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    deviations = {}
    for name, moments in sums.items():
        mean, square = (moments / count[name]).tolist()
        deviations[name] = math.sqrt(max(0.0, square - mean**2))
    return deviations
