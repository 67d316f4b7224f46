"""The process that workers are forked from.

It has imported PyTorch, which takes seconds, and does nothing else: a GPU in use would not survive a fork. A worker,
also the one that replaces a dead one, then starts at once, and workers share the memory of what is loaded.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, resource_tracker

from deeptwins.system.signals import STOPPING

# glibc hands every freed block of some MiB back to the system, which then gives it out again page by page, hundreds of
# times per training step. Kept in the process instead, an epoch on a CPU takes 2 to 7 % less time.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
# Streams that share a queue of a GPU wait for one another. A GPU has 8 queues by default, and 32 at most.
QUEUES = {"CUDA_DEVICE_MAX_CONNECTIONS": "32"}

CONTEXT = get_context("forkserver")
PRELOADED = ["deeptwins.train.schedule.mortal", "deeptwins.train.schedule.preloading"]
CONTEXT.set_forkserver_preload(PRELOADED)


def start() -> None:
    """Start the process, unless it runs. Called early, it lets the caller import PyTorch at the same time."""
    with signals_blocked():
        forkserver.ensure_running()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Keep `STOPPING` pending: a terminal's Ctrl-C reaches all processes, and would kill one that is still starting."""
    for name, value in (MEMORY | QUEUES).items():
        os.environ.setdefault(name, value)  # read when a process starts
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    resource_tracker.ensure_running()  # starting a process would start it, and that unblocks some of them
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
