"""From findings to words: the verdict in a sentence, remarks, tables. Plain text: the templates escape it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd

from deeptwins.frames import FINISHED, Frames
from deeptwins.study import Metric, Net, Recipe, Study

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


def verdicts(study: Study, frames: Frames, trends: pd.DataFrame) -> list[str]:
    """Say in one sentence a family what training error does with depth, twin by twin."""
    shortcuts = frames.runs.groupby("twin", sort=False)["shortcut"].agg(lambda names: "/".join(dict.fromkeys(names)))
    bare = [twin for twin in study.twins if shortcuts.get(twin) == "none"]
    others = [twin for twin in study.twins if twin not in bare]
    names = {twin: f"in the {twin} twin" for twin in study.twins}
    if len(bare) == 1 and shortcuts[others].is_unique:
        names = {bare[0]: "without shortcuts"} | {twin: f"with {shortcuts[twin]} shortcuts" for twin in others}
        if len(others) == 1:
            names[others[0]] = "with them"
    table = trends[trends["metric"] == "train_error_pct"]
    sentences = []
    for group, rows in table.groupby("group", sort=False):
        trend = {row["twin"]: row for row in rows.to_dict("records")}
        twins = [twin for twin in names if twin in trend]
        first = trend[twins[0]]
        flat = study.flat_within_pct
        clauses = [f"{names[twins[0]]}, training error {_movement(first, flat)}"]
        clauses += [f"{names[twin]} it {_movement(trend[twin], flat, first['verdict'])}" for twin in twins[1:]]
        sentence = "; ".join(clauses) + "."
        several = table["group"].nunique() > 1
        sentences.append(f"Family {group}: {sentence}" if several else sentence[0].upper() + sentence[1:])
    return sentences


def _movement(trend: Mapping[Hashable, Any], flat_within_pct: float, first: object = None) -> str:
    """Say how one twin's error moves with depth, as the predicate of a sentence."""
    n, verdict = int(trend["n"]), trend["verdict"]
    if n == 0:
        return "has no seed that finished at every depth"
    start = f"{percent(trend['shallowest_mean'])} at depth {trend['shallowest']}"
    end = f"{percent(trend['deepest_mean'])} at depth {trend['deepest']}"
    if trend["depths"] == 1:
        return f"is {start}, the only depth ({_count(n, 'seed')})"
    if n == 1:
        return f"goes from {start} to {end} in 1 seed, which supports no verdict"
    interval = f"95 % interval {_interval(trend['low'], trend['high'])}, {_count(n, 'seed')}"
    interval = f"{points(trend['difference'])} points, {interval}"
    if verdict == "inconclusive":
        return f"shows no clear trend: {start}, {end} ({interval})"
    denial = "does not: it " if first == "rises" != verdict else ""
    if verdict == "flat":
        limit = _count(flat_within_pct, "point")
        return f"{denial or 'stays flat: it '}changes by less than {limit} ({start}, {end}: {interval})"
    return f"{denial}{verdict}{' too,' if first == verdict else ''} from {start} to {end} ({interval})"


def remarks(study: Study, frames: Frames, final: pd.DataFrame) -> list[str]:
    """Say what a reader must know before trusting the verdict."""
    runs = frames.runs.drop_duplicates("run")
    texts = []
    if study.settings:
        texts.append(f"The study's recipe with these changes: {', '.join(study.settings)}.")
    if frames.missing:
        texts.append(f"Provisional: {frames.asked - frames.missing} of {frames.asked} runs have finished.")
    if diverged := int((final["train_loss"].isna() | final["running_loss"].isna()).sum()):
        texts.append(f"Nets that diverged, and count with an error of 100 %: {diverged} of {len(final)}.")
    if (failed := int((runs["status"] == "failed").sum())) > 0:
        texts.append(f"Runs that failed, and are left out: {failed}.")
    if frames.aside:
        texts.append(f"Runs with other settings than the study's, left out: {frames.aside}.")
    for dataset, checksums in runs.groupby("dataset")["checksum"]:
        if checksums.nunique() > 1:
            texts.append(f"Not all runs were trained on the same data: {dataset} has {checksums.nunique()} checksums.")
    return texts


def errors(by_depth: pd.DataFrame) -> Table:
    """Tabulate the three errors of every net."""
    rows = []
    for (group, depth, twin), cell in by_depth.groupby(["group", "depth", "twin"], sort=False):
        numbers = [(_number(row["mean"]), _interval(row["low"], row["high"])) for row in cell.to_dict("records")]
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
            _interval(row["low"], row["high"]),
            _interval(row["bootstrap_low"], row["bootstrap_high"]),
            _number(row["slope"], 3),
            _interval(row["slope_low"], row["slope_high"], 3),
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
            _interval(row["low"], row["high"]),
            _interval(row["bootstrap_low"], row["bootstrap_high"]),
            str(row["n"]),
        ]
        for row in table[table["metric"] == "train_error_pct"].to_dict("records")
    ]
    heads = ("family", "depth", "difference", "points", "95 % interval", "bootstrap interval", "seeds")
    return Table("Difference in training error, in points, paired by seed", heads, rows, 3)


def claims(table: pd.DataFrame) -> Table:
    """Tabulate what the study expected and what the records say."""
    rows = [
        [
            row["group"],
            f"{METRICS[row['metric']]} of {row['twin']} {_TRENDS[row['trend']]}",
            row["verdict"],
            _MARKS[row["result"]],
            str(row["n"]),
        ]
        for row in table.to_dict("records")
    ]
    heads = ("family", "claim", "verdict", "result", "seeds")
    return Table("What the study expects, and what the records say", heads, rows, 4)


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
            _interval(row["low"], row["high"]),
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
        "image_size": "the dataset's" if pd.isna(run["image_size"]) else _count(run["image_size"], "pixel"),
        "shift": f"augmentation by up to {_count(run['shift'], 'pixel')}" if run["shift"] else "no augmentation",
        "flip": "augmentation of one image in two" if run["flip"] else "no augmentation",
        "evaluate_every": _count(run["evaluate_every"], "epoch"),
    }


def provenance(frames: Frames) -> Table:
    """Tabulate where the numbers come from."""
    runs = frames.runs.drop_duplicates("run")
    counts = runs["status"].value_counts()
    images = "{0.train_images:,} training and {0.test_images:,} test images, {0.classes} classes, {0.image}"
    data = [f"{run.dataset}: {images.format(run)}, {run.checksum}" for run in runs.itertuples()]
    machines = [
        f"{run['machine_cpu']}, {_count(run['machine_cores'], 'core')}, {run['machine_os']}"
        for run in runs.to_dict("records")
    ]
    versions = [f"{name} {_values(runs[f'machine_{name}'])}" for name in ("deeptwins", "torch", "numpy", "python")]
    gpus = runs["machine_gpu"].dropna()
    rows = [
        ["runs", ", ".join(f"{counts[key]} {key}" for key in (*FINISHED, "failed", "unfinished") if key in counts)],
        ["data", _values(data)],
        ["machine", _values(machines)],
        ["device", _values(runs["machine_device"]) + (f": {_values(gpus)}" if len(gpus) else "")],
        ["versions", ", ".join(versions)],
        ["commit", _values(runs["commit"].dropna()) or "not known"],
    ]
    return Table("Where the numbers come from", ("what", "value"), rows, 2)


def percent(value: float) -> str:
    """Return an error as text."""
    return f"{value:.1f} %"


def points(value: float) -> str:
    """Return a difference of errors as text, with its sign."""
    return f"{round(value, 1) + 0.0:+.1f}" if math.isfinite(value) else "-"


def _number(value: float, decimals: int = 1) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}" if math.isfinite(value) else "-"


def _interval(low: float, high: float, decimals: int = 1) -> str:
    return f"{_number(low, decimals)} to {_number(high, decimals)}" if math.isfinite(low) else "-"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else _number(p, 3)  # noqa: PLR2004


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}"


def _count(n: float, unit: str) -> str:
    return f"{n:g} {unit}" if n == 1 else f"{n:g} {unit}s"


def _values(column: Iterable[object]) -> str:
    return "; ".join(dict.fromkeys(map(str, column)))
