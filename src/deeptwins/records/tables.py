"""Files of tables: one JSON object each, one row of a table per line, written at once and checked when read."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from deeptwins.errors import InputError
from deeptwins.records import fields
from deeptwins.system import disk, regular

LARGEST = 2**28  # bytes
Content = TypeVar("Content", bound=BaseModel)


def check_writable(path: Path) -> None:
    """Make sure that the file can be written, with the folders that it lacks; nothing is left behind.

    Raises:
        OSError: it cannot.
    """
    there = next(folder for folder in path.parents if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent))
    part = disk.part_of(there / path.name)
    part.touch()
    part.unlink()


def write(path: Path, content: BaseModel) -> None:
    """Write the file, at once or not at all. The same content gives the same bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    parts = []
    for name, value in content.model_dump(mode="json", by_alias=True).items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
        parts.append(f" {json.dumps(name)}: {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    disk.replace(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def read(path: Path, kind: type[Content], schema: int, command: str, mend: str = "") -> Content:
    """Read the file.

    Args:
        path: of the file.
        kind: what it holds.
        schema: the newest that this deeptwins reads.
        command: what writes it.
        mend: what to do where it is damaged; by default, give the command again.

    Raises:
        InputError: it is not there, damaged, or of a newer deeptwins.
    """
    try:
        content: Any = json.loads(regular.read(path, LARGEST))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `{command}` writes it") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: damaged, not JSON; {mend or again(command)}") from None
    written = content.get("schema") if isinstance(content, dict) else None
    if isinstance(written, int) and written > schema:
        raise InputError(f"{path}: schema {written}, and this deeptwins reads up to {schema}: upgrade it")
    try:
        return kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise InputError(f"{path}: {fields.complaint(error)}; {mend or again(command)}") from None


def again(command: str) -> str:
    """Say what mends a damaged file."""
    return f"run `{command}` to write it anew"
