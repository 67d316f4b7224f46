"""The reference results: the committed pages are what the committed records say."""

from pathlib import Path

import pytest

from deeptwins import report, study

ROOT = Path(__file__).parents[1]
RESULTS = Path("results", "reference")
STUDIES = sorted({path.parent.name for path in ROOT.joinpath(RESULTS).glob("*/*.jsonl")})


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    """Stand where the command stands: a page names a study as the command finds it."""
    monkeypatch.chdir(ROOT)


def test_there_are_reference_results_of_the_main_study():
    """The study that the README shows is among them."""
    assert "depth" in STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_the_page_is_what_the_records_say(tmp_path, name):
    """The Markdown and the tables, made anew from the records, are the committed ones to the letter."""
    committed = Path("reports", "reference", name)

    report.write(study.load(study.find(name)), RESULTS, tmp_path)

    made = sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*") if path.is_file())
    assert made == sorted(path.relative_to(committed) for path in committed.rglob("*") if path.is_file())
    for path in [path for path in made if path.suffix in {".md", ".csv", ".json"}]:
        assert (tmp_path / name / path).read_text() == (committed / path).read_text(), path


def test_every_claim_of_the_main_study_is_met(tmp_path):
    """What `depth` expects is what its reference records show."""
    written = report.write(study.load(study.find("depth")), RESULTS, tmp_path)

    assert len(written.claims) == 4
    assert all(claim.endswith("met") for claim in written.claims)
