"""Wording: how numbers and names are written."""

import pytest

from deeptwins.pages import wording


@pytest.mark.parametrize(("value", "text"), [(0.04, "+0.0"), (-0.04, "+0.0"), (-1.25, "-1.2"), (56.12, "+56.1")])
def test_points_carry_a_sign(value, text):
    """A difference is written with its sign and one decimal, and never as minus zero."""
    assert wording.points(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (2.04e-7, "2e-7"),
        (9e-5, "9e-5"),
        (1e-4, "0.01 %"),
        (0.00312, "0.31 %"),
        (0.042, "4.2 %"),
        (0.2049, "20 %"),
        (2.5, "250 %"),
    ],
)
def test_shares_are_legible_at_any_size(value, text):
    """A share of a whole is written in percent, or as a power of ten where that would take many zeros."""
    assert wording.share(value) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-2.172, -0.048, "-2.17 to -0.05"),
        (0.0004, 3.0, "0.0004 to 3.0000"),
        (-2.172, 0.048, "-2.2 to 0.0"),
        (0.0, 0.0, "0.0 to 0.0"),
        (1.04, 2.0, "1.0 to 2.0"),
        (float("nan"), float("nan"), "-"),
    ],
)
def test_an_interval_that_excludes_0_does_not_seem_to_end_there(low, high, text):
    """An interval of a difference has one decimal, and more where an end that is not 0 would be rounded to it."""
    assert wording.apart(low, high) == text
