"""The page of the gate: it says what its runs say, whatever names they bring."""

import math
import re
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

import gate_made as made
from deeptwins.errors import InputError
from deeptwins.gate.judge import estimates
from deeptwins.gate.page.page import PAGE
from deeptwins.gate.runs import Environment, Git
from deeptwins.pages.page import write
from gate_results_made import BROKEN, PREFIX, SAME, SLOW, every_kind, stored, timed
from reading import Outline, html, markdown, rows

HOSTILE = "x]<script>alert(1)</script>|`*_[a](http://e.vil)\n# @octocat #1 www.e.vil -- <!-- \u202e \u6f22"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of runs of every kind."""
    folder = tmp_path_factory.mktemp("made")
    every_kind(folder)
    return write(PAGE, folder / "reports", folder)


@pytest.fixture(scope="module")
def text(written):
    """Its Markdown without escapes."""
    return re.sub(r"\\(?=\W|_)", "", markdown(written))


def test_the_verdict_comes_first(written, text):
    """That of the newest comparison, then what it rests on, then how far the gate itself can be believed."""
    assert written.lines[0].startswith(f"Slower: {SLOW} by 10.")
    assert f"was compared with aaaaaaaaaaaa on {made.MACHINE}." in written.lines[-1]
    places = [text.index(f"**{written.lines[0]}**"), text.index("- benchmarks: **3 of 4**, timed: 1 slower, 1 faster,")]
    places.append(text.index("- exact values: **2 of 5**, unchanged; 1 worse"))
    places.append(text.index("- false alarms: **0 of 3**, runs that compared a commit with itself; 95 % interval"))
    places.append(text.index("- sensitivity: **"))
    places += [text.index(line) for line in written.lines[1:]]
    assert places == sorted(places)
    assert places[-1] < text.index("## Times")


def test_what_most_readers_need_is_not_folded(written):
    """Details and methods are; what was found, what was not measured and how reliable it is stand open."""
    page = html(written)

    folded = re.findall(r"<summary><h2[^>]*>([^<]*)", page)
    assert {"Details of the times", "Details of the history", "The smallest slowdown detected"} < {*folded}
    assert not {"Times", "Exact values", "Not measured", "History", "How reliable is the gate?"} & {*folded}


def test_the_terminal_is_told_ratios_and_exact_differences(written):
    """The gravest first; information only is called that."""
    ratios, exact = written.tables

    assert [row[:2] for row in ratios.rows] == [
        ["step[cifar-56-residual]", "slower"],
        ["append", "faster"],
        ["frames", "no slower"],
        ["report", "not measured"],
    ]
    assert PREFIX in ratios.caption
    slower = dict(zip(ratios.columns, ratios.rows[0], strict=True))
    assert slower["margin (%)"] == "4.0"
    assert float(slower["change (%)"]) == pytest.approx(100 * math.expm1(0.1), abs=1)
    assert float(slower["seconds per call"]) == pytest.approx(made.SECONDS, rel=0.1)
    assert [row[2] for row in exact.rows] == ["worse", "information only", "better"]
    assert exact.rows[0][3:] == ["1", "0.75", "-0.25 (-25.0 %)"]


def test_exact_values_are_all_in_the_data(written, text):
    """What is the same is counted on the page and listed in the file, information only labelled."""
    table = pd.read_csv(written.page.parent / "data" / "exact.csv")

    assert "2 of 5 values are unchanged" in text
    assert len(table) == 5
    assert dict(zip(table["metric"], table["use"], strict=True))["opcodes_sha256"] == "information only"


def test_what_is_not_measured_is_told_with_its_reason(text):
    """Failed, missing and unavailable; rejected blocks by reason, of how many."""
    found = rows(text)

    assert f"{BROKEN}|failed|RuntimeError: boom" in found
    assert f"{PREFIX}gone|missing|expected, but not in head" in found
    assert "compiled|unavailable|torch.compile needs a C++ compiler" in found
    assert "frames|first|steal time|1 of 8" in found


def test_history_has_its_steps(written, text):
    """A step with its commits, exact metrics with theirs, and a change of tools."""
    found = rows(text)

    step = next(row for row in found if row.startswith("step[cifar-56-residual]|suspected|"))
    assert "040404040404 to 050505050505" in step
    assert "kernel|registers per thread|worse|020202020202 to 030303030303|32|64" in found
    assert "7|070707070707|torch 2.13 to 2.14" in found
    svg = (written.page.parent / "history.svg").read_text(encoding="utf-8")
    assert "0404040..0505050" in svg


def test_history_says_which_commits_and_links_what_changed_a_level(written):
    """The axis has commits and dates, a point its commit, the author's date and ratio; a step links its commits."""
    svg = (written.page.parent / "history.svg").read_text(encoding="utf-8")
    page = html(written)

    assert {"0000000", "2025-12-01", "0808080", "2025-12-09"} <= {*re.findall(r">\s*([0-9-]{7,10})<", svg)}
    assert re.search(r"residual\], 050505050505, 2025-12-06: \+1\d\.\d %, 95 % interval", page)
    links = {link for link in re.findall(r'href="([^"#]+)"', svg) if "compare" in link or "javascript" in link}
    assert links == {"https://code.example/o/r/compare/040404040404...050505050505"}


def test_the_self_test_is_counted(written, text):
    """Found, missed and false alarms, with exact intervals; by benchmark how often what was added is found."""
    found = rows(text)

    assert {"self-test.svg", "sensitivity.svg"} <= {path.name for path in written.page.parent.iterdir()}
    assert "none (A/A)|3|0|0|3|0 to 71|-|100" in found
    assert "+10 % work in a benchmark|2|1|0|1|1 to 99|1|100" in found
    assert "a lost vector load|1|1|0|0|3 to 100|-|12" in found
    assert "one extra kernel|1|0|0|1|0 to 98|-|100" in found
    assert next(row for row in found if row.startswith("step[cifar-56-residual]|3|")).endswith("|1 of 1")
    assert next(row for row in found if row.startswith("frames|3|")).endswith("|0 of 1")


def test_every_file_of_data_has_its_command(written, text):
    """Each figure and table names its file and what measures it."""
    files = sorted(path.name for path in (written.page.parent / "data").iterdir())
    listed = [row.split("|") for row in rows(text) if "|data/" in row]

    assert sorted(row[1].removeprefix("data/") for row in listed) == files
    assert all(row[2].startswith("deeptwins gate") for row in listed)


def test_a_page_of_an_aa_run_alone(tmp_path):
    """It says that nothing was compared yet, and shows what the A/A run is worth."""
    stored(tmp_path, "aa", timed(SAME))
    done = write(PAGE, tmp_path / "reports", tmp_path)

    assert done.lines[0] == "No two commits have been compared yet."
    assert "`deeptwins gate --base REF` compares" in done.lines[1]
    assert "- false alarms: **0 of 1**" in markdown(done)
    assert not done.tables
    assert "No history yet" in done.page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("paired", {"failure": "the worker was killed"}),
        ("anchor", {}),
        ("mutant", {"injected": "work", "failure": "killed"}),
        ("aa", {}),
        ("paired", {"benchmarks": (made.benchmark(pairs=1),)}),
        ("aa", {"benchmarks": (made.benchmark(pairs=1),)}),
        ("aa", {"benchmarks": (made.benchmark(changes={"status": "failed", "reason": "killed"}),)}),
        ("anchor", {"benchmarks": (made.benchmark(pairs=1),)}),
        ("imported", {"exact": {"k": {"registers": (1, None)}}}),
    ],
)
def test_a_run_that_tells_little_makes_a_page(tmp_path, kind, changes):
    """Whatever is not there, there is a page, which says why."""
    fields = dict(changes)
    stored(tmp_path, kind, *fields.pop("benchmarks", ()), **fields)
    done = write(PAGE, tmp_path / "reports", tmp_path)

    if kind in {"paired", "imported", "anchor"}:
        assert changes.get("failure", "") in done.lines[0]
        empty = "no benchmark was measured" in (done.page.parent / "ratios.svg").read_text(encoding="utf-8")
        assert empty == ("benchmarks" not in changes)


def test_without_a_run_there_is_no_page(tmp_path):
    """One line says how to make one."""
    with pytest.raises(InputError, match=r"no run of the gate; `deeptwins gate --base REF`"):
        write(PAGE, tmp_path / "reports", tmp_path)
    assert not (tmp_path / "reports").exists()


def test_the_newest_comparison_counts_and_an_anchor_where_there_is_none(tmp_path):
    """Newer runs against an anchor do not hide a comparison."""
    git = Git(head="a" * 40, base="e" * 40, anchor="v1.0", suite="c" * 64)
    stored(tmp_path, "anchor", timed("anchored"), at=9, git=git)
    facts = PAGE.load(tmp_path)
    assert facts.newest.run.kind == "anchor"
    assert "compared with the anchor v1.0" in " ".join([PAGE.answer(facts), *PAGE.verdict(facts)])

    stored(tmp_path, "paired", timed("old"), at=3)
    stored(tmp_path, "paired", timed("new"), at=4)
    (ratios,) = PAGE.summary(PAGE.load(tmp_path))
    assert [row[0] for row in ratios.rows] == ["new"]


def test_hostile_names_mean_nothing(tmp_path):
    """Neither HTML nor Markdown nor SVG takes a name, a reason or a version for its own."""
    benchmarks = (
        timed(HOSTILE, 0.2, confirmation=0.2, rejected=1),
        timed(HOSTILE + "2", changes={"status": "failed", "reason": HOSTILE, "pairs": ()}),
    )
    environment = Environment(machine=HOSTILE, facts={HOSTILE: HOSTILE})
    exact = {HOSTILE: {HOSTILE: (1, 2), "registers": (HOSTILE, 3)}}
    for at, kind in enumerate(("paired", "anchor", "aa", "slower", "mutant")):
        fields = {"environment": environment, "exact": exact, "toolchain": {HOSTILE: HOSTILE}, "injected": HOSTILE}
        fields |= {"unavailable": {HOSTILE: HOSTILE}, "expected": (HOSTILE, HOSTILE + "3")}
        git = Git(head=HOSTILE, base=HOSTILE if kind == "anchor" else "a" * 40, anchor=HOSTILE)
        stored(tmp_path, kind, *benchmarks, at=at, git=git, **fields)
    page = write(PAGE, tmp_path / "reports", tmp_path)

    outline = Outline(html(page))
    assert "script" not in outline.names()
    assert not any("e.vil" in link for link in outline.links())
    for path in page.page.parent.glob("*.svg"):
        tree = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314  our own
        assert not any("script" in element.tag for element in tree.iter())
    assert not re.search(r"(?<!\\)<script|(?<!\\)\[a|^# @", markdown(page), re.MULTILINE)
    assert "\u202e" not in markdown(page)


@pytest.mark.slow
def test_figures_of_many_benchmarks_have_an_end(tmp_path, monkeypatch):
    """The gravest, and those with steps, are drawn; the page says how many are not, and the data has them."""
    monkeypatch.setattr(estimates, "DRAWS", 100)  # fewer samples decide the same
    names = [f"b{i:03}" for i in range(70)]
    for i in range(6):
        git = Git(head=f"{i:02x}" * 20, base="e" * 40, anchor="v1.0")
        benchmarks = [timed(name, 0.2 if (name, i > 2) == ("b069", True) else 0.0, pairs=2) for name in names]
        stored(tmp_path, "anchor", *benchmarks, at=i, git=git)
    folder = write(PAGE, tmp_path / "reports", tmp_path).page.parent

    assert "b069" in (folder / "history.svg").read_text(encoding="utf-8")
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "46 more are in the data" in text
    assert "10 more are in the data" in text
    assert pd.read_csv(folder / "data" / "history.csv")["benchmark"].nunique() == 70
