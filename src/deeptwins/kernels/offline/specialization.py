"""What Triton's just-in-time compiler would compile for a launch, worked out without a GPU to launch it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

from deeptwins.kernels.bn_relu_add.inputs import Inputs
from deeptwins.kernels.bn_relu_add.traffic import Site
from deeptwins.kernels.formats import DTYPES, LAYOUTS
from deeptwins.kernels.offline.cases import Shape

if TYPE_CHECKING:
    from deeptwins.kernels.bn_relu_add.launches import Launch  # imports Triton, which may be missing

PREFIX = "bn_relu_add_"
TRITON_TYPES = {dtype: name for name, dtype in DTYPES.items()} | {torch.uint8: "u8", torch.int64: "i64"}

Argument = Tensor | float | None
Constant = str | int | None


@dataclass(frozen=True)
class Specialization:
    """All that Triton knows of a launch when it compiles. Launches with equal specializations share a binary."""

    kernel: str
    capability: int
    """Of the GPU, times ten: 90 is 9.0."""
    warps: int
    signature: tuple[tuple[str, str], ...]
    """The arguments that are not constants, and their types."""
    constants: tuple[tuple[str, Constant], ...]
    aligned: tuple[str, ...]
    """Arguments that are multiples of 16, as PyTorch's pointers are."""
    activations: tuple[str, ...]
    """Arguments that are whole activation tensors."""


def launches(site: Site, dtype: str, layout: str, shape: Shape, processors: int) -> list[Launch]:
    """Prepare the launches of a site as the operator does, for tensors without data.

    Args:
        site: where. Its batch norm is affine and keeps running statistics, and all its parameters are fp32.
        dtype: of the activations.
        layout: of the activations, by the name of PyTorch's memory format.
        shape: of the activations.
        processors: multiprocessors of the GPU.
    """
    from deeptwins.kernels.bn_relu_add import launches as prepare  # noqa: PLC0415

    x = torch.empty(shape, dtype=DTYPES[dtype], device="meta", memory_format=LAYOUTS[layout])
    residual = torch.empty_like(x) if site.residual else None
    other = torch.empty_like(x) if site.fork else None
    weight, bias, mean, var = (torch.empty(shape[1], device="meta") for _ in range(4))
    counter = torch.empty((), dtype=torch.int64, device="meta") if site.training else None
    relu_first = site.residual and site.order == "relu-add"
    inputs = Inputs(
        x, residual, weight, bias, mean, var, counter, site.training,
        momentum=0.1, eps=1e-5, relu_first=relu_first, fork=site.fork,
    )  # fmt: skip
    outputs = prepare.outputs(inputs, save=site.training)
    prepared = prepare.forward(outputs, processors, inputs)
    if site.training:
        _, _, stats, mask = outputs
        gradients = prepare.gradients(x, weight, bias, site.residual, relu_first, site.fork)
        prepared += prepare.backward(
            gradients, processors, torch.empty_like(x), other, x, weight, bias, stats, mask, site.training, relu_first
        )
    return prepared


def specialize(launch: Launch, capability: int) -> Specialization:
    """Do as Triton does at a launch: None and 1 become constants, and multiples of 16 are known as such.

    Arguments in a kernel's `do_not_specialize` stay arguments, of which nothing but the type is known. Where the kernel
    annotates a type, it has that one.
    """
    from deeptwins.kernels.tiles import WARPS  # noqa: PLC0415

    arguments: dict[str, Argument] = dict(zip(launch.kernel.arg_names, launch.arguments, strict=False))
    constants: dict[str, Constant] = {
        name: value if isinstance(value, int) else str(value) for name, value in launch.constants.items()
    }
    excepted = _excepted(launch.kernel)
    constants |= {name: value for name, value in arguments.items() if _fixed(value, excepted=name in excepted)}
    types = _annotated(launch.kernel)
    varying = {name: value for name, value in arguments.items() if name not in constants}
    return Specialization(
        kernel=launch.kernel.__name__.removeprefix(PREFIX),
        capability=capability,
        warps=WARPS,
        signature=tuple((name, types.get(name) or _type(value)) for name, value in varying.items()),
        constants=tuple(constants.items()),
        aligned=tuple(name for name, value in varying.items() if name not in excepted and _aligned(value)),
        activations=tuple(name for name, value in varying.items() if _like(value, arguments["x"])),
    )


def _excepted(kernel: Any) -> Sequence[str]:  # noqa: ANN401  Triton has no types
    """Return the arguments that a kernel does not specialize on, whether it is interpreted or not."""
    options = vars(kernel).get("kwargs", vars(kernel))
    return options.get("do_not_specialize") or ()


def _annotated(kernel: Any) -> dict[str, str]:  # noqa: ANN401
    """Return the types that a kernel annotates, by argument, as Triton names them."""
    import triton.language as tl  # noqa: PLC0415

    notes = {name: str(note).removeprefix("tl.") for name, note in kernel.fn.__annotations__.items()}
    types = {name: getattr(tl, note, None) for name, note in notes.items()}
    return {name: kind.name for name, kind in types.items() if isinstance(kind, tl.dtype)}


def _fixed(value: Argument, *, excepted: bool) -> TypeGuard[int | None]:
    return value is None or (isinstance(value, int) and value == 1 and not excepted)


def _type(value: Argument) -> str:
    if isinstance(value, Tensor):
        return f"*{TRITON_TYPES[value.dtype]}"
    return "i32" if isinstance(value, int) else "fp32"


def _aligned(value: Argument) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, int) and value % 16 == 0)


def _like(value: Argument, x: Argument) -> bool:
    """Tell whether an argument is an activation like x. One element that is expanded to x's shape has other strides."""
    if not isinstance(value, Tensor) or not isinstance(x, Tensor):
        return False
    return value.shape == x.shape and value.stride() == x.stride()
