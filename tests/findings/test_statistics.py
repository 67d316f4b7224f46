"""Statistics: known answers, and what must hold of any numbers."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deeptwins.findings import statistics

VALUES = st.lists(st.integers(-1000, 1000).map(lambda n: n / 10), min_size=2, max_size=8).map(np.array)


def test_student_s_interval_and_p():
    """Of 1, 2, 6: mean 3, sd sqrt 7, t = 3 / sqrt(7 / 3) = 1.964 with 2 degrees of freedom."""
    values = np.array([1.0, 2.0, 6.0])

    half = 4.30265 * (7 / 3) ** 0.5

    assert statistics.t_interval(values) == pytest.approx((3 - half, 3 + half), abs=1e-4)
    assert statistics.t_test(values) == pytest.approx(0.18850, abs=1e-5)


@given(VALUES)
def test_the_test_and_the_interval_say_the_same(values):
    """P is below 0.05 just where the 95 % interval excludes 0, whatever the values, all equal or not."""
    low, high = statistics.t_interval(values)
    assume(min(abs(low), abs(high)) > 1e-9 or low == high)

    assert (statistics.t_test(values) < 0.05) == (low > 0 or high < 0)


@pytest.mark.parametrize(("values", "p"), [([0.0, 0.0], 1), ([3.0, 3.0], 0), ([-0.5, -0.5, -0.5], 0)])
def test_without_any_spread_there_is_no_doubt(values, p):
    """Differences that are all equal and not 0 are sure, and all 0 are no difference."""
    assert statistics.t_test(np.array(values)) == p


def test_rounding_leaves_a_doubt():
    """Values that are equal because they are rounded have at least its spread: t of 2 values is 3 / (0.5 / sqrt 2)."""
    assert statistics.t_test(np.array([3.0, 3.0]), 0.5) == pytest.approx(2 * math.atan(0.5 / 18**0.5) / math.pi)
    assert statistics.t_test(np.array([0.0, 0.0]), 0.5) == 1
    assert statistics.t_test(np.array([1.0, 5.0]), 0.5) == statistics.t_test(np.array([1.0, 5.0]))


def test_rounding_of_differences_of_errors():
    """Two errors, each rounded to whole images, differ with the spread that such differences are seen to have."""
    errors = np.random.default_rng(0).uniform(20, 30, (2, 100_000))
    own, other = errors - np.round(errors * 3.6) / 3.6

    assert statistics.rounding(360) == pytest.approx(np.std(own - other), rel=0.01)


@pytest.mark.parametrize("values", [[], [5.0]])
def test_one_value_supports_nothing(values):
    """Fewer than two values have neither interval, nor spread, nor p."""
    numbers = np.array(values, float)
    found = [*statistics.t_interval(numbers), *statistics.bootstrap_interval(numbers), statistics.sd(numbers)]

    assert all(map(math.isnan, [*found, statistics.t_test(numbers)]))


def test_the_mean_of_nothing_is_not_known():
    """Nothing has no mean, and one value no upper bound."""
    assert math.isnan(statistics.mean(np.array([])))
    assert math.isnan(statistics.t_bound(5.0, 1.0, 1))


def test_the_upper_bound_is_student_s():
    """Of four values it lies 2.353 standard errors above the mean: the 95 % quantile of t with three degrees."""
    assert statistics.t_bound(5.0, 2.0, 4) == pytest.approx(5.0 + 2.353363 * 2.0 / 2.0, rel=1e-6)


def test_page_is_exact():
    """L sums each column's rank times its number; of three rows in perfect order, 1 in 24 cubed, it is the largest."""
    values = np.array([[1, 11, 21, 31], [2, 12, 22, 32], [3, 13, 23, 33]], float)

    assert statistics.page(values) == pytest.approx((3 * (1 + 4 + 9 + 16), 1 / 24**3, 1))
    assert all(map(math.isnan, statistics.page(values[:, :2])))
    assert all(map(math.isnan, statistics.page(values[:1])))


def test_holm_by_hand():
    """Four p values, the smallest counted four times, the next three times, and never less than the one before."""
    adjusted = statistics.holm(np.array([0.03, 0.01, math.nan, 0.04, 0.011]), np.ones(5))

    assert adjusted == pytest.approx([0.06, 0.04, math.nan, 0.06, 0.04], nan_ok=True)


def test_weighted_holm_by_hand():
    """One test of weight 2 and two of weight 1: by p / weight they come as 0.005, 0.012 and 0.03."""
    adjusted = statistics.holm(np.array([0.012, 0.01, 0.03, 0.001]), np.array([1.0, 2.0, 1.0, 0.0]))

    assert adjusted == pytest.approx([0.024, 0.02, 0.03, math.nan], nan_ok=True)


TESTS = st.lists(
    st.tuples(st.just(0.0) | st.floats(1e-12, 1), st.sampled_from([1.0, 3.0, 10.0])), min_size=1, max_size=8
)


@given(TESTS, st.floats(0.001, 0.2))
def test_holm_rejects_step_by_step(tests, alpha):
    """Adjusted p below alpha is what Holm's own steps reject: p < alpha times its share of the weight that is left."""
    p, weights = (np.array(side, float) for side in zip(*tests, strict=True))
    adjusted = statistics.holm(p, weights)
    assume(not np.isclose(adjusted, alpha, rtol=1e-9, atol=0).any())  # where rounding decides
    rejected = set()
    for i in np.argsort(p / weights, kind="stable"):
        if not p[i] * sum(weights[j] for j in range(len(p)) if j not in rejected) / weights[i] < alpha:
            break
        rejected.add(i)

    assert {*np.flatnonzero(adjusted < alpha)} == rejected


@given(TESTS, st.sampled_from([0.25, 2.0, 8.0]))
def test_holm_only_makes_less_sure(tests, scale):
    """No adjusted p is below the raw one; a single test keeps its own; the unit of the weights does not matter."""
    p, weights = (np.array(side, float) for side in zip(*tests, strict=True))

    adjusted = statistics.holm(p, weights)

    assert (adjusted >= p).all()
    assert statistics.holm(p[:1], weights[:1]) == pytest.approx(p[:1])
    assert adjusted.tolist() == statistics.holm(p, scale * weights).tolist()


@given(st.permutations(range(6)))
def test_holm_knows_no_order(order):
    """Which test is named first changes nothing."""
    p, weights = np.array([0.001, 0.01, 0.02, 0.02, 0.3, 0.9]), np.array([1.0, 1, 10, 1, 10, 1])

    assert (
        statistics.holm(p[list(order)], weights[list(order)]).tolist()
        == statistics.holm(p, weights)[list(order)].tolist()
    )


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10), (2.0, 5)])
def test_how_many_seeds_is_known(effect, seeds):
    """The numbers of pairs that G*Power gives for a paired t test, two-sided at 5 %, power 80 %."""
    assert statistics.seeds_needed(1.0, effect) == statistics.seeds_needed(3.0, -3 * effect) == seeds


@given(st.floats(0.05, 20))
def test_that_many_seeds_are_enough_and_one_less_is_not(effect):
    """With as many seeds power is at least 80 %, with one less it is below."""
    n = int(statistics.seeds_needed(1.0, effect))

    assert statistics.power(n, effect) >= 0.8
    assert n == 2 or statistics.power(n - 1, effect) < 0.8


@pytest.mark.parametrize(
    ("sd", "difference", "seeds"),
    [(0.0, 1.0, 2), (1.0, 0.0, math.inf), (0.0, 0.0, math.inf), (math.nan, 1.0, math.nan)],
)
def test_how_many_seeds_at_the_ends(sd, difference, seeds):
    """Without spread two seeds show it; no number of seeds shows a difference of 0; from one seed nobody knows."""
    assert statistics.seeds_needed(sd, difference) == pytest.approx(seeds, nan_ok=True)


def test_power_is_what_simulated_studies_have():
    """Of simulated studies with as many seeds as needed, 80 % see the difference (within 4 standard errors)."""
    n = int(statistics.seeds_needed(2.0, 3.0))
    values = np.random.default_rng(0).normal(3, 2, (2000, n))

    seen = np.mean([statistics.t_test(row) < 0.05 for row in values])

    assert seen == pytest.approx(statistics.power(n, 1.5), abs=4 * (0.16 / 2000) ** 0.5)


@pytest.mark.parametrize(("error", "points"), [(7.0, 0.255), (8.75, 0.283), (13.0, 0.336), (0.0, 0.0), (100.0, 0.0)])
def test_the_noise_floor_of_10000_images(error, points):
    """The binomial standard deviation of an error on CIFAR-10's test set, in points; none at 0 and 100 %."""
    assert statistics.noise_floor(error, 10_000) == pytest.approx(points, abs=5e-4)


def test_why_students_interval_decides():
    """With three seeds the bootstrap's interval only reaches from the least to the greatest difference."""
    values = np.array([3.0, 4.0, 9.0])
    low, high = statistics.t_interval(values)

    assert statistics.bootstrap_interval(values) == (3, 9)
    assert low < 3
    assert high > 9
