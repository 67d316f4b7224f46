"""The processes that are measured: one per arm, asked over a socket."""

from __future__ import annotations

import json
import math
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from deeptwins.errors import line
from deeptwins.gate.arms import scratch
from deeptwins.gate.arms.worktrees import Arm, Suite
from deeptwins.gate.runs import Design

WORKER = Path(__file__).with_name("worker.py")
PATIENCE_S = 300.0  # how long an answer may take where it cannot be estimated
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
OPTIONS: Mapping[str, Any] = {
    "numprocesses": None, "dist": "no", "distload": False, "tx": [], "looponfail": False,
    "benchmark_skip": False, "benchmark_only": False,
    "collectonly": False, "continue_on_collection_errors": True,
    "maxfail": 0, "lf": False, "failedfirst": False, "newfirst": False, "stepwise": False, "usepdb": False,
}  # fmt: skip
"""Options that a project may have set in `addopts` and that would keep the gate from measuring: tests in other
processes, benchmarks that are skipped, an end at the first failure or at a file that cannot be imported."""
PATTERNS = {"python_files": "*bench*.py", "python_functions": "bench_*", "python_classes": "Bench*"}
"""What may hold benchmarks beside what pytest takes for tests."""
PLUGINS = ("timeout", "rerunfailures", "flaky", "randomly", "random_order")
"""Plugins that end a test, run it again, or shuffle."""
# Files of benchmarks lie in memory where there is room for them, so that no disk has a part in the times.
MEMORY = Path("/dev/shm")  # noqa: S108
LONGEST = 1 << 26  # bytes of a message
QUOTED = 200  # of what is none
LAST = 1 << 16  # bytes of what a process has printed that are looked at
ROOM = 1 << 30  # bytes that must be free there


class ArmError(Exception):
    """A process of an arm ended, or did not answer."""


class GoneError(ArmError):
    """A process of an arm does not answer any more: it has ended, hangs, or writes junk."""


class LateError(ArmError):
    """A process of an arm has not answered when the time was up."""


@dataclass(frozen=True)
class Task:
    """What is to be measured, and how."""

    arms: tuple[Arm, Arm]
    suite: Suite
    design: Design
    core: int | None
    """The core that is measured on; None where processes cannot be bound to one."""
    elsewhere: Path
    """The user's checkout: a folder that no code may come from."""
    added: Mapping[str, float] = field(default_factory=dict)
    """Work that is added to head: by benchmark, as a share of a call."""
    deadline: float = math.inf
    """By `time.monotonic`: when it ends, whatever still runs."""


class ArmProcess:
    """A process of an arm, which runs `worker.py`."""

    def __init__(
        self, task: Task, arm: Arm, names: Sequence[str] | None, scratch: Path, number: int, **settings: object
    ) -> None:
        """Start it.

        Args:
            task: what is measured.
            arm: whose code it runs.
            names: of the benchmarks to run; None for all of the suite.
            scratch: where files of its tests go.
            number: of the pair; the seed of its hashes.
            settings: of the worker, beside those of the task.
        """
        self.patience = PATIENCE_S
        """How long an answer may take where nothing else is said, in seconds."""
        self.arm, self._deadline, self._received = arm, task.deadline, b""
        self._log = scratch / f"{arm.name}-{number}.log"
        self._socket, theirs = socket.socketpair()
        arguments = [f"--rootdir={arm.root}", f"--basetemp={scratch / arm.name}"]
        files = [str(task.suite.path)] if names is None else dict.fromkeys(name.split("::")[0] for name in names)
        with self._log.open("wb") as log, theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [arm.python, "-P", str(WORKER), str(theirs.fileno()), *arguments, *files],
                cwd=arm.root,
                env=_environment(arm, number),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                process_group=0,  # so that its own processes end with it
            )
        usual = {"only": (), "only_collect": False, "note_files": False, "once": (), "patterns": {}}
        usual |= {"options": OPTIONS, "without": PLUGINS, "copies": sorted(_copies(task.elsewhere))}
        try:
            self.send(**usual | {"names": names, "core": task.core, "elsewhere": str(task.elsewhere)} | settings)
        except ArmError:
            self.close()
            raise

    def read(self, patience: float | None = None) -> dict[str, Any]:
        """Wait for the process's next message.

        Raises:
            ArmError: it has ended, or is silent.
        """
        row = self._line(self.patience if patience is None else patience)
        try:
            message: dict[str, Any] = json.loads(row)
        except ValueError:  # a number that is too long among others
            message = {}
        if not isinstance(message, dict) or not message:
            text = row[:QUOTED].decode(errors="replace")
            raise GoneError(f"{self.arm.name}: something else writes to the gate's socket: {line(text)}")
        if "over" in message:  # before it was asked to end
            raise ArmError(f"{self.arm.name}: pytest ended with exit code {message['over']}{self._last_line('rror')}")
        return message

    def _line(self, patience: float) -> bytes:
        """Wait for a line."""
        begun = time.monotonic()
        end = min(begun + patience, self._deadline)
        while b"\n" not in self._received:
            left = max(0.0, end - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                waited = f"{self.arm.name}: no answer for {max(0.0, end - begun):.0f} s"
                if end == self._deadline:
                    raise LateError(f"{waited}, when the time was up{self._last_line()}")
                raise GoneError(f"{waited}{self._last_line()}")
            try:
                piece = self._socket.recv(1 << 16)
            except ConnectionError:
                piece = b""
            if not piece:
                raise GoneError(f"{self.arm.name}: {self._end()}{self._last_line()}")
            self._received += piece
            if len(self._received) > LONGEST:
                raise GoneError(f"{self.arm.name}: something writes to the gate's socket without end")
        row, _, self._received = self._received.partition(b"\n")
        return row

    def send(self, **message: object) -> None:
        """Send a message, and wait for no answer.

        Raises:
            ArmError: it has ended.
        """
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except ConnectionError:
            raise GoneError(f"{self.arm.name}: {self._end()}{self._last_line()}") from None

    def ask(self, patience: float | None = None, **request: object) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises:
            ArmError: it has ended, or is silent.
        """
        self.send(**request)
        return self.read(patience)

    def close(self) -> None:
        """End it and all that it has started."""
        self._socket.close()
        end(self._process)
        _end_left(self.arm)

    def _end(self) -> str:
        """Say how it ended."""
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return "closed its socket"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _last_line(self, word: str = "") -> str:
        """Quote the last line that it printed: of those with a word, if there are any."""
        with self._log.open("rb") as log:  # which may be as long as a disk
            log.seek(max(0, self._log.stat().st_size - LAST))
            text = log.read(LAST).decode(errors="replace")
        lines = [row.removeprefix("E ").strip() for row in text.split("\n") if row.strip()]
        lines = [row for row in lines if word in row] or lines
        return f": {line(lines[-1])}" if lines else ""


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group of its own, and all of the group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


def _end_left(arm: Arm) -> None:
    """Kill what an arm's processes have left behind in groups of their own: it has the arm's folder in a variable."""
    for variables in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError, ValueError):  # it is not ours, or has ended
            if re.search(re.escape(os.fsencode(arm.root)) + rb"[/:\0]", variables.read_bytes()):
                os.kill(int(variables.parent.name), signal.SIGKILL)


@contextmanager
def pair_of_processes(
    task: Task, names: Sequence[str] | None, scratch: Path, number: int, **settings: object
) -> Iterator[tuple[ArmProcess, ArmProcess]]:
    """Start a fresh process of base and one of head; both end with the block. The arguments are `ArmProcess`'s."""
    with ExitStack() as stack:
        base, head = (
            stack.enter_context(closing(ArmProcess(task, arm, names, scratch, number, **settings))) for arm in task.arms
        )
        yield base, head


def _environment(arm: Arm, number: int) -> dict[str, str]:
    """Return the variables of an arm's process: the same in both arms, but for where their code lies."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    fixed = dict.fromkeys(THREADS, "1") | {"PYTHONHASHSEED": str(number)}
    return variables | fixed | arm.environment()


@contextmanager
def folder_for_files() -> Iterator[Path]:
    """Make a folder for the files of benchmarks, in memory if there is room."""
    status = os.statvfs(MEMORY) if MEMORY.is_dir() else None
    inside = MEMORY if status is not None and status.f_bavail * status.f_frsize >= ROOM else None
    with scratch.folder(inside) as folder:
        yield folder


@cache
def _copies(folder: Path) -> set[str]:
    """Name the files of packages that were installed, as copies, from a folder."""
    copies, path = set(), [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *sys.path]
    for package in metadata.distributions(path=path):
        origin = json.loads(package.read_text("direct_url.json") or "{}")
        source = Path(unquote(urlsplit(str(origin.get("url", ""))).path))
        editable = origin.get("dir_info", {}).get("editable")
        if source.is_relative_to(folder) and not editable:
            copies |= {os.path.realpath(str(package.locate_file(file))) for file in package.files or ()}
    return copies
