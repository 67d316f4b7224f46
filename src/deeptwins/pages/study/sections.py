"""The sections of a study's page: a line of `SECTIONS`, or of `FOLDED`, for each.

It has a function of the facts that returns what is in the section.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from deeptwins.pages.drawing import Picture
from deeptwins.pages.page import Section
from deeptwins.pages.study import diagram, figures, provenance, tables
from deeptwins.pages.study.facts import StudyFacts
from deeptwins.pages.study.inside import figures as inside_figures
from deeptwins.pages.study.inside import words as inside_words
from deeptwins.pages.tables import Table

SectionPart = Picture | Table | str  # a string is a paragraph


def sections(facts: StudyFacts) -> list[Section]:
    """Lay out the page; a section that the records have nothing to say about is left out."""
    every = [(line, False) for line in SECTIONS] + [(line, True) for line in FOLDED]
    contents = [(title, [*content(facts)], folded) for (title, content), folded in every]
    return [section(title, parts, folded=folded) for title, parts, folded in contents if parts]


def section(title: str, parts: Iterable[SectionPart], *, folded: bool = False) -> Section:
    """Make a section of a study's page."""
    parts = list(parts)
    return Section(
        title,
        pictures=tuple(part for part in parts if isinstance(part, Picture)),
        tables=tuple(part for part in parts if isinstance(part, Table)),
        paragraphs=tuple(part for part in parts if isinstance(part, str)),
        folded=folded,
    )


def _agreement(facts: StudyFacts) -> list[SectionPart]:
    """Show how far twins that are claimed to agree do so; where nothing drifts there is nothing to draw."""
    findings = facts.findings
    if findings.agreements.empty:
        return []
    agreements = tables.agreements(findings.agreements, facts.study.flat_within_pct)
    if findings.drift.empty:
        return [agreements]
    if not findings.drift["largest"].any():
        return [agreements, "The loss traces of these twins are identical to the last bit at every evaluation."]
    return [figures.drift(findings.drift, findings.final), agreements, tables.drift(findings.drift)]


def _errors_by_twin(facts: StudyFacts) -> list[SectionPart]:
    """Draw the errors of twins that are compared, where there is no depth to draw against."""
    if facts.several_depths or not facts.compared:
        return []
    return [figures.errors_by_twin(facts.findings.by_depth, facts.findings.final)]


def _differences(facts: StudyFacts) -> list[SectionPart]:
    """Compare twins; drawn over depth are the differences from the study's first twin."""
    if not facts.compared:
        return []
    table = facts.findings.comparisons
    pictures = [figures.gap_by_twin(table, facts.findings.final)]
    if facts.several_depths:
        drawn = table[table["other"] == next(iter(facts.study.twins))]
        pictures = [figures.gap_by_depth(drawn)] if len(drawn) else []
    return [*pictures, tables.comparisons(table, facts.study.flat_within_pct)]


def _gradients(facts: StudyFacts) -> list[SectionPart]:
    """Show the gradients of the layers, and say whether they vanish or explode."""
    if facts.inside.gradients.empty:
        return []
    flow = facts.inside.gradient_flow
    sentences = [*inside_words.flow(flow), *inside_words.closed(flow)]
    return [inside_figures.gradients(facts.inside), inside_words.flows(flow), *sentences]


def _running_statistics(facts: StudyFacts) -> list[SectionPart]:
    """Show how far running statistics lie from precise ones, and what that does to the test error."""
    if facts.inside.running_statistics.empty:
        return []
    return [inside_figures.running_statistics(facts.inside), *_filled(inside_words.precise(facts.inside.precise))]


def _filled(*some: Table) -> list[Table]:
    """Leave out tables without a row."""
    return [table for table in some if table.rows]


Line = tuple[str, Callable[[StudyFacts], Iterable[SectionPart]]]
SECTIONS: tuple[Line, ...] = (
    ("Agreement of the twins", _agreement),
    (
        "Training error against depth",
        lambda facts: (
            [figures.error_by_depth(facts.findings.by_depth, facts.findings.final)] if facts.several_depths else []
        ),
    ),
    ("Errors of the twins", _errors_by_twin),
    ("What the study claims", lambda facts: [tables.claims(facts.findings.claims)] if facts.study.expect else []),
    (
        "Against the paper",
        lambda facts: _filled(
            tables.paper(facts.findings.against_paper), tables.across_scales(facts.findings.across_scales)
        ),
    ),
    ("Learning curves", lambda facts: [figures.learning_curves(facts.findings.curves)]),
    ("Differences between the twins", _differences),
    (
        "Layer responses",
        lambda facts: [inside_figures.layer_responses(facts.inside)] if len(facts.inside.responses) else [],
    ),
    ("Gradients", _gradients),
    ("Residual branches", lambda facts: [inside_figures.branches(facts.inside)] if len(facts.inside.branches) else []),
    ("Statistics of batch normalization", _running_statistics),
    ("Growth", lambda facts: _filled(tables.growth(facts.findings.growth))),
)
"""The title of each section, and its content: pictures, tables, then paragraphs. In the order of the page.

The first picture stands beside the answer.
"""
FOLDED: tuple[Line, ...] = (
    ("The nets", lambda facts: [diagram.draw(nets)] if (nets := diagram.deepest(facts.frames.runs)) else []),
    (
        "Trends",
        lambda facts: (
            [tables.trends(facts.findings.trends, facts.study.flat_within_pct)] if facts.several_depths else []
        ),
    ),
    ("All errors", lambda facts: [tables.errors(facts.findings.by_depth, facts.study.fails_above_pct)]),
    ("Single runs", lambda facts: [provenance.single_runs(facts.findings.final, facts.frames.machines)]),
    ("What it cost", lambda facts: [provenance.cost(facts.findings.cost)]),
)
"""Those that are shown on demand, behind the others."""
