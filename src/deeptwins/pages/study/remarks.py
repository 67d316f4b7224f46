"""What a reader must know before trusting a verdict, and where it is not the published one."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from deeptwins.findings.aside import differences
from deeptwins.findings.derive import Findings
from deeptwins.findings.frames import Frames
from deeptwins.findings.judging import DIFFERENT, FAILS_HERE, FAILS_THERE, NO_SUCH, ONE_HERE, TOO_IMPRECISE
from deeptwins.pages.study.tables import METRICS
from deeptwins.pages.wording import apart, count, interval, listed, percent, place_of, points, published, within
from deeptwins.records.sameness import Seen, mixed, mixed_code
from deeptwins.study import Study
from deeptwins.study.claims import FAILS

FAILS_TO_TRAIN = "fails to train"
HIGHER, LOWER, SAME = "higher", "lower", "the same"


def remarks(study: Study, frames: Frames, findings: Findings) -> list[str]:
    """Say what a reader must know before trusting the verdict."""
    final = findings.final
    runs = frames.runs.drop_duplicates("run")
    texts = []
    if study.settings:
        texts.append(f"The study's recipe with these changes: {', '.join(study.settings)}.")
    if frames.missing:
        texts.append(f"Provisional: {frames.asked - frames.missing} of {frames.asked} runs have finished.")
    if diverged := int((final["train_loss"].isna() | final["running_loss"].isna()).sum()):
        texts.append(f"{diverged} of {count(len(final), 'net')} diverged; an error of 100 % is put in place of theirs.")
    if failed := int((runs["status"] == "failed").sum()):
        texts.append(f"{count(failed, 'run')} failed and {'is' if failed == 1 else 'are'} left out.")
    if frames.aside:
        texts.append(f"Left out, as their settings are not the study's: {differences(study, frames.aside)}.")
    return texts + _against_paper(study, findings)


def cautions(frames: Frames) -> list[str]:
    """Say, above the verdict, that runs were trained on different data, or by different code."""
    runs = frames.runs.drop_duplicates("run")
    sizes = [None if pd.isna(size) else int(size) for size in runs["image_size"]]
    return mixed(map(Seen, runs["dataset"], sizes, runs["checksum"])) + mixed_code(frames.codes)


def _against_paper(study: Study, findings: Findings) -> list[str]:
    """Say where our answer is not the published one, how far the study's scale is; then what our seeds cannot tell."""
    sentences = [*_of_our_data(findings.against_paper), *_of_other_data(findings.across_scales, findings.final)]
    paragraphs = [" ".join(sentences), study.scale]
    return [*filter(None, paragraphs), *_imprecise(findings.across_scales, findings.final)]


def _of_our_data(table: pd.DataFrame) -> list[str]:
    """Say which errors are not the published ones."""
    sentences = []
    for row in table[table["reading"].isin(DIFFERENT)].to_dict("records"):
        error, net = METRICS[row["metric"]], f"{row['twin']} at depth {row['depth']}"
        ours = f"is {percent(row['mean'])} (95 % interval {interval(row['low'], row['high'])})"
        theirs, here = f"Published {error} of {net} is {_value(row['paper'])}", f"it {ours}"
        if row["paper"] == FAILS:
            theirs, here = f"Published: {net} {FAILS_TO_TRAIN}", f"its {error} {ours}"
        elif row["reading"] == FAILS_HERE:
            here = f"the net {FAILS_TO_TRAIN}"
        sentences.append(f"{theirs} ({row['source']}). Here {here}.")
    return sentences


def _of_other_data(table: pd.DataFrame, final: pd.DataFrame) -> list[str]:
    """Say which nets train in the paper and fail here, or the other way round; then which differ in another direction.

    What stands beside several published values of one source is told beside the first.
    """
    place = ["source", "data", "paper_family", "paper_depth", "family", "depth_twin", "metric"]
    # Which rows differ, once for several published values of one source.
    table = table[table["reading"].isin(DIFFERENT)]
    table = table.drop_duplicates(["source", "twin", "other", "metric", "group", "depth", "reading"])
    trained = table["reading"].isin((FAILS_HERE, FAILS_THERE))
    directed = table[~trained]
    values = zip(directed["paper"], directed["paper_other"], strict=True)
    directed = directed.assign(direction=[_direction(paper, other) for paper, other in values])
    # A sentence for each group of twins of which the same is to be said.
    parts = [(rows, _training) for _, rows in table[trained].groupby([*place, "reading"], sort=False)]
    parts += [(rows, _across) for _, rows in directed.groupby([*place, "other", "direction", "reading"], sort=False)]
    sentences: list[str] = []
    before = None
    for rows, words in parts:
        source = rows["source"].iloc[0]
        begin = f"Also {_published_on(rows)}" if source == before else f"Published {_published_on(rows)} ({source})"
        sentences.append(f"{begin}: {words(rows, _groups(rows, final))}.")
        before = source
    return sentences


def _imprecise(table: pd.DataFrame, final: pd.DataFrame) -> list[str]:
    """Name the twins whose intervals contain both the published difference and 0."""
    table = table[table["reading"] == TOO_IMPRECISE]
    pairs = []
    for other, rows in table.groupby("other", sort=False):
        nets = zip(rows["twin"], rows["group"], strict=True)
        names = dict.fromkeys(f"{twin}{within(group, _groups(table, final))}" for twin, group in nets)
        pairs.append(f"{listed(names)} from {other}")
    if not pairs:
        return []
    return [f"Our seeds cannot tell whether these differ as published: {'; '.join(pairs)}."]


def _training(rows: pd.DataFrame, groups: list[str]) -> str:
    """Say which nets train in the one place and fail in the other."""
    theirs: list[str] = []
    ours: list[str] = []
    several = rows["twin"].nunique() > 1
    error = f"{METRICS[rows['metric'].iloc[0]]} "
    for (twin, paper), nets in rows.groupby(["twin", "paper"], sort=False):
        # The first number says which error it is.
        theirs.append(f"{twin}" if paper == FAILS else f"{twin} ({'' if theirs else error}{_value(paper)})")
        groups_of = zip(nets["mean"], nets["group"], strict=True)
        errors = listed(f"{percent(mean)}{_for(group, groups)}" for mean, group in groups_of)
        ours.append(f"{twin} ({'' if ours else error}{errors})" if several else f"({error}{errors})")
    trains, fails = ("train", "fail to train") if several else ("trains", FAILS_TO_TRAIN)
    there, here = (trains, fails) if rows["reading"].iloc[0] == FAILS_HERE else (fails, trains)
    subject = "these" if several else "it"
    return f"{listed(theirs)} {there}. {_here(rows)} {subject} {here}{':' if several else ''} {listed(ours)}"


def _for(group: object, groups: list[str]) -> str:
    """Say of which family or setting an error is; empty where there is only one."""
    return f" for {where}" if (where := place_of(group, groups)) else ""


def _across(rows: pd.DataFrame, groups: list[str]) -> str:
    """Say how twins differ from another in what was published, and that they do not do so here."""
    row = rows.iloc[0]
    names = [f"{twin} ({_value(paper)})" for twin, paper in zip(rows["twin"], rows["paper"], strict=True)]
    ours: list[str] = []
    for net in rows.to_dict("records"):
        setting = place_of(net["group"], groups)
        alone = f"{setting}: " if setting else ""
        name = f"{net['twin']}{within(net['group'], groups)} " if len(rows) > 1 else alone
        # The first numbers say what they are.
        unit, what = ("", "") if ours else (" points", "95 % interval ")
        ours.append(f"{name}{points(net['difference'])}{unit}, {what}{apart(net['low'], net['high'])}")
    here = {NO_SUCH: "there is no such difference", ONE_HERE: "they differ"}
    opposite = f"it is {LOWER if row['direction'] == HIGHER else HIGHER}"
    than = "as" if row["direction"] == SAME else "than"
    reference = f"{row['other']} ({_value(row['paper_other'])})"
    twins = listed([*dict.fromkeys(names)])
    theirs = f"{METRICS[row['metric']]} is {row['direction']} with {twins} {than} with {reference}"
    return f"{theirs}. {_here(rows)} {here.get(row['reading'], opposite)} ({'; '.join(ours)})"


def _groups(rows: pd.DataFrame, final: pd.DataFrame) -> list[str]:
    """Return the families and settings that a reader could mistake those of the rows for: all of the same families."""
    return [*rows["group"], *final.loc[final["family"].isin(rows["family"]), "group"]]


def _published_on(rows: pd.DataFrame) -> str:
    """Name the data and the depth of what was published, and its family where ours is another."""
    row = rows.iloc[0]
    family = "" if row["paper_family"] == row["family"] else f" in the {row['paper_family']} family"
    return f"on {row['data']} at depth {row['paper_depth']}{family}"


def _here(rows: pd.DataFrame) -> str:
    """Name our depth where it is not the published one."""
    row = rows.iloc[0]
    return "Here" if row["depth_twin"] == row["paper_depth"] else f"Here, at depth {row['depth_twin']:.0f},"


def _direction(paper: Any, other: Any) -> str:  # noqa: ANN401 - a number, or that it fails
    """Compare published errors; a net that fails has a higher one than any that trains."""
    error = math.inf if paper == FAILS else paper
    reference = math.inf if other == FAILS else other
    if error == reference:
        return SAME
    return HIGHER if error > reference else LOWER


def _value(paper: object) -> str:
    return f"it {FAILS_TO_TRAIN}" if paper == FAILS else f"{published(paper)} %"
