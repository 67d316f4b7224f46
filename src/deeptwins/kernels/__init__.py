"""Fused operations: the eager definition of each, and what computes the same faster."""

from typing import TYPE_CHECKING, Any

from deeptwins.kernels.bn_relu_add.definition import IMPLEMENTATIONS, BNReLUAdd, bn_relu_add, unavailable

if TYPE_CHECKING:
    from deeptwins.kernels.conversion import convert

__all__ = ["IMPLEMENTATIONS", "BNReLUAdd", "bn_relu_add", "convert", "unavailable"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever is asked for
    """Load `convert` when it is asked for: it loads torchvision, a second, which nothing else here needs."""
    if name == "convert":
        from deeptwins.kernels.conversion import convert  # noqa: PLC0415

        return convert
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
