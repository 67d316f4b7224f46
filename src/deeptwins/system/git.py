"""Git, asked without its hooks and without the variables that it sets in a hook."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deeptwins.errors import InputError, escaped, line

LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")  # git sets them in a hook
DUBIOUS = (
    "{folder}: git does not read it, since it belongs to another user (dubious ownership);"
    " `git config --global --add safe.directory '{folder}'` trusts it"
)


def git(
    folder: Path,
    *arguments: str,
    wrong: str = "",
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> str:
    """Run git in a folder; returns what it prints, without the newline at its end.

    Args:
        folder: in a checkout, or to be found in none.
        arguments: of git.
        wrong: what is wrong when git refuses; by default git's own last line says it.
        environment: variables to set beside those of this process.
        limit_s: seconds after which git is given up; by default it may take as long as it wants.

    Raises:
        InputError: git refuses, takes too long, or is not installed.
    """
    variables = {name: value for name, value in os.environ.items() if name not in LOCAL}
    try:
        process = subprocess.run(  # noqa: S603
            ["git", "-c", f"core.hooksPath={os.devnull}", "-C", str(folder), *arguments],  # noqa: S607
            env={**variables, "GIT_LITERAL_PATHSPECS": "1", "LC_ALL": "C.UTF-8", **(environment or {})},
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # names of files are bytes
            check=True,
            timeout=limit_s,
        )
    except FileNotFoundError:
        raise InputError("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"git {arguments[0]}: not done after {limit_s:g} s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        if "dubious ownership" in error.stderr:
            found = re.search("repository at '(.*)'", error.stderr)
            whole = escaped(found[1] if found else str(folder))  # it is to be typed
            raise InputError(DUBIOUS.format(folder=whole)) from None
        raise InputError(wrong or f"git {arguments[0]}: {line(lines[-1])}") from None
    return process.stdout.rstrip("\n")
