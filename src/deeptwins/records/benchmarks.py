"""Files of pytest-benchmark: the cases of some benches, from one file or several, checked, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from deeptwins.errors import InputError, line
from deeptwins.records import fields, tables
from deeptwins.records.fields import FromOne, Measurement, Strict, Text
from deeptwins.system import disk, regular

AGAIN = "write it with `bench/gpu.sh throughput packing choices`"

MACHINE = ("cpu", "cores", "memory_gib", "driver", "os")
VERSIONS = ("deeptwins", "torch", "triton", "python", "cuda", "cudnn")


class Where(Strict):
    """Where a case was timed, as the bench wrote it down."""

    device: Text
    torch: Text
    machine: Mapping[str, str | int | float | None]
    commit: str | None


class Stats(Strict):
    """Seconds of a round: pytest-benchmark's."""

    median: Measurement
    min: Measurement
    max: Measurement
    q1: Measurement
    q3: Measurement
    rounds: FromOne


Info = TypeVar("Info", bound=Strict)
CaseType = TypeVar("CaseType", bound=Strict)
Derived = TypeVar("Derived")


class Timing(Strict, Generic[Info]):
    """A case of a bench that says in `extra_info` what it timed."""

    fullname: Text
    extra_info: Info
    stats: Stats


@dataclass(frozen=True)
class Origin:
    """Where cases come from; of several machines or commits, all of them."""

    device: str
    machine: Mapping[str, str]
    commits: str
    date: str

    @property
    def rows(self) -> list[list[str]]:
        """Rows of a table: a name and its value."""
        machine = {key: self.machine[key] for key in MACHINE if self.machine.get(key, "") not in {"", self.device}}
        versions = ", ".join(f"{key} {self.machine[key]}" for key in VERSIONS if self.machine.get(key))
        return [
            ["device", self.device],
            *([key.replace("_gib", " (GiB)"), value] for key, value in machine.items()),
            ["versions", versions],
            ["commit", self.commits or "not known"],
            ["date", self.date or "not known"],
        ]


@dataclass(frozen=True)
class Timings:
    """The content of one or several files, and what messages call them."""

    source: str
    content: Mapping[str, Any]
    """The first file's, with the benchmarks of all."""
    again: str
    """How to write them anew."""

    def of(self, *benches: str) -> Timings:
        """Return the cases of some benches, named by their modules."""
        names = tuple(f"{bench}.py::" for bench in benches)
        cases = [case for case in self.content["benchmarks"] if any(name in case["fullname"] for name in names)]
        return replace(self, content={**self.content, "benchmarks": cases})

    def __len__(self) -> int:
        """Count the cases."""
        return len(self.content["benchmarks"])

    def cases(self, kind: type[CaseType], wrong: str = "") -> list[CaseType]:
        """Check that every case is of this kind.

        Args:
            kind: what a case must have, e.g. `Timing[GridInfo]`.
            wrong: how the message about one that is not begins.

        Raises:
            InputError: one lacks something, or it makes no sense.
        """
        cases = []
        for benchmark in self.content["benchmarks"]:
            try:
                cases.append(kind.model_validate(benchmark))
            except ValidationError as error:
                raise self.refused(f"{wrong}{line(str(benchmark['fullname']))}: {fields.complaint(error)}") from None
        return cases

    def refused(self, what: str) -> InputError:
        """Say what is wrong with the files, and how to write them anew."""
        return InputError(f"{self.source}: {what}; {self.again}")

    def origin(self, infos: Sequence[Where]) -> Origin:
        """Say where these cases, at least one, come from."""
        first = infos[0]
        machine = {key: distinct(info.machine.get(key) for info in infos) for key in first.machine}
        date = str(self.content.get("datetime", ""))[:10]
        return Origin(first.device, machine, distinct(info.commit for info in infos), date)

    def compare(self, infos: Sequence[Where], keys: Iterable[str]) -> None:
        """Refuse cases that do not compare.

        Raises:
            InputError: they are not all the same in one of the keys.
        """
        for key in keys:
            if len({getattr(info, key) for info in infos}) > 1:
                raise self.refused(f"{key}: not the same in all timings, which do not compare")


@dataclass(frozen=True)
class Benches(Generic[Derived]):
    """Benches whose timings make one page, and what the page takes from them."""

    page: str
    """The kind of page: names the folder of `results/` where the timings are kept."""
    modules: tuple[str, ...]
    """In `bench/`, without `.py`."""
    derive: Callable[[Timings], Derived]
    """Checks the timings of these modules and computes what the page says; raises InputError if they make no sense."""
    again: str = AGAIN
    """How to write the timings anew, for messages."""

    def path_of(self, results: Path) -> Path:
        """Where the timings are kept: JSON of pytest-benchmark."""
        return results / self.page / "timings.json"

    def load(self, path: Path) -> Derived:
        """Read a file of pytest-benchmark; cases of other benches are left out.

        Raises:
            InputError: the file cannot be read, is damaged, or has no timings that make sense.
        """
        return self.derive(read([path], self.again).of(*self.modules))

    def find(self, results: Path) -> list[tuple[Path]]:
        """List the arguments of `load` for what a folder of results has: the file of timings, if there is one."""
        path = self.path_of(results)
        return [(path,)] if path.exists() else []


def read(files: Sequence[Path], again: str = AGAIN) -> Timings:
    """Read files, and put their cases together; what a case says is not checked yet.

    Args:
        files: at least one.
        again: how to write them anew, for messages.

    Raises:
        InputError: one cannot be read, or is not pytest-benchmark's.
    """
    contents = [_content(file, again) for file in files]
    merged = contents[0] | {"benchmarks": [case for content in contents for case in content["benchmarks"]]}
    return Timings(", ".join(map(str, files)), merged, again)


def keep(timings: Timings, path: Path) -> Path:
    """Write timings to one file, from which a page can be written again; returns it.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    disk.replace(path, json.dumps(timings.content, indent=4).encode())
    return path


def distinct(values: Iterable[object]) -> str:
    """Write each value once; None and an empty text are no values."""
    return "; ".join(dict.fromkeys(str(value) for value in values if value not in {None, ""}))


def _content(path: Path, again: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(regular.read(path, tables.LARGEST))
        for case in content["benchmarks"]:
            if not isinstance(case["fullname"], str):
                raise TypeError(f"fullname = {case['fullname']}")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {again}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: damaged, or not pytest-benchmark's ({line(repr(error))}); {again}") from None
    return content
