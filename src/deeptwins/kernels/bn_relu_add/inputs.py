"""The inputs of the operation, as one tuple: from the function and the module down to the Triton kernels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """What every implementation takes, already checked.

    The operator of `torch.library` takes the same fields, one by one and in this order.
    """

    x: Tensor
    """(N, C, H, W)."""
    residual: Tensor | None
    """Like x; None: nothing is added."""
    weight: Tensor | None
    """(C,), as are the next three."""
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    """(), int64; None: batches are not counted."""
    training: bool
    """Whether the statistics of the batch normalize it, and not the running ones."""
    momentum: float | None
    """The weight of this batch in the running statistics; None: they are averages over all batches."""
    eps: float
    relu_first: bool
    """Whether ReLU comes before the addition."""
    fork: bool
    """Whether y is used twice, so that it is returned twice and two gradients come back."""
