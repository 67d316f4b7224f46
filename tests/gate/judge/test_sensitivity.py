"""How small a slowdown the gate finds: by theory, and by the runs that tell."""

import math

import numpy as np
import pytest
from scipy.special import stdtr

import gate_made as made
from deeptwins.gate.judge import sensitivity


@pytest.mark.parametrize("tests", [1, 7])
def test_the_smallest_slowdown_is_found_in_80_of_100(tests):
    """Batches of pairs drawn with that slowdown are significant twice in 80 of 100 cases, by Student's t."""
    pairs, alpha = 5, 0.05
    size = sensitivity.shift(pairs, alpha, tests) / math.sqrt(pairs)  # in standard deviations of a pair
    drawn = np.random.default_rng(0).standard_normal((2, 20_000, pairs)) + size
    t = drawn.mean(axis=2) / drawn.std(axis=2, ddof=1) * math.sqrt(pairs)
    p = stdtr(pairs - 1, -t)

    assert ((p[0] < alpha / tests) & (p[1] < alpha)).mean() == pytest.approx(0.8, abs=0.01)


def test_runs_of_a_part_of_the_suite_do_not_sharpen_the_gate():
    """How small a slowdown it finds rests on A/A runs of the whole, not on a later run of one benchmark."""
    names = [f"b{i}" for i in range(9)]
    aa = [made.run(*(made.benchmark(name, seed=i) for name in names), kind="aa") for i in range(4)]
    part = made.run(made.benchmark("b0"), kind="anchor", started="2027-01-01T00:00:00Z")
    measured = sensitivity.controls(sensitivity.known(aa))

    alone, beside = sensitivity.sensitivity(aa, measured), sensitivity.sensitivity([*aa, part], measured)

    assert set(alone["tests"]) == {9}
    assert beside.equals(alone)
