"""What a reader must know before trusting a verdict, and where it is not the published one."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from deeptwins.claims import FAILS
from deeptwins.findings import Findings
from deeptwins.frames import Frames
from deeptwins.judging import DIFFERENT
from deeptwins.study import Study
from deeptwins.tables import METRICS
from deeptwins.wording import interval, listed, percent, points, published, within

FAILS_TO_TRAIN = "fails to train"
HIGHER, SAME = "higher", "the same"


def remarks(study: Study, frames: Frames, found: Findings) -> list[str]:
    """Say what a reader must know before trusting the verdict."""
    final = found.final
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
    return texts + _against_paper(study, found)


def _against_paper(study: Study, found: Findings) -> list[str]:
    """Say where our answer is not the published one, and why that may be; nothing where it is nowhere."""
    sentences = []
    for row in found.against_paper.to_dict("records"):
        if row["reading"] in DIFFERENT:
            error, net = METRICS[row["metric"]], f"{row['twin']} at depth {row['depth']}"
            ours = f"{percent(row['mean'])} (95 % interval {interval(row['low'], row['high'])})"
            there = f"Published {error} of {net} is {_value(row['paper'])} ({row['source']}); here it is"
            if row["paper"] == FAILS:
                there = f"Published: {net} {FAILS_TO_TRAIN} ({row['source']}); here its {error} is"
            sentences.append(f"{there} {ours}.")
    other = found.across_scales[found.across_scales["reading"].isin(DIFFERENT)]
    for row in other[other["other"].isna()].to_dict("records"):
        there = f"{row['twin']} {FAILS_TO_TRAIN} on {row['data']} ({row['source']})"
        sentences.append(f"Published: {there}; here it trains ({percent(row['mean'])}).")
    both = other.dropna(subset="other")
    both = both.assign(way=[_way(*values) for values in zip(both["paper"], both["paper_other"], strict=True)])
    source = None
    for _, rows in both.groupby(["source", "data", "paper_depth", "metric", "other", "way", "reading"], sort=False):
        told, source = source, rows["source"].iloc[0]
        sentences.append(f"{'Also' if source == told else f'Published in {source}:'} {_across(rows)}.")
    return [" ".join([*sentences, *([study.scale] if study.scale else [])])] if sentences else []


def _across(rows: pd.DataFrame) -> str:
    """Say how twins differ from another in what was published, and that they do not do so here."""
    row = rows.iloc[0]
    named = [f"{twin} ({_value(paper)})" for twin, paper in zip(rows["twin"], rows["paper"], strict=True)]
    ours: list[str] = []
    for other in rows.to_dict("records"):
        name = f"{other['twin']}{within(other['group'], rows['group'])} " if len(rows) > 1 else ""
        points_, interval_ = ("", "") if ours else (" points", "95 % interval ")
        ours.append(f"{name}{points(other['difference'])}{points_}, {interval_}{interval(other['low'], other['high'])}")
    here = {"no difference seen": "no difference is seen", "a difference here": "they differ"}
    opposite = f"it is {'lower' if row['way'] == HIGHER else 'higher'}"
    than = "as" if row["way"] == SAME else "than"
    reference = f"{row['other']} ({_value(row['paper_other'])})"
    twins = listed([*dict.fromkeys(named)])
    there = f"{METRICS[row['metric']]} is {row['way']} with {twins} {than} with {reference}"
    there = f"on {row['data']} at depth {row['paper_depth']}, {there}"
    return f"{there}; here {here.get(row['reading'], opposite)} ({'; '.join(ours)})"


def _way(paper: Any, other: Any) -> str:  # noqa: ANN401 - a number, or that it fails
    """Compare published errors; a net that fails has a higher one than any that trains."""
    own, reference = (math.inf if value == FAILS else value for value in (paper, other))
    return SAME if own == reference else HIGHER if own > reference else "lower"


def _value(paper: object) -> str:
    return f"it {FAILS_TO_TRAIN}" if paper == FAILS else f"{published(paper)} %"
