"""The page of a study, `reports/<study>/`: what its records say, in words first, then in figures and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from deeptwins import study as studies
from deeptwins.findings.inside import TENFOLD
from deeptwins.findings.learning import VOID
from deeptwins.pages.page import Number, PageSpec
from deeptwins.pages.study import commands, prose, provenance, remarks, tables
from deeptwins.pages.study.facts import StudyFacts, load
from deeptwins.pages.study.inside import words as inside_words
from deeptwins.pages.study.sections import sections
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count
from deeptwins.study import Study

ERRORS = """
Training error (train_error_pct) is measured after the last iteration on the whole training set, in evaluation mode,
without augmentation. Running training error (running_error_pct) is the mean over the batches of the last epoch, each
measured in its training step: augmented, and with the weights of that step. Test error (test_error_pct) is that of the
last iteration, never the best.
"""
DIFFERENCES = """
Intervals are Student's t over seeds, 95 %. Differences are paired by seed. An effect is a trend that rises or falls, or
a twin whose error is above or below another's. An effect needs p < 0.05 after Holm's correction for all {tests} tests
of the study. The correction is weighted: an effect that the study claims has weight 10, another test of an error that a
claim names (without claims: of training error) 1, every other test 0.1. With three depths or more, a trend's p is the
larger of Student's and Page's. A trend is flat, and twins agree, where the interval lies within {points} of 0.
Everything else is undecided, and so is every result of a single seed. Seeds needed to detect {points}: with so many
seeds an uncorrected t test would detect such a difference in four of five studies, if seeds scatter as these do. Adding
seeds after seeing the result invalidates the p value.
"""
FAILURES = """
A net fails to train where the interval of its error lies above {above:g} %, or all its seeds diverged or are at chance.
It trains where the interval lies below {above:g} %, and no seed diverged or is at chance.
"""
NOISE = """
The noise floor of the test set is the standard deviation of an error p measured on n images: sqrt(p (1 - p) / n).
"""
AGREEMENTS = """
Two twins agree in an error where the 95 % interval of its difference (Student's t, paired by seed) lies within {points}
of 0. They differ where the interval goes beyond, and p < 0.05 after Holm's correction for all {tests} tests of the
study. Everything else is undecided, and so is every result of a single seed.
"""
DRIFT = """
A loss trace is the running loss (running_loss), averaged over the batches since the last evaluation. Drift is
the difference between the traces of two twins of a run, as a share of the second twin's loss. The difference
between two seeds of the second twin shows how much chance alone makes.
"""
GRADIENTS = """
The ratio of gradients is that of the first tenth of the layers divided by that of the last. Gradients vanish where the
95 % interval of the ratio lies below {least:g}, or where the gradients of the first tenth are exactly 0 in every seed.
They explode where the interval lies above {most:g}, and do neither where it lies between. Everything else is undecided.
"""
LEARNING = """
A net did not train where it diverged, or where its training error is at chance. At chance means: an exact binomial test
(5 % over all nets together) does not show that the error is lower than that of a constant answer by more than {points},
or by more than half of the latter where that is less. Two nets are not compared, and no claim about them is decided,
where in any seed one of them diverged or neither trained.
"""


def find(results: Path) -> list[tuple[Study, Path]]:
    """List the studies, of `ablations/` or shipped, that have records in a folder of results."""
    files = studies.known()
    return [(studies.load(files[name]), results) for name in files if any((results / name).glob("*.jsonl"))]


def _answer(facts: StudyFacts) -> str:
    """Answer the question, or say what was found where nothing is claimed; before all that no net trained."""
    study, findings = facts.study, facts.findings
    answer = prose.answer(study, findings.claims) or prose.found(study, findings)
    return " ".join([*prose.untrained(findings), answer]).strip()


def _verdict(facts: StudyFacts) -> list[str]:
    """Say what the answer rests on: first gradients, where a claim is about them."""
    twins = [claim.twin for claim in facts.study.expect if claim.gradients]
    flow = facts.inside.gradient_flow
    evidence = prose.evidence(facts.study, facts.frames, facts.findings)
    return [*inside_words.flow(flow[flow["twin"].isin(twins)]), *evidence]


def _lines(facts: StudyFacts) -> list[str]:
    evidence = [*remarks.cautions(facts.frames), *_verdict(facts), *tables.results(facts.findings.claims)]
    said = filter(None, [_answer(facts), *evidence])
    return [f"{facts.study.name}: {facts.study.question}", *(f"  {text}" for text in said)]


def _origin(facts: StudyFacts) -> list[Table]:
    frames = facts.frames
    return [provenance.origin(frames), provenance.recipe(frames.runs), provenance.nets(frames.runs)]


def _method(facts: StudyFacts) -> list[str]:
    """Explain what is measured and how it is judged, as far as this page needs it."""
    margin, agreed = facts.study.flat_within_pct, len(facts.findings.agreements) > 0
    judged_p = (facts.findings.trends["p_holm"], facts.findings.comparisons["p_holm"])
    tests = sum(int(adjusted.notna().sum()) for adjusted in judged_p)
    paragraphs = [ERRORS]
    if agreed:
        paragraphs.append(AGREEMENTS.format(points=count(margin, "point"), tests=tests))
    if len(facts.findings.drift):
        paragraphs.append(DRIFT)
    if facts.several_depths or not agreed:
        paragraphs.append(DIFFERENCES.format(points=count(margin, "point"), tests=tests))
    if facts.study.fails_above_pct is not None:
        paragraphs.append(FAILURES.format(above=facts.study.fails_above_pct))
    paragraphs.append(NOISE)
    if len(facts.inside.gradient_flow):
        paragraphs.append(GRADIENTS.format(least=1 / TENFOLD, most=TENFOLD))
    judged = (facts.findings.trends, facts.findings.comparisons, facts.findings.claims)
    if any(table["verdict"].isin(VOID).any() for table in judged):
        paragraphs.append(LEARNING.format(points=count(margin, "point")))
    return paragraphs


def _data(facts: StudyFacts) -> Mapping[str, pd.DataFrame]:
    tables = {
        "runs": facts.frames.runs.drop(columns=["stages", "children", "notes", "chance_pct"]),
        "machines": facts.frames.machines,
    }
    for part in (facts.findings, facts.inside):
        tables |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    del tables["untrained"]  # `final` has these nets
    return tables


PAGE = PageSpec(
    load=load,
    name=lambda facts: commands.folder(facts.study),
    question=lambda facts: facts.study.question,
    source=lambda facts: facts.study.source,
    group=lambda facts: facts.study.group,
    answer=_answer,
    numbers=lambda facts: [Number(*texts) for texts in prose.numbers(facts.study, facts.findings)],
    verdict=_verdict,
    cautions=lambda facts: remarks.cautions(facts.frames),
    remarks=lambda facts: remarks.remarks(facts.study, facts.frames, facts.findings),
    sections=sections,
    origin=_origin,
    method=_method,
    commands=lambda facts: commands.commands(facts.study, facts.frames),
    data=_data,
    size=lambda facts: f"{facts.frames.asked - facts.frames.missing} of {facts.frames.asked} runs finished",
    cost=lambda facts: provenance.spent(facts.frames),
    date=lambda facts: provenance.dates(facts.frames.runs),
    lines=_lines,
    find=find,
)
