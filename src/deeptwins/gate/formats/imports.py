"""From files of pytest-benchmark, of anybody's project, to a run of the gate.

File i of base and file i of head are a pair of processes, and each benchmark's median in a file is what it took there.
A file tells no more, so that a pair has one block, in which either median stands for both segments of its arm: the log
ratio is that of the medians. The files of a pair were measured one after the other. What drifts between them does not
cancel, as it does in a block of the gate's own; over all pairs it does where base was as often the first as head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated

from pydantic import Field, ValidationError

from deeptwins.errors import InputError, line
from deeptwins.gate.runs import (
    COMMIT,
    DESIGN,
    Benchmark,
    Block,
    Environment,
    Git,
    Magnitude,
    Pair,
    Run,
    Value,
    rounded,
)
from deeptwins.pages.wording import count
from deeptwins.records import benchmarks, fields
from deeptwins.records.benchmarks import distinct
from deeptwins.records.fields import FromOne, Strict, Text

AGAIN = "write it with `pytest --benchmark-json=FILE`"
UNKNOWN = "machine not told by the files"

Seconds = Annotated[float, Field(ge=0, le=1e9)]


class _Stats(Strict):
    """Seconds of a call; `data` has one value a round, the mean of its iterations."""

    median: Magnitude
    rounds: FromOne = 1
    iterations: FromOne = 1
    data: Sequence[Seconds] = ()

    @property
    def middle(self) -> float:
        """The median, of the rounds themselves where they were kept."""
        return median(self.data) if self.data else self.median


class _Case(Strict):
    fullname: Text
    stats: _Stats


class _Cpu(Strict):
    brand_raw: str | None = None
    brand: str | None = None
    """What older versions call it."""
    count: int | None = None


class _Machine(Strict):
    node: str | None = None
    machine: str | None = None
    system: str | None = None
    release: str | None = None
    python_version: str | None = None
    cpu: _Cpu | None = None

    @property
    def told(self) -> dict[str, Value]:
        """What is known of it, by the words of records."""
        cpu = self.cpu or _Cpu()
        return {
            "cpu": cpu.brand_raw or cpu.brand or self.machine or None,
            "cores": cpu.count,
            "os": " ".join(part for part in (self.system, self.release) if part) or None,
            "arch": self.machine or None,
            "node": self.node or None,
            "python": self.python_version or None,
        }


class _Commit(Strict):
    id: str | None = None
    dirty: bool = False


class _Header(Strict):
    datetime: Text
    version: str | None = None
    machine_info: _Machine | None = None
    commit_info: _Commit | None = None


@dataclass(frozen=True, eq=False)
class _File:
    name: str
    at: datetime
    """When it was written: at the end of its measurements."""
    machine: Mapping[str, Value]
    commit: str | None
    dirty: bool
    version: str | None
    cases: Mapping[str, _Stats]
    digest: str


def imported(base: Sequence[Path], head: Sequence[Path]) -> Run:
    """Strict files of pytest-benchmark as a comparison of two arms.

    Args:
        base: files of one arm.
        head: as many files of the other, each measured on the machine of its counterpart.

    Raises:
        InputError: one cannot be read, is damaged, stands there twice, or they do not compare.
    """
    if len(base) != len(head) or not base:
        given = f"{count(len(base), 'file')} of base and {len(head)} of head"
        raise InputError(f"{given}: give as many of one as of the other, at least one; file i of each make a pair")
    names = _distinct([*base, *head])
    arms = [[_read(path, names[path]) for path in paths] for paths in (base, head)]
    pairs = list(zip(*arms, strict=True))
    files = sorted((file for pair in pairs for file in pair), key=lambda file: file.at)
    _check(pairs)
    found = list(dict.fromkeys(name for arm in arms for file in arm for name in file.cases))
    if not found:
        raise InputError(f"{', '.join(file.name for file in files)}: no benchmark in them; {AGAIN}")
    segment = min(each.middle * each.iterations * each.rounds for file in files for each in file.cases.values())
    bases, heads = map(_commit, arms)
    return Run(
        id=hashlib.sha256("".join(file.digest for pair in pairs for file in pair).encode()).hexdigest()[:8],
        kind="imported",
        started=files[0].at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z",
        seconds=round((files[-1].at - files[0].at).total_seconds(), 1),
        git=Git(head=heads, base=bases, dirty=any(file.dirty for file in arms[1])),
        environment=_environment(arms, files),
        design=DESIGN.model_copy(update={"pairs": len(pairs), "blocks": 1, "segment_s": min(rounded(segment), 1e9)}),
        benchmarks=tuple(_benchmark(name, pairs) for name in found),
    )


def _distinct(paths: Sequence[Path]) -> dict[Path, str]:
    """Name files by as much of the end of their paths as tells them apart."""
    longest = max(len(path.parts) for path in paths)
    for parts in range(1, longest + 1):
        names = {path: Path(*path.parts[-parts:]).as_posix() for path in paths}
        if len({*names.values()}) == len(names):
            break
    return names


def _read(path: Path, name: str) -> _File:
    timings = benchmarks.read([path], AGAIN)
    try:
        header = _Header.model_validate(timings.content)
        told = datetime.fromisoformat(header.datetime)
        at = (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)  # old versions wrote UTC without it
    except ValidationError as error:
        raise timings.refused(fields.complaint(error)) from None
    except (ValueError, OverflowError):
        raise timings.refused(f"datetime: {line(repr(header.datetime))} is none") from None
    cases: dict[str, _Stats] = {}
    for case in timings.cases(_Case):
        if case.fullname in cases:
            raise timings.refused(f"{line(case.fullname)}: stands there twice")
        cases[case.fullname] = case.stats
        if not case.stats.middle:
            raise timings.refused(f"{line(case.fullname)}: its median is 0 s")
    commit = header.commit_info or _Commit()
    return _File(
        name=name,
        at=at,
        machine=(header.machine_info or _Machine()).told,
        commit=commit.id if commit.id and COMMIT.fullmatch(commit.id) else None,
        dirty=commit.dirty,
        version=header.version,
        cases=cases,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def _check(pairs: Sequence[tuple[_File, _File]]) -> None:
    """Refuse files that do not compare."""
    files = [file for pair in pairs for file in pair]
    seen: dict[str, _File] = {}
    for file in files:
        if file.digest in seen:
            raise InputError(f"{seen[file.digest].name} and {file.name}: the same content; each must be measured anew")
        seen[file.digest] = file
    # Pairs may be measured on machines of one kind, each on its own: their difference leaves the ratio.
    for key in ("cpu", "cores"):
        _alike(files, key, "all must be measured on one kind of machine")
    for pair in pairs:
        _alike(pair, "os", "base and head on two systems do not compare")
        _alike(pair, "node", "base and head on two machines do not compare; containers need the same --hostname")


def _alike(files: Iterable[_File], key: str, rule: str) -> None:
    known = [(file, file.machine[key]) for file in files if file.machine[key] is not None]
    for file, value in known[1:]:
        first, other = known[0]
        if value != other:
            raise InputError(f"{first.name} and {file.name}: {key} {line(str(other))} and {line(str(value))}: {rule}")


def _commit(files: Sequence[_File]) -> str:
    """Name what an arm's files are of: a commit, or else themselves.

    Raises:
        InputError: they are of several commits.
    """
    commits = {file.commit: file for file in files}
    if len(commits) > 1 and None not in commits:
        first, second, *_ = commits.values()
        raise InputError(f"{first.name} and {second.name}: of two commits, {first.commit} and {second.commit}")
    return files[0].commit or _names(files) if len(commits) == 1 else _names(files)


def _names(files: Iterable[_File]) -> str:
    return ", ".join(file.name for file in files)


def _environment(arms: Sequence[Sequence[_File]], files: Sequence[_File]) -> Environment:
    facts = {key: distinct(file.machine[key] for file in files) for key in files[0].machine}
    cores = next((file.machine["cores"] for file in files if file.machine["cores"] is not None), None)
    pythons = [distinct(file.machine["python"] for file in arm) for arm in arms]
    if len({*pythons}) > 1:
        facts["python"] = f"base {pythons[0] or 'unknown'}, head {pythons[1] or 'unknown'}"
    parts = (facts["cpu"], f"{cores} cores" if cores else "", f"Python {facts['python']}" if facts["python"] else "")
    return Environment(
        machine=", ".join(filter(None, parts)) or UNKNOWN,
        facts={
            **{key: value or None for key, value in facts.items()},
            "cores": cores,
            "base changes": "not committed" if any(file.dirty for file in arms[0]) else None,
            "pytest-benchmark": distinct(file.version for file in files) or None,
            "order": "".join("A" if file in arms[0] else "B" for file in files),
            "base files": _names(arms[0]),
            "head files": _names(arms[1]),
        },
    )


def _benchmark(name: str, pairs: Sequence[tuple[_File, _File]]) -> Benchmark:
    blocks: tuple[Pair, ...] = tuple((_block(name, *pair),) for pair in pairs if all(name in f.cases for f in pair))
    files = [file for pair in pairs for file in pair]
    missing = [file for file in files if name not in file.cases]
    found = [file.cases[name] for file in files if name in file.cases]
    reason = f"not in {line(_names(missing))}" if missing else None
    for place, arm in enumerate(("base", "head")):
        if {pair[place] for pair in pairs} <= {*missing}:
            reason = f"not in {arm}"
    return Benchmark(
        id=name,
        status="ok" if not missing else "unfinished" if blocks else "skipped",
        reason=reason,
        calls=min(stats.iterations * stats.rounds for stats in found),
        pairs=blocks,
    )


def _block(name: str, base: _File, head: _File) -> Block:
    a, b = (rounded(file.cases[name].middle) for file in (base, head))
    if base.at <= head.at:
        return Block(order="AB", seconds=(a, b))
    return Block(order="BA", seconds=(b, a))
