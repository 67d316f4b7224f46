"""Errors that a person can mend, and the words for them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class InputError(Exception):
    """Something the user gave is wrong: one line that names it and says what would be right; exit code 2."""


def choices(allowed: Iterable[Any], wrong: str = "") -> str:
    """Say what would be right: the one name that is nearly the wrong one, or else all names."""
    names = list(map(str, sorted(allowed)))
    close = difflib.get_close_matches(wrong, names, 1)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"


def shown(value: object) -> str:
    """Return any value as a short line."""
    try:
        return line(json.dumps(value, ensure_ascii=False, default=str))
    except (ValueError, RecursionError):  # an integer too long to print, a table nested too deeply
        return "(unprintable)"


def line(text: str) -> str:
    """Return the text on one line, printable, and not too long."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Give errors of the operating system the file that they are about: a failed write does not say it by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
