"""Wording: how numbers and names are written."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins.pages import wording

ERRORS = st.floats(0, 100)


@pytest.mark.parametrize(("value", "text"), [(0.04, "0.0"), (-0.04, "0.0"), (-1.25, "-1.2"), (56.12, "+56.1")])
def test_points_carry_a_sign(value, text):
    """A difference is written with its sign and one decimal; a zero has no sign."""
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


@given(ERRORS, ERRORS, st.integers(1, 3))
def test_two_errors_and_their_difference_add_up_as_printed(value, other, least):
    """Whatever two errors are, the difference beside them is that of what is printed, and as true as asked for."""
    decimals = wording.decimals_adding(value, other, least)

    first, second = (Decimal(wording.percent(error, decimals).removesuffix(" %")) for error in (value, other))
    printed = Decimal(wording.difference(value, other, decimals))

    assert printed == first - second
    assert abs(float(printed) - (value - other)) <= 0.51 * 10**-least
    assert decimals in {least, least + 1}


@pytest.mark.parametrize(
    ("seeds", "text"), [(1, "one seed cannot tell"), (10, "ten seeds cannot tell"), (11, "11 seeds cannot tell")]
)
def test_seeds_that_cannot_tell_are_counted_in_words(seeds, text):
    """Up to ten seeds are a word; a single one is singular."""
    assert wording.cannot_tell(seeds) == text


@pytest.mark.parametrize(
    ("group", "groups", "text"),
    [
        ("cifar", ["cifar"], "It falls."),
        ("cifar", ["cifar", "imagenet"], "In the cifar family, it falls."),
        ("cifar, warmup 0", ["cifar, warmup 0", "cifar, warmup 45"], "Warmup 0: it falls."),
        ("cifar, warmup 0", ["cifar, warmup 0", "imagenet"], "In the cifar family, warmup 0, it falls."),
    ],
)
def test_a_sentence_begins_with_the_family_or_setting_that_it_is_about(group, groups, text):
    """Of several families or settings a sentence names its own, of one none."""
    assert wording.of_group(group, groups, "it falls.") == text
