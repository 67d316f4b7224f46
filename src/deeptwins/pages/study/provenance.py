"""Where numbers come from, in rows: nets, recipe, machines, data, and what they cost."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

from deeptwins.findings.frames import FINISHED, Frames
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count
from deeptwins.study.specs import UNSET, Net, Recipe

_IN_OTHER_TABLES = ("dataset", "family", "depth")
_HASHES = 3


def cost(table: pd.DataFrame) -> Table:
    """Tabulate training time."""
    rows = [
        [
            row["group"],
            str(row["depth"]),
            str(row["runs"]),
            f"{row['mean_seconds']:.1f}",
            _minutes(row["total_seconds"]),
        ]
        for row in table.to_dict("records")
    ]
    total = ["all", "", str(table["runs"].sum()), "", _minutes(table["total_seconds"].sum())]
    heads = ("family", "depth", "runs", "seconds a run", "minutes in all")
    return Table("Training time; a run trains all its twins", heads, [*rows, total], 2)


def nets(runs: pd.DataFrame) -> Table:
    """Tabulate the nets and the hashes of their initial weights."""
    rows = []
    for (group, depth, twin), cell in runs.groupby(["group", "depth", "twin"], sort=False):
        hashes = [text[:8] for text in dict.fromkeys(cell["weights_sha256"])]
        shown = " ".join(hashes[:_HASHES]) + (" ..." if len(hashes) > _HASHES else "")
        size = [_values(f"{value:,}" for value in cell[key]) for key in ("parameters", "flops")]
        rows.append([str(group), str(depth), str(twin), _values(cell["shortcut"]), shown, *size])
    heads = ("family", "depth", "twin", "shortcut", "initial weights (SHA-256, a seed)", "parameters", "FLOPs")
    return Table("Nets; FLOPs of a forward pass of one image, two for each multiply-add", heads, rows, 5)


def recipe(runs: pd.DataFrame) -> Table:
    """Tabulate how the nets were made and trained: every setting once, by twin where twins differ."""
    table = pd.DataFrame([_settings(run) for run in runs.to_dict("records")])
    rows = []
    for key in table:
        cells = {str(twin): " or ".join(dict.fromkeys(cell)) for twin, cell in table[key].groupby(list(runs["twin"]))}
        cells = {twin: f"varies: {cell}" if " or " in cell else cell for twin, cell in cells.items()}
        shared = len({*cells.values()}) == 1
        text = min(cells.values()) if shared else "; ".join(f"{twin}: {cells[twin]}" for twin in runs["twin"].unique())
        rows.append([str(key), text])
    return Table("The recipe, by the keys of a study file", ("key", "value"), rows, 2)


def _settings(run: Mapping[Hashable, Any]) -> dict[str, str]:
    """Write every field of a run's recipe and net out."""
    texts = {key: str(run[key]) for key in (*Recipe.model_fields, *Net.model_fields) if key not in _IN_OTHER_TABLES}
    epochs = run["iterations"] * run["batch_size"] / run["train_images"]
    for key, unset in UNSET.items():
        if pd.isna(run[key]):
            texts[key] = unset
        elif key != "grown_with":
            texts[key] = f"{run[key]:g}"
    return texts | {
        "iterations": f"{run['iterations']:,} ({epochs:.1f} epochs)",
        "milestones": ", ".join(map(str, run["milestones"])) or "none",
        "grown_with": UNSET["grown_from"] if pd.isna(run["grown_from"]) else texts["grown_with"],
        "image_size": texts["image_size"] if pd.isna(run["image_size"]) else count(run["image_size"], "pixel"),
        "shift": f"augmentation by up to {count(run['shift'], 'pixel')}" if run["shift"] else "no augmentation",
        "flip": "augmentation of one image in two" if run["flip"] else "no augmentation",
        "validation": f"{100 * run['validation']:g} % of the training images" if run["validation"] else "no images",
        "evaluate_every": count(run["evaluate_every"], "epoch"),
    }


def dates(runs: pd.DataFrame) -> str:
    """Return the days, UTC, on which training began, first and last; empty where records do not say."""
    days = [str(started)[:10] for started in runs["started"].dropna()]
    return "" if not days else min(days) if min(days) == max(days) else f"{min(days)} to {max(days)}"


def spent(frames: Frames) -> str:
    """Return the measured training time of all runs together, and on what; on a CPU a run has a core of its own."""
    each = frames.runs.drop_duplicates("run").dropna(subset="seconds")
    machines = frames.machines[frames.machines["run"].isin(each["run"])]
    devices = _values(machines["gpu"].fillna(machines["cpu"]))
    unit = "core-minutes" if machines["gpu"].isna().all() else "min"
    return f"{_minutes(each['seconds'].sum())} {unit} on {devices}"


def origin(frames: Frames) -> Table:
    """Tabulate where the numbers come from."""
    runs, machines = frames.runs.drop_duplicates("run"), frames.machines
    counts = runs["status"].value_counts()
    images = "{0.train_images:,} training and {0.test_images:,} test images, {0.classes} classes, {0.image}"
    data = [f"{run.dataset}: {images.format(run)}, {run.checksum}" for run in runs.itertuples()]
    hosts = [f"{each['cpu']}, {count(each['cores'], 'core')}, {each['os']}" for each in machines.to_dict("records")]
    packages = [name for name in ("deeptwins", "torch", "triton", "numpy", "python") if name in machines]
    versions = {name: _values(machines[name].dropna()) for name in packages}
    gpus = machines["gpu"].dropna()
    rows = [
        ["runs", ", ".join(f"{counts[key]} {key}" for key in (*FINISHED, "failed", "unfinished") if key in counts)],
        ["data", _values(data)],
        ["machine", _values(hosts)],
        ["device", _values(machines["device"]) + (f": {_values(gpus)}" if len(gpus) else "")],
        ["versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)],
        ["commit", _values(machines["commit"].dropna()) or "not known"],
        ["training time", spent(frames)],
        *([["date", date]] if (date := dates(runs)) else []),
    ]
    return Table("Where the numbers come from", ("what", "value"), rows, 2)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.1f}"


def _values(column: Iterable[object]) -> str:
    return "; ".join(dict.fromkeys(map(str, column)))
