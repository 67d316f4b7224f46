"""Estimates from pairs of processes: known answers, and what must hold of any times."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

import gate_made as made
from deeptwins.gate.judge import estimates
from deeptwins.gate.judge.estimates import (
    Estimate,
    benjamini_hochberg,
    estimate,
    hodges_lehmann,
    p_beyond,
    usable,
)

VALUE = st.integers(-300, 300).map(lambda n: n / 1000)
PAIRS = st.lists(st.lists(VALUE, min_size=1, max_size=4), min_size=2, max_size=6)
few = settings(max_examples=25)  # Each takes many bootstrap samples.


def without_ties(pairs):
    """Whether no two pairs have the same value, but for the rounding of sums."""
    return len({round(hodges_lehmann(pair), 9) for pair in pairs}) == len(pairs)


def ends(result):
    """Return what swaps and shifts with the arms."""
    return result.log_ratio, result.low, result.high


def test_hodges_lehmann_by_hand():
    """Of 1, 2, 9 the averages are 1, 1.5, 5, 2, 5.5, 9: their median is 3.5. Of nothing it is not known."""
    assert hodges_lehmann([9, 1, 2]) == 3.5
    assert hodges_lehmann([-0.5]) == -0.5
    assert math.isnan(hodges_lehmann([]))


def test_a_block_in_four_and_a_pair_in_four_may_be_far_off():
    """One absurd block in each pair, and one absurd pair, leave the estimate at what all the others say."""
    pair = [0.05, 0.05, 0.05, 7.0]

    assert estimate([pair, pair, pair, [9.0, 9.0]]).log_ratio == pytest.approx(0.05)


def test_a_pair_counts_once_however_many_blocks_it_has():
    """A pair with many blocks does not outvote four pairs with one."""
    result = estimate([[0.3] * 30, [0.1], [0.1], [0.1], [0.1]])

    assert result.log_ratio == pytest.approx(0.1)
    assert (result.pairs, result.blocks, result.agreeing) == (5, 34, 5)


def test_agreeing_pairs_have_the_sign_of_the_estimate():
    """Of five pairs, four say slower; a pair that says nothing agrees with nobody."""
    assert estimate([[0.1], [0.2], [0.1], [0.1], [-0.1]]).agreeing == 4
    assert estimate([[-0.1], [-0.2], [-0.1], [0.0]]).agreeing == 3


def test_student_s_interval_is_covered():
    """Few pairs whose blocks agree: the interval is at least Student's of their values, whatever the bootstrap says."""
    values = [0.01, 0.02, 0.06]
    result = estimate([[value] * 4 for value in values])

    half = 4.30265 * np.std(values, ddof=1) / 3**0.5

    assert result.low == pytest.approx(0.03 - half, abs=1e-6)
    assert result.high == pytest.approx(0.03 + half, abs=1e-6)


def test_the_bootstrap_s_interval_is_covered():
    """Pairs of one value whose blocks do not agree: Student's interval is a point, and the blocks make it wide."""
    result = estimate([[-0.1, 0.1]] * 6)

    assert result.low < -0.02
    assert result.high > 0.02


def test_p_by_student_by_hand():
    """Pairs at 0.02, 0.04, 0.06 against 0: t = 0.04 / (0.02 / sqrt 3), with 2 degrees of freedom, one-sided."""
    pairs = [[0.02] * 4, [0.04] * 4, [0.06] * 4]
    p = stats.t.sf(0.04 / (0.02 / 3**0.5), 2)

    assert p_beyond(pairs, 0.0) == pytest.approx(p)
    assert p_beyond(pairs, 0.0, -1) == pytest.approx(1)
    assert p_beyond(pairs, 0.04) >= 0.5
    assert p_beyond(pairs, 0.02) > p_beyond(pairs, 0.0)


def test_no_p_is_zero_and_the_bootstrap_s_counts_where_it_is_larger():
    """Without spread Student's p is 0: what is left is one over the draws and one. With equal pairs, blocks decide."""
    assert p_beyond([[0.1]] * 5, 0.03) == 1 / (estimates.DRAWS + 1)
    assert p_beyond([[0.1]] * 5, 0.1) == 1
    assert p_beyond([[-0.1, 0.1]] * 6, 0.0) > 0.3


@pytest.mark.parametrize("pairs", [[], [[0.2, 0.3, 0.25, 0.2]]])
def test_one_pair_supports_nothing(pairs):
    """With fewer than two pairs there is no interval, and each p is 1."""
    result = estimate(pairs)

    assert math.isnan(result.low)
    assert math.isnan(result.high)
    assert result.pairs == len(pairs)
    assert math.isnan(result.log_ratio) == (not pairs)
    assert p_beyond(pairs, -1) == p_beyond(pairs, 1, -1) == 1


def test_rejected_blocks_and_pairs_of_nothing_else_do_not_count():
    """Five of eight blocks in two pairs are rejected: three are left, in one pair."""
    pairs = usable(made.batch(0.1, pairs=2, noise=0.001, rejected=5))

    assert [len(pair) for pair in pairs] == [3]
    assert pairs[0] == pytest.approx([0.1] * 3, abs=0.01)


@pytest.mark.parametrize("drift", [0.3, -0.05])
def test_a_linear_drift_within_blocks_cancels(drift):
    """A machine that slows down, or speeds up, from segment to segment leaves the ratio as it is."""
    steady, drifting = (usable(made.batch(0.05, drift=d, noise=0.001, seed=1)) for d in (0, drift))

    assert estimate(drifting).log_ratio == pytest.approx(estimate(steady).log_ratio, abs=1e-4)


def test_what_slows_both_arms_cancels():
    """A block on a machine of half the speed has the same log ratio."""
    blocks = [block for pair in made.batch(0.05) for block in pair]
    slow = [block.model_copy(update={"seconds": tuple(2 * s for s in block.seconds)}) for block in blocks]

    assert [b.log_ratio for b in slow] == pytest.approx([b.log_ratio for b in blocks])


@few
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_pairs_and_blocks_means_nothing(pairs, rng):
    """However pairs and their blocks are ordered, estimate and p are the same to the last digit."""
    other = [rng.sample(pair, len(pair)) for pair in rng.sample(pairs, len(pairs))]

    assert estimate(other) == estimate(pairs)
    assert p_beyond(other, 0.01) == p_beyond(pairs, 0.01)


@few
@given(PAIRS)
def test_swapping_the_arms_turns_the_sign(pairs):
    """With base and head swapped, the estimate is negative, the interval mirrored, and the tests change places."""
    assume(without_ties(pairs))  # pairs of equal values have no one order
    result, turned = estimate(pairs), estimate([[-value for value in pair] for pair in pairs])

    assert ends(turned) == pytest.approx((-result.log_ratio, -result.high, -result.low), abs=1e-12)
    assert turned.agreeing == result.agreeing
    assert p_beyond([[-value for value in pair] for pair in pairs], -0.0123456, -1) == pytest.approx(
        p_beyond(pairs, 0.0123456), abs=1e-9
    )


@few
@given(PAIRS, st.integers(-64, 64).map(lambda n: n / 64))
def test_a_factor_shifts_the_interval(pairs, shift):
    """Head slower by a further factor moves estimate and interval by it, and makes neither wider."""
    assume(without_ties(pairs))
    result, moved = estimate(pairs), estimate([[value + shift for value in pair] for pair in pairs])

    assert ends(moved) == pytest.approx([value + shift for value in ends(result)], abs=1e-9)


@few
@given(PAIRS)
def test_the_estimate_lies_within_its_interval_and_the_blocks(pairs):
    """The interval has the mean of the pairs' values, the estimate is none that no block comes near."""
    result = estimate(pairs)
    values = [value for pair in pairs for value in pair]

    assert result.low - 1e-12 <= np.mean([hodges_lehmann(pair) for pair in pairs]) <= result.high + 1e-12
    assert min(values) <= result.log_ratio <= max(values)


@few
@given(PAIRS, VALUE)
def test_test_and_interval_do_not_contradict_each_other(pairs, threshold):
    """Where one-sided p is below 2.4 %, the two-sided 95 % interval lies above the threshold."""
    if p_beyond(pairs, threshold) < 0.024:
        assert estimate(pairs).low > threshold - 1e-12
    if p_beyond(pairs, threshold, -1) < 0.024:
        assert estimate(pairs).high < threshold + 1e-12


@pytest.mark.slow
def test_the_interval_holds_what_it_promises():
    """Of 300 made-up samples with heavy tails and pairs of their own layout, 95 % or more cover the truth."""
    samples = (usable(made.batch(0.05, noise=0.02, layout=0.01, seed=seed)) for seed in range(300))
    result = [estimate(pairs) for pairs in samples]

    assert sum(one.low <= 0.05 <= one.high for one in result) >= 285
    assert np.mean([one.log_ratio for one in result]) == pytest.approx(0.05, abs=0.001)
    assert np.mean([one.high - one.low for one in result]) < 0.06


def test_benjamini_and_hochberg_by_hand():
    """Each p times the number of tests over its rank, and no more than the next; nothing of nothing."""
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert benjamini_hochberg([]) == []


def test_many_pairs_are_estimated_in_parts():
    """So many averages that they are not held at once give the median of all."""
    values = np.random.default_rng(0).normal(size=(40, 600))

    result = estimates._hodges_lehmann(values)

    first, second = np.triu_indices(600)
    assert result[[0, 39]] == pytest.approx(
        np.median((values[[0, 39]][:, first] + values[[0, 39]][:, second]) / 2, axis=1)
    )
    assert len(result) == 40


def test_an_estimate_is_a_value():
    """Equal samples give equal estimates, of plain numbers."""
    result = estimate([[0.1, 0.2], [0.1, 0.3]])

    assert result == estimate(((0.1, 0.2), (0.1, 0.3)))
    assert isinstance(result, Estimate)
    assert {type(value) for value in ends(result)} == {float}
