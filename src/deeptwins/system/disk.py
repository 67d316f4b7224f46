"""Writing that lasts, on whatever file system: what it cannot do is done without, and told before anything is trained.

Network file systems and folders shared with a virtual machine may have no locks, and may refuse to sync a folder or a
file. Any other error is one: a full disk, a broken one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from deeptwins.errors import InputError, naming

LACKING = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}  # the file system cannot do it
CLOSED = {errno.EACCES, errno.EBADF, errno.EISDIR, errno.EPERM}  # how some say so of opening or syncing a folder
TAKEN = {errno.EACCES, errno.EAGAIN}  # another process has the lock
UNSYNCED = "this file system cannot sync: a power cut may take what was written last; a kill takes nothing"
UNLOCKED = "this file system has no locks: let no other command train the same study at the same time"
ANY_SIZE = 4096  # bytes of a file that is written for a try


def part_of(path: Path) -> Path:
    """Where `replace` writes first. What a kill leaves there is never read, and the next `replace` overwrites it."""
    return path.with_name(path.name + ".part")


def replace(path: Path, content: bytes) -> None:
    """Write a whole file so that a reader, or a kill, sees the old content or the new one, never a part.

    Raises:
        OSError: the disk is full or not writable; the old file stays, and nothing else.
    """
    part = part_of(path)
    try:
        with naming(path), part.open("wb") as file:
            file.write(content)
            sync(file)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    sync_folder(path.parent)


def sync(file: BinaryIO) -> bool:
    """Make durable what was written to a file; False where the file system cannot."""
    file.flush()
    return _synced(file.fileno())


def sync_folder(folder: Path) -> bool:
    """Make durable that a file was made in a folder, or renamed; False where the file system cannot."""
    try:
        with naming(folder):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                return _synced(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        if error.errno in CLOSED:
            return False
        raise


def _synced(descriptor: int) -> bool:
    """Sync; False where the file system cannot."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in LACKING:
            return False
        raise
    return True


def lock(file: BinaryIO, byte: int) -> bool | None:
    """Lock a byte of a file against other processes; False where one of them has it, None without locks."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        if error.errno in LACKING:
            return None
        raise
    return True


def shortcomings(folder: Path) -> list[str]:
    """Try in a folder what training does there; returns what its file system cannot do, and what that costs.

    Raises:
        OSError: it cannot be written.
    """
    lost: list[str] = []
    with naming(folder), tempfile.TemporaryFile(dir=folder) as probe:  # which no kill leaves behind
        probe.write(bytes(ANY_SIZE))
        if not sync(probe) or not sync_folder(folder):
            lost.append(UNSYNCED)
        if lock(probe, 0) is None:
            lost.append(UNLOCKED)
    return lost


def cache_folder(wrong: str) -> Path:
    """Where files are kept that can be made or loaded again: XDG_CACHE_HOME/deeptwins, by default ~/.cache/deeptwins.

    Raises:
        InputError: there is no home folder; `wrong` says what to do.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deeptwins"
    except RuntimeError:
        raise InputError(wrong) from None
