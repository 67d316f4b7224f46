"""Names on the gate's page are short, and none looks like another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins.gate.page.names import LINES, LONGEST_SHORT, in_lines, short_names
from gate_results_made import PREFIX, SAME, SLOW


@pytest.mark.parametrize(
    ("names", "short", "prefix"),
    [
        ([SLOW, SAME], ["step[cifar-56-residual]", "frames"], PREFIX),
        ([SLOW], ["step[cifar-56-residual]"], PREFIX),
        (["a.py::x", "b.py::x"], ["a.py::x", "b.py::x"], ""),
        (["step[a/b]", "step[a/c]"], ["step[a/b]", "step[a/c]"], ""),
        (["x"], ["x"], ""),
        ([], [], ""),
    ],
)
def test_names_are_shortened_for_the_eye(names, short, prefix):
    """What all share in front is left out, at the border of a file or class; never inside of brackets."""
    assert short_names(names) == (dict(zip(names, short, strict=True)), prefix)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a" * LONGEST_SHORT, ["a" * LONGEST_SHORT]),
        ("training_step.py::bench_step[cifar-20-residual]", ["training_step.py::bench_step", "[cifar-20-residual]"]),
        (f"{'a' * 30}::{'b' * 30}", [f"{'a' * 30}::", "b" * 30]),
        (f"{'a' * 30} and {'b' * 30}", [f"{'a' * 30} and", "b" * 30]),
        (f"{'a' * 50}::b", ["a" * LONGEST_SHORT, f"{'a' * 10}::b"]),
    ],
)
def test_a_long_name_gets_two_lines(name, lines):
    """In a figure nothing of it is cut: it breaks between words, and inside one only where no line holds that."""
    assert in_lines(name).split("\n") == lines


LONG = [
    [f"a.py::{'x' * 60}{i}" for i in range(2)],
    [f"a.py::{'x' * 30}{i}{'y' * 30}" for i in range(3)],
    [f"a.py::test[{'builtins.dict-' * 70}{i}{'-z' * 20}]" for i in range(20)],
    [f"a.py::{'x' * 500}{i}{'y' * 99}{j}{'z' * 400}" for i in range(3) for j in range(40)],
]


@pytest.mark.parametrize("names", LONG)
def test_shortened_names_stay_apart(names):
    """However long they are and wherever they differ: none is longer than a figure has room for, or like another."""
    short = short_names(names)[0]

    assert {*short} == {*names}
    assert all(len(name) <= LINES * LONGEST_SHORT for name in short.values())
    assert len({*short.values()}) == len(names)


@given(st.lists(st.text("ab", min_size=30, max_size=90), unique=True, max_size=12))
def test_no_two_names_become_the_same(names):
    """Whatever they are."""
    short = short_names(names)[0]

    assert len({*short.values()}) == len(names)
    assert all(len(name) <= LINES * LONGEST_SHORT for name in short.values())
