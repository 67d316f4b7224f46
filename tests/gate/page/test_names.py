"""Names on the gate's page are short, and none looks like another."""

import pytest

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


def test_shortened_names_stay_apart():
    """Long ones are cut in the middle, but not so that two become the same."""
    apart = short_names([f"a.py::{'x' * 100}{i}" for i in range(2)])[0]
    assert all(len(name) <= LINES * LONGEST_SHORT for name in apart.values())
    same = [f"a.py::{'x' * 60}{i}{'y' * 60}" for i in range(2)]
    assert len({*short_names(same)[0].values()}) == 2


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
