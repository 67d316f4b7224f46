"""A poor file system: with `TORTURE_SHIM=fsync:22`, say, every `os.fsync` fails with that number of an error."""

import errno
import fcntl
import os

_WHAT, _, _NUMBER = os.environ.get("TORTURE_SHIM", "").partition(":")


def _fails(function):
    """Stand in for a system call that the file system does not have."""

    def failing(*_arguments):
        raise OSError(int(_NUMBER), os.strerror(int(_NUMBER)))

    return failing if int(_NUMBER) else function


if _WHAT == "fsync":
    # Files can be synced, folders cannot.
    _sync = os.fsync

    def _only_files(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112  pathlib would be loaded into every process
            raise OSError(int(_NUMBER), os.strerror(int(_NUMBER)))
        _sync(descriptor)

    os.fsync = _only_files
elif _WHAT == "lock":
    fcntl.lockf, fcntl.flock = _fails(fcntl.lockf), _fails(fcntl.flock)
elif _WHAT:
    raise OSError(errno.EINVAL, f"TORTURE_SHIM={_WHAT}")
