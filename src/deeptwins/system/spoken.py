"""What somebody's code prints, line by line: it becomes lines of a display, and breaks nothing that is drawn."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from deeptwins.errors import line

LONGEST = 2000  # characters of a line


class Spoken(io.TextIOBase):
    """A stream in the terminal's place: each line is printed, escaped, and at the end also an unfinished one."""

    encoding = "utf-8"

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say, self._begun = say, ""

    def write(self, text: str) -> int:
        """Say the lines that are complete. Of one that is written over itself, as bars are, the last state counts."""
        *lines, begun = (self._begun + text).split("\n")
        for complete in lines:
            self._say(line(complete.rstrip("\r").rpartition("\r")[2], LONGEST))
        self._begun = begun if begun.endswith("\r") else begun.rpartition("\r")[2]
        return len(text)

    def __exit__(self, *_error: object) -> None:
        """Say what is left. It can still be written to: somebody may have kept it."""
        if self._begun:
            self.write("\n")


@contextmanager
def heard(say: Callable[[str], object]) -> Iterator[None]:
    """Let whatever is printed inside, or warned of, be said line by line; who says it may print as before."""
    out, err = sys.stdout, sys.stderr

    def aloud(text: str) -> None:
        with redirect_stdout(out), redirect_stderr(err):
            say(text)

    with Spoken(aloud) as stream, redirect_stdout(stream), redirect_stderr(stream):
        yield
