"""Checkpoints: all that decides a run's remaining numbers, written atomically, checked when read."""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import Any

import torch

from deeptwins import records
from deeptwins.errors import InputError
from deeptwins.records import RunFiles

_DIGEST = hashlib.sha256().digest_size


class CorruptCheckpointError(InputError):
    """A checkpoint is not what was written."""


def save(files: RunFiles, state: dict[str, Any]) -> None:
    """Write a run's state of tensors, numbers and texts; a kill leaves the old checkpoint or the new one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    records.replace(files.checkpoint, hashlib.sha256(content).digest() + content)


def load(files: RunFiles) -> dict[str, Any] | None:
    """Read a run's state onto the CPU, or None where there is none.

    Raises:
        CorruptCheckpointError: the file is damaged; it has been set aside.
    """
    try:
        content = files.checkpoint.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise set_aside(files)
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):
        raise set_aside(files) from None
    return state


def set_aside(files: RunFiles) -> CorruptCheckpointError:
    """Move a checkpoint that cannot be used out of the way, and return the error that says so."""
    files.checkpoint.replace(files.corrupt)
    return CorruptCheckpointError(
        f"{files.checkpoint}: damaged checkpoint, set aside as {files.corrupt.name}; the run starts over"
    )
