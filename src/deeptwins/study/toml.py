"""TOML as study files have it: read from files that may be damaged, and written."""

from __future__ import annotations

import io
import itertools
import json
import re
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeptwins.errors import InputError, line
from deeptwins.system import regular

LARGEST_FILE = 2**20  # bytes
DEEPEST = 8  # tables in tables
WIDTH = 120  # columns at which lists are wrapped
LARGE = 10_000  # integers from here on have their digits in groups, as 64_000 has
# Strings and comments of TOML, in which brackets and dots mean nothing.
_STRINGS = re.compile(r"""\"{3}(?:\\.|[^\\])*?"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*""", re.DOTALL)


def read(path: Path) -> dict[str, Any]:
    """Read a file.

    Raises:
        InputError: it cannot be read, or is no TOML: one line that names the file.
    """
    text = read_text(path)
    try:
        return parse(text)
    except ValueError as error:  # also: too long an integer
        raise InputError(f"{path}: not TOML: {line(error)}") from None


def read_text(path: Path) -> str:
    """Read the text of a file. One that is no regular file may never end, and one that is large is no study.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        content = regular.read(path, LARGEST_FILE)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    encoding = json.detect_encoding(content)  # by the byte order mark, or where zeros are: TOML begins as JSON does
    if not encoding.startswith("utf-8"):
        raise InputError(f"{path}: in {encoding.upper()}; save it as UTF-8")
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding).read()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: not UTF-8 in line {number}; save it as UTF-8") from None


def parse(text: str) -> dict[str, Any]:
    """Read TOML whose tables are nested as a study's are: deep ones take much more memory than their text.

    Raises:
        ValueError: it is no TOML, or nested too deeply.
    """
    bare = _STRINGS.sub(lambda match: "" if match[0][0] == "#" else "_", text)
    depths = itertools.accumulate(1 if bracket in "[{" else -1 for bracket in re.findall(r"[][{}]", bare))
    dots = (part.count(".") for part in re.split(r"[^\w. \t-]+", bare))
    if max(*depths, *dots, 0, 0) > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep")
    return tomllib.loads(text)


def write(content: Mapping[str, Any]) -> str:
    """Write TOML: first the keys with a value, then a block for each table, and for each table of a list of them."""
    plain: dict[str, Any] = {}
    blocks = []
    for key, value in content.items():
        if isinstance(value, dict):
            blocks.append(f"[{_key(key)}]\n{_lines(value)}")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            blocks += [f"[[{_key(key)}]]\n{_lines(item)}" for item in value]
        else:
            plain[key] = value
    return "\n".join([_lines(plain), *blocks])


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_value(value, wrapped=True)}\n" for key, value in table.items())


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else _text(key)


def _value(value: object, *, wrapped: bool = False) -> str:
    """Spell a value; a long list of numbers takes several lines, but not within a table on one line."""
    match value:
        case bool():
            spelled = str(value).lower()
        case int():
            spelled = f"{value:_}" if abs(value) >= LARGE else str(value)
        case str():
            spelled = _text(value)
        case dict():
            pairs = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
            spelled = f"{{ {pairs} }}" if pairs else "{}"
        case list():
            items = ", ".join(map(_value, value))
            if wrapped and len(items) > WIDTH and not any(isinstance(item, str | dict | list) for item in value):
                items = f"\n{textwrap.indent(textwrap.fill(items, WIDTH, break_on_hyphens=False), '  ')}\n"
            spelled = f"[{items}]"
        case _:
            spelled = str(value)
    return spelled


def _text(text: str) -> str:
    """Spell a string; what a terminal would obey or hide is written as its code."""
    spelled = json.dumps(text, ensure_ascii=False)
    odd = {ord(c): f"\\u{ord(c):04x}" if ord(c) < 2**16 else f"\\U{ord(c):08x}" for c in spelled if not c.isprintable()}
    return spelled.translate(odd)
