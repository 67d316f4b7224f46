"""Nets for tests: one for every line of their tables, and for the worked examples of parts of one's own."""

from contextlib import suppress

import torch

import parts_made
from deeptwins import nets
from deeptwins.nets import initialization, orders, shortcuts
from deeptwins.nets.families import FAMILIES
from deeptwins.nets.norms import NORMS, epsilon
from deeptwins.study.specs import Net
from pairwise import cross

TABLES = {
    "shortcut": shortcuts.SHORTCUTS,
    "block_order": orders.BLOCK_ORDERS,
    "initialization": initialization.INITIALIZATIONS,
    "norm": NORMS,
}


EXAMPLES = [(field, name) for field, name in parts_made.NAMED.items() if field in TABLES]
"""The worked examples of docs/parts.md, by the field that takes them."""
LINES = [(field, name) for field, table in TABLES.items() for name in table]
parts_made.install()
NAMES = {field: [*table, *(name for other, name in EXAMPLES if other == field)] for field, table in TABLES.items()}


def spec(family="cifar", depth=None, **fields):
    """Describe a small residual net; where the initialization needs another norm, it has that."""
    fields = {"shortcut": "zero-pad", "width": 4, **fields}
    needed = initialization.INITIALIZATIONS[fields.get("initialization", "he")].norms
    if "norm" not in fields and needed and "batch" not in needed:
        fields["norm"] = needed[0]
    return Net(family=family, depth=depth or smallest(family), **fields)


def possible(describe, **factors):
    """Give every combination of these factors' values of which a net can be built, as {factor: value}.

    Args:
        describe: makes the net's description of such a combination.
        factors: the values of each, such as the names of a table.
    """
    for case in cross(**factors):
        with suppress(ValueError):
            nets.check(describe(case))
            yield case


def smallest(family):
    """The least depth that a family has."""
    for depth in range(1, 10_000):
        with suppress(ValueError):
            FAMILIES[family](depth)
            return depth
    raise AssertionError(family)


def build(net, channels=3, classes=10, seed=0):
    """Build a net."""
    return nets.build(net, channels, classes, seed)


def images(count=8, channels=3, size=8, seed=0):
    """Make images of noise, float32 (N, C, H, W)."""
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def shaken(net, seed=1):
    """Move every parameter and running statistic of a net away from where it starts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.add_(0.3 * (noise if name.endswith("running_var") else noise - 0.5))
    return net


def bn(norm, x):
    """Batch normalization in evaluation, by its definition."""
    mean, var, weight, bias = (t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    return (x - mean) / (var + epsilon(norm)).sqrt() * weight + bias


def identity(block, x):
    """Every second pixel where the stride is 2, and zeros for the channels that x does not have."""
    if block.conv1.stride == (2, 2):
        x = x[:, :, [2 * i for i in range((x.shape[2] + 1) // 2)]][..., [2 * i for i in range((x.shape[3] + 1) // 2)]]
    zeros = x.new_zeros(len(x), block.conv1.out_channels - x.shape[1], *x.shape[2:])
    return torch.cat([x, zeros], 1)
