"""Where the column chunks of a Parquet file lie, and how large their pages are, asked before any of them is unpacked.

The sizes in a file's footer need not be true: decoders go by the headers of pages. Both are structs of Thrift's compact
protocol (Apache Parquet, `parquet.thrift`: FileMetaData, PageHeader).
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

LARGEST_FOOTER = 2**24  # bytes; files of images need thousands
LARGEST_TEXT = 2**24  # bytes, of names and statistics
DEEPEST = 16  # structs and lists in one another

DICTIONARY = 2  # a type of page


class Chunk(NamedTuple):
    """The values of a column in one row group: how many, and from which byte of the file to which."""

    values: int
    start: int
    end: int


class PageHead(NamedTuple):
    """The header of a page: its type, its sizes in bytes unpacked and as it is, and how many values it has."""

    type: int
    size: int
    packed: int
    values: int


def row_groups(source: BinaryIO) -> list[dict[str, Chunk]]:
    """Read where the chunks of each row group lie, by the path of their column, such as `image.bytes`.

    Raises:
        ValueError, EOFError: the file is damaged.
    """
    end = source.seek(-8, os.SEEK_END)
    length = int.from_bytes(source.read(4), "little")
    if length > min(end, LARGEST_FOOTER):
        raise ValueError("damaged")
    source.seek(end - length)
    footer = _struct(io.BytesIO(source.read(length)))
    with _damage():
        return [dict(_chunk(column[3]) for column in group[1]) for group in footer[4]]


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Call it damage where a struct has a field of another type, or none."""
    try:
        yield
    except (AttributeError, LookupError, TypeError):
        raise ValueError("damaged") from None


def _chunk(column: dict[int, Any]) -> tuple[str, Chunk]:
    """Read a ColumnMetaData. A chunk begins with its dictionary, if it has one."""
    values, size, data, dictionary = (int(column.get(field) or 0) for field in (5, 7, 9, 11))
    start = min(data, dictionary or data)
    return b".".join(column[3]).decode(), Chunk(values, start, start + size)


def pages(source: BinaryIO, chunk: Chunk) -> Iterator[PageHead]:
    """Read the headers of those pages of a chunk that a decoder would read.

    Raises:
        ValueError, EOFError: the file is damaged.
    """
    place, values, empty = chunk.start, 0, 0
    while values < chunk.values and place < chunk.end:
        source.seek(place)
        page = _page(_struct(source))
        place = source.tell() + page.packed
        values += page.values
        empty += page.values == 0
        if min(page[1:]) < 0 or empty > 2:  # noqa: PLR2004  a dictionary, and an index, as of old
            raise ValueError("damaged")
        yield page


def _page(header: dict[int, Any]) -> PageHead:
    """Read a header, in which the number of values is in the struct for pages of the first or second version."""
    with _damage():
        content = header.get(5) or header.get(8)
        return PageHead(*(int(number) for number in (header[1], header[2], header[3], content[1] if content else 0)))


def _struct(source: BinaryIO, depth: int = 0) -> dict[int, Any]:
    """Read a struct: its values by the numbers of their fields."""
    fields: dict[int, Any] = {}
    number = 0
    while head := _byte(source):
        number = number + (head >> 4) if head >> 4 else _integer(source)
        kind = head & 15
        fields[number] = kind == 1 if kind in {1, 2} else _value(source, kind, depth + 1)
    return fields


def _value(source: BinaryIO, kind: int, depth: int) -> Any:  # noqa: ANN401  whatever Thrift has
    """Read a value of a kind: of a field, or in a list, where truths take a byte each."""
    if depth > DEEPEST:
        raise ValueError("damaged")
    match kind:
        case 1 | 2 | 3:
            return _byte(source)
        case 4 | 5 | 6:
            return _integer(source)
        case 7:
            return _bytes(source, 8)
        case 8:
            return _bytes(source, _varint(source))
        case 9 | 10:
            head = _byte(source)
            count = head >> 4 if head >> 4 < 15 else _varint(source)  # noqa: PLR2004  then it follows
            return [_value(source, head & 15, depth + 1) for _ in range(count)]
        case 12:
            return _struct(source, depth)
        case _:
            raise ValueError("damaged")


def _integer(source: BinaryIO) -> int:
    """Read an integer with a sign, in which the lowest bit is the sign."""
    number = _varint(source)
    return number >> 1 ^ -(number & 1)


def _varint(source: BinaryIO) -> int:
    """Read an integer of 64 bits at most, seven of them in each byte."""
    number = 0
    for shift in range(0, 70, 7):
        byte = _byte(source)
        number |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004  the last
            return number
    raise ValueError("damaged")


def _byte(source: BinaryIO) -> int:
    return _bytes(source, 1)[0]


def _bytes(source: BinaryIO, count: int) -> bytes:
    if count > LARGEST_TEXT or len(content := source.read(count)) < count:
        raise EOFError
    return content
