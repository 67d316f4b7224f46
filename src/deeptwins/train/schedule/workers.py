"""A worker: a process that trains the runs it is given by turns, and reports how each of them ended.

Through its pipe it gets one `Assignment` per run, and None when it is to save and stop all its runs. It sends back a
`Message` (which run, and how far it is, or a `Reply` when the run is over), or a str: a line for the user to see.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Self

import torch

from deeptwins.data import Dataset
from deeptwins.errors import InputError
from deeptwins.study.specs import RunSpec
from deeptwins.system.importing import exits_raised
from deeptwins.system.signals import STOPPING
from deeptwins.system.spoken import Spoken
from deeptwins.train import completion
from deeptwins.train.feeds import Feeds
from deeptwins.train.schedule.attempts import Assignment, Attempt, Reply
from deeptwins.train.schedule.forking import CONTEXT, signals_blocked
from deeptwins.train.training import Standing

_leave = os._exit  # which ends a worker, whatever its runs make of it: see `exits_raised`
_SENDING = threading.RLock()  # a block may print in a thread of its own
REPORT_S = 0.2  # how often a worker reports its iterations and looks into its pipe

DatasetKey = tuple[str, int | None, float]  # a dataset's name and image size, and the share of it that is held out
RunKey = tuple[str, str]  # a run's study and id
Message = tuple[RunKey, Standing | Reply]  # which run; how far it is, or how it ended


@dataclass(frozen=True)
class Equipment:
    """What every worker gets."""

    results: Path
    device: torch.device
    datasets: Mapping[DatasetKey, Dataset]


@dataclass(eq=False)
class Worker:
    """The parent's hold on a worker."""

    process: ForkServerProcess
    pipe: Connection

    @classmethod
    def hire(cls, equipment: Equipment) -> Self:
        """Start a worker; `serve` is its life.

        Raises:
            InputError: the system starts no process.
        """
        pipe, far = CONTEXT.Pipe()
        process = CONTEXT.Process(target=serve, args=(far, equipment), daemon=True)
        try:
            with signals_blocked():
                process.start()
        except (EOFError, OSError) as error:
            raise InputError(f"no worker can be started: {error or 'the process that starts them ended'}") from None
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


def dataset_key(run: RunSpec) -> DatasetKey:
    """What identifies the dataset of a run."""
    return run.recipe.dataset, run.recipe.image_size, run.recipe.validation


def serve(pipe: Connection, equipment: Equipment) -> None:
    """Train the runs that come through the pipe until it closes."""
    for number in STOPPING:  # the parent handles them
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    sys.stdout = sys.stderr = Spoken(partial(_send, pipe))  # lines above the parent's bars
    if equipment.device.type == "cpu":
        # One core per worker; and sums are split in one way only: numbers do not depend on the number of cores.
        torch.set_num_threads(1)
    company = Company(pipe, equipment)
    with exits_raised():
        while company.listen():
            company.train()


class Company:
    """The runs that a worker has in hand, trained by turns; those that see the same batches share them."""

    def __init__(self, pipe: Connection, equipment: Equipment) -> None:
        self._pipe = pipe
        self._results, self._device = equipment.results, equipment.device
        self._datasets = dict(equipment.datasets)
        self._feeds = Feeds()
        self._hands: dict[RunKey, Attempt] = {}
        self._reported_at = 0.0

    def listen(self) -> bool:
        """Take what has come through the pipe, or wait where there is nothing to train; False when the pipe closes."""
        while not self._hands or self._pipe.poll():
            try:
                assignment: Assignment | None = self._pipe.recv()
            except (EOFError, OSError):
                return False
            if assignment is not None:
                self._hands[assignment.run.study, assignment.run.id] = self._attempt(assignment)
                continue
            # Save and stop all runs. There may be none: the last one may have ended meanwhile.
            for key, attempt in list(self._hands.items()):
                self._advance(key, attempt, go_on=False)
        return True

    def train(self) -> None:
        """Give every run its turns, until it is time to report and to listen again."""
        self._reported_at = time.monotonic()
        while self._hands and time.monotonic() - self._reported_at < REPORT_S:
            for key, attempt in list(self._hands.items()):
                self._advance(key, attempt, go_on=True)
        for key, attempt in self._hands.items():
            if attempt.standing is not None:
                _send(self._pipe, (key, attempt.standing))

    def _advance(self, key: RunKey, attempt: Attempt, *, go_on: bool) -> None:
        """Give a run a turn, or have it saved; report how it ended, if it did."""
        reply = attempt.advance(go_on=go_on)
        if reply is not None:
            del self._hands[key]
            gc.collect()  # frees its graphs, held by cycles; now, and not while another run is being captured
            _send(self._pipe, (key, reply))

    def _attempt(self, assignment: Assignment) -> Attempt:
        run = assignment.run
        # Onto the device, once for all runs on this dataset.
        dataset = self._datasets[dataset_key(run)] = self._datasets[dataset_key(run)].to(self._device)
        say = partial(_send, self._pipe)
        turns = partial(completion.advance, run, dataset, self._device, self._results, self._feeds, say)
        return Attempt(assignment, self._results, turns, lambda: len(self._hands) == 1)


def _send(pipe: Connection, message: str | Message) -> None:
    try:
        with _SENDING:
            pipe.send(message)
    except OSError:
        _leave(1)  # nobody listens any more


def _die_with_parent() -> None:
    """End this process, whatever it is doing, as soon as its parent has: to a run that is a kill like any other."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        _leave(1)
