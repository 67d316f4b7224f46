"""Give every Python process of a command a poor file system, where LACKING asks for one."""

import os

if "LACKING" in os.environ:
    import lacking  # noqa: F401
