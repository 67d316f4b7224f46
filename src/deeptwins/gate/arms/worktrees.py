"""Two commits side by side, as git worktrees in a scratch folder that is gone afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from deeptwins.errors import InputError, line
from deeptwins.gate.arms import environments, lists, scratch, surroundings
from deeptwins.system.git import git

PROSE = (".md", ".rst", "LICENSE", "docs/", "reports/", "results/")  # such ends or beginnings of paths never run
CODE = (".py", ".pyi", ".pyx", ".c", ".h", ".cpp", ".cu", ".rs", ".toml", ".cfg", ".ini")  # may run wherever they lie
CONFIGS = (  # files that pytest reads, from the suite's folder up to the root
    *("pyproject.toml", "setup.cfg", "tox.ini", "conftest.py"),
    *("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini"),
)
NAMED = 3  # files in a message
LIST = "gate.txt"  # in the suite's folder: the names of all that should be measured
UNSHALLOW = "this clone is shallow and lacks older commits: `git fetch --unshallow`, or in CI fetch-depth: 0, gets them"
_IDENTITY = {
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
    python: str = sys.executable
    """The interpreter: of an environment of the arm's own, in which its code is installed, or else this one."""

    def environment(self) -> dict[str, str]:
        """Return the variables of a process that imports this arm's code before any that is installed."""
        if self.python != sys.executable:
            return {"PYTHONPATH": "", "VIRTUAL_ENV": str(Path(self.python).parents[1])}
        path = [str(folder) for folder in (self.root / "src", self.root) if folder.is_dir()]
        return {"PYTHONPATH": os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])}


@dataclass(frozen=True)
class Suite:
    """The benchmarks that both arms run, as one commit defines them."""

    path: Path
    """Its folder or file, relative to the root of the repository."""
    beside: tuple[Path, ...]
    """Files and folders that it needs from elsewhere in the repository."""
    commit: str
    """The commit that defines it."""
    ignored: tuple[Path, ...] = ()
    """What it needs beside it that git ignores, such as generated files: copied from the checkout."""
    install: tuple[str, ...] | None = None
    """Commands that install the project in each arm's own environment; None: both use what is installed here."""

    @property
    def parts(self) -> tuple[Path, ...]:
        """All files and folders that are brought into both arms."""
        return self.path, *self.beside

    def installed_by(self, command: str) -> Suite:
        """Return it with another command that installs the project.

        Raises:
            InputError: it makes no sense.
        """
        environments.commands([command])
        return replace(self, install=(command,))


def root_of(folder: Path) -> Path:
    """Return the root of the checkout that a folder lies in.

    Raises:
        InputError: it lies in none.
    """
    wrong = f"{folder}: not in a git repository, where the gate finds the commits to compare"
    return Path(git(folder, "rev-parse", "--show-toplevel", wrong=wrong))


def resolve(repository: Path, ref: str) -> str:
    """Return the commit that a name means.

    Raises:
        InputError: it means none.
    """
    wrong = f"{line(ref)}: no such commit here{f'; {UNSHALLOW}' if is_shallow(repository) else ''}"
    return git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", wrong=wrong)


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
    hint = f" ({UNSHALLOW})" if is_shallow(repository) else ""
    raise InputError(f"nothing to compare with: there is none of {', '.join(refs)}; name a commit with --base{hint}")


def merge_base(repository: Path, ref: str, head: str) -> str:
    """Return the newest commit that both have in common.

    Raises:
        InputError: they have none, or there is no such commit.
    """
    wrong = f"{line(ref)}: has no commit in common with {head[:12]}"
    if is_shallow(repository):
        wrong = f"{line(ref)}: it cannot be told where {head[:12]} left it; {UNSHALLOW}"
    return git(repository, "merge-base", resolve(repository, ref), head, wrong=wrong)


def is_shallow(repository: Path) -> bool:
    """Tell whether the clone lacks older commits."""
    return git(repository, "rev-parse", "--is-shallow-repository") == "true"


def snapshot(repository: Path) -> tuple[str, bool]:
    """Return a commit of what lies in the checkout, and whether it differs from HEAD.

    It holds changes of tracked files, those that `git add --intent-to-add` announced included, and no untracked ones.
    The checkout itself is not touched.

    Raises:
        InputError: there are conflicts of a merge in it.
    """
    head = resolve(repository, "HEAD")
    conflicts = git(repository, "diff", "--name-only", "--diff-filter=U", "-z").split("\0")
    if names := [line(name) for name in conflicts if name]:
        raise InputError(
            f"{', '.join(names[:NAMED])}: in conflict; finish or end the merge, or name a commit with --head"
        )
    index = Path(git(repository, "rev-parse", "--path-format=absolute", "--git-path", "index"))
    with TemporaryDirectory() as folder:
        environment = {**_IDENTITY, "GIT_INDEX_FILE": str(Path(folder, "index"))}
        if index.exists():
            shutil.copy2(index, environment["GIT_INDEX_FILE"])
        git(repository, "add", "--update", environment=environment)
        tree = git(repository, "write-tree", environment=environment)
        if tree == git(repository, "rev-parse", "HEAD^{tree}"):
            return head, False
        return git(repository, "commit-tree", "-p", head, "-m", "gate", tree, environment=environment), True


def same_files(repository: Path, base: str, head: str) -> bool:
    """Tell whether two commits hold the same files."""
    return git(repository, "rev-parse", f"{base}^{{tree}}") == git(repository, "rev-parse", f"{head}^{{tree}}")


def changed(repository: Path, base: str, head: str) -> list[str]:
    """Name the files that differ between two commits."""
    names = git(repository, "diff", "--name-only", "--no-renames", "-z", base, head).split("\0")
    return [name for name in names if name]


def only_prose(repository: Path, base: str, head: str, parts: Iterable[Path] = ()) -> bool:
    """Tell whether two commits differ, but in nothing that could run.

    Args:
        repository: the root of a checkout.
        base: commit.
        head: commit.
        parts: files and folders of the suite, whose benchmarks may read prose.
    """
    suite_parts = [*parts]

    def prose(name: str) -> bool:
        in_suite = any(map(Path(name).is_relative_to, suite_parts))
        return (name.endswith(PROSE) or name.startswith(PROSE)) and not name.endswith(CODE) and not in_suite

    names = changed(repository, base, head)
    return bool(names) and all(map(prose, names))


def suite(repository: Path, commit: str, path: Path | None) -> Suite:
    """Find the benchmarks of a commit: those asked for, or those that its pyproject.toml names.

    Its table is `[tool.deeptwins.gate]` with the keys `suite`, a folder or file; `with`, a list of what else the
    benchmarks need from the repository or, where git ignores it, from the checkout; and `install`, a list of commands.

    Args:
        repository: the root of a checkout.
        commit: to look in.
        path: relative to the root; None for the one that pyproject.toml names.

    Raises:
        InputError: there is no such file or folder in the commit, or pyproject.toml makes no sense.
    """
    configured, beside, commands = _settings(repository, commit)
    environments.commands(commands or ())
    chosen = path or configured
    if chosen is None:
        raise InputError("no suite: name its folder with --suite, or in pyproject.toml, [tool.deeptwins.gate] suite")
    # Each part lies inside the repository, and is in the commit.
    ignored = []
    for part in (chosen, *beside):
        if part == Path() or part.is_absolute() or ".." in part.parts:
            raise InputError(
                f"{part}: both commits would run the same code; name a file or folder inside the repository"
            )
        if not git(repository, "ls-tree", "--name-only", commit, "--", str(part)):
            if part != chosen and surroundings.is_ignored(repository, part):
                ignored.append(part)
                continue
            raise InputError(f"{part}: not in commit {commit[:12]}; the gate measures what is committed")
    # The files that pytest reads for it belong to it.
    configs = git(repository, "ls-tree", "--name-only", commit, "--", *map(str, _configs(chosen))).splitlines()
    tracked = [part for part in beside if part not in ignored]
    return Suite(chosen, (*tracked, *map(Path, configs)), commit, tuple(ignored), commands)


@contextmanager
def worktrees(repository: Path, base: str, head: str) -> Iterator[tuple[Arm, Arm]]:
    """Check out two commits, in folders that are gone afterwards.

    Raises:
        InputError: git cannot.
    """
    _forget_left(repository)
    with scratch.folder() as folder:
        # The two paths are equally long: where a process's memory lies depends on the length.
        arms = Arm("base", base, folder / "base"), Arm("head", head, folder / "head")
        try:
            for arm in arms:
                git(repository, "worktree", "add", "--quiet", "--detach", str(arm.root), arm.commit)
                surroundings.bring_submodules(repository, arm.commit, arm.root)
            yield arms
        finally:
            for arm in arms:
                _forget(repository, arm.root)


@contextmanager
def installed(
    repository: Path, arms: tuple[Arm, Arm], suite: Suite, tell: Callable[[str], object]
) -> Iterator[tuple[Arm, Arm]]:
    """Install each arm in an environment of its own, where that is asked for.

    Raises:
        InputError: it fails; or it is not asked for, and sources changed that do nothing until they are compiled.
    """
    base, head = arms
    if suite.install is None and (names := surroundings.uncompiled(repository, base.commit, head.commit, suite.parts)):
        raise InputError(
            f"{', '.join(map(line, names[:NAMED]))}: changed, and not compiled here, so both commits would run the same"
            " module; --install 'pip install .' builds each; install = [] in pyproject.toml says that nothing is built"
        )
    if not suite.install:
        yield arms
        return
    with ExitStack() as stack:
        pythons = [
            stack.enter_context(environments.environment(repository, arm.commit, arm.root, suite.install, tell))
            for arm in arms
        ]
        yield replace(base, python=str(pythons[0])), replace(head, python=str(pythons[1]))


def _forget_left(repository: Path) -> None:
    """Forget the worktrees that a killed gate has left; those of the user, and of gates that still run, stay."""
    rows = git(repository, "worktree", "list", "--porcelain").splitlines()
    for root in (Path(row.removeprefix("worktree ")) for row in rows if row.startswith("worktree ")):
        if root.parent.name.startswith(scratch.PREFIX) and scratch.remove_left(root.parent):
            _forget(repository, root)


def _forget(repository: Path, root: Path) -> None:
    """Remove a worktree, and git's knowledge of it, where there is any."""
    shutil.rmtree(root, ignore_errors=True)
    with suppress(InputError):  # what was measured must not be lost if this fails
        git(repository, "worktree", "remove", "--force", "--force", str(root))  # twice: git locks it while it is made


def bring(repository: Path, arm: Arm, suite: Suite) -> None:
    """Replace an arm's own definitions of the benchmarks by the suite's.

    Args:
        repository: root of the checkout, where ignored files come from.
        arm: to change.
        suite: to bring.

    Raises:
        InputError: git cannot.
    """
    # Folders go whole: files that the suite does not have must not stay.
    for part in suite.parts:
        old = arm.root / part
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)

    # So do the files that pytest would read and that the suite's commit does not have.
    for config in {*_configs(suite.path)} - {*suite.parts}:
        (arm.root / config).unlink(missing_ok=True)

    git(arm.root, "checkout", "--quiet", suite.commit, "--", *map(str, suite.parts))
    for path in suite.ignored:
        surroundings.copy(repository, path, arm.root)


def fingerprint(arm: Arm, suite: Suite) -> str:
    """Return the SHA-256 of the definitions of the benchmarks: of the names and contents of their files."""
    digest = hashlib.sha256()
    for name in sorted(git(arm.root, "ls-files", "-z", "--", *map(str, suite.parts)).split("\0")):
        if name and (arm.root / name).is_file():
            digest.update(os.fsencode(name) + b"\0" + (arm.root / name).read_bytes() + b"\0")
    return digest.hexdigest()


def expected(repository: Path, suite: Suite) -> tuple[str, ...] | None:
    """Return the names of all that should be measured, as the suite lists them; None where it has no list."""
    try:
        text = git(repository, "show", f"{suite.commit}:{list_of(repository, suite)}")
    except InputError:
        return None
    names = lists.parse(text)
    own = tuple(name for name in names if lists.within(name, suite.path))
    return None if names and not own else own


def list_of(repository: Path, suite: Suite) -> Path:
    """Where the suite's list lies, relative to the root: in its folder, or beside its file."""
    kind = git(repository, "cat-file", "-t", f"{suite.commit}:{suite.path}")
    return (suite.path if kind == "tree" else suite.path.parent) / LIST


def _configs(path: Path) -> list[Path]:
    """Name the files that pytest reads for a suite, whether they exist or not, from its folder up to the root."""
    return [folder / name for folder in path.parents for name in CONFIGS]


def _settings(repository: Path, commit: str) -> tuple[Path | None, tuple[Path, ...], tuple[str, ...] | None]:
    """Read pyproject.toml: the suite, None if it names none; the paths that it needs beside it; how to install."""
    try:
        text = git(repository, "show", f"{commit}:pyproject.toml")
    except InputError:
        return None, (), None
    try:
        table = tomllib.loads(text).get("tool", {}).get("deeptwins", {}).get("gate", {})
        if {*table} - {"suite", "with", "install"}:
            raise ValueError(
                "[tool.deeptwins.gate] has the keys suite, a path; with, a list of paths; install, a list of commands"
            )
        lists = {key: table[key] for key in ("with", "install") if key in table}
        for key, value in lists.items():
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ValueError(f"[tool.deeptwins.gate] {key}: a list of texts")
        install = tuple(lists["install"]) if "install" in lists else None
        return Path(table["suite"]) if "suite" in table else None, tuple(map(Path, lists.get("with", ()))), install
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"pyproject.toml of {commit[:12]}: {line(str(error))}") from None
