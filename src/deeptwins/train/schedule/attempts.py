"""An attempt on a run: the process that has its lock trains it by turns; what goes wrong ends this attempt alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from deeptwins import records
from deeptwins.errors import InputError, of_a_part, told
from deeptwins.records import RunFiles
from deeptwins.records.locks import claimed
from deeptwins.study.specs import RunSpec
from deeptwins.train import completion
from deeptwins.train.training import Standing

Turns = Generator[Standing, bool, completion.Status]


@dataclass(frozen=True)
class Assignment:
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
    """A run in a worker's hands."""

    def __init__(
        self, assignment: Assignment, results: Path, turns: Callable[[], Turns], alone: Callable[[], bool]
    ) -> None:
        """Prepare; nothing is read or written before the first turn.

        Args:
            assignment: what to train.
            results: the folder that holds the study's folder.
            turns: begins the training.
            alone: whether it is the worker's only run now.
        """
        self.standing: Standing | None = None
        """How far it is; None before its first turn."""
        self._assignment, self._alone = assignment, alone
        self._files = RunFiles.of(results, assignment.run)
        self._going = self._train(turns)

    def advance(self, *, go_on: bool) -> Reply | None:
        """Go on by a turn, or save and stop; returns how the attempt ended, or None while it goes on."""
        try:
            if self.standing is None:
                if not go_on:
                    return Reply("stopped")
                self.standing = next(self._going)
            else:
                self.standing = self._going.send(go_on)
        except StopIteration as end:
            reply: Reply = end.value
            return reply
        return None

    def _train(self, turns: Callable[[], Turns]) -> Generator[Standing, bool, Reply]:
        files, started = self._files, time.monotonic()
        try:
            with claimed(files) as free:
                if not free:
                    return Reply("busy")
                if (ended := self._ended_before()) is not None:
                    return ended
                for leftover in (files.log, *files.parts):
                    leftover.unlink(missing_ok=True)
                try:
                    return Reply((yield from turns()))
                except GeneratorExit:
                    raise
                except BaseException as error:  # whatever it is, also `sys.exit` in a block, it ends this run alone
                    if isinstance(error, OSError | InputError) and not of_a_part(error):
                        raise
                    if isinstance(error, torch.OutOfMemoryError) and not self._alone():
                        return Reply("crowded")
                    reason = told(error, files.log)
                    _close(files, reason, time.monotonic() - started)
                    return Reply("failed", f"{reason} ({files.log})")
        except (OSError, InputError) as error:
            return _unusable(files, error)

    def _ended_before(self) -> Reply | None:
        """How the run ended, if another deeptwins was faster."""
        last = (records.read(self._files.records) or [{}])[-1]
        status = last.get("status")
        if status in ("done", "diverged") or (status == "failed" and self._assignment.awaited):
            return Reply(status, last.get("reason"))
        return None


def give_up(files: RunFiles, reason: str, seconds: float) -> Reply:
    """Close a run's records with `failed`, unless another process has it."""
    try:
        with claimed(files) as free:
            if not free:
                return Reply("busy")
            _close(files, reason, seconds)
            return Reply("failed", reason)
    except (OSError, InputError) as error:
        return _unusable(files, error)


def _unusable(files: RunFiles, error: OSError | InputError) -> Reply:
    """Say what stands in the way of a run."""
    if isinstance(error, InputError):
        return Reply("unusable", str(error))
    return Reply("unusable", f"{error.filename or files.folder}: {error.strerror or error}")


def _close(files: RunFiles, reason: str, seconds: float) -> None:
    """Write the last record of a run that failed, in the place of an earlier one."""
    # A run that failed before its first record leaves none: an `end` alone would not say what was run.
    if records.keep(files.records, lambda record: record["kind"] != "end"):
        end = {"kind": "end", "status": "failed", "reason": reason, "seconds": round(seconds, 3)}
        records.append(files.records, end)
