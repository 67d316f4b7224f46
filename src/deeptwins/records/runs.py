"""The records that a run leaves behind: one JSON object per line in `results/<study>/<run-id>.jsonl`.

First comes `kind: run` (what was run, and on what). At each evaluation there is one record per twin of `kind: epoch`
(its errors) and of `kind: gradient` (`norms`: the L2 norm of each layer's weight gradient in the last step before, in
order). `kind: growth` says that a twin was grown, `kind: move` that training continued on another machine, or at
another commit. When training is over, each twin has records of `kind: layer` (`response_std`; `kernel`, its size in
pixels; how far the running statistics of its batch normalization lie from precise ones), `kind: block`
(`branch_share`) and `kind: precise` (errors with precise statistics). The last one is `kind: end` (status `done`,
`diverged` or `failed`): without it a run is not over. A number that is not finite, or missing, is null.
`docs/method.md` defines the numbers.

History of the format:
    1  the first
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from deeptwins.errors import InputError

SCHEMA = 1
PLACES = ("run", "move")  # kinds of records that name the machine and commit of what follows
STATUSES = ("done", "diverged", "failed")

Record = dict[str, Any]


def append(path: Path, *added: Record) -> None:
    """Add records, one per line, durably: when this returns, neither a kill nor a power cut takes them back.

    Raises:
        OSError: the disk is full or not writable.
        ValueError: a record holds a NaN or an infinity; JSON has neither, write None.
    """
    text = _lines(added)
    new = not path.exists()
    with path.open("ab") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if new:
        _sync(path.parent)


def read(path: Path) -> list[Record]:
    """All records of a run, oldest first, without a last line that a kill tore off; none where there is no file.

    Raises:
        InputError: a line in the middle is damaged, or a newer deeptwins wrote the file.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    del lines[-1]  # what follows the last newline: nothing, or a torn line
    records: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            kind = record["kind"]
            if kind == "end" and record["status"] not in STATUSES:
                raise ValueError
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InputError(f"{path}:{number}: not a record; move the file away and run the study again") from None
        if kind == "run":
            schema = record.get("schema")
            if not isinstance(schema, int) or schema > SCHEMA:
                raise InputError(
                    f"{path}:{number}: schema {schema}, and this deeptwins reads up to {SCHEMA}: upgrade it"
                )
        elif number == 1:
            raise InputError(f"{path}:1: a run's first record must be of kind run, not {kind!r}")
        records.append(record)
    return records


def status(records: list[Record]) -> str | None:
    """`done`, `diverged` or `failed` once the run is over, else None."""
    return str(records[-1]["status"]) if records and records[-1]["kind"] == "end" else None


def keep(path: Path, keeps: Callable[[Record], bool]) -> list[Record]:
    """Rewrite a run's file, at once, with those of its records that `keeps` accepts; returns them."""
    records = [record for record in read(path) if keeps(record)]
    text = _lines(records)
    if path.exists() and path.read_bytes() != text:
        replace(path, text)
    return records


def part_of(path: Path) -> Path:
    """Where `replace` writes first. What a kill leaves there is never read, and the next `replace` overwrites it."""
    return path.with_name(path.name + ".part")


def replace(path: Path, content: bytes) -> None:
    """Write a whole file so that a reader, or a kill, sees the old content or the new one, never a part."""
    part = part_of(path)
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _sync(path.parent)


def _lines(records: Iterable[Record]) -> bytes:
    return "".join(json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n" for record in records).encode()


def _sync(folder: Path) -> None:
    """Make durable that a file was made in a folder, or renamed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
