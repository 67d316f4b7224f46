"""Nets of one's own for tests: small ones that work, named `own_nets:NAME` in a study, and slips."""

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from deeptwins.study.specs import Net


def spec(name="small", depth=2, **fields):
    """Describe a net of this file."""
    return Net(**{"family": f"own_nets:{name}", "depth": depth, "width": 4, **fields})


class Small(nn.Module):
    """Convolutions with their norms, and parameters of every kind: constant, drawn, in part, about a mean."""

    def __init__(self, channels, classes, depth, width, skip):
        super().__init__()
        self.skip = skip
        self.stem = nn.Conv2d(channels, width, 3, stride=2)
        self.scales = nn.Parameter(torch.full((width, 1, 1), 0.1))
        self.token = nn.Parameter(torch.zeros(width))
        self.place = nn.Parameter(0.02 * torch.randn(1, width, 1, 1))
        self.gain = nn.Parameter(1 + 0.1 * torch.randn(width, 1, 1))
        self.words = nn.Embedding(5, width, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(depth))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(depth))
        nn.init.zeros_(self.norms[0].weight)
        self.register_buffer("order", torch.randperm(width))
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = self.stem(x) * self.gain + self.place
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = F.relu(norm(conv(x)))
            x = x + self.scales * y if self.skip else y
        y = x.view(len(x), -1).view(x.shape).mean((2, 3))  # `view` needs the usual order of memory
        return self.head(y[:, self.order] + self.token + self.words(torch.tensor([1])))


def small(channels, classes, depth, width, *, skip=True):
    """Make a net that has parameters of every kind."""
    return Small(channels, classes, depth, width, skip)


def before_others(channels, classes, depth, width):
    """Make the same net after drawing something else."""
    torch.rand(7 * depth)
    random.random()  # noqa: S311
    np.random.rand(3)  # noqa: NPY002
    return Small(channels, classes, depth, width, skip=True)


class Table(nn.Module):
    """One bare parameter, and nothing else."""

    def __init__(self, channels, classes):
        super().__init__()
        self.table = nn.Parameter(0.1 * torch.randn(channels, classes))

    def forward(self, x):
        """Images (N, C, H, W) -> logits (N, classes)."""
        return x.mean((2, 3)) @ self.table


class Shared(nn.Module):
    """Two modules around one and the same linear map."""

    def __init__(self, channels, classes):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(channels, channels))
        self.second = nn.Sequential(self.first[0], nn.Linear(channels, classes))

    def forward(self, x):
        """Images (N, C, H, W) -> logits (N, classes)."""
        return self.second(self.first(x.mean((2, 3))))


def shared(channels, classes, depth, width):
    """Make a net in which two modules share a third."""
    return Shared(channels, classes)


def bare(channels, classes, depth, width):
    """Make a net without any convolution, linear map or norm."""
    return Table(channels, classes)


class Drawing(Table):
    """Draws in training, from the generators of Python and of NumPy."""

    def forward(self, x):
        """Images (N, C, H, W) -> logits (N, classes)."""
        factor = random.random() + np.random.rand() if self.training else 1.0  # noqa: NPY002, S311
        return factor * super().forward(x)


def drawing(channels, classes, depth, width):
    """Make a net that draws in training."""
    return Drawing(channels, classes)


class Returning(nn.Module):
    """Returns something that a test chooses, of its logits."""

    def __init__(self, channels, classes, change, *, training=False):
        super().__init__()
        self.linear, self.change, self.only = nn.Linear(channels, classes), change, training

    def forward(self, x):
        """Images (N, C, H, W) -> logits (N, classes)."""
        logits = self.linear(x.mean((2, 3)))
        return self.change(logits) if self.training or not self.only else logits


def returns(channels, classes, depth, width, *, what="tuple", training=False):  # noqa: PLR0913
    """Make a net that returns what it must not."""
    changes = {"tuple": lambda y: (y, y), "shape": lambda y: y[:, 1:], "one": lambda y: y[:1], "int": torch.Tensor.long}
    return Returning(channels, classes, changes[what], training=training)


def fails(channels, classes, depth, width, *, how="make"):
    """Fail, in some way, when made or run."""
    if how == "make":
        raise KeyError(depth)
    if how == "exit":
        raise SystemExit(3)
    if how == "dict":
        return {}
    net = Returning(channels, classes, lambda y: y.no_such_thing)
    if how == "lazy":
        net.linear = nn.LazyLinear(classes)
    elif how == "double":
        net.double()
    elif how == "unfilled":
        net.scale = nn.Parameter(torch.empty(width))
    elif how == "frozen":
        net.requires_grad_(requires_grad=False)
    elif how == "another":
        net.linear = nn.Linear(channels, int(torch.randint(10, 1000, ())))
    return net


def one_digit(channels, classes):
    """Lacks depth and width."""


class Attending(nn.Module):
    """Attention, whose products belong to no module."""

    def __init__(self, channels, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 2, stride=2), nn.Flatten(2))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = self.body(x).transpose(1, 2)
        return self.head(self.attention(x, x, x)[0].mean(1))


def wrapped(channels, classes, depth, width):
    """Make a net that is all there is in another one."""

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Attending(channels, classes)

        def forward(self, x):
            """Images (N, C, H, W) -> logits (N, classes)."""
            return self.net(x)

    return Wrapper()


def before(channels, classes, depth, width):
    """Make a net that begins with a norm."""
    first = nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width)
    return nn.Sequential(*first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
