"""The processor: its name, and how much of it this process may use."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container under cgroup v2: microseconds of time, in so many of the clock


def name() -> str:
    """Name the processor, as its maker does."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """How many cores this process may use, a container's quota included."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, QUOTA.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no such file, or `max`: no limit
        return free
    return max(1, min(free, math.ceil(quota / period)))
