"""Names on the gate's page are short, and none looks like another."""

import pytest

from deeptwins.gate.page.names import LONGEST_SHORT, short_names
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
    apart = short_names([f"a.py::{'x' * 60}{i}" for i in range(2)])[0]
    assert all(len(name) <= LONGEST_SHORT for name in apart.values())
    same = [f"a.py::{'x' * 30}{i}{'y' * 30}" for i in range(2)]
    assert len({*short_names(same)[0].values()}) == 2
