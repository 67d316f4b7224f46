"""What Triton's just-in-time compiler would compile for a launch, found out where there is no GPU to launch it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

from deeptwins.kernels.bn_relu_add.traffic import Site
from deeptwins.kernels.offline.cases import Shape

if TYPE_CHECKING:
    from deeptwins.kernels.bn_relu_add.launches import Launch  # Triton, which is imported by those alone who have it

PREFIX = "bn_relu_add_"
TYPES = {
    torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32", torch.uint8: "u8", torch.int64: "i64",
}  # fmt: skip
DTYPES = {name: dtype for dtype, name in TYPES.items()}
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}

Argument = Tensor | float | None
Constant = str | int | None


@dataclass(frozen=True)
class Specialization:
    """All that Triton knows of a launch when it compiles it. Launches of equal specializations share a binary."""

    kernel: str
    capability: int
    """Of the GPU, times ten: 90 is 9.0."""
    warps: int
    signature: tuple[tuple[str, str], ...]
    """The arguments that are no constants, and their types."""
    constants: tuple[tuple[str, Constant], ...]
    aligned: tuple[str, ...]
    """Arguments that are multiples of 16, as PyTorch's pointers are."""
    activations: tuple[str, ...]
    """Arguments that are whole activation tensors."""


def launches(site: Site, dtype: str, layout: str, shape: Shape, processors: int) -> list[Launch]:
    """Prepare the launches of a site as the operator does, for tensors without data.

    Args:
        site: with an affine batch norm that keeps running statistics, all its parameters fp32.
        dtype: of the activations.
        layout: of the activations, by the name of PyTorch's memory format.
        shape: of the activations.
        processors: multiprocessors of the GPU.
    """
    from deeptwins.kernels.bn_relu_add import launches as prepare  # noqa: PLC0415

    x = torch.empty(shape, dtype=DTYPES[dtype], device="meta", memory_format=FORMATS[layout])
    residual, other = (torch.empty_like(x) if wanted else None for wanted in (site.residual, site.fork))
    weight, bias, mean, var = (torch.empty(shape[1], device="meta") for _ in range(4))
    counter = torch.empty((), dtype=torch.int64, device="meta") if site.training else None
    relu_first = site.residual and site.order == "relu-add"
    made = prepare.outputs(x, residual, relu_first, site.fork, save=site.training)
    found = prepare.forward(
        made, processors, x, residual, weight, bias, mean, var, counter, site.training, 0.1, 1e-5, relu_first
    )
    if site.training:
        _, _, stats, mask = made
        made = prepare.gradients(x, weight, bias, site.residual, relu_first, site.fork)
        found += prepare.backward(
            made, processors, torch.empty_like(x), other, x, weight, bias, stats, mask, site.training, relu_first
        )
    return found


def specialize(launch: Launch, capability: int) -> Specialization:
    """Do as Triton at a launch: None and 1 become constants, and it knows of other arguments which 16 divides.

    It knows less of the arguments that a kernel excepts by `do_not_specialize`, and takes the types that it annotates.
    """
    from deeptwins.kernels.tiles import WARPS  # noqa: PLC0415

    arguments: dict[str, Argument] = dict(zip(launch.kernel.arg_names, launch.arguments, strict=False))
    constants: dict[str, Constant] = {
        name: value if isinstance(value, int) else str(value) for name, value in launch.constants.items()
    }
    excepted = _excepted(launch.kernel)
    constants |= {name: value for name, value in arguments.items() if _fixed(value, excepted=name in excepted)}
    types = _annotated(launch.kernel)
    given = {name: value for name, value in arguments.items() if name not in constants}
    return Specialization(
        kernel=launch.kernel.__name__.removeprefix(PREFIX),
        capability=capability,
        warps=WARPS,
        signature=tuple((name, types.get(name) or _type(value)) for name, value in given.items()),
        constants=tuple(constants.items()),
        aligned=tuple(name for name, value in given.items() if name not in excepted and _aligned(value)),
        activations=tuple(name for name, value in given.items() if _like(value, arguments["x"])),
    )


def _excepted(kernel: Any) -> Sequence[str]:  # noqa: ANN401  Triton has no types
    """Return the arguments of which a kernel wants to know the types alone, whether it is interpreted or not."""
    options = vars(kernel).get("kwargs", vars(kernel))
    return options.get("do_not_specialize") or ()


def _annotated(kernel: Any) -> dict[str, str]:  # noqa: ANN401
    """Return the types that a kernel gives its arguments, as Triton names them."""
    import triton.language as tl  # noqa: PLC0415

    notes = {name: str(note).removeprefix("tl.") for name, note in kernel.fn.__annotations__.items()}
    types = {name: getattr(tl, note, None) for name, note in notes.items()}
    return {name: kind.name for name, kind in types.items() if isinstance(kind, tl.dtype)}


def _fixed(value: Argument, *, excepted: bool) -> TypeGuard[int | None]:
    return value is None or (isinstance(value, int) and value == 1 and not excepted)


def _type(value: Argument) -> str:
    if isinstance(value, Tensor):
        return f"*{TYPES[value.dtype]}"
    return "i32" if isinstance(value, int) else "fp32"


def _aligned(value: Argument) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, int) and value % 16 == 0)


def _like(value: Argument, x: Argument) -> bool:
    """Tell whether an argument is an activation like x, and not one element that only looks so."""
    return (
        isinstance(value, Tensor) and isinstance(x, Tensor) and (value.shape, value.stride()) == (x.shape, x.stride())
    )
