"""Where code comes from: the version of its distribution, a hash of its source, the commit of its folder."""

from __future__ import annotations

import hashlib
import sysconfig
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from deeptwins.errors import InputError, naming
from deeptwins.system.git import git
from deeptwins.system.importing import attribute, code, top

GIT_SECONDS = 10.0  # a hung file system may not keep anybody from training


def origin(name: str) -> dict[str, str | None]:
    """Say where the code of `package.module:attribute` comes from.

    Returns:
        Its outermost `package`, or a module in none; the `version` of that; `sha256` of its source; `commit`. What is
        None is not known.

    Raises:
        InputError: it cannot be imported.
        OSError: its source cannot be read.
    """
    attribute(name)
    return dict(_origin(top(name)))


@cache  # by the module: what is imported stays what it is, whatever becomes of its files
def _origin(module: ModuleType) -> dict[str, str | None]:
    files = _files(module)
    return {
        "package": module.__name__,
        "version": _version(module),
        "sha256": _sha256(files) if files else None,
        "commit": commit(next(iter(files.values())), *map(str, code(module))) if files else None,
    }


def _version(module: ModuleType) -> str | None:
    """Return the version of the distribution that a package was installed with: of its name, or found in a second."""
    try:
        return metadata.version(module.__name__)
    except metadata.PackageNotFoundError:
        libraries = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
        if not any(place.is_relative_to(library) for place in code(module) for library in libraries):
            return None
        distributions = metadata.packages_distributions().get(module.__name__)
        return metadata.version(distributions[0]) if distributions else None


def _files(module: ModuleType) -> dict[str, Path]:
    """List the Python files of a package, or the one of a module, by their path in it."""
    found: dict[str, Path] = {}
    for place in code(module):
        files = place.rglob("*.py") if place.is_dir() else [place]
        found |= {file.relative_to(place.parent).as_posix(): file for file in files if file.is_file()}
    return dict(sorted(found.items()))


def _sha256(files: dict[str, Path]) -> str:
    """Hash files with their names."""
    digest = hashlib.sha256()
    for name, file in files.items():
        with naming(file):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{content} {name}\n".encode())
    return digest.hexdigest()


def commit(file: Path, *paths: str) -> str | None:
    """Name the commit of the checkout that a file lies in; None where git does not hold the file.

    Args:
        file: of code; an installed copy may lie inside somebody else's repository, which does not hold it.
        paths: as git takes them; `-dirty` is appended where files of these differ.
    """
    folder = file.parent
    if _git(folder, "ls-files", "--error-unmatch", file.name) is None:
        return None
    name = _git(folder, "describe", "--always", "--abbrev=12", "--exclude=*")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *paths)
    return f"{name}-dirty" if name and changed else name


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, which takes paths with their magic words; None where it fails or prints nothing."""
    try:
        return git(folder, *arguments, environment={"GIT_LITERAL_PATHSPECS": "0"}, limit_s=GIT_SECONDS) or None
    except InputError:
        return None
