"""The list of all pages, `<reports>/index.html` and `index.md`, and the links from page to page in its order."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from deeptwins.errors import InputError, escaped
from deeptwins.pages import saving
from deeptwins.pages.page import HTML, KEPT, LISTED, MARKDOWN, writable
from deeptwins.study import order
from deeptwins.study.files import OWN
from deeptwins.system import disk, regular

LARGEST = 2**20  # bytes of a summary


def write_index(reports: Path) -> Path:
    """Write the list of the pages in a folder, and into each page links to those before and after it.

    Raises:
        InputError: a page's summary is damaged; the others are listed.
        UnwritableError: the folder cannot be written.
    """
    listed, damaged = [], []
    for path in sorted(reports.glob("[!.]*/summary.json")):
        try:
            listed.append({"name": path.parent.name} | _listed(json.loads(regular.read(path, LARGEST))))
        except (OSError, ValueError, TypeError, KeyError):
            damaged.append(path)
    listed.sort(key=lambda page: order(page["group"], page["name"]))
    groups = [(group, [*pages]) for group, pages in groupby(listed, itemgetter("group"))]
    with writable(reports):
        reports.mkdir(parents=True, exist_ok=True)
        saving.amend(reports, _neighbours([page["name"] for page in listed]))
        for environment, name in ((MARKDOWN, "index.md"), (HTML, saving.INDEX)):
            text = environment.get_template(f"{name}.j2").render(groups=groups)
            disk.replace(reports / name, escaped(text, kept=KEPT).encode())
    if damaged:
        raise InputError(f"{damaged[0]}: not a report's summary; write the report again, or delete its folder")
    return reports / saving.INDEX


def _listed(summary: Any) -> dict[str, str]:  # noqa: ANN401 - whatever JSON has
    """Return what the list of pages shows of a summary; those of older pages name no group.

    Raises:
        KeyError, TypeError: it is none.
    """
    listed = {key: {"group": OWN, **summary}[key] for key in LISTED}
    if not all(isinstance(text, str) for text in listed.values()):
        raise TypeError
    return listed


def _neighbours(names: list[str]) -> dict[str, Callable[[str], str]]:
    """For each page, by name, return what puts the links to the pages before and after it into its text."""
    template = HTML.get_template("nav.html.j2")

    def linked(before: str | None, after: str | None) -> Callable[[str], str]:
        nav = escaped(template.render(before=before, after=after), kept=KEPT)
        return lambda text: saving.NAV.sub(lambda _: nav, text, count=1)

    around = zip([None, *names], names, [*names[1:], None], strict=False)
    return {name: linked(before, after) for before, name, after in around}
