"""What `deeptwins profile` leaves behind: `results/profile/<name>.json`, one row of a table a line.

MAKE writes it (`profiling.py`), READ renders it (`profile_report.py`). Units are in the names of fields. Numbers of an
op or kernel are those of one step, medians over the steps that were profiled.

History of the format:
    1  the first
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from deeptwins.errors import InputError
from deeptwins.records import tables
from deeptwins.records.tables import Count, Positive, Row, Text

SCHEMA = 1
COMMAND = "deeptwins profile"
BATCH, LOSS, OPTIMIZER = PARTS = ("batch", "loss and sums", "optimizer")  # of a step: no layers

Amount = Annotated[float, Field(ge=0)]

LEAST_BYTES = (
    "The least possible bytes of a step are a model: 9 passes over the output of every convolution in a plain net, 10"
    " in a residual one, with batch normalization, ReLU and addition inside the convolutions before and behind."
)


class Rate(Row):
    """What the device can do at most, as measured just before."""

    precision: str
    copy_bytes_per_s: Positive
    """Of a copy: bytes read and written."""
    flops_per_s: Positive
    """Of the product of two large matrices in this precision."""


class Step(Row):
    """A net, and its whole step."""

    net: Text
    """By which ops and kernels name it."""
    family: str
    depth: Count
    shortcut: str
    parameters: Count
    dataset: str
    image: str
    """CxHxW."""
    batch_size: Count
    precision: str
    """One that a rate is given for."""
    optimizer: str
    step_us: Positive
    """By the clock, without a profiler, as the trainer takes it: the median."""
    fastest_us: Positive
    slowest_us: Positive
    issued_us: Positive | None = None
    """The same issued kernel by kernel, as it is profiled: the median; None on a CPU, where there is no difference."""
    profiled_us: Positive
    """The same while it is profiled."""
    least_bytes: Count
    """That any implementation must move: a model."""


class Op(Row):
    """An op of a net in one layer and direction, all its calls together."""

    net: Text
    layer: str
    """As `deeptwins show --layers` names it, or a part of the step that is no layer."""
    direction: Literal["forward", "backward", "optimizer"]
    kind: str
    op: str
    calls: Amount
    launches: Amount
    """Of kernels on a GPU; on a CPU the calls that move something."""
    time_us: Amount
    bytes: Amount
    """Tensors read and written."""
    flops: Amount
    floor_us: Amount
    """The longer of the bytes at the rate of a copy, and the FLOPs at that of a product, call by call."""


class Kernel(Row):
    """A kernel of a GPU, or on a CPU an op below the op, with its own time."""

    net: Text
    kind: str
    kernel: str
    calls: Amount
    time_us: Amount


class Profile(Row):
    """The file's content."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: Text
    """Of the study, or of the networks."""
    command: Text
    """That made it, but for where files lie."""
    date: str
    """UTC."""
    commit: str | None
    machine: Mapping[str, str | int | float | None]
    threads: Count
    """Of the processor."""
    steps: Annotated[int, Field(ge=1)]
    """That were timed, and as many profiled."""
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    nets: Annotated[tuple[Step, ...], Field(min_length=1)]
    ops: Annotated[tuple[Op, ...], Field(min_length=1)]
    kernels: tuple[Kernel, ...]


def path_of(results: Path, name: str) -> Path:
    """Where the profile of a study, or of networks, lies."""
    return results / "profile" / f"{name}.json"


def write(path: Path, profile: Profile) -> None:
    """Write the file, at once or not at all. The same content gives the same bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    tables.write(path, profile)


def read(path: Path) -> Profile:
    """Read the file.

    Raises:
        InputError: it is not there, damaged, or of a newer deeptwins.
    """
    profile = tables.read(path, Profile, SCHEMA, COMMAND)
    _check(profile, path, tables.again(COMMAND))
    return profile


def _check(profile: Profile, path: Path, again: str) -> None:
    """Refuse rows that name what the file does not have."""
    nets = [step.net for step in profile.nets]
    if len({*nets}) < len(nets):
        raise InputError(f"{path}: nets: one of them stands there twice; {again}")
    if lost := ({op.net for op in profile.ops} | {kernel.net for kernel in profile.kernels}) - {*nets}:
        raise InputError(f"{path}: ops of {min(lost)}, which is not among its nets; {again}")
    if bare := {*nets} - {op.net for op in profile.ops if op.time_us}:
        raise InputError(f"{path}: no op of {min(bare)} took any time; {again}")
    if lost := {step.precision for step in profile.nets} - {rate.precision for rate in profile.rates}:
        raise InputError(f"{path}: no rate for {min(lost)}; {again}")
