"""From findings to tables of text, and how numbers are written. Plain text: the templates escape it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd

from deeptwins.claims import Metric
from deeptwins.frames import FINISHED, Frames
from deeptwins.specs import Net, Recipe

METRICS = dict(zip(get_args(Metric), ("training error", "running training error", "test error"), strict=True))
_TRENDS = {"rises": "rises", "falls": "falls", "flat": "stays flat"}
_MARKS = {"met": "✓ met", "contradicted": "✗ contradicted", "undecided": "? undecided"}
_IN_OTHER_TABLES = ("dataset", "family", "depth")
_HASHES = 3


@dataclass(frozen=True)
class Table:
    """Rows of text under a caption; the first `words` columns hold names, the others numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: list[list[str]]
    words: int


def errors(by_depth: pd.DataFrame) -> Table:
    """Tabulate the three errors of every net."""
    rows = []
    for (group, depth, twin), cell in by_depth.groupby(["group", "depth", "twin"], sort=False):
        numbers = [(_number(row["mean"]), interval(row["low"], row["high"])) for row in cell.to_dict("records")]
        seeds = str(cell["n"].max())
        rows.append([str(group), str(depth), str(twin), *(text for pair in numbers for text in pair), seeds])
    heads = [head for name in METRICS.values() for head in (f"{name} (%)", "95 % interval")]
    heads = ["family", "depth", "twin", *heads, "seeds"]
    return Table("Errors after the last iteration, mean over seeds", tuple(heads), rows, 3)


def trends(table: pd.DataFrame) -> Table:
    """Tabulate what every verdict on a trend rests on."""
    rows = [
        [
            *(row[key] for key in ("group", "twin")),
            METRICS[row["metric"]],
            row["verdict"],
            points(row["difference"]),
            interval(row["low"], row["high"]),
            interval(row["bootstrap_low"], row["bootstrap_high"]),
            _number(row["slope"], 3),
            interval(row["slope_low"], row["slope_high"], 3),
            *(_p_value(row[key]) for key in ("page_p_rises", "page_p_falls")),
            str(row["n"]),
        ]
        for row in table.to_dict("records")
    ]
    heads = ("family", "twin", "metric", "verdict", "deepest minus shallowest", "95 % interval", "bootstrap interval")
    more = ("slope a layer", "95 % interval", "Page's p, rises", "Page's p, falls", "seeds")
    return Table("Trends over depth, in points, paired by seed", (*heads, *more), rows, 4)


def gaps(table: pd.DataFrame) -> Table:
    """Tabulate the difference between twins."""
    rows = [
        [
            row["group"],
            str(row["depth"]),
            row["gap"],
            points(row["difference"]),
            interval(row["low"], row["high"]),
            interval(row["bootstrap_low"], row["bootstrap_high"]),
            str(row["n"]),
        ]
        for row in table[table["metric"] == "train_error_pct"].to_dict("records")
    ]
    heads = ("family", "depth", "difference", "points", "95 % interval", "bootstrap interval", "seeds")
    return Table("Difference in training error, in points, paired by seed", heads, rows, 3)


def agreements(table: pd.DataFrame) -> Table:
    """Tabulate what every verdict on an agreement rests on."""
    rows = [
        [
            row["group"],
            str(row["depth"]),
            f"{row['twin']} minus {row['other']}",
            METRICS[row["metric"]],
            row["verdict"],
            points(row["difference"]),
            interval(row["low"], row["high"]),
            interval(row["bootstrap_low"], row["bootstrap_high"]),
            str(row["n"]),
        ]
        for row in table.to_dict("records")
    ]
    heads = ("family", "depth", "difference", "metric", "verdict", "points", "95 % interval", "bootstrap interval")
    return Table("Agreement of twins, in points, paired by seed", (*heads, "seeds"), rows, 5)


def drift(table: pd.DataFrame) -> Table:
    """Tabulate how far loss traces lie apart: at the first evaluation, at the last, and where it is furthest."""
    rows = []
    for (group, depth, twin, other), cell in table.groupby(["group", "depth", "twin", "other"], sort=False):
        places = {"first": cell.index[0], "furthest apart": cell["largest"].idxmax(), "last": cell.index[-1]}
        if not cell["largest"].any():
            del places["furthest apart"]
        for i, row in cell.loc[sorted({*places.values()})].iterrows():
            evaluation = ", ".join(name for name, place in places.items() if place == i)
            numbers = [_power(row[key]) for key in ("median", "largest", "between_seeds")]
            words = [str(group), str(depth), f"{twin} and {other}", evaluation]
            rows.append([*words, f"{row['iteration']:,}", *numbers, str(row["n"])])
    heads = ("family", "depth", "twins", "evaluation", "iteration", "median", "largest", "between two seeds", "seeds")
    return Table(
        "Difference of the loss traces, as a share of the loss; every evaluation is in the data", heads, rows, 4
    )


def claims(table: pd.DataFrame) -> Table:
    """Tabulate what the study expected and what the records say."""
    rows = [
        [
            row["group"],
            f"{METRICS[row['metric']]} of {row['twin']} {_claimed(row)}",
            row["verdict"],
            _MARKS[row["result"]],
            str(row["n"]),
        ]
        for row in table.to_dict("records")
    ]
    heads = ("family", "claim", "verdict", "result", "seeds")
    return Table("What the study expects, and what the records say", heads, rows, 4)


def _claimed(claim: Mapping[Hashable, Any]) -> str:
    trend = claim.get("trend")  # missing, or no text, where the claim is of an agreement
    return _TRENDS[trend] if isinstance(trend, str) else f"agrees with that of {claim['agrees_with']}"


def paper(table: pd.DataFrame) -> Table:
    """Tabulate published values beside ours."""
    rows = [
        [
            row["group"],
            str(row["depth"]),
            row["twin"],
            METRICS[row["metric"]],
            row["source"],
            f"{row['paper']:.2f}",
            _number(row["mean"]),
            interval(row["low"], row["high"]),
            points(row["difference"]),
            str(row["n"]),
            row["reading"],
        ]
        for row in table.to_dict("records")
    ]
    heads = ("family", "depth", "twin", "metric", "source", "paper (%)", "ours (%)", "95 % interval", "difference")
    caption = "Published values beside ours, and whether they lie inside our interval"
    return Table(caption, (*heads, "seeds", "reading"), rows, 5)


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
    return texts | {
        "iterations": f"{run['iterations']:,} ({epochs:.1f} epochs)",
        "milestones": ", ".join(map(str, run["milestones"])) or "none",
        "image_size": "the dataset's" if pd.isna(run["image_size"]) else count(run["image_size"], "pixel"),
        "shift": f"augmentation by up to {count(run['shift'], 'pixel')}" if run["shift"] else "no augmentation",
        "flip": "augmentation of one image in two" if run["flip"] else "no augmentation",
        "evaluate_every": count(run["evaluate_every"], "epoch"),
    }


def provenance(frames: Frames) -> Table:
    """Tabulate where the numbers come from."""
    runs = frames.runs.drop_duplicates("run")
    counts = runs["status"].value_counts()
    images = "{0.train_images:,} training and {0.test_images:,} test images, {0.classes} classes, {0.image}"
    data = [f"{run.dataset}: {images.format(run)}, {run.checksum}" for run in runs.itertuples()]
    machines = [
        f"{run['machine_cpu']}, {count(run['machine_cores'], 'core')}, {run['machine_os']}"
        for run in runs.to_dict("records")
    ]
    packages = [name for name in ("deeptwins", "torch", "triton", "numpy", "python") if f"machine_{name}" in runs]
    versions = {name: _values(runs[f"machine_{name}"].dropna()) for name in packages}
    gpus = runs["machine_gpu"].dropna()
    rows = [
        ["runs", ", ".join(f"{counts[key]} {key}" for key in (*FINISHED, "failed", "unfinished") if key in counts)],
        ["data", _values(data)],
        ["machine", _values(machines)],
        ["device", _values(runs["machine_device"]) + (f": {_values(gpus)}" if len(gpus) else "")],
        ["versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)],
        ["commit", _values(runs["commit"].dropna()) or "not known"],
    ]
    return Table("Where the numbers come from", ("what", "value"), rows, 2)


def percent(value: float) -> str:
    """Return an error as text."""
    return f"{value:.1f} %"


def points(value: float) -> str:
    """Return a difference of errors as text, with its sign."""
    return f"{round(value, 1) + 0.0:+.1f}" if math.isfinite(value) else "-"


def share(value: float) -> str:
    """Return a part of a whole as text: in percent, or as a power of ten where that would be less than 0.01 %."""
    if 0 < value < 1e-4:  # noqa: PLR2004
        return _power(value, 0)
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.2g} %"  # noqa: PLR2004


def interval(low: float, high: float, decimals: int = 1) -> str:
    """Return an interval as text."""
    return f"{_number(low, decimals)} to {_number(high, decimals)}" if math.isfinite(low) else "-"


def count(n: float, unit: str) -> str:
    """Return a number of things as text."""
    return f"{n:g} {unit}" if n == 1 else f"{n:g} {unit}s"


def _number(value: float, decimals: int = 1) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}" if math.isfinite(value) else "-"


def _power(value: float, decimals: int = 1) -> str:
    """Return a number as text like 2.1e-7, whatever its size."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    digits, exponent = f"{value:.{decimals}e}".split("e")
    return f"{digits}e{int(exponent)}"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else _number(p, 3)  # noqa: PLR2004


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}"


def _values(column: Iterable[object]) -> str:
    return "; ".join(dict.fromkeys(map(str, column)))
