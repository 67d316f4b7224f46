"""The processes that are measured: one an arm, asked over a pipe."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deeptwins.errors import line
from deeptwins.gate.compare.worktrees import Arm, Suite
from deeptwins.gate.runs import Design

WORKER = Path(__file__).with_name("worker.py")
PATIENCE_S = 300.0  # for an answer that no estimate is known of
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
MEMORY = Path("/dev/shm")  # noqa: S108  files of benchmarks lie here where it is there, and no disk has a part in times
ROOM = 1 << 30  # bytes that it must have


class ArmError(Exception):
    """A process of an arm ended, or did not answer."""


@dataclass(frozen=True)
class Task:
    """What is to be measured, and how."""

    arms: tuple[Arm, Arm]
    suite: Suite
    design: Design
    core: int | None
    """That is measured on; None where processes cannot be bound to one."""
    elsewhere: Path
    """A folder that no code may come from: the user's checkout."""
    added: Mapping[str, float] = field(default_factory=dict)
    """Work that is added to head: by benchmark, as a share of a call."""


class Worker:
    """A process of an arm."""

    def __init__(  # noqa: PLR0913
        self, task: Task, arm: Arm, names: Sequence[str], scratch: Path, number: int, *, collect: bool
    ) -> None:
        """Start it.

        Args:
            task: what is measured.
            arm: whose code it runs.
            names: of the benchmarks to run; none for all of the suite.
            scratch: where files of its tests go.
            number: of the pair: the seed of its hashes.
            collect: only tell the names.
        """
        self.arm = arm
        self._log = scratch / f"{arm.name}-{number}.log"
        settings = {"only_collect": collect, "core": task.core, "elsewhere": str(task.elsewhere)}
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        arguments = [f"--rootdir={arm.root}", f"--basetemp={scratch / arm.name}"]
        command = [sys.executable, "-P", str(WORKER), str(requests), str(replies), json.dumps(settings), *arguments]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*command, *(names or [str(task.suite.path)])],
                cwd=arm.root,
                env=_environment(arm, number),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(requests, replies),
                process_group=0,  # so that its own processes end with it
            )
        os.close(requests)
        os.close(replies)
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._replies, selectors.EVENT_READ)
        self._unread = b""

    def read(self, patience: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for what it tells.

        Raises:
            ArmError: it has ended, or is silent.
        """
        until = time.monotonic() + patience
        while b"\n" not in self._unread:
            if not self._waiting.select(max(0.0, until - time.monotonic())):
                raise ArmError(f"{self.arm.name}: no answer for {patience:.0f} s{self._said()}")
            if not (more := os.read(self._replies, 1 << 16)):
                raise ArmError(f"{self.arm.name}: {self._end()}{self._said()}")
            self._unread += more
        first, self._unread = self._unread.split(b"\n", 1)
        found: dict[str, Any] = json.loads(first)
        if "over" in found:  # before it was asked to end
            raise ArmError(f"{self.arm.name}: pytest ended with exit code {found['over']}{self._said('rror')}")
        return found

    def ask(self, patience: float = PATIENCE_S, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        """Send a request and wait for the answer.

        Raises:
            ArmError: it has ended, or is silent.
        """
        self.send(**request)
        return self.read(patience)

    def send(self, **request: Any) -> None:  # noqa: ANN401
        """Send a request.

        Raises:
            ArmError: it has ended.
        """
        try:
            os.write(self._requests, json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise ArmError(f"{self.arm.name}: {self._end()}{self._said()}") from None

    def close(self) -> None:
        """End it, if it has not."""
        os.close(self._requests)
        self._waiting.close()
        os.close(self._replies)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _end(self) -> str:
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _said(self, word: str = "") -> str:
        """Quote the last line that it printed: of those with a word, if there are any."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        told = [each.removeprefix("E ").strip() for each in lines if each.strip()]
        told = [each for each in told if word in each] or told
        return f": {line(told[-1])}" if told else ""


def names(task: Task, arm: Arm, scratch: Path) -> list[str]:
    """Ask an arm for the names of its benchmarks.

    Raises:
        ArmError: it does not tell.
    """
    worker = Worker(task, arm, (), scratch, 0, collect=True)
    try:
        found: list[str] = worker.read()["collected"]
    finally:
        worker.close()
    return found


def _environment(arm: Arm, number: int) -> dict[str, str]:
    """Return the variables of a worker: the same for both, but for where code is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    fixed = dict.fromkeys(THREADS, "1") | {"PYTHONHASHSEED": str(number)}
    return kept | fixed | arm.environment()


@contextmanager
def folder_for_files() -> Iterator[Path]:
    """Make a folder for the files of benchmarks, in memory if there is room."""
    status = os.statvfs(MEMORY) if MEMORY.is_dir() else None
    inside = MEMORY if status is not None and status.f_bavail * status.f_frsize >= ROOM else None
    with TemporaryDirectory(prefix="deeptwins-gate-", dir=inside, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
