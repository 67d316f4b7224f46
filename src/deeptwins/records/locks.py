"""Locks: a run is trained by one process at a time, however many there are."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from deeptwins.errors import naming
from deeptwins.records.files import RunFiles
from deeptwins.system import disk, regular

# The lock files that this process has open, each with the number of `claimed` blocks that use it.
_lock_files: dict[Path, tuple[BinaryIO, int]] = {}


@contextmanager
def claimed(first: RunFiles, *others: RunFiles) -> Iterator[bool]:
    """Lock runs of one study against all other processes, or yield False when one of them is taken.

    So several `deeptwins run` can share a study. A lock is one byte of the study's `.lock`, at an offset that is the
    run's hash. It vanishes with its process, so a kill leaves nothing locked. The file stays, empty: nobody removes it,
    so there is no race between locking and removing. (The record file cannot be locked: resuming replaces it.) On a
    file system without locks every run counts as free; the user has been warned.

    Raises:
        OSError: the results folder is not writable.
    """
    places = [files.lock_byte for files in (first, *others)]
    with _lock_file(first.lock.absolute()) as file:
        with naming(first.lock):
            locked = {place: disk.lock(file, place) for place in places}
        try:
            yield False not in locked.values()
        finally:
            for place in (place for place, held in locked.items() if held):
                fcntl.lockf(file, fcntl.LOCK_UN, 1, place)


@contextmanager
def _lock_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file once in this process, however many blocks use it: closing one of two handles would drop all locks."""
    if path.exists():
        regular.check(path)
    file, users = _lock_files[path] if path in _lock_files else (path.open("ab"), 0)
    _lock_files[path] = file, users + 1
    try:
        yield file
    finally:
        file, users = _lock_files.pop(path)
        if users > 1:
            _lock_files[path] = file, users - 1
        else:
            file.close()
