"""What `deeptwins kernels` leaves behind: `results/kernels/compiled.json`, one row of a table per line.

`deeptwins.kernels.offline` writes it, `deeptwins.pages.kernels` makes a page of it. Units are in the names of fields;
shares are between 0 and 1.

History of the format:
    1  the first
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from deeptwins.records import tables
from deeptwins.records.fields import Amount, FromZero, Positive, Row, Share

SCHEMA = 1
COMMAND = "deeptwins kernels"
FULL_BITS = 128  # of the widest access to global memory that every GPU here has


class Device(Row):
    """A GPU that kernels are compiled for."""

    device: str
    arch: str
    """`sm_90` for compute capability 9.0."""
    processors: FromZero
    """Streaming multiprocessors."""
    warps_per_processor: FromZero
    bandwidth_bytes_per_s: Positive
    """Peak of its memory, by its data sheet."""


class Kernel(Row):
    """One compiled kernel: the machine code that `ptxas` made of it, as read from the binary."""

    kernel: str
    """The kernel `bn_relu_add_<kernel>`."""
    sites: str
    """The sites that launch it with this dtype, layout and shape, separated by commas."""
    dtype: str
    """The activations'; parameters, statistics and sums are fp32."""
    layout: Literal["channels_last", "contiguous"]
    shape: str
    """NxCxHxW."""
    arch: str
    programs: FromZero
    """Thread blocks of the launch."""
    registers: FromZero
    """Per thread."""
    stack_bytes: FromZero
    """Per thread."""
    spill_instructions: FromZero
    """Loads and stores of local memory."""
    shared_bytes: FromZero
    """Per program."""
    instructions: FromZero
    """In the machine code, without the NOPs that pad it."""
    barriers: FromZero
    """Instructions that make a program's threads wait for each other."""
    tensors_read: FromZero
    """Activation tensors that the code loads."""
    tensors_written: FromZero
    """Activation tensors that the code stores."""
    vector_share: Share
    """The share of the activations' bytes that accesses of at least 128 bits move."""
    narrowest_access_bits: FromZero
    """The narrowest access to an activation."""
    vectors_possible: bool
    """Whether every row of the activation, a run of contiguous elements, is a multiple of 128 bits."""
    resident_warps: FromZero
    """At most, per multiprocessor: by registers, shared memory and the limits of the architecture."""
    occupancy_share: Share
    """Resident warps, as a share of those that the architecture has room for."""
    occupancy_limit: Literal["registers", "shared memory", "warps", "blocks"]
    """What allows no more resident warps."""
    opcodes_sha256: str
    """The hash of the sequence of opcodes, without operands: the same code has the same hash."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the code: spilled registers; narrow accesses though the tensor's rows allow full ones."""
        faults = []
        if self.stack_bytes or self.spill_instructions:
            faults.append(f"{self.spill_instructions} spill instructions, {self.stack_bytes} bytes of stack")
        if self.vectors_possible and self.vector_share < 1:
            faults.append(f"only {self.vector_share:.0%} of the bytes move by accesses of {FULL_BITS} bits")
        return tuple(faults)


class SiteTraffic(Row):
    """What an implementation moves and launches at a site: a place in a net where batch normalization ends a layer."""

    site: str
    implementation: str
    dtype: str
    launches_forward: FromZero | None
    """None: not known exactly."""
    launches_backward: FromZero | None
    """None: not known exactly."""
    bytes_per_element_forward: Positive
    bytes_per_element_backward: Amount
    """0 in evaluation."""
    source: str
    """Where these numbers come from."""


class Floor(Row):
    """A modelled time, not a measured one: a site's bytes at the peak bandwidth of a device's memory."""

    site: str
    dtype: str
    shape: str
    device: str
    forward_us: Positive
    backward_us: Amount


class Compiled(Row):
    """The file's content."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    made_with: Mapping[str, str]
    """Versions of deeptwins, Triton and NVIDIA's tools."""
    devices: tuple[Device, ...]
    sites: tuple[SiteTraffic, ...]
    floors: tuple[Floor, ...]
    kernels: Annotated[tuple[Kernel, ...], Field(min_length=1)]


def path_of(results: Path) -> Path:
    """Where the metrics of the compiled kernels lie."""
    return results / "kernels" / "compiled.json"


def read(path: Path) -> Compiled:
    """Read the file.

    Raises:
        InputError: it is not there, damaged, or of a newer deeptwins.
    """
    return tables.read(path, Compiled, SCHEMA, COMMAND)
