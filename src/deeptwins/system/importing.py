"""Parts of one's own: `package.module:attribute`, found where it is installed, or else in the current folder."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TypeVar

from deeptwins.errors import InputError, line, place_of

T = TypeVar("T")

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
FORM = "package.module:attribute"


def is_own(name: object) -> bool:
    """Tell whether a name is of the form `package.module:attribute`; imports nothing."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def attribute(name: str) -> Any:  # noqa: ANN401  whatever somebody has defined
    """Import what `package.module:attribute` names.

    Raises:
        InputError: the name has another form; there is no such module or attribute; importing the module fails, ends
            Python, or prints. Where the module raised something, that is the cause.
    """
    if not is_own(name):
        raise InputError(f"{line(name)}: write {FORM}")
    path, _, inside = name.partition(":")
    found = _module(name, path)
    for member in inside.split("."):
        try:
            with exits_raised():
                found = getattr(found, member)
        except AttributeError:
            close = difflib.get_close_matches(member, dir(found), 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise InputError(f"{name}: nothing of the name {member!r} in {path}{meant}") from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module may make its members when they are asked for
            raise InputError(f"{name}: {_said(error)}") from error
    return found


def _module(name: str, path: str) -> Any:  # noqa: ANN401  a module, or whatever takes its place
    """Import a module, which must neither fail, nor end Python, nor print; what it warns of is passed on in lines."""
    if path in sys.modules:
        return sys.modules[path]
    if os.getcwd() not in sys.path and "" not in sys.path:  # noqa: PTH109  as `sys.path` has it
        sys.path.append(os.getcwd())  # noqa: PTH109  last, so that it hides nothing that is installed
    printed, warned = io.StringIO(), io.StringIO()
    try:
        with exits_raised(), redirect_stdout(printed), redirect_stderr(warned):
            module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise InputError(f"{name}: {_said(error)}") from error
        raise InputError(f"{name}: no module {error.name!r}, neither installed nor in this folder") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a module may do
        raise InputError(f"{name}: {_said(error)}") from error
    if text := printed.getvalue().strip():
        sys.modules.pop(path, None)  # so that it is refused again
        first = line(text.splitlines()[0])
        raise InputError(f"{name}: prints '{first}' when it is imported: put that into a function")
    for text in warned.getvalue().splitlines():
        sys.stderr.write(line(text, 500) + "\n")
    return module


def _said(error: BaseException) -> str:
    """Say what somebody's module raised, and where."""
    what = "ends Python" if isinstance(error, SystemExit) else line(f"{type(error).__name__}: {error}", 200)
    return f"{what.rstrip(': ')} ({place_of(error)})"


@contextmanager
def exits_raised() -> Iterator[None]:
    """Let `os._exit` raise SystemExit, as `sys.exit` does: where somebody's code ends Python, that can then be told."""
    at_once = os._exit
    os._exit = sys.exit  # type: ignore[assignment]  # both end Python
    try:
        yield
    finally:
        os._exit = at_once


class Parts(dict[str, T]):
    """Parts by name: those that ship, and, of one's own, whatever `package.module:attribute` names.

    A table is a plain literal. A name of one's own is `in` it, and is imported when it is asked for.
    """

    def __init__(self, shipped: Mapping[str, T], wrap: Callable[[Any], T] | None = None) -> None:
        """Take the parts that ship.

        Args:
            shipped: by name.
            wrap: the class of the parts, where they are more than functions: one's own may be of the class, or just
                the function that is its first argument.
        """
        super().__init__(shipped)
        self._wrap = wrap

    def __contains__(self, name: object) -> bool:
        """Whether a part ships, or the name is of the form of one's own."""
        return super().__contains__(name) or is_own(name)

    def __missing__(self, name: str) -> T:
        """Import a part of one's own.

        Raises:
            InputError: there is none, or it is neither a function nor of the class.
            KeyError: no part of the name ships.
        """
        if not is_own(name):
            raise KeyError(name)
        part: T = attribute(name)
        if isinstance(self._wrap, type) and isinstance(part, self._wrap):
            return part
        if not callable(part):
            raise InputError(f"{name}: of the type {type(part).__name__}; it must be a function or a class")
        return part if self._wrap is None else self._wrap(part)
