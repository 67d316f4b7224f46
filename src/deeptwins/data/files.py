"""What datasets in files have in common: the folder where they lie, their parts, and how their files are opened."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deeptwins.data import pictures
from deeptwins.data.images import Array, Encoded
from deeptwins.errors import InputError, escaped, line
from deeptwins.system import disk, regular

Labels = npt.NDArray[np.int64]

CLASSES = 1_000_000  # a larger number is no label: a net with so many classes would fit nowhere
TEST_SPLITS = ("test", "validation", "valid", "val")  # the first of these that is labelled is taken


class Part(NamedTuple):
    """One split: labels (N,), and images as an array (N, H, W) or (N, H, W, 3), or encoded."""

    labels: Labels
    images: Array | Encoded


class RawDataset(NamedTuple):
    """A dataset as its files have it, where these lie, and what a user must know of how they were read."""

    where: str
    train: Part
    test: Part
    notes: tuple[str, ...] = ()


class UnlabelledError(InputError):
    """A split has no labels, or no images; another one may have both."""


def labelled(folder: Path, splits: Mapping[str, Callable[[], Part]]) -> tuple[Part, tuple[str, ...]]:
    """Read the first split for testing that has labels, and note which one that is unless it is `test`.

    Raises:
        UnlabelledError: none has.
        InputError: a split that has labels is damaged.
    """
    without: list[str] = []
    for name, read in splits.items():
        try:
            part = read()
        except UnlabelledError as error:
            without.append(str(error))
            continue
        reasons = (reason.removeprefix(f"{folder}/") for reason in without)  # records may be read elsewhere
        note = "; ".join([f"the split {name} is the test set", *reasons])
        return part, () if name == "test" else (escaped(note),)  # records are UTF-8, and names of files need not be
    raise UnlabelledError("; ".join(without))


@contextlib.contextmanager
def opened(path: Path, advice: str) -> Iterator[BinaryIO]:
    """Open a regular file. Whatever goes wrong, and what decoders raise, is one line that names the file.

    Raises:
        InputError: it cannot be opened or read, for a reason that the system gives, or `advice` where it gives none.
    """
    try:
        with regular.open_file(path) as file:
            if file.read(len(pictures.LFS)) == pictures.LFS:
                raise InputError(f"{path}: {pictures.POINTER}")
            file.seek(0)
            yield file
    except (OSError, ValueError, EOFError, KeyError, zlib.error, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.errno else None
        raise InputError(f"{path}: {reason or advice}") from None


def held(folder: Path, *patterns: str) -> str:
    """Name what a folder holds, for a message: what fits the first pattern that fits anything, else everything."""
    for pattern in (*patterns, "*"):
        paths = [path for path in folder.glob(pattern) if not path.name.startswith(".")]
        if paths:
            return some(sorted(f"{path.relative_to(folder)}{'/' * path.is_dir()}" for path in paths))
    return "nothing"


def some(names: Sequence[str]) -> str:
    """List names for a message: the first six where they are many."""
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""  # noqa: PLR2004
    return ", ".join(map(line, names[:6])) + more


def cache_folder() -> Path:
    """Where datasets lie unless `--data` says otherwise: XDG_CACHE_HOME/deeptwins, by default ~/.cache/deeptwins.

    Raises:
        InputError: there is no home folder.
    """
    return disk.cache_folder("no home folder to keep datasets in: say where they lie with --data DIR")
