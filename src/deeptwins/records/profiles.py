"""What `deeptwins profile` leaves behind: `results/profile/<name>.json`, one row of a table per line.

`deeptwins.profile` writes it, `deeptwins.pages.profile` makes a page of it. Units are in the names of fields. Numbers
of an op or kernel are those of one step, medians over the steps that were profiled.

History of the format:
    1  the first
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from deeptwins.errors import InputError
from deeptwins.records import tables
from deeptwins.records.fields import Amount, FromZero, Positive, Row, Text
from deeptwins.records.kinds import PartCode

SCHEMA = 1
COMMAND = "deeptwins profile"
BATCH, LOSS, OPTIMIZER = PARTS = ("batch", "loss and sums", "optimizer")  # parts of a step that are no layers

LEAST_BYTES = (
    "The least bytes of a step are modelled: 9 passes over the output of every convolution in a plain net, 10 in a"
    " residual one. This assumes that batch normalization, ReLU and addition are fused into the convolutions around."
)


class Rate(Row):
    """What the device can do at most, the best of several measurements around those of the nets: its roofline."""

    precision: str
    copy_bytes_per_s: Positive
    """Of a copy: bytes read and written."""
    flops_per_s: Positive
    """Of the product of two large matrices in this precision."""

    def roofline_s(self, moved: int, flops: int) -> float:
        """The least seconds for so many bytes and FLOPs, which can overlap."""
        return max(moved / self.copy_bytes_per_s, flops / self.flops_per_s)

    def best(self, other: Rate) -> Rate:
        """Take the higher of two measurements: other work on the machine can only lower one."""
        return Rate(
            precision=self.precision,
            copy_bytes_per_s=max(self.copy_bytes_per_s, other.copy_bytes_per_s),
            flops_per_s=max(self.flops_per_s, other.flops_per_s),
        )


class Step(Row):
    """A net, and its whole step."""

    net: Text
    """The name by which ops and kernels refer to it."""
    family: str
    depth: FromZero
    shortcut: str
    parameters: FromZero
    dataset: str
    image: str
    """CxHxW."""
    batch_size: FromZero
    precision: str
    """The profile has a `Rate` for it."""
    optimizer: str
    step_us: Positive
    """By the clock, without a profiler, issued as the trainer does: the median."""
    fastest_us: Positive
    slowest_us: Positive
    issued_us: Positive | None = None
    """The same step issued kernel by kernel, as when profiled: the median; None on a CPU, where it is the same."""
    profiled_us: Positive
    """The same step while it is profiled."""
    least_bytes: FromZero
    """The bytes that any implementation must move: modelled, not measured."""


class Op(Row):
    """An op of a net in one layer and direction; its calls are summed up."""

    model_config = ConfigDict(populate_by_name=True)

    net: Text
    layer: str
    """As `deeptwins show --layers` names it, or a part of the step that is no layer."""
    direction: Literal["forward", "backward", "optimizer"]
    kind: str
    op: str
    calls: Amount
    launches: Amount
    """Kernels launched on a GPU; on a CPU, the calls that move something."""
    time_us: Amount
    bytes: Amount
    """Tensors read and written."""
    flops: Amount
    roofline_us: Annotated[Amount, Field(alias="floor_us")]
    """The bytes at the rate of a copy, or the FLOPs at that of a product, whichever takes longer, call by call."""


class KernelTime(Row):
    """The time of a kernel on a GPU; on a CPU, of an op that another op calls."""

    net: Text
    kind: str
    kernel: str
    calls: Amount
    time_us: Amount


class Profile(Row):
    """The file's content."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: Text
    """The study's, or the networks'."""
    command: Text
    """The command that made it, without the options that say where files lie."""
    date: str
    """UTC."""
    commit: str | None
    machine: Mapping[str, str | int | float | None]
    parts: Mapping[Text, PartCode] = Field(default_factory=dict)
    """Parts of one's own, by name, and their code."""
    threads: FromZero
    """Of the CPU."""
    steps: Annotated[int, Field(ge=1)]
    """How many were timed; as many more were profiled."""
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    nets: Annotated[tuple[Step, ...], Field(min_length=1)]
    ops: Annotated[tuple[Op, ...], Field(min_length=1)]
    kernels: tuple[KernelTime, ...]


def path_of(results: Path, name: str) -> Path:
    """Where the profile of a study, or of networks, lies."""
    return results / "profile" / f"{name}.json"


def read(path: Path) -> Profile:
    """Read the file.

    Raises:
        InputError: it is not there, damaged, or of a newer deeptwins.
    """
    profile, again = tables.read(path, Profile, SCHEMA, COMMAND), tables.again(COMMAND)

    # Refuse rows that name what the file does not have.
    nets = [step.net for step in profile.nets]
    if len(set(nets)) < len(nets):
        raise InputError(f"{path}: nets: one of them stands there twice; {again}")
    if lost := ({op.net for op in profile.ops} | {kernel.net for kernel in profile.kernels}) - {*nets}:
        raise InputError(f"{path}: ops of {min(lost)}, which is not among its nets; {again}")
    if bare := {*nets} - {op.net for op in profile.ops if op.time_us}:
        raise InputError(f"{path}: no op of {min(bare)} took any time; {again}")
    if lost := {step.precision for step in profile.nets} - {rate.precision for rate in profile.rates}:
        raise InputError(f"{path}: no rate for {min(lost)}; {again}")
    return profile
