"""What a diff says in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deeptwins.findings.comparisons import HEADLINE
from deeptwins.findings.contrast import APART, OPEN, SAME, WITHIN
from deeptwins.pages.diff import tables
from deeptwins.pages.diff.facts import SHOWN, DiffFacts
from deeptwins.pages.study.tables import METRICS
from deeptwins.pages.wording import count, listed, p_value
from deeptwins.records import sameness
from deeptwins.records.sameness import Seen

NAMED, CLAIMS = 6, 2  # fields that a sentence names, and claims; of more, the number is given


def answer(facts: DiffFacts) -> str:
    """Say in a sentence or two whether the two sides differ."""
    return f"{'Trained on different data. ' if _data(facts) else ''}{_answer(facts)}"


def _answer(facts: DiffFacts) -> str:
    total, counts, name = len(facts.headline), facts.counts, METRICS[HEADLINE]
    if counts[SAME] == total:
        which = "the one net" if total == 1 else f"all {total} nets"
        return f"Errors and losses of {which} that A and B share are the same to the bit, in {seeds(facts)}."
    if counts[OPEN] == total:
        reasons = dict.fromkeys(tables.why_open(row) for row in facts.headline.to_dict("records"))
        return f"Whether A and B are apart cannot be judged: {listed(reasons)}."
    if counts[APART] == total:
        nets = "The one net that A and B share is" if total == 1 else f"All {total} nets that A and B share are"
        return f"{nets} apart in {name}."
    named = {WITHIN: "within seeds", SAME: "the same to the bit", OPEN: "not judged"}
    some = {text: counts[result] for result, text in named.items() if counts[result]}
    rest = listed(f"{number} {text}" for text, number in some.items())
    if counts[APART]:
        return f"{counts[APART]} of {total} nets {'is' if counts[APART] == 1 else 'are'} apart in {name}; {rest}."
    rest = f"all {total} are {next(iter(some))}" if len(some) == 1 and total > 1 else rest
    return f"No net is apart in {name}: {rest}.{_others(facts)}"


def _data(facts: DiffFacts) -> list[str]:
    """Say that the two sides did not see the same images."""
    frames = [side.facts.frames for _, side in facts.sides]
    names = [{*table.runs["dataset"]} for table in frames]
    runs = [run for table in frames for run in table.runs.drop_duplicates("run").to_dict("records")]
    said = sameness.mixed(
        Seen(run["dataset"], None if pd.isna(run["image_size"]) else run["image_size"], run["checksum"]) for run in runs
    )
    if names[0] != names[1]:
        both = [", ".join(sorted(some)) for some in names]
        said.append(f"A was trained on {both[0]}, B on {both[1]}: their errors do not measure the same.")
    return said


def _code(facts: DiffFacts) -> list[str]:
    """Say that runs were made by different code of one's own parts."""
    return sameness.mixed_code(parts for _, side in facts.sides for parts in side.facts.frames.codes)


def _others(facts: DiffFacts) -> str:
    """Say that nets are apart in another error."""
    some = facts.found.nets
    some = some[(some["result"] == APART) & some["metric"].isin(SHOWN)]
    return "".join(
        f" In {METRICS[str(metric)]} {count(len(rows), 'net')} {'is' if len(rows) == 1 else 'are'} apart."
        for metric, rows in some.groupby("metric")
    )


def seeds(facts: DiffFacts) -> str:
    """Say how many seeds nets are compared in."""
    least, most = int(facts.headline["n"].min()), int(facts.headline["n"].max())
    return count(most, "seed") if least == most else f"{least} to {most} seeds"


def verdict(facts: DiffFacts) -> list[str]:
    """Say where the two sides lie furthest apart, which fields differ, and what became of claims."""
    return [*_furthest(facts), _differing(facts), *_turned(facts), *_diagnostics(facts)]


def _furthest(facts: DiffFacts) -> list[str]:
    """Say of each error where the sides are furthest apart."""
    sentences = []
    for metric in SHOWN:
        rows = facts.found.nets[facts.found.nets["metric"] == metric]
        some = rows[rows["result"] == APART]
        name = METRICS[metric]
        if len(some):
            which = f"{len(some)} of {len(rows)}" if metric != HEADLINE else "furthest"
            furthest = tables.furthest(some)
            lead = f"Furthest apart in {name}" if metric == HEADLINE else f"In {name} {which} nets are apart, furthest"
            sentences.append(f"{lead}: {_difference(furthest)}.")
        elif metric == HEADLINE and (rows["result"] == WITHIN).any():
            largest = tables.furthest(rows[rows["result"] == WITHIN])
            sentences.append(
                f"The largest difference in {name} that seeds leave open: {_difference(largest)}{_why(facts, largest)}."
            )
    return sentences


def _difference(row: Mapping[Any, Any]) -> str:
    """Say how a net differs."""
    a, b, difference = tables.errors(row)
    evidence = f"95 % interval {tables.spread(row)}, {count(row['n'], 'seed')}"
    return f"{tables.net(row)}, {a} % in A and {b} % in B, {difference} points ({evidence})"


def _why(facts: DiffFacts, row: Mapping[Any, Any]) -> str:
    """Say why a difference whose interval excludes 0 is none."""
    if not tables.corrected(row):
        return ""
    return f". Its interval excludes 0, but p = {p_value(row['p_holm'])} after correction for {facts.found.tests} tests"


def _differing(facts: DiffFacts) -> str:
    """Name the fields that differ."""
    keys = [field.key for field in tables.fields(facts)]
    if not keys:
        return "The studies, nets and recipes are the same in every field."
    shown = keys if len(keys) <= NAMED else [*keys[: NAMED - 1], f"{len(keys) - NAMED + 1} more"]
    return f"Fields that differ: {listed(shown)}."


def _turned(facts: DiffFacts) -> list[str]:
    """Name the claims of both that turned out differently."""
    turned = [row for row in tables.claims(facts) if tables.NONE not in row and _result(row[1]) != _result(row[2])]
    said = [f"Another result in B: {claim}: {a} in A, {b} in B." for claim, a, b in turned[:CLAIMS]]
    more = len(turned) - CLAIMS
    return [*said, f"{count(more, 'claim')} more turned out differently."] if more > 0 else said


def _result(text: str) -> str:
    """Leave out how many seeds a result rests on."""
    return text.rsplit(" (", 1)[0]


def _diagnostics(facts: DiffFacts) -> list[str]:
    """Name the other numbers, diagnostics, that differ where all errors and losses are the same."""
    numbers = facts.found.numbers
    if facts.counts[SAME] < len(facts.headline):
        return []
    differ = numbers.loc[numbers["same"] < numbers["nets"], "number"]
    return [f"In some nets other recorded numbers differ: {listed(differ)}."] if len(differ) else []


def cautions(facts: DiffFacts) -> list[str]:
    """Say what makes the two sides hard to compare: other images, other code, or runs that have not finished."""
    said = _data(facts) + _code(facts)
    for letter, side in facts.sides:
        frames = side.facts.frames
        if frames.missing:
            finished = f"{frames.asked - frames.missing} of {frames.asked} runs have finished"
            said.append(f"{letter} is not complete: {finished}.")
    return said


METHOD = """
A net of A is compared with the net of B that has the same name as a twin, the same family and depth, and the same
seed, so that both began with the same weights and saw the same batches if their recipes have them. Where a study
varies more than that, the two must share more of what varies than any other two do.
"""
RULE = """
Same to the bit: all errors and losses of a net, at every evaluation and in every seed, are equal in all their digits.
Apart: p < 0.05 by Student's t test of the differences, paired by seed, after Holm's correction for all tests of this
page; errors that a claim of either study names weigh ten times as much in it as others. Within seeds: seeds do not
tell the two apart, or the whole 95 % interval lies between -{margin:g} and +{margin:g} points; that is no proof that
they are equal.
"""


def method(facts: DiffFacts) -> list[str]:
    """Explain how nets are paired and judged."""
    return [METHOD, RULE.format(margin=facts.found.margin)]
