"""Pages from their parts: `<reports>/<name>/index.html`, `report.md`, figures, the data behind them; and their list."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from deeptwins.errors import InputError
from deeptwins.pages import drawing
from deeptwins.pages.tables import Table


@dataclass(frozen=True)
class Picture:
    """A figure on the page: the stem of its file, its caption, what it shows in words, its drawing."""

    name: str
    caption: str
    alt: str
    svg: Markup


@dataclass(frozen=True)
class Section:
    """A part of the page, in the order in which its fields stand here."""

    title: str
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    paragraphs: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """All that a page says; what stands in the list of pages, too, but for sections and data."""

    name: str
    """Of its folder."""
    question: str
    source: str
    verdict: Sequence[str]
    remarks: Sequence[str]
    sections: Sequence[Section]
    runs: str
    """How much of it there is, e.g. how many runs have finished."""
    data: Mapping[str, pd.DataFrame]
    """The tables behind it, by the stem of their file; those without a row are left out."""
    answer: str = ""
    """The verdict in a few words, for the list of pages."""
    cost: str = ""
    """What was spent on it, as measured."""
    date: str = ""


@dataclass(frozen=True)
class Written:
    """What a command has to say about the page that it wrote."""

    verdict: tuple[str, ...]
    tables: tuple[Table, ...]
    """A summary for a terminal."""
    page: Path


def write(page: Page, reports: Path) -> Path:
    """Write a page; returns its folder. The same parts give the same bytes, whatever page was there before.

    Raises:
        InputError: the folder cannot be written.
    """
    pictures = [picture for section in page.sections for picture in section.pictures]
    data = {name: table for name, table in page.data.items() if len(table)}
    first = pictures[0]
    summary = {key: getattr(page, key) for key in _TOLD} | {"figure": f"{first.name}.svg", "alt": first.alt}
    files = {f"{picture.name}.svg": str(picture.svg) for picture in pictures}
    files |= {f"data/{name}.csv": table.to_csv(index=False, float_format="%.6g") for name, table in data.items()}
    files["summary.json"] = json.dumps(summary, indent=1) + "\n"
    files["report.md"] = _MARKDOWN.get_template("report.md.j2").render(page=page, data=list(data))
    files["index.html"] = _HTML.get_template("report.html.j2").render(page=page, data=list(data))
    folder = reports / page.name
    _save(folder, files, instead_of=("*.svg", "data/*.csv"))
    return folder


def write_index(reports: Path) -> Path:
    """Write `index.html`, the list of the reports in a folder.

    Raises:
        InputError: a report's summary is damaged, or the folder cannot be written.
    """
    studies = []
    for path in sorted(reports.glob("*/summary.json")):
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            studies.append({"name": path.parent.name} | {key: summary[key] for key in _SUMMARY})
        except (OSError, ValueError, TypeError, KeyError):
            raise InputError(f"{path}: not a report's summary; write the report again, or delete its folder") from None
    _save(reports, {"index.html": _HTML.get_template("index.html.j2").render(studies=studies)})
    return reports / "index.html"


def illustrate(name: str, caption: str, alt: str, figure: Figure) -> Picture:
    """Put a figure on the page."""
    return Picture(name, caption, alt, Markup(drawing.svg(figure, name, alt)))  # noqa: S704  `svg` escapes


def _save(folder: Path, files: dict[str, str], instead_of: Sequence[str] = ()) -> None:
    """Write all files beside their places, then put them there one by one: an interrupt leaves no half page.

    Args:
        folder: of the page.
        files: their text, by name.
        instead_of: patterns of names; what else has them goes.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".new-") as fresh:
            for name, text in files.items():
                path = Path(fresh, name)
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
            for name in files:
                (folder / name).parent.mkdir(exist_ok=True)
                Path(fresh, name).replace(folder / name)
        before = {path for pattern in instead_of for path in folder.glob(pattern)}
        for path in before - {folder / name for name in files}:
            path.unlink()
    except OSError as error:
        raise InputError(
            f"{folder}: {error.strerror}; make it writable, or choose another folder with --reports"
        ) from None


def _typeset(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    """Give numbers a true minus, and keep them and their unit on one line."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", re.sub(r"(?<![\w-])-(?=\d)", "\N{MINUS SIGN}", value))


def _escape_markdown(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    """Make text mean itself, on one line."""
    if isinstance(value, Markup):
        return value
    return re.sub(r"([\\`*_{}\[\]<>|#&~$])", r"\\\1", " ".join(str(value).split()))


_TEMPLATES: dict[str, Any] = {"loader": PackageLoader("deeptwins.pages"), "undefined": StrictUndefined}
_TEMPLATES |= dict.fromkeys(("trim_blocks", "lstrip_blocks", "keep_trailing_newline"), True)
_HTML = Environment(autoescape=True, finalize=_typeset, **_TEMPLATES)
_MARKDOWN = Environment(autoescape=False, finalize=_escape_markdown, **_TEMPLATES)  # noqa: S701  `finalize` escapes
_MARKDOWN.filters["verbatim"] = lambda text: Markup(" ".join(text.split()))  # noqa: S704  code and paths, in no HTML
_TOLD = ("question", "answer", "verdict", "remarks", "runs", "cost", "date")
_SUMMARY = (*_TOLD, "figure", "alt")
