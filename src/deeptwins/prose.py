"""From findings to words: the verdict in a sentence, tables, alternative texts. Plain text: the templates escape it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deeptwins.frames import FINISHED, Frames
from deeptwins.study import Study

METRICS = {
    "train_error_pct": "training error",
    "running_error_pct": "running training error",
    "test_error_pct": "test error",
}
_TRENDS = {"rises": "rises", "falls": "falls", "flat": "stays flat"}
_MARKS = {"met": "✓ met", "contradicted": "✗ contradicted", "undecided": "? undecided"}
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
        clauses = [f"{names[twins[0]]}, training error {_movement(first)}"]
        clauses += [f"{names[twin]} it {_movement(trend[twin], first['verdict'])}" for twin in twins[1:]]
        sentence = "; ".join(clauses) + "."
        several = table["group"].nunique() > 1
        sentences.append(f"Family {group}: {sentence}" if several else sentence[0].upper() + sentence[1:])
    return sentences


def _movement(trend: Mapping[Hashable, Any], first: object = None) -> str:
    """Say how one twin's error moves with depth, as the predicate of a sentence."""
    n, verdict = int(trend["n"]), trend["verdict"]
    if n == 0:
        return "has no seed that finished at every depth"
    start = f"{percent(trend['shallowest_mean'])} at depth {trend['shallowest']}"
    end = f"{percent(trend['deepest_mean'])} at depth {trend['deepest']}"
    if trend["depths"] == 1:
        return f"is {start}, the only depth ({_seeds(n)})"
    if n == 1:
        return f"goes from {start} to {end} in 1 seed, which supports no verdict"
    interval = f"95 % interval {_interval(trend['low'], trend['high'])}, {_seeds(n)}"
    interval = f"{points(trend['difference'])} points, {interval}"
    if verdict == "inconclusive":
        return f"shows no clear trend: {start}, {end} ({interval})"
    if verdict == "flat":
        return f"{'does not' if first == 'rises' else 'stays flat'}: {start}, {end} ({interval})"
    return f"{verdict}{' too,' if first == verdict else ''} from {start} to {end} ({interval})"


def remarks(frames: Frames, final: pd.DataFrame) -> list[str]:
    """Say what a reader must know before trusting the verdict."""
    runs = frames.runs.drop_duplicates("run")
    texts = []
    if frames.missing:
        texts.append(f"Provisional: {frames.asked - frames.missing} of {frames.asked} runs have finished.")
    iterations = final.merge(frames.runs[["run", "twin", "iterations"]], on=["run", "twin"])
    diverged = int((iterations["iteration"] < iterations["iterations"]).sum())
    if diverged:
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
            *map(str, (row["depth"], row["runs"])),
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


def provenance(frames: Frames) -> Table:
    """Tabulate where the numbers come from."""
    runs = frames.runs.drop_duplicates("run")
    counts = runs["status"].value_counts()
    images = "{0.train_images:,} training and {0.test_images:,} test images, {0.classes} classes, {0.image}"
    data = [f"{run.dataset}: {images.format(run)}, {run.checksum}" for run in runs.itertuples()]
    machines = [f"{run.machine_cpu}, {run.machine_cores} cores, {run.machine_os}" for run in runs.itertuples()]
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


def alt_errors(by_depth: pd.DataFrame) -> str:
    """Describe the first figure to someone who cannot see it."""
    table = by_depth[by_depth["metric"] == "train_error_pct"]
    return "Training error against depth. " + _described(table, "mean", percent)


def alt_curves(curves: pd.DataFrame) -> str:
    """Describe the learning curves."""
    last = curves.groupby(["group", "twin", "depth"], sort=False).tail(1)
    numbers = _described(last, "test_error_pct", percent)
    return "Training and test error against iterations; test error at the end: " + numbers


def alt_gaps(gaps: pd.DataFrame) -> str:
    """Describe the figure of the gaps."""
    table = gaps[gaps["metric"] == "train_error_pct"].rename(columns={"gap": "twin"})
    return "Difference in training error against depth, in points. " + _described(table, "difference", points)


def alt_responses(responses: pd.DataFrame) -> str:
    """Describe the figure of the layer responses."""
    means = responses.groupby(["group", "twin", "depth"], sort=False)["response_std"].mean().reset_index()
    numbers = _described(means, "response_std", "{:.2f}".format)
    return "Standard deviation of the response of each layer; mean over layers: " + numbers


def percent(value: float) -> str:
    """Return an error as text."""
    return f"{value:.1f} %"


def points(value: float) -> str:
    """Return a difference of errors as text, with its sign."""
    return f"{round(value, 1) + 0.0:+.1f}" if math.isfinite(value) else "-"


def _number(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}" if math.isfinite(value) else "-"


def _interval(low: float, high: float) -> str:
    return f"{_number(low)} to {_number(high)}" if math.isfinite(low) else "-"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}"


def _seeds(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"


def _values(column: Iterable[object]) -> str:
    return "; ".join(dict.fromkeys(map(str, column)))


def _described(table: pd.DataFrame, value: str, written: Callable[[float], str]) -> str:
    """Read a figure's last numbers out, line by line."""
    lines = []
    for (group, name), cell in table.groupby(["group", "twin"], sort=False):
        numbers = [f"{written(y)} at depth {depth}" for depth, y in zip(cell["depth"], cell[value], strict=True)]
        lines.append(f"{group}, {name}: {', '.join(numbers)}")
    return "; ".join(lines) + "."
