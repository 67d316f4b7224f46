"""Every kind of page, and what a command prints of those that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeptwins.cli.console import print_table, say

if TYPE_CHECKING:
    from deeptwins.pages.page import PageSpec, Written

PAGES = {
    "study": "deeptwins.pages.study.page",
    "kernels": "deeptwins.pages.kernels.page",
    "profile": "deeptwins.pages.profile.page",
    "throughput": "deeptwins.pages.throughput.page",
    "choices": "deeptwins.pages.choices.page",
    "performance": "deeptwins.gate.page.page",
}
"""By kind, the module that declares the page as its `PAGE`. It is loaded by the command that needs it."""

Source = tuple[str, Sequence[object]]  # a kind of page, and the arguments of its `load`


def spec_of(kind: str) -> PageSpec[Any]:
    """Load the declaration of a kind of page."""
    spec: PageSpec[Any] = import_module(PAGES[kind]).PAGE
    return spec


def publish(kind: str, reports: Path, *sources: Sequence[object], others: Sequence[Source] = ()) -> list[Written[Any]]:
    """Write pages of one kind and print them, then the list of all pages.

    Args:
        kind: of `PAGES`.
        reports: the folder of all pages.
        sources: the arguments of the kind's `load`, once per page.
        others: pages of other kinds to write too, of which only the place is printed.

    Raises:
        InputError: a page cannot be made or written.
    """
    from deeptwins.pages.page import write

    pages = []
    for source in sources:
        pages.append(write(spec_of(kind), reports, *source))
        print_page(pages[-1])
    for other, source in others:
        say(write(spec_of(other), reports, *source).page)
    print_index(reports)
    return pages


def sources(results: Path, *without: str) -> list[Source]:
    """List what a folder of results has for pages, in the order of `PAGES`, but for some kinds."""
    return [(kind, source) for kind in PAGES if kind not in without for source in spec_of(kind).find(results)]


def print_page(written: Written[Any]) -> None:
    """Print the tables of a page, what it says, and where it is."""
    for table in written.tables:
        say(f"{table.caption}:")
        rows = [tuple(head.upper() for head in table.columns), *map(tuple, table.rows)]
        print_table(rows, right=range(table.words, len(table.columns)))
        say()
    for line in (*written.lines, written.page):
        say(line)


def print_index(reports: Path) -> None:
    """Write the list of all pages, and say where it is."""
    from deeptwins.pages.page import write_index

    say(f"all reports: {write_index(reports)}")
