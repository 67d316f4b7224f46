"""Timings of packing and of choices: what they come to, and what is refused."""

import math

import pytest

from choices_made import chosen, packed, written
from deeptwins.pages.choices import numbers


def loaded(folder, *benchmarks):
    """Timings, read back."""
    return numbers.BENCHES.load(written(folder, *benchmarks))


def test_what_a_case_of_packing_comes_to(tmp_path):
    """128 images in 4 ms are 32,000 a second for each net; ratio and quartiles are the bench's."""
    row = loaded(tmp_path, packed(2.0)).packing.iloc[0]

    assert row["images_per_s_per_net"] == pytest.approx(32_000)
    assert row["ms"] == pytest.approx(4)
    assert (row["ratio"], row["ratio_q1"], row["ratio_q3"]) == pytest.approx((2.0, 1.8, 2.2))


def test_what_a_case_of_a_choice_comes_to(tmp_path):
    """200 iterations in 600 ms are 3 ms each, 3/4 of the trainer's 4 ms, which is told by its value."""
    found = loaded(tmp_path, chosen(8, 4.0), chosen(4, 3.0)).choices.set_index("value")

    assert found.loc[4, "ms"] == pytest.approx(3)
    assert found.loc[4, "fastest_ms"] == pytest.approx(2.7)
    assert found.loc[4, "slowest_ms"] == pytest.approx(3.6)
    assert found["over_trainers"].to_dict() == pytest.approx({8: 1.0, 4: 0.75})
    assert found["the_trainers"].to_dict() == {8: True, 4: False}


def test_without_the_trainers_value_nothing_is_set_against_it(tmp_path):
    """What was not timed is not known."""
    assert math.isnan(loaded(tmp_path, chosen(4, 3.0)).choices.loc[0, "over_trainers"])


def test_settings_that_decide(tmp_path):
    """Two nets, grouped, in the trainer's layout: no other row decides whether packing would pay."""
    others = packed(9.0, "gemm"), packed(9.0, layout="contiguous"), packed(9.0, nets=8), packed(9.0, "separate")

    assert loaded(tmp_path, packed(1.2), *others).decisive["ratio"].tolist() == [1.2]
    assert loaded(tmp_path, chosen()).decisive.empty
