"""Initial weights: a function of (seed, parameter name) alone, so that what twins share starts bit-identical."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def he(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a weight (out, in, ...) from N(0, 2 / fan_in).

    He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    fan_in = weight[0].numel()
    weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)


INITIALIZATIONS: dict[str, Callable[[Tensor, torch.Generator], None]] = {"he": he}


@torch.no_grad()
def initialize(net: nn.Module, initialization: str, seed: int) -> None:
    """Set every parameter of a net on the CPU: convolutions and linear maps by rule, BN to 1 and 0, biases to 0."""
    for prefix, module in net.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if isinstance(module, nn.Conv2d | nn.Linear) and parameter.ndim > 1:
                INITIALIZATIONS[initialization](parameter, _generator(seed, name))
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)


def weights_sha256(net: nn.Module) -> str:
    """The SHA-256 of all parameters and buffers by name: equal for twins that start equal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
