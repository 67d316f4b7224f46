"""The command line of deeptwins as a process of its own, its numbers, and what must never be seen of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deeptwins import records
from files import STUDY

HERE = Path(__file__).parent
HANG_S = 300.0  # no command of the torture takes a tenth of this
CODES = (0, 1, 2, 3, 129, 130, 138, 143)  # documented: of the command line, and of signals that save first


@dataclass
class Command:
    """A `deeptwins` that runs, in a session of its own."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]
    """What it writes to stderr."""

    def text(self) -> str:
        """What it wrote to stderr."""
        self.said.seek(0)
        return self.said.read().decode(errors="replace")


def study_in(folder: Path, iterations: int) -> Path:
    """Write the study of the torture."""
    path = folder / "torture.toml"
    path.write_text(STUDY.replace("iterations = 40", f"iterations = {iterations}"), encoding="utf-8")
    return path


def start(*words: object, prefix: tuple[object, ...] = (), lacking: str = "") -> Command:
    """Start a command whose checkpoints come many times a second, on a file system that lacks something, if asked."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE / "shims"), str(HERE), *sys.path])}
    if lacking:
        environment["LACKING"] = lacking
    said = tempfile.TemporaryFile()  # noqa: SIM115  it is closed with the command
    process = subprocess.Popen(
        [*map(str, prefix), sys.executable, str(HERE / "hurried.py"), *map(str, words)],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True,
    )  # fmt: skip
    return Command(process, said)


def run(*words: object, prefix: tuple[object, ...] = (), lacking: str = "") -> tuple[int, str]:
    """Take a command to its end: its exit code, and what it wrote to stderr."""
    command = start(*words, prefix=prefix, lacking=lacking)
    code = command.process.wait(HANG_S)
    return code, command.text()


def fault(code: int, text: str) -> tuple[str, str] | None:
    """Which defect an ended command shows, if any, and what was seen."""
    if "traceback" in text.lower():  # printed, or kept in a file that is named
        return "traceback", text[-400:]
    if code >= 0 and code not in CODES:
        return "crash", f"exit code {code}: {text[-200:]}"
    return None


def numbers(results: Path) -> dict[str, list[records.Record]]:
    """By run, all records but for what time and place decide."""
    return {
        path.stem: [
            {key: value for key, value in record.items() if key not in ("started", "seconds", "machine", "commit")}
            for record in records.read(path)
            if record["kind"] != "move"
        ]
        for path in sorted(results.glob("torture/*.jsonl"))
    }
