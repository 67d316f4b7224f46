"""Folders that are gone afterwards; what a killed gate has left goes when the next one makes its own.

A gate locks its folders as long as it runs. So what is locked by nobody is left over, whatever ended its gate.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX, UNLOCKED = "deeptwins-gate-", "deeptwins-"  # of names: of folders, and of those that are only being made


@contextmanager
def folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder, and remove those that are left over beside it.

    Args:
        parent: where; by default where temporary files go.
    """
    place = Path(tempfile.gettempdir() if parent is None else parent).resolve()
    for left in place.glob(f"{PREFIX}*"):
        remove_left(left)
    made = Path(tempfile.mkdtemp(prefix=UNLOCKED, dir=place))
    descriptor = os.open(made, os.O_RDONLY)
    try:
        _lock(descriptor)  # before it has the name by which others find it
        made = made.rename(made.with_name(made.name.replace(UNLOCKED, PREFIX)))
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def remove_left(path: Path) -> bool:
    """Remove a folder of ours that is left over; whether it is gone now, or was before."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:  # somebody else's
        return False
    try:
        if os.fstat(descriptor).st_uid != os.getuid() or not _lock(descriptor):
            return False
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock a folder; False where another process has it, or there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
