"""A worker: a process that trains the runs it is given, those in hand by turns, and tells how each one ended.

Through its pipe it gets an `Order` a run, and None when it is to stop the runs in hand. Back go a `Report`, for which
run: an int for iterations done, a `Reply` when the run is over; and a str for a line that the user should see.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import BinaryIO, Literal, Self

import torch

from deeptwins import checkpoints, completion, records
from deeptwins.data import Dataset
from deeptwins.errors import InputError
from deeptwins.feeds import Feeds
from deeptwins.specs import RunSpec

REPORT_S = 0.2  # how often a worker tells its iterations and looks for orders

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


Key = tuple[str, str]  # a run's study and id
Report = tuple[Key, int | Reply]


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


_lock_files: dict[Path, tuple[BinaryIO, int]] = {}  # those open in this process, and for how many


@contextmanager
def claimed(results: Path, study: str, *run_ids: str) -> Iterator[bool]:
    """Lock runs of a study against all other processes, or yield False when one of them is taken.

    Several `deeptwins run` share a study by this. A lock is a byte of the study's `.lock`, at an offset that is the
    run's hash. It vanishes with its process, so a kill leaves nothing locked; and nobody removes the one empty file,
    so there is no race between locking and removing. (The record file itself cannot serve: resuming replaces it.)

    Raises:
        OSError: the results folder is not writable.
    """
    places = [int(run_id.rsplit("-", 1)[1], 16) for run_id in run_ids]
    with _lock_file((results / study / ".lock").absolute()) as file:
        held: list[int] = []
        try:
            for place in places:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                held.append(place)
        except (BlockingIOError, PermissionError):
            pass
        try:
            yield len(held) == len(places)
        finally:
            for place in held:
                fcntl.lockf(file, fcntl.LOCK_UN, 1, place)


@contextmanager
def _lock_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file once in this process, however often it is asked for: to close one of two would drop all its locks."""
    file, users = _lock_files[path] if path in _lock_files else (path.open("ab"), 0)
    _lock_files[path] = file, users + 1
    try:
        yield file
    finally:
        file, users = _lock_files.pop(path)
        if users > 1:
            _lock_files[path] = file, users - 1
        else:
            file.close()


def log_of(results: Path, run: RunSpec) -> Path:
    """Where the traceback of a failed run lies."""
    return results / run.study / f"{run.id}.log"


def parts_of(results: Path, run: RunSpec) -> list[Path]:
    """What a kill while a file of the run was being replaced may have left; swept when the run goes on."""
    return [records.part_of(path_of(results, run.study, run.id)) for path_of in (records.path_of, checkpoints.path_of)]


def give_up(results: Path, run: RunSpec, reason: str, seconds: float) -> Reply:
    """Close a run's records with `failed`, unless another process has it."""
    try:
        with claimed(results, run.study, run.id) as free:
            if not free:
                return Reply("busy")
            _close(results, run, reason, seconds)
            return Reply("failed", reason)
    except (OSError, InputError) as error:
        return _unusable(results, run, error)


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
            _tell(self._pipe, (key, reply))

    def _attempt(self, order: Order) -> Attempt:
        wanted = source(order.run)
        dataset = self._datasets[wanted] = self._datasets[wanted].to(self._device)  # once for all its runs
        say = partial(_tell, self._pipe)
        turns = partial(completion.advance, order.run, dataset, self._device, self._results, self._feeds, say)
        return Attempt(order, self._results, turns)


class Attempt:
    """A run in a worker's hand."""

    def __init__(
        self, order: Order, results: Path, turns: Callable[[], Generator[int, bool, completion.Status]]
    ) -> None:
        self.iteration = 0
        """How many iterations are issued; 0 before its first turn."""
        self._order, self._results = order, results
        self._going = self._train(turns)

    def advance(self, *, go_on: bool) -> Reply | None:
        """Go on by a turn, or stop after saving what is there; how the attempt ended, or None while it goes on."""
        try:
            if not self.iteration:
                if not go_on:
                    return Reply("stopped")
                self.iteration = next(self._going)
            else:
                self.iteration = self._going.send(go_on)
        except StopIteration as end:
            reply: Reply = end.value
            return reply
        return None

    def _train(self, turns: Callable[[], Generator[int, bool, completion.Status]]) -> Generator[int, bool, Reply]:
        run, results, started = self._order.run, self._results, time.monotonic()
        log = log_of(results, run)
        try:
            with claimed(results, run.study, run.id) as free:
                if not free:
                    return Reply("busy")
                if (before := self._ended_before()) is not None:
                    return before
                for leftover in (log, *parts_of(results, run)):
                    leftover.unlink(missing_ok=True)
                try:
                    return Reply((yield from turns()))
                except (OSError, InputError):
                    raise
                except Exception as error:  # noqa: BLE001  whatever it is, it ends this run
                    log.write_text(traceback.format_exc(), encoding="utf-8")
                    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                    _close(results, run, reason, time.monotonic() - started)
                    return Reply("failed", f"{reason} ({log})")
        except (OSError, InputError) as error:
            return _unusable(results, run, error)

    def _ended_before(self) -> Reply | None:
        """How the run ended, if another deeptwins was faster."""
        run = self._order.run
        last = (records.read(records.path_of(self._results, run.study, run.id)) or [{}])[-1]
        status = last.get("status")
        if status in ("done", "diverged") or (status == "failed" and self._order.awaited):
            return Reply(status, last.get("reason"))
        return None


def _unusable(results: Path, run: RunSpec, error: OSError | InputError) -> Reply:
    """Say what stands in the way of a run."""
    if isinstance(error, InputError):
        return Reply("unusable", str(error))
    return Reply("unusable", f"{error.filename or results / run.study}: {error.strerror or error}")


def _close(results: Path, run: RunSpec, reason: str, seconds: float) -> None:
    path = records.path_of(results, run.study, run.id)
    # A run that failed before its first record leaves none: an `end` alone would not say what was run.
    if records.keep(path, lambda record: record["kind"] != "end"):
        records.append(path, {"kind": "end", "status": "failed", "reason": reason, "seconds": round(seconds, 3)})


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
