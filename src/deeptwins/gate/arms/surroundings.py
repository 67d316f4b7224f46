"""What belongs to a commit's files and is not in its tree: submodules, ignored files, what has to be compiled."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from deeptwins.errors import line
from deeptwins.system.git import git

COMPILED = (".pyx", ".pxd", ".pxi", ".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".rs", ".f", ".f90")
"""Sources that do nothing until they are compiled."""
SUBMODULE = "160000"  # git's mode of one


def bring_submodules(checkout: Path, commit: str, root: Path) -> None:
    """Put the files of a commit's submodules where they belong, and those of submodules inside of them.

    They come from the checkout: nothing is fetched. One that is not checked out there is left out.

    Args:
        checkout: the user's, of the repository or of a submodule.
        commit: in it.
        root: where the commit's files lie.

    Raises:
        InputError: the checkout lacks the commit of a submodule.
    """
    for row in git(checkout, "ls-tree", "-r", "-z", commit).split("\0"):
        facts, _, path = row.partition("\t")
        place = checkout / path
        if not facts.startswith(SUBMODULE) or not (place / ".git").exists():
            continue
        wanted = facts.split()[2]
        wrong = f"{line(path)}: this submodule lacks commit {wanted[:12]}; `git -C {line(path)} fetch` gets it"
        with TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
            git(place, "read-tree", wanted, wrong=wrong, environment=index)
            git(place, "checkout-index", "--all", "--force", f"--prefix={root / path}/", environment=index)
        bring_submodules(place, wanted, root / path)


def is_ignored(checkout: Path, path: Path) -> bool:
    """Tell whether a path of the checkout holds files that git ignores."""
    return bool(git(checkout, "ls-files", "--others", "--ignored", "--exclude-standard", "--", str(path)))


def copy(checkout: Path, path: Path, root: Path) -> None:
    """Copy a file or folder of the checkout to the same place under another root."""
    source, target = checkout / path, root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def uncompiled(checkout: Path, base: str, head: str, parts: Iterable[Path]) -> list[str]:
    """Name the sources that must be compiled and that differ between two commits, but for those of the suite."""
    changed = git(checkout, "diff", "--name-only", "--no-renames", "-z", base, head).split("\0")
    suite_parts = [*parts]
    return [
        name for name in changed if name.endswith(COMPILED) and not any(map(Path(name).is_relative_to, suite_parts))
    ]
