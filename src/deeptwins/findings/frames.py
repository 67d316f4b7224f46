"""From the records of a study to tidy tables: one row per run and twin, per evaluation, per layer, per block."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deeptwins import records
from deeptwins.errors import InputError
from deeptwins.findings.aside import spec as spec_of
from deeptwins.records.kinds import OF_TWINS, PartCode
from deeptwins.study import Study
from deeptwins.study.specs import Net, Recipe, RunSpec, option_words

FINISHED = ("done", "diverged")
# What the oldest records of layers lack: all their layers were of 3x3.
OLDEST = {"layer": {"kernel": 3, "running_mean_error": math.nan, "running_std_error": math.nan}}
KEYS = ["run", "setting", "family", "group", "depth", "seed", "twin"]


@dataclass(frozen=True)
class Frames:
    """The records of one study; rows by group, depth, seed and twin, in the study's order."""

    runs: pd.DataFrame
    """One row per run and twin: net, recipe, size, initial weights, data, status, seconds (of the whole run)."""
    machines: pd.DataFrame
    """One row per run and machine, or commit, that trained a part of it: the machine's fields, and the commit."""
    parts: pd.DataFrame
    """One row per run and part of one's own: `part`, `package.module:attribute`, and the code that it was."""
    epochs: pd.DataFrame
    """One row per twin and evaluation, of finished runs only: the last record of an unfinished run is no result."""
    layers: pd.DataFrame
    """One row per twin and layer, of finished runs only."""
    blocks: pd.DataFrame
    """One row per twin and block, of finished runs only."""
    gradients: pd.DataFrame
    """One row per twin, evaluation and layer, of finished runs only: the gradient's norm in the last step before."""
    precise: pd.DataFrame
    """One row per twin, of finished runs only: its errors with precise statistics."""
    growth: pd.DataFrame
    """One row per twin that was grown, of finished runs only: its errors just before and after."""
    asked: int
    """Runs that the study file asks for."""
    missing: int
    """Runs that the study file asks for and that have not finished."""
    aside: list[RunSpec]
    """Runs in the folder whose setting is not the study's (`--set`, or the file has changed): not in the tables."""

    @property
    def codes(self) -> list[dict[str, dict[Hashable, Any]]]:
        """The code of each run's parts of one's own, as in its first record; of those runs that have any."""
        by_run = self.parts.groupby("run", sort=False)
        return [{str(row["part"]): row for row in rows.to_dict("records")} for _, rows in by_run]


def load(study: Study, results: Path, *, unfinished: bool = False) -> Frames:
    """Read the records that belong to a study: those of its settings, whatever the seed.

    Args:
        study: whose records.
        results: the folder of results.
        unfinished: whether all tables have runs, too, that have not finished, or have failed.

    Raises:
        InputError: there is no folder of results, or a file in it is damaged.
    """
    folder = results / study.name
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; run the study first")
    labels = _labels(study.runs)
    runs: list[dict[str, Any]] = []
    machines: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    of_finished: dict[str, list[dict[str, Any]]] = {kind: [] for kind in OF_TWINS}
    aside: list[RunSpec] = []
    for path in sorted(folder.glob("*.jsonl")):
        # Read a run; leave it aside where its setting is none of the study's.
        lines = records.read(path)
        if not lines:
            continue
        spec = spec_of(path, lines[0])
        if spec.setting not in labels:
            aside.append(spec)
            continue
        # Make rows of its records.
        rows = _rows(spec, labels[spec.setting], lines)
        runs += rows.values()
        machines += _machines(spec, lines)
        parts += [{"run": spec.id, "part": part, **code} for part, code in (lines[0].get("parts") or {}).items()]
        if unfinished or records.status(lines) in FINISHED:
            for kind in OF_TWINS:
                of_finished[kind] += _joined(rows, lines, kind)
    # Lay the rows out in the study's order.
    order = _Order(study, labels)
    finished = {row["run"] for row in runs if row["status"] in FINISHED}
    return Frames(
        runs=order.table(runs),
        machines=pd.DataFrame(machines, columns=None if machines else ["run", "commit"]),
        parts=pd.DataFrame(parts, columns=["run", "part", *PartCode.model_fields]),
        epochs=order.of_twins("epoch", of_finished, "iteration"),
        layers=order.of_twins("layer", of_finished, "layer"),
        blocks=order.of_twins("block", of_finished, "block"),
        gradients=_by_layer(order.of_twins("gradient", of_finished, "iteration")),
        precise=order.of_twins("precise", of_finished),
        growth=order.of_twins("growth", of_finished, "iteration"),
        asked=len(study.runs),
        missing=len({run.id for run in study.runs} - finished),
        aside=aside,
    )


class _Order:
    """The order of rows in every table: by group, depth, seed and twin, as the study has them."""

    def __init__(self, study: Study, labels: dict[str, str]) -> None:
        groups = [_group(net, labels[run.setting]) for run in study.runs for net in run.twins.values()]
        self._groups = list(dict.fromkeys(groups))
        self._twins = list(study.twins)

    def table(self, rows: list[dict[str, Any]], *last: str) -> pd.DataFrame:
        """Make a table of rows, in order; columns in `last` decide after all others."""

        def rank(row: dict[str, Any]) -> tuple[Any, ...]:
            group, twin = self._groups.index(row["group"]), self._twins.index(row["twin"])
            return group, row["depth"], row["seed"], twin, *(row[key] for key in last)

        return pd.DataFrame(sorted(rows, key=rank), columns=None if rows else [*KEYS, *last])

    def of_twins(self, kind: str, rows: dict[str, list[dict[str, Any]]], *last: str) -> pd.DataFrame:
        """Make the table of a kind of record; without a row it has the columns that one would have."""
        table = self.table(rows[kind], *last)
        return table if len(table) else table.reindex(columns=[*dict.fromkeys([*KEYS, *OF_TWINS[kind].model_fields])])


def _labels(specs: Sequence[RunSpec]) -> dict[str, str]:
    """Setting -> what tells it from others of the same family and depth, e.g. `width 32`; empty where nothing does.

    A study may vary more than depth; a mean over two widths, or a trend across them, would be no finding. A key that
    always goes with another one (milestones with the length of a schedule) is left out.
    """
    fields: dict[str, dict[str, Any]] = {}
    cells: dict[Any, dict[Any, set[str]]] = defaultdict(lambda: defaultdict(set))  # family -> depth -> settings
    for spec in specs:
        nets = spec.twins.values()
        fields[spec.setting] = {key: tuple(getattr(net, key) for net in nets) for key in Net.model_fields}
        fields[spec.setting] |= {key: (value,) for key, value in spec.recipe.model_dump().items()}
        cells[fields[spec.setting]["family"]][fields[spec.setting]["depth"]].add(spec.setting)
    keys = {family: _distinguishing(list(depths.values()), fields) for family, depths in cells.items()}
    return {setting: ", ".join(_told(key, row[key]) for key in keys[row["family"]]) for setting, row in fields.items()}


def _told(key: str, values: Sequence[Any]) -> str:
    """Write a field with its value, or with those of the twins: `width 32`, `skip = true`."""
    if key == "options":
        return " / ".join(dict.fromkeys(option_words(value) or "no options" for value in values))
    return f"{key.replace('_', ' ')} {'/'.join(dict.fromkeys(map(str, values)))}"


def _distinguishing(cells: Sequence[set[str]], fields: dict[str, dict[str, Any]]) -> list[str]:
    """Return as few keys as tell the settings of every cell apart; of two that do, the one that a study gives first."""

    def all_differ(keys: list[str], settings: set[str]) -> bool:
        return len({tuple(fields[setting][key] for key in keys) for setting in settings}) == len(settings)

    keys = [*Net.model_fields, *Recipe.model_fields]
    for key in reversed(keys):
        fewer = [other for other in keys if other != key]
        if all(all_differ(fewer, cell) for cell in cells):
            keys = fewer
    return keys


def _group(net: Net, label: str) -> str:
    """Name what a figure has one panel for: the nets of a family, and of a label where the study varies more."""
    return f"{net.family}, {label}" if label else net.family


def _rows(spec: RunSpec, label: str, lines: list[records.Record]) -> dict[str, dict[str, Any]]:
    """The row of each twin of a run."""
    first, last = lines[0], lines[-1] if lines[-1]["kind"] == "end" else {}
    data = first["dataset"]
    return {
        twin: {
            "run": spec.id,
            "setting": spec.setting,
            "group": _group(net, label),
            "seed": spec.seed,
            "twin": twin,
            **net.model_dump(),
            "options": json.dumps(dict(net.options)),
            **spec.recipe.model_dump(),
            **{key: first["twins"][twin][key] for key in ("parameters", "flops", "weights_sha256")},
            "stages": first["twins"][twin].get("stages"),  # older records lack it, and nets of one's own
            "children": first["twins"][twin].get("children"),  # of these alone
            "redrawn": len(first["twins"][twin].get("redrawn") or ()),
            "checksum": data["checksum"],
            "train_images": data["train"],
            "test_images": data["test"],
            "classes": data["classes"],
            "notes": "; ".join(data.get("notes") or []),
            "chance_pct": 100 * (1 - (data.get("commonest") or data["train"] / data["classes"]) / data["train"]),
            "image": "x".join(map(str, data["image"])),
            "started": first.get("started"),  # older records lack it
            "status": last.get("status", "unfinished"),
            "reason": last.get("reason"),
            "seconds": last.get("seconds"),
        }
        for twin, net in spec.twins.items()
    }


def _machines(spec: RunSpec, lines: list[records.Record]) -> list[dict[str, Any]]:
    """The machines and commits that trained a run, each from one of its records on."""
    places = [line for line in lines if line["kind"] in records.PLACES]
    return [{"run": spec.id, **line["machine"], "commit": line["commit"]} for line in places]


def _joined(rows: dict[str, dict[str, Any]], lines: list[records.Record], kind: str) -> list[dict[str, Any]]:
    """The records of one kind, with the keys of their twin's row."""
    keys = {twin: {key: row[key] for key in KEYS} | OLDEST.get(kind, {}) for twin, row in rows.items()}
    return [keys[line["twin"]] | line for line in lines if line["kind"] == kind]


def _by_layer(gradients: pd.DataFrame) -> pd.DataFrame:
    """One row per evaluation, with its `norms` -> one row per layer, numbered from 1, with its `norm`."""
    if gradients.empty:
        return gradients.drop(columns="norms", errors="ignore").assign(layer=[], norm=[])
    table = gradients.explode("norms").rename(columns={"norms": "norm"}).astype({"norm": float})
    return table.assign(layer=table.groupby(level=0).cumcount() + 1).reset_index(drop=True)
