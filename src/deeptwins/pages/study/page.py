"""From a study's records to its page: `reports/<study>/index.html`, `report.md`, the figures, the data behind them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deeptwins.errors import InputError
from deeptwins.findings import derive, frames
from deeptwins.findings import inside as diagnostic_findings
from deeptwins.findings.derive import Findings
from deeptwins.findings.frames import Frames
from deeptwins.findings.inside import Inside
from deeptwins.pages import page as pages
from deeptwins.pages.drawing import Picture
from deeptwins.pages.page import Page, Section, illustrate
from deeptwins.pages.study import descriptions, diagram, figures, prose, provenance, remarks, tables
from deeptwins.pages.study.inside import sections
from deeptwins.pages.study.inside import words as diagnostic_prose
from deeptwins.pages.tables import shorten
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


@dataclass(frozen=True)
class Report:
    """What a command has to say about the page that it wrote."""

    verdict: str
    claims: tuple[str, ...]
    """One line a claim: `family: claim: result`."""
    contradicted: bool
    page: Path
    markdown: Path


def write(study: Study, results: Path, reports: Path) -> Report:
    """Write the report of a study from its records. Same records, same bytes.

    Raises:
        InputError: there are no finished runs, a record is damaged, or the folder cannot be written.
    """
    data = frames.load(study, results)
    if data.epochs.empty:
        raise InputError(f"{results / study.name}: no run has finished yet; go on with `deeptwins run {_words(study)}`")
    found = derive.derive(study, data)
    verdict = prose.verdicts(study, data, found)
    inside = diagnostic_findings.derive(data)
    if flow := [claim.twin for claim in study.expect if claim.gradients]:
        told = inside.gradient_flow[inside.gradient_flow["twin"].isin(flow)]
        verdict[1:1] = diagnostic_prose.flow(told)  # right behind the answer
    behind = {"runs": data.runs.drop(columns="stages"), "machines": data.machines}
    for part in (found, inside):
        behind |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    page = Page(
        answer=prose.answer(study, found.claims),
        cost=provenance.spent(data),
        date=provenance.dates(data.runs),
        name=_folder(study),
        question=study.question,
        source=study.source,
        verdict=verdict,
        remarks=remarks.remarks(study, data, found),
        sections=[_shortened(section) for section in _sections(study, data, found, inside)],
        runs=f"{data.asked - data.missing} of {data.asked} runs finished",
        data=behind,
    )
    folder = pages.save(page, reports)
    return Report(
        verdict=" ".join(verdict),
        claims=tuple(f"{group}: {claim}: {result}" for group, claim, _, result, _ in tables.claims(found.claims).rows),
        contradicted=bool((found.claims["result"] == "contradicted").any()),
        page=folder / "index.html",
        markdown=folder / "report.md",
    )


def _sections(study: Study, data: Frames, found: Findings, inside: Inside) -> list[Section]:
    """Lay out the page; what the records have nothing to say about is left out."""
    margin = study.flat_within_pct
    agreed = len(found.agreements) > 0
    depths = bool((found.trends["depths"] > 1).any())  # nothing can be drawn against a single depth
    compared = [_compared(study, found, depths=depths)] if _beyond_agreement(found) else []
    return [
        *([_agreement(found, margin)] if agreed else []),
        *([Section("Training error against depth", (_errors(found),))] if depths else compared),
        Section("Learning curves", (_curves(found),)),
        *(compared if depths else []),
        *sections.sections(inside),
        *_nets(data),
        *([Section("Growth", tables=(tables.growth(found.growth),))] if len(found.growth) else []),
        *([Section("What the study claims", tables=(tables.claims(found.claims),))] if study.expect else []),
        *_published(found),
        *([Section("Trends", tables=(tables.trends(found.trends, margin),))] if depths else []),
        Section("All errors", tables=(tables.errors(found.by_depth),)),
        Section("What it cost", tables=(provenance.cost(found.cost),)),
        Section(
            "Provenance",
            tables=(provenance.origin(data), provenance.recipe(data.runs), provenance.nets(data.runs)),
            paragraphs=(
                ERRORS,
                *([AGREEMENTS.format(within=margin)] if agreed else []),
                *([DRIFT] if len(found.drift) else []),
                *([DIFFERENCES.format(within=margin, points=count(margin, "point"))] if depths or not agreed else []),
                FAILURES.format(above=study.fails_above_pct),
            ),
        ),
        _reproduce(study, data),
    ]


def _shortened(section: Section) -> Section:
    """Say once what all rows of a table say."""
    return dataclasses.replace(section, tables=tuple(map(shorten, section.tables)))


def _nets(data: Frames) -> list[Section]:
    """Draw the deepest nets."""
    nets = diagram.deepest(data.runs)
    if not nets:
        return []
    caption = "The deepest nets; a box is a block, below a stage is its output."
    if any(net.around for net in nets):
        caption += " Dashed shortcuts change the shape."
    if any(stage.get("added") for net in nets for stage in net.stages):
        caption += " The last box of a stage stands for the blocks that were added when the net was grown."
    return [Section("The nets", (illustrate("nets", caption, diagram.alt(nets), diagram.draw(nets)),))]


def _beyond_agreement(found: Findings) -> bool:
    """Tell whether twins are compared that no claim says agree."""
    compared, agreed = (
        {(row["group"], row["depth"], frozenset((row["twin"], row["other"]))) for row in table.to_dict("records")}
        for table in (found.comparisons, found.agreements)
    )
    return not compared <= agreed


def _published(found: Findings) -> list[Section]:
    """Set published values beside ours, those of our data and those of other data."""
    parts = [tables.paper(found.against_paper)] if len(found.against_paper) else []
    parts += [tables.across_scales(found.across_scales)] if len(found.across_scales) else []
    return [Section("Against the paper", tables=tuple(parts))] if parts else []


def _compared(study: Study, found: Findings, *, depths: bool) -> Section:
    """Show how twins differ: against depth, or, of a single one, error by error."""
    drawn = found.comparisons[found.comparisons["other"] == next(iter(study.twins))]
    pictures = ((_gaps(drawn),) if len(drawn) else ()) if depths else (_by_twin(found),)
    return Section(
        "Differences between the twins", pictures, (tables.comparisons(found.comparisons, study.flat_within_pct),)
    )


def _agreement(found: Findings, margin: float) -> Section:
    """Show how far twins that are claimed to agree do so; where nothing drifts there is nothing to draw."""
    agreements, title = tables.agreements(found.agreements, margin), "Agreement of the twins"
    if found.drift.empty:
        return Section(title, tables=(agreements,))
    if not found.drift["largest"].any():
        same = "At every evaluation the loss traces of these twins are identical to the last bit."
        return Section(title, tables=(agreements,), paragraphs=(same,))
    return Section(title, (_drift(found),), (agreements, tables.drift(found.drift)))


def _reproduce(study: Study, data: Frames) -> Section:
    """Tell the commands that make this page."""
    seeds = int(data.runs["seed"].max()) + 1  # there may be records of more seeds than asked for
    if seeds > max(run.seed for run in study.runs) + 1:
        study = study.model_copy(update={"seeds": seeds})
    words = _words(study)
    commands = (f"deeptwins run {words}", f"deeptwins report {words}")
    if not _named(study):
        return Section("How to reproduce", paragraphs=("With deeptwins installed:",), commands=commands)
    told = "In a clone of the repository: the first line does what the others do, in its own environment."
    return Section("How to reproduce", paragraphs=(told,), commands=(f"tox -e ablate -- {words}", *commands))


def _named(study: Study) -> bool:
    """Tell whether the command line finds a study by its name alone."""
    return study.path.resolve() == (FOLDER / f"{study.name}.toml").resolve()


def _words(study: Study) -> str:
    """Return what to write after `deeptwins run` or `deeptwins report` to get this study, its settings and seeds."""
    words = [study.name if _named(study) else str(study.path)]
    words += [word for setting in study.settings for word in ("--set", setting)]
    return shlex.join(words if study.seeds is None else [*words, "--seeds", str(study.seeds)])


def _folder(study: Study) -> str:
    """Name the folder of the page: another recipe is another page, e.g. `depth-shift-0`; more seeds are not."""
    if not study.settings:
        return study.name
    text = "-".join(sorted({setting.removeprefix("recipe.").replace("=", "-", 1) for setting in study.settings}))
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-")[:60]
    if slug != text:  # then two texts may have the same slug
        slug += "-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{study.name}-{slug}"


def _drift(found: Findings) -> Picture:
    caption = "Lines are medians over seeds, bands reach to the largest; dashed, two seeds of one twin: chance alone."
    return illustrate("drift", caption, descriptions.drift(found.drift), figures.drift(found.drift, found.final))


def _errors(found: Findings) -> Picture:
    caption = "Mean over seeds; bars are 95 % intervals, dots single seeds. Evaluation mode, no augmentation."
    figure = figures.error_by_depth(found.by_depth, found.final)
    return illustrate("error-by-depth", caption, descriptions.errors(found.by_depth), figure)


def _curves(found: Findings) -> Picture:
    caption = "Error in evaluation mode, mean over seeds: training thin and dashed, test bold."
    figure = figures.learning_curves(found.curves)
    return illustrate("learning-curves", caption, descriptions.curves(found.curves), figure)


def _gaps(comparisons: pd.DataFrame) -> Picture:
    caption = "Difference in training error between twins of the same seed; bars are 95 % intervals."
    return illustrate("gap-by-depth", caption, descriptions.gaps(comparisons), figures.gap_by_depth(comparisons))


def _by_twin(found: Findings) -> Picture:
    caption = "Mean over seeds, training filled and test hollow; bars are 95 % intervals, small dots single seeds."
    figure = figures.errors_by_twin(found.by_depth, found.final)
    return illustrate("error-by-twin", caption, descriptions.comparison(found.by_depth), figure)
