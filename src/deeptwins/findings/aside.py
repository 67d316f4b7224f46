"""Runs in a study's folder that do not belong to the study: which they are, how they differ. It needs no pandas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deeptwins import records
from deeptwins.errors import InputError, line
from deeptwins.records import RunFiles
from deeptwins.records.fields import place
from deeptwins.study import Study
from deeptwins.study.specs import UNSET, Net, RunSpec, by_setting, option_words

KINDS = 3  # of differences that are named; of more, the number is given


def spec(path: Path, header: records.Record) -> RunSpec:
    """Read the specification of a run, and check by the run's id that it was trained with exactly this specification.

    Raises:
        InputError: it is no specification, or that of another run.
    """
    try:
        run = RunSpec.model_validate(header["spec"])
    except ValidationError as error:
        raise InputError(
            f"{path}:1: spec.{place(error)}: not a run that this deeptwins knows; move the file away"
        ) from None
    if (run.study, run.id) != (header["study"], header["run"]):
        raise InputError(f"{path}:1: spec: that of {run.study}/{run.id}; {records.REMEDY}")
    return run


def told(study: Study, results: Path) -> str:
    """Say which runs with other settings lie in the study's folder; empty where there are none.

    Raises:
        InputError: a record there is damaged.
    """
    settings, asked = by_setting(study.runs), {RunFiles.of(results, run).records for run in study.runs}
    folder = results / study.name
    paths = sorted({*folder.glob("*.jsonl")} - asked)
    runs = [spec(path, lines[0]) for path in paths if (lines := records.read(path))]
    others = [run for run in runs if run.setting not in settings]
    return f"{folder} has runs with other settings: {differences(study, others)}" if others else ""


def differences(study: Study, runs: Sequence[RunSpec]) -> str:
    """Say how runs differ from those of the study that are nearest: `2 runs with iterations 100 (here 225)`."""
    ours = [_fields(run) for run in by_setting(study.runs).values()]
    kinds = Counter(_difference(_fields(run), ours) for run in runs)
    texts = [f"{number} run{'s' if number > 1 else ''} with {kind}" for kind, number in kinds.most_common(KINDS)]
    left = kinds.total() - sum(number for _, number in kinds.most_common(KINDS))
    return "; ".join([*texts, *([f"{left} with others"] if left else [])])


def _difference(fields: dict[str, str], ours: Iterable[dict[str, str]]) -> str:
    """Name the keys in which a run differs from the nearest one of the study, with both values."""
    nearest = min(ours, key=lambda our: sum(fields[key] != our[key] for key in fields))
    keys = [key for key in fields if fields[key] != nearest[key]]
    return ", ".join(f"{key} {line(fields[key])} (here {line(nearest[key])})" for key in keys)


def _fields(run: RunSpec) -> dict[str, str]:
    """Write every field of a run but its seed; of nets by twin, where they differ."""
    fields = {"twins": ", ".join(run.twins)}
    for key in Net.model_fields:
        values = [_value(key, getattr(net, key)) for net in run.twins.values()]
        fields[key] = values[0] if len({*values}) == 1 else "/".join(values)
    return fields | {key: _value(key, value) for key, value in run.recipe.model_dump().items()}


def _value(key: str, value: Any) -> str:  # noqa: ANN401  that of any field
    if key == "options":
        return line(option_words(value)) or "none"
    return UNSET[key] if value is None else line(str(value))
