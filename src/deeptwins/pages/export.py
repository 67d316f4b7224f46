"""What a paper takes from a page: its figures, and its tables as LaTeX and CSV, in files with names of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from deeptwins.errors import one_line
from deeptwins.pages.drawing import Picture, for_paper
from deeptwins.pages.tables import Table, csv

# What TeX would obey, and what the fonts of a usual document lack.
LATEX = str.maketrans({
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": "$<$", ">": "$>$", "|": "$|$", '"': r"\textquotedbl{}",
    "\N{MINUS SIGN}": "$-$", "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MICRO SIGN}": r"$\mu$", "\N{GREEK SMALL LETTER MU}": r"$\mu$", "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{CHECK MARK}": r"$\surd$", "\N{BALLOT X}": r"$\times$", "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
})  # fmt: skip
MINUS = re.compile(r"(?<![\w-])-(?=\d)")
CLAUSE = re.compile(r"[.,;:(]")  # ends what a caption's name is made of


def files(
    page: str, parts: Iterable[tuple[str, Sequence[Picture], Sequence[Table]]], forms: Iterable[str]
) -> dict[str, bytes]:
    """Write the figures and tables of a page: `figures/<page>-<figure>.<form>`, `tables/<page>-<table>.tex` and `.csv`.

    Args:
        page: its name.
        parts: of each section its title, its figures and its tables.
        forms: of the figures.
    """
    parts, written = list(parts), {}
    for form in dict.fromkeys(forms):
        for picture in (picture for _, pictures, _ in parts for picture in pictures):
            written[f"figures/{_slug(page)}-{picture.name}.{form}"] = for_paper(picture, form)
    for name, table in _named((title, tables) for title, _, tables in parts):
        start = f"tables/{_slug(page)}-{name}"
        written[f"{start}.tex"] = latex(table).encode()
        written[f"{start}.csv"] = csv(pd.DataFrame(table.rows, columns=list(table.columns))).encode()
    return written


def latex(table: Table) -> str:
    r"""Write a table as LaTeX, with the rules of booktabs, for `\input` in a float that the paper captions."""
    right = len(table.columns) - table.words
    lines = [" & ".join(map(_cell, row)) + r" \\" for row in [table.columns, *table.rows]]
    return "\n".join([
        f"% {one_line(table.caption)}",
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{'l' * table.words}{'r' * right}}}",
        r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule",
        r"\end{tabular}",
    ]) + "\n"  # fmt: skip


def _cell(text: str) -> str:
    """Write text so that TeX sets what it says, and minuses as such."""
    return MINUS.sub("$-$", one_line(text).translate(LATEX))


def _named(sections: Iterable[tuple[str, Sequence[Table]]]) -> Iterator[tuple[str, Table]]:
    """Name each table by its section and, where that has several, by its caption's beginning; no two the same."""
    taken: set[str] = set()
    for title, tables in sections:
        for table in tables:
            caption = CLAUSE.split(table.caption)[0] if len(tables) > 1 else ""
            base = name = _slug(f"{title} {caption}")
            for number in range(2, len(taken) + 2):
                if name not in taken:
                    break
                name = f"{base}-{number}"
            taken.add(name)
            yield name, table


def _slug(text: str) -> str:
    """Make a name that TeX and every file system take: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
