"""Errors that a person can mend, and the words for them."""

from __future__ import annotations

import difflib
import json
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent
OWN_CODE: set[Path] = set()
"""Folders and files of parts of one's own, as far as they were imported."""


class InputError(Exception):
    """Something the user gave is wrong: one line that names it and says what would be right; exit code 2."""


class PartError(TypeError):
    """A part of a net returns what it must not; `place` is where the part is defined: file and line."""

    def __init__(self, text: str, place: str) -> None:
        super().__init__(text)
        self.place = place


class SpecError(ValueError):
    """A net or a recipe cannot be as it is described: it names the field, its value, and what is allowed."""


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
    """Name the file in errors of the operating system: a failed write does not name it."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def noting(what: str) -> Iterator[None]:
    """Note on an error what it happened to, such as the twin whose block it came from."""
    try:
        yield
    except BaseException as error:  # also one that ends Python, from somebody's own part
        if what not in notes(error):
            error.add_note(what)
        raise


def notes(error: BaseException) -> list[str]:
    """What was noted on an error, the widest first."""
    return [*reversed(getattr(error, "__notes__", []))]


def told(error: BaseException, log: Path) -> str:
    """Write the traceback of an error that nobody foresaw to a log; returns one line: what it happened to, where, what.

    Raises:
        OSError: the log cannot be written.
    """
    keep(error, log)
    what = one_line(f"{type(error).__name__}: {error}").rstrip(": ")[:200]
    place = error.place if isinstance(error, PartError) else place_of(error)
    return ", ".join([*map(one_line, notes(error)), f"{what} ({one_line(place)})"])


def keep(error: BaseException, log: Path) -> None:
    """Write the traceback of an error to a log.

    Raises:
        OSError: the log cannot be written.
    """
    with naming(log):
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")


def of_a_part(error: BaseException) -> bool:
    """Whether an error is of a part of one's own: a note says so, and it is none of ours that tells what to mend."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = isinstance(error, InputError) and Path(frames[-1].filename).is_relative_to(_PACKAGE)
    return bool(notes(error)) and not ours


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """List the frames of an error that are of parts of one's own, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if any(Path(frame.filename).is_relative_to(code) for code in OWN_CODE)]


def place_of(error: BaseException) -> str:
    """Name file and line of the innermost frame of a part of one's own; or else of deeptwins; or else of any code."""
    if isinstance(error, SyntaxError) and error.filename:
        return place(error.filename, error.lineno)
    frames = traceback.extract_tb(error.__traceback__)
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    others = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(_PACKAGE) or not frame.filename.startswith((*libraries, "<"))
    ]
    last = (own_frames(error) or others or frames)[-1]
    return place(last.filename, last.lineno)


def place(file: str, number: int | None) -> str:
    """Name a line of a file; one of deeptwins begins with `deeptwins/`."""
    path = Path(file)
    return f"{path.relative_to(_PACKAGE.parent) if path.is_relative_to(_PACKAGE) else path}:{number}"
