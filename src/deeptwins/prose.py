"""From findings to words: the verdict in a sentence, remarks, figures. Plain text: the templates escape it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import pandas as pd

from deeptwins.findings import Findings, jointly
from deeptwins.frames import Frames
from deeptwins.study import Study
from deeptwins.tables import METRICS, count, interval, percent, points, share

_AGREEMENTS = {"agree": "agrees with", "differ": "differs from", "inconclusive": "may or may not agree with"}
_READINGS = {"agree": "agrees", "differ": "differs", "inconclusive": "is open"}


def verdicts(study: Study, frames: Frames, found: Findings) -> list[str]:
    """Say what was found: which twins agree, where the study claims that some do, and else what depth does to errors.

    A study that claims agreements and trends gets both.
    """
    sentences = _agreements(found.agreements, found.drift)
    if not sentences or any(claim.trend for claim in study.expect):
        sentences += _trends(study, frames, found.trends)
    return sentences


def _agreements(agreements: pd.DataFrame, drift: pd.DataFrame) -> list[str]:
    """Say in one sentence a family and pair of twins whether their errors agree, and how far their losses drift."""
    sentences = []
    for (group, twin, other), rows in agreements.groupby(["group", "twin", "other"], sort=False):
        metrics = {metric: jointly(cell["verdict"]) for metric, cell in rows.groupby("metric", sort=False)}
        mixed = len({*metrics.values()}) > 1
        clauses = []
        for metric, verdict in metrics.items():
            reading = f" {_READINGS[verdict]}," if mixed else ""
            clauses.append(f"{METRICS[str(metric)]}{reading} {_difference(rows[rows['metric'] == metric], verdict)}")
        traces = drift[(drift["group"] == group) & (drift["twin"] == twin) & (drift["other"] == other)]
        if len(traces):
            clauses.append(f"loss traces {_drift(traces)}")
        family = f"Family {group}: " if agreements["group"].nunique() > 1 else ""
        verb = _AGREEMENTS[jointly(metrics.values())]
        sentences.append(f"{family}{twin} {verb} {other}: {'; '.join(clauses)}.")
    return sentences


def _difference(depths: pd.DataFrame, verdict: str) -> str:
    """Say how an error of a twin compares with that of the other: of the depths that decide, where it does worst."""
    decisive = depths[depths["verdict"] == verdict]
    row = decisive.iloc[decisive["difference"].abs().to_numpy().argmax()]
    place = f" at depth {row['depth']}, the worst of {len(depths)} depths" if len(depths) > 1 else ""
    seeds = count(row["n"], "seed")
    evidence = f"95 % interval {interval(row['low'], row['high'])}, {seeds}"
    if row["n"] == 1:
        evidence = f"{seeds}, which supports no verdict"
    errors = f"{percent(row['mean'])} against {percent(row['other_mean'])}{place}"
    return f"{errors}, difference {points(row['difference'])} points ({evidence})"


def _drift(traces: pd.DataFrame) -> str:
    """Say how far the losses of two twins lie apart, as the predicate of a clause."""
    furthest = traces.iloc[traces["largest"].to_numpy().argmax()]
    if furthest["largest"] == 0:
        return "are identical to the last bit"
    text = f"drift apart by at most {share(furthest['largest'])} of the loss"
    chance = furthest["between_seeds"]
    return text if pd.isna(chance) else f"{text}, where two seeds of {furthest['other']} differ by {share(chance)}"


def _trends(study: Study, frames: Frames, trends: pd.DataFrame) -> list[str]:
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
        return f"is {start}, the only depth ({count(n, 'seed')})"
    if n == 1:
        return f"goes from {start} to {end} in 1 seed, which supports no verdict"
    evidence = f"95 % interval {interval(trend['low'], trend['high'])}, {count(n, 'seed')}"
    evidence = f"{points(trend['difference'])} points, {evidence}"
    if verdict == "inconclusive":
        return f"shows no clear trend: {start}, {end} ({evidence})"
    denial = "does not: it " if first == "rises" != verdict else ""
    if verdict == "flat":
        limit = count(flat_within_pct, "point")
        return f"{denial or 'stays flat: it '}changes by less than {limit} ({start}, {end}: {evidence})"
    return f"{denial}{verdict}{' too,' if first == verdict else ''} from {start} to {end} ({evidence})"


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


def alt_drift(drift: pd.DataFrame) -> str:
    """Describe the figure of the drift: each line by its ends."""
    lines = []
    for (group, depth, twin, other), cell in drift.groupby(["group", "depth", "twin", "other"], sort=False):
        ends = [
            f"{share(row['median'])} at iteration {row['iteration']:,}"
            for row in cell.iloc[[0, -1]].drop_duplicates().to_dict("records")
        ]
        seeds = cell["between_seeds"].iloc[-1]
        chance = "" if pd.isna(seeds) else f"; two seeds of {other} {share(seeds)} there"
        lines.append(f"{group}, depth {depth}, {twin} and {other}: {', '.join(ends)}{chance}")
    text = "Difference of the loss traces of two twins, as a share of the loss, against iterations, on a log scale. "
    return f"{text}{'. '.join(lines)}."


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


def _described(table: pd.DataFrame, value: str, written: Callable[[float], str]) -> str:
    """Read a figure's last numbers out, line by line."""
    lines = []
    for (group, name), cell in table.groupby(["group", "twin"], sort=False):
        numbers = [f"{written(y)} at depth {depth}" for depth, y in zip(cell["depth"], cell[value], strict=True)]
        lines.append(f"{group}, {name}: {', '.join(numbers)}")
    return "; ".join(lines) + "."
