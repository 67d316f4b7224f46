"""Standard output and error, whose readers may go away: behind `| head`, or with the terminal."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from typing import Any


class StandardStream(io.FileIO):
    """A file descriptor that nobody need read: what is written after its reader has gone goes nowhere."""

    def write(self, data: Any) -> int:  # noqa: ANN401  bytes, in any form
        """Write bytes.

        Raises:
            OSError: they cannot be written for another reason, e.g. to a file on a full disk.
        """
        try:
            return super().write(data)
        except OSError as error:
            terminal = stat.S_ISCHR(os.fstat(self.fileno()).st_mode)
            if not (error.errno == errno.EPIPE or (error.errno == errno.EIO and terminal)):
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        return memoryview(data).nbytes


def prepare() -> None:
    """Let no command end with the reader of its output; a stream that was closed from the start goes nowhere, too."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one: else a record's file would
    for number, name, errors in ((1, "stdout", "replace"), (2, "stderr", "backslashreplace")):
        before = getattr(sys, name)
        if before:
            before.flush()  # what a caller has printed comes first
        output = StandardStream(number, "w", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(output),
            encoding=before.encoding if before else "utf-8",
            errors=errors,  # better a question mark than a traceback where it is not UTF-8
            line_buffering=number == 2 or output.isatty(),  # noqa: PLR2004
        )
        setattr(sys, name, text)
