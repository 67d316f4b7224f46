"""Kill, stop and signal commands and workers at any moment: the same command still ends with the same numbers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from random import Random

import commands
from commands import Command
from tally import Tally

ITERATIONS = 400  # of each run: some seconds
START_S = 0.2  # Python's own start, in which no code of ours can handle a signal, is left in peace
DISTURBED = 40  # times that a study is disturbed before it is left in peace


def try_all(tally: Tally, folder: Path, numbers: range, seed: int, deadline: float) -> None:
    """Train the same study again and again, disturbed, and compare it with an undisturbed one."""
    study = commands.study_in(folder, ITERATIONS)
    code, said = commands.run("run", study, "--results", folder / "sound")
    if code:
        raise RuntimeError(f"the undisturbed study ended with {code}: {said}")
    sound = commands.numbers(folder / "sound")
    random = Random(f"{seed} kills {numbers.start}")
    tally.begun = time.monotonic()
    while tally.ended.total() < len(numbers) and time.monotonic() < deadline:
        results = folder / "disturbed"
        done, defects = _disturbed(random, study, results, deadline)
        same = commands.numbers(results) == sound
        left = sorted(path.name for path in results.rglob("*") if path.suffix in {".part", ".checkpoint"})
        ending = "same" if same and not left else "silent"
        for kind in done:
            tally.book(str(tally.ended.total()), ending, f"{kind} of {done}: other records, or left behind: {left}")
        for ending, seen in defects:
            tally.book(str(tally.ended.total()), ending, seen)
        shutil.rmtree(results)


def _disturbed(random: Random, study: Path, results: Path, deadline: float) -> tuple[list[str], list[tuple[str, str]]]:
    """Train a study to its end with the same command, however often it is disturbed; in peace after the deadline.

    Returns:
        What was done to it, and the defects that commands showed.
    """
    done: list[str] = []
    defects: list[tuple[str, str]] = []
    while True:
        running = [commands.start("run", study, "--workers", 2, "--results", results)]
        if random.random() < 0.2:
            running.append(commands.start("run", study, "--workers", 1, "--results", results))
        codes = [_take_to_its_end(random, command, running, results, deadline, done, defects) for command in running]
        if 0 in codes:
            return done, defects


def _take_to_its_end(  # noqa: PLR0913, PLR0917
    random: Random,
    command: Command,
    running: list[Command],
    results: Path,
    deadline: float,
    done: list[str],
    defects: list[tuple[str, str]],
) -> int:
    """Disturb commands until one has ended; returns its exit code."""
    before, moved, seen = len(done), time.monotonic(), (0, 0)
    while (code := command.process.poll()) is None:
        in_peace = len(done) >= DISTURBED or time.monotonic() > deadline
        time.sleep(0.1 if in_peace else START_S + random.expovariate(1 / 1.2))
        alive = [one for one in running if one.process.poll() is None]
        if alive and not in_peace and (kind := _disturb(random, random.choice(alive))):
            done.append(kind)
        # However slow the machine is, what trains leaves records.
        if (now := (len(done), _bytes(results))) != seen:
            moved, seen = time.monotonic(), now
        if time.monotonic() - moved > commands.HANG_S:
            defects.append(("hang", f"after {done[before:]}"))
            os.killpg(command.process.pid, signal.SIGKILL)
            command.process.wait()
    if shown := commands.fault(code, command.text()):
        defects.append((shown[0], f"after {done[before:]}: {shown[1]}"))
    return code


def _bytes(folder: Path) -> int:
    """The bytes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            total += path.stat().st_size
    return total


def _disturb(random: Random, command: Command) -> str:
    """Do one thing to a command or to a process of its own; says what, or nothing where there was none to do it to."""
    kind = random.choices(
        ["worker", "parent", "group", "stop", "SIGTERM", "SIGINT", "SIGHUP"], [40, 10, 10, 20, 7, 7, 6]
    )[0]
    parent = command.process.pid
    with contextlib.suppress(ProcessLookupError):
        if kind in {"worker", "stop"}:
            others = [pid for pid in _session(parent) if pid != parent]
            if not others:
                return ""
            victim = random.choice(others)
            if kind == "stop":
                os.kill(victim, signal.SIGSTOP)
                time.sleep(random.expovariate(1 / 0.3))
                os.kill(victim, random.choice([signal.SIGCONT, signal.SIGKILL]))
            else:
                os.kill(victim, signal.SIGKILL)
        elif kind == "group":
            os.killpg(parent, signal.SIGKILL)
        else:
            os.kill(parent, signal.SIGKILL if kind == "parent" else signal.Signals[kind])
        return kind
    return ""


def _session(leader: int) -> list[int]:
    """The processes of a session, that leads itself."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                members.append(int(stat.parent.name))
    return sorted(members)
