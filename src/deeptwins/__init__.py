"""A benchmark and ablation harness for the degradation problem of deep networks."""

from importlib import import_module
from typing import Any

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401  __init__.pyi has the types
    """Load `load` when it is asked for: importing deeptwins loads no pandas."""
    if name == "load":
        return import_module("deeptwins.export.tables").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
