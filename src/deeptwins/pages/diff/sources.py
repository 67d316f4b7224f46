"""Where the sides of a diff come from, written as STUDY[@WHERE][+recipe.KEY=VALUE...]."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from deeptwins import study as studies
from deeptwins.errors import InputError, choices, line, shown
from deeptwins.pages.study import facts
from deeptwins.pages.study.facts import StudyFacts
from deeptwins.study import FOLDER
from deeptwins.system.git import git

FORM = "STUDY[@WHERE][+recipe.KEY=VALUE...]"
COMMITTED = Path("results/reference")
"""Where records are committed."""
_SETTING = re.compile(r"\+(?=[A-Za-z_.-]+=)")
_PLACE = re.compile(r"(?P<study>.+?\.toml|[^@]+)(?:@(?P<where>.+))?", re.DOTALL)


@dataclass(frozen=True)
class DiffSource:
    """What a user names."""

    study: str
    """A name, or the path of a .toml file."""
    where: str | None
    """A folder of results, or a git commit; None: the folder of results that the command has."""
    settings: tuple[str, ...]
    """`recipe.KEY=VALUE` texts."""

    @property
    def text(self) -> str:
        """The source as it is typed."""
        return "+".join([self.study if self.where is None else f"{self.study}@{self.where}", *self.settings])


@dataclass(frozen=True)
class DiffSide:
    """One of the two sides of a diff."""

    name: str
    """As typed, except that a commit is named by its hash: `HEAD` may be another commit tomorrow."""
    facts: StudyFacts
    where: str
    """Where its study and its records were read."""


def parse(text: str) -> DiffSource:
    """Read a source.

    Raises:
        InputError: it has another form.
    """
    place, *settings = _SETTING.split(text)
    match = _PLACE.fullmatch(place)
    if match is None:
        raise InputError(f"{shown(text)}: write {FORM}, like depth@results/reference or depth+recipe.shift=0")
    for setting in settings:
        if not setting.startswith("recipe."):
            raise InputError(f"{shown(text)}: write +recipe.KEY=VALUE, not +{line(setting)}")
    return DiffSource(match["study"], match["where"], tuple(settings))


def read(text: str, results: Path) -> DiffSide:
    """Read a study and what its records show.

    A WHERE that is a folder is one of results; else it is a commit of the repository around the working directory.

    Args:
        text: the source.
        results: where its records lie when it does not say so.

    Raises:
        InputError: there is no such study, folder or commit, no run of it has finished, or a file is damaged.
    """
    source = parse(text)
    folder = results if source.where is None else Path(source.where).expanduser()
    if source.where is None or folder.is_dir():
        study = studies.load(studies.find(source.study), source.settings)
        return DiffSide(source.text, facts.load(study, folder), str(folder))
    return _read_commit(source)


def _read_commit(source: DiffSource) -> DiffSide:
    """Read a study, and the records that were committed with it, as a commit has them."""
    ref = str(source.where)
    commit = _resolve(ref)
    short = commit[:12]
    path = Path(source.study) if source.study.endswith(".toml") else FOLDER / f"{source.study}.toml"
    records = COMMITTED / path.stem
    if not _has(commit, path):
        known = [PurePosixPath(name).stem for name in _listed(commit, f"{FOLDER}/") if name.endswith(".toml")]
        raise InputError(f"{line(path)}: not in commit {short}; {choices(known or [FOLDER], path.stem)}")
    if not _has(commit, records):
        raise InputError(f"{records}: not in commit {short}; compare a folder of results, or run the study")
    extendable = [Path(name) for name in _listed(commit) if name.endswith(".toml")]
    with _extracted(commit, *extendable, records) as root:
        try:
            study = studies.load(root / path, source.settings, folder=root / FOLDER)
            study = study.model_copy(update={"path": path})
            found = facts.load(study, root / COMMITTED)
        except InputError as error:
            raise InputError(str(error).replace(f"{root}/", f"{short}:")) from None
    return DiffSide(DiffSource(source.study, short, source.settings).text, found, f"commit {short}, {COMMITTED}")


def _resolve(ref: str) -> str:
    """Return the commit that a name means."""
    git(Path(), "rev-parse", "--git-dir", wrong=f"{line(ref)}: no such folder, and no git repository here")
    wrong = f"{shown(ref)}: neither a folder of results nor a commit here; in a shallow clone, fetch it first"
    return git(Path(), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", wrong=wrong)


def _has(commit: str, path: Path) -> bool:
    """Whether a commit has a file or folder, given relative to the working directory."""
    try:
        git(Path(), "cat-file", "-e", f"{commit}:./{path}")
    except InputError:
        return False
    return True


def _listed(commit: str, folder: str = "") -> list[str]:
    """List what a folder has in a commit; without one, all files from the working directory on."""
    what = ["--", folder] if folder else ["-r"]
    return git(Path(), "ls-tree", "--name-only", "-z", commit, *what).split("\0")


@contextmanager
def _extracted(commit: str, *paths: Path) -> Iterator[Path]:
    """Write files of a commit into a folder that is gone afterwards; the checkout is not touched."""
    with TemporaryDirectory(prefix="deeptwins-diff-") as folder:
        root = Path(folder).resolve()
        archive = root / ".tar"
        git(Path(), "archive", "--format=tar", f"--output={archive}", commit, "--", *map(str, paths))
        with tarfile.open(archive) as files:
            for member in files:
                if member.isfile() and ".." not in PurePosixPath(member.name).parts:
                    target = root / member.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    content = files.extractfile(member)
                    target.write_bytes(content.read() if content else b"")
        yield root
