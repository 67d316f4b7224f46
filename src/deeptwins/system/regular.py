"""Regular files, to be read: a FIFO, a device or a file without end neither hangs a command nor fills the memory."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check(path: Path) -> None:
    """Check that a path is a regular file, or a link to one. To open something else could wait for ever.

    Raises:
        OSError: it is something else, which the error names, or nothing.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"{_KINDS.get(kind, 'something')}, not a regular file", str(path))


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read it.

    Raises:
        OSError: `check` refuses it, or it cannot be opened.
    """
    check(path)
    return path.open("rb")


def read(path: Path, most: int) -> bytes:
    """Read a whole regular file of `most` bytes or less.

    Raises:
        OSError: it is larger, which is found before its content is read, or `open_file` refuses it.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1) if size <= most else b""
        if len(content) > size:  # some file systems say 0 of any file
            content += file.read(most + 1)
        if max(size, len(content)) > most:
            raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
        return content
