"""Where study files lie: in `./ablations`, and those that ship beside them in the package."""

from __future__ import annotations

import re
from pathlib import Path

from deeptwins.errors import InputError, choices, shown

FOLDER = Path("ablations")
NAME = re.compile(r"[a-z][a-z0-9-]{0,59}")  # of a study or a twin: names of folders, of files and of marks on pages
RESERVED = ("choices", "diff", "gate", "kernels", "performance", "profile", "throughput")
"""Names of folders of results and pages that belong to no study; the same holds for names that begin with one of
`BEGINNINGS`."""
BEGINNINGS = ("diff-", "profile-")
_PACKAGE = Path(__file__).parents[1]
_INSIDE = _PACKAGE / "ablations"
SHIPPED = _INSIDE if _INSIDE.is_dir() else _PACKAGE.parents[1] / "ablations"  # in a checkout
"""The folder of the studies that ship."""


def check_name(name: str) -> None:
    """Check the name of a study, the stem of its file: folders of results and pages are named after it.

    Raises:
        InputError: no folder can have this name, or another folder has it.
    """
    if not NAME.fullmatch(name):
        raise InputError("a study has its file's name: at most 60 lower-case letters, digits and hyphens; rename it")
    if name in RESERVED or name.startswith(BEGINNINGS):
        raise InputError("other results or pages lie in a folder of this name; rename the study's file")


def known(*folders: Path) -> dict[str, Path]:
    """List the studies that a name finds, with their files, by name.

    Args:
        folders: a study in one of them hides a study of the same name in a later folder, and one that ships; by default
            `FOLDER`.
    """
    files = {file.stem: file for place in reversed(_places(*folders or (FOLDER,))) for file in place.glob("*.toml")}
    return dict(sorted(files.items()))


def find(name: str, folder: Path = FOLDER) -> Path:
    """The file of a study given by name or by path.

    Args:
        name: of a study, or the path of a .toml file.
        folder: where names are looked for first, before the studies that ship.

    Raises:
        InputError: there is none.
    """
    path = Path(name)
    if path.suffix == ".toml":
        if path.is_file():
            return path
        raise InputError(f"{path}: no such file")
    files = known(folder)
    if name not in files:
        raise InputError(f"no study {shown(name)} in {where(folder)}; {choices(files, name)}")
    return files[name]


def where(*folders: Path) -> str:
    """Say where names are looked for."""
    return " or ".join(f"{place}/" for place in _places(*folders))


def ships(path: Path) -> bool:
    """Whether a file is one of the studies that ship, or says the same as the one of its name."""
    shipped = SHIPPED / path.name
    try:
        return shipped.samefile(path) or shipped.read_bytes() == path.read_bytes()
    except OSError:
        return False


def hides(path: Path) -> bool:
    """Whether a file has the name of a study that ships, and says something else."""
    return (SHIPPED / path.name).is_file() and not ships(path)


def _places(*folders: Path) -> list[Path]:
    """Return the folders that are there, that of the studies that ship last, each once."""
    there: dict[Path, Path] = {}
    for place in (*folders, SHIPPED):
        if place.is_dir():
            there.setdefault(place.resolve(), place)
    return [*there.values()]
