"""Transforms of PyTorch that compiled kernels cannot take part in, and eager operations can."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def functorch() -> bool:
    """Tell whether a transform of torch.func acts: grad, jvp, vmap, functionalize and the like."""
    return torch._C._are_functorch_transforms_active()  # noqa: SLF001  as torch.autograd asks


# As torch.compiler.assume_constant_result does, which would also load torch._dynamo; it guards the transforms itself.
functorch._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001


def transformed(*tensors: Tensor | None) -> bool:
    """Tell whether a transform acts, or one of the tensors has a tangent, of forward-mode differentiation."""
    return functorch() or any(t is not None and forward_ad.unpack_dual(t).tangent is not None for t in tensors)
