"""The command `deeptwins diff`: two sources of results side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptwins.cli.console import CONTRADICTED, REPORTS, RESULTS, beginning, stoppable, tell, width
from deeptwins.cli.options import AsJson, Reports, complete_study, results_option
from deeptwins.cli.pages import print_index, print_page, spec_of

if TYPE_CHECKING:
    from deeptwins.pages.diff.facts import DiffFacts
    from deeptwins.pages.diff.sources import DiffSide
    from deeptwins.pages.page import Written

SourceA = Annotated[
    str, typer.Argument(metavar="A", autocompletion=complete_study, help="STUDY[@WHERE][+recipe.KEY=VALUE...]")
]
SourceB = Annotated[
    str, typer.Argument(metavar="B", autocompletion=complete_study, help="The other side, named in the same way.")
]
RecordsOfSides = Annotated[Path, results_option("Where records lie, for a side without @WHERE.")]
StrictDiff = Annotated[bool, typer.Option("--strict", help="Exit with 3 when a training or test error is apart.")]


def diff(  # noqa: PLR0913  every option is a parameter
    a: SourceA,
    b: SourceB,
    *,
    results: RecordsOfSides = RESULTS,
    reports: Reports = REPORTS,
    strict: StrictDiff = False,
    as_json: AsJson = False,  # noqa: ARG001  see `tell`
) -> None:
    """Set two studies, folders of results or commits side by side.

    Tells which fields differ; for every net that both sides have, whether its numbers are the same to the bit, within
    seeds, or apart; and how trends, differences and claims compare. Writes a page of it.

    STUDY is a name or a .toml file. @WHERE is a folder of results or else a git commit, of which the study and
    results/reference are read. +recipe.KEY=VALUE is the setting that a run was given by --set.

    \b
    Examples:
      deeptwins diff depth budget
      deeptwins diff depth depth+recipe.shift=0
      deeptwins diff depth depth@results/reference
      deeptwins diff depth@HEAD~50 depth@results/reference
    """  # noqa: D301
    beginning(f"reading {a} and {b}")
    from deeptwins.pages.diff import text
    from deeptwins.pages.page import write

    with stoppable():  # so that what a commit has, written aside, is removed
        written: Written[DiffFacts] = write(spec_of("diff"), reports, a, b, results)
    print_page(replace(written, lines=tuple(text.lines(written.facts, width()))))
    print_index(reports)
    tell(lambda: _content(written))
    if strict and written.facts.apart:
        raise typer.Exit(CONTRADICTED)


def _content(written: Written[DiffFacts]) -> dict[str, Any]:
    """Tell all that is set side by side; what is no number is null."""
    spec, facts = spec_of("diff"), written.facts
    sides = {
        letter.lower(): {"source": side.name, "records": side.where, "commits": _commits(side)}
        for letter, side in facts.sides
    }
    tables = {
        name: table.to_dict("records") for name, table in {**spec.data(facts), "unpaired": facts.found.unpaired}.items()
    }
    counts = {result: count for result, count in facts.counts.items() if count}
    return {
        **sides,
        "answer": spec.answer(facts),
        "counts": counts,
        "apart": facts.apart,
        "cautions": spec.cautions(facts),
        **tables,
        "page": str(written.page),
    }


def _commits(side: DiffSide) -> list[str]:
    """Name the commits that trained the runs of a side."""
    return [str(commit) for commit in side.facts.frames.machines["commit"].dropna().unique()]
