"""A small page, whose facts are what it says."""

from operator import itemgetter

import pandas as pd

from deeptwins.pages import drawing
from deeptwins.pages.drawing import Picture
from deeptwins.pages.listing import write_index
from deeptwins.pages.page import Commands, PageSpec, Section, write

FACTS = {
    "name": "small", "question": "Does it rise?", "answer": "Yes.", "verdict": ["It rises."], "cost": "3 min",
    "date": "2026-11-20", "size": "1 of 6 runs finished", "data": {"errors": pd.DataFrame({"error": [0.5]})},
    "remarks": ["Provisional."],
}  # fmt: skip


def picture(name, *data):
    """An empty figure."""
    return Picture(name, f"Caption of {name}.", "An empty figure.", drawing.canvas(1.0), data)


PAGE = PageSpec(
    load=lambda changes: FACTS | changes,
    sections=lambda facts: facts.get("sections", [Section("Errors", (picture("errors"), *facts.get("pictures", ())))]),
    group=lambda facts: facts.get("group", "Other studies"),
    numbers=lambda facts: facts.get("numbers", ()),
    cautions=lambda facts: facts.get("cautions", ()),
    origin=lambda _: [],
    commands=lambda _: Commands("Here:", ("make it",)),
    **{part: itemgetter(part) for part in FACTS},
)


def written(reports, **changes):
    """Write the page, with some facts changed; returns its folder."""
    return write(PAGE, reports, changes).page.parent


def contents(folder):
    """The files of a folder, with what is in them."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def index(reports):
    """The list of all pages."""
    return write_index(reports).read_text(encoding="utf-8")
