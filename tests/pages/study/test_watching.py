"""The page of a study while it is trained."""

import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import typer

import made
from deeptwins.cli import pages as cli
from deeptwins.findings import following
from deeptwins.pages.listing import write_index
from deeptwins.pages.page import write
from deeptwins.pages.study import watching
from deeptwins.pages.study.page import PAGE
from deeptwins.pages.study.watching import Renewed

pytestmark = pytest.mark.slow

GRID = '[[vary]]\nfamily = "cifar"\ndepth = 8\nseed = [0, 1]\n'
REFRESH = '<meta http-equiv="refresh" content="5">'


@pytest.fixture
def study(tmp_path):
    """A study of two runs."""
    return made.small(tmp_path, grid=GRID)


def half(run):
    """The records of a run up to iteration 120."""
    return [line for line in made.records(run, status=None) if line.get("iteration", 0) <= 120]


def content(folder):
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_page_is_renewed_until_it_is_that_of_the_report(study, tmp_path):
    """A page shows how far runs are, then what finished ones show, and is read again; at last it is the report's."""
    one, other = study.runs
    results, reports = tmp_path / "results", tmp_path / "reports"
    index = reports / "small" / "index.html"
    page = Renewed(results, reports)

    made.write(results, one, made.records(one, status=None)[:1])
    page.renew(study)
    assert not index.exists()  # nothing is measured yet
    page.settle()
    assert not index.exists()

    made.write(results, one, half(one))
    page.renew(study)
    text = index.read_text(encoding="utf-8")
    assert REFRESH in text
    assert "No run has finished yet: 1 run of 2 in training." in text
    assert text.count(">120 of 240<") == 2
    assert "learning-curves.svg" in text

    made.write(results, one)
    made.write(results, other, half(other))
    page.renew(study)
    text = index.read_text(encoding="utf-8")
    assert REFRESH in text
    assert re.search(r"<h2[^>]*>In training</h2>", text)
    assert text.count(">120 of 240<") == 2
    assert "Provisional: 1 of 2 runs" in text

    page.settle()
    write(PAGE, tmp_path / "again", study, results)
    write_index(tmp_path / "again")
    assert content(reports) == content(tmp_path / "again")


def test_figures_of_finished_runs_are_drawn_when_one_more_has_finished(study, tmp_path, monkeypatch):
    """Records of runs under way renew the page without drawing again what finished runs show."""
    one, other = study.runs
    made.write(tmp_path / "results", one)
    made.write(tmp_path / "results", other, half(other)[:-4])
    drawn = []
    composed = watching.pages.compose
    monkeypatch.setattr(watching.pages, "compose", lambda *facts: drawn.append(1) or composed(*facts))
    page = Renewed(tmp_path / "results", tmp_path / "reports")
    page.renew(study)
    before = content(tmp_path / "reports" / "small")
    made.write(tmp_path / "results", other, half(other))
    page.renew(study)
    after = content(tmp_path / "reports" / "small")

    assert len(drawn) == 1
    assert {name for name in after if after[name] != before.get(name)} == {"index.html", "report.md"}


def test_a_run_that_was_trained_anew_is_drawn_anew(study, tmp_path):
    """Where a finished run has been replaced between two looks, its page has the numbers of the new one."""
    one, _ = study.runs
    lines = made.records(one)
    made.write(tmp_path / "results", one, lines)
    page = Renewed(tmp_path / "results", tmp_path / "reports")
    page.renew(study)
    before = content(tmp_path / "reports" / "small")
    anew = made.records(one, lambda *_: 50.0)
    anew[0] |= {"started": "2026-12-01T00:00:00Z"}
    made.write(tmp_path / "results", one, anew)
    page.renew(study)

    assert content(tmp_path / "reports" / "small") != before


def test_a_study_that_was_edited_has_its_page_written_anew(study, tmp_path):
    """The page asks what the study asks now, though no record has come."""
    made.write(tmp_path / "results", study.runs[0])
    page = Renewed(tmp_path / "results", tmp_path / "reports")
    page.renew(study)
    page.renew(study.model_copy(update={"question": "What now?"}))

    assert "What now?" in (tmp_path / "reports" / "small" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("interrupted", [False, True])
def test_pages_are_watched_until_all_is_trained_or_ctrl_c(study, tmp_path, monkeypatch, capsys, interrupted):
    """Each change renews its study's page; Ctrl-C settles the pages, and one line says how far the runs are."""
    one, other = study.runs
    made.write(tmp_path / "results", one)
    did = []

    class Noted:
        def __init__(self, _results, _reports):
            pass

        def renew(self, study, changed):
            did.append((study.name, [path.stem for path in changed]))

        def settle(self):
            did.append("settled")

    def sleep(_seconds):
        if interrupted:
            raise KeyboardInterrupt
        made.write(tmp_path / "results", other)

    monkeypatch.setattr(watching, "Renewed", Noted)
    monkeypatch.setattr(following.time, "sleep", sleep)
    with pytest.raises(typer.Exit) if interrupted else nullcontext():
        assert cli.watch_pages([study], tmp_path / "results", Path("reports")) == [study]
    said = capsys.readouterr().out.splitlines()

    assert did == [("small", [one.id]), "settled" if interrupted else ("small", [other.id])]
    assert " ".join(said).startswith(f"watching {tmp_path}/results, into reports; Ctrl-C ends it")
    assert (said[-1] == "interrupted; 1 of 2 runs are over; the same command goes on") is interrupted
