"""Nets for tests: one for every line of their tables, and for those that CONTRIBUTING adds as worked examples."""

import re
from contextlib import suppress

import torch

from deeptwins import nets
from deeptwins.nets import initialization, orders, shortcuts
from deeptwins.nets.families import FAMILIES
from deeptwins.nets.norms import NORMS, epsilon
from deeptwins.study.specs import Net
from pairwise import cross
from places import ROOT

TABLES = {
    "shortcut": shortcuts.SHORTCUTS,
    "block_order": orders.BLOCK_ORDERS,
    "initialization": initialization.INITIALIZATIONS,
    "norm": NORMS,
}


def examples():
    """Read CONTRIBUTING's worked examples: what they add to which table, by (field, name)."""
    text = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
    found = {}
    for module, code, line in re.findall(
        r"nets/(\w+)\.py`:\n\n```python\n(.*?)```.*?```python\n(.*?)```", text, re.DOTALL
    ):
        home = {"shortcuts": shortcuts, "orders": orders, "initialization": initialization}[module]
        names = {**vars(home)}  # no more: what is pasted into the module has no more
        exec(code, names)  # noqa: S102  our own text
        added = eval("{" + line + "}", names)  # noqa: S307
        field = {"shortcuts": "shortcut", "orders": "block_order", "initialization": "initialization"}[module]
        found |= {(field, name): value for name, value in added.items()}
    return found


EXAMPLES = examples()
LINES = [(field, name) for field, table in TABLES.items() for name in table]


def with_examples(monkeypatch):
    """Add the worked examples to the tables."""
    for (field, name), value in EXAMPLES.items():
        monkeypatch.setitem(TABLES[field], name, value)


def spec(family="cifar", depth=None, **fields):
    """Describe a small residual net; where the initialization needs another norm, it has that."""
    fields = {"shortcut": "zero-pad", "width": 4, **fields}
    needed = initialization.INITIALIZATIONS[fields.get("initialization", "he")].norms
    if "norm" not in fields and "batch" not in needed:
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
