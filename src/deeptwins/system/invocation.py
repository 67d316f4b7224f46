"""How a command is typed where the user stands, for every hint that names one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

TOX = {"run": "ablate", "report": "report", "gate": "gate"}
"""Commands that tox has an environment for (tox.ini), whose own `deeptwins` is not on the user's PATH."""


def here(command: str) -> str:
    """Write a command that begins with `deeptwins` or `tox` as it can be typed here."""
    name, _, words = command.partition(" ")
    if name == "tox":
        return f"{tox()} {words}"
    if name != "deeptwins":
        return command
    if os.environ.get("TOX_ENV_NAME") in TOX.values():
        what, _, rest = words.partition(" ")
        if what in TOX:
            return f"{tox()} -e {TOX[what]} -- {rest.removeprefix('--report').strip()}".removesuffix(" -- ")
    return f"{program()} {words}".rstrip()


def hint(text: str) -> str:
    """Return a message with the commands in its backticks as they can be typed here."""
    return re.sub("`([^`]+)`", lambda match: f"`{here(match[1])}`", text)


def program() -> str:
    """Write this program as it was started, or shorter where that works too."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{_shortened(Path(sys.orig_argv[0]))} -m deeptwins"
    found = shutil.which("deeptwins")
    elsewhere = found is None or not _same(Path(found), started)
    if started.name == "deeptwins" and started.is_file() and ("TOX_ENV_NAME" in os.environ or elsewhere):
        return _shortened(started)
    return "deeptwins"


def tox() -> str:
    """Write tox: from the PATH, or else from the environment that README makes, or from this one."""
    if "TOX_ENV_NAME" not in os.environ and shutil.which("tox"):  # tox puts its own folder on the PATH of its commands
        return "tox"
    places = Path(".venv/bin/tox"), Path(sys.executable).with_name("tox")
    return next((_shortened(path) for path in places if path.is_file()), "tox")


def lacking(module: str, extra: str) -> str:
    """Say that a module of an extra is missing, and what installs it."""
    return f"{module} is not installed; it comes with the extra deeptwins[{extra}]: {installing(extra)}"


def installing(extra: str) -> str:
    """Write the command that adds an extra of deeptwins to where this one is installed."""
    package = Path(__file__).parents[1]
    root, prefix = package.parents[1], Path(sys.prefix)
    if package.parent.name == "src" and (root / "pyproject.toml").is_file():  # a checkout
        what = f"-e {shlex.quote(f'{_nearer(root)}[{extra}]')}"
    else:
        what = shlex.quote(f"deeptwins[{extra}]")
    if (prefix / "uv-receipt.toml").is_file():
        return f"uv tool install {what}"
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx install --force {what}"
    python, pip = Path(sys.executable), shutil.which("pip")
    if find_spec("pip") is None:
        return f"uv pip install --python {_shortened(python)} {what}"
    if pip is not None and Path(pip).parent == python.parent:
        return f"pip install {what}"
    return f"{_shortened(python)} -m pip install {what}"


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.samefile(other)


def _shortened(path: Path) -> str:
    """Write a path from here where it lies below, and so that a shell takes it for one word."""
    return shlex.quote(str(_nearer(path)))


def _nearer(path: Path) -> Path:
    """Return a path from here where it lies below."""
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return path.relative_to(Path.cwd()) if inside else path
