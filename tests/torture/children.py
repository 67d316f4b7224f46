"""Cases in forked processes: a crash, a hang or a memory leak of one is seen from outside, and the next one goes on."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from deeptwins.errors import InputError
from tally import Tally

HANG_S = 60.0  # no case takes a tenth of this, on a busy machine neither
MEMORY = 6 << 30  # bytes that a process may hold beyond what it began with

Case = Callable[[int], tuple[str, str]]


def try_all(tally: Tally, case: Case, restore: Callable[[], None], numbers: range, deadline: float) -> None:
    """Try numbered cases, one after another, until the deadline.

    Args:
        tally: takes how each ended.
        case: tries one; returns how it ended, and what was seen. It may raise, hang, crash, and fill the memory.
        restore: mends what a case left that did not come to its end.
        numbers: of the cases.
        deadline: on the monotonic clock.
    """
    number = numbers.start
    while number < numbers.stop and time.monotonic() < deadline:
        number = _in_child(tally, case, number, numbers.stop, deadline)
        restore()


def _in_child(tally: Tally, case: Case, first: int, stop: int, deadline: float) -> int:
    """Fork a process that tries cases, and book what it reports; returns the number of the first untried case."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.close(here)
        _live(case, first, min(stop, first + 500), there, deadline)
    os.close(there)
    number = first
    with os.fdopen(here, "rb", buffering=0) as pipe:
        text = b""
        while True:
            if not select.select([pipe], [], [], HANG_S)[0]:
                os.kill(child, signal.SIGKILL)
                tally.book(str(number), "hang", f"longer than {HANG_S:.0f} s")
                number += 1
                break
            chunk = pipe.read(65536)
            text += chunk
            *lines, text = text.split(b"\n")
            for line in lines:
                ending, seen = line.decode(errors="replace").split(" ", 1)
                tally.book(str(number), ending, seen)
                number += 1
            if not chunk:
                break
    _, status, usage = os.wait4(child, 0)
    tally.peak_mib = max(tally.peak_mib, usage.ru_maxrss / 1024)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        tally.book(str(number), "crash", signal.Signals(os.WTERMSIG(status)).name)
        number += 1
    return number


def _live(case: Case, first: int, stop: int, pipe: int, deadline: float) -> None:
    """Try cases and report each with a line; never returns."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, held + MEMORY))
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        for number in range(first, stop):
            ending, seen = _outcome(case, number)
            sys.stderr.flush()
            if noise.tell() and ending not in {"traceback", "silent"}:
                noise.seek(0)
                ending, seen = "noise", noise.read().decode(errors="replace")
            noise.seek(0)
            noise.truncate()
            os.write(pipe, f"{ending} {' '.join(seen.split())[:500]}\n".encode(errors="replace"))
            if time.monotonic() > deadline:
                break
    os._exit(0)


def _outcome(case: Case, number: int) -> tuple[str, str]:
    """Try a case; what a user can mend is one line that names it, all else is a defect."""
    try:
        with contextlib.redirect_stdout(None):
            return case(number)
    except InputError as error:
        return ("named", str(error)) if "\n" not in str(error) else ("traceback", f"more than a line: {error}")
    except OSError as error:  # of which the command line makes a line, too
        return ("named" if error.filename else "traceback"), f"{error.filename}: {error.strerror}"
    except BaseException as error:  # noqa: BLE001  that is what is looked for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return "traceback", f"{type(error).__name__}: {error} at {Path(frame.filename).name}:{frame.lineno}"
