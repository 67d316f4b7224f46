"""TOML as study files have it: read from files that may be damaged, and written."""

from __future__ import annotations

import io
import itertools
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit

from deeptwins.errors import InputError, line
from deeptwins.system import regular

LARGEST_FILE = 2**20  # bytes
DEEPEST = 8  # tables in tables
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
    """Read the text of a file. A file that is not regular may never end, and a large one is no study: both are refused.

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
    """Write TOML; characters that a terminal would obey or hide are written as their codes."""
    text = tomlkit.dumps(content)
    return "".join(c if c.isprintable() or c == "\n" else _code(ord(c)) for c in text)


def _code(number: int) -> str:
    """Spell a character as strings of TOML may; outside of strings and quoted keys TOML has printable ones alone."""
    return f"\\u{number:04x}" if number < 2**16 else f"\\U{number:08x}"
