"""Datasets as torchvision downloads them: the IDX files of Fashion-MNIST, the pickles of CIFAR."""

from __future__ import annotations

import gzip
import importlib
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from deeptwins.data.files import Part, RawDataset, opened, some
from deeptwins.data.images import Array
from deeptwins.data.listing import unwanted
from deeptwins.errors import InputError

# A file that says to hold more is refused before it is read.
IDX_BYTES, IDX_IMAGES = 2**28, 10**6
PICKLE_BYTES = 2**28
_SPARE = 2**16  # bytes that gzip may add to what cannot be compressed, and for names


def read_idx(folder: Path) -> RawDataset:
    """Read the four IDX files of MNIST's descendants, gzipped or not."""
    return RawDataset(str(folder), _idx_part(folder, "train"), _idx_part(folder, "t10k"))


def check_idx(folder: Path) -> None:
    """Raise InputError where one of the four files is missing."""
    for split in ("train", "t10k"):
        _idx_file(folder, f"{split}-labels", 1), _idx_file(folder, f"{split}-images", 3)


def _idx_part(folder: Path, split: str) -> Part:
    labels, images = _idx(folder, f"{split}-labels", 1), _idx(folder, f"{split}-images", 3)
    if len(labels) != len(images):
        raise InputError(
            f"{folder}: {len(images)} images and {len(labels)} labels in {split}, so not of one data set:"
            " move it away, and run again to download it"
        )
    return Part(labels.astype(np.int64), images)


def _idx(folder: Path, stem: str, dimensions: int) -> Array:
    """Read one IDX file: two zeros, 8 for uint8, the number of dimensions, each as four bytes, then the values."""
    path = _idx_file(folder, stem, dimensions)
    with opened(path, f"damaged: {_again(folder)}") as file:
        zipped = file.read(2) == b"\x1f\x8b"  # whatever its name says: some programs unzip it and let it keep that
        file.seek(0)
        stream: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=file) if zipped else file
        header = stream.read(4 + 4 * dimensions)
        shape = np.frombuffer(header[4:], ">u4").tolist()
        size = math.prod(shape)
        if header[:4] != bytes([0, 0, 8, dimensions]) or len(shape) != dimensions or not size:
            raise ValueError
        if size > IDX_BYTES or shape[0] > IDX_IMAGES:
            raise InputError(f"{path}: says to hold {'x'.join(map(str, shape))} values, too many for this data set")
        if os.fstat(file.fileno()).st_size > len(header) + size + _SPARE:
            raise ValueError
        values = stream.read(size)
        if len(values) != size or stream.read(1):
            raise ValueError
        return np.frombuffer(values, np.uint8).reshape(shape)


def _idx_file(folder: Path, stem: str, dimensions: int) -> Path:
    """Find a file by the names that it has in downloads: with a dot for a hyphen, gzipped, in a folder of its name."""
    names = [f"{stem}-idx{dimensions}-ubyte", f"{stem}.idx{dimensions}-ubyte"]
    places = [place for name in names for place in (f"{name}/{name}", name, f"{name}.gz")]
    path = next((folder / place for place in places if (folder / place).exists()), None)
    if path is None:
        usual = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
        raise _missing(folder / names[0], usual.fullmatch)
    return path


def read_cifar(name: str, folder: Path) -> RawDataset:
    """Read the pickles of CIFAR, whose MD5 sums torchvision checks before it opens them."""
    torchvision_class, files = dataset_class(name), check_cifar(name, folder)
    for path in files:
        with opened(path, "") as file:  # torchvision would call a FIFO damaged
            if os.fstat(file.fileno()).st_size > PICKLE_BYTES:
                raise InputError(f"{path}: damaged: {_again(folder)}")
    try:
        splits = [torchvision_class(folder.parent, train=train) for train in (True, False)]
    except RuntimeError:
        bad = next((path for path, md5 in files.items() if not integrity(path, md5)), folder)
        raise InputError(f"{bad}: damaged: {_again(folder)}") from None
    train, test = (Part(np.array(split.targets, np.int64), split.data) for split in splits)
    return RawDataset(str(folder), train, test)


def check_cifar(name: str, folder: Path) -> dict[Path, str]:
    """Return the files of CIFAR with their MD5 sums; raises InputError where one is missing."""
    kind = dataset_class(name)
    listed = (*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"]))
    files = {folder / file: md5 for file, md5 in listed}
    for path in files:
        if not path.exists():
            raise _missing(path, lambda name: folder / name in files or name in ("readme.html", "file.txt~"))
    return files


def _missing(path: Path, belongs: Callable[[str], object]) -> InputError:
    """Say that a file of a download is missing: cut short, or there under a name that does not belong to it."""
    others = (other.name for other in path.parent.iterdir() if not unwanted(other.name))
    if strangers := sorted(name for name in others if not belongs(name)):
        return InputError(
            f"{path}: no such file; beside it is {some(strangers)}: if that is the same file, unpack or rename it;"
            f" or else move {path.parent} away, and run again to download it"
        )
    return InputError(f"{path}: missing: {_again(path.parent)}")


def _again(folder: Path) -> str:
    return f"delete {folder} and run again to download it"


def integrity(path: Path, md5: str) -> bool:
    """Whether a file has the sum that torchvision knows."""
    return bool(importlib.import_module("torchvision.datasets.utils").check_integrity(path, md5))


def dataset_class(name: str) -> Any:  # noqa: ANN401 - one of torchvision's dataset classes, which have no common type
    """Import late: it takes a second, and most datasets do without."""
    return getattr(importlib.import_module("torchvision.datasets"), name)
