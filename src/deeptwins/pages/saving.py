"""A page's files, as a whole or not at all: whenever the process is killed, the old page is there, or the new one.

The new page is written beside the old one, in a folder whose name begins with `NEW`. What others have put into the old
folder is linked into it, and the two folders change places at once. Where the file system cannot do that, the folder is
renamed to `WHOLE` inside the old one when all is written, and its files are moved one by one; what a kill interrupts
there, the next command that writes a page finishes. It removes other leftovers, too.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

NEW, WHOLE = ".new-", ".whole-"
OWN = re.compile(rf"({re.escape(NEW)}|{re.escape(WHOLE)})\w{{8}}")
LEFT_S = 86_400.0  # what is older is left over, also where it cannot be told whether somebody is writing it
INDEX = "index.html"
MARK = '<p class="eyebrow">deeptwins <span'  # in the index: it is one of ours
LINK = re.compile(
    r'<a href="([^"/]+\.svg|(?:data|figures|tables)/[^"/]+\.(?:csv|pdf|png|svg|tex))">'
)  # in the index: a file of the page's own


def save(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a page into its folder; figures and data that only its last version had go. What others put there stays.

    Args:
        folder: of the page; its parent is the folder of all pages.
        files: their content, by name.

    Raises:
        OSError: it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _swept(folder.parent):
        try:
            _exchange(folder, files)
        except OSError:  # if the reason is no property of the file system, it is raised now
            _move(folder, files)


def _exchange(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the page beside its folder, and let the two change places.

    Raises:
        OSError: they cannot; nothing has changed.
    """
    new = folder.parent / f"{NEW}{secrets.token_hex(4)}"
    try:
        _write(new, files)
        if not os.path.lexists(folder):
            new.rename(folder)
            return
        was, will_be = folder.lstat(), new.lstat()
        if folder.is_symlink() or (was.st_uid, was.st_gid) != (will_be.st_uid, will_be.st_gid):
            raise OSError(errno.EXDEV, "not a folder that another can take the place of")
        ours = {*_ours(folder), *files}
        _link(folder, new, ours)
        _rename_exchange(folder, new)
        with suppress(OSError):
            _link(new, folder, ours)  # what has come there meanwhile
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _move(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the page inside its folder, and move its files to their places.

    Raises:
        OSError: the page cannot be written.
    """
    folder.mkdir(exist_ok=True)
    new, whole = (folder / f"{start}{secrets.token_hex(4)}" for start in (NEW, WHOLE))
    try:
        _write(new, files)
        new.rename(whole)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _finish(whole)


def _finish(whole: Path) -> None:
    """Move the files of a page from a folder inside its own, wherever that was interrupted before."""
    folder = whole.parent
    if (whole / INDEX).exists():  # it is moved last
        gone = _ours(folder) - _ours(whole)
        names = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
        for name in sorted(names, key=lambda name: name == Path(INDEX)):
            if name == Path(INDEX):
                for old in gone:
                    (folder / old).unlink(missing_ok=True)
                    with suppress(OSError):
                        (folder / old).parent.rmdir()  # where nothing else is in it
            (folder / name).parent.mkdir(exist_ok=True)
            (whole / name).replace(folder / name)
    shutil.rmtree(whole)


def _write(new: Path, files: Mapping[str, bytes]) -> None:
    """Write a page's files into a new folder."""
    new.mkdir()
    for name, content in files.items():
        path = new / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def _ours(folder: Path) -> set[str]:
    """The figures, tables and data that the page in a folder has, as its index lists them; of another's index, none."""
    try:
        text = (folder / INDEX).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return {*LINK.findall(text)} if MARK in text else set()


def _link(old: Path, new: Path, ours: set[str]) -> None:
    """Link everything from one folder into another, but what is the page's own."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        inside = Path(folder).relative_to(old)
        return [name for name in names if str(inside / name) in ours or OWN.fullmatch(name) or only_ours(inside / name)]

    def only_ours(place: Path) -> bool:
        inside = [] if (old / place).is_symlink() else [str(path.relative_to(old)) for path in (old / place).rglob("*")]
        return bool(inside) and ours.issuperset(inside)

    def link(source: str, target: str) -> None:
        with suppress(FileExistsError):
            os.link(source, target)

    shutil.copytree(old, new, symlinks=True, ignore=left_out, copy_function=link, dirs_exist_ok=True)


def _rename_exchange(one: Path, other: Path) -> None:
    """Let two folders change places at once.

    Raises:
        OSError: the file system, or this system, cannot.
    """
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of renameat2(2)
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(here, os.fsencode(one), here, os.fsencode(other), exchange):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def _swept(reports: Path) -> Iterator[None]:
    """Finish or remove what a kill has left in the folder of all pages; meanwhile nobody takes what is written here."""
    descriptor = os.open(reports, os.O_RDONLY)
    try:
        alone = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # others are writing, or there are no locks
            alone = False
        for path in [*reports.glob(".*-*"), *reports.glob("*/.*-*")]:
            with suppress(OSError):
                if OWN.fullmatch(path.name) and (alone or path.lstat().st_mtime < time.time() - LEFT_S):
                    if path.name.startswith(WHOLE):
                        _finish(path)
                    else:
                        shutil.rmtree(path)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
