"""Where numbers come from, in rows: nets, recipe, machines, data, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from deeptwins.findings.frames import FINISHED, Frames
from deeptwins.findings.rows import grouped
from deeptwins.pages.study.tables import METRICS, NET
from deeptwins.pages.tables import Column, Table
from deeptwins.pages.wording import code, count, number
from deeptwins.records.benchmarks import distinct
from deeptwins.study.specs import OF_OWN_NETS, UNSET, Net, Recipe, option_pairs, option_words
from deeptwins.system.importing import is_own

_IN_OTHER_TABLES = ("dataset", "family", "depth")
NOT_OURS = "-"
"""Stands for a field that a net does not have."""
_HASHES = 3


def cost(table: pd.DataFrame) -> Table:
    """Tabulate training time, and in the last row all of it."""
    sums: dict[Any, Any] = {key: table[key].sum() for key in ("runs", "total_seconds")}
    total = {"group": "all", "depth": "", "mean_seconds": None} | sums
    numbers = (
        Column("runs", "runs"),
        Column("seconds per run", "mean_seconds", lambda seconds: "" if seconds is None else f"{seconds:.1f}"),
        Column("minutes in total", "total_seconds", _minutes),
    )
    rows: list[Mapping[Any, Any]] = [*table.to_dict("records"), total]
    return Table.of(rows, "Training time; each run trains all twins", NET[:2], numbers)


def single_runs(final: pd.DataFrame, machines: pd.DataFrame) -> Table:
    """Tabulate the errors of every net and seed, and the machine and commit that trained it, the last if several."""
    places = machines.drop_duplicates("run", keep="last").set_index("run")
    places = places.assign(machine=places["gpu"].fillna(places["cpu"]), commit=places["commit"].fillna("not known"))
    rows = final.join(places[["machine", "commit"]], on="run")
    words = (*NET, Column("seed", "seed"))
    metrics = [metric for metric in METRICS if metric in final and final[metric].notna().any()]
    errors = [Column(f"{METRICS[metric]} (%)", metric, lambda error: number(error, 2)) for metric in metrics]
    return Table.of(
        rows,
        "Errors after the last iteration",
        words,
        [*errors, Column("machine", "machine"), Column("commit", "commit")],
    )


def nets(runs: pd.DataFrame) -> Table:
    """Tabulate the nets and the hashes of their initial weights."""
    own = runs["family"].map(is_own).astype(bool)
    runs = runs.assign(shortcut=runs["shortcut"].mask(own, NOT_OURS))
    rows = [{key: cell[key] for key in cell} | net for net, cell in grouped(runs, ["group", "depth", "twin"])]
    words = [
        *NET,
        Column("shortcut", "shortcut", distinct),
        Column("initial weights (SHA-256, per seed)", "weights_sha256", _hashes),
    ]
    if own.any():
        words.append(Column("drawn anew", "redrawn", lambda number: f"{distinct(number)} parameters and buffers"))
    numbers = (Column("parameters", "parameters", _sizes), Column("FLOPs", "flops", _sizes))
    return Table.of(rows, "Nets; FLOPs are of one image, forward; a multiply-add counts as two", words, numbers)


def recipe(runs: pd.DataFrame) -> Table:
    """Tabulate how the nets were made and trained: every setting once, by twin where twins differ.

    What no net has is left out: nets of one's own have few of the fields.
    """
    table = pd.DataFrame([_settings(run) for run in runs.to_dict("records")])
    some = [key for key in table if (table[key] != NOT_OURS).any()]
    rows = [{"key": key, "value": _by_twin(table[key], runs["twin"])} for key in some]
    columns = (Column("key", "key"), Column("value", "value"))
    return Table.of(rows, "Recipe, by the keys of a study file", columns)


def _by_twin(texts: pd.Series, twins: pd.Series) -> str:
    """Say once what all twins have, else what each has; what the grid varies is said to vary."""
    values = {}
    for twin, cell in texts.groupby(list(twins)):
        variants = dict.fromkeys(cell)
        values[twin] = f"{'varies: ' if len(variants) > 1 else ''}{' or '.join(variants)}"
    if len({*values.values()}) == 1:
        return next(iter(values.values()))
    return "; ".join(f"{twin}: {values[twin]}" for twin in twins.unique())


def _settings(run: Mapping[Hashable, Any]) -> dict[str, str]:
    """Write every field of a run's recipe and net out."""
    texts = {key: str(run[key]) for key in (*Recipe.model_fields, *Net.model_fields) if key not in _IN_OTHER_TABLES}
    epochs = run["iterations"] * run["batch_size"] / run["train_images"]
    for key, unset in UNSET.items():
        if pd.isna(run[key]):
            texts[key] = unset
        elif key != "grown_with":
            texts[key] = f"{run[key]:g}"
    texts |= {
        "grown_with": UNSET["grown_from"] if pd.isna(run["grown_from"]) else texts["grown_with"],
        "options": option_words(option_pairs(json.loads(run["options"]))) or NOT_OURS,
    }
    if is_own(run["family"]):
        texts |= {key: NOT_OURS for key in Net.model_fields if key in texts and key not in OF_OWN_NETS}
        texts["options"] = texts["options"].replace(NOT_OURS, "none")
    return texts | {
        "iterations": f"{run['iterations']:,} ({epochs:.1f} epochs)",
        "milestones": ", ".join(map(str, run["milestones"])) or "none",
        "image_size": texts["image_size"] if pd.isna(run["image_size"]) else count(run["image_size"], "pixel"),
        "shift": f"augmentation by up to {count(run['shift'], 'pixel')}" if run["shift"] else "no augmentation",
        "flip": "augmentation of one image in two" if run["flip"] else "no augmentation",
        "validation": f"{100 * run['validation']:g} % of the training images" if run["validation"] else "none",
        "evaluate_every": count(run["evaluate_every"], "epoch"),
    }


def dates(runs: pd.DataFrame) -> str:
    """Return the days, UTC, on which training began, first and last; empty where records do not say."""
    days = sorted({str(started)[:10] for started in runs["started"].dropna()})
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""


def spent(frames: Frames) -> str:
    """Return the measured training time of all runs together, and on what; on a CPU a run has a core of its own."""
    runs = frames.runs.drop_duplicates("run").dropna(subset="seconds")
    machines = frames.machines[frames.machines["run"].isin(runs["run"])]
    devices = distinct(machines["gpu"].fillna(machines["cpu"]))
    unit = "core-minutes" if machines["gpu"].isna().all() else "min"
    return f"{_minutes(runs['seconds'].sum())} {unit} on {devices}"


def origin(frames: Frames) -> Table:
    """Tabulate where the numbers come from."""
    runs, machines = frames.runs.drop_duplicates("run"), frames.machines
    counts = runs["status"].value_counts()
    data = [_images(run) for run in runs.to_dict("records")]
    hosts = [f"{host['cpu']}, {count(host['cores'], 'core')}, {host['os']}" for host in machines.to_dict("records")]
    packages = [name for name in ("deeptwins", "torch", "triton", "numpy", "python") if name in machines]
    versions = {name: distinct(machines[name].dropna()) for name in packages}
    gpus, date = machines["gpu"].dropna(), dates(runs)
    rows = [
        ("runs", ", ".join(f"{counts[key]} {key}" for key in (*FINISHED, "failed", "unfinished") if key in counts)),
        ("data", distinct(data)),
        ("machine", distinct(hosts)),
        ("device", distinct(machines["device"]) + (f": {distinct(gpus)}" if len(gpus) else "")),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("commit", distinct(machines["commit"].dropna()) or "not known"),
        *((f"code of {name}", _code(its)) for name, its in frames.parts.groupby("package")),
        ("training time", spent(frames)),
    ]
    if date:
        rows.append(("date", date))
    return Table.facts(rows)


def _images(run: Mapping[Hashable, Any]) -> str:
    """Name a run's dataset: how many images and classes, of what size, and what is noted of it."""
    notes = f" ({run['notes']})" if run["notes"] else ""
    images = f"{run['train_images']:,} training and {run['test_images']:,} test images"
    return f"{run['dataset']}: {images}, {run['classes']} classes, {run['image']}, {run['checksum']}{notes}"


def _code(parts: pd.DataFrame) -> str:
    """Say which code a package of one's own was, once for all of its parts that were used."""
    codes = map(code, parts.to_dict("records"))
    return f"{', '.join(dict.fromkeys(parts['part']))}: {distinct(codes) or 'not known'}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.1f}"


def _hashes(column: pd.Series) -> str:
    """Write the first digits of some hashes, one per seed."""
    hashes = [text[:8] for text in dict.fromkeys(column)]
    return " ".join(hashes[:_HASHES]) + (" ..." if len(hashes) > _HASHES else "")


def _sizes(column: pd.Series) -> str:
    return distinct(f"{value:,}" for value in column)
