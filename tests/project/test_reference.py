"""The reference results: the committed pages are what the committed records say."""

from contextlib import chdir
from pathlib import Path

import pytest

from deeptwins import study
from deeptwins.cli.pages import PAGES, spec_of
from deeptwins.gate import runs
from deeptwins.gate.compare.mutations import MUTATIONS
from deeptwins.gate.judge import sensitivity
from deeptwins.pages import drawing
from deeptwins.pages.page import write
from deeptwins.pages.study import page as study_page
from deeptwins.pages.study import tables
from deeptwins.records import kernels
from places import ROOT

RESULTS, REPORTS = Path("results", "reference"), Path("reports", "reference")
with chdir(ROOT):
    SOURCES = [(kind, source) for kind in PAGES for source in spec_of(kind).find(RESULTS)]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    """Stand where the command stands: a page names a study as the command finds it."""
    monkeypatch.chdir(ROOT)


def test_every_committed_page_has_its_records():
    """There are as many pages as the records make, that of the study that the README shows among them."""
    committed = {path.parent.name for path in REPORTS.glob("*/index.html")}

    assert len(committed) == len(SOURCES)
    assert "depth" in committed


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "source"), SOURCES, ids=[f"{kind}-{source[0].name}" for kind, source in SOURCES])
def test_a_page_is_what_the_records_say(tmp_path, monkeypatch, kind, source):
    """Made anew, a page has the committed files, by name, and text and tables are the committed ones to the letter."""
    monkeypatch.setattr(drawing, "svg", lambda *_: "")  # takes long, and differs between versions of matplotlib
    made = write(spec_of(kind), tmp_path, *source).page.parent
    committed = REPORTS / made.name

    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(committed) for path in committed.rglob("*") if path.is_file())
    for path in [path for path in files if path.suffix in {".md", ".csv", ".json"}]:
        assert (made / path).read_text() == (committed / path).read_text(), path


@pytest.mark.slow
def test_the_gate_was_tested_on_itself():
    """The targets: no false alarm, 10 % found in 19 of 20, 5 % never called fine, every change of the source found."""
    table = sensitivity.rates(sensitivity.outcomes(sensitivity.known(runs.load(RESULTS)))).set_index("treatment")

    tenth, twentieth = (f"+{share} % work in a benchmark" for share in (10, 5))
    assert all(table["runs"][name] >= 20 for name in (sensitivity.CONTROL, tenth, twentieth))
    assert table["found"][sensitivity.CONTROL] == 0
    assert table["found"][tenth] >= 0.95 * table["runs"][tenth]
    assert table["found"][twentieth] + table["inconclusive"][twentieth] == table["runs"][twentieth]
    assert not table["against"].any()
    assert all(table["found"][name] == 1 for name in MUTATIONS)


def test_the_kernels_of_the_reference_are_sound():
    """Each distinct kernel of the plan was compiled; their full accesses are all there where rows allow them."""
    found = kernels.read(kernels.path_of(RESULTS)).kernels

    assert all(row.vector_share == 1 for row in found if row.vectors_possible)
    assert {row.arch for row in found} == {"sm_80", "sm_90", "sm_100"}


def test_every_claim_of_the_main_study_is_met():
    """What `depth` expects is what its reference records show."""
    claims = tables.results(study_page.load(study.load(study.find("depth")), RESULTS).findings.claims)

    assert len(claims) == 4
    assert all(claim.endswith("met") for claim in claims)
