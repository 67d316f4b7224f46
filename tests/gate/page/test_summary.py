"""The summary of a run for pull requests: what changed comes first, no name means anything, and it has an end."""

import re
from functools import cache
from html import unescape

import pytest
from cmarkgfm import github_flavored_markdown_to_html
from cmarkgfm.cmark import Options
from hypothesis import given, settings
from hypothesis import strategies as st

import gate_made as made
from deeptwins.errors import InputError
from deeptwins.gate.page.facts import judge_run
from deeptwins.gate.page.names import printable
from deeptwins.gate.page.summary import summary, told, uncompared
from gate_results_made import BROKEN, SAME, SLOW, comparison, timed

BREAK = "\N{ZERO WIDTH SPACE}"


def test_the_summary_says_what_changed():
    """The verdict in one line, then five rows of what changed; the rest is folded away, and nothing is left out."""
    text = summary(judge_run(comparison()))
    plain = re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), text)

    assert re.match(rf"\*\*Slower: {re.escape(SLOW)} by 10\.\d %; 1 exact value worse\.\*\*\n", plain)
    benchmarks, worse = plain.index("changed or are inconclusive: 2"), plain.index("Exact values that are worse: 1")
    assert benchmarks < worse < plain.index("<details>")
    assert re.search(rf"\| {re.escape(SLOW)} \| slower \| \+\d+\.\d % \| \d+\.\d to \d+\.\d \| 4\.0 % \|", plain)
    folded = "".join(re.findall(r"<details>.*?</details>", plain, re.DOTALL))
    assert f"| {SAME} | no slower |" in folded
    assert "| Better: kernel[sm_80]: registers per thread: 40 before, 32 now. |" in folded
    assert f"| {BROKEN} | failed | RuntimeError: boom |" in folded
    assert "2 of 5 exact values are unchanged." in plain
    assert "\n\nHead bbbbbbbbbbbb compared with base aaaaaaaaaaaa on made-up, " in plain


def test_the_summary_of_an_unremarkable_run_is_short():
    """Where nothing differs, only the verdict is not folded."""
    text = summary(judge_run(made.run(timed(SAME), exact={"k": {"registers": (1, 1)}})))

    assert text.startswith("**No slowdown: 1 benchmark within 3 %, 1 exact value unchanged.**")
    assert "|" not in text.partition("<details>")[0]
    assert text.count("<details>") == 1


def test_no_more_than_five_rows_are_shown():
    """However much is worse; the rest of it comes first in what is folded."""
    slower = [timed(f"b{i}", 0.2, confirmation=0.2) for i in range(4)]
    text = summary(judge_run(made.run(*slower, exact={f"k{i}": {"registers": (8, 64)} for i in range(4)})))
    shown, _, folded = text.partition("<details>")

    assert [row.split(" | ")[0] for row in shown.splitlines() if re.match(r"\| [bk]\d", row)] == [
        *("| b0", "| b1", "| b2", "| b3"),
        "| k0",
    ]
    assert folded.startswith("<summary>Exact values that are worse, the rest: 3</summary>")


def test_where_nothing_is_known_the_summary_says_why():
    """In its first line, and in a table of what is missing."""
    gone = {"status": "failed", "reason": "killed", "pairs": ()}

    ended, missing = (
        summary(judge_run(run)) for run in (made.run(failure="killed"), made.run(timed(SAME, changes=gone)))
    )

    assert ended.startswith("**No verdict, the run ended early: killed.**")
    assert missing.startswith("**No verdict: nothing was measured.**")
    assert "| failed | killed |" in missing.partition("<details>")[0]


HOSTILE = [
    *("@octocat", "&commat;octocat", "&#64;octocat", "&#x40;octocat", "\\@octocat", "a@b.example", "o/r@abc"),
    *("#1", "&num;1", "&#35;1", "GH-1", "gh-1", "o/r#1", "https://github.com/o/r/issues/1", "http&colon;//e.vil"),
    *("www.e.vil", "ftp://e.vil", "mailto:a@b.example", "xmpp:a@b.example", ":tada:", "t.py::a::b", "!1", '~"label"'),
    *("<img src=x>", "</details>", "<!--", "![p](u)", "[x](http://e.vil)", "[x]: http://e.vil", "<http://e.vil>"),
    *("**b** _i_ ~~s~~", "`c", "a|b", "a\\|b", "$x$", "- x", "1. x", "# x", "    x", "x\n\n# y", "bench_stream[a_b_c]"),
]
LIVE = re.compile(r"[@#!~$&](?=[\w\"])|\bGH-\d|www\.|:(?://|[\w+-]+:)", re.IGNORECASE)  # in what a reader sees


def rendered(text):
    """Markdown as code hosts render it: the tags, and the text without spaces of no width; both as HTML has them."""
    page = github_flavored_markdown_to_html(text, Options.CMARK_OPT_UNSAFE)
    return re.findall(r"<[^>]*>", page), [unescape(cell) for cell in re.split(r"<[^>]*>", page)]


def named(name):
    """A run in which a name stands wherever one can."""
    failed = made.benchmark(name, changes={"status": "failed", "reason": name, "pairs": ()})
    return made.run(failed, exact={name: {name: (1, 2)}}, failure=name, unavailable={name: name})


@cache
def _own_tags():
    return rendered(summary(judge_run(named("plain"))))[0]


@settings(max_examples=40)
@given(st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_name_means_itself(name):
    """Rendered, the only tags are those that plain names have; a reader sees the name, and nothing is linked."""
    tags, texts = rendered(summary(judge_run(named(name))))

    assert tags == _own_tags()
    assert printable(name) in [text.replace(BREAK, "") for text in texts] or not printable(name)
    for text in texts:
        assert not LIVE.search(text), text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_reason_means_itself(name):
    """So it is where nothing was measured and a sentence stands alone."""
    tags, texts = rendered(uncompared("Nothing was compared.", name))

    assert tags == ["<p>", "<strong>", "</strong>", "</p>"]
    assert texts[3].replace(BREAK, "").strip() == printable(name)
    assert not LIVE.search("".join(texts))


def test_what_a_gate_has_left_is_summed_up(tmp_path):
    """A run as ever; what was said instead of one in a sentence; anything else is refused by its name."""
    path = tmp_path / "told.json"
    run = made.run(timed(SAME))
    path.write_text(run.model_dump_json(by_alias=True), encoding="utf-8")
    assert told(path) == summary(judge_run(run))
    path.write_text('{"error": "no <commit>"}', encoding="utf-8")
    assert told(path) == "**Nothing was compared.** no &#60;commit&#62;\n"
    path.write_text('{"verdict": "only documents differ", "exit_code": 0}', encoding="utf-8")
    assert told(path) == "**No slowdown.** only documents differ\n"
    for content in ("{}", '{"error": 3}', '{"schema": 1}', "[", "[1]", ""):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"told\.json: "):
            told(path)


def test_long_names_stay_apart():
    """Wherever they differ, a row says which benchmark it is, and the verdict does not drown in its name."""
    long = [f"t.py::{'dict-' * 150}{i}{'-x' * 150}" for i in range(3)]
    text = summary(judge_run(made.run(*[timed(name, 0.2, confirmation=0.2) for name in long])))
    rows = [row.split(" | ")[0] for row in text.splitlines() if row.startswith("| t.py")]

    assert len({*rows}) == 3
    assert re.match(r"\*\*Slower: 3 benchmarks, t\.py::.{,200} most, by 2\d\.\d %\.\*\*\n", text)


def test_where_no_benchmark_is_decided_a_sentence_says_why():
    """As long as something is known of one, it does not."""
    open_ended = made.benchmark("open", pairs=1)

    unknown = summary(judge_run(made.run(open_ended)))
    assert "Nothing is known of the time of any benchmark: 1 pair of processes; 2 are needed." in unknown
    assert "Inconclusive does not fail the build" in unknown
    assert "Nothing is known" not in summary(judge_run(made.run(open_ended, timed(SAME))))


def test_a_summary_has_an_end():
    """However many rows there are, it fits, and says how many are missing."""
    exact = {f"[<{i}>]" * 30: {"registers": (8, 64)} for i in range(300)}
    text = summary(judge_run(made.run(timed(SAME), exact=exact)))

    assert len(text) < 60_000
    left = re.search(r"^(\d+) more: see the report\.$", text, re.MULTILINE)
    assert int(left[1]) + text.count("| worse |") == 300
