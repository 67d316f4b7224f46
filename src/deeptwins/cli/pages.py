"""Every kind of page, and what a command prints of those that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deeptwins.cli.console import ABLATIONS, BAD_INPUT, print_table, refuse, say, tell, wrap
from deeptwins.errors import InputError
from deeptwins.pages.wording import count
from deeptwins.system import signals

if TYPE_CHECKING:
    from deeptwins.pages.page import PageSpec, Written
    from deeptwins.study import Study

PAGES = {
    "study": "deeptwins.pages.study.page",
    "diff": "deeptwins.pages.diff.page",
    "kernels": "deeptwins.pages.kernels.page",
    "profile": "deeptwins.pages.profile.page",
    "throughput": "deeptwins.pages.throughput.page",
    "choices": "deeptwins.pages.choices.page",
    "performance": "deeptwins.gate.page.page",
}
"""By kind, the module that declares the page as its `PAGE`. It is loaded by the command that needs it."""

Source = tuple[str, Sequence[object]]  # a kind of page, and the arguments of its `load`


def plain_strings() -> None:
    """Keep the strings of tables as Python's: of tens of rows, Arrow's take longer."""
    import pandas as pd

    pd.set_option("mode.string_storage", "python")


def spec_of(kind: str) -> PageSpec[Any]:
    """Load the declaration of a kind of page."""
    spec: PageSpec[Any] = import_module(PAGES[kind]).PAGE
    return spec


def publish(
    kind: str,
    reports: Path,
    *sources: Sequence[object],
    others: Sequence[Source] = (),
    forms: Sequence[str] = (),
) -> list[Written[Any]]:
    """Write pages of one kind and print them, then the list of all pages.

    What keeps a page from being made is said, and keeps no other from it.

    Args:
        kind: of `PAGES`.
        reports: the folder of all pages.
        sources: the arguments of the kind's `load`, once per page.
        others: pages of other kinds to write too, of which only the place is printed.
        forms: in which their figures are written for a paper, with their tables.

    Raises:
        InputError: the folder of pages cannot be written.
        typer.Exit: a page could not be made.
    """
    from deeptwins.pages.page import UnwritableError, write

    plain_strings()
    pages: list[Written[Any]] = []
    written: list[tuple[str, Written[Any]]] = []
    planned = [(kind, source) for source in sources] + list(others)
    for place, (of, source) in enumerate(planned):
        try:
            page = write(spec_of(of), reports, *source, forms=forms)
        except UnwritableError:
            raise
        except InputError as error:
            refuse(error)
            continue
        written.append((of, page))
        if place < len(sources):
            pages.append(page)
            print_page(page)
        else:
            say(page.page)
    index = print_index(reports) if written else None
    tell(lambda: {"pages": [_described(of, page) for of, page in written], "index": index})
    if len(written) < len(planned):
        raise typer.Exit(BAD_INPUT)
    return pages


def sources(results: Path, *without: str) -> list[Source]:
    """List what a folder of results has for pages, in the order of `PAGES`, but for some kinds."""
    return [(kind, source) for kind in PAGES if kind not in without for source in spec_of(kind).find(results)]


def with_results(results: Path) -> list[str]:
    """Name the studies that have results, but for those that no name finds: they are said to be left out."""
    from deeptwins.study import known, where

    there = [name for name in known(ABLATIONS) if any((results / name).glob("*.jsonl"))]
    for name in sorted({path.parent.name for path in results.glob("*/*.jsonl")} - {*there}):
        say(f"{name}: left out, its study is not in {where(ABLATIONS)}; name its .toml file", err=True)
    return there


def print_page(written: Written[Any]) -> None:
    """Print the tables of a page, what it says, and where it is."""
    for table in written.tables:
        say(f"{table.caption}:")
        rows = [tuple(head.upper() for head in table.columns), *map(tuple, table.rows)]
        print_table(rows, right=range(table.words, len(table.columns)))
        say()
    for line in written.lines:
        wrap(line)
    say(written.page)


def watch_pages(studies: Sequence[Study], results: Path, reports: Path) -> list[Study]:
    """Write pages of studies as records come, until all runs are over; returns the studies as they are then.

    Raises:
        InputError: the folder of pages cannot be written.
        typer.Exit: it was interrupted before.
    """
    from deeptwins.findings.following import Watched, follow
    from deeptwins.pages.study.watching import Renewed

    plain_strings()
    pages = [Renewed(results, reports) for _ in studies]
    watched = [Watched(study, results) for study in studies]
    wrap(f"watching {results}, into {reports}; Ctrl-C ends it")
    try:
        with signals.interruptible():
            follow([(one, page.renew) for one, page in zip(watched, pages, strict=True)], refuse, say_edited)
    except KeyboardInterrupt:
        for page in pages:
            page.settle()
        over, asked = (sum(getattr(one, key) for one in watched) for key in ("finished", "asked"))
        wrap(f"interrupted; {over} of {count(asked, 'run')} are over; the same command goes on")
        raise typer.Exit(signals.INTERRUPTED) from None
    return [one.study for one in watched]


def say_edited(study: Study) -> None:
    """Say that a study is followed as its file is now."""
    wrap(f"{study.path} has changed and is read anew: {count(len(study.runs), 'run')}")


def _described(kind: str, written: Written[Any]) -> dict[str, Any]:
    """Tell of a page what a program may want to know; of a study, how its claims turned out."""
    spec, facts = spec_of(kind), written.facts
    told: dict[str, Any] = {"kind": kind, "name": written.page.parent.name, "question": spec.question(facts)}
    told |= {"answer": spec.answer(facts), "verdict": spec.verdict(facts)}
    told |= {"page": written.page, "markdown": written.page.with_name("report.md")}
    if kind != "study":
        return told
    asked, claims = facts.frames.asked, facts.findings.claims.to_dict("records")
    told |= {"runs": asked, "finished": asked - facts.frames.missing}
    return told | {"contradicted": facts.contradicted, "claims": claims}


def print_index(reports: Path) -> Path:
    """Write the list of all pages, say where it is, and return that."""
    from deeptwins.pages.listing import write_index

    index = write_index(reports)
    say(f"all reports: {index}")
    return index
