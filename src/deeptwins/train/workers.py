"""A worker: a process that trains the runs it is given, those in hand by turns, and tells how each one ended.

Through its pipe it gets an `Order` a run, and None when it is to stop the runs in hand. Back go a `Report`, for which
run: an int for iterations done, a `Reply` when the run is over; and a str for a line that the user should see.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Self

import torch

from deeptwins.data import Dataset
from deeptwins.study.specs import RunSpec
from deeptwins.train import completion
from deeptwins.train.attempts import Attempt, Order, Reply
from deeptwins.train.feeds import Feeds

REPORT_S = 0.2  # how often a worker tells its iterations and looks for orders

Source = tuple[str, int | None, float]  # a dataset's name and image size
Equipment = tuple[Path, torch.device, Mapping[Source, Dataset]]  # results folder, device, datasets
Key = tuple[str, str]  # a run's study and id
Report = tuple[Key, int | Reply]
# glibc hands every freed block of some MiB back to the system, which then gives it out again page by page, hundreds of
# times a training step. Kept in the process instead, an epoch on a CPU takes 2 to 7 % less time.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
# Streams that share a queue of a GPU wait for one another; there are 8 queues if nobody asks for more, and 32 at most.
QUEUES = {"CUDA_DEVICE_MAX_CONNECTIONS": "32"}
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the parent's business


@dataclass(eq=False)
class Worker:
    """The parent's hold on a worker."""

    process: SpawnProcess
    pipe: Connection

    @classmethod
    def hire(cls, results: Path, device: torch.device, datasets: Mapping[Source, Dataset]) -> Self:
        """Start a worker; `serve` is its life. Call it with `SIGNALS` blocked."""
        for name, value in (MEMORY | QUEUES).items():
            os.environ.setdefault(name, value)  # read when a process starts
        context = get_context("spawn")
        pipe, far = context.Pipe()
        process = context.Process(target=serve, args=(far, results, device, datasets), daemon=True)
        process.start()
        far.close()  # so that the pipe ends when the worker does
        return cls(process, pipe)

    def dismiss(self, patience: float = 0.0) -> str:
        """End the worker, at once or when it has not ended by itself after so many seconds, and say how it ended.

        An idle worker has nothing to lose, and a run takes no harm from a kill at any moment.
        """
        self.process.join(patience)
        self.process.kill()
        self.process.join()  # when this returns, the system has taken back the worker's lock too
        self.pipe.close()
        code = self.process.exitcode or 0
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Keep `SIGNALS` pending: a terminal's Ctrl-C reaches workers too, and must not find one that is only starting."""
    resource_tracker.ensure_running()  # Process.start would start it, and that unblocks them
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def source(run: RunSpec) -> Source:
    """What a run's dataset is known by."""
    return run.recipe.dataset, run.recipe.image_size, run.recipe.validation


def serve(pipe: Connection, results: Path, device: torch.device, datasets: Mapping[Source, Dataset]) -> None:
    """Train what the pipe brings until it closes."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if device.type == "cpu":
        # A worker a core; and sums are split in one way only, so that the numbers do not depend on the number of cores.
        torch.set_num_threads(1)
    company = Company(pipe, results, device, datasets)
    while company.listen():
        company.train()


class Company:
    """The runs that a worker has in hand, trained by turns; those that see the same batches share them."""

    def __init__(
        self, pipe: Connection, results: Path, device: torch.device, datasets: Mapping[Source, Dataset]
    ) -> None:
        self._pipe, self._results, self._device = pipe, results, device
        self._datasets = dict(datasets)
        self._feeds = Feeds()
        self._hands: dict[Key, Attempt] = {}
        self._told_at = 0.0

    def listen(self) -> bool:
        """Take the orders that have come, or wait for one where there is nothing to do; False when the pipe closes."""
        while not self._hands or self._pipe.poll():
            try:
                order: Order | None = self._pipe.recv()
            except (EOFError, OSError):
                return False
            if order is not None:
                self._hands[order.run.study, order.run.id] = self._attempt(order)
                continue
            for key, attempt in list(self._hands.items()):  # none: the order crossed with the end of the last run
                self._advance(key, attempt, go_on=False)
        return True

    def train(self) -> None:
        """Give every run in hand its turns, until it is time to tell, and to listen again."""
        self._told_at = time.monotonic()
        while self._hands and time.monotonic() - self._told_at < REPORT_S:
            for key, attempt in list(self._hands.items()):
                self._advance(key, attempt, go_on=True)
        for key, attempt in self._hands.items():
            if attempt.iteration:
                _tell(self._pipe, (key, attempt.iteration))

    def _advance(self, key: Key, attempt: Attempt, *, go_on: bool) -> None:
        """Give a run a turn, or have it saved; tell how it ended, if it did."""
        reply = attempt.advance(go_on=go_on)
        if reply is not None:
            del self._hands[key]
            gc.collect()  # its graphs and their memory, held by cycles; not at a moment when another run is captured
            _tell(self._pipe, (key, reply))

    def _attempt(self, order: Order) -> Attempt:
        wanted = source(order.run)
        dataset = self._datasets[wanted] = self._datasets[wanted].to(self._device)  # once for all its runs
        say = partial(_tell, self._pipe)
        turns = partial(completion.advance, order.run, dataset, self._device, self._results, self._feeds, say)
        return Attempt(order, self._results, turns, lambda: len(self._hands) == 1)


def _tell(pipe: Connection, message: str | Report) -> None:
    try:
        pipe.send(message)
    except OSError:
        os._exit(1)  # nobody listens any more


def _die_with_parent() -> None:
    """End this process, whatever it is doing, as soon as its parent has: to a run that is a kill like any other."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
