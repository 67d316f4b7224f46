"""Which cases of a product the tests run."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairwise import cross, label, pairwise, singly

FACTORS = st.lists(st.integers(1, 5), min_size=2, max_size=4)


def met(cases, together):
    """Give what meets in some case: values, or pairs of them."""
    return {some for case in cases for some in combinations(case.items(), together)}


@pytest.mark.parametrize(("choose", "together"), [(singly, 1), (pairwise, 2)])
@given(sizes=FACTORS, random=st.randoms(use_true_random=False))
def test_whatever_meets_still_meets(choose, together, sizes, random):
    """Of whichever cases are possible, those chosen are some, each once, and all values, or pairs, are among them."""
    every = cross(**{f"factor {i}": range(size) for i, size in enumerate(sizes)})
    possible = [case for case in every if random.random() < 0.7]

    chosen = choose(possible)

    assert met(chosen, together) == met(possible, together)
    assert [case for case in possible if case in chosen] == chosen


def test_of_two_factors_nothing_is_left_out():
    """A product of two is run whole; of one of five, about as many as the two largest have together."""
    assert pairwise(cross(a="xyz", b="pq")) == cross(a="xyz", b="pq")
    assert len(pairwise(cross(a=range(9), b=range(5), c=range(5), d=range(3), e=range(3)))) < 9 * 5 * 1.3


def test_a_case_is_named_by_its_values():
    """The name of a case is made of its values."""
    assert [label(case) for case in cross(a="x", b=(True, 2))] == ["x-True", "x-2"]
