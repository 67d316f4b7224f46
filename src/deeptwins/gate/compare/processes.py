"""The processes that are measured: one per arm, asked over a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from deeptwins.errors import line
from deeptwins.gate.compare import scratch
from deeptwins.gate.compare.worktrees import Arm, Suite
from deeptwins.gate.runs import Design

WORKER = Path(__file__).with_name("worker.py")
PATIENCE_S = 300.0  # how long an answer may take where it cannot be estimated
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# Files of benchmarks lie in memory where there is room for them, so that no disk has a part in the times.
MEMORY = Path("/dev/shm")  # noqa: S108
ROOM = 1 << 30  # bytes that must be free there


class ArmError(Exception):
    """A process of an arm ended, or did not answer."""


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


class ArmProcess:
    """A process of an arm, which runs `worker.py`."""

    def __init__(  # noqa: PLR0913
        self, task: Task, arm: Arm, names: Sequence[str], scratch: Path, number: int, *, collect: bool
    ) -> None:
        """Start it.

        Args:
            task: what is measured.
            arm: whose code it runs.
            names: of the benchmarks to run; none for all of the suite.
            scratch: where files of its tests go.
            number: of the pair; the seed of its hashes.
            collect: whether it only tells the names of benchmarks, and runs none.
        """
        self.arm = arm
        self._log = scratch / f"{arm.name}-{number}.log"
        settings = {"only_collect": collect, "core": task.core, "elsewhere": str(task.elsewhere)}
        self._pipe, theirs = Pipe()
        arguments = [f"--rootdir={arm.root}", f"--basetemp={scratch / arm.name}"]
        command = [sys.executable, "-P", str(WORKER), str(theirs.fileno()), json.dumps(settings), *arguments]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*command, *(names or [str(task.suite.path)])],
                cwd=arm.root,
                env=_environment(arm, number),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                process_group=0,  # so that its own processes end with it
            )
        theirs.close()

    def read(self, patience: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for the process's next message.

        Raises:
            ArmError: it has ended, or is silent.
        """
        try:
            if not self._pipe.poll(patience):
                raise ArmError(f"{self.arm.name}: no answer for {patience:.0f} s{self._last_line()}")
            message: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        except (EOFError, ConnectionError):
            raise ArmError(f"{self.arm.name}: {self._end()}{self._last_line()}") from None
        if "over" in message:  # before it was asked to end
            raise ArmError(f"{self.arm.name}: pytest ended with exit code {message['over']}{self._last_line('rror')}")
        return message

    def ask(self, patience: float = PATIENCE_S, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        """Send a request and wait for the answer.

        Raises:
            ArmError: it has ended, or is silent.
        """
        try:
            self._pipe.send_bytes(json.dumps(request).encode())
        except ConnectionError:
            raise ArmError(f"{self.arm.name}: {self._end()}{self._last_line()}") from None
        return self.read(patience)

    def close(self) -> None:
        """End it and all that it has started."""
        self._pipe.close()
        end(self._process)

    def _end(self) -> str:
        """Say how it ended."""
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _last_line(self, word: str = "") -> str:
        """Quote the last line that it printed: of those with a word, if there are any."""
        text = self._log.read_text(encoding="utf-8", errors="replace")
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


@contextmanager
def pair_of_processes(
    task: Task, names: Sequence[str], scratch: Path, number: int, *, collect: bool
) -> Iterator[tuple[ArmProcess, ArmProcess]]:
    """Start a fresh process of base and one of head; both end with the block. The arguments are `ArmProcess`'s."""
    with ExitStack() as stack:
        base, head = (
            stack.enter_context(closing(ArmProcess(task, arm, names, scratch, number, collect=collect)))
            for arm in task.arms
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
