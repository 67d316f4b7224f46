"""The list of all pages, and the links from page to page."""

import fcntl
import json
import os

import pytest

from deeptwins.errors import InputError
from deeptwins.pages.listing import write_index
from deeptwins.study import GROUPS
from reading import Outline
from small_page import contents, index, written

SUMMARY = dict.fromkeys(("question", "group", "answer", "runs", "cost", "date", "figure", "alt"), "text")
DAMAGED = [json.dumps(SUMMARY | {key: value}) for key in SUMMARY for value in (None, 1, [1], {})]


@pytest.fixture
def reports(tmp_path):
    """A folder of pages of several groups, not written in the order of the list."""
    groups = {"zeta": GROUPS[0], "alpha": "Mine", "depth": GROUPS[0], "beta": GROUPS[0], "speed": GROUPS[-1]}
    for name, group in groups.items():
        written(tmp_path / "reports", name=name, group=group, question=f"Does {name} rise?")
    return tmp_path / "reports"


ORDER = ["depth", "beta", "zeta", "speed", "alpha"]


def test_the_list_has_a_card_for_each_page(reports):
    """By group, `depth` first: picture, question, the answer once, cost and date; in HTML, and in Markdown links."""
    text = index(reports)
    outline = Outline(text)

    assert [link for link in outline.links() if link.endswith(".html")] == [f"{name}/index.html" for name in ORDER]
    images = [attrs for tag, attrs in outline.tags if tag == "img"]
    assert [image["src"] for image in images] == [f"{name}/errors.svg" for name in ORDER]
    assert all(image["loading"] == "lazy" and image["alt"] == "An empty figure." for image in images)
    assert [part.split("</h2>")[0] for part in text.split("<h2>")[1:]] == [GROUPS[0], GROUPS[-1], "Mine"]
    assert text.count("Yes.") == outline.text.count("1 of 6 runs finished; 3 min; 2026-11-20") == len(ORDER)
    markdown = reports.joinpath("index.md").read_text(encoding="utf-8")
    assert [line for line in markdown.splitlines() if line.startswith(("- ", "## "))] == [
        f"## {GROUPS[0]}", *(f"- [Does {name} rise?]({name}/report.md)" for name in ORDER[:3]),
        f"## {GROUPS[-1]}", "- [Does speed rise?](speed/report.md)", "## Mine", "- [Does alpha rise?](alpha/report.md)",
    ]  # fmt: skip
    assert markdown.count("**Yes.**") == len(ORDER)


def neighbours(reports, name):
    """The pages that a page says stand before and after it."""
    tags = Outline(reports.joinpath(name, "index.html").read_text(encoding="utf-8")).tags
    by_rel = {attrs["rel"]: attrs["href"] for _, attrs in tags if attrs.get("rel") in {"prev", "next"}}
    return [by_rel.get(rel, "../-/index.html").split("/")[1] for rel in ("prev", "next")]


def test_pages_lead_to_their_neighbours(reports):
    """Each page links those before and after it in the list, and no others; a new or lost page changes that."""
    index(reports)
    around = ["-", *ORDER, "-"]
    assert [neighbours(reports, name) for name in ORDER] == [[*pair] for pair in zip(around, around[2:], strict=False)]

    written(reports, name="gamma", group=GROUPS[0])
    for path in reports.joinpath("speed").iterdir():
        path.unlink() if path.is_file() else [*map(os.unlink, path.iterdir())]
    index(reports)

    assert neighbours(reports, "gamma") == ["beta", "zeta"]
    assert neighbours(reports, "zeta") == ["gamma", "alpha"]


def test_the_order_of_writing_changes_nothing(reports, tmp_path):
    """The same pages have the same bytes, whichever was written last, and how often they were listed meanwhile."""
    index(reports)
    for name, group in (("speed", GROUPS[-1]), ("alpha", "Mine"), *((name, GROUPS[0]) for name in ORDER[:3])):
        written(tmp_path / "other", name=name, group=group, question=f"Does {name} rise?")
        index(tmp_path / "other")

    assert contents(tmp_path / "other") == contents(reports)


def test_a_page_that_is_being_written_is_left_to_its_writer(reports):
    """While another process saves pages, links stay as they are; the list that follows renews them."""
    before = contents(reports / "depth")
    descriptor = os.open(reports, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    index(reports)
    assert contents(reports / "depth") == before

    os.close(descriptor)
    index(reports)

    assert neighbours(reports, "depth") == ["-", "beta"]


def test_what_is_no_page_of_ours_is_left_alone(reports):
    """An index that deeptwins has not written stays as it is, and so does one that cannot be read."""
    text = '<nav aria-label="Reports">mine</nav>'
    reports.joinpath("depth", "index.html").write_text(text)
    reports.joinpath("beta", "index.html").unlink()
    reports.joinpath("zeta", "index.html").write_bytes(b"\xff")

    index(reports)

    assert reports.joinpath("depth", "index.html").read_text() == text
    assert not reports.joinpath("beta", "index.html").exists()
    assert neighbours(reports, "speed") == ["zeta", "alpha"]


def test_a_page_without_answer_or_date_is_listed(tmp_path):
    """It has a card of what is known."""
    written(tmp_path, answer="", date="")
    text = index(tmp_path)

    assert ">small: 1 of 6 runs finished; 3 min<" in text
    assert "<p></p>" not in text


def test_a_page_of_before_there_were_groups_is_listed(tmp_path):
    """A summary that names no group is listed with other studies."""
    (tmp_path / "old").mkdir()
    summary = {key: value for key, value in SUMMARY.items() if key != "group"}
    (tmp_path / "old" / "summary.json").write_text(json.dumps(summary), encoding="utf-8")

    assert "<h2>Other studies</h2>" in index(tmp_path)


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
