"""The command `deeptwins diff`: what it prints, what it refuses, and with which exit code."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import made
from deeptwins.cli import app
from deeptwins.pages import page as pages
from deeptwins.study import places
from deeptwins.system import signals
from reading import documented_keys

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three studies of a plain net at one depth: `one`, `higher`, whose errors lie apart, and `empty`."""
    folder = tmp_path_factory.mktemp("root")
    folder.joinpath("ablations").mkdir()
    for name, add in (("one", 0), ("higher", 20), ("empty", None)):
        study = made.small(folder / "ablations", made.TWINS.splitlines()[0], made.ONE_DEPTH, name=name)
        if add is not None:
            made.results(folder, study, lambda run, twin, add=add: made.level(run, twin) + add)
    return folder


@pytest.fixture
def call(folder, monkeypatch, capsys):
    """Call `deeptwins diff` with arguments; returns exit code, stdout and stderr. No page is left."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(places, "SHIPPED", folder / "shipped")

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["deeptwins", "diff", *arguments])
        with pytest.raises(SystemExit) as end:
            app.main()
        return end.value.code or 0, *capsys.readouterr()

    yield main
    shutil.rmtree("reports", ignore_errors=True)


def test_the_answer_comes_first_and_the_page_last(call):
    """It prints what differs, and where the page is; the page and the list of pages are there."""
    code, out, err = call("one", "higher")

    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "The one net that A and B share is apart in training error."
    assert lines[-2:] == ["reports/diff-one-higher/index.html", "all reports: reports/index.html"]
    assert Path(lines[-2]).is_file()
    assert "Comparisons" in Path("reports/diff-one-higher/summary.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("one", "higher"), 0), (("one", "higher", "--strict"), 3), (("one", "one", "--strict"), 0)],
)
def test_strict_exits_with_3_where_a_net_is_apart(call, arguments, code):
    """That two sources differ is no error, unless it is asked for."""
    assert call(*arguments)[0] == code


def test_json_is_all_that_is_printed(call):
    """One object for programs: both sides, what became of the nets with their intervals, and the page."""
    code, out, _ = call("one", "higher", "--json")

    content = json.loads(out)
    assert code == 0
    assert sorted(content) == documented_keys("diff")
    assert content["a"] == {"source": "one", "records": "results", "commits": ["abc1234"]}
    assert (content["counts"], content["apart"]) == ({"apart": 1}, True)
    train = content["nets"][0]
    assert (train["metric"], train["result"]) == ("train_error_pct", "apart")
    assert train["low"] <= train["difference"] <= train["high"]
    assert content["fields"] == []
    assert Path(content["page"]).is_file()
    assert Path("reports/index.html").is_file()


def test_what_is_no_number_is_null(call):
    """JSON has no NaN: of what is the same to the bit no p is corrected."""
    content = json.loads(call("one", "one", "--json")[1], parse_constant=pytest.fail)

    assert content["nets"][0]["p_holm"] is None


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("one", "two"), 'no study "two" in ablations/; choose from empty, higher, one'),
        (("one", "empty"), "results/empty: no such folder; run the study first"),
        (("one", "one@elsewhere"), "elsewhere: no such folder, and no git repository here"),
        (("one", "one@"), '"one@": write STUDY[@WHERE][+recipe.KEY=VALUE...], like depth@results/reference'),
        (("one", "one+recipe.shif=1"), "ablations/one.toml: recipe.shif: unknown key; did you mean shift?"),
        (("one",), "Missing argument 'B'; see `deeptwins diff --help`"),
    ],
)
def test_bad_input_is_one_line(call, monkeypatch, folder, arguments, line):
    """It names what is wrong, exits with 2, and writes nothing."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))

    code, out, err = call(*arguments)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"deeptwins: {line}")
    assert not Path("reports").exists()


def test_an_interruption_is_quiet(call, monkeypatch):
    """A signal ends it with 130 and a line, after what it was doing has been cleaned up."""
    cleaned = []

    def interrupted(*_arguments):
        try:
            signals.signal.raise_signal(signals.signal.SIGTERM)
        finally:
            cleaned.append(True)

    monkeypatch.setattr(pages, "write", interrupted)

    assert call("one", "one") == (130, "", "deeptwins: interrupted\n")
    assert cleaned
