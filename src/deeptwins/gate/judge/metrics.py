"""What the exact tier counts, which values differ, and which of them are worse.

Any difference counts, in either direction, except within an allocation unit of the hardware (`grain`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deeptwins.gate.runs import Value

ExactValues = Mapping[str, Mapping[str, tuple[Value, Value]]]
"""By subject and metric, the values of base and head."""


@dataclass(frozen=True)
class ExactMetric:
    """Something that is counted."""

    words: str
    """Its name on a page."""
    unit: str = ""
    better: Literal["lower", "higher"] | None = "lower"
    """None: neither, so that it is shown as information and decides nothing."""
    grain: int = 1
    """The unit in which the hardware hands it out: 97 and 104 registers cost the same where it hands out 8 at once."""


METRICS: Mapping[str, ExactMetric] = {
    # Of a kernel, compiled.
    "registers": ExactMetric("registers per thread", grain=8),  # a warp of 32 threads is given 256 at once
    "stack_bytes": ExactMetric("stack per thread", "bytes"),
    "spill_instructions": ExactMetric("instructions that spill registers"),
    "shared_bytes": ExactMetric("shared memory per program", "bytes", grain=128),
    "barriers": ExactMetric("barriers"),
    "tensors_read": ExactMetric("activation tensors read"),
    "tensors_written": ExactMetric("activation tensors written"),
    "vector_share": ExactMetric("share of bytes in accesses of 128 bits", better="higher"),
    "narrowest_access_bits": ExactMetric("narrowest access", "bits", better="higher"),
    "resident_warps": ExactMetric("resident warps per multiprocessor", better="higher"),
    "instructions": ExactMetric("instructions", better=None),
    "opcodes_sha256": ExactMetric("hash of the opcodes", better=None),
    # Of a call of the fused operation, and of a compiled step.
    "launches_forward": ExactMetric("kernels launched forward"),
    "launches_backward": ExactMetric("kernels launched backward"),
    "bytes_per_element_forward": ExactMetric("moved per element forward", "bytes"),
    "bytes_per_element_backward": ExactMetric("moved per element backward", "bytes"),
    "graphs": ExactMetric("graphs"),
    "graph_breaks": ExactMetric("graph breaks"),
    "kernels": ExactMetric("generated kernels"),
    "bytes_moved": ExactMetric("moved, as Inductor counts", "bytes"),
    # Of a training step, and of a call of the fused operation.
    "operators": ExactMetric("operators that compute"),
    "allocations": ExactMetric("allocations"),
    "peak_bytes": ExactMetric("peak of what is allocated", "bytes"),
    "bytes_read": ExactMetric("read by operators", "bytes"),
    "bytes_written": ExactMetric("written by operators", "bytes"),
    "flops": ExactMetric("FLOPs"),
    # Of a command.
    "modules": ExactMetric("modules of Python and other packages"),
    "packages": ExactMetric("other packages"),
    "torch": ExactMetric("torch is loaded"),
    "own_modules": ExactMetric("own modules", better=None),
}


def metric_of(name: str) -> ExactMetric:
    """Return what a metric is; one that is not listed is shown by its name, as information."""
    return METRICS.get(name, ExactMetric(name, better=None))


@dataclass(frozen=True)
class Change:
    """A value that differs between the arms."""

    subject: str
    metric: str
    base: Value
    head: Value
    worse: bool | None
    """None: neither worse nor better, or one arm has no such value."""


def changes(exact: ExactValues) -> list[Change]:
    """List the values that differ, in either direction."""
    return [
        Change(subject, metric, base, head, _worse(metric, base, head))
        for subject, metrics in exact.items()
        for metric, (base, head) in metrics.items()
        if base != head
    ]


def lost(exact: ExactValues) -> list[str]:
    """List the subjects of which head has no values."""
    return [
        subject for subject, metrics in exact.items() if metrics and all(head is None for _, head in metrics.values())
    ]


def _worse(name: str, base: Value, head: Value) -> bool | None:
    metric = metric_of(name)
    if metric.better is None or not isinstance(base, int | float) or not isinstance(head, int | float):
        return None
    # In units of what the hardware hands out, where it does.
    if metric.grain > 1:
        base, head = math.ceil(base / metric.grain), math.ceil(head / metric.grain)
    if base == head:
        return None
    return (head > base) == (metric.better == "lower")
