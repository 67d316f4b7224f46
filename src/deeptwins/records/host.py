"""This machine, as far as it can be described without torch: processor, memory, versions of packages."""

from __future__ import annotations

import math
import os
import platform
from importlib import metadata
from pathlib import Path

# A container's limit under cgroup v2: microseconds of CPU time, and the period, in microseconds, that has them.
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def processor() -> str:
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


def memory_gib() -> float:
    """How much memory there is, in GiB."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
