"""An environment for each commit: its own interpreter with the project as the commit installs it, compiled parts too.

Environments are kept, by commit and commands, and used again; the oldest go. uv makes them where it is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from deeptwins.errors import InputError, line
from deeptwins.system import disk

KEPT = 10  # environments
TOOLS = ("pytest", "pytest-benchmark")  # the gate's own versions run in both
EDITABLE = ("-e", "--editable")
DONE = "complete"  # a file in an environment that was made to its end


def cache() -> Path:
    """Where environments are kept."""
    return disk.cache_folder("no home folder to keep environments in: say where with XDG_CACHE_HOME") / "gate"


def commands(install: Sequence[str]) -> list[list[str]]:
    """Read commands that install a project.

    Raises:
        InputError: one is empty, not closed in its quotation marks, or would leave the code in the worktree.
    """
    read = []
    for command in install:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"install: {line(command)}: {error}") from None
        if not words:
            raise InputError("install: an empty command")
        if {*words} & {*EDITABLE}:
            raise InputError(
                f"install: {line(command)}: the worktree is gone afterwards; install without {EDITABLE[1]}"
            )
        read.append(words)
    return read


@contextmanager
def environment(
    repository: Path, commit: str, root: Path, install: Sequence[str], tell: Callable[[str], object]
) -> Iterator[Path]:
    """Make the environment of a commit, or take the one that was made before; nobody removes it meanwhile.

    Args:
        repository: root of the checkout.
        commit: its files lie under `root`.
        root: where commands run.
        install: commands that install the project into the environment.
        tell: is called with what happens now.

    Yields:
        Its interpreter.

    Raises:
        InputError: a command fails.
    """
    read = commands(install)
    wanted = [f"{tool}=={metadata.version(tool)}" for tool in TOOLS]
    key = repr((str(repository), commit, read, wanted, sys.version, sys.executable))
    place = cache() / hashlib.sha256(key.encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # two arms, or runs, may use it at once
        if not (place / DONE).exists():
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not (place / DONE).exists():
            tell(f"installing {commit[:12]}: {line('; '.join(install))}")
            _make(place, root, [["pip", "install", *wanted], *read])
            (place / DONE).touch()
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(place)
        _forget_oldest(place)
        yield place / "bin" / "python"
    finally:
        os.close(descriptor)


def _make(place: Path, root: Path, install: Sequence[Sequence[str]]) -> None:
    """Make an environment, and run commands that install into it."""
    uv = shutil.which("uv")
    if uv:
        _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(place)], root, os.environ)
    else:
        _run([sys.executable, "-m", "venv", "--clear", str(place)], root, os.environ)
    programs = os.pathsep.join([str(place / "bin"), os.environ.get("PATH", os.defpath)])
    variables = {**os.environ, "PATH": programs, "VIRTUAL_ENV": str(place), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    variables.pop("PYTHONPATH", None)
    for command in install:
        words = [uv, *command] if uv and command[0] == "pip" else command
        _run(words, root, variables)


def _run(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
    """Run a command; its last line says what is wrong where it fails."""
    wrong = f"install: {line(shlex.join(command))}"
    program = shutil.which(command[0], path=variables.get("PATH"))
    if program is None:
        raise InputError(f"{wrong}: {command[0]} is not installed")
    done = subprocess.run(  # noqa: S603  the user's own
        [program, *command[1:]],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        errors = [row for row in done.stdout.splitlines() if "rror" in row] or done.stdout.splitlines() or ["no output"]
        raise InputError(f"{wrong} fails: {line(errors[-1].strip())}")


def _forget_oldest(own: Path) -> None:
    """Remove environments that are too many and that nobody uses."""
    others = sorted((path for path in cache().iterdir() if path != own), key=lambda path: path.stat().st_mtime)
    for path in others[: max(0, len(others) + 1 - KEPT)]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
