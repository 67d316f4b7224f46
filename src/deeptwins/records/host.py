"""This machine, as far as it can be described without torch: processor, memory, versions of packages."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

PROCESSOR = Path("/proc/cpuinfo")
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of x86's and Arm's processors that compute in bf16; others imitate it, slowly."""
BUSY = 0.5  # of all cores
PROCESS = Path("/proc/self")  # tells the control groups of this process, and where their files lie


def processor() -> str:
    """Name the processor, as its maker does."""
    try:
        for line in _rows(PROCESSOR):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def native_bf16() -> bool | None:
    """Whether the processor has instructions for bf16; None where the system does not say."""
    try:
        rows = _rows(PROCESSOR)
    except OSError:
        return None
    named = {word for row in rows if row.startswith(("flags", "Features")) for word in row.split(":", 1)[1].split()}
    return bool(named & BF16) if named else None


def load() -> float:
    """How many processes wanted a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def busy() -> bool:
    """Whether other processes want so many of the cores that times measured now would be too long."""
    return load() > BUSY * (os.cpu_count() or 1)


def cores() -> int:
    """How many cores this process may use, the quotas of its control groups included."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([free, *(math.ceil(quota) for folder in _control_groups() for quota in _quota(folder))]))


def _control_groups() -> Iterator[Path]:
    """The folders of the control groups that limit this process's CPU time: each limits all that are inside it."""
    try:
        groups = [row.split(":", 2) for row in _rows(PROCESS / "cgroup")]
        mounts = [row.split(" - ", 1) for row in _rows(PROCESS / "mountinfo")]
        for place, system in mounts:
            _, _, _, root, mount, *_ = place.split(" ")
            kind, _, options = system.split(" ", 2)
            for _, controllers, path in groups:
                # Version 2 has one tree, and names no controllers; version 1 has a tree with that of CPU time.
                second = kind == "cgroup2" and not controllers
                first = kind == "cgroup" and "cpu" in options.split(",") and "cpu" in controllers.split(",")
                if first or second:
                    inside = Path(os.path.relpath(path, root)) if Path(path).is_relative_to(root) else Path()
                    yield from (Path(mount, inside), *(Path(mount, parent) for parent in inside.parents))
    except (OSError, ValueError):  # no Linux
        return


def _quota(group: Path) -> list[float]:
    """The quota of a control group, in cores, if it has one."""
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = (int(word) for name in files for word in (group / name).read_text(encoding="ascii").split())
        except (OSError, ValueError):  # no such file, or `max`: no limit
            continue
        if quota > 0 and period > 0:  # -1: no limit
            return [quota / period]
    return []


def _rows(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def memory_gib() -> float:
    """How much memory there is, in GiB."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
