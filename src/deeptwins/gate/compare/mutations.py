"""Source changes that make something worse on purpose: what the gate must find when it tests itself.

Each is one replacement of text, made in a scratch checkout. What the code computes stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deeptwins.errors import InputError, naming


@dataclass(frozen=True)
class Mutation:
    """A replacement in one file."""

    name: str
    words: str
    """What it does."""
    file: str
    """In the checkout."""
    old: str
    new: str
    metric: str
    """The exact metric that must show it."""


_ALL = (
    Mutation(
        name="a lost vector load",
        words="The channels of a tile are clamped to those that there are, which changes none of them; but the compiler"
        " no longer sees that they are neighbours in memory.",
        file="src/deeptwins/kernels/tiles.py",
        old="""
        c = c * BC + tl.arange(0, BC)
    return N * HW, c, split
""",
        new="""
        c = tl.minimum(c * BC + tl.arange(0, BC), tl.num_programs(0) * BC - 1)
    return N * HW, c, split
""",
        metric="vector_share",
    ),
    Mutation(
        name="one extra kernel",
        words="The fused operation computes the statistics of a batch twice.",
        file="src/deeptwins/kernels/bn_relu_add/launches.py",
        old="""
        launches.append(Launch(kernels.bn_relu_add_statistics, tiling.grid, arguments, constants))
""",
        new="""
        again = (x, partial, None, tiling.N, tiling.tiles)
        launches.append(Launch(kernels.bn_relu_add_statistics, tiling.grid, again, constants))
        launches.append(Launch(kernels.bn_relu_add_statistics, tiling.grid, arguments, constants))
""",
        metric="launches_forward",
    ),
    Mutation(
        name="a graph break",
        words="torch.compile cannot take a net as one graph: it breaks behind the first convolution.",
        file="src/deeptwins/nets/families.py",
        old="""
        x = self.conv(x)
        if self.pool is None:
""",
        new="""
        x = self.conv(x)
        from torch import _dynamo

        _dynamo.graph_break()
        if self.pool is None:
""",
        metric="graph_breaks",
    ),
    Mutation(
        name="an import of torch",
        words="The module that reads records imports torch, which takes longer than all else that a report needs.",
        file="src/deeptwins/records/runs.py",
        old="""
import json
import os
""",
        new="""
import json
import os

import torch  # noqa: F401
""",
        metric="torch",
    ),
)
MUTATIONS: Mapping[str, Mutation] = {mutation.name: mutation for mutation in _ALL}


def apply(mutation: Mutation, root: Path) -> None:
    """Change a checkout.

    Raises:
        InputError: the text to be replaced does not stand there exactly once.
        OSError: the file cannot be written.
    """
    path = root / mutation.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (times := text.count(mutation.old)) != 1:
        raise InputError(
            f"{mutation.file}: the change {mutation.name!r} no longer applies: its text is there {times} times, not 1"
        )
    with naming(path):
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
