"""What a run of the gate leaves behind: one small JSON file, written once and never changed.

Its path is `results/gate/runs/<year>/<month>/<utc>-<commit>-<kind>-<id>.json`. It holds what was measured, and the
margins of that time. It holds no verdict: `judge/verdict.py` computes that, so that all runs are judged by one rule.
Times are seconds. `schema()` is its JSON Schema, which lies beside the runs.

History of the format:
    1  the first
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from deeptwins import records
from deeptwins.errors import InputError
from deeptwins.records import tables
from deeptwins.records.fields import FromZero, Row, Text

SCHEMA = 1
COMMAND = "deeptwins gate"
COMMIT = re.compile("[0-9a-f]{40}")  # git's name of a commit; imported files may have none
DIGITS = 5  # significant digits of a stored time: rounding moves it by at most a hundredth of the least noise seen

Side = Literal["base", "head"]
Kind = Literal["paired", "anchor", "aa", "slower", "mutant", "imported"]
"""`paired`: head against base, to be judged. `anchor`: head against a fixed commit, for history. `aa`: a commit against
itself. `slower`: a commit against itself with work added. `mutant`: a commit against itself with its source changed.
`imported`: from files of pytest-benchmark."""
Value = int | float | str | None

Magnitude = Annotated[float, Field(gt=0, le=1e9)]


class Git(Row):
    """What was compared."""

    head: Text
    """Commit: 40 hex digits. Imported files that name no commit are called by their names instead."""
    base: Text
    anchor: str | None = None
    """What the user called base, such as a tag; of the kind `anchor` only."""
    dirty: bool = False
    """Whether head has changes that are not committed."""
    suite: str = ""
    """SHA-256 of the definitions of the benchmarks, which both arms run."""


class Environment(Row):
    """Where it was measured."""

    machine: Text
    """Kind of machine: processor, cores, Python, PyTorch. Margins come from A/A runs of the same kind."""
    facts: Mapping[str, Value]
    """More about it, by name: operating system, load, versions."""


class Design(Row):
    """How it was measured; fixed before anything is."""

    pairs: Annotated[int, Field(ge=1)]
    """Pairs of fresh processes in each batch: one process of base and one of head."""
    blocks: Annotated[int, Field(ge=1)]
    """Blocks per pair of processes, at most: a benchmark whose calls take long gets fewer."""
    segment_s: Magnitude
    """Seconds that a segment takes at least."""
    seed: FromZero
    """Of the order of benchmarks and blocks."""
    least_margin: Magnitude
    """Slowdown, as a share, that is tolerated in any case."""
    alpha: Magnitude
    """Error rate of a verdict."""


DESIGN = Design(pairs=5, blocks=6, segment_s=0.05, seed=0, least_margin=0.03, alpha=0.05)
"""The usual design; each run has a seed of its own."""


class TimedBlock(Row):
    """Four segments, or of imported files two: A is base and B is head."""

    order: Literal["ABBA", "BAAB", "AB", "BA"]
    seconds: tuple[Magnitude, ...]
    """Seconds of one call in each segment, in the order in which they were measured."""
    rejected: str | None = None
    """Why it does not count: the machine was disturbed. The rule does not look at which arm was slower."""

    @property
    def log_ratio(self) -> float:
        """Mean log time of head minus that of base; in a block of four segments a linear drift cancels."""
        base, head = self.of("A"), self.of("B")
        return (sum(map(math.log, head)) - sum(map(math.log, base))) / len(base)

    def of(self, letter: str) -> list[float]:
        """Return the times of an arm: A is base, B is head."""
        return [seconds for arm, seconds in zip(self.order, self.seconds, strict=True) if arm == letter]

    @model_validator(mode="after")
    def _has_one_time_per_letter(self) -> TimedBlock:
        if len(self.seconds) != len(self.order):
            raise ValueError(f"order {self.order} takes {len(self.order)} times")
        return self


Pair = tuple[TimedBlock, ...]
"""Blocks of one pair of processes."""


class Benchmark(Row):
    """A benchmark in both arms."""

    id: Text
    status: Literal["ok", "new", "failed", "skipped", "skipped in both", "unfinished"]
    """`new`: head runs it and base cannot, so that there is nothing to compare. `skipped`: in head alone, or head has
    it no more. `skipped in both`: neither can run it here, for want of a GPU, say, which changes nothing."""
    reason: str | None = None
    """Why it is not `ok`."""
    calls: FromZero = 0
    """Calls per segment."""
    margin: Magnitude | None = None
    """Slowdown, as a share, that is tolerated, from A/A runs (`judge/noise.py`); None: the design's least margin."""
    controls: FromZero = 0
    """Number of A/A runs that the margin comes from."""
    pairs: tuple[Pair, ...] = ()
    """The first batch."""
    confirmation: tuple[Pair, ...] = ()
    """The second batch, in fresh processes; measured only where the first shows a change."""


class Run(Row):
    """A run of the gate: the content of one file."""

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
    """Names of what should be measured, from the suite's list or base's own suite; None: not known."""
    benchmarks: tuple[Benchmark, ...] = ()
    toolchain: Mapping[str, str] = {}
    """Versions that exact metrics depend on."""
    exact: Mapping[str, Mapping[str, tuple[Value, Value]]] = {}
    """By subject and metric, the values of base and head; None: the arm has no such thing."""
    unavailable: Mapping[str, str] = {}
    """What could not be counted here, and why."""
    injected: str | None = None
    """How head's source was made worse on purpose; of the kind `mutant` only."""
    added: Mapping[str, Magnitude] = {}
    """Work that was added to benchmarks in head, as a share of a call; of the kind `slower` only."""
    failure: str | None = None
    """What ended the run early."""

    @property
    def holds_measurements(self) -> bool:
        """Whether anything was timed or counted."""
        return bool(self.exact) or any(one.pairs or one.confirmation for one in self.benchmarks)


def path_of(results: Path) -> Path:
    """Where the runs of the gate lie."""
    return results / "gate"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a run."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Run.model_json_schema(by_alias=True)}


def rounded(seconds: float) -> float:
    """Round a time to the digits that are stored."""
    return float(f"{seconds:.{DIGITS}g}")


def name_of(run: Run) -> Path:
    """Name a run's file, relative to the gate's folder of results."""
    stamp = run.started.replace("-", "").replace(":", "")
    commit = "".join(c for c in run.git.head if c.isalnum())[:12]
    return Path("runs", stamp[:4], stamp[4:6], f"{stamp}-{commit}-{run.kind}-{run.id}.json")


def write(results: Path, run: Run) -> Path:
    """Add a run; returns its file.

    Raises:
        InputError: there is such a file already; no run is ever changed.
        OSError: the folder cannot be written.
    """
    folder = path_of(results)
    path = folder / name_of(run)
    if path.exists():
        raise InputError(f"{path}: is there already; runs of the gate are only added")
    tables.write(path, run)
    schema_path, schema_text = folder / "run.schema.json", (json.dumps(schema(), indent=1) + "\n").encode()
    if not schema_path.exists() or schema_path.read_bytes() != schema_text:
        records.replace(schema_path, schema_text)
    return path


def read(path: Path) -> Run:
    """Read one run.

    Raises:
        InputError: it is not there, damaged, or of a newer deeptwins.
    """
    return tables.read(path, Run, SCHEMA, COMMAND, "move it away: it is no run of the gate")


def load(results: Path) -> list[Run]:
    """Read all runs, the oldest first.

    Raises:
        InputError: one is damaged, or of a newer deeptwins.
    """
    return [read(path) for path in sorted(path_of(results).glob("runs/*/*/*.json"), key=lambda path: path.name)]
