"""Margins: what A/A runs say of how far an estimate strays where nothing differs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gate_made as made
from deeptwins.gate.judge import noise
from deeptwins.gate.judge.estimates import estimate, usable

SMALL = st.integers(-200, 200).map(lambda n: n / 1000)


def controls(number, **sample):
    """A/A runs, one a day, of two benchmarks."""
    return [
        made.run(
            made.benchmark("step", **{"noise": 0.05, "seed": day} | sample),
            made.benchmark("stream", noise=0.001, seed=day),
            kind="aa",
            started=f"2026-01-{day + 1:02}T00:00:00Z",
        )
        for day in range(number)
    ]


def test_the_margin_is_how_far_the_last_thirty_stray():
    """The largest of the last 30 to either side, as a ratio; one before them is forgotten."""
    values = [0.5, *[0.01] * 15, -0.08, *[0.02] * 14]

    assert noise.margin(values, 0.03) == pytest.approx(math.exp(0.08) - 1)


def test_quiet_benchmarks_keep_the_least_margin():
    """Where controls stray less than what is tolerated anyway, that holds."""
    assert noise.margin([0.001] * 30, 0.03) == 0.03


@pytest.mark.parametrize("number", [0, 1, 9, 10])
def test_a_few_controls_say_nothing(number):
    """The least margin holds up to nine controls; from the tenth on they count."""
    assert (noise.margin([0.1] * number, 0.03) == 0.03) == (number < 10)


@given(st.lists(SMALL, max_size=40), SMALL.map(abs))
def test_a_margin_is_never_less_than_the_least_and_knows_no_sides(values, least):
    """It is the same for controls of the other sign, and grows with them."""
    margin = noise.margin(values, least)

    assert margin >= least
    assert noise.margin([-value for value in values], least) == margin
    assert noise.margin([2 * value for value in values], least) >= margin


def test_each_benchmark_has_its_own_margin():
    """The noisy one strays beyond what is tolerated, the quiet one does not; both tell on how many controls."""
    margins = noise.margins(reversed(controls(12)), made.MACHINE, 0.005)
    strayed = [estimate(usable(run.benchmarks[0].pairs)).log_ratio for run in controls(12)]

    assert margins["stream"] == (0.005, 12)
    assert margins["step"] == (pytest.approx(math.expm1(max(map(abs, strayed)))), 12)


def test_only_the_last_thirty_by_date_count():
    """However the runs are ordered, the 31st from the end is forgotten."""
    days = [*controls(31)[1:], made.run(made.benchmark("step", 0.5), kind="aa", started="2025-12-31T00:00:00Z")]

    margin, number = noise.margins(days, made.MACHINE, 0.03)["step"]

    assert number == 30
    assert margin < 0.1


@pytest.mark.parametrize(
    "unfit",
    [
        {"kind": "paired"},
        {"kind": "slower"},
        {"machine": "another"},
        {"status": "failed"},
        {"rejected": 6},
        {"pairs": 1},
    ],
    ids=str,
)
def test_what_is_no_control_is_passed_over(unfit):
    """Runs that are no A/A, of another machine, or that could not be judged, move no margin."""
    sample = {key: unfit[key] for key in ("rejected", "pairs") if key in unfit}
    changes = {key: unfit[key] for key in ("status",) if key in unfit}
    benchmark = made.benchmark("step", 0.5, changes=changes, **sample)
    run = made.run(
        benchmark,
        kind=unfit.get("kind", "aa"),
        machine=unfit.get("machine", made.MACHINE),
        started="2026-02-01T00:00:00Z",
    )

    margins = noise.margins([*controls(12), run], made.MACHINE, 0.03)

    assert margins == noise.margins(controls(12), made.MACHINE, 0.03)


def test_a_second_batch_is_no_control():
    """It is taken only where the first is suspicious, and would make the noise look worse, or better."""
    with_it = controls(12, confirmation=0.5)

    assert noise.margins(with_it, made.MACHINE, 0.03) == noise.margins(controls(12), made.MACHINE, 0.03)


def test_a_quarter_of_the_blocks_may_be_rejected():
    """Five of twenty are; six are too many; nothing measured is nothing rejected."""
    assert not noise.spoiled(made.batch(rejected=5))
    assert noise.spoiled(made.batch(rejected=6))
    assert not noise.spoiled(())
