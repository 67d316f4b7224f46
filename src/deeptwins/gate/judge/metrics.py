"""What the exact tier counts, what differs, and what of it is worse.

Any difference counts, in either direction, except within an allocation unit of the hardware (`grain`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deeptwins.gate.runs import Value

Counted = Mapping[str, Mapping[str, tuple[Value, Value]]]
"""By subject and metric, the values of base and head."""


@dataclass(frozen=True)
class Metric:
    """What is counted."""

    words: str
    """For a page."""
    unit: str = ""
    better: Literal["lower", "higher"] | None = "lower"
    """None: neither, it is shown as information."""
    grain: int = 1
    """What hardware hands out at once: a difference within a multiple of it costs nothing."""


METRICS: Mapping[str, Metric] = {
    # Of a kernel, compiled.
    "registers": Metric("registers a thread", grain=8),  # a warp is given 256 at once
    "stack_bytes": Metric("stack a thread", "bytes"),
    "spill_instructions": Metric("instructions that spill registers"),
    "shared_bytes": Metric("shared memory a program", "bytes", grain=128),
    "barriers": Metric("barriers"),
    "tensors_read": Metric("activation tensors read"),
    "tensors_written": Metric("activation tensors written"),
    "vector_share": Metric("share of bytes in accesses of 128 bits", better="higher"),
    "narrowest_access_bits": Metric("narrowest access", "bits", better="higher"),
    "resident_warps": Metric("resident warps a multiprocessor", better="higher"),
    "instructions": Metric("instructions", better=None),
    "opcodes_sha256": Metric("hash of the opcodes", better=None),
    # Of a call of the fused operation, and of a compiled step.
    "launches_forward": Metric("kernels launched forward"),
    "launches_backward": Metric("kernels launched backward"),
    "bytes_per_element_forward": Metric("moved an element forward", "bytes"),
    "bytes_per_element_backward": Metric("moved an element backward", "bytes"),
    "graphs": Metric("graphs"),
    "graph_breaks": Metric("graph breaks"),
    "kernels": Metric("generated kernels"),
    "bytes_moved": Metric("moved, as Inductor counts", "bytes"),
    # Of a training step, and of a call of the fused operation.
    "operators": Metric("operators that compute"),
    "allocations": Metric("allocations"),
    "peak_bytes": Metric("peak of what is allocated", "bytes"),
    "bytes_read": Metric("read by operators", "bytes"),
    "bytes_written": Metric("written by operators", "bytes"),
    "flops": Metric("FLOPs"),
    # Of a command.
    "modules": Metric("modules of Python and other packages"),
    "packages": Metric("other packages"),
    "torch": Metric("torch is loaded"),
    "own_modules": Metric("own modules", better=None),
}
"""Metrics that are not here are shown by their names, as information."""


@dataclass(frozen=True)
class Change:
    """A value that differs between the arms."""

    subject: str
    metric: str
    base: Value
    head: Value
    worse: bool | None
    """None: neither worse nor better, or an arm has no such thing."""


def changes(exact: Counted) -> list[Change]:
    """List what differs, in either direction."""
    return [
        Change(subject, metric, base, head, _worse(metric, base, head))
        for subject, metrics in exact.items()
        for metric, (base, head) in metrics.items()
        if base != head
    ]


def lost(exact: Counted) -> list[str]:
    """List the subjects of which base has values, and head none."""
    return [
        subject for subject, metrics in exact.items() if metrics and all(head is None for _, head in metrics.values())
    ]


def _worse(name: str, base: Value, head: Value) -> bool | None:
    metric = METRICS.get(name)
    if metric is None or metric.better is None:
        return None
    if not isinstance(base, int | float) or not isinstance(head, int | float):
        return None
    if metric.grain > 1:
        base, head = math.ceil(base / metric.grain), math.ceil(head / metric.grain)
    if base == head:
        return None
    return (head > base) == (metric.better == "lower")
