"""The layouts in which datasets lie in files: torchvision's own, Parquet as on Hugging Face, ImageFolder.

Whatever is wrong with a file is an `InputError` that names it. `NATIVE` and `LAYOUTS`, at the end, list them all.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from deeptwins.data.files import RawDataset
from deeptwins.data.folders import read_folder
from deeptwins.data.native import check_cifar, check_idx, dataset_class, integrity, read_cifar, read_idx
from deeptwins.data.parquet import read_parquet, split_files
from deeptwins.errors import InputError, line

LONGEST = 1000  # characters of a line
PART = ".part"  # ends the names of folders that are downloaded into


@dataclass(frozen=True)
class FileLayout:
    """A way in which a dataset may lie in a folder of its own."""

    detects: Callable[[Path], bool]
    """Whether a folder has it."""
    read: Callable[[Path], RawDataset]
    form: str
    """How the files must lie, for messages; `{name}` is the folder."""


def find(name: str, folder: Path) -> tuple[Path, Callable[[Path], RawDataset]] | None:
    """Find a dataset in a folder: where it lies, and what reads it. None when it is not there."""
    native = folder / NATIVE[name].folder
    if native.is_dir() and any(native.iterdir()):  # other programs leave it empty where their download fails
        return native, NATIVE[name].read
    return next(((folder / name, layout.read) for layout in LAYOUTS.values() if layout.detects(folder / name)), None)


def download(name: str, folder: Path) -> tuple[Path, Callable[[Path], RawDataset]]:
    """Download a dataset into a folder, in torchvision's layout; returns what `find` finds then.

    Raises:
        InputError: that failed; it says what to do without a network.
    """
    native, read, _, torchvision_class = NATIVE[name]
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _aside(folder, name) as place:
            kind = dataset_class(torchvision_class)
            archive = folder / getattr(kind, "filename", native)
            if archive.is_file() and integrity(archive, kind.tgz_md5):
                (place / archive.name).symlink_to(archive.absolute())  # somebody has brought it already
            else:
                sys.stderr.write(line(f"downloading {name} into {folder}", LONGEST) + "\n")
            kind(place, download=True)
            (folder / native).parent.mkdir(exist_ok=True)
            if find(name, folder) is None:  # else another process was faster
                (place / native).replace(folder / native)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error) as error:
        reason = " ".join(str(error).split())
        *forms, last = f"{native}/ (torchvision)", *(layout.form.format(name=name) for layout in LAYOUTS.values())
        raise InputError(
            f"{name}: not in {folder}, and its download failed ({reason}); put it there, or point --data to a folder "
            f"that holds it, as {', '.join(forms)}, or {last}"
        ) from None
    finally:
        for path in new:
            with suppress(OSError):  # it is not empty
                path.rmdir()
    return folder / native, read


@contextmanager
def _aside(folder: Path, name: str) -> Iterator[Path]:
    """Make a place for a download, which is removed in any case; what kills have left of others goes, too.

    So nothing that is incomplete ever lies where data is looked for. Each place is locked while it is in use.
    """
    for left in folder.glob(f".{name}-*{PART}"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    temporary = TemporaryDirectory(prefix=f".{name}-", suffix=PART, dir=folder, ignore_cleanup_errors=True)
    with temporary as place, ExitStack() as stack:
        with suppress(OSError):  # a file system without locks
            stack.enter_context(_locked(Path(place)))
        yield Path(place)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    Raises:
        OSError: another process has it, or there are no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


class Native(NamedTuple):
    """A dataset as torchvision downloads it."""

    folder: str
    """The folder that torchvision's class makes in its root."""
    read: Callable[[Path], RawDataset]
    check: Callable[[Path], object]
    """Raises InputError where a file is missing; reads no file."""
    torchvision_class: str


NATIVE: dict[str, Native] = {
    "fashion-mnist": Native("FashionMNIST/raw", read_idx, check_idx, "FashionMNIST"),
    **{
        name: Native(folder, partial(read_cifar, kind), partial(check_cifar, kind), kind)
        for name, folder, kind in (
            ("cifar10", "cifar-10-batches-py", "CIFAR10"),
            ("cifar100", "cifar-100-python", "CIFAR100"),
        )
    },
}

# The layouts that any dataset may have, in the order in which they are looked for; `NAME:PATH` reads one of them. A
# layout is a line here, and a function that reads it.
LAYOUTS: dict[str, FileLayout] = {
    "parquet": FileLayout(
        lambda folder: bool(split_files(folder, "train")),
        read_parquet,
        "{name}/train-*.parquet and test-*.parquet",
    ),
    "folder": FileLayout(
        lambda folder: (folder / "train").is_dir(), read_folder, "{name}/train/<class>/*.png and {name}/test/"
    ),
}
