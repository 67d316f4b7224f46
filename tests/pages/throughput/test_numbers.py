"""Timings of throughput: rates, ratios and projections with known answers; and what is refused."""

import pytest

from deeptwins.pages.throughput import numbers
from throughput_made import case, each, grid, together, written


def loaded(folder, *benchmarks):
    """Timings, read back."""
    return numbers.BENCHES.load(written(folder, *benchmarks))


def rate_of(found, way, precision="tf32"):
    """The row of a way and precision."""
    rows = found.rates[(found.rates["way"] == way) & (found.rates["precision"] == precision)]
    return rows.iloc[0]


def test_a_case_has_its_rates_and_its_share_of_the_roofline(tmp_path):
    """100 iterations in a second are 10 ms each; a roofline of 2.5 ms is a quarter of that."""
    row = loaded(tmp_path, together(), case(ms=10.0)).cases.iloc[1]

    assert row["ms_per_iteration"] == pytest.approx(10)
    assert row["net_iterations_per_s"] == pytest.approx(100)
    assert row["images_per_s"] == pytest.approx(12_800)
    assert row["roofline_ms"] == pytest.approx(2.5)
    assert row["percent_of_roofline"] == pytest.approx(25)


def test_nets_together_count_each(tmp_path):
    """Four nets that advance by one in 4 ms are 1,000 net-iterations/s; 4 x 64,000 take 256 s, evaluations 61.5 s."""
    rate = rate_of(loaded(tmp_path, together(4.0)), "together")

    assert rate["net_iterations_per_s"] == pytest.approx(1000)
    assert rate["training_minutes"] == pytest.approx(256 / 60)
    assert rate["minutes"] == pytest.approx((256 + 41 * 1.5) / 60)
    assert rate["fastest_per_s"] == pytest.approx(1250)
    assert rate["slowest_per_s"] == pytest.approx(800)


def test_one_after_another_takes_the_sum_of_the_times(tmp_path):
    """Nets of 10 and 30 ms do 2 iterations in 40 ms: 50 a second, which is no mean of their rates."""
    loops = [case("usual", 10.0, depth=20), case("usual", 30.0, depth=56)]

    rate = rate_of(loaded(tmp_path, together(4.0, nets=2), *loops), "usual")

    assert rate["net_iterations_per_s"] == pytest.approx(50)
    assert rate["percent_of_roofline"] == pytest.approx(100 * 5 / 40)


def test_ratios_are_taken_within_a_precision(tmp_path):
    """The usual loop is compared in fp32, the compiled one in bf16: 1,000 / 40 and 2,000 / 500."""
    ratios = loaded(tmp_path, *grid()).ratios

    assert ratios["loop"].tolist() == ["usual", "compiled"]
    assert ratios["ratio"].tolist() == pytest.approx([25, 4])
    assert ratios["target"].tolist() == [20, 5]


def test_a_loop_that_some_nets_lack_has_no_ratio(tmp_path):
    """The nets that were timed say nothing about the others."""
    found = loaded(tmp_path, together(), *each("usual", 25.0, "tf32")[:-1])

    assert found.ratios.empty
    assert found.rates["way"].tolist() == ["together"]
    assert len(found.cases) == 4


@pytest.mark.parametrize(
    ("changes", "judged"),
    [({}, True), ({"device": "NVIDIA H200"}, True), ({"rehearsal": True}, False), ({"device": "AMD EPYC"}, False)],
)
def test_targets_are_for_some_devices(tmp_path, changes, judged):
    """They are judged on an H100 or H200, and not in a rehearsal."""
    assert loaded(tmp_path, together(**changes)).judged is judged
