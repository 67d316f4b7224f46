"""From files of pytest-benchmark, of anybody's project, to a run of the gate.

File i of base and file i of head are a pair of processes. A file says of each benchmark what its median is, so that a
pair has one block of two segments, and its log ratio is that of the two medians. The files of a pair were measured one
after the other: a drift between them does not cancel, as it does in a block that the gate measures. Over all pairs it
does cancel where base came first as often as head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from deeptwins.errors import InputError, line
from deeptwins.gate.judge.verdict import PAIRS_TO_HALVE, suspects
from deeptwins.gate.runs import (
    COMMIT,
    DESIGN,
    Benchmark,
    Design,
    Environment,
    Git,
    Magnitude,
    Pair,
    Run,
    TimedBlock,
    Value,
    rounded,
)
from deeptwins.pages.wording import count
from deeptwins.records import benchmarks, fields
from deeptwins.records.benchmarks import distinct
from deeptwins.records.fields import FromOne, Strict, Text

AGAIN = "write it with `pytest --benchmark-json=FILE`"
UNKNOWN_MACHINE = "machine not told by the files"

Seconds = Annotated[float, Field(ge=0, le=1e9)]


class _Rounds(Strict):
    """Seconds per call; `data` has one value per round, the mean of its iterations."""

    median: Magnitude
    rounds: FromOne = 1
    iterations: FromOne = 1
    data: Sequence[Seconds] = ()

    @property
    def middle(self) -> float:
        """The median: of the rounds themselves where the file has them."""
        return median(self.data) if self.data else self.median


class _Entry(Strict):
    fullname: Text
    stats: _Rounds


class _Cpu(Strict):
    brand_raw: str | None = None
    brand: str | None = None
    """The name of `brand_raw` in older versions."""
    count: int | None = None


class _Machine(Strict):
    node: str | None = None
    machine: str | None = None
    system: str | None = None
    release: str | None = None
    python_version: str | None = None
    cpu: _Cpu | None = None

    @property
    def facts(self) -> dict[str, Value]:
        """What is known of it, by the names that records use; None for what is not."""
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
    rounds: Mapping[str, _Rounds]
    """By benchmark."""
    digest: str
    """SHA-256 of its content."""


def imported(base: Sequence[Path], head: Sequence[Path]) -> Run:
    """Read files of pytest-benchmark as a comparison of two arms.

    Args:
        base: files of one arm.
        head: as many files of the other, each measured on the machine of its counterpart.

    Raises:
        InputError: one cannot be read, is damaged, stands there twice, or they do not compare.
    """
    if len(base) != len(head) or not base:
        given = f"{count(len(base), 'file')} of base and {len(head)} of head"
        raise InputError(f"{given}: give as many of one as of the other, at least one; file i of each make a pair")

    # Read the files, and refuse those that do not compare.
    names = _distinct([*base, *head])
    arms = [[_read(path, names[path]) for path in paths] for paths in (base, head)]
    pairs = list(zip(*arms, strict=True))
    _check(pairs)
    base_commit, head_commit = map(_commit, arms)

    # The run lasts from the first file to the last; its id comes from their contents.
    files = sorted((file for pair in pairs for file in pair), key=lambda file: file.at)
    benchmarks_named = list(dict.fromkeys(name for arm in arms for file in arm for name in file.rounds))
    if not benchmarks_named:
        raise InputError(f"{', '.join(file.name for file in files)}: no benchmark in them; {AGAIN}")
    digests = "".join(file.digest for pair in pairs for file in pair)
    segment_s = min(
        rounds.middle * rounds.iterations * rounds.rounds for file in files for rounds in file.rounds.values()
    )
    changes = {"pairs": len(pairs), "blocks": 1, "segment_s": min(rounded(segment_s), 1e9)}
    design = DESIGN.model_copy(update=changes)
    return Run(
        id=hashlib.sha256(digests.encode()).hexdigest()[:8],
        kind="imported",
        started=files[0].at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z",
        seconds=round((files[-1].at - files[0].at).total_seconds(), 1),
        git=Git(head=head_commit, base=base_commit, dirty=any(file.dirty for file in arms[1])),
        environment=_environment(arms, files),
        design=design,
        benchmarks=halved([_benchmark(name, pairs) for name in benchmarks_named], design),
    )


def halved(whole: Sequence[Benchmark], design: Design) -> tuple[Benchmark, ...]:
    """Make every second pair the second batch of those benchmarks whose other pairs show a change."""
    halves = [
        benchmark.model_copy(update={"pairs": benchmark.pairs[::2]})
        if len(benchmark.pairs) >= PAIRS_TO_HALVE
        else benchmark
        for benchmark in whole
    ]
    changed = {*suspects(halves, design)}
    return tuple(
        half.model_copy(update={"confirmation": benchmark.pairs[1::2]})
        if benchmark.id in changed and half is not benchmark
        else benchmark
        for benchmark, half in zip(whole, halves, strict=True)
    )


def _distinct(paths: Sequence[Path]) -> dict[Path, str]:
    """Name files by the ends of their paths, as long as is needed to tell them apart."""
    longest = max(len(path.parts) for path in paths)
    for parts in range(1, longest + 1):
        names = {path: Path(*path.parts[-parts:]).as_posix() for path in paths}
        if len({*names.values()}) == len(names):
            break
    return names


def _read(path: Path, name: str) -> _File:
    timings = benchmarks.read([path], AGAIN)

    # When, where and of what it was measured.
    try:
        header = _Header.model_validate(timings.content)
        date = datetime.fromisoformat(header.datetime)
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)  # old versions wrote UTC without it
    except ValidationError as error:
        raise timings.refused(fields.complaint(error)) from None
    except (ValueError, OverflowError):
        raise timings.refused(f"datetime: {line(repr(header.datetime))} is none") from None

    # Its benchmarks, each once and with a time.
    rounds: dict[str, _Rounds] = {}
    for entry in timings.cases(_Entry):
        if entry.fullname in rounds:
            raise timings.refused(f"{line(entry.fullname)}: stands there twice")
        rounds[entry.fullname] = entry.stats
        if not entry.stats.middle:
            raise timings.refused(f"{line(entry.fullname)}: its median is 0 s")

    commit = header.commit_info or _Commit()
    return _File(
        name=name,
        at=at,
        machine=(header.machine_info or _Machine()).facts,
        commit=commit.id if commit.id and COMMIT.fullmatch(commit.id) else None,
        dirty=commit.dirty,
        version=header.version,
        rounds=rounds,
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
    # Each pair may come from a machine of its own, if all are of one kind: what differs cancels in the ratio.
    for key in ("cpu", "cores"):
        _alike(files, key, "all must be measured on one kind of machine")
    for pair in pairs:
        _alike(pair, "os", "base and head on two systems do not compare")
        _alike(pair, "node", "base and head on two machines do not compare; containers need the same --hostname")


def _alike(files: Iterable[_File], key: str, rule: str) -> None:
    """Refuse files that differ in a fact of their machines; a file that does not tell it differs from none."""
    values = [(file, file.machine[key]) for file in files if file.machine[key] is not None]
    for file, value in values[1:]:
        first, other = values[0]
        if value != other:
            raise InputError(f"{first.name} and {file.name}: {key} {line(str(other))} and {line(str(value))}: {rule}")


def _commit(files: Sequence[_File]) -> str:
    """Return the commit that an arm's files are of; the files' names where not all of them have one.

    Raises:
        InputError: they are of several commits.
    """
    commits = {file.commit: file for file in files}
    if None in commits:
        return _names(files)
    if len(commits) > 1:
        first, second, *_ = commits.values()
        raise InputError(f"{first.name} and {second.name}: of two commits, {first.commit} and {second.commit}")
    return str(files[0].commit)


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
        machine=", ".join(filter(None, parts)) or UNKNOWN_MACHINE,
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
    """Put a benchmark's pairs together: those in which both files have it."""
    blocks: tuple[Pair, ...] = tuple(
        (_block(name, *pair),) for pair in pairs if all(name in file.rounds for file in pair)
    )
    files = [file for pair in pairs for file in pair]
    without = [file for file in files if name not in file.rounds]
    rounds = [file.rounds[name] for file in files if name in file.rounds]
    status: Literal["ok", "unfinished", "skipped"] = "ok"
    reason = None
    if without:
        status, reason = "unfinished" if blocks else "skipped", f"not in {line(_names(without))}"
    for place, arm in enumerate(("base", "head")):
        if {pair[place] for pair in pairs} <= {*without}:
            reason = f"not in {arm}"
    return Benchmark(
        id=name,
        status=status,
        reason=reason,
        calls=min(arm_rounds.iterations * arm_rounds.rounds for arm_rounds in rounds),
        pairs=blocks,
    )


def _block(name: str, base: _File, head: _File) -> TimedBlock:
    """Make a block of two files' medians, in the order in which the files were written."""
    base_s, head_s = (rounded(file.rounds[name].middle) for file in (base, head))
    if base.at <= head.at:
        return TimedBlock(order="AB", seconds=(base_s, head_s))
    return TimedBlock(order="BA", seconds=(head_s, base_s))
