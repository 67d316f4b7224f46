"""Pages and their list, of whatever kind: here of a small one, whose facts are what it says."""

from pathlib import Path

import pandas as pd
import pytest

from deeptwins.errors import InputError
from deeptwins.pages import drawing, marks, page, tables
from deeptwins.pages.drawing import Picture
from deeptwins.pages.page import HTML, Number, Section
from reading import Outline
from refusals import refused
from small_page import contents, index, picture, written


def test_texts_stay_texts(tmp_path):
    """Whatever an author writes is shown as written: no markup of theirs works in HTML or Markdown."""
    folder = written(tmp_path, question="</title><script>alert(1)</script> a|b\n# c [d](e) *f* `g` & $h$")

    for html in (folder.joinpath("index.html").read_text(encoding="utf-8"), index(tmp_path)):
        outline = Outline(html)
        assert "script" not in outline.names()
        assert "<script>alert(1)</script> a|b" in outline.text
    first = folder.joinpath("report.md").read_text(encoding="utf-8").splitlines()[0]
    assert first == r"# \</title\>\<script\>alert(1)\</script\> a\|b \# c \[d\](e) \*f\* \`g\` \& \$h\$"


HOSTILE = "\x1b[31m\a\x9b\u202e\u2066\u200b\ufeff\0\x7f\r"


def test_no_text_is_obeyed(tmp_path):
    """Control characters, marks of direction, signs without width are codes on every file of a page and on the list."""
    picture = Picture("odd", HOSTILE, HOSTILE, drawing.canvas(1.0))
    picture.figure.suptitle(HOSTILE)
    texts = dict.fromkeys(("question", "answer", "cost", "date", "size"), f"{HOSTILE}\udcff")
    data = {"errors": pd.DataFrame({HOSTILE: [HOSTILE]})}
    folder = written(tmp_path, **texts, verdict=[HOSTILE], remarks=[HOSTILE], pictures=[picture], data=data)
    index(tmp_path)

    for path in [*folder.rglob("*.*"), tmp_path / "index.html"]:
        text = path.read_text(encoding="utf-8")
        assert {c for c in text if not c.isprintable()} <= {"\n", "\N{NO-BREAK SPACE}"}
        assert r"\u202e" in text or path.name == "errors.svg"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r@", "\n-", " =", "\uff1d"])
def test_no_cell_is_a_formula(start):
    """Text that a spreadsheet would compute is text to it; numbers stay numbers."""
    table = pd.DataFrame({f"{start}a": [f"{start}1+1", "1=1"], "number": [-1.5, 2], "mixed": [-1, "fails"]})

    rows = tables.csv(table).splitlines()

    assert rows == [
        f"'{start.strip()}a,number,mixed", f"'{start.strip()}1+1,-1.5,-1", "1=1,2.0,fails",
    ]  # fmt: skip


def test_every_minus_of_a_page_is_a_true_one(tmp_path):
    """Text, Markdown, a figure's description and the words of its marks have one minus; commands have none."""
    told = "b - a: -1.5 points, -2.0 to -1.0, of bench-1 --base HEAD~1, 2026-11-20"
    true = "b ~ a: ~1.5 points, ~2.0 to ~1.0, of bench-1 --base HEAD".replace("~", "\N{MINUS SIGN}")
    drawn = Picture("gap", "Caption.", told, drawing.canvas(1.0))
    marks.tell(drawn.figure.subplots(), [0.5], [0.5], [told])
    again = Section("Again", (drawn,), commands=(f"tox -- {told}",))
    folder = written(tmp_path, verdict=[told], sections=[again])

    html, svg, markdown = (folder.joinpath(name).read_text("utf-8") for name in ("index.html", "gap.svg", "report.md"))
    assert (svg.count(true), svg.count(told)) == (2, 0)
    assert (html.count(true), html.count(f"tox -- {told}"), html.count(told)) == (3, 1, 1)
    assert (markdown.count(f"tox -- {told}"), markdown.count(told)) == (1, 1)
    assert "\N{MINUS SIGN}2.0 to \N{MINUS SIGN}1.0" in markdown


def places(text, *parts):
    """Where the parts stand in a text, the first time."""
    return [text.index(part) for part in parts]


def test_the_page_begins_with_its_answer(tmp_path):
    """Caution, answer, figure, numbers, what the answer rests on, and what limits it; then the sections."""
    numbers = [Number("plain", "72.9 %", "at depth 56")]
    folder = written(tmp_path, numbers=numbers, cautions=["Mixed data."], pictures=[picture("second")])

    for name in ("index.html", "report.md"):
        text = folder.joinpath(name).read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
        first = places(
            text.split("<body>")[-1], "Mixed data.", "Yes.", "errors.svg", "72.9 %", "It rises.", "Provisional."
        )
        assert first == sorted(first)
        assert text.index("Provisional.") < text.index("second.svg")
        assert text.count("Yes.</strong>") + text.count("**Yes.**") == 1


def test_a_section_of_the_first_figure_alone_goes(tmp_path):
    """The first figure stands beside the answer; its section stays where it has more to show."""
    alone, more = (written(tmp_path / str(n), pictures=[picture("second")] * n) for n in (0, 1))

    assert "## Errors" not in alone.joinpath("report.md").read_text(encoding="utf-8")
    assert "## Errors\n\n![" in more.joinpath("report.md").read_text(encoding="utf-8")


def test_headings_of_one_name_have_links_of_their_own(tmp_path):
    """A second section with a title has another place, to which the contents lead."""
    table = tables.Table.facts([("a", "b")])
    folder = written(
        tmp_path, sections=[Section("Errors!", (picture("errors"),), (table,)), Section("errors", tables=(table,))]
    )

    outline = Outline(folder.joinpath("index.html").read_text(encoding="utf-8"))

    ids = [attrs["id"] for tag, attrs in outline.tags if tag == "h2"]
    assert ids == ["errors", "errors-2", "provenance", "how-to-reproduce"]
    assert [link for link in outline.links() if link[0] == "#"] == [f"#{name}" for name in ids]


def test_a_figure_links_its_data(tmp_path):
    """Beside a figure stands a link to each CSV that it draws, where the page has that, and their texts differ."""
    data = {name: pd.DataFrame({"error": [0.5]}) for name in ("errors", "seeds")}
    folder = written(tmp_path, data=data, pictures=[picture("second", "errors", "seeds"), picture("third", "absent")])

    for name in ("index.html", "report.md"):
        text = folder.joinpath(name).read_text(encoding="utf-8")
        *_, second, third = text.split("Caption of ")
        assert all(f"data/{name}.csv" in second for name in data)
        assert "CSV (seeds)" in second
        assert "CSV" not in third.split("Provenance")[0]
    assert second.startswith("second. Data: [CSV](data/errors.csv), [CSV (seeds)](data/seeds.csv)\n")  # of report.md


def test_what_a_reader_in_a_hurry_skips_is_folded(tmp_path):
    """A folded section, the tables under a figure, provenance and commands are shown on demand, with their headings."""
    table = tables.Table.facts([("a", "b")])
    sections = [
        Section("Shown", (picture("errors"), picture("second")), (table,)),
        Section("Open", tables=(table,)),
        Section("Folded", tables=(table,), folded=True),
    ]
    html = written(tmp_path, sections=sections).joinpath("index.html").read_text(encoding="utf-8")

    folded = [part.split("</details>")[0] for part in html.split("<details")[1:]]
    assert ["<table" in part for part in folded] == [True, True, False, False]
    assert [name for name in ("shown", "open", "folded", "how-to-reproduce") if f'id="{name}"' in "".join(folded)] == [
        "folded", "how-to-reproduce"
    ]  # fmt: skip
    assert 'title="Click to select">make it\n</code>' in folded[-1]


def test_an_interrupted_report_leaves_the_old_one(tmp_path, monkeypatch):
    """When writing fails midway, the page that was there is untouched and nothing half-written stays."""
    folder = written(tmp_path)
    before, write_bytes = contents(folder), Path.write_bytes

    def full(path, *args, **kwargs):
        if path.name == "index.html":
            raise OSError(28, "No space left on device")
        return write_bytes(path, *args, **kwargs)

    monkeypatch.setattr(page.Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        written(tmp_path, question="Does it fall?", data={})

    assert contents(folder) == before


def test_nothing_is_left_of_a_page_that_was_there_before(tmp_path):
    """Pictures and data that a page no longer has go; what others put there stays."""
    old = {"old": pd.DataFrame({"error": [0.7]})}
    folder = written(tmp_path / "reports", data=old, pictures=[Picture("old", "", "", drawing.canvas(1.0))])
    folder.joinpath("notes.csv").write_text("mine")
    assert {"old.svg", "data/old.csv"} < {*map(str, contents(folder))}

    written(tmp_path / "reports")

    assert contents(folder) == contents(written(tmp_path / "fresh")) | {Path("notes.csv"): b"mine"}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    """A file where the folder of pages should be is refused in one line that names it and says what to do."""
    (tmp_path / "reports").touch()

    told = refused(written, tmp_path / "reports")

    assert told.startswith(f"{tmp_path / 'reports' / 'small'}: ")
    assert "--reports" in told


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a.b of c_d", "a.b of c_d"),
        ("f" * 20 + "_transform", "f" * 16 + "<wbr>" + "f" * 4 + "_<wbr>transform"),
        ("my_package.my_transformers:make_one", "my_<wbr>package.<wbr>my_<wbr>transformers:<wbr>make_<wbr>one"),
        ("<script>my_package.my_transformers", "&lt;script&gt;my_<wbr>package.<wbr>my_<wbr>transformers"),
    ],
)
def test_long_words_may_be_broken(text, written):
    """A browser may break them after a sign; shorter ones stay whole, and all is escaped."""
    assert HTML.from_string("{{ text | breakable }}").render(text=text) == written
