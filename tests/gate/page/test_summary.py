"""The summary of a run for pull requests: what changed comes first, no name means anything, and it has an end."""

import re

from hypothesis import given
from hypothesis import strategies as st

import gate_made as made
from deeptwins.gate.page.facts import judge_run
from deeptwins.gate.page.summary import summary
from gate_results_made import BROKEN, SAME, SLOW, comparison, timed


def test_the_summary_says_what_changed():
    """The verdict, exact differences, what changed; the rest is folded away, and nothing is left out."""
    text = summary(judge_run(comparison()))
    plain = re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), text)

    assert plain.startswith(f"**Slower: {SLOW} by 10.")
    assert (
        plain.index("Exact metrics that differ: 3") < plain.index("Changed or undecided: 2") < plain.index("<details>")
    )
    assert re.search(rf"\| {re.escape(SLOW)} \| slower \| \+\d+\.\d % \| \d+\.\d to \d+\.\d \| 4\.0 % \|", plain)
    folded = "".join(re.findall(r"<details>.*?</details>", plain, re.DOTALL))
    assert f"| {SAME} | no worse |" in folded
    assert f"| {BROKEN} | failed | RuntimeError: boom |" in folded
    assert "2 of 5 exact metrics are the same." in plain


def test_the_summary_of_an_unremarkable_run_is_short():
    """Where nothing differs, only the verdict is not folded."""
    text = summary(judge_run(made.run(timed(SAME), exact={"k": {"registers": (1, 1)}})))

    assert "Exact metrics that differ" not in text
    assert "Changed or undecided" not in text
    assert text.count("<details>") == 1


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
            assert line.count("|") in {4, 7}


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
