"""The list of a suite: what is written is read again, and what is another suite's stays."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import gate_made as made
from deeptwins.gate.arms import lists
from deeptwins.gate.compare.comparison import listing


@given(st.lists(st.text(min_size=1)))
@example(["test_x.py::test_x[a #1]", '"quoted"', "# no comment", " led", "two\nlines", "1", "\x85"])
def test_any_name_is_read_as_it_was_written(names):
    """Whatever a parameter is called."""
    assert lists.parse(lists.render(names)) == names


def test_a_list_by_hand_may_have_comments():
    """On lines of their own, and after a name."""
    assert lists.parse('# all\n\na::b[#c]  # slow\n"a::b[ #d]"  # odd\n  e\n') == ["a::b[#c]", "a::b[ #d]", "e"]


@pytest.mark.parametrize(
    ("name", "own"),
    [("bench/a.py::x[1]", True), ("bench/a.py", True), ("bench/b.py::x[bench/a.py::x]", False), ("imports", True)],
)
def test_suites_of_one_folder_have_their_own_names(name, own):
    """Those of its file; what is counted belongs to each."""
    assert lists.within(name, Path("bench/a.py")) is own
    assert lists.within(name, Path("bench"))


def test_what_other_suites_have_in_the_list_stays():
    """A list that is written anew loses only names of the suite that was measured."""
    before = lists.render(["bench/a.py::gone", "bench/b.py::theirs"])

    text = listing(made.run(made.benchmark("bench/a.py::new")), Path("bench/a.py"), before)

    assert lists.parse(text) == ["bench/a.py::new", "bench/b.py::theirs"]
