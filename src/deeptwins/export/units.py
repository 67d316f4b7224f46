"""What a tracker gets of a study: of each run every twin, as a unit with settings and points. It needs no pandas."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from deeptwins import records
from deeptwins.errors import one_line
from deeptwins.findings.aside import spec as spec_of
from deeptwins.records.kinds import Evaluated, OfTwin
from deeptwins.study import Study
from deeptwins.study.specs import by_setting

Setting = str | int | float | bool
ERRORS = ("train_error_pct", "running_error_pct", "validation_error_pct", "test_error_pct")
MEASURED = [key for key in Evaluated.model_fields if key not in OfTwin.model_fields and key != "kind"]
MACHINE = ("device", "gpu", "torch", "deeptwins")


class Point(NamedTuple):
    """What was measured of a unit after an iteration."""

    iteration: int
    metrics: Mapping[str, float]
    """Values by name; what is no number, such as the loss of a net that diverged, is left out."""


@dataclass(frozen=True)
class Unit:
    """A twin of a run: what becomes one run of a tracker."""

    study: str
    run: str
    twin: str
    seed: int
    commit: str
    """Of deeptwins, as training began; empty where it is not known."""
    started: float
    """Seconds since 1970; 0 where it is not known."""
    seconds: float | None
    """Seconds that the whole run took, all twins together; None until the run is over."""
    status: str
    """`done`, `diverged`, `failed`, or `unfinished`."""
    settings: Mapping[str, Setting]
    """The fields of net and recipe, the net's size, the data, the machine."""
    header: str
    """A hash of the run's first record: a run that was begun anew has another."""
    points: Sequence[Point]
    """By iteration; of a run that is over, the last one has its final errors."""

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.study}/{self.run}/{self.twin}"

    @property
    def name(self) -> str:
        """For people."""
        return one_line(f"{self.run} {self.twin}")

    @property
    def over(self) -> bool:
        """Whether nothing is to come."""
        return self.status != "unfinished"

    @property
    def id(self) -> str:
        """A name that every tracker and file system takes."""
        return identify(self.key, self.header)


def identify(key: str, header: str) -> str:
    """Return a unit's `id`."""
    return _digest([key, header])


def mark(unit: Unit, points: int | None = None) -> str:
    """Return the mark of what a tracker has of a unit: a hash of the header, the number of points, a hash of them."""
    had = unit.points[:points]
    return f"{unit.header} {len(had)} {_digest(had)}"


def lacking(unit: Unit, left: str | None) -> Sequence[Point] | None:
    """Return the points that a tracker lacks; None where all must be written anew.

    That is so where the tracker has nothing of the unit, or what it has is of other training.

    A tracker may be ahead of a run that goes on from its last checkpoint: then it lacks nothing.

    Args:
        unit: as the records have it now.
        left: the mark that was left with the tracker; None where there is none.
    """
    match = re.fullmatch(r"(\w+) (\d{1,9}) \w+", left or "")
    if match is None or match[1] != unit.header:
        return None
    count = int(match[2])
    if count > len(unit.points):
        return None if unit.over else ()
    return unit.points[count:] if left == mark(unit, count) else None


def read(study: Study, path: Path) -> list[Unit] | None:
    """Read the units of a run; None where the file is empty, or of a setting that is none of the study's.

    Raises:
        InputError: the file is damaged.
    """
    lines = records.read(path)
    if not lines:
        return None
    header, spec = lines[0], spec_of(path, lines[0])
    if spec.setting not in by_setting(study.runs):
        return None
    status = records.status(lines) or "unfinished"
    seconds = lines[-1]["seconds"] if records.status(lines) else None
    recipe = spec.recipe.model_dump(mode="json")
    digest = _digest(header)
    return [
        Unit(
            study=study.name,
            run=spec.id,
            twin=twin,
            seed=spec.seed,
            commit=header["commit"] or "",
            started=_time(header.get("started")),
            seconds=seconds,
            status=status,
            settings=_settings({
                **net.model_dump(mode="json"), **recipe, "seed": spec.seed,
                **{key: header["twins"][twin][key] for key in ("parameters", "flops")},
                "checksum": header["dataset"]["checksum"], "commit": header["commit"],
                **{key: header["machine"].get(key) for key in MACHINE},
            }),
            header=digest,
            points=_points(twin, lines),
        )
        for twin, net in spec.twins.items()
    ]  # fmt: skip


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _time(started: str | None) -> float:
    try:
        return datetime.fromisoformat(started).timestamp() if started else 0.0
    except ValueError:  # a record may have any text there
        return 0.0


def _settings(fields: Mapping[str, Any]) -> dict[str, Setting]:
    """Leave out what is not set; lists and tables become text, and text is one line."""
    texts = {key: json.dumps(value) if isinstance(value, list | dict) else value for key, value in fields.items()}
    return {
        key: one_line(value) if isinstance(value, str) else value for key, value in texts.items() if value is not None
    }


def _points(twin: str, lines: list[records.Record]) -> list[Point]:
    """Collect what was measured of a twin, in order."""
    of_twin = [line for line in lines if line.get("twin") == twin]
    evaluated = [line for line in of_twin if line["kind"] == "epoch"]
    points = [Point(line["iteration"], _numbers(line, MEASURED)) for line in evaluated]
    if records.status(lines):
        last = {"seconds": float(lines[-1]["seconds"])}
        if evaluated and records.status(lines) != "failed":
            last |= {f"final/{key}": value for key, value in _numbers(evaluated[-1], ERRORS).items()}
        for line in of_twin:
            if line["kind"] == "precise":
                last |= {f"precise/{key}": value for key, value in _numbers(line, ERRORS).items()}
        points.append(Point(evaluated[-1]["iteration"] if evaluated else 0, last))
    return points


def _numbers(line: records.Record, keys: Sequence[str]) -> dict[str, float]:
    return {key: float(line[key]) for key in keys if line.get(key) is not None}


def safe(name: str) -> str:
    """Make a name that every file system takes; what tells runs apart is the hash at the end of their ids."""
    return re.sub(r"[^A-Za-z0-9._-]|^\.", "-", name)
