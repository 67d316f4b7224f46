"""A file system that lacks something, for a whole command and its workers: let their `sitecustomize` import this.

LACKING names calls and how they fail, as in `folders=EINVAL files=ENOTSUP locks=ENOLCK`: syncs of folders and of files,
and locks.
"""

import errno
import fcntl
import os
import stat

CODES = {call: getattr(errno, name) for call, name in (part.split("=") for part in os.environ["LACKING"].split())}


def fail(call):
    """Raise what a call is to fail with, if it is to fail."""
    if call in CODES:
        raise OSError(CODES[call], os.strerror(CODES[call]))


def fsync(descriptor, sync=os.fsync):
    """Stand in for `os.fsync`."""
    fail("folders" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "files")
    sync(descriptor)


def lockf(file, command, *place, lock=fcntl.lockf):
    """Stand in for `fcntl.lockf`."""
    fail("locks")
    return lock(file, command, *place)


def flock(file, command, lock=fcntl.flock):
    """Stand in for `fcntl.flock`."""
    fail("locks")
    return lock(file, command)


os.fsync, fcntl.lockf, fcntl.flock = fsync, lockf, flock
