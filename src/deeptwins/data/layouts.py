"""The layouts in which datasets lie in files: torchvision's own, Parquet as on Hugging Face, ImageFolder.

Whatever is wrong with a file is an `InputError` that names it. `NATIVE` and `LAYOUTS`, at the end, list them all.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import importlib
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from deeptwins.data.images import Array, Encoded
from deeptwins.data.listing import Listing, normalized, told
from deeptwins.errors import InputError

Labels = npt.NDArray[np.int64]

CLASSES = 1_000_000  # a larger number is no label: a net with so many classes would fit nowhere
IN_MEMORY_BYTES = 256 * 2**20  # Parquet files that are larger together are not read into memory
TEST_SPLITS = ("test", "validation", "val")  # the first of these that exists is taken
IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")


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
    native, read, _ = NATIVE[name]
    if (folder / native).is_dir():
        return folder / native, read
    return next(((folder / name, layout.read) for layout in LAYOUTS.values() if layout.detects(folder / name)), None)


def download(name: str, folder: Path) -> tuple[Path, Callable[[Path], RawDataset]]:
    """Download a dataset into a folder, in torchvision's layout; returns what `find` finds then.

    Raises:
        InputError: that failed; it says what to do without a network.
    """
    native, read, torchvision_class = NATIVE[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _torchvision(torchvision_class)(folder, download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split())
        *forms, last = f"{native}/ (torchvision)", *(layout.form.format(name=name) for layout in LAYOUTS.values())
        raise InputError(
            f"{name}: not in {folder}, and its download failed ({reason}); put it there, or point --data to a folder "
            f"that holds it, as {', '.join(forms)}, or {last}"
        ) from None
    return folder / native, read


def read_idx(folder: Path) -> RawDataset:
    """Read the four IDX files of MNIST's descendants, gzipped or not."""
    parts = []
    for split in ("train", "t10k"):
        labels, images = _idx(folder, f"{split}-labels-idx1-ubyte", 1), _idx(folder, f"{split}-images-idx3-ubyte", 3)
        if len(labels) != len(images):
            raise InputError(f"{folder}: {len(images)} images and {len(labels)} labels in {split}: {_again(folder)}")
        parts.append(Part(labels.astype(np.int64), images))
    train, test = parts
    return RawDataset(str(folder), train, test)


def _idx(folder: Path, stem: str, dimensions: int) -> Array:
    """Read one IDX file: two zeros, 8 for uint8, the number of dimensions, each as four bytes, then the values."""
    path = next((path for path in (folder / stem, folder / f"{stem}.gz") if path.exists()), folder / stem)
    with _reading(path, f"damaged or missing: {_again(folder)}"):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        start = 4 + 4 * dimensions
        shape = np.frombuffer(content[4:start], ">u4").tolist()
        if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) != start + math.prod(shape) or 0 in shape:
            raise ValueError
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _cifar(name: str, folder: Path) -> RawDataset:
    """Read the pickles of CIFAR, whose MD5 sums torchvision checks before it opens them."""
    torchvision_class = _torchvision(name)
    try:
        train, test = (torchvision_class(folder.parent, train=train) for train in (True, False))
    except RuntimeError:
        check = importlib.import_module("torchvision.datasets.utils").check_integrity
        meta = (torchvision_class.meta["filename"], torchvision_class.meta["md5"])
        files = [*torchvision_class.train_list, *torchvision_class.test_list, meta]
        bad = next((folder / file for file, md5 in files if not check(folder / file, md5)), folder)
        raise InputError(f"{bad}: damaged or missing: {_again(folder)}") from None
    parts = [Part(np.array(split.targets, np.int64), split.data) for split in (train, test)]
    return RawDataset(str(folder), parts[0], parts[1])


def read_folder(folder: Path) -> RawDataset:
    """Read an ImageFolder: train/<class>/*.png and test/ (or val/); classes are numbered in order of their names."""
    train = folder / "train"
    test = next((folder / split for split in TEST_SPLITS if (folder / split).is_dir()), None)
    if not train.is_dir() or test is None:
        raise InputError(f"{folder}: must hold train/<class>/*.png and test/<class>/*.png (or val/)")
    listings = Listing(train), Listing(test)
    names = listings[0].classes
    numbers = all(name.isdecimal() for name in names)  # 10 comes after 9 then
    classes = sorted(names, key=lambda name: (int(name) if numbers else 0, name))
    strangers = listings[1].classes.keys() - names
    if strangers:
        raise InputError(f"{test / min(strangers)}: no such class in {train}")
    parts = [_folder_part(listing, classes) for listing in listings]
    left_out = [one for listing in listings for one in listing.left_out]
    return RawDataset(str(folder), parts[0], parts[1], (told(left_out),) if left_out else ())


def _folder_part(listing: Listing, classes: Sequence[str]) -> Part:
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        paths = listing.classes.get(name, [])
        if not paths and listing.split.name == "train":
            raise InputError(f"{listing.split / name}: no images; {told(listing.left_out)}")
        names += paths
        labels += [label] * len(paths)
    if not names:
        raise InputError(f"{listing.split}: no images in <class>/ folders; {told(listing.left_out)}")
    return Part(np.array(labels, np.int64), Files(listing.split, names))


@dataclass(frozen=True)
class Files:
    """Encoded images, a file each."""

    folder: Path
    names: list[str]

    def __len__(self) -> int:
        """Count them."""
        return len(self.names)

    def read(self, index: int) -> bytes:
        """Read one."""
        with _reading(self.folder / self.names[index], "cannot be read: put it back, or mend its permissions"):
            return (self.folder / self.names[index]).read_bytes()

    def name(self, index: int) -> str:
        """Name its path."""
        return str(self.folder / self.names[index])

    def identity(self, index: int) -> str:
        """Give its path within the split, as every system writes it, and its size."""
        return f"{normalized(self.names[index])} {(self.folder / self.names[index]).stat().st_size}"


def read_parquet(folder: Path) -> RawDataset:
    """Read Parquet files: train-*.parquet and test-*.parquet with columns img (bytes and path) and label."""
    train = sorted(folder.rglob("train-*.parquet"))
    test: list[Path] = next(filter(None, (sorted(folder.rglob(f"{split}-*.parquet")) for split in TEST_SPLITS)), [])
    if not train or not test:
        raise InputError(f"{folder}: must hold train-*.parquet and test-*.parquet")
    if len({path.parent for path in train}) > 1:
        raise InputError(f"{folder}: train-*.parquet in more than one folder: choose one with parquet:PATH")
    return RawDataset(str(folder), _parquet_part(train), _parquet_part(test))


def _parquet_part(files: list[Path]) -> Part:
    labels: list[Labels] = []
    for file in files:
        with _reading(file, "damaged: get it again"):
            schema = pq.read_schema(file)
            images, label = (
                next((column for column in columns if column in schema.names), None)
                for columns in (IMAGE_COLUMNS, LABEL_COLUMNS)
            )
            if images is None or label is None or "bytes:" not in str(schema.field(images).type):
                raise InputError(
                    f"{file}: must have the columns {' or '.join(IMAGE_COLUMNS)} (a struct of bytes and path) and "
                    f"{' or '.join(LABEL_COLUMNS)}, and has {', '.join(schema.names)}"
                )
            column = pq.read_table(file, columns=[label])[label].to_numpy()
        if column.dtype.kind not in "iu" or (len(column) and not 0 <= column.min() <= column.max() < CLASSES):
            raise InputError(f"{file}: column {label} must hold an integer from 0 and below {CLASSES:,} in every row")
        labels.append(column.astype(np.int64))
    if not sum(map(len, labels)):
        raise InputError(f"{files[0]}: no rows")
    return Part(np.concatenate(labels), Rows(files, [len(column) for column in labels]))


class Rows:
    """Encoded images, one per row of Parquet files with `counts` rows.

    Parquet has no quick way to one row. So files that are too large for memory are copied once, still encoded, into an
    Arrow file in the cache folder, which is memory-mapped.
    """

    def __init__(self, files: list[Path], counts: list[int]) -> None:
        self.files = files
        self.counts = counts
        self._starts = np.cumsum([0, *counts])

    def __reduce__(self) -> tuple[type[Rows], tuple[Any, ...]]:
        """Leave the content behind: another process opens the files itself."""
        return Rows, (self.files, self.counts)

    def __len__(self) -> int:
        """Count them."""
        return sum(self.counts)

    def read(self, index: int) -> bytes:
        """Read one."""
        return self._images[index].as_py() or b""

    def name(self, index: int) -> str:
        """Name its file and row."""
        file = int(np.searchsorted(self._starts, index, "right")) - 1
        return f"{self.files[file]}, row {index - self._starts[file]}"

    def identity(self, index: int) -> str:
        """Give its file's name and size, and its row."""
        file = int(np.searchsorted(self._starts, index, "right")) - 1
        return f"{self.files[file].name} {self._sizes[file]} {index - self._starts[file]}"

    @cached_property
    def _sizes(self) -> list[int]:
        return [file.stat().st_size for file in self.files]

    @cached_property
    def _images(self) -> pa.ChunkedArray:
        if sum(self._sizes) <= IN_MEMORY_BYTES:
            return pa.chunked_array([batch.column(0) for batch in self._batches()])
        return pa.ipc.open_file(pa.memory_map(str(self._mapped()))).read_all().column(0)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for file in self.files:
            with _reading(file, "damaged: get it again"):
                column = next(name for name in IMAGE_COLUMNS if name in pq.read_schema(file).names)
                for batch in pq.ParquetFile(file).iter_batches(_CHUNK, columns=[column]):
                    encoded = pc.struct_field(batch.column(0), "bytes").cast(pa.large_binary())
                    yield pa.record_batch([encoded], _ENCODED)

    def _mapped(self) -> Path:
        """Make the Arrow file, unless it is there."""
        state = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in self.files]
        path = cache_folder() / "arrow" / f"{hashlib.sha256(repr(state).encode()).hexdigest()[:32]}.arrow"
        if path.exists():
            return path
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with pa.OSFile(str(part), "wb") as file, pa.ipc.new_file(file, _ENCODED) as writer:
                for batch in self._batches():
                    writer.write_batch(batch)
            part.replace(path)
        except OSError as error:
            raise InputError(f"{path.parent}: needs room for a copy of {self.files[0].parent} ({error})") from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
        return path


_ENCODED = pa.schema([("bytes", pa.large_binary())])
_CHUNK = 256  # rows


def cache_folder() -> Path:
    """Where datasets lie unless `--data` says otherwise: XDG_CACHE_HOME/deeptwins, by default ~/.cache/deeptwins.

    Raises:
        InputError: there is no home folder.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deeptwins"
    except RuntimeError:
        raise InputError("no home folder to keep datasets in: say where they lie with --data DIR") from None


@contextlib.contextmanager
def _reading(path: Path, advice: str) -> Iterator[None]:
    """Turn the errors of decoders into one line that names the file."""
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, zlib.error, pa.ArrowException):
        raise InputError(f"{path}: {advice}") from None


def _again(folder: Path) -> str:
    return f"delete {folder} and run again to download it"


def _torchvision(name: str) -> Any:  # noqa: ANN401 - one of torchvision's dataset classes, which have no common type
    """Import late: it takes a second, and most datasets do without."""
    return getattr(importlib.import_module("torchvision.datasets"), name)


# The folder that torchvision's class makes in its root, the function that reads it, and the class.
NATIVE: dict[str, tuple[str, Callable[[Path], RawDataset], str]] = {
    "fashion-mnist": ("FashionMNIST/raw", read_idx, "FashionMNIST"),
    "cifar10": ("cifar-10-batches-py", partial(_cifar, "CIFAR10"), "CIFAR10"),
    "cifar100": ("cifar-100-python", partial(_cifar, "CIFAR100"), "CIFAR100"),
}

# The layouts that any dataset may have, in the order in which they are looked for; `NAME:PATH` reads one of them. A
# layout is a line here, and a function that reads it.
LAYOUTS: dict[str, FileLayout] = {
    "parquet": FileLayout(
        lambda folder: any(folder.rglob("train-*.parquet")), read_parquet, "{name}/train-*.parquet and test-*.parquet"
    ),
    "folder": FileLayout(
        lambda folder: (folder / "train").is_dir(), read_folder, "{name}/train/<class>/*.png and {name}/test/"
    ),
}
