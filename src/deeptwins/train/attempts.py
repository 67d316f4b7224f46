"""An attempt on a run: whoever has its lock trains it by turns, and whatever goes wrong ends the attempt alone."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from deeptwins import records
from deeptwins.errors import InputError
from deeptwins.records.locks import claimed
from deeptwins.study.specs import RunSpec
from deeptwins.train import checkpoints, completion

Turns = Generator[int, bool, completion.Status]


@dataclass(frozen=True)
class Order:
    """A run to train. `awaited`: another deeptwins had it when it was tried before."""

    run: RunSpec
    awaited: bool = False


@dataclass(frozen=True)
class Reply:
    """How an attempt on a run ended.

    `busy`: another process has it; `crowded`: beside other runs memory was too little; `unusable`: its files cannot be
    used.
    """

    status: Literal["done", "diverged", "failed", "stopped", "busy", "crowded", "unusable"]
    reason: str | None = None


class Attempt:
    """A run in a worker's hand."""

    def __init__(self, order: Order, results: Path, turns: Callable[[], Turns], alone: Callable[[], bool]) -> None:
        """Prepare; nothing is read or written before the first turn.

        Args:
            order: what to train.
            results: the folder that holds the study's folder.
            turns: begins the training.
            alone: whether it is the only run in hand now.
        """
        self.iteration = 0
        """How many iterations are issued; 0 before its first turn."""
        self._order, self._results, self._alone = order, results, alone
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

    def _train(self, turns: Callable[[], Turns]) -> Generator[int, bool, Reply]:
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
                    if isinstance(error, torch.OutOfMemoryError) and not self._alone():
                        return Reply("crowded")
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
