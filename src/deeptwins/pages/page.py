"""Pages from their parts: `<reports>/<name>/index.html`, `report.md`, figures, and the data behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from deeptwins.errors import InputError, escaped
from deeptwins.pages import export, saving, wording
from deeptwins.pages.drawing import Picture
from deeptwins.pages.tables import Table, csv, shorten
from deeptwins.study.files import OWN

Facts = TypeVar("Facts")

LISTED = ("question", "group", "answer", "runs", "cost", "date", "figure", "alt")  # in `summary.json`
KEPT = "\n\N{NO-BREAK SPACE}"  # of what is not printable: pages have them on purpose
LONGEST = 20_000  # characters of a text on a page; what is longer is cut
LONGEST_WORD = 20  # characters; a longer one may be broken


class UnwritableError(InputError):
    """The folder of pages cannot be written, so no other page can be written either."""


@dataclass(frozen=True)
class Section:
    """A part of the page, in the order in which its fields stand here."""

    title: str
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    paragraphs: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    folded: bool = False
    """Whether it is shown on demand, and on paper."""

    @property
    def slug(self) -> str:
        """The section's name in links."""
        return "-".join(re.findall(r"[a-z0-9]+", self.title.lower()))

    @property
    def narrow(self) -> bool:
        """Whether it fits beside another: a single picture, whose tables are shown on demand."""
        return len(self.pictures) == 1 and not self.folded


class Number(NamedTuple):
    """One number that carries an answer: what of, the number with its unit, and what it measures."""

    label: str
    value: str
    note: str


class Commands(NamedTuple):
    """The commands that make a page again, and where they work."""

    where: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class PageSpec(Generic[Facts]):
    """A kind of page: where its facts come from, and a function of them per part. The parts are in the page's order."""

    load: Callable[..., Facts]
    """Reads the facts; raises InputError where there are none or a file is damaged."""
    name: Callable[[Facts], str]
    """Of the page's folder."""
    question: Callable[[Facts], str]
    answer: Callable[[Facts], str]
    """To the question, in a sentence; empty where nothing answers it."""
    sections: Callable[[Facts], Sequence[Section]]
    """What was found: figures and tables."""
    origin: Callable[[Facts], Sequence[Table]]
    """Where the numbers come from."""
    commands: Callable[[Facts], Commands]
    data: Callable[[Facts], Mapping[str, pd.DataFrame]]
    """The tables behind figures and tables, by the stem of their file; those without a row are left out."""
    size: Callable[[Facts], str]
    """How much of it there is, e.g. how many runs have finished."""
    verdict: Callable[[Facts], Sequence[str]] = lambda _: ()
    """What the answer rests on, in paragraphs."""
    numbers: Callable[[Facts], Sequence[Number]] = lambda _: ()
    """The numbers that carry the answer, e.g. one per twin."""
    group: Callable[[Facts], str] = lambda _: OWN
    """The heading in the list of pages."""
    method: Callable[[Facts], Sequence[str]] = lambda _: ()
    """How it was measured, in paragraphs."""
    cautions: Callable[[Facts], Sequence[str]] = lambda _: ()
    """What must be read before the verdict."""
    remarks: Callable[[Facts], Sequence[str]] = lambda _: ()
    """What limits the verdict."""
    source: Callable[[Facts], str] = lambda _: ""
    """Who asked the question first."""
    cost: Callable[[Facts], str] = lambda _: ""
    """What was spent on it, as measured."""
    date: Callable[[Facts], str] = lambda _: ""
    summary: Callable[[Facts], Sequence[Table]] = lambda _: ()
    """Tables for a terminal."""
    lines: Callable[[Facts], Sequence[str]] | None = None
    """What a terminal shows below them; None: the answer and the verdict."""
    find: Callable[[Path], Sequence[tuple[Any, ...]]] = lambda _: ()
    """Lists what a folder of results has for such pages: the arguments of `load`, once per page."""


@dataclass(frozen=True)
class Page:
    """All that a page says. The list of pages shows it, too, without sections and data."""

    name: str
    question: str
    source: str
    group: str
    answer: str
    numbers: Sequence[Number]
    verdict: Sequence[str]
    cautions: Sequence[str]
    remarks: Sequence[str]
    figure: Picture
    """The first picture, which stands beside the answer."""
    sections: Sequence[Section]
    runs: str
    data: Mapping[str, pd.DataFrame]
    cost: str
    date: str

    @property
    def contents(self) -> list[tuple[str, Section]]:
        """The sections with their names in links; a title that comes again gets a number."""
        slugs = [section.slug for section in self.sections]
        times = [slugs[:i].count(slug) for i, slug in enumerate(slugs)]
        names = [f"{slug}-{n + 1}" if n else slug for slug, n in zip(slugs, times, strict=True)]
        return [*zip(names, self.sections, strict=True)]


@dataclass(frozen=True)
class Written(Generic[Facts]):
    """A page that was written, and what a command says about it."""

    facts: Facts
    tables: tuple[Table, ...]
    lines: tuple[str, ...]
    page: Path
    """Its `index.html`; `report.md` stands beside it."""


def write(spec: PageSpec[Facts], reports: Path, *source: object, forms: Sequence[str] = ()) -> Written[Facts]:
    """Write a page. The same facts give the same bytes, whatever page was there before.

    Args:
        spec: the kind of page.
        reports: the folder of all pages.
        source: what `spec.load` takes.
        forms: in which figures lie beside the page for a paper, with its tables as LaTeX and CSV; none: neither.

    Raises:
        InputError: the facts cannot be loaded, or the folder cannot be written.
    """
    facts = spec.load(*source)
    page = compose(spec, facts)
    index = publish(page, reports, forms)
    lines = filter(None, (page.answer, *page.verdict)) if spec.lines is None else spec.lines(facts)
    return Written(facts, tuple(spec.summary(facts)), tuple(lines), index)


def publish(page: Page, reports: Path, forms: Sequence[str] = (), refresh: int | None = None) -> Path:
    """Write the files of a page; returns its `index.html`.

    Args:
        page: what it says.
        reports: the folder of all pages.
        forms: as in `write`.
        refresh: seconds after which a browser reads it again; None: it does not.

    Raises:
        UnwritableError: the folder cannot be written.
    """
    folder = reports / page.name
    with writable(folder):
        saving.save(folder, _files(page, forms, refresh))
    return folder / saving.INDEX


def compose(spec: PageSpec[Facts], facts: Facts) -> Page:
    """Put a page together from its facts."""
    commands = spec.commands(facts)
    figure, sections = _with_figure_apart(spec.sections(facts))
    sections += [
        Section("Provenance", tables=tuple(spec.origin(facts)), paragraphs=tuple(spec.method(facts)), folded=True),
        Section(
            "How to reproduce",
            paragraphs=(commands.where,),
            commands=tuple(map(escaped, commands.lines)),
            folded=True,
        ),
    ]
    return Page(
        name=spec.name(facts),
        question=spec.question(facts),
        source=spec.source(facts),
        group=spec.group(facts),
        answer=spec.answer(facts),
        numbers=spec.numbers(facts),
        verdict=spec.verdict(facts),
        cautions=spec.cautions(facts),
        remarks=spec.remarks(facts),
        figure=figure,
        sections=[replace(section, tables=tuple(map(shorten, section.tables))) for section in sections],
        runs=spec.size(facts),
        data=spec.data(facts),
        cost=spec.cost(facts),
        date=spec.date(facts),
    )


def _with_figure_apart(sections: Sequence[Section]) -> tuple[Picture, list[Section]]:
    """Take the first picture out of its section, which goes if there was nothing else in it."""
    at = next(i for i, section in enumerate(sections) if section.pictures)
    figure, *others = sections[at].pictures
    left = replace(sections[at], pictures=tuple(others))
    kept = [left] if others or left.tables or left.paragraphs or left.commands else []
    return figure, [*sections[:at], *kept, *sections[at + 1 :]]


def _files(page: Page, forms: Sequence[str], refresh: int | None) -> dict[str, bytes]:
    """Write the files of a page's folder: their content, by name."""
    pictures = [page.figure, *(picture for section in page.sections for picture in section.pictures)]
    data = {name: table for name, table in page.data.items() if len(table)}
    summary = vars(page) | {"figure": f"{page.figure.name}.svg", "alt": page.figure.alt}
    parts = [("", (page.figure,), ()), *((part.title, part.pictures, part.tables) for part in page.sections)]
    for_paper = export.files(page.name, parts, forms) if forms else {}
    about: dict[str, Any] = {"page": page, "data": list(data), "for_paper": list(for_paper)}
    about["refresh"] = refresh
    files = {
        **{f"{picture.name}.svg": str(picture.svg) for picture in pictures},
        **{f"data/{name}.csv": csv(table, float_format="%.6g") for name, table in data.items()},
        "summary.json": json.dumps({key: summary[key] for key in LISTED}, indent=1) + "\n",
        "report.md": MARKDOWN.get_template("report.md.j2").render(about),
        "index.html": HTML.get_template("report.html.j2").render(about),
    }
    return {name: escaped(text, kept=KEPT).encode() for name, text in files.items()} | for_paper


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Refuse a folder that cannot be written."""
    try:
        yield
    except OSError as error:
        raise UnwritableError(
            f"{folder}: {error.strerror}; make it writable, or choose another folder with --reports"
        ) from None


def _typeset(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    """Give numbers and differences a true minus, and keep numbers and their unit on one line."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", wording.minus(value[:LONGEST]))


def _breakable(text: str) -> Markup:
    """Let a browser break words that are longer than a column: a path after its signs, a hash after 16."""
    words = re.split(rf"(\S{{{LONGEST_WORD},}})", str(escape(_typeset(text))))  # every second one is long
    words[1::2] = [re.sub(r"([.:_/]+|[^\W_]{16})(?=\w)", r"\1<wbr>", word) for word in words[1::2]]
    return Markup("".join(words))  # noqa: S704  it is escaped


def _escape_markdown(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    """Make text mean itself, on one line."""
    if isinstance(value, Markup):
        return value
    return re.sub(r"([\\`*_{}\[\]<>|#&~$])", r"\\\1", " ".join(wording.minus(str(value)[:LONGEST]).split()))


_TEMPLATES: dict[str, Any] = {"loader": PackageLoader("deeptwins.pages"), "undefined": StrictUndefined}
_TEMPLATES |= dict.fromkeys(("trim_blocks", "lstrip_blocks", "keep_trailing_newline"), True)
HTML = Environment(autoescape=True, finalize=_typeset, **_TEMPLATES)
HTML.filters |= {"breakable": _breakable, "verbatim": escape}
MARKDOWN = Environment(autoescape=False, finalize=_escape_markdown, **_TEMPLATES)  # noqa: S701  `finalize` escapes
MARKDOWN.filters["verbatim"] = lambda text: Markup(" ".join(text.split()))  # noqa: S704  code and paths, in no HTML
