"""Runs of a tracker, brought in line with the records: begun, continued or replaced. A second export adds nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Protocol

from deeptwins.errors import InputError, one_line
from deeptwins.export import units
from deeptwins.export.units import Point, Unit
from deeptwins.study import Study
from deeptwins.system import disk, regular
from deeptwins.system.invocation import lacking


class Tracker(Protocol):
    """A store of runs: it tells what it has of a unit, and takes more."""

    def left(self, unit: Unit) -> str | None:
        """Return the mark (`units.mark`) of what it has of a unit, empty if that cannot be continued; None: nothing."""

    def begin(self, unit: Unit) -> None:
        """Make the unit anew, without points; what the store had of the unit is deleted."""

    def add(self, unit: Unit, points: Sequence[Point]) -> None:
        """Add the unit's last points, and no others; store the mark of all its points, and whether more will come."""

    def close(self) -> None:
        """Write what is still in memory."""


class Tracked:
    """Hands the units of a study to a tracker."""

    def __init__(self, client: str, make: Callable[[], Tracker], lock: Path | None = None) -> None:
        """Open a tracker.

        Args:
            client: its name.
            make: opens it.
            lock: the file that keeps others from writing the same; None where there is no place for one.

        Raises:
            InputError: the client is not installed, or fails, or another export is under way.
        """
        self._client = client
        with calling(client):
            self._tracker = make()
        self._locked = _lock(lock) if lock else None

    def take(self, study: Study, _results: Path, changed: Sequence[Path]) -> dict[str, str]:
        """Hand on the units of runs whose records have changed; says what became of each.

        Raises:
            InputError: a record is damaged, or the tracker fails.
            OSError: its files cannot be written.
        """
        told = {}
        for path in changed:
            for unit in units.read(study, path) or ():
                with calling(self._client):
                    told[unit.key] = self._hand(unit)
        return told

    def _hand(self, unit: Unit) -> str:
        """Hand on a unit; says what became of it."""
        left = self._tracker.left(unit)
        lacking = units.lacking(unit, left)
        if lacking is None:
            self._tracker.begin(unit)
            self._tracker.add(unit, unit.points)
            return "new" if left is None else "replaced"
        if lacking:
            self._tracker.add(unit, lacking)
        return "changed" if lacking else "the same"

    def close(self) -> None:
        """Write what is still in memory.

        Raises:
            InputError: the tracker fails.
        """
        with calling(self._client):
            self._tracker.close()
        if self._locked:
            self._locked.close()


def _lock(path: Path) -> BinaryIO:
    """Lock a file against other processes until it is closed: two that find nothing would write everything twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        regular.check(path)
    file = path.open("ab")
    if disk.lock(file, 0) is False:
        file.close()
        raise InputError(f"{path}: another export of this study to there is under way; it has the same numbers")
    return file


def client(name: str, extra: str) -> ModuleType:
    """Import a module of a tracker's client.

    Args:
        name: of the module.
        extra: of deeptwins that brings it.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):  # another module, which the client needs
            raise
        missing = name.split(".", maxsplit=1)[0]
        raise InputError(lacking(missing, extra)) from None


@contextmanager
def calling(client: str) -> Iterator[None]:
    """Tell in one line what a client, or the server behind it, objects to; what it prints goes nowhere.

    Raises:
        InputError: the client fails.
        OSError: a file cannot be written.
    """
    try:
        with redirect_stdout(io.StringIO()):
            yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno and error.filename:
            raise
        raise InputError(f"{client}: {_told(error)}; nothing is lost") from error


def _told(error: Exception) -> str:
    """Say in a line what a client says in many."""
    return one_line(f"{type(error).__name__}: {error}").rstrip(": ")[:300]
