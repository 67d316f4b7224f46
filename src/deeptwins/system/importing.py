"""Parts of one's own: `package.module:attribute`, found where it is installed, or else in the current folder."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from deeptwins.errors import OWN_CODE, InputError, PartError, SpecError, line, place, place_of
from deeptwins.system.spoken import Spoken

T = TypeVar("T")

FORM = "package.module:attribute"
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_WORDS = {type(None): "nothing", Real: "a number"}
_LONGEST = 200  # characters of what somebody's code says


def is_own(name: object) -> bool:
    """Tell whether a name is of the form `package.module:attribute`; imports nothing."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def ships(name: str) -> bool:
    """Tell whether `package.module:attribute` is a part of deeptwins itself."""
    return name.startswith(f"{__name__.partition('.')[0]}.")


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
    if not ships(name):
        OWN_CODE.update(code(top(path)))
    for member in inside.split("."):
        with telling(name):  # a module may make its members when they are asked for
            try:
                found = getattr(found, member)
            except AttributeError:
                close = difflib.get_close_matches(member, dir(found), 1)
                meant = f"; did you mean {close[0]}?" if close else ""
                raise InputError(f"{name}: nothing of the name {member!r} in {path}{meant}") from None
    return found


def _module(name: str, path: str) -> Any:  # noqa: ANN401  a module, or whatever takes its place
    """Import a module, which must neither fail, nor end Python, nor print; what it warns of is passed on in lines."""
    if path in sys.modules:
        return sys.modules[path]
    if os.getcwd() not in sys.path and "" not in sys.path:  # noqa: PTH109  as `sys.path` has it
        sys.path.append(os.getcwd())  # noqa: PTH109  last, so that it hides nothing that is installed
    printed: list[str] = []
    terminal = sys.stderr  # which is not that any more while the module is imported
    warn = Spoken(lambda text: terminal.write(f"{line(text, _LONGEST)}\n"))
    with telling(name), Spoken(printed.append) as heard, redirect_stdout(heard), redirect_stderr(warn):
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{path}.".startswith(f"{error.name}."):
                raise
            raise InputError(f"{name}: no module {error.name!r}, neither installed nor in this folder") from None
    if first := next(filter(str.strip, printed), ""):
        sys.modules.pop(path, None)  # so that it is refused again
        raise InputError(f"{name}: prints '{line(first)}' when it is imported: put that into a function")
    return module


def top(name: str) -> ModuleType:
    """Return the package that an imported module lies in, the outermost one, or a module in none.

    Args:
        name: of the module, or `package.module:attribute`.
    """
    return sys.modules[name.partition(":")[0].partition(".")[0]]


def code(module: ModuleType) -> list[Path]:
    """Name the folders of a package, or the file of a module; nothing of what is not written in Python."""
    if folders := vars(module).get("__path__"):
        return [Path(folder).resolve() for folder in folders]
    file = vars(module).get("__file__") or ""
    return [Path(file).resolve()] if file.endswith(".py") else []


@contextmanager
def telling(name: str) -> Iterator[None]:
    """Turn whatever somebody's code raises inside into one line: an InputError, whose cause it is."""
    try:
        with exits_raised():
            yield
    except (KeyboardInterrupt, InputError):
        raise
    except BaseException as error:
        what = "ends Python" if isinstance(error, SystemExit) else line(f"{type(error).__name__}: {error}", _LONGEST)
        raise InputError(f"{name}: {what.rstrip(': ')} ({place_of(error)})") from error


@contextmanager
def exits_raised() -> Iterator[None]:
    """Let `os._exit` raise SystemExit, as `sys.exit` does: where somebody's code ends Python, that can then be told."""
    at_once = os._exit
    os._exit = sys.exit  # type: ignore[assignment]  # both end Python
    try:
        yield
    finally:
        os._exit = at_once


def defined(part: Callable[..., Any]) -> str:
    """Name file and line where a function or class is defined; where that is not known, its module."""
    written: Any = inspect.unwrap(part)
    while isinstance(written, functools.partial):
        written = written.func
    if not isinstance(written, type) and not inspect.isroutine(written):
        written = type(written)
    try:
        return place(inspect.getfile(written), inspect.getsourcelines(written)[1])
    except (OSError, TypeError):
        return f"in {getattr(written, '__module__', None)}"


class Parts(dict[str, T]):
    """Parts by name: those that ship, and, of one's own, whatever `package.module:attribute` names.

    A table is a plain literal. A name of one's own is `in` it, and is imported when it is asked for.
    """

    def __init__(
        self,
        shipped: Mapping[str, T],
        wrap: Callable[[Any], T] | None = None,
        *,
        called: Sequence[str] = (),
        returns: Sequence[type] = (),
    ) -> None:
        """Take the parts that ship.

        Args:
            shipped: by name.
            wrap: the class of the parts, where they are more than functions: one's own may be of the class, or just
                the function that is its first argument.
            called: what one's own functions are called with, in order; by default that is not checked.
            returns: what one's own functions may return; by default that is not checked.
        """
        super().__init__(shipped)
        self._wrap = wrap
        self._called, self._returns = tuple(called), tuple(returns)

    def __contains__(self, name: object) -> bool:
        """Whether a part ships, or the name is of the form of one's own."""
        return super().__contains__(name) or is_own(name)

    def __missing__(self, name: str) -> T:
        """Import a part of one's own.

        Raises:
            InputError: there is none; it is neither a function nor of the class; it cannot be called as it must.
            KeyError: no part of the name ships.
        """
        if not is_own(name):
            raise KeyError(name)
        taken: T = self._taken(name, attribute(name), self._wrap)
        return taken

    def _taken(self, name: str, part: Any, kind: Any) -> Any:  # noqa: ANN401  whatever somebody has defined
        """Make a part of what somebody has defined."""
        if isinstance(kind, type) and isinstance(part, kind):
            whole: Any = part
            first = dataclasses.fields(whole)[0].name
            return dataclasses.replace(whole, **{first: self._checked(name, getattr(whole, first))})
        function = self._checked(name, part)
        return function if kind is None else kind(function)

    def _checked(self, name: str, part: Callable[..., Any]) -> Callable[..., Any]:
        """Check how a part can be called, and let it check what it returns."""
        check_callable(name, part)
        if self._called:
            check_call(name, part, self._called)
        if not self._returns:
            return part

        @functools.wraps(part)
        def called(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  whatever the part takes and makes
            made = part(*arguments, **options)
            if not isinstance(made, self._returns):
                wanted = " or ".join(_WORDS.get(kind, kind.__name__) for kind in self._returns)
                raise PartError(f"{name} returns {type(made).__name__}, and must return {wanted}", defined(part))
            return made

        return called


def check_name(field: str, name: object, names: Collection[str]) -> None:
    """Check what a field names: a part that ships, or one of one's own, which is imported.

    Raises:
        SpecError: no part has the name; it says which there are.
        InputError: a part of one's own cannot be imported, or not be called as it must.
    """
    if name not in names:
        own = f", or {FORM}" if isinstance(names, Parts) else ""
        raise SpecError(f"{field} = {name!r}: choose from {', '.join(names)}{own}")
    if isinstance(names, Parts):
        try:
            names[str(name)]
        except InputError as error:
            raise InputError(f"{field} = {error}") from error.__cause__


def check_callable(name: str, part: object) -> None:
    """Refuse a part that is neither a function nor a class.

    Raises:
        InputError: it is neither.
    """
    if not callable(part):
        raise InputError(f"{name}: of the type {type(part).__name__}; it must be a function or a class")


def check_call(name: str, part: Callable[..., Any], called: Sequence[str], *options: str) -> None:
    """Refuse a part that cannot be called with these arguments in order, and these options by name.

    Raises:
        InputError: it is no function or class, or has another signature.
    """
    check_callable(name, part)
    try:
        signature = inspect.signature(part)
    except (TypeError, ValueError):  # of what is not written in Python
        return
    try:
        signature.bind(*called, **dict.fromkeys(options))
    except TypeError as error:
        how = ", ".join([*called, *(f"{option}=" for option in options)])
        raise InputError(f"{name}: called with ({how}): {error} ({defined(part)})") from None
