"""Wording: how numbers and names are written."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deeptwins.pages import wording

IMAGES = 1437
COUNTS = st.integers(0, 5 * IMAGES)  # images that five seeds together get wrong


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


@given(COUNTS, COUNTS, st.integers(1, 9999), st.integers(1, 3))
@example(4, 1, 120, 1)  # 0.0557 % and 0.0139 %: to two decimals 0.06 - 0.01 would be 0.05, and the true one is 0.04
def test_two_errors_their_difference_and_its_interval_add_up_as_printed(wrong, others, half, least):
    """Of two errors as printed the difference is the one printed, which lies in the middle of its interval."""
    value, other = (100 * count / (5 * IMAGES) for count in (wrong, others))
    decimals = wording.decimals_adding(value, other, least)

    first, second = (Decimal(wording.percent(error, decimals).removesuffix(" %")) for error in (value, other))
    printed = Decimal(wording.difference(value, other, decimals))
    ends = [value - other - half / 1000, value - other + half / 1000]
    low, high = (Decimal(text) for text in wording.interval(*ends, decimals).split(" to "))

    assert printed == first - second == Decimal(wording.points(value - other, decimals))
    assert abs((low + high) / 2 - printed) <= Decimal(10) ** -decimals / 2
    assert decimals == least or wording.difference(value, other, least) != wording.points(value - other, least)


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
