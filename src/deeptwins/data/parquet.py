"""Images in Parquet files, as on Hugging Face: a row each, with its label."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from deeptwins.data import chunks
from deeptwins.data.files import (
    CLASSES,
    TEST_SPLITS,
    Part,
    RawDataset,
    UnlabelledError,
    cache_folder,
    held,
    labelled,
    opened,
    some,
)
from deeptwins.data.listing import unwanted
from deeptwins.errors import InputError, line

IN_MEMORY_BYTES = 256 * 2**20  # Parquet files that are larger together, compressed or not, are not read into memory
# Encoded images cannot be compressed any further. A file whose content says to be larger than this makes it, or to have
# more rows than bytes, has no images in it: only what would fill the memory.
INFLATION = 100
ROWS = 1_000_000  # so many may be in a file however small it is
IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")

T = TypeVar("T", bound=Sized)

_DAMAGED = "damaged: get it again"
_ENCODED = pa.schema([("bytes", pa.large_binary())])
_CHUNK = 256  # rows


def split_files(folder: Path, split: str) -> dict[Path, list[Path]]:
    """Find the Parquet files of a split by the form of their names, here or further below.

    The forms are SPLIT.parquet, SPLIT-*.parquet, and SPLIT/*.parquet or SPLIT.parquet/*.parquet whose own names tell no
    split.
    """
    own = re.compile(rf"{split}(-.*)?\.parquet", re.DOTALL)
    inside = split, f"{split}.parquet"
    telling = re.compile(rf"({'|'.join(['train', *TEST_SPLITS])})(-.*)?\.parquet", re.DOTALL)
    found: dict[Path, list[Path]] = {}
    for path in _below(folder):
        if path.name in inside and path.is_dir():
            continue
        if match := own.fullmatch(path.name):
            found.setdefault(path.with_name(f"{split}-*.parquet") if match[1] else path, []).append(path)
        elif folder != path.parent and path.parent.name in inside and not telling.fullmatch(path.name):
            found.setdefault(path.with_name("*.parquet"), []).append(path)
    return found


def _below(folder: Path) -> list[Path]:
    """Find what is called *.parquet here or further below, but in no hidden folder, nor one left by other programs.

    Links to folders are followed, after all other folders; each is read once, so that links may lead in circles.
    """
    found: list[Path] = []
    coming, read = deque([folder]), {*folder.resolve().parents}
    while coming:
        place = coming.popleft()
        if not place.is_dir() or (real := place.resolve()) in read:
            continue
        read.add(real)
        for path in place.iterdir():
            if unwanted(path.name):
                continue
            if path.is_dir():
                (coming.append if path.is_symlink() else coming.appendleft)(path)
            if path.suffix == ".parquet":
                found.append(path)
    return sorted(found)


def read_parquet(folder: Path) -> RawDataset:
    """Read Parquet files: train-*.parquet and test-*.parquet with columns img (bytes and path) and label."""
    train, *tests = (split_files(folder, split) for split in ("train", *TEST_SPLITS))
    if not train or not any(tests):
        raise InputError(
            f"{folder}: must hold train-*.parquet and test-*.parquet (or {', '.join(TEST_SPLITS[1:])});"
            f" it holds {held(folder, '**/*.parquet')}"
        )
    splits = {split: partial(_parquet_part, folder, found) for split, found in zip(TEST_SPLITS, tests, strict=True)}
    test, notes = labelled(folder, {split: read for split, read in splits.items() if read.args[1]})
    return RawDataset(str(folder), _parquet_part(folder, train), test, notes)


def _parquet_part(folder: Path, found: Mapping[Path, list[Path]]) -> Part:
    """Read the labels of a split, and find its images.

    Raises:
        UnlabelledError: all labels are null or -1, as secret ones are, or there is not a single row.
        InputError: the files are more than one dataset, or damaged.
    """
    if len(found) > 1:
        one, other, *_ = found
        raise InputError(
            f"{folder}: files of one split in more than one folder or form, {one} and {other}:"
            " choose one with parquet:PATH, or take one away"
        )
    (files,) = found.values()
    tables = [_labels(file) for file in files]
    if not any(map(len, tables)):
        raise UnlabelledError(f"{files[0]}: no rows")
    if not any(pc.any(pc.not_equal(table[0], -1)).as_py() for table in tables):
        raise UnlabelledError(f"{files[0]}: {_must_hold(tables[0])}, and all are -1 or null")
    for file, table in zip(files, tables, strict=True):
        bounds = pc.min_max(table[0]).as_py()
        if table[0].null_count or (len(table) and not 0 <= bounds["min"] <= bounds["max"] < CLASSES):
            raise InputError(f"{file}: {_must_hold(table)}")
    labels = np.concatenate([table[0].to_numpy() for table in tables])
    return Part(labels, Rows(files, [*map(len, tables)]))


def _labels(file: Path) -> pa.Table:
    """Read the column of labels, after a look at all that is to be read of the file.

    Raises:
        UnlabelledError: there is no such column.
        InputError: the file has no images, or is damaged.
    """
    with opened(file, _DAMAGED) as source:
        content = pq.ParquetFile(source)
        schema = content.schema_arrow
        images, label = (
            next((name for name in names if name in schema.names), None) for names in (IMAGE_COLUMNS, LABEL_COLUMNS)
        )
        must = (
            f"{file}: must have the columns {' or '.join(IMAGE_COLUMNS)} (one image in a row, a struct of bytes and"
            f" path) and {' or '.join(LABEL_COLUMNS)}, and has {some(schema.names)}"
        )
        if twice := [name for name in (images, label) if schema.names.count(name) > 1]:
            raise InputError(f"{file}: has more than one column {twice[0]}")
        if images is None:
            raise InputError(must)
        leaf = _leaf(schema.field(images))
        if leaf is None:
            raise InputError(f"{must}, of which {images} is {line(str(schema.field(images).type))}")
        if label is None:
            raise UnlabelledError(must)
        kind = schema.field(label).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
            raise InputError(f"{file}: {_must_hold(schema.empty_table().select([label]))}")
        size, rows = os.fstat(source.fileno()).st_size, content.metadata.num_rows
        if rows > max(ROWS, size):
            raise InputError(f"{file}: {size:,} bytes that say to be {rows:,} rows: no images")
        read = [group[column] for group in chunks.row_groups(source) for column in (leaf, label)]
        unpacked = sum(page.size for chunk in read for page in chunks.pages(source, chunk))
        if unpacked > max(IN_MEMORY_BYTES, INFLATION * size):
            raise InputError(f"{file}: {size:,} bytes that say to be {unpacked:,} once unpacked: no images")
        labels = pa.Table.from_batches(
            _up_to(rows, content.iter_batches(columns=[label])), pa.schema([schema.field(label)])
        )
        if pa.types.is_floating(kind) and labels[0].null_count < rows:  # pandas makes such a column where all are null
            raise InputError(f"{file}: {_must_hold(labels)}")
        return pa.table({label: labels[0].cast(pa.int64(), safe=False)})  # of 64 bits, what is too large gets negative


def _must_hold(table: pa.Table) -> str:
    return f"column {table.column_names[0]} must hold an integer from 0 and below {CLASSES:,} in every row"


def _leaf(field: pa.Field) -> str | None:
    """Name the column of Parquet that holds the bytes of images; None where there are none in it."""
    name, kind = field.name, field.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        name, kind = f"{name}.bytes", kind.field("bytes").type
    kinds = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_null
    return name if any(fits(kind) for fits in kinds) else None


def _up_to(rows: int, batches: Iterable[T]) -> Iterator[T]:
    """Take batches of so many rows together.

    Raises:
        ValueError: there are more, or fewer.
    """
    for batch in batches:
        rows -= len(batch)
        if rows < 0:
            break
        yield batch
    if rows:
        raise ValueError("damaged")


def _at_once(source: BinaryIO, chunk: chunks.Chunk) -> int:
    """How many rows of a column's chunk to read at once: few where its dictionary has values that may be large.

    Rows share the values of a dictionary in the file, but not in memory.
    """
    sizes = [page.size for page in chunks.pages(source, chunk) if page.type == chunks.DICTIONARY]
    return max(1, min(_CHUNK, IN_MEMORY_BYTES // max([1, *sizes])))


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
        content: bytes | None = self._images[index].as_py()
        if content is None:
            raise InputError(
                f"{self.name(index)}: has no bytes, a path at most: the image is not in the file."
                " Write the file with its images in it, or lay them out for folder:PATH"
            )
        return content

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
            columns, size = [], 0
            for batch in self._batches():
                columns.append(batch.column(0))
                size += batch.nbytes
                if size > IN_MEMORY_BYTES:
                    break
            else:
                return pa.chunked_array(columns)
        with opened(self._mapped(), "damaged: delete it and run again") as file:
            content = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return pa.ipc.open_file(content).read_all().column(0)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        left = max(IN_MEMORY_BYTES, INFLATION * sum(self._sizes))
        for file, count in zip(self.files, self.counts, strict=True):
            with opened(file, _DAMAGED) as source:
                for encoded in _up_to(count, _encoded(source)):
                    left -= encoded.nbytes
                    if left < 0:
                        raise InputError(f"{file}: its images are more than {INFLATION} times as large as the file")
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
            with part.open("wb") as file, pa.ipc.new_file(file, _ENCODED) as writer:
                for batch in self._batches():
                    writer.write_batch(batch)
            part.replace(path)
        except OSError as error:
            raise InputError(f"{path.parent}: needs room for a copy of {self.files[0].parent} ({error})") from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
        return path


def _encoded(source: BinaryIO) -> Iterator[pa.Array]:
    """Read the images of a file, some rows at a time."""
    content = pq.ParquetFile(source)
    schema = content.schema_arrow
    leaf = _leaf(schema.field(next(name for name in IMAGE_COLUMNS if name in schema.names))) or ""
    for number, group in enumerate(chunks.row_groups(source)):
        for batch in content.iter_batches(_at_once(source, group[leaf]), [number], [leaf]):
            column = batch.column(0)
            values = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
            yield values.cast(pa.large_binary())
