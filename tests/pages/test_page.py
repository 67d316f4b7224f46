"""Pages and their list, of whatever kind: here of a small one, whose facts are what it says."""

import json
import re
from operator import itemgetter
from pathlib import Path

import pandas as pd
import pytest

from deeptwins.errors import InputError
from deeptwins.pages import drawing, page, tables
from deeptwins.pages.drawing import Picture
from deeptwins.pages.page import Commands, PageSpec, Section, write, write_index
from reading import Outline
from refusals import refused

FACTS = {
    "name": "small", "question": "Does it rise?", "answer": "Yes.", "verdict": ["It rises."], "cost": "3 min",
    "date": "2026-11-20", "size": "1 of 6 runs finished", "data": {"errors": pd.DataFrame({"error": [0.5]})},
    "remarks": ["Provisional."],
}  # fmt: skip
PICTURE = Picture("errors", "Caption.", "An empty figure.", drawing.canvas(1.0))
PAGE = PageSpec(
    load=lambda changes: FACTS | changes,
    sections=lambda facts: [Section("Errors", (PICTURE, *facts.get("pictures", ())))],
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


SUMMARY = dict.fromkeys(("question", "group", "answer", "runs", "cost", "date", "figure", "alt"), "text")
SUMMARY |= {"verdict": ["text"], "remarks": []}
DAMAGED = [json.dumps(SUMMARY | {key: value}) for key in SUMMARY for value in (None, 1, [1], {})]


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


def test_what_limits_the_verdict_stands_under_it(tmp_path):
    """A remark comes behind the verdict and before what was found, on the page and in the list of pages."""
    folder = written(tmp_path)

    texts = [folder.joinpath(name).read_text(encoding="utf-8") for name in ("index.html", "report.md")]
    for text in (*texts, index(tmp_path)):
        parts = [text.rindex("It rises."), text.index("Provisional."), text.index("errors.svg")]
        assert parts == sorted(parts)


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


def test_the_index_lists_every_report(tmp_path):
    """Each has a row with its question, answer, cost and date, then its verdict and figure, in alphabetical order."""
    for name in ("zeta", "alpha"):
        written(tmp_path, name=name, question=f"Does {name} rise?")
    text = index(tmp_path)
    outline = Outline(text)

    images = [attrs["src"] for tag, attrs in outline.tags if tag == "img"]
    assert images == ["alpha/errors.svg", "zeta/errors.svg"]
    pages = [link for link in outline.links() if link not in images]
    assert pages == ["alpha/index.html", "zeta/index.html"] * 2  # in the table, and above each entry
    assert all((tmp_path / path).is_file() for path in outline.links())
    _, *rows = re.findall(r"<tr>(.*)</tr>", text)
    for name, row in zip(("alpha", "zeta"), rows, strict=True):
        assert f"<td>Does {name} rise? <strong>Yes.</strong></td>" in row
        assert ">3 min<br>2026-11-20<" in row
    assert text.count("<p>It rises.</p>") == outline.text.count("1 of 6 runs finished") == 2


def test_a_page_without_answer_or_date_is_listed(tmp_path):
    """It has a row of what is known."""
    written(tmp_path, answer="", date="")
    text = index(tmp_path)

    assert "Does it rise?" in text
    assert "<strong>" not in text
    assert "<br>" not in text


def test_an_index_of_nothing(tmp_path):
    """Without reports the index says so."""
    assert "No report yet." in index(tmp_path / "reports")


@pytest.mark.parametrize("damaged", ["{}", "[]", "null", "", *DAMAGED])
def test_a_damaged_summary_is_one_line(tmp_path, damaged):
    """A summary that is none is an error that names the file, whatever is wrong with it; the others are listed."""
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "summary.json").write_text(damaged, encoding="utf-8")

    written(tmp_path)

    with pytest.raises(InputError, match=r"depth/summary.json: not a report's summary"):
        write_index(tmp_path)

    assert "Does it rise?" in (tmp_path / "index.html").read_text(encoding="utf-8")
