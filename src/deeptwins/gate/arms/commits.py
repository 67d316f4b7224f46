"""Which two commits are compared. Git alone is asked, so that it is known at once where there is nothing to compare."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deeptwins.errors import InputError, line
from deeptwins.gate.arms import worktrees
from deeptwins.gate.arms.worktrees import Suite
from deeptwins.system.git import git

REMOTE = "origin/HEAD"  # where it is set, it names the main branch, whatever that is called
# Of a remote repository, without what may be secret in it: host and path.
ADDRESS = re.compile(r"(?:https://(?:[^@/]*@)?|ssh://git@|git@)([\w.-]+)[:/]([\w./-]+?)(?:\.git)?/?")
MAIN = tuple(f"{remote}{name}" for name in ("main", "master", "trunk") for remote in ("origin/", ""))


class NothingToCompareError(InputError):
    """Both commits are the same one."""


@dataclass(frozen=True)
class Commits:
    """Base and head of a comparison."""

    base: str
    head: str
    kind: Literal["paired", "anchor", "aa"]
    dirty: bool
    """Whether head holds changes that are not committed."""


def choose(
    repository: Path,
    base: str | None = None,
    *,
    anchor: str | None = None,
    head: str | None = None,
    itself: bool = False,
) -> Commits:
    """Choose the commits that the user means.

    A commit is compared with itself only where the same name is given twice, as `--base HEAD` does, or on request.

    Args:
        repository: root of a checkout.
        base: is compared with where head left it; None for the main branch.
        anchor: is compared with itself.
        head: None for the checkout with its changes of tracked files.
        itself: whether a commit may be compared with itself.

    Raises:
        NothingToCompareError: head is a part of base.
        InputError: a name means no commit, or they have none in common.
    """
    commit, dirty = worktrees.snapshot(repository) if head is None else (worktrees.resolve(repository, head), False)
    if anchor is not None:
        return Commits(worktrees.resolve(repository, anchor), commit, "anchor", dirty)
    name, given = head or "HEAD", base or main_branch(repository)
    other = worktrees.merge_base(repository, given, commit)
    if other != commit:
        return Commits(other, commit, "paired", dirty)
    if base != name and not itself:
        raise NothingToCompareError(_nothing(repository, name, given, commit))
    return Commits(commit, commit, "aa", dirty=False)


def facts(repository: Path, commit: str) -> dict[str, str]:
    """Return when a commit was written, and the address of the repository's pages, as far as they are known."""
    known = {"authored": git(repository, "show", "--no-patch", "--format=%aI", commit)}
    try:
        remote = git(repository, "remote", "get-url", "origin")
    except InputError:
        return known
    address = ADDRESS.fullmatch(remote)
    return known | ({"repository": f"https://{address[1]}/{address[2]}"} if address else {})


def main_branch(repository: Path) -> str:
    """Name the main branch: that of the remote repository, else the first of the usual names that is there.

    Raises:
        InputError: there is none.
    """
    try:
        return git(repository, "rev-parse", "--abbrev-ref", REMOTE)
    except InputError:
        return worktrees.first(repository, MAIN)


def _nothing(repository: Path, name: str, given: str, commit: str) -> str:
    """Say that head is no later than base, and what would be."""
    is_tip = worktrees.resolve(repository, given) == commit
    where = f"is {line(given)}" if is_tip else f"is already in {line(given)}"
    others = [f"name an older commit{_older(repository, name)}"]
    if name == "HEAD":
        others.append("change a file that git tracks")
        if git(repository, "ls-files", "--others", "--exclude-standard"):
            others.append("add your new files to git")
    return f"{line(name)} {where} ({commit[:12]}), so there is nothing to compare: {', or '.join(others)}"


def _older(repository: Path, name: str) -> str:
    """Give an example of an older commit, or say why there is none."""
    try:
        worktrees.resolve(repository, f"{name}~1")
    except InputError:
        shallow = worktrees.is_shallow(repository)
        return f" with --base ({worktrees.UNSHALLOW})" if shallow else " with --base (there is none yet)"
    return f", such as --base {line(name)}~1"


def unchanged(root: Path, commits: Commits, parts: Suite) -> str:
    """Say why two commits cannot differ in speed; empty where they can, or where each is to be measured anyway."""
    if commits.kind != "paired":
        return ""
    both = f"{commits.base[:12]} and {commits.head[:12]}"
    if worktrees.same_files(root, commits.base, commits.head):
        return f"Nothing to measure: {both} have the same files."
    if worktrees.only_prose(root, commits.base, commits.head, parts.parts):
        return f"Nothing to measure: only documents, reports or results differ between {both}."
    return ""
