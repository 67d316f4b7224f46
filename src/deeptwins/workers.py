"""A worker: a process that trains the runs it is given, one after another, and tells how each one ended.

Through its pipe it gets an `Order`, and None when it is to stop the run in hand. Back go an int for iterations done, a
str for a line that the user should see, and a `Reply` when the run in hand is over.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Literal, Self

import torch

from deeptwins import checkpoints, completion, records
from deeptwins.data import Dataset
from deeptwins.errors import InputError
from deeptwins.specs import RunSpec

REPORT_S = 0.2  # how often a worker tells its iteration and looks for an order to stop

Source = tuple[str, int | None, float]  # a dataset's name and image size
Equipment = tuple[Path, torch.device, Mapping[Source, Dataset]]  # results folder, device, datasets
# glibc hands every freed block of some MiB back to the system, which then gives it out again page by page, hundreds of
# times a training step. Kept in the process instead, an epoch on a CPU takes 2 to 7 % less time.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the parent's business


@dataclass(frozen=True)
class Order:
    """A run to train. `awaited`: another deeptwins had it when it was tried before."""

    run: RunSpec
    awaited: bool = False


@dataclass(frozen=True)
class Reply:
    """How an attempt on a run ended; `busy`: another process has it; `unusable`: its files cannot be used."""

    status: Literal["done", "diverged", "failed", "stopped", "busy", "unusable"]
    reason: str | None = None


@dataclass(eq=False)
class Worker:
    """The parent's hold on a worker."""

    process: SpawnProcess
    pipe: Connection

    @classmethod
    def hire(cls, results: Path, device: torch.device, datasets: Mapping[Source, Dataset]) -> Self:
        """Start a worker; `serve` is its life. Call it with `SIGNALS` blocked."""
        for name, value in MEMORY.items():
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


@contextmanager
def claimed(results: Path, study: str, *run_ids: str) -> Iterator[bool]:
    """Lock runs of a study against all other processes, or yield False when one of them is taken.

    Several `deeptwins run` share a study by this. A lock is a byte of the study's `.lock`, at an offset that is the
    run's hash. It vanishes with its process, so a kill leaves nothing locked; and nobody removes the one empty file,
    so there is no race between locking and removing. (The record file itself cannot serve: resuming replaces it.)

    Raises:
        OSError: the results folder is not writable.
    """
    with (results / study / ".lock").open("ab") as file:
        free = True
        try:
            for run_id in run_ids:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(run_id.rsplit("-", 1)[1], 16))
        except (BlockingIOError, PermissionError):
            free = False
        yield free


def log_of(results: Path, run: RunSpec) -> Path:
    """Where the traceback of a failed run lies."""
    return results / run.study / f"{run.id}.log"


def parts_of(results: Path, run: RunSpec) -> list[Path]:
    """What a kill while a file of the run was being replaced may have left; swept when the run goes on."""
    return [records.part_of(path_of(results, run.study, run.id)) for path_of in (records.path_of, checkpoints.path_of)]


def give_up(results: Path, run: RunSpec, reason: str, seconds: float) -> Reply:
    """Close a run's records with `failed`, unless another process has it."""

    def close() -> Reply:
        _close(results, run, reason, seconds)
        return Reply("failed", reason)

    return _claiming(results, run, close)


def serve(pipe: Connection, results: Path, device: torch.device, datasets: Mapping[Source, Dataset]) -> None:
    """Train what the pipe brings until it closes."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if device.type == "cpu":
        # A worker a core; and sums are split in one way only, so that the numbers do not depend on the number of cores.
        torch.set_num_threads(1)
    while True:
        try:
            order = pipe.recv()
        except (EOFError, OSError):
            return
        if order is not None:  # else: an order to stop that crossed with the end of the run
            _tell(pipe, _attempt(pipe, order, results, device, datasets[source(order.run)]))


def _attempt(pipe: Connection, order: Order, results: Path, device: torch.device, dataset: Dataset) -> Reply:
    run, log = order.run, log_of(results, order.run)
    started, told_at = time.monotonic(), 0.0

    def go_on(iteration: int) -> bool:
        nonlocal told_at
        if time.monotonic() - told_at < REPORT_S:
            return True
        told_at = time.monotonic()
        _tell(pipe, iteration)
        return not pipe.poll()

    def train() -> Reply:
        last = (records.read(records.path_of(results, run.study, run.id)) or [{}])[-1]
        status = last.get("status")
        if status in ("done", "diverged") or (status == "failed" and order.awaited):  # another deeptwins was faster
            return Reply(status, last.get("reason"))
        for leftover in (log, *parts_of(results, run)):
            leftover.unlink(missing_ok=True)
        try:
            return Reply(completion.complete(run, dataset, device, results, go_on, lambda line: _tell(pipe, line)))
        except (OSError, InputError):
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it ends this run and no other
            log.write_text(traceback.format_exc(), encoding="utf-8")
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            _close(results, run, reason, time.monotonic() - started)
            return Reply("failed", f"{reason} ({log})")

    return _claiming(results, run, train)


def _claiming(results: Path, run: RunSpec, action: Callable[[], Reply]) -> Reply:
    """Do something to a run that nobody else has; what stands in the way is said in the reply."""
    try:
        with claimed(results, run.study, run.id) as free:
            return action() if free else Reply("busy")
    except InputError as error:
        return Reply("unusable", str(error))
    except OSError as error:
        return Reply("unusable", f"{error.filename or results / run.study}: {error.strerror or error}")


def _close(results: Path, run: RunSpec, reason: str, seconds: float) -> None:
    path = records.path_of(results, run.study, run.id)
    # A run that failed before its first record leaves none: an `end` alone would not say what was run.
    if records.keep(path, lambda record: record["kind"] != "end"):
        records.append(path, {"kind": "end", "status": "failed", "reason": reason, "seconds": round(seconds, 3)})


def _tell(pipe: Connection, message: int | str | Reply) -> None:
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
