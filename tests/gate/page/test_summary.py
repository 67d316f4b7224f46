"""The summary of a run for pull requests: what changed comes first, no name means anything, and it has an end."""

import re

from hypothesis import given
from hypothesis import strategies as st

import gate_made as made
from deeptwins.gate.page.facts import judge_run
from deeptwins.gate.page.summary import summary
from gate_results_made import BROKEN, SAME, SLOW, comparison, timed


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


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_summary_takes_no_name_for_markup(name):
    """Whatever a name is, the only markup is the summary's own, and every table has as many cells as it should."""
    failed = made.benchmark(name, changes={"status": "failed", "reason": name, "pairs": ()})
    text = summary(judge_run(made.run(failed, exact={name: {name: (1, 2)}})))

    for tag in re.findall(r"<[^>]*>", text):
        assert tag in {"<details>", "</details>", "<summary>", "</summary>"}
    assert not re.search(r"[`\[\]_#@](?<!&#)", text.replace("&#", ""))
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") in {2, 4, 7}


def test_a_summary_breaks_up_mentions_and_links():
    """GitHub makes links of mentions, numbers and addresses even where Markdown does not."""
    text = summary(judge_run(made.run(failure="ask @octocat about #1 and https://e.vil or www.e.vil")))
    rendered = re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), text)

    assert "@octocat" not in rendered
    assert "#1" not in rendered
    assert "://" not in text
    assert "www.e" not in text


def test_a_summary_has_an_end():
    """However many rows there are, it fits, and says how many are missing."""
    exact = {f"[<{i}>]" * 30: {"registers": (8, 64)} for i in range(300)}
    text = summary(judge_run(made.run(timed(SAME), exact=exact)))

    assert len(text) < 60_000
    left = re.search(r"^(\d+) more: see the report\.$", text, re.MULTILINE)
    assert int(left[1]) + text.count("| worse |") == 300
