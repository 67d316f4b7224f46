"""Checkpoints: all that decides a run's remaining numbers, written atomically, checked when read."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import torch
from torch import Tensor

from deeptwins import records
from deeptwins.errors import InputError
from deeptwins.records import RunFiles
from deeptwins.records.fields import Amount, FromOne, FromZero, Strict
from deeptwins.system import regular

LARGEST = 2**35  # bytes
_DIGEST = hashlib.sha256().digest_size


class OptimizerState(Strict):
    """What PyTorch's optimizers save: `state`, by the number of a parameter, and `param_groups`."""

    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class TwinState(Strict):
    """What a state holds of a twin. The forms of its tensors are known to the twin alone: see `check_form`."""

    net: Any
    optimizer: OptimizerState
    seen: Any
    diverged_at: FromOne | None
    grown: bool


class RunState(Strict):
    """What a state holds."""

    iteration: FromZero
    twins: dict[str, TwinState]
    seconds: Amount = 0.0
    """Seconds spent on the run so far; absent in a state that is kept within a process."""


class UnusableCheckpointError(InputError):
    """A checkpoint is not what was written, or not of this run; it has been set aside."""


def save(files: RunFiles, state: dict[str, Any]) -> None:
    """Write a run's state of tensors, numbers and texts; a kill leaves the old checkpoint or the new one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    records.replace(files.checkpoint, hashlib.sha256(content).digest() + content)


def load(files: RunFiles) -> dict[str, Any] | None:
    """Read a run's state onto the CPU, or None where there is none.

    Raises:
        UnusableCheckpointError: the file is damaged; it has been set aside.
        OSError: it cannot be read, or is none.
    """
    try:
        content = regular.read(files.checkpoint, LARGEST)
    except FileNotFoundError:
        return None
    digest, content = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise set_aside(files)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  whatever PyTorch makes of what is no state
        raise set_aside(files) from None
    if not isinstance(state, dict):
        raise set_aside(files)
    return state


def set_aside(files: RunFiles, why: str = "damaged checkpoint") -> UnusableCheckpointError:
    """Move a checkpoint that cannot be used out of the way, and return the error that says so."""
    files.checkpoint.replace(files.corrupt)
    return UnusableCheckpointError(f"{files.checkpoint}: {why}, set aside as {files.corrupt.name}; the run starts over")


def check_form(saved: object, like: object) -> None:
    """Check that a part of a state has the form of another: types, keys, shapes; PyTorch checks not all of them.

    Raises:
        ValueError: it has another form.
    """
    if type(saved) is not type(like):
        raise ValueError(f"{type(saved)} for {type(like)}")
    if isinstance(saved, Tensor) and isinstance(like, Tensor):
        if (saved.shape, saved.dtype, saved.layout) != (like.shape, like.dtype, like.layout):
            raise ValueError(f"{saved.shape} of {saved.dtype} for {like.shape} of {like.dtype}")
    elif isinstance(saved, dict) and isinstance(like, dict):
        if saved.keys() != like.keys():
            raise ValueError(f"{list(saved)} for {list(like)}")
        for key, value in saved.items():
            check_form(value, like[key])
    elif isinstance(saved, list | tuple) and isinstance(like, list | tuple):
        for one, other in zip(saved, like, strict=True):
            check_form(one, other)


def check_optimizer(saved: OptimizerState, optimizer: torch.optim.Optimizer) -> None:
    """Check that the state of an optimizer is one of its parameters: a wrong shape crashes PyTorch's fused steps.

    Raises:
        ValueError: it is not.
    """
    for group, like in zip(saved.param_groups, optimizer.state_dict()["param_groups"], strict=True):
        lr = group["lr"]  # a number before the first step, then a tensor that a step may change
        check_form({**group, "lr": float(lr)}, {**like, "lr": float(like["lr"])})
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in saved.state.items():
        for name, value in values.items():
            wanted = parameters[number].shape
            if not isinstance(value, Tensor) or value.shape not in (wanted, ()) or value.dtype != torch.float32:
                raise ValueError(f"{name} of parameter {number}")
