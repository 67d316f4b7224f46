"""Reports: the page of a study, in words first."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import made
from deeptwins import report
from deeptwins.errors import InputError


class Outline(HTMLParser):
    """Tags, headings and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Remember a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Remember text."""
        self.text += data


@pytest.fixture(scope="module")
def made_report(tmp_path_factory):
    """The report of the study that ships, from made-up records."""
    folder = tmp_path_factory.mktemp("report")
    study = made.load(folder)
    return report.write(study, made.results(folder, study), folder / "reports")


def test_the_verdict_comes_first(made_report):
    """The page opens with the question, then the verdict in words, then the figure."""
    text = made_report.page.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")

    question = text.index("Does training error rise with depth when there is no shortcut?</h1>")
    words = text.index("without shortcuts, training error rises from ", question)
    assert words < text.index("<svg")
    for heading in ["Learning curves", "Gap between", "Layer responses", "claims", "paper", "All errors", "cost"]:
        assert words < text.index(heading, words)


def test_claims(tmp_path):
    """A claim that the records contradict is said, on the page and to the caller."""
    study = made.load(tmp_path)
    results = made.results(tmp_path, study, lambda run, twin: 100 - run.twins[twin].depth)

    written = report.write(study, results, tmp_path / "reports")

    assert written.contradicted
    assert "cifar: training error of plain rises: ✗ contradicted" in written.claims
    assert "✗ contradicted" in written.page.read_text(encoding="utf-8")


def test_a_provisional_report_says_so(tmp_path):
    """While runs are missing, the page says under the verdict how many have finished."""
    study = made.small(tmp_path)
    made.write(tmp_path / "results", study.runs[0])

    written = report.write(study, tmp_path / "results", tmp_path / "reports")

    for path in (written.page, written.markdown):
        assert "Provisional: 1 of 6 runs have finished." in path.read_text(encoding="utf-8")


def test_met_claims_contradict_nothing(made_report):
    """Where every claim is met nothing is contradicted."""
    assert not made_report.contradicted
    assert made_report.claims[0] == "cifar: training error of plain rises: ✓ met"


def test_the_paper_is_beside_ours(made_report):
    """Published values stand beside ours, with their source."""
    text = made_report.markdown.read_text(encoding="utf-8")

    assert re.search(
        r"\| cifar \| 56 \| residual \| test error \| table 6 \| 6\.97 \| \d\.\d \| .* \| outside \|", text
    )


def test_the_page_needs_nothing_else(made_report):
    """The page holds its styles and figures; it loads nothing and runs no script."""
    outline = Outline(made_report.page.read_text(encoding="utf-8"))

    names = [tag for tag, _ in outline.tags]
    assert names.count("svg") == 4
    assert not {"script", "link", "img", "iframe"} & set(names)
    assert "@import" not in outline.text
    references = [value for _, attrs in outline.tags for key, value in attrs.items() if key in {"href", "src"}]
    assert references
    for reference in references:
        assert (made_report.page.parent / reference).is_file()


def test_the_page_is_readable_to_all(made_report):
    """It says its language, has one main heading, captions and scopes in tables, titles in figures."""
    outline = Outline(made_report.page.read_text(encoding="utf-8"))
    count = [tag for tag, _ in outline.tags].count

    assert ("html", {"lang": "en"}) in outline.tags
    assert (count("h1"), count("main")) == (1, 1)
    assert count("caption") == count("table") > 4
    assert all("scope" in attrs for tag, attrs in outline.tags if tag == "th")
    assert all(attrs["role"] == "img" for tag, attrs in outline.tags if tag == "svg")


def test_alternative_texts_say_the_numbers(made_report):
    """Who cannot see the first figure reads its numbers."""
    text = made_report.markdown.read_text(encoding="utf-8")

    alt = re.search(r"!\[([^]]*)\]\(error-by-depth\.svg\)", text).group(1)
    assert re.search(r"cifar, plain: \d\.\d % at depth 20, .* at depth 56; cifar, residual: ", alt)


def test_every_file_of_the_markdown_is_there(made_report):
    """The Markdown points at figures and data beside it."""
    links = re.findall(r"\]\(([^)]*)\)", made_report.markdown.read_text(encoding="utf-8"))

    assert len(links) > 10
    assert all((made_report.markdown.parent / link).is_file() for link in links)


def test_it_says_how_to_reproduce(made_report):
    """The commands that make the page are on it."""
    for path in (made_report.page, made_report.markdown):
        text = path.read_text(encoding="utf-8")
        for command in ("tox -e ablate -- depth", "deeptwins run depth", "deeptwins report depth"):
            assert command in text


NASTY = "</title><script>alert(1)</script> a|b\n# c [d](e) *f* `g` & $h$"


def test_texts_of_a_study_stay_texts(tmp_path):
    """Whatever a study's author writes is shown as written: no markup of theirs works in HTML or Markdown."""
    study = made.small(tmp_path, question=NASTY)
    written = report.write(study, made.results(tmp_path, study), tmp_path / "reports")
    report.write_index(tmp_path / "reports")

    for path in (written.page, tmp_path / "reports" / "index.html"):
        outline = Outline(path.read_text(encoding="utf-8"))
        assert "script" not in [tag for tag, _ in outline.tags]
        assert "<script>alert(1)</script> a|b" in outline.text
    first = written.markdown.read_text(encoding="utf-8").splitlines()[0]
    assert first == r"# \</title\>\<script\>alert(1)\</script\> a\|b \# c \[d\](e) \*f\* \`g\` \& \$h\$"


def test_same_records_same_bytes(tmp_path):
    """Writing a report again, from the same records, changes no byte of any file."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    pages = []
    for name in ("one", "two"):
        report.write(study, results, tmp_path / name)
        report.write_index(tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        pages.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})

    assert pages[0] == pages[1]
    assert len(pages[0]) > 10


def test_an_interrupted_report_leaves_the_old_one(tmp_path, monkeypatch):
    """When writing fails midway, the page that was there is untouched and nothing half-written stays."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    folder = report.write(study, results, tmp_path / "reports").page.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    made.write(results, study.runs[0], made.records(study.runs[0], lambda *_: 1.0))
    write_text = report.Path.write_text

    def full(path, *args, **kwargs):
        if path.name == "index.html":
            raise OSError(28, "No space left on device")
        return write_text(path, *args, **kwargs)

    monkeypatch.setattr(report.Path, "write_text", full)
    with pytest.raises(InputError, match="No space left on device"):
        report.write(study, results, tmp_path / "reports")

    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    """Where the folder of reports is a file, the error is one line that names it."""
    study = made.small(tmp_path)
    (tmp_path / "reports").touch()

    with pytest.raises(InputError, match=r"reports/small: .*--reports"):
        report.write(study, made.results(tmp_path, study), tmp_path / "reports")


def test_no_finished_run_is_one_line(tmp_path):
    """A study that has only begun has no report; the error says how to go on."""
    study = made.small(tmp_path)
    made.write(tmp_path / "results", study.runs[0], made.records(study.runs[0], status=None))

    with pytest.raises(InputError, match="no run has finished yet; go on with `deeptwins run small`"):
        report.write(study, tmp_path / "results", tmp_path / "reports")


def test_the_index_lists_every_report(tmp_path):
    """The index links each study's page, with its question, verdict and figure, in alphabetical order."""
    for name in ("zeta", "alpha"):
        study = made.small(tmp_path, question=f"Does {name} rise?", name=name)
        made.write(tmp_path / "results", study.runs[0])
        report.write(study, tmp_path / "results", tmp_path / "reports")

    outline = Outline(report.write_index(tmp_path / "reports").read_text(encoding="utf-8"))

    links = [attrs["href"] for tag, attrs in outline.tags if tag == "a"]
    assert links == ["alpha/index.html", "zeta/index.html"]
    images = [attrs["src"] for tag, attrs in outline.tags if tag == "img"]
    assert all((tmp_path / "reports" / path).is_file() for path in links + images)
    assert "Does alpha rise?" in outline.text
    assert "1 of 6 runs finished" in outline.text


def test_an_index_of_nothing(tmp_path):
    """Without reports the index says so."""
    assert "No report yet." in report.write_index(tmp_path / "reports").read_text(encoding="utf-8")


def test_a_damaged_summary_is_one_line(tmp_path):
    """A summary that is none is an error that names the file."""
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "summary.json").write_text("{}", encoding="utf-8")

    with pytest.raises(InputError, match=r"depth/summary.json: not a report's summary"):
        report.write_index(tmp_path)


def test_a_report_needs_no_torch():
    """Reading results loads neither torch nor anything that trains."""
    code = "import sys; import deeptwins.report; print(sorted({'torch', 'deeptwins.training'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603

    assert done.stdout.strip() == "[]"
