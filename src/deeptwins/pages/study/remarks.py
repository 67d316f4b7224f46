"""What a reader must know before trusting a verdict, and where it is not the published one."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from deeptwins.findings.derive import Findings
from deeptwins.findings.frames import Frames
from deeptwins.findings.judging import DIFFERENT, FAILS_HERE, FAILS_THERE, NO_SUCH, ONE_HERE, TOO_IMPRECISE
from deeptwins.pages.study.tables import METRICS
from deeptwins.pages.wording import apart, interval, listed, percent, place_of, points, published, within
from deeptwins.study import Study
from deeptwins.study.claims import FAILS

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
    """Say where our answer is not the published one, and why that may be; then what our seeds are too few for."""
    sentences = [*_of_our_data(found.against_paper), *_of_other_data(found.across_scales, found.final)]
    differing = [" ".join([*sentences, *([study.scale] if study.scale else [])])] if sentences else []
    return [*differing, *_imprecise(found.across_scales, found.final)]


def _of_our_data(table: pd.DataFrame) -> list[str]:
    """Say which errors are not the published ones."""
    sentences = []
    for row in table[table["reading"].isin(DIFFERENT)].to_dict("records"):
        error, net = METRICS[row["metric"]], f"{row['twin']} at depth {row['depth']}"
        ours = f"{percent(row['mean'])} (95 % interval {interval(row['low'], row['high'])})"
        there = f"Published {error} of {net} is {_value(row['paper'])} ({row['source']}); here it is"
        if row["paper"] == FAILS:
            there = f"Published: {net} {FAILS_TO_TRAIN} ({row['source']}); here its {error} is"
        sentences.append(f"{there} {ours}.")
    return sentences


def _of_other_data(table: pd.DataFrame, final: pd.DataFrame) -> list[str]:
    """Say which nets train there and fail here, or the other way round; then which differ in another direction.

    What stands beside several published values of one source is told beside the first.
    """
    place = ["source", "data", "paper_family", "paper_depth", "family", "depth_twin", "metric"]
    table = table[table["reading"].isin(DIFFERENT)]
    table = table.drop_duplicates(["source", "twin", "other", "metric", "group", "depth", "reading"])
    trained = table["reading"].isin((FAILS_HERE, FAILS_THERE))
    both = table[~trained]
    both = both.assign(way=[_way(*values) for values in zip(both["paper"], both["paper_other"], strict=True)])
    parts = [(rows, _training) for _, rows in table[trained].groupby([*place, "reading"], sort=False)]
    parts += [(rows, _across) for _, rows in both.groupby([*place, "other", "way", "reading"], sort=False)]
    sentences, told = [], None
    for rows, say in parts:
        source = rows["source"].iloc[0]
        begin = f"Also {_there(rows)}" if source == told else f"Published {_there(rows)} ({source})"
        sentences.append(f"{begin}: {say(rows, _groups(rows, final))}.")
        told = source
    return sentences


def _imprecise(table: pd.DataFrame, final: pd.DataFrame) -> list[str]:
    """Name the twins whose intervals hold the published difference, and none too."""
    table = table[table["reading"] == TOO_IMPRECISE]
    pairs = []
    for other, rows in table.groupby("other", sort=False):
        nets = zip(rows["twin"], rows["group"], strict=True)
        named = dict.fromkeys(f"{twin}{within(group, _groups(table, final))}" for twin, group in nets)
        pairs.append(f"{listed(named)} from {other}")
    return (
        [f"Our intervals are too wide to tell whether these differ as published: {'; '.join(pairs)}."] if pairs else []
    )


def _training(rows: pd.DataFrame, groups: list[str]) -> str:
    """Say which nets train in the one place and fail in the other."""
    named: list[str] = []
    for (twin, paper), nets in rows.groupby(["twin", "paper"], sort=False):
        error = "" if named else f"{METRICS[rows['metric'].iloc[0]]} "
        there = "" if paper == FAILS else f"{_value(paper)}, "
        ours = [
            " for ".join(filter(None, (percent(mean), place_of(group, groups))))
            for group, mean in zip(nets["group"], nets["mean"], strict=True)
        ]
        named.append(f"{twin} ({error}{there}here {listed(ours)})")
    one = len(named) == 1
    verbs = ("trains" if one else "train", FAILS_TO_TRAIN if one else "fail to train")
    there, here = verbs if rows["reading"].iloc[0] == FAILS_HERE else verbs[::-1]
    return f"{listed(named)} {there}; {_here(rows)} {'it' if one else 'they'} {here}"


def _across(rows: pd.DataFrame, groups: list[str]) -> str:
    """Say how twins differ from another in what was published, and that they do not do so here."""
    row = rows.iloc[0]
    named = [f"{twin} ({_value(paper)})" for twin, paper in zip(rows["twin"], rows["paper"], strict=True)]
    ours: list[str] = []
    for other in rows.to_dict("records"):
        setting = place_of(other["group"], groups)
        alone = f"{setting}: " if setting else ""
        name = f"{other['twin']}{within(other['group'], groups)} " if len(rows) > 1 else alone
        points_, interval_ = ("", "") if ours else (" points", "95 % interval ")
        ours.append(f"{name}{points(other['difference'])}{points_}, {interval_}{apart(other['low'], other['high'])}")
    here = {NO_SUCH: "there is no such difference", ONE_HERE: "they differ"}
    opposite = f"it is {'lower' if row['way'] == HIGHER else 'higher'}"
    than = "as" if row["way"] == SAME else "than"
    reference = f"{row['other']} ({_value(row['paper_other'])})"
    twins = listed([*dict.fromkeys(named)])
    there = f"{METRICS[row['metric']]} is {row['way']} with {twins} {than} with {reference}"
    return f"{there}; {_here(rows)} {here.get(row['reading'], opposite)} ({'; '.join(ours)})"


def _groups(rows: pd.DataFrame, final: pd.DataFrame) -> list[str]:
    """Return the families and settings that what is said of some of them has to be told from."""
    return [*rows["group"], *final.loc[final["family"].isin(rows["family"]), "group"]]


def _there(rows: pd.DataFrame) -> str:
    """Name the data and the depth of what was published, and its family where ours is another."""
    row = rows.iloc[0]
    family = "" if row["paper_family"] == row["family"] else f" of family {row['paper_family']}"
    return f"on {row['data']} at depth {row['paper_depth']}{family}"


def _here(rows: pd.DataFrame) -> str:
    """Name our depth where it is not the published one."""
    row = rows.iloc[0]
    return "here" if row["depth_twin"] == row["paper_depth"] else f"here, at depth {row['depth_twin']:.0f},"


def _way(paper: Any, other: Any) -> str:  # noqa: ANN401 - a number, or that it fails
    """Compare published errors; a net that fails has a higher one than any that trains."""
    own, reference = (math.inf if value == FAILS else value for value in (paper, other))
    return SAME if own == reference else HIGHER if own > reference else "lower"


def _value(paper: object) -> str:
    return f"it {FAILS_TO_TRAIN}" if paper == FAILS else f"{published(paper)} %"
