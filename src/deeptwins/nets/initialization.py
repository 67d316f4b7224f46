"""Initial weights: a function of (seed, parameter name) alone, so that parameters that twins share start bit-identical.

To add an initialization, write what it changes and name it in `INITIALIZATIONS`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeptwins.nets.blocks import Block, blocks
from deeptwins.system.importing import Parts


@dataclass(frozen=True)
class Initialization:
    """How a net is changed that starts with He's weights, norms that are the identity, and biases of 0."""

    change: Callable[[nn.Module, int], object]
    """Changes the weights of a net, which came from this seed."""
    scale: float | None = None
    """The initial value of a learned scalar that every residual branch is multiplied by; None: there is none."""
    zeroes: bool = False
    """Whether the last thing in a residual branch that scales starts at 0."""
    norms: tuple[str, ...] | None = None
    """The norms that it can be used with; None: any."""


def he_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a weight (out, in, ...) from N(0, 2 / fan_in).

    He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    fan_in = weight[0].numel()
    weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)


def he(_net: nn.Module, _seed: int) -> None:
    """Leave the net as it is: He et al. 2015, "Delving deep into rectifiers"."""


def zero_gamma(net: nn.Module, _seed: int) -> None:
    """Start every residual branch at 0, by the weight of its last norm, or of its last convolution.

    Goyal et al. 2017, "Accurate, large minibatch SGD", section 5.1. Blocks without a shortcut are left as they are.
    """
    for block in blocks(net):
        if block.residual:
            zero_branch(block)


def fixup(net: nn.Module, _seed: int) -> None:
    """Scale residual branches of m layers by L^(-1 / (2m - 2)), of L branches, and zero their last convolution.

    Zhang et al. 2019, "Fixup initialization", section 3.2; the linear map starts at 0, too. Blocks without a shortcut
    are left as they are.
    """
    branches = [block for block in blocks(net) if block.residual]
    for block in branches:
        *inner, (last, _) = block.layers
        for conv, _ in inner:
            conv.get_parameter("weight").mul_(len(branches) ** (-1.0 / (2 * block.depth - 2)))
        last.get_parameter("weight").zero_()
    net.get_parameter("linear.weight").zero_()


INITIALIZATIONS = Parts(
    {
        "he": Initialization(he),
        "zero-gamma": Initialization(zero_gamma, zeroes=True),
        "fixup": Initialization(fixup, scale=1.0, zeroes=True, norms=("scalar",)),
        # De and Smith 2020, "Batch normalization biases residual blocks towards the identity function", section 4.
        "skipinit": Initialization(he, scale=0.0, norms=("none", "scalar")),
        # Bachlechner et al. 2020, "ReZero is all you need", equation 1.
        "rezero": Initialization(he, scale=0.0),
    },
    wrap=Initialization,
    called=("net", "seed"),
    returns=(type(None), nn.Module),
)


def zero_branch(block: Block) -> None:
    """Make a block's branch 0 by the weight of its last norm, or of its last convolution if no norm ends the branch."""
    conv, norm = block.layers[-1]
    last = norm if block.order.ends_in_norm and hasattr(norm, "weight") else conv
    last.get_parameter("weight").zero_()


@torch.no_grad()
def initialize(net: nn.Module, initialization: str, seed: int) -> None:
    """Set every parameter of a net on the CPU: convolutions and linear maps by rule, norms to the identity."""
    for prefix, module in net.named_modules():
        start = getattr(module, "start", {})
        for name, parameter in module.named_parameters(prefix, recurse=False):
            leaf = name.rpartition(".")[2]
            if isinstance(module, nn.Conv2d | nn.Linear) and parameter.ndim > 1:
                he_normal(parameter, generator(seed, name))
            else:
                parameter.fill_(start.get(leaf, 1.0 if leaf == "weight" else 0.0))
    INITIALIZATIONS[initialization].change(net, seed)


def weights_sha256(net: nn.Module) -> str:
    """Hash all parameters and buffers by name: nets that start equal have the same SHA-256."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def generator(seed: int, name: str) -> torch.Generator:
    """Make the generator that the parameter of a name is drawn from."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
