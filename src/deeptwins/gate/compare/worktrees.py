"""Two commits side by side, as git worktrees in a scratch folder that is gone afterwards."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deeptwins.errors import InputError, line

PROSE = (".md", ".rst", "LICENSE", "docs/", "reports/", "results/")  # ends and beginnings of what never runs
CONFIGS = (
    "pyproject.toml",
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "tox.ini",
    "setup.cfg",
    "conftest.py",
)  # at the root, which pytest reads
LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")  # of the checkout of a hook
CODE = (".py", ".pyi", ".pyx", ".c", ".h", ".cpp", ".cu", ".rs", ".toml", ".cfg", ".ini")  # no prose wherever it lies
LIST = "gate.txt"  # in the suite's folder: the names of all that should be measured
COMMENT = re.compile(r"(?:^|\s)#")  # in the list; names have the sign inside a word
_WHO = {
    f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", "gate"), ("EMAIL", "-"))
}


@dataclass(frozen=True)
class Arm:
    """A side of a comparison."""

    name: str
    """base or head."""
    commit: str
    root: Path
    """Of its worktree."""

    def environment(self) -> dict[str, str]:
        """Return the variables of a process that imports this arm's code before any that is installed."""
        path = [str(folder) for folder in (self.root / "src", self.root) if folder.is_dir()]
        return {"PYTHONPATH": os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])}


@dataclass(frozen=True)
class Suite:
    """The benchmarks that both arms run, by one definition."""

    path: Path
    """Of the folder or file, relative to the root of the repository."""
    beside: tuple[Path, ...]
    """What it needs from elsewhere in the repository."""
    commit: str
    """Whose they are."""

    @property
    def parts(self) -> tuple[Path, ...]:
        """All that is brought into both arms."""
        return self.path, *self.beside


def root_of(folder: Path) -> Path:
    """Return the root of the checkout that a folder lies in.

    Raises:
        InputError: it lies in none.
    """
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel"))
    except InputError:
        raise InputError(f"{folder}: not in a git repository, where the gate finds the commits to compare") from None


def resolve(repository: Path, ref: str) -> str:
    """Return the commit that a name means.

    Raises:
        InputError: none.
    """
    try:
        return _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except InputError:
        raise InputError(f"{line(ref)}: no such commit here; in a shallow clone, fetch it first") from None


def first(repository: Path, refs: Iterable[str]) -> str:
    """Return the first name that means a commit.

    Raises:
        InputError: none does.
    """
    for ref in refs:
        try:
            resolve(repository, ref)
        except InputError:
            continue
        return ref
    raise InputError(f"nothing to compare with: there is none of {', '.join(refs)}; name a commit with --base")


def merge_base(repository: Path, ref: str, head: str) -> str:
    """Return the last commit that both have.

    Raises:
        InputError: they have none, or there is no such commit.
    """
    other = resolve(repository, ref)
    try:
        return _git(repository, "merge-base", other, head)
    except InputError:
        raise InputError(f"{line(ref)}: has no commit in common with {head[:12]}") from None


def snapshot(repository: Path) -> tuple[str, bool]:
    """Return a commit of what lies in the checkout, and whether it differs from HEAD.

    Changes of tracked files are in it, and nothing of the checkout is touched; files that git does not know are not.
    """
    stash = _git(repository, "stash", "create", "gate", environment=_WHO)
    return (stash, True) if stash else (resolve(repository, "HEAD"), False)


def only_prose(repository: Path, base: str, head: str, parts: Iterable[Path] = ()) -> bool:
    """Tell whether nothing that runs differs between two commits, though something does.

    Args:
        repository: the root of a checkout.
        base: commit.
        head: commit.
        parts: of the suite, which may read prose.
    """
    names = _git(repository, "diff", "--name-only", "--no-renames", "-z", base, head).split("\0")
    changed = [name for name in names if name]
    own = [*parts]
    return bool(changed) and all(
        (name.endswith(PROSE) or name.startswith(PROSE))
        and not name.endswith(CODE)
        and not any(map(Path(name).is_relative_to, own))
        for name in changed
    )


def suite(repository: Path, commit: str, path: Path | None) -> Suite:
    """Find the benchmarks of a commit: those asked for, or those that its pyproject.toml names.

    Its table is `[tool.deeptwins.gate]` with the keys `suite`, a folder or file, and `with`, a list of what else the
    benchmarks need from the repository.

    Args:
        repository: the root of a checkout.
        commit: to look in.
        path: relative to the root; None for what pyproject.toml names.

    Raises:
        InputError: there is no such file or folder in the commit, or pyproject.toml makes no sense.
    """
    named, beside = _settings(repository, commit)
    chosen = path or named
    if chosen is None:
        raise InputError("no suite: name its folder with --suite, or in pyproject.toml, [tool.deeptwins.gate] suite")
    for part in (chosen, *beside):
        if part == Path() or part.is_absolute() or ".." in part.parts:
            raise InputError(
                f"{part}: both commits would run the same code; name a file or folder inside the repository"
            )
        if not _git(repository, "ls-tree", "--name-only", commit, "--", str(part)):
            raise InputError(f"{part}: not in commit {commit[:12]}; the gate measures what is committed")
    configs = _git(repository, "ls-tree", "--name-only", commit, "--", *map(str, _configs(chosen))).splitlines()
    return Suite(chosen, (*beside, *map(Path, configs)), commit)


@contextmanager
def worktrees(repository: Path, base: str, head: str) -> Iterator[tuple[Arm, Arm]]:
    """Check out two commits, in folders that are gone afterwards.

    Raises:
        InputError: git cannot.
    """
    _git(repository, "worktree", "prune")
    with tempfile.TemporaryDirectory(prefix="deeptwins-gate-", ignore_cleanup_errors=True) as made:
        # Paths of equal length: where memory lies depends on it.
        folder = Path(made).resolve()
        arms = Arm("base", base, folder / "base"), Arm("head", head, folder / "head")
        try:
            for arm in arms:
                _git(repository, "worktree", "add", "--quiet", "--detach", str(arm.root), arm.commit)
            yield arms
        finally:
            for arm in arms:
                shutil.rmtree(arm.root, ignore_errors=True)
            with suppress(InputError):  # what was measured is not lost where git cannot
                _git(repository, "worktree", "prune")


def bring(arm: Arm, suite: Suite) -> None:
    """Put the suite's definitions in the place of those that an arm has.

    Raises:
        InputError: git cannot.
    """
    for part in suite.parts:
        if (old := arm.root / part).is_dir() and not old.is_symlink():
            shutil.rmtree(old)
    for config in {*_configs(suite.path)} - {*suite.parts}:
        (arm.root / config).unlink(missing_ok=True)
    _git(arm.root, "checkout", "--quiet", suite.commit, "--", *map(str, suite.parts))


def fingerprint(arm: Arm, suite: Suite) -> str:
    """Return the SHA-256 of the definitions of the benchmarks, names and content of files."""
    found = hashlib.sha256()
    for name in sorted(_git(arm.root, "ls-files", "-z", "--", *map(str, suite.parts)).split("\0")):
        if name and (arm.root / name).is_file():
            found.update(os.fsencode(name) + b"\0" + (arm.root / name).read_bytes() + b"\0")
    return found.hexdigest()


def expected(repository: Path, suite: Suite) -> tuple[str, ...] | None:
    """Return the names of all that should be measured, as the suite lists them; None where it has no list."""
    try:
        text = _git(repository, "show", f"{suite.commit}:{list_of(repository, suite)}")
    except InputError:
        return None
    return tuple(name for each in text.splitlines() if (name := COMMENT.split(each)[0].strip()))


def list_of(repository: Path, suite: Suite) -> Path:
    """Where the suite's list lies, relative to the root."""
    kind = _git(repository, "cat-file", "-t", f"{suite.commit}:{suite.path}")
    return (suite.path if kind == "tree" else suite.path.parent) / LIST


def _configs(path: Path) -> list[Path]:
    """Name the files that pytest reads for a suite, there or not, from its folder to the root."""
    return [folder / name for folder in path.parents for name in CONFIGS]


def _settings(repository: Path, commit: str) -> tuple[Path | None, tuple[Path, ...]]:
    """Read the suite and what it needs, as pyproject.toml names them."""
    try:
        text = _git(repository, "show", f"{commit}:pyproject.toml")
    except InputError:
        return None, ()
    try:
        found = tomllib.loads(text).get("tool", {}).get("deeptwins", {}).get("gate", {})
        if {*found} - {"suite", "with"}:
            raise ValueError("[tool.deeptwins.gate] has the keys suite, a path, and with, a list of paths")
        return Path(found["suite"]) if "suite" in found else None, tuple(map(Path, found.get("with", ())))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"pyproject.toml of {commit[:12]}: {line(str(error))}") from None


def _git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run git, and none of its hooks; returns what it prints, without the newline at its end."""
    kept = {name: value for name, value in os.environ.items() if name not in LOCAL}
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-c", f"core.hooksPath={os.devnull}", "-C", str(folder), *arguments],  # noqa: S607
            env={**kept, "GIT_LITERAL_PATHSPECS": "1", **(environment or {})},
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # names of files are bytes
            check=True,
        )
    except FileNotFoundError:
        raise InputError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise InputError(f"git {arguments[0]}: {line(said[-1])}") from None
    return done.stdout.rstrip("\n")
