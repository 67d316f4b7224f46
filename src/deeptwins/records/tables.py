"""Files of tables: one JSON object each, a row of a table a line, written at once and checked when read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeptwins.errors import InputError
from deeptwins.records import runs

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]


class Row(BaseModel):
    """A part of such a file: nothing is converted, none of it unknown, no number infinite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Content = TypeVar("Content", bound=BaseModel)


def prepare(path: Path) -> None:
    """Make the folder of the file, and make sure that it can be written.

    Raises:
        OSError: it cannot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = runs.part_of(path)
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
    prepare(path)
    runs.replace(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


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
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `{command}` writes it") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: damaged, not JSON; {mend or again(command)}") from None
    found = content.get("schema") if isinstance(content, dict) else None
    if isinstance(found, int) and found > schema:
        raise InputError(f"{path}: schema {found}, and this deeptwins reads up to {schema}: upgrade it")
    try:
        return kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise InputError(f"{path}: {first(error)}; {mend or again(command)}") from None


def first(error: ValidationError) -> str:
    """Say the first thing that is wrong, and where."""
    found = error.errors(include_url=False)[0]
    place = ".".join(map(str, found["loc"])) or "content"
    return f"{place}: {found['msg'][:1].lower()}{found['msg'][1:]}"


def again(command: str) -> str:
    """Say what mends a damaged file."""
    return f"run `{command}` to write it anew"
