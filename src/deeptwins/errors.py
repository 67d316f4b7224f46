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


def line(text: object, longest: int = 80) -> str:
    """Return text that others wrote on one printable line, and not too long."""
    written = escaped(str(text))
    return written if len(written) <= longest else f"{written[: longest - 3]}..."


def one_line(text: object) -> str:
    """Return text that others wrote on one printable line, with single spaces between its words."""
    return " ".join(escaped(str(text)).split())


def escaped(text: str, kept: str = "") -> str:
    """Escape what a terminal or a browser would obey or hide, such as ESC and marks of direction.

    Args:
        text: that others wrote.
        kept: characters that stay as they are. White space becomes a space, everything else a code.
    """
    odd = [c for c in {*text} - {*kept} if not c.isprintable()]
    return text.translate({ord(c): " " if c.isspace() else c.encode("unicode_escape").decode() for c in odd})


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Give errors of the operating system the file that they are about: a failed write does not say it by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
