"""Writing that lasts, on file systems that lack something, or are full."""

import errno
import fcntl
import os
import resource
import signal
import stat

import pytest

from deeptwins import records
from deeptwins.records import RunFiles
from deeptwins.records.locks import claimed
from deeptwins.system import disk

LACKING = [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK]
SYNC, LOCKS = "cannot sync: a power cut may take", "has no locks: let no other command"


def failing(code):
    """A call of the system that always fails."""

    def fail(*_arguments):
        raise OSError(code, os.strerror(code))

    return fail


def failing_for_folders(code):
    """A sync that fails for folders alone, as that of a network file system."""
    sync = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    return fsync


def lost(folder):
    """What the folder's file system is said to lack, by the first words."""
    return [words for words in (SYNC, LOCKS) if any(words in said for said in disk.shortcomings(folder))]


@pytest.mark.parametrize("code", [*LACKING, errno.EBADF, errno.EACCES, errno.EISDIR, errno.EPERM])
def test_a_folder_that_cannot_be_synced_is_written_all_the_same(tmp_path, monkeypatch, code):
    """Files are written whole and in their place, and what a power cut may take is told."""
    monkeypatch.setattr(os, "fsync", failing_for_folders(code))
    path = tmp_path / "file"
    records.replace(path, b"old")
    records.replace(path, b"new")

    assert path.read_bytes() == b"new"
    assert lost(tmp_path) == [SYNC]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_opened_is_written_all_the_same(tmp_path, monkeypatch):
    """Some systems do not open folders at all."""
    open_ = os.open

    def opened(path, flags, *rest, **options):
        if path == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", opened)
    records.replace(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"
    assert lost(tmp_path) == [SYNC]


@pytest.mark.parametrize("code", LACKING)
def test_without_locks_every_run_is_free(tmp_path, monkeypatch, code):
    """A file system without locks, or without anything to sync by, trains; what is lost is told."""
    (tmp_path / "study").mkdir()
    monkeypatch.setattr(fcntl, "lockf", failing(code))
    with claimed(RunFiles(tmp_path, "study", "run-0000000a"), RunFiles(tmp_path, "study", "run-0000000b")) as free:
        assert free
    assert lost(tmp_path) == [LOCKS]

    monkeypatch.setattr(os, "fsync", failing(code))
    assert lost(tmp_path) == [SYNC, LOCKS]


def test_a_whole_file_system_lacks_nothing(tmp_path):
    """Where files can be synced and locked there is nothing to tell, and nothing stays of the try."""
    assert disk.shortcomings(tmp_path) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_broken_disk_lacks_nothing_and_is_an_error(tmp_path, monkeypatch, code):
    """An error that is no shortcoming is raised, and names its file; nothing half-written stays beside the old one."""
    path, files = tmp_path / "file", RunFiles(tmp_path, ".", "run-0000000a")
    records.replace(path, b"old")
    monkeypatch.setattr(os, "fsync", failing(code))
    monkeypatch.setattr(fcntl, "lockf", failing(code))

    for name, write in (
        (path, lambda: records.replace(path, b"new")),
        (tmp_path, lambda: disk.shortcomings(tmp_path)),
        (tmp_path, lambda: disk.sync_folder(tmp_path)),
        (files.lock, lambda: claimed(files).__enter__()),
    ):
        with pytest.raises(OSError, match=os.strerror(code)) as error:
            write()
        assert (error.value.errno, error.value.filename) == (code, str(name))
    assert path.read_bytes() == b"old"
    assert {*tmp_path.iterdir()} == {path, tmp_path / ".lock"}


def test_a_full_disk_keeps_no_half_file(tmp_path):
    """A file that does not fit leaves the old one, no part of the new one, and an error that names it."""
    path = tmp_path / "file"
    records.replace(path, b"old")
    limit, signalled = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            records.replace(path, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, signalled)

    assert error.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_error_of_a_write_is_told_where_nothing_can_be_removed(tmp_path, monkeypatch):
    """Where the half file cannot be removed either, the reason that it was not written is what is raised."""
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    monkeypatch.setattr(os, "unlink", failing(errno.EROFS))

    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        records.replace(tmp_path / "file", b"new")
