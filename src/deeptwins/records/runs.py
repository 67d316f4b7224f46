"""The records that a run leaves behind: one JSON object per line in `results/<study>/<run-id>.jsonl`.

First comes `kind: run` (what was run, and on what). At each evaluation there is one record per twin of `kind: epoch`
(its errors) and of `kind: gradient` (`norms`: the L2 norm of each layer's weight gradient in the last step before, in
order). `kind: growth` says that a twin was grown, `kind: move` that training continued on another machine, or at
another commit. When training is over, each twin has records of `kind: layer` (`response_std`; `kernel`, its size in
pixels; how far the running statistics of its batch normalization lie from precise ones), `kind: block`
(`branch_share`) and `kind: precise` (errors with precise statistics). The last one is `kind: end` (status `done`,
`diverged` or `failed`): without it a run is not over. A number that is not finite, or missing, is null.
`docs/method.md` defines the numbers; `kinds` has their types and bounds.

Each line ends in `hash`: the first 16 hexadecimal digits of the SHA-256 of the hash of the line before, and of the line
without its own. A line that was edited, or that does not follow the line before it any more, shows by that.

History of the format:
    1  the first; lines of the oldest files have no hash
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from deeptwins.errors import InputError, naming
from deeptwins.records import kinds
from deeptwins.records.course import Course
from deeptwins.records.fields import complaint
from deeptwins.system import disk, regular

SCHEMA = 1
PLACES = ("run", "move")  # kinds of records that name the machine and commit of what follows
LARGEST = 2**30  # bytes of a run's file
REMEDY = "move the file away and run the study again"

Record = dict[str, Any]

_HASH = re.compile(rb',"hash":"([0-9a-f]{16})"}$')
_HASH_BYTES = len(b',"hash":"0123456789abcdef"}')


def append(path: Path, *added: Record) -> None:
    """Add records, one per line, durably: when this returns, neither a kill nor a power cut takes them back.

    Raises:
        OSError: the disk is full or not writable.
        ValueError: a record holds a NaN or an infinity; JSON has neither, write None.
    """
    new = not path.exists()
    text = _lines(added, last_hash(path) or "")
    with naming(path), path.open("ab") as file:
        file.write(text)
        disk.sync(file)
    if new:
        disk.sync_folder(path.parent)


def last_hash(path: Path) -> str | None:
    """The hash of the last line of a run's file; None where there is no file, or its last line has none."""
    try:
        with regular.open_file(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _HASH_BYTES - 1))
            last = _HASH.search(file.read().rstrip(b"\n"))
    except FileNotFoundError:
        return None
    return last[1].decode() if last else None


def read(path: Path) -> list[Record]:
    """All records of a run, oldest first, without a last line that a kill tore off; none where there is no file.

    Raises:
        InputError: the file is damaged or was edited, is that of another run, or a newer deeptwins wrote it.
    """
    return [record for record, _ in _read(path)]


def hashes(path: Path) -> list[str | None]:
    """The hash of each line of a run's file, None where it has none.

    Raises:
        InputError: as `read` does.
    """
    return [digest for _, digest in _read(path)]


def _read(path: Path) -> list[tuple[Record, str | None]]:
    """Read the records of a run with the hashes of their lines."""
    try:
        lines = regular.read(path, LARGEST).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    del lines[-1]  # what follows the last newline: nothing, or a torn line
    parsed: list[tuple[Record, str | None]] = []
    course = Course(path)
    before = ""
    for number, line in enumerate(lines, 1):
        at = number
        try:
            record = _parsed(line)
            digest = record.pop("hash", None)
            if digest and not before and parsed:
                at = number - 1  # it has lost its hash: all lines have one, or none
            if digest != (_digest(before, _HASH.sub(b"}", line)) if digest or before else None):
                raise ValueError("this line was changed, or lines before it were changed, moved or removed")
            course.take(record)
        except InputError as error:
            raise InputError(f"{path}:{at}: {error}") from None
        except ValueError as error:
            raise InputError(f"{path}:{at}: {error}; {REMEDY}") from None
        parsed.append((record, digest))
        before = digest or ""
    return parsed


def _parsed(line: bytes) -> Record:
    """Read a line, and check that it is a record.

    Raises:
        InputError: a newer deeptwins wrote it.
        ValueError: it is none; says why.
    """

    def refuse(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        record = json.loads(line, parse_constant=refuse)
        schema = record.get("schema", 0)
    except (ValueError, AttributeError, RecursionError):
        raise ValueError("not a record") from None
    if record.get("kind") == "run" and isinstance(schema, int) and schema > SCHEMA:
        raise InputError(f"schema {schema}, and this deeptwins reads up to {SCHEMA}: upgrade it")
    try:
        kinds.RECORD.validate_json(line)
    except ValidationError as error:
        raise ValueError(complaint(error)) from None
    checked: Record = record
    return checked


def status(records: list[Record]) -> str | None:
    """`done`, `diverged` or `failed` once the run is over, else None."""
    return str(records[-1]["status"]) if records and records[-1]["kind"] == "end" else None


def keep(path: Path, keeps: Callable[[Record], bool]) -> list[Record]:
    """Rewrite a run's file, at once, with those of its records that `keeps` accepts; returns them."""
    records = [record for record in read(path) if keeps(record)]
    text = _lines(records)
    if path.exists() and path.read_bytes() != text:
        disk.replace(path, text)
    return records


def _lines(records: Iterable[Record], before: str = "") -> bytes:
    """Write records as lines that follow a line with the hash `before`."""

    def lines() -> Iterator[bytes]:
        last = before
        for record in records:
            line = json.dumps(record, allow_nan=False, separators=(",", ":")).encode()
            last = _digest(last, line)
            yield line[:-1] + f',"hash":"{last}"}}\n'.encode()

    return b"".join(lines())


def _digest(before: str, line: bytes) -> str:
    """Hash a line without its own hash, and that of the line before."""
    return hashlib.sha256(before.encode() + line).hexdigest()[:16]
