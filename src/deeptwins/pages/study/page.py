"""The page of a study, `reports/<study>/`: what its records say, in words first, then in figures and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from deeptwins import study as studies
from deeptwins.findings.learning import VOID
from deeptwins.pages.page import Number, PageSpec
from deeptwins.pages.study import commands, prose, provenance, remarks, tables
from deeptwins.pages.study.facts import StudyFacts, load
from deeptwins.pages.study.inside import words as inside_words
from deeptwins.pages.study.sections import sections
from deeptwins.pages.tables import Table, shorten
from deeptwins.pages.wording import count
from deeptwins.study import FOLDER, Study

ERRORS = """
Training error (train_error_pct) is measured in evaluation mode on the whole training set without augmentation, after
the last iteration; running training error (running_error_pct) is averaged over the last epoch as trained, augmented,
the weights moving; test error (test_error_pct) is that of the last iteration, never the best.
"""
DIFFERENCES = """
Intervals are Student's t over seeds, 95 %; differences are paired by seed. An effect (a trend that rises or falls, a
twin whose error is above or below another's) needs p < 0.05 after Holm's correction for all that the study tests, in
which effects that it claims weigh 10, other tests of the errors that its claims name (without claims: of the training
error) 1, and tests of other errors 0.1; a trend's p, from three depths on, is the larger of Student's and Page's. A
trend is flat, and twins agree, where the interval lies between -{within:g} and +{within:g} points. Else it is
inconclusive, as it is with one seed. Seeds to see {points} are those with which four studies in five would see them by
the t test of this difference alone, uncorrected, if differences spread as these do.
"""
FAILURES = """
A net fails to train where the interval of its error lies above {above:g} %, or it diverges; it trains where the
interval does not reach above. The noise floor of the test set is the standard deviation of an error that is measured on
so many images: sqrt(p (1 - p) / n).
"""
AGREEMENTS = """
Two twins agree in an error where the 95 % interval of its difference (Student's t, paired by seed) lies between
-{within:g} and +{within:g} points; they differ where it does not and p < 0.05 after Holm's correction for all that
the study tests; else it is inconclusive, as it is with one seed.
"""
DRIFT = """
A loss trace is the running loss (running_loss, averaged over the batches since the last evaluation). Drift is
its difference between the two twins of a run, as a share of the other's loss; between two seeds of the other twin, the
same difference is what chance alone makes.
"""


LEARNING = """
A net did not train where it diverged, or where its training error is at chance: not shown to be lower than that of one
answer to all images by more than {points}, or by half where that is less (exact binomial test of its right
answers, 5 % over all nets together). Where one of two nets diverged, or neither trained, in whatever seed, their errors
are not compared, and no claim about them is decided.
"""


def find(results: Path) -> list[tuple[Study, Path]]:
    """List the studies of `ablations/` that have records in a folder of results."""
    files = sorted(FOLDER.glob("*.toml"), key=lambda path: path.stem)
    return [(studies.load(path), results) for path in files if any((results / path.stem).glob("*.jsonl"))]


def _answer(facts: StudyFacts) -> str:
    """Answer the question; where no net trained, that is said before all."""
    return " ".join([*prose.untrained(facts.findings), prose.answer(facts.study, facts.findings.claims)]).strip()


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
    origin = (provenance.origin(frames), provenance.recipe(frames.runs), provenance.nets(frames.runs))
    return [shorten(table) for table in origin]


def _method(facts: StudyFacts) -> list[str]:
    """Explain what is measured and how it is judged, as far as this page needs it."""
    margin, agreed = facts.study.flat_within_pct, len(facts.findings.agreements) > 0
    paragraphs = [ERRORS]
    if agreed:
        paragraphs.append(AGREEMENTS.format(within=margin))
    if len(facts.findings.drift):
        paragraphs.append(DRIFT)
    if facts.several_depths or not agreed:
        paragraphs.append(DIFFERENCES.format(within=margin, points=count(margin, "point")))
    paragraphs.append(FAILURES.format(above=facts.study.fails_above_pct))
    judged = (facts.findings.trends, facts.findings.comparisons, facts.findings.claims)
    if any(table["verdict"].isin(VOID).any() for table in judged):
        paragraphs.append(LEARNING.format(points=count(margin, "point")))
    return paragraphs


def _data(facts: StudyFacts) -> Mapping[str, pd.DataFrame]:
    tables = {
        "runs": facts.frames.runs.drop(columns=["stages", "notes", "chance_pct"]),
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
