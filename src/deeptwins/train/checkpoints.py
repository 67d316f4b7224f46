"""Checkpoints: all that decides a run's remaining numbers, written atomically, checked when read."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from deeptwins import records
from deeptwins.errors import InputError

_DIGEST = hashlib.sha256().digest_size


class CorruptCheckpointError(InputError):
    """A checkpoint is not what was written."""


def path_of(results: Path, study: str, run_id: str) -> Path:
    """Where a run's checkpoint lies while the run is unfinished."""
    return results / study / f"{run_id}.checkpoint"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers and texts; a kill leaves the old checkpoint or the new one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    records.replace(path, hashlib.sha256(content).digest() + content)


def load(path: Path) -> dict[str, Any] | None:
    """Read a state onto the CPU, or None where there is none.

    Raises:
        CorruptCheckpointError: the file is damaged; it has been set aside.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise set_aside(path)
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):
        raise set_aside(path) from None
    return state


def set_aside(path: Path) -> CorruptCheckpointError:
    """Move a checkpoint that cannot be used out of the way, and return the error that says so."""
    aside = path.with_suffix(".corrupt")
    path.replace(aside)
    return CorruptCheckpointError(f"{path}: damaged checkpoint, set aside as {aside.name}; the run starts over")
