"""Findings: errors by depth, curves, drift, and all that a report draws from."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made
from deeptwins.findings import derive, frames, learning
from deeptwins.study.claims import Expect

NAN = math.nan
AGREES = Expect(twin="triton", agrees_with="eager")
EVERYWHERE = frozenset(("cifar", depth) for depth in (8, 20, 56))


def finals(errors, twin="plain", group="cifar"):
    """Final errors from {depth: one error a seed}; NaN for a seed that did not finish."""
    metrics = ("train_error_pct", "running_error_pct", "test_error_pct")
    rows = [
        {"run": f"{group}-{depth}-{seed}", "family": group.split(",")[0], "group": group, "depth": depth, "seed": seed}
        | {"twin": twin, "iteration": 10, "test_images": 360, "train_images": 1437, "chance_pct": 90.0}
        | {"train_loss": 1.0, "running_loss": 1.0}
        | dict.fromkeys(metrics, error)
        for depth, values in errors.items()
        for seed, error in enumerate(values)
        if not math.isnan(error)
    ]
    return learning.assess(pd.DataFrame(rows), 1.0)


def test_the_last_evaluation_counts(tmp_path):
    """Of each net the last evaluation counts, never the best, and a net that diverged stays in."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    made.write(results, study.runs[0], made.records(study.runs[0], diverged=["plain"]))

    last = derive.latest(frames.load(study, results))

    assert len(last) == 2 * len(study.runs)
    assert set(last["test_images"]) == {360}
    lost = last[(last["run"] == study.runs[0].id) & (last["twin"] == "plain")]
    assert lost[["iteration", "train_error_pct"]].to_numpy().tolist() == [[120, 100.0]]
    assert set(last["iteration"]) == {120, 240}


def test_a_net_trained_in_two_runs_counts_once():
    """A twin that fixes its own depth is in several runs of a seed and is still one net."""
    again = finals({20: [5.0]}).assign(run="another")

    assert len(derive.final(pd.concat([finals({20: [5.0]}), again]))) == 1


def test_by_depth_has_students_interval():
    """Mean, sd and the 95 % t interval, which for 11, 12, 13 is 12 -+ 4.303 / sqrt 3."""
    row = derive.by_depth(finals({20: [11.0, 12.0, 13.0]}), 20)[0]

    assert (row.n, row.mean, row.sd) == (3, 12, 1)
    assert [row.low, row.high] == pytest.approx([9.5159, 14.4841], abs=1e-4)


def test_an_error_has_no_interval_beyond_0_and_100():
    """An interval for an error ends where errors end."""
    rows = derive.by_depth(finals({20: [0.0, 4.0], 56: [96.0, 100.0]}), 20)

    assert (min(row.low for row in rows), max(row.high for row in rows)) == (0, 100)


def test_one_seed_has_no_interval():
    """From one seed there is a mean and no interval."""
    row = derive.by_depth(finals({20: [11.0]}), 20)[0]

    assert (row.n, row.mean) == (1, 11)
    assert all(map(math.isnan, (row.sd, row.low, row.high)))


@pytest.mark.parametrize(
    ("errors", "failed", "outcome"),
    [
        ([90.0, 91.0], 2, "fails"),
        ([20.0, 20.0], 0, "trains"),
        ([19.0, 21.0], 1, "inconclusive"),
        ([30.0, 90.0], 2, "inconclusive"),
        ([90.0], 1, "inconclusive"),
    ],
)
def test_what_fails_to_train(errors, failed, outcome):
    """Seeds above the bound are counted; whether the twin fails, the whole interval says, and one seed never."""
    row = derive.by_depth(finals({20: errors}), 20.0)[0]

    assert (row.failed, row.outcome) == (failed, outcome)


def test_without_a_bound_no_error_is_a_failure():
    """Where the study has no bound a twin fails only where it learned nothing in any seed."""
    row = derive.by_depth(finals({20: [80.0, 81.0]}), None)[0]

    assert (row.failed, row.outcome) == (0, "trains")


def test_the_noise_floor_is_the_test_set_s():
    """The mean test error of 20 %, on 360 images, has a binomial standard deviation of 2.1 points; others have none."""
    floors = {row.metric: row.noise_floor for row in derive.by_depth(finals({20: [19.0, 21.0]}), 20)}

    assert floors.pop("test_error_pct") == pytest.approx(100 * (0.2 * 0.8 / 360) ** 0.5)
    assert all(map(math.isnan, floors.values()))


def traces(losses, depth=20):
    """Evaluations of {twin: {seed: one loss an evaluation}}, at iterations 10, 20, ..."""
    place = {"family": "cifar", "group": "cifar", "depth": depth}
    return pd.DataFrame(
        [
            place | {"twin": twin, "seed": seed, "run": f"{depth}-{seed}", "iteration": 10 * i, "running_loss": loss}
            for twin, seeds in losses.items()
            for seed, values in seeds.items()
            for i, loss in enumerate(values, 1)
        ]
    )


def drift(losses, claims=((AGREES, EVERYWHERE),)):
    """The drift of twin triton from twin eager, as rows."""
    return derive.drift(claims, traces(losses)).to_dict("records")


def test_drift_is_relative_to_the_other_s_loss():
    """Median and largest are over seeds, the yardstick over pairs of seeds of the other twin, by iteration."""
    first, last = drift({"triton": {0: [2.0, 1.1], 1: [4.4, 3.0]}, "eager": {0: [2.0, 1.0], 1: [4.0, 2.0]}})

    assert [first[key] for key in ("iteration", "n", "median", "largest")] == pytest.approx([10, 2, 0.05, 0.1])
    assert [last[key] for key in ("iteration", "n", "median", "largest")] == pytest.approx([20, 2, 0.3, 0.5])
    assert first["between_seeds"] == last["between_seeds"] == pytest.approx((2 / 4 + 2 / 2) / 2)


def test_one_seed_has_no_yardstick():
    """From one seed there is a drift, and nothing to measure it by."""
    (row,) = drift({"triton": {3: [2.2]}, "eager": {3: [2.0]}})

    assert row["median"] == row["largest"] == pytest.approx(0.1)
    assert math.isnan(row["between_seeds"])


# Of each seed at three evaluations. Scaled by a power of two, these are rounded nowhere.
LOSSES = st.lists(st.lists(st.just(0.0) | st.floats(1e-9, 1e3), min_size=3, max_size=3), min_size=1, max_size=4)


@settings(max_examples=40)  # Each derives tables.
@given(st.lists(st.lists(st.floats(0, 1e308), min_size=3, max_size=3), min_size=1, max_size=4))
def test_identical_traces_do_not_drift(losses):
    """Traces equal to the last bit lie exactly 0 apart, at every evaluation, a loss of 0 included."""
    same = dict(enumerate(losses))

    rows = drift({"triton": same, "eager": same})

    assert [row["largest"] for row in rows] == [row["median"] for row in rows] == [0, 0, 0]


@settings(max_examples=40)  # Each derives tables, twice.
@given(LOSSES, LOSSES, st.integers(-20, 20))
def test_drift_has_no_unit(own, other, exponent):
    """Losses of both twins scaled alike drift alike."""
    seeds = range(min(len(own), len(other)))
    scale = 2.0**exponent

    rows, scaled = (
        drift({name: {seed: [by * loss for loss in side[seed]] for seed in seeds} for name, side in sides})
        for by in (1.0, scale)
        for sides in [(("triton", own), ("eager", other))]
    )

    assert pd.DataFrame(rows).equals(pd.DataFrame(scaled))


def test_what_has_no_share_is_left_out():
    """A loss missing after divergence, and a difference from a loss of 0, are in no median; the rest are."""
    lost, zero = {0: [2.2, None], 1: [2.0, 2.0]}, {0: [2.0, 1.0], 1: [0.0, 2.0]}

    first, last = drift({"triton": lost, "eager": zero})

    assert [first[key] for key in ("n", "largest")] == [1, pytest.approx(0.1)]
    assert [last[key] for key in ("n", "largest")] == [1, 0]
    assert not drift({"triton": {0: [None]}, "eager": {0: [1.0]}})
    assert not drift({"triton": {0: [1.0]}, "eager": {0: [0.0]}})


def test_twins_trained_in_two_runs_drift_once():
    """Twins that fix their own depth are in several runs of a seed, with the same numbers, and are one pair."""
    once = traces({"triton": {0: [1.1]}, "eager": {0: [1.0]}})

    assert derive.drift([(AGREES, EVERYWHERE)], pd.concat([once, once.assign(run="another")]))["n"].to_list() == [1]


def test_only_twins_that_are_claimed_to_agree_drift():
    """Without a claim there is no drift, nor for a pair of which one twin is missing."""
    losses = {"triton": {0: [1.0]}, "eager": {0: [1.0]}}

    assert not drift(losses, [(Expect(twin="triton", trend="flat"), EVERYWHERE)])
    assert not drift(losses, [(Expect(twin="triton", above="eager"), EVERYWHERE)])
    assert not drift({"triton": {0: [1.0]}})
    assert not drift(losses, [(AGREES, frozenset({("cifar", 56)}))])


def test_twins_of_different_depths_drift(tmp_path):
    """Twins of one run are compared whatever their depths, under the deeper one's."""
    both = pd.concat([traces({"triton": {0: [1.1]}}, 56), traces({"eager": {0: [1.0]}}, 20)]).assign(run="one")

    (row,) = derive.drift([(AGREES, EVERYWHERE)], both).to_dict("records")

    assert (row["depth"], row["largest"]) == (56, pytest.approx(0.1))


def test_a_net_that_diverged_leaves_the_yardstick(tmp_path):
    """Where a twin has stopped, what two seeds of the other differ by is still known from all of them."""
    rows = drift({"triton": {0: [1.0], 1: [1.0, 1.0]}, "eager": {0: [1.0, 1.0], 1: [1.0, 2.0]}})

    assert [row["n"] for row in rows] == [2, 1]
    assert rows[1]["between_seeds"] == pytest.approx((1 / 1 + 1 / 2) / 2)


def test_curves_keep_a_net_that_diverged():
    """After a net diverged its 100 % stay in the mean: the mean must not get better by its loss."""
    healthy = pd.concat([finals({20: [error]}).assign(iteration=i) for i, error in [(2, 50.0), (4, 20.0), (6, 10.0)]])
    lost = pd.concat([finals({20: [error]}).assign(iteration=i) for i, error in [(2, 60.0), (3, 100.0)]])

    curves = derive.curves(pd.concat([healthy, lost.assign(seed=1, run="lost")]))

    assert list(curves["iteration"]) == [2, 4, 6]
    assert list(curves["train_error_pct"]) == [55, 60, 55]


def test_cost_counts_a_run_once(tmp_path):
    """Seconds are a run's, not a twin's; what never ended has no seconds yet."""
    study = made.load(tmp_path)
    results = made.results(tmp_path, study)
    made.write(results, study.runs[0], made.records(study.runs[0], status=None))

    cost = derive.cost(frames.load(study, results).runs)

    assert list(cost["runs"]) == [2, 3, 3, 3, 3, 3]
    assert list(cost["total_seconds"].head(2)) == [40, 96]


def test_the_cost_of_twins_of_two_depths_names_both(tmp_path):
    """The time of a run whose twins fix different depths is that of both."""
    grid = '[[vary]]\nfamily = "cifar"\nseed = [0, 1]\n'
    study = made.load_text(f"[twins]\nplain = {{ depth = 8 }}\ndeep = {{ depth = 20 }}\n{grid}")

    cost = derive.cost(frames.load(study, made.results(tmp_path, study)).runs)

    assert list(cost["depth"]) == ["8/20"]


def test_derive_finds_what_was_put_in(tmp_path):
    """From records to verdicts: errors of 1, 2 and 3 % at every depth are flat."""
    study = made.load(tmp_path)
    found = derive.derive(study, frames.load(study, made.results(tmp_path, study, lambda run, _: run.seed + 1)))

    assert set(found.by_depth["mean"]) == {
        2.0,
        2.4,
        4.0,
    }  # training; running, made 1.2 times as much; test, made 2 points more
    assert set(found.trends["verdict"]) == {"flat"}


def test_derive_finds_agreement_and_drift(tmp_path):
    """From records to verdicts: nets that differ by a millionth agree, and drift by no more than that."""
    study = made.load(tmp_path, made.AGREEING, "kernel")
    found = derive.derive(study, frames.load(study, made.results(tmp_path, study, made.alike)))

    assert list(found.agreements["verdict"]) == ["agree"] * 3
    assert found.growth.empty
    assert list(found.claims["result"]) == ["met"] * 3
    compiled = found.drift[found.drift["twin"] == "compiled"]
    assert list(compiled["iteration"]) == [12, 24, 36, 48]
    assert compiled["largest"].is_monotonic_increasing
    assert compiled["largest"].iloc[-1] == pytest.approx(1e-6)
    assert (compiled["between_seeds"] > 0.01).all()


def test_an_error_on_held_out_images_is_found_where_there_is_one(tmp_path):
    """With a validation set its error is a metric like the others; without one it is nowhere."""
    tables = []
    for more in ("", "validation = 0.1\n"):
        study = made.load(tmp_path, made.AGREEING.replace("evaluate_every", f"{more}evaluate_every"), "kernel")
        found = derive.derive(study, frames.load(study, made.results(tmp_path, study)))
        tables.append([set(table["metric"]) for table in (found.by_depth, found.trends, found.comparisons)])

    three = {"train_error_pct", "running_error_pct", "test_error_pct"}
    assert tables == [[three] * 3, [three | {"validation_error_pct"}] * 3]


def test_what_was_grown_is_summarized(tmp_path):
    """Nets that were grown have a row: the largest change of a logit over seeds, and errors before and after."""
    grid = '[[vary]]\nfamily = "cifar"\ndepth = 20\nseed = [0, 1, 2]\ngrow_at = 100\n'
    study = made.load_text(f"[twins]\nplain = {{}}\ngrown = {{ grown_from = 8 }}\n{grid}")

    (row,) = derive.derive(study, frames.load(study, made.results(tmp_path, study))).growth.to_dict("records")

    assert [row[key] for key in ("twin", "depth_before", "depth", "iteration", "n")] == ["grown", 8, 20, 100, 3]
    assert row["largest_difference"] == pytest.approx(3e-6)
    assert row["train_error_before_pct"] == row["train_error_after_pct"] == 40


def test_only_one_net_drifts(tmp_path):
    """Losses are set side by side of twins that are one net, computed twice; other nets may agree in their errors."""
    text = made.AGREEING.replace('fused_op = "triton"', 'fused_op = "triton", width = 8')
    study = made.load(tmp_path, text, "kernel")

    found = derive.derive(study, frames.load(study, made.results(tmp_path, study, made.alike)))

    assert set(found.agreements["twin"]) == {"compiled", "triton"}
    assert set(found.drift["twin"]) == {"compiled"}
