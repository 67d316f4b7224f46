"""The page of a diff, `reports/diff-<A>-<B>/`: two sources side by side."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping

import pandas as pd

from deeptwins.findings.contrast import OPEN, SAME
from deeptwins.pages.diff import figures, tables, words
from deeptwins.pages.diff.facts import SHOWN, DiffFacts, load
from deeptwins.pages.page import Commands, Number, PageSpec, Section
from deeptwins.pages.study import provenance
from deeptwins.pages.wording import count, listed

GROUP = "Comparisons"
LONGEST = 80  # characters of a folder's name


def _name(facts: DiffFacts) -> str:
    """Name the folder: `diff-depth-budget`."""
    text = f"{facts.a.name}-{facts.b.name}".replace("recipe.", "")
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-")[:LONGEST]
    if slug != text:  # then two texts may have the same slug
        slug += "-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"diff-{slug}"


def _numbers(facts: DiffFacts) -> list[Number]:
    """Give each twin the net of which the two sides differ most; none where all are the same."""
    if (facts.headline["result"] == SAME).all():
        return []
    numbers = []
    for twin, nets in facts.headline.groupby("twin", sort=False):
        judged = nets[nets["result"] != OPEN]
        row = tables.furthest(judged if len(judged) else nets)
        a, b, difference = tables.errors(row)
        value = SAME if (nets["result"] == SAME).all() else f"{difference} points"
        place = tables.net(row).removeprefix(f"{twin} of ")
        note = f"training error of {place}: {a} % in A, {b} % in B"
        numbers.append(Number(str(twin), value if len(judged) else tables.result(row, facts.found), note))
    return numbers


def _sections(facts: DiffFacts) -> list[Section]:
    """Lay out the page; what neither side has is left out."""
    found = facts.found
    errors = [tables.nets(found, metric) for metric in SHOWN]
    pictures = [figures.errors(found)]
    if (facts.headline["result"] != SAME).any():
        pictures.append(figures.differences(found))
    fields, claims = tables.fields(facts), tables.claims(facts)
    sections = [
        Section("Net by net", tuple(pictures), tuple(table for table in errors if table.rows)),
        Section(
            "Fields that differ",
            tables=(tables.two_sided(fields, "Fields of the studies, their nets and recipes", "field"),),
        ),
        Section(
            "Questions and claims",
            tables=(tables.answers(facts), tables.two_sided(claims, "What became of each claim", "claim")),
        ),
        Section("Trends over depth", tables=(tables.trends(found),)),
        Section("Differences between the twins", tables=(tables.effects(found),)),
        Section("Number by number", tables=(tables.numbers(found),), folded=True),
        Section("Only on one side", tables=(tables.unpaired(found),), folded=True),
    ]
    return [section for section in sections if any(table.rows for table in section.tables)]


def _data(facts: DiffFacts) -> Mapping[str, pd.DataFrame]:
    found = facts.found
    unpaired = found.unpaired
    if len(unpaired):
        unpaired = unpaired.assign(seeds=[" ".join(map(str, seeds)) for seeds in unpaired["seeds"]])
    return {
        "nets": found.nets,
        "errors": found.errors,
        "fields": tables.frame(tables.fields(facts), "field"),
        "claims": tables.frame(tables.claims(facts), "claim"),
        "trends": found.trends,
        "effects": found.effects,
        "numbers": found.numbers,
        "unpaired": unpaired,
    }


def command(facts: DiffFacts) -> str:
    """Write the command that makes the page again."""
    results = [] if all("@" in side.name for _, side in facts.sides) else ["--results", str(facts.results)]
    return shlex.join(["deeptwins", "diff", facts.a.name, facts.b.name, *results])


def _dates(facts: DiffFacts) -> str:
    days = [provenance.dates(side.facts.frames.runs) for _, side in facts.sides]
    return listed(dict.fromkeys(filter(None, days))) if any(days) else ""


PAGE = PageSpec(
    load=load,
    name=_name,
    group=lambda _: GROUP,
    question=lambda facts: f"What differs between {facts.a.name} (A) and {facts.b.name} (B)?",
    answer=words.answer,
    numbers=_numbers,
    verdict=words.verdict,
    cautions=words.cautions,
    sections=_sections,
    origin=lambda facts: [tables.origin(facts)],
    method=words.method,
    commands=lambda facts: Commands("With deeptwins installed:", (command(facts),)),
    data=_data,
    size=lambda facts: f"{count(len(facts.headline), 'net')} of both, {words.seeds(facts)}",
    cost=lambda facts: "; ".join(f"{letter}: {provenance.spent(side.facts.frames)}" for letter, side in facts.sides),
    date=_dates,
)
