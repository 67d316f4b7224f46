"""Whether the machine did something else while a block was measured, whichever arm was slower."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# A block is rejected beyond one of these.
STEAL = 0.05  # share of its time that the hypervisor gave to others
SWITCHES = 20.0  # switches per second to other work on the core
UNSTEADY = 1.5  # longest time of the fixed work (the sentinel) over the shortest

STAT = Path("/proc/stat")


class BlockWatch:
    """Watches the machine from the moment it is made, at the start of a block, to the block's end."""

    def __init__(self, core: int | None) -> None:
        self._core = core
        self._started, self._stolen = time.perf_counter(), stolen(core)

    def disturbed(self, replies: Sequence[Mapping[str, float]]) -> str | None:
        """Say at the end of the block what disturbed it; None if nothing did.

        Args:
            replies: one per segment, from the workers: `switches` to other work, and `sentinel`, the seconds that a
                fixed piece of work took.
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
        for row in STAT.read_text(encoding="ascii").splitlines():
            if row.split()[0] == name:
                return int(row.split()[8]) / os.sysconf("SC_CLK_TCK")  # proc_stat(5): the eighth number is `steal`
    except (OSError, IndexError, ValueError):
        pass
    return None


def free_core() -> int | None:
    """Choose the core to measure on: the last, as the first does most of the system's work.

    None where the system cannot bind a process to a core.
    """
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
