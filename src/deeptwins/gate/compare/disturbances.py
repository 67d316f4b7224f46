"""Whether the machine did something else while a block was measured; which arm was slower has no part in it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STEAL, SWITCHES, UNSTEADY = 0.05, 20.0, 1.5
"""What a block may have: time stolen by the hypervisor, as a share; other work on the core, switches a second; times of
the same work, the longest over the shortest."""
STAT = Path("/proc/stat")


class Watch:
    """Begins with a block."""

    def __init__(self, core: int | None) -> None:
        self._core = core
        self._started, self._stolen = time.perf_counter(), stolen(core)

    def disturbed(self, replies: Sequence[Mapping[str, float]]) -> str | None:
        """Say at the end of the block what disturbed it, None if nothing did.

        Args:
            replies: of the workers, one a segment: `switches` to other work, and `sentinel`, seconds of the same work.
        """
        seconds = time.perf_counter() - self._started
        before, after = self._stolen, stolen(self._core)
        if before is not None and after is not None and after - before > STEAL * seconds:
            return "time stolen by the hypervisor"
        if sum(reply["switches"] for reply in replies) > 2 + SWITCHES * seconds:
            return "other work on the core"
        sentinels = [reply["sentinel"] for reply in replies]
        if max(sentinels) > UNSTEADY * min(sentinels):
            return "unsteady speed of the core"
        return None


def stolen(core: int | None) -> float | None:
    """Return the seconds that the hypervisor has given to others since the machine started; None if not known."""
    name = "cpu" if core is None else f"cpu{core}"
    try:
        for each in STAT.read_text(encoding="ascii").splitlines():
            if each.split()[0] == name:
                return int(each.split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        pass
    return None


def free_core() -> int | None:
    """Choose the core to measure on: the last, as the first has most of the system's work. None if none can be."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
