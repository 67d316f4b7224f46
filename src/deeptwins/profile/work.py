"""What an op must do, given its arguments: its kind of work, and the bytes that it moves.

`bench/counting.py` sums up bytes, too, on purpose with code of its own: it counts for the gate, which compares two
commits by one yardstick, and so must not change with the package that it measures.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from deeptwins.records.profiles import PARTS

SCALARS = 64  # bytes: an op that moves no more is bookkeeping, as a counter of batches, or a view
# Modules outside the blocks, by kind of work. `PARTS` of nets/inspection.py has them by place, where pool is stem.
POOLING_AND_LINEAR = {"pool", "average", "flatten", "linear"}
KINDS = {  # by a word in an op's name, the first that fits
    "bn_relu_add": "fused BN-ReLU-add",
    "convolution": "convolution",
    "batch_norm": "normalization",
    "relu": "ReLU",
    "threshold": "ReLU",
    # In nets of one's own.
    "layer_norm": "normalization",
    "group_norm": "normalization",
    "attention": "attention",
    "softmax": "attention",
    "gelu": "activation",
    "silu": "activation",
    "mm": "matrix product",
}
ALLOCATES = ("empty", "new_empty")  # ops whose names begin so move nothing
OVERWRITES = {"zero_", "fill_", "copy_"}  # write what they do not read
GATHERS = {"index", "index_select", "gather"}  # read only as much of their source as they write
# Arguments that are only read, though the op's schema says that they are written.
ONLY_READ = {"_fused_sgd_": {"grads"}, "_fused_adam_": {"grads"}}


def kind_of(op: str, layer: str, moved: int) -> str:
    """Say what kind of work an op is: by where it is called, by its name, and by how many bytes it moves."""
    if layer in PARTS:
        return layer
    if moved <= SCALARS:
        return "other"
    if layer in POOLING_AND_LINEAR:
        return "pooling and linear map"
    for word, kind in KINDS.items():
        if word in op:
            return kind
    if op.strip("_") == "add":
        return "addition"
    return "shortcut" if ".shortcut" in layer else "other"


def moved(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:  # noqa: ANN401
    """Count the bytes that an op must move: each tensor that it reads or writes once. Views move nothing."""
    name = func._schema.name.split("::")[1]  # noqa: SLF001
    if func.is_view or name.startswith(ALLOCATES):
        return 0
    read: dict[Any, int] = {}
    written: dict[Any, int] = {}
    storages = set()
    for i, argument in enumerate(func._schema.arguments):  # noqa: SLF001
        value = args[i] if i < len(args) else kwargs.get(argument.name)
        for tensor in _tensors(value):
            storages.add(tensor.untyped_storage()._cdata)  # noqa: SLF001
            alias = argument.alias_info
            writes = alias is not None and alias.is_write and argument.name not in ONLY_READ.get(name, ())
            if writes:
                written[_key(tensor)] = _bytes(tensor)
            if not (writes and name in OVERWRITES):
                read[_key(tensor)] = _bytes(tensor)
    for tensor in _tensors(out):
        if tensor.untyped_storage()._cdata not in storages:  # noqa: SLF001
            written[_key(tensor)] = _bytes(tensor)
    if name in GATHERS:
        source = _key(args[0])
        read[source] = min(read[source], sum(written.values()))
    if not written and not isinstance(out, int | float | bool):
        return 0  # it returns its argument under another shape
    return sum(read.values()) + sum(written.values())


def _tensors(value: Any) -> list[Tensor]:  # noqa: ANN401
    if isinstance(value, Tensor):
        return [value]
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _key(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _bytes(tensor: Tensor) -> int:
    """Count the bytes of memory that a tensor's elements lie in; those of an expanded tensor share some."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or not size)
    return math.prod(sizes) * tensor.element_size()
