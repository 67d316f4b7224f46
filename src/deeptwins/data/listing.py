"""Which files in folders of pictures are a dataset, and which are left out, and why."""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from deeptwins.data.pictures import SUFFIXES
from deeptwins.errors import line

# What systems and programs leave behind, in lower case.
LITTER = (
    *("thumbs.db", "ehthumbs*.db", "desktop.ini", "$recycle.bin", "system volume information", "found.[0-9][0-9][0-9]"),
    *("*:zone.identifier", "icon\r", "__macosx", "network trash folder", "temporary items", "lost+found", "lost.dir"),
    *("@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "__pycache__"),
    *("*~", "~$*", "#*#", "*.bak", "*.sw[a-p]", "*.tmp", "*.temp", "*.part", "*.partial", "*.crdownload"),
)
_LITTER = re.compile("|".join(map(fnmatch.translate, LITTER)))


class Listing:
    """The pictures of a split whose folders are the classes, and what else lies there.

    Links to folders are followed; each folder is read once for a class, so that links may lead in circles. Names that
    differ in their Unicode normalization alone are one class.

    Raises:
        OSError: a folder cannot be read.
    """

    def __init__(self, split: Path) -> None:
        self.split = split
        self.classes: dict[str, list[str]] = {}
        """The paths of each class's pictures within the split, in order."""
        self.left_out: list[tuple[str, str]] = []
        """Reason and path of all else."""
        itself = os.path.realpath(split)
        above = {itself, *map(str, Path(itself).parents)}
        for entry in self._entries(""):
            if _kind(entry) != "folder":
                self._leave_out("outside the folders of classes", entry.name)
            elif os.path.realpath(entry) in above:
                self._leave_out(_AGAIN, entry.name)
            else:
                name = normalized(entry.name)
                self.classes[name] = sorted([*self.classes.get(name, []), *self._pictures(entry.name, {*above})])

    def _pictures(self, top: str, read: set[str]) -> list[str]:
        """Find the pictures in a folder of the split and below; `read` are folders, by real path, to keep out of."""
        read |= {str(path) for path in Path(os.path.realpath(self.split / top)).parents}
        pictures = []
        coming = deque([top])
        while coming:
            folder = coming.popleft()
            real = os.path.realpath(self.split / folder)
            if real in read:
                self._leave_out(_AGAIN, folder)
                continue
            read.add(real)
            for entry in self._entries(folder):
                path, kind = f"{folder}/{entry.name}", _kind(entry)
                if kind == "folder":
                    (coming.append if entry.is_symlink() else coming.appendleft)(path)  # links last: the others count
                elif Path(entry.name).suffix.lower() not in SUFFIXES:
                    self._leave_out("linked to nothing" if kind == "nothing" else "of unknown suffix", path)
                elif kind == "device":
                    self._leave_out("not a file", path)
                else:  # a link to nothing is an error once it is read
                    pictures.append(path)
        return pictures

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """List a folder of the split, but for what is hidden and for litter."""
        with os.scandir(self.split / folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
        wanted = []
        for entry in entries:
            if reason := unwanted(entry.name):
                self._leave_out(reason, f"{folder}/{entry.name}")
            else:
                wanted.append(entry)
        return wanted

    def _leave_out(self, reason: str, path: str) -> None:
        self.left_out.append((reason, f"{self.split.name}/{path.lstrip('/')}"))


_AGAIN = "linked to a folder that is read anyway"


def unwanted(name: str) -> str:
    """Say why a file or folder is left out because of its name; empty where it is kept."""
    if name.startswith("."):
        return "hidden"
    return "left by other programs" if _LITTER.match(name.lower()) else ""


def told(left_out: Iterable[tuple[str, str]]) -> str:
    """Say what is left out, given reasons and paths: how many for each reason, and one of them."""
    paths: dict[str, list[str]] = {}
    for reason, path in left_out:
        paths.setdefault(reason, []).append(path)
    reasons = (f"{len(some):,} {reason} (such as {line(some[0])})" for reason, some in paths.items())
    return f"left out: {', '.join(reasons) or 'nothing'}"


def normalized(name: str) -> str:
    """Write a name in one of the ways in which systems do: é as one character, not as e and an accent."""
    return unicodedata.normalize("NFC", name)


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "nothing", "device"]:
    """What an entry is, or a link leads to."""
    place = Path(entry.path) if entry.is_symlink() else entry  # where a link leads to itself, an entry raises
    if place.is_dir():
        return "folder"
    if place.is_file():
        return "file"
    return "nothing" if isinstance(place, Path) and not place.exists() else "device"
