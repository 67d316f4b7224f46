"""The reference results: the committed pages are what the committed records say."""

from pathlib import Path

import pytest

from deeptwins import study
from deeptwins.gate import runs
from deeptwins.gate.compare.mutations import MUTATIONS
from deeptwins.gate.judge import sensitivity
from deeptwins.gate.page import page as gate_page
from deeptwins.pages.choices import page as choices_page
from deeptwins.pages.kernels import page as kernels_page
from deeptwins.pages.page import write
from deeptwins.pages.profile import page as profile_page
from deeptwins.pages.study import page as study_page
from deeptwins.pages.study import tables
from deeptwins.records import kernels, profiles
from places import ROOT

RESULTS = Path("results", "reference")
STUDIES = sorted({path.parent.name for path in ROOT.joinpath(RESULTS).glob("*/*.jsonl")})


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    """Stand where the command stands: a page names a study as the command finds it."""
    monkeypatch.chdir(ROOT)


def assert_same(committed, made):
    """Compare two pages: their files by name, and those of text and tables to the letter."""
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(committed) for path in committed.rglob("*") if path.is_file())
    for path in [path for path in files if path.suffix in {".md", ".csv", ".json"}]:
        assert (made / path).read_text() == (committed / path).read_text(), path


def test_there_are_reference_results_of_the_main_study():
    """The study that the README shows is among them."""
    assert "depth" in STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_the_page_is_what_the_records_say(tmp_path, name):
    """The Markdown and the tables, made anew from the records, are the committed ones to the letter."""
    committed = Path("reports", "reference", name)

    write(study_page.PAGE, tmp_path, study.load(study.find(name)), RESULTS)

    assert_same(committed, tmp_path / name)


def test_the_page_of_the_kernels_is_what_their_metrics_say(tmp_path):
    """Made anew from the metrics, the text and the tables of the kernels' page are the committed ones to the letter."""
    committed = Path("reports", "reference", "kernels")

    made = write(kernels_page.PAGE, tmp_path, RESULTS).page.parent

    assert_same(committed, made)


@pytest.mark.parametrize("name", sorted(path.stem for path in ROOT.joinpath(RESULTS, "profile").glob("*.json")))
def test_the_page_of_a_profile_is_what_it_says(tmp_path, name):
    """Made anew from the profile, text and tables are the committed ones to the letter."""
    made = write(profile_page.PAGE, tmp_path, profiles.path_of(RESULTS, name)).page.parent

    assert_same(Path("reports", "reference", f"profile-{name}"), made)


def test_the_page_of_the_choices_is_what_the_timings_say(tmp_path):
    """Made anew from the timings, text and tables are the committed ones to the letter."""
    made = write(choices_page.PAGE, tmp_path, *choices_page.PAGE.find(RESULTS)[0]).page.parent

    assert_same(Path("reports", "reference", "choices"), made)


def test_the_page_of_the_gate_is_what_its_runs_say(tmp_path):
    """Made anew from the runs, text and tables are the committed ones to the letter."""
    made = write(gate_page.PAGE, tmp_path, RESULTS).page.parent

    assert_same(Path("reports", "reference", "performance"), made)


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
