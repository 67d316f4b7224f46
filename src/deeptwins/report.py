"""From a study's records to its page: `reports/<study>/index.html`, `report.md`, the figures, the data behind them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from deeptwins import figures, findings, frames, pages, prose, tables
from deeptwins.errors import InputError
from deeptwins.findings import Findings
from deeptwins.frames import Frames
from deeptwins.pages import Page, Picture, Section, illustrate
from deeptwins.study import FOLDER, Study

ERRORS = """
Training error (train_error_pct) is measured in evaluation mode on the whole training set without augmentation, after
the last iteration; running training error (running_error_pct) is averaged over the last epoch as trained, augmented,
the weights moving; test error (test_error_pct) is that of the last iteration, never the best.
"""
VERDICTS = """
Intervals are Student's t over seeds, 95 %; differences are paired by seed. A trend rises or falls where the interval of
deepest minus shallowest excludes 0 and, from three depths on, Page's trend test agrees (p < 0.05); it is flat where
that interval lies between -{flat:g} and +{flat:g} points; else it is inconclusive, as it is with one seed.
"""
AGREEMENTS = """
Two twins agree in an error where the 95 % interval of its difference (Student's t, paired by seed) lies between
-{within:g} and +{within:g} points; they differ where it does not and excludes 0; else it is inconclusive, as it is with
one seed. A loss trace is the running loss (running_loss, averaged over the batches since the last evaluation). Drift is
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
    found = findings.derive(study, data)
    verdict = prose.verdicts(study, data, found)
    behind = {"runs": data.runs} | {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    page = Page(
        name=_folder(study),
        question=study.question,
        source=study.source,
        verdict=verdict,
        remarks=prose.remarks(study, data, found.final),
        sections=_sections(study, data, found),
        runs=f"{data.asked - data.missing} of {data.asked} runs finished",
        data=behind,
    )
    folder = pages.write(page, reports)
    return Report(
        verdict=" ".join(verdict),
        claims=tuple(f"{group}: {claim}: {result}" for group, claim, _, result, _ in tables.claims(found.claims).rows),
        contradicted=bool((found.claims["result"] == "contradicted").any()),
        page=folder / "index.html",
        markdown=folder / "report.md",
    )


def _sections(study: Study, data: Frames, found: Findings) -> list[Section]:
    """Lay out the page; what the records have nothing to say about is left out."""
    agreed, paper = len(found.agreements) > 0, found.against_paper
    depths = bool((found.trends["depths"] > 1).any())  # nothing can be drawn against a single depth
    return [
        *([_agreement(found)] if agreed else []),
        *([Section("Training error against depth", (_errors(found),))] if depths else []),
        Section("Learning curves", (_curves(found),)),
        *([_gap(found, drawn=depths)] if len(found.gaps) and (depths or not agreed) else []),
        *([Section("Layer responses", (_responses(found),))] if len(found.responses) else []),
        *([Section("What the study claims", tables=(tables.claims(found.claims),))] if study.expect else []),
        *([Section("Against the paper", tables=(tables.paper(paper),))] if len(paper) else []),
        *([Section("Trends", tables=(tables.trends(found.trends),))] if depths else []),
        Section("All errors", tables=(tables.errors(found.by_depth),)),
        Section("What it cost", tables=(tables.cost(found.cost),)),
        Section(
            "Provenance",
            tables=(tables.provenance(data), tables.recipe(data.runs), tables.nets(data.runs)),
            paragraphs=(
                ERRORS,
                *([AGREEMENTS.format(within=study.flat_within_pct)] if agreed else []),
                *([VERDICTS.format(flat=study.flat_within_pct)] if depths or not agreed else []),
            ),
        ),
        _reproduce(study, data),
    ]


def _agreement(found: Findings) -> Section:
    """Show how far twins that are claimed to agree do so; where nothing drifts there is nothing to draw."""
    agreements, title = tables.agreements(found.agreements), "Agreement of the twins"
    if found.drift.empty:
        return Section(title, tables=(agreements,))
    if not found.drift["largest"].any():
        same = "At every evaluation the loss traces of these twins are identical to the last bit."
        return Section(title, tables=(agreements,), paragraphs=(same,))
    return Section(title, (_drift(found),), (agreements, tables.drift(found.drift)))


def _gap(found: Findings, *, drawn: bool) -> Section:
    return Section("Gap between the twins", (_gaps(found),) if drawn else (), (tables.gaps(found.gaps),))


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
    return illustrate("drift", caption, prose.alt_drift(found.drift), figures.drift(found.drift, found.final))


def _errors(found: Findings) -> Picture:
    caption = "Mean over seeds; bars are 95 % intervals, dots single seeds. Evaluation mode, no augmentation."
    figure = figures.error_by_depth(found.by_depth, found.final)
    return illustrate("error-by-depth", caption, prose.alt_errors(found.by_depth), figure)


def _curves(found: Findings) -> Picture:
    caption = "Error in evaluation mode, mean over seeds: training thin and dashed, test bold."
    figure = figures.learning_curves(found.curves)
    return illustrate("learning-curves", caption, prose.alt_curves(found.curves), figure)


def _gaps(found: Findings) -> Picture:
    caption = "Difference in training error between twins of the same seed; bars are 95 % intervals."
    return illustrate("gap-by-depth", caption, prose.alt_gaps(found.gaps), figures.gap_by_depth(found.gaps))


def _responses(found: Findings) -> Picture:
    caption = "Outputs of each 3x3 layer, after batch normalization, before addition and ReLU; mean over seeds."
    figure = figures.layer_responses(found.responses)
    return illustrate("layer-responses", caption, prose.alt_responses(found.responses), figure)
