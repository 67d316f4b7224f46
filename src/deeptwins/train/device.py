"""The device that nets are trained on, and what else a run ran on: processor, accelerator, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from deeptwins import __version__
from deeptwins.errors import InputError
from deeptwins.records import host
from deeptwins.study.specs import Recipe
from deeptwins.system import origins


def device(name: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means here.

    Raises:
        InputError: no device has this name, or there is no CUDA device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {name}: choose from auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA device on this machine; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def configure(recipe: Recipe, device: torch.device) -> None:
    """Make the arithmetic what the recipe says, and repeatable."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic cuBLAS asks for
        torch.use_deterministic_algorithms(mode=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        torch.backends.cuda.matmul.allow_tf32 = recipe.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = recipe.precision == "tf32"


def describe(device: str = "cpu") -> dict[str, Any]:
    """Describe this machine as a record does; the accelerator's fields are None unless the device is cuda."""
    gpu = driver = None
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        gpu = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        driver = _output("nvidia-smi", "--id=0", "--query-gpu=driver_version", "--format=csv,noheader")
    return {
        "device": device,
        "cpu": host.processor(),
        "cores": host.cores(),
        "memory_gib": host.memory_gib(),
        "gpu": gpu,
        "driver": driver,
        "cuda": torch.version.cuda if gpu else None,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": host.version("triton"),
        "numpy": metadata.version("numpy"),
        "deeptwins": __version__,
    }


def native_bf16(device: str) -> bool | None:
    """Whether a device computes in bf16 by itself; None where that is not known."""
    return torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else host.native_bf16()


def slow(recipes: Iterable[Recipe], device: str) -> list[str]:
    """Say in one line that recipes will be slow on a device that imitates their precision; nothing where none is."""
    if native_bf16(device) is not False or all(recipe.precision != "bf16" for recipe in recipes):
        return []
    what = "processor" if device == "cpu" else "GPU"
    return [f"precision bf16: this {what} has no instructions for it and imitates it, many times as slowly as fp32"]


def commit() -> str | None:
    """Name the commit of the checkout that this code lies in; None outside a checkout.

    `-dirty` is appended when files differ, except in results/ and reports/, where runs themselves write.
    """
    return origins.commit(Path(__file__), ":(top)", ":(top,exclude)results", ":(top,exclude)reports")


def _output(*command: str) -> str | None:
    """What a command prints; None where it fails or prints nothing."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip() or None
