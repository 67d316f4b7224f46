"""What a paper takes from a page: figures in black on white, tables that LaTeX sets."""

import re
import shutil
import struct
import subprocess
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from deeptwins.pages import drawing, export, marks
from deeptwins.pages.drawing import Picture
from deeptwins.pages.tables import Table

ODD = r"""50 % & $x_1$ #2 {a}~b^c \d <e> | "f" 'g' `h` ✓ ✗ … µ ± ≤ ≥ ≠ ≈ ∞ → β θ λ Δ Ω Müller, Łódź"""
ODD += "\N{MULTIPLICATION SIGN} \N{MINUS SIGN}3 \N{GREEK SMALL LETTER ALPHA}"
TABLE = Table("Errors, in points", ("twin", "a_b"), [["cifar-56", "-1.5"], ["=1+1", "-0.3 to 0.3"], [ODD, "+2.0"]], 1)


@pytest.fixture(scope="module")
def picture():
    """A figure of one mark that is told."""
    with drawing.styled():
        figure = drawing.canvas(1.0)
        ax = figure.subplots()
        ax.plot([0, 1], [0, 1], marker="o")
        ax.set_xlabel("depth")
        marks.tell(ax, [0, 1], [0, 1], ["first", "second"])
    return Picture("errors", "Caption.", "What it shows.", figure)


@pytest.fixture(scope="module")
def written(picture):
    """The files of a page of two sections, as a paper takes them."""
    sections = [("Trends", [picture], [TABLE]), ("Where from", [], [TABLE, TABLE])]
    return export.files("depth, width 8", sections, ("svg", "pdf", "png", "pdf"))


def test_names_fit_a_paper(written):
    """Each begins with its page's name and is of letters, digits and hyphens; no two tables have the same."""
    tables = ("trends", "where-from-errors", "where-from-errors-2")

    assert [*written] == [
        *(f"figures/depth-width-8-errors.{form}" for form in ("pdf", "png", "svg")),
        *(f"tables/depth-width-8-{table}.{form}" for table in tables for form in ("tex", "csv")),
    ]


def test_the_same_figure_gives_the_same_bytes(picture, written):
    """Written again in another order, no byte differs, and none tells the day or who wrote it."""
    again = export.files("depth, width 8", [("Trends", [picture], [])], ("svg", "png", "pdf"))

    assert again.items() <= written.items()
    for content in again.values():
        assert not re.search(rb"CreationDate|Matplotlib v|20\d\d-\d\d-\d\d", content)


def test_fonts_are_embedded_in_pdf(written):
    """As TrueType, which journals take, and never as bitmaps of letters, Type 3."""
    pdf = written["figures/depth-width-8-errors.pdf"]

    assert b"/CIDFontType2" in pdf
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_png_has_300_dots_an_inch(written):
    """It is as wide as the figure, and says its resolution."""
    png = written["figures/depth-width-8-errors.png"]

    assert struct.unpack(">I", png[16:20]) == (round(drawing.WIDTH * 300),)
    at = png.index(b"pHYs") + 4
    assert struct.unpack(">I", png[at : at + 4]) == (round(300 / 0.0254),)


def test_svg_for_paper_is_black_on_white(written):
    """It takes no colour from a page, and its letters are outlines, which need no font."""
    svg = written["figures/depth-width-8-errors.svg"].decode()

    assert "currentColor" not in svg
    assert "<text" not in svg
    assert "fill: #ffffff" in svg


def test_no_text_is_obeyed():
    """Control characters and marks of direction, which a study's names may have, are none in any file for a paper."""
    odd = "\x1b[31m\x9b\u202e\u2066\u200b\ufeff--\x7f"
    with drawing.styled():
        figure = drawing.canvas(1.0)
        figure.suptitle(odd)
        figure.subplots().set_yticks([0, 1], [odd, "a name"])
    table = Table(odd, (odd,), [[odd]], 1)

    written = export.files(odd, [(odd, [Picture("odd", odd, odd, figure)], [table])], ("pdf", "png", "svg"))

    assert len(written) == 5
    for name, content in written.items():
        assert name.isprintable()
        if name.endswith(("svg", "tex", "csv")):
            assert {c for c in content.decode() if not c.isprintable()} <= {"\n"}
        if name.endswith("svg"):
            ET.fromstring(content)  # noqa: S314 - our own


def test_latex_has_the_rules_of_booktabs():
    """Names are flush left, numbers right, minuses true; what TeX would obey is text, and hyphens stay hyphens."""
    lines = export.latex(TABLE).splitlines()

    assert lines[:2] == ["% Errors, in points", r"% \usepackage{booktabs,graphicx}"]
    assert lines[3:7] == [r"\begin{tabular}{p{0.3\linewidth}r}", r"\toprule", r"twin & a\_b \\", r"\midrule"]
    assert lines[7:9] == [r"cifar-56 & $-$1.5 \\", r"=1+1 & $-$0.3 to 0.3 \\"]
    assert lines[9].startswith(r"50 \% \& \$x\_1\$ \#2 \{a\}\textasciitilde{}b\textasciicircum{}c \textbackslash{}d ")
    assert lines[10:] == [r"\bottomrule", r"\end{tabular}}%"]


def test_long_words_are_wrapped():
    """A column of sentences takes part of a line, however long they are; a table without rows has columns, too."""
    rows = [["a", "A source, with its table and its section, of that year", "1"]]

    assert r"\begin{tabular}{lp{0.3\linewidth}r}" in export.latex(Table("", ("a", "b", "c"), rows, 2))
    assert r"\begin{tabular}{llr}" in export.latex(Table("", ("a", "b", "c"), [], 2))


def test_a_caption_of_several_lines_is_one_comment():
    """No line of it becomes part of the table."""
    table = Table("one\n\\input{two}", ("a",), [["1"]], 0)

    assert export.latex(table).splitlines()[:2] == [r"% one \input{two}", r"% \usepackage{booktabs,graphicx}"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(tmp_path):
    """TeX sets a table with every odd sign, and one that is wider than a page, without a complaint and on the page."""
    wide = Table("Wide", ("a", "b", *"cdefgh"), [["a", f"sha256:{'0' * 64}", *["-100.0 to 100.0"] * 6]], 2)
    (tmp_path / "table.tex").write_text(export.latex(TABLE) + "\n" + export.latex(wide), encoding="utf-8")
    use = r"\documentclass{article}\usepackage{booktabs,graphicx}\setlength\parindent{0pt}"
    (tmp_path / "paper.tex").write_text(use + r"\begin{document}\input{table}\end{document}")

    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)  # noqa: S603

    assert done.returncode == 0, done.stdout
    assert b"Overfull" not in done.stdout


def test_numbers_stay_numbers_in_csv(written, tmp_path):
    """Signed numbers and intervals are written as they are; what a spreadsheet would compute is not."""
    (tmp_path / "table.csv").write_bytes(written["tables/depth-width-8-trends.csv"])

    table = pd.read_csv(tmp_path / "table.csv", dtype=str)

    assert [*table["a_b"]] == ["-1.5", "-0.3 to 0.3", "+2.0"]
    assert [*table["twin"]] == ["cifar-56", "'=1+1", ODD]
