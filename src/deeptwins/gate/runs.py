"""What a run of the gate leaves behind: one small JSON file, written once and never changed.

`results/gate/runs/<year>/<month>/<utc>-<commit>-<kind>-<id>.json`. It holds what was measured and the margins that
held at that time, and no verdict: `judge/verdict.py` computes that from it, so that all runs are judged by one rule.
Times are seconds. `schema()` is the JSON Schema of it, which lies beside the runs.

History of the format:
    1  the first
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from deeptwins import records
from deeptwins.errors import InputError
from deeptwins.records import tables
from deeptwins.records.fields import FromZero, Row, Text

SCHEMA = 1
COMMAND = "deeptwins gate"
COMMIT = re.compile("[0-9a-f]{40}")  # what a commit is called, where it is one
DIGITS = 5  # of a time that is kept: its rounding is a hundredth of the least noise seen

Arm = Literal["base", "head"]
Kind = Literal["paired", "anchor", "aa", "slower", "mutant", "imported"]
"""`paired`: head against base, to be judged. `anchor`: head against a fixed commit, for history. `aa`: a commit against
itself. `slower`: a commit against itself with work added. `mutant`: a commit against itself with its source changed.
`imported`: from files of pytest-benchmark."""
Value = int | float | str | None

Magnitude = Annotated[float, Field(gt=0, le=1e9)]


class Git(Row):
    """What was compared."""

    head: Text
    """Commit: 40 hex digits, or for imported files their names."""
    base: Text
    anchor: str | None = None
    """The name by which an anchor was given."""
    dirty: bool = False
    """Whether head has changes that are not committed."""
    suite: str = ""
    """SHA-256 of the definitions of the benchmarks, which both arms run."""


class Environment(Row):
    """Where it was measured."""

    machine: Text
    """What times of this kind of machine are filed under: processor, cores, Python, PyTorch."""
    facts: Mapping[str, Value]
    """All else that is known of it."""


class Design(Row):
    """How it was measured; fixed before anything is."""

    pairs: Annotated[int, Field(ge=1)]
    """Pairs of fresh processes, one an arm, in each batch."""
    blocks: Annotated[int, Field(ge=1)]
    """Blocks of four segments a pair, base head head base or head base base head; fewer where a segment takes long."""
    segment_s: Magnitude
    """Seconds that a segment takes at least."""
    seed: FromZero
    """Of the order of benchmarks and blocks."""
    least_margin: Magnitude
    """Slowdown, as a share, that is tolerated in any case."""
    alpha: Magnitude
    """Error rate of a verdict."""


DESIGN = Design(pairs=5, blocks=6, segment_s=0.05, seed=0, least_margin=0.03, alpha=0.05)
"""The usual one."""


class Block(Row):
    """Four segments, or of imported files two: A is base and B is head."""

    order: Literal["ABBA", "BAAB", "AB", "BA"]
    seconds: tuple[Magnitude, ...]
    """Of one call, in the order in which they were measured."""
    rejected: str | None = None
    """Why it does not count, by a rule that does not look at the times of the arms."""

    @property
    def log_ratio(self) -> float:
        """Mean log time of head minus that of base: of four segments, a drift that is linear in time cancels."""
        base, head = map(self.of, "AB")
        return (sum(map(math.log, head)) - sum(map(math.log, base))) / len(base)

    def of(self, letter: str) -> list[float]:
        """Return the times of an arm, by its letter."""
        return [seconds for each, seconds in zip(self.order, self.seconds, strict=True) if each == letter]

    @model_validator(mode="after")
    def _has_a_time_a_letter(self) -> Block:
        if len(self.seconds) != len(self.order):
            raise ValueError(f"order {self.order} takes {len(self.order)} times")
        return self


Pair = tuple[Block, ...]
"""Blocks of one pair of processes."""


class Benchmark(Row):
    """A benchmark in both arms."""

    id: Text
    status: Literal["ok", "new", "failed", "skipped", "unfinished"]
    """`new`: head runs it and base cannot, so that there is nothing to compare."""
    reason: str | None = None
    """Why it is not `ok`."""
    calls: FromZero = 0
    """A segment."""
    margin: Magnitude | None = None
    """Slowdown, as a share, that is tolerated; by A/A runs (`noise.py`)."""
    controls: FromZero = 0
    """A/A runs that the margin rests on."""
    pairs: tuple[Pair, ...] = ()
    """The first batch."""
    confirmation: tuple[Pair, ...] = ()
    """The second, of processes of its own; taken where the first shows a change."""


class Run(Row):
    """A file's content."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    id: Text
    kind: Kind
    started: Text
    """UTC, ISO 8601, to the second."""
    seconds: Annotated[float, Field(ge=0)]
    """How long it took."""
    git: Git
    environment: Environment
    design: Design
    expected: tuple[str, ...] | None = None
    """Names of what should be measured: the suite's list; None where there is none."""
    benchmarks: tuple[Benchmark, ...] = ()
    toolchain: Mapping[str, str] = {}
    """Versions that exact metrics depend on."""
    exact: Mapping[str, Mapping[str, tuple[Value, Value]]] = {}
    """By subject and metric, the values of base and head; None: the arm has no such thing."""
    unavailable: Mapping[str, str] = {}
    """What could not be counted here, and why."""
    injected: str | None = None
    """How head's source was made worse on purpose: of the kind `mutant`."""
    added: Mapping[str, Magnitude] = {}
    """Work that was added to benchmarks in head, as a share of a call: of the kind `slower`."""
    failure: str | None = None
    """What ended it before its end."""


def path_of(results: Path) -> Path:
    """Where the runs of the gate lie."""
    return results / "gate"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a run."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Run.model_json_schema(by_alias=True)}


def rounded(seconds: float) -> float:
    """Round a time to as many digits as are kept."""
    return float(f"{seconds:.{DIGITS}g}")


def name_of(run: Run) -> Path:
    """Name a run's file, relative to the folder of runs."""
    stamp = run.started.translate(str.maketrans("", "", "-:"))
    commit = "".join(c for c in run.git.head if c.isalnum())[:12]
    return Path("runs", stamp[:4], stamp[4:6], f"{stamp}-{commit}-{run.kind}-{run.id}.json")


def write(results: Path, run: Run) -> Path:
    """Add a run; returns its file.

    Raises:
        InputError: there is such a file: no run is ever changed.
        OSError: the folder cannot be written.
    """
    folder = path_of(results)
    path = folder / name_of(run)
    if path.exists():
        raise InputError(f"{path}: is there already; runs of the gate are only added")
    tables.write(path, run)
    described = (json.dumps(schema(), indent=1) + "\n").encode()
    if not (place := folder / "run.schema.json").exists() or place.read_bytes() != described:
        records.replace(place, described)
    return path


def read(path: Path) -> Run:
    """Read one run.

    Raises:
        InputError: it is not there, damaged, or of a newer deeptwins.
    """
    return tables.read(path, Run, SCHEMA, COMMAND, "move it away: it is no run of the gate")


def load(results: Path, kinds: Iterable[Kind] | None = None) -> list[Run]:
    """Read all runs, or those of some kinds, the oldest first.

    Raises:
        InputError: one is damaged, or of a newer deeptwins.
    """
    wanted = None if kinds is None else {*kinds}
    paths = sorted(path_of(results).glob("runs/*/*/*.json"), key=lambda path: path.name)
    return [run for run in map(read, paths) if wanted is None or run.kind in wanted]
