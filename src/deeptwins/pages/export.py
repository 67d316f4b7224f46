"""Files of a page for a paper: its figures, and its tables as LaTeX and CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from unicodedata import lookup

import pandas as pd

from deeptwins.errors import one_line
from deeptwins.pages.drawing import Picture, for_paper
from deeptwins.pages.tables import Table, csv

GREEK = re.findall(
    r"\w+",
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi"
    " omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega",
)  # letters as TeX names them; it has no capitals that look as Latin ones


def _greek(name: str) -> str:
    """Give the letter that TeX calls this."""
    return lookup(f"GREEK {'SMALL' if name.islower() else 'CAPITAL'} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")


# What TeX would obey, and what the fonts of a usual document lack.
LATEX = str.maketrans({
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": "$<$", ">": "$>$", "|": "$|$", '"': r"\symbol{34}",
    "\N{MINUS SIGN}": "$-$", "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\le$", "\N{GREATER-THAN OR EQUAL TO}": r"$\ge$", "\N{NOT EQUAL TO}": r"$\ne$",
    "\N{ALMOST EQUAL TO}": r"$\approx$", "\N{INFINITY}": r"$\infty$", "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{MICRO SIGN}": r"$\mu$", **{_greek(name): f"$\\{name}$" for name in GREEK},
    "\N{CHECK MARK}": r"$\surd$", "\N{BALLOT X}": r"$\times$", "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~", "\0": r"\allowbreak ",
})  # fmt: skip
LONGEST, WIDE = 40, r"p{0.3\linewidth}"  # of words in characters: a column with longer ones is wrapped
LONG_WORD = re.compile(r"\w{10}(?=\w{10})")  # such as a checksum, which no line of a wrapped column has room for
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
    for form in sorted({*forms}):
        for picture in (picture for _, pictures, _ in parts for picture in pictures):
            written[f"figures/{_slug(page)}-{picture.name}.{form}"] = for_paper(picture, form)
    for name, table in _named((title, tables) for title, _, tables in parts):
        start = f"tables/{_slug(page)}-{name}"
        written[f"{start}.tex"] = latex(table).encode()
        written[f"{start}.csv"] = csv(pd.DataFrame(table.rows, columns=list(table.columns))).encode()
    return written


def latex(table: Table) -> str:
    r"""Write a table as LaTeX, with the rules of booktabs, for `\input` in a float that the paper captions.

    One that is wider than the lines of the paper is made smaller, so that nothing is cut.
    """
    cells = zip(*table.rows, strict=True)
    kinds = [WIDE if max(map(len, column)) > LONGEST else "l" for column in [*cells][: table.words]]
    columns = "".join(kinds or "l" * table.words) + "r" * (len(table.columns) - table.words)
    lines = [" & ".join(map(_cell, row)) + r" \\" for row in [table.columns, *table.rows]]
    return "\n".join([
        f"% {one_line(table.caption)}",
        r"% \usepackage{booktabs,graphicx}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule",
        r"\end{tabular}}%",
    ]) + "\n"  # fmt: skip


def _cell(text: str) -> str:
    """Write text so that TeX sets what it says, and minuses as such."""
    breakable = LONG_WORD.sub("\\g<0>\0", one_line(text))
    return MINUS.sub("$-$", breakable.translate(LATEX))


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
