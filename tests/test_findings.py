"""Findings: intervals, trends, verdicts, gaps."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made
from deeptwins import findings, frames
from deeptwins.claims import Expect, Paper

NAN = math.nan


def finals(errors, twin="plain", group="cifar"):
    """Final errors from {depth: one error a seed}; NaN for a seed that did not finish."""
    rows = [
        {"run": f"{group}-{depth}-{seed}", "family": group.split(",")[0], "group": group, "depth": depth, "seed": seed}
        | {"twin": twin, "iteration": 10}
        | dict.fromkeys(findings.METRICS, error)
        for depth, values in errors.items()
        for seed, error in enumerate(values)
        if not math.isnan(error)
    ]
    return pd.DataFrame(rows)


def trend(errors, flat_within_pct=1.0):
    """The trend of the training error."""
    table = findings.trends(finals(errors), flat_within_pct)
    return table[table["metric"] == "train_error_pct"].iloc[0]


def test_final_is_the_last_evaluation():
    """Of each net the last evaluation counts, never the best, and a net that diverged stays in."""
    epochs = pd.concat(
        [
            finals({20: [5.0, 7.0]}).assign(iteration=1),
            finals({20: [6.0, 100.0]}).assign(iteration=2),
            finals({20: [8.0]}).assign(iteration=3),
        ]
    )

    final = findings.final(epochs)

    assert list(final["train_error_pct"]) == [100.0, 8.0]


def test_a_net_trained_in_two_runs_counts_once():
    """A twin that fixes its own depth is in several runs of a seed and is still one net."""
    again = finals({20: [5.0]}).assign(run="another")

    assert len(findings.final(pd.concat([finals({20: [5.0]}), again]))) == 1


def test_by_depth_has_students_interval():
    """Mean, sd and the 95 % t interval, which for 11, 12, 13 is 12 -+ 4.303 / sqrt 3."""
    row = findings.by_depth(finals({20: [11.0, 12.0, 13.0]})).iloc[0]

    assert (row["n"], row["mean"], row["sd"]) == (3, 12, 1)
    assert [row["low"], row["high"]] == pytest.approx([9.5159, 14.4841], abs=1e-4)


def test_an_error_has_no_interval_beyond_0_and_100():
    """An interval for an error ends where errors end."""
    table = findings.by_depth(finals({20: [0.0, 4.0], 56: [96.0, 100.0]}))

    assert (table["low"].min(), table["high"].max()) == (0, 100)


def test_one_seed_has_no_interval():
    """From one seed there is a mean and no interval."""
    row = findings.by_depth(finals({20: [11.0]})).iloc[0]

    assert (row["n"], row["mean"]) == (1, 11)
    assert all(math.isnan(row[column]) for column in ("sd", "low", "high"))


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        ({20: [8, 9, 7], 32: [30, 28, 33], 56: [60, 66, 63]}, "rises"),
        ({20: [60, 66, 63], 32: [30, 28, 33], 56: [8, 9, 7]}, "falls"),
        ({20: [2.0, 2.1, 2.2], 32: [2.1, 2.1, 2.1], 56: [2.1, 2.2, 2.2]}, "flat"),
        ({20: [8, 9, 7], 32: [9, 8, 8], 56: [4, 14, 9]}, "inconclusive"),
        ({18: [3, 4, 3], 34: [36, 33, 35]}, "rises"),
        ({20: [8, 9, 7], 32: [70, 71, 75], 44: [80, 90, 84], 56: [10, 11, 9]}, "inconclusive"),  # Page objects
        ({20: [8], 32: [30], 56: [60]}, "inconclusive"),
        ({20: [8, 9, 7]}, "inconclusive"),
        ({20: [5, 5, 5], 32: [5, 5, 5], 56: [5, 5, 5]}, "flat"),
        ({20: [5, 5], 56: [100, 100]}, "rises"),
    ],
)
def test_verdict(errors, verdict):
    """The verdict follows from interval and trend test; one seed or one depth never supports any."""
    assert trend(errors)["verdict"] == verdict


def test_flat_is_what_the_study_says():
    """How little counts as flat is the study's choice."""
    errors = {20: [2.0, 2.1, 2.2], 56: [2.6, 2.7, 2.9]}

    assert [trend(errors, within)["verdict"] for within in (0.1, 1.0)] == ["rises", "flat"]


def test_a_trend_pairs_seeds():
    """Deepest minus shallowest is taken within a seed, so that differences between seeds do not hide it."""
    row = trend({20: [10, 20, 30], 32: [11.9, 22.0, 32.1], 56: [14, 24.1, 33.9]})

    assert row["verdict"] == "rises"
    assert row["difference"] == pytest.approx(4)
    assert row["slope"] == pytest.approx(4 / 36, rel=0.05)


def test_a_trend_leaves_out_incomplete_seeds():
    """A seed that did not finish at every depth is in no trend."""
    row = trend({20: [8, 9, 7], 32: [30, NAN, 33], 56: [60, 66, 63]})

    assert (row["n"], row["shallowest_mean"], row["deepest_mean"]) == (2, 7.5, 61.5)


def test_no_complete_seed_is_inconclusive():
    """Where no seed finished at every depth there is nothing to say, and no error."""
    row = trend({20: [8, NAN], 32: [NAN, 30]})

    assert (row["n"], row["verdict"]) == (0, "inconclusive")


def test_page_is_exact():
    """Three seeds in perfect order at four depths: the chance of that is 1 in 24 cubed."""
    row = trend({20: [1, 2, 3], 32: [11, 12, 13], 44: [21, 22, 23], 56: [31, 32, 33]})

    assert row["page_p_rises"] == pytest.approx(1 / 24**3)
    assert row["page_p_falls"] == pytest.approx(1)


ERRORS = st.lists(st.lists(st.integers(0, 1000), min_size=4, max_size=4), min_size=2, max_size=4)


@settings(max_examples=40, deadline=None)
@given(ERRORS)
def test_rising_mirrors_falling(seeds):
    """Read from deep to shallow, what rises falls."""
    errors = np.array(seeds) / 10
    mirror = {"rises": "falls", "falls": "rises"}

    there = trend(dict(zip([20, 32, 44, 56], errors.T.tolist(), strict=True)))["verdict"]
    back = trend(dict(zip([20, 32, 44, 56], errors.T[::-1].tolist(), strict=True)))["verdict"]

    assert back == mirror.get(there, there)


def test_without_effect_few_trends_are_claimed(monkeypatch):
    """Where depth does nothing, rises and falls together are claimed in 5 % of studies at most (400 simulated)."""
    monkeypatch.setattr(findings, "METRICS", ("test_error_pct",))
    random = np.random.default_rng(0)
    tables = [
        finals({depth: random.normal(50, 5, 3) for depth in depths}, group=f"{len(depths)}, {i}")
        for depths in ((18, 34), (20, 32, 44, 56))
        for i in range(200)
    ]

    verdicts = findings.trends(pd.concat(tables), 1.0)
    claimed = verdicts["verdict"].isin(["rises", "falls"]).groupby(verdicts["family"]).mean()

    noise = 3 * (0.05 * 0.95 / 200) ** 0.5  # three standard errors
    assert 0 < claimed["2"] <= 0.05 + noise
    assert claimed["4"] <= 0.05 + noise


def test_why_students_interval_decides():
    """With three seeds the bootstrap's interval only reaches from the least to the greatest difference."""
    row = trend({20: [10, 20, 30], 56: [13, 24, 39]})

    assert (row["bootstrap_low"], row["bootstrap_high"]) == (3, 9)
    assert row["low"] < 3
    assert row["high"] > 9


def test_a_gap_is_first_minus_other_paired_by_seed():
    """The gap is the first twin's error minus the other's, over the seeds that have both."""
    final = pd.concat([finals({56: [60, 64, 99]}), finals({56: [2, 4, NAN]}, twin="residual")])

    row = findings.gaps(final, "plain").iloc[0]

    assert (row["gap"], row["n"], row["difference"]) == ("plain minus residual", 2, 59)
    assert row["low"] < 59 < row["high"]


def test_every_other_twin_has_a_gap():
    """Three twins have two gaps at each depth, in the study's order; one twin has none."""
    final = pd.concat([finals({20: [1, 2]}, twin) for twin in ("z", "b", "a")])

    assert list(findings.gaps(final, "z")["gap"].unique()) == ["z minus b", "z minus a"]
    assert findings.gaps(finals({20: [1, 2]}), "plain").empty


def claimed(claims, trends):
    """The claims of a study without agreements."""
    return findings.claims(claims, trends, findings.agreements([], finals({20: [1, 2]}), 1.0))


@pytest.mark.parametrize(
    ("expected", "result"),
    [("rises", "met"), ("falls", "contradicted"), ("flat", "contradicted")],
)
def test_a_claim_against_a_definite_verdict(expected, result):
    """A claim is met by its own verdict and contradicted by another definite one."""
    trends = findings.trends(finals({20: [8, 9, 7], 56: [60, 66, 63]}), 1.0)

    assert list(claimed([Expect(twin="plain", trend=expected)], trends)["result"]) == [result]


@pytest.mark.parametrize("errors", [{20: [8], 56: [60]}, {20: [8, 9, 7], 56: [4, 14, 9]}])
def test_a_claim_that_nothing_decides(errors):
    """Too few seeds, or an inconclusive trend, neither meet nor contradict a claim."""
    trends = findings.trends(finals(errors), 1.0)

    assert list(claimed([Expect(twin="plain", trend="rises")], trends)["result"]) == ["undecided"]


def test_a_claim_covers_every_family_or_the_one_it_names():
    """Without a family a claim is checked in each; a family without results leaves it undecided."""
    final = pd.concat([finals({20: [8, 9], 56: [60, 61]}, group=group) for group in ("cifar", "imagenet")])
    trends = findings.trends(final, 1.0)
    claims = [Expect(twin="plain", trend="rises", family=family) for family in (None, "imagenet", "unseen")]

    table = claimed(claims, trends)

    assert list(table["group"]) == ["cifar", "imagenet", "imagenet", "unseen"]
    assert list(table["result"]) == ["met", "met", "met", "undecided"]


AGREES = Expect(twin="triton", agrees_with="eager")


def agreements(own, other, flat_within_pct=1.0, claims=(AGREES,)):
    """The agreements of twin triton with twin eager, from the errors of each; only training errors are claimed."""
    return findings.agreements(
        claims, pd.concat([finals(own, "triton"), finals(other, "eager")], ignore_index=True), flat_within_pct
    )


@pytest.mark.parametrize(
    ("own", "verdict"),
    [
        ([5.0, 7.0, 9.0], "agree"),
        ([5.1, 7.0, 8.9], "agree"),
        ([5.2, 7.2, 9.2], "agree"),  # the interval excludes 0, but lies within the margin
        ([8.0, 10.1, 11.9], "differ"),
        ([2.0, 4.1, 5.9], "differ"),
        ([9.0, 7.0, 5.0], "inconclusive"),
        ([5.0, 7.0, NAN], "agree"),
        ([5.0, NAN, NAN], "inconclusive"),
    ],
)
def test_agreement(own, verdict):
    """Twins agree where the interval of the difference lies within the margin, and differ where it excludes 0."""
    (row,) = agreements({20: own}, {20: [5.0, 7.0, 9.0]}).to_dict("records")

    assert row["verdict"] == verdict
    assert row["n"] == sum(not math.isnan(error) for error in own)


def test_an_agreement_is_twin_minus_other_paired_by_seed():
    """The difference is the twin's error minus the other's, over the seeds that have both, with both intervals."""
    (row,) = agreements({56: [60, 64, 99]}, {56: [2, 4, NAN]}).to_dict("records")

    assert (row["twin"], row["other"], row["metric"]) == ("triton", "eager", "train_error_pct")
    assert (row["n"], row["mean"], row["other_mean"], row["difference"]) == (2, 62, 3, 59)
    assert (row["bootstrap_low"], row["bootstrap_high"]) == (58, 60)
    assert row["low"] < 58
    assert row["high"] > 60


def test_how_near_agrees_is_what_the_study_says():
    """The margin of an agreement is the study's."""
    verdicts = [agreements({20: [5.3, 7.4, 9.5]}, {20: [5, 7, 9]}, within)["verdict"].item() for within in (0.1, 1.0)]

    assert verdicts == ["differ", "agree"]


PAIRS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=5)  # quarters of a percent


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.sampled_from([0.25, 1.0, 4.0]))
def test_agreement_is_mutual(errors, within):
    """A twin agrees with another, or differs, as the other does with it, and the difference changes its sign."""
    own, other = (list(map(float, side)) for side in zip(*errors, strict=True))

    (there,) = agreements({20: own}, {20: other}, within).to_dict("records")
    (back,) = agreements({20: other}, {20: own}, within).to_dict("records")

    assert there["verdict"] == back["verdict"]
    assert there["difference"] == pytest.approx(-back["difference"])


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.integers(-6, 0))
def test_agreement_has_no_unit(errors, exponent):
    """Errors and margin scaled alike (by a power of two, which rounds nothing) have the same verdict."""
    scale = 2.0**exponent
    own, other = zip(*errors, strict=True)

    (row,) = agreements({20: own}, {20: other}, 4.0).to_dict("records")
    (scaled,) = agreements(
        {20: [scale * error for error in own]}, {20: [scale * error for error in other]}, 4.0 * scale
    ).to_dict("records")

    assert row["verdict"] == scaled["verdict"]


@given(st.lists(st.sampled_from(["agree", "differ", "inconclusive"]), min_size=1))
def test_several_agreements_are_judged_together(verdicts):
    """Together, twins agree if they do in all, and differ if they do in one; the order changes nothing."""
    joint = findings.jointly(verdicts)

    assert joint == findings.jointly(reversed(verdicts))
    assert (joint == "agree") == (set(verdicts) == {"agree"})
    assert (joint == "differ") == ("differ" in verdicts)


@pytest.mark.parametrize(
    ("deep", "n", "result"),
    [
        ([60, 70, 80], 3, "met"),
        ([60, 70, NAN], 2, "met"),
        ([66, 76, 86], 3, "contradicted"),
        ([50, 70, 90], 3, "undecided"),
        ([NAN] * 3, 3, "met"),
    ],
)
def test_a_claim_of_agreement_covers_every_depth(deep, n, result):
    """Twins that agree at one depth must do so at all of them; a depth that one of them lacks says nothing."""
    table = agreements({20: [5, 7, 9], 56: deep}, {20: [5, 7, 9], 56: [60, 70, 80]})
    trends = findings.trends(finals({20: [1, 2]}), 1.0)

    (claim,) = findings.claims([AGREES], trends, table).to_dict("records")

    assert list(claim) == ["group", "twin", "metric", "agrees_with", "n", "verdict", "result"]
    assert (claim["agrees_with"], claim["n"], claim["result"]) == ("eager", n, result)


def test_a_claim_of_agreement_is_about_its_own_pair():
    """That a twin agrees with one other says nothing about its agreeing with a third."""
    claims = [AGREES, AGREES.model_copy(update={"agrees_with": "other"})]
    errors = {"triton": [5, 7, 9], "eager": [5, 7, 9], "other": [15, 17, 19]}
    final = pd.concat([finals({20: values}, twin) for twin, values in errors.items()], ignore_index=True)

    table = findings.claims(claims, findings.trends(final, 1.0), findings.agreements(claims, final, 1.0))

    assert list(table["result"]) == ["met", "contradicted"]


def test_claims_of_both_kinds_stand_in_one_table():
    """Trends and agreements are checked side by side; an agreement that nothing was found about is undecided."""
    own, other = {20: [5, 7, 9], 56: [60, 70, 80]}, {20: [5, 7, 9], 56: [60, 70, 80]}
    unseen = AGREES.model_copy(update={"family": "unseen"})
    claims = [Expect(twin="eager", trend="rises"), AGREES, unseen]

    table = findings.claims(claims, findings.trends(finals(other, "eager"), 1.0), agreements(own, other, claims=claims))

    assert list(table["result"]) == ["met", "met", "undecided"]
    assert list(table["verdict"]) == ["rises", "agree", "inconclusive"]
    assert list(table["group"]) == ["cifar", "cifar", "unseen"]


def test_an_agreement_is_claimed_of_every_family_or_the_one_named():
    """Only where it is claimed is an agreement judged; twice claimed, it is judged once."""
    groups = [finals({20: [1, 2]}, twin, group) for twin in ("triton", "eager") for group in ("cifar", "imagenet")]
    final = pd.concat(groups, ignore_index=True)
    named = AGREES.model_copy(update={"family": "imagenet"})

    assert list(findings.agreements([AGREES, named], final, 1.0)["group"]) == ["cifar", "imagenet"]
    assert list(findings.agreements([named], final, 1.0)["group"]) == ["imagenet"]


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


def drift(losses, claims=(AGREES,)):
    """The drift of twin triton from twin eager, as rows."""
    return findings.drift(claims, traces(losses)).to_dict("records")


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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1e308), min_size=3, max_size=3), min_size=1, max_size=4))
def test_identical_traces_do_not_drift(losses):
    """Traces equal to the last bit lie exactly 0 apart, at every evaluation, a loss of 0 included."""
    same = dict(enumerate(losses))

    rows = drift({"triton": same, "eager": same})

    assert [row["largest"] for row in rows] == [row["median"] for row in rows] == [0, 0, 0]


@settings(max_examples=60, deadline=None)
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

    assert findings.drift([AGREES], pd.concat([once, once.assign(run="another")]))["n"].to_list() == [1]


def test_only_twins_that_are_claimed_to_agree_drift():
    """Without a claim there is no drift, nor for a pair of which one twin is missing."""
    losses = {"triton": {0: [1.0]}, "eager": {0: [1.0]}}

    assert not drift(losses, [Expect(twin="triton", trend="flat")])
    assert not drift({"triton": {0: [1.0]}})
    assert not drift(losses, [AGREES.model_copy(update={"family": "imagenet"})])
    assert findings.agreements([Expect(twin="plain", trend="flat")], finals({20: [1, 2]}), 1.0).empty


@pytest.mark.parametrize(
    ("ours", "reading"), [([11, 12, 13], "inside"), ([1.1, 1.2, 1.3], "outside"), ([12], "too few seeds")]
)
def test_against_paper(ours, reading):
    """A published value lies inside our interval or outside, or there are too few seeds to say."""
    cell = {"family": "cifar", "twin": "plain", "metric": "test_error_pct", "source": "table 6"}
    published = [Paper(depth=20, value=10, **cell), Paper(depth=110, value=6.43, **cell)]

    table = findings.against_paper(published, findings.by_depth(finals({20: ours})))

    assert list(table["depth"]) == [20]
    row = table.iloc[0]
    assert (row["reading"], row["n"]) == (reading, len(ours))
    assert row["difference"] == pytest.approx(np.mean(ours) - 10)


def test_no_published_values():
    """A study without published values has an empty table."""
    assert findings.against_paper([], findings.by_depth(finals({20: [1, 2]}))).empty


def test_curves_keep_a_net_that_diverged():
    """After a net diverged its 100 % stay in the mean: the mean must not get better by its loss."""
    healthy = pd.concat([finals({20: [error]}).assign(iteration=i) for i, error in [(2, 50.0), (4, 20.0), (6, 10.0)]])
    lost = pd.concat([finals({20: [error]}).assign(iteration=i) for i, error in [(2, 60.0), (3, 100.0)]])

    curves = findings.curves(pd.concat([healthy, lost.assign(seed=1, run="lost")]))

    assert list(curves["iteration"]) == [2, 4, 6]
    assert list(curves["train_error_pct"]) == [55, 60, 55]


def test_responses_are_means_over_seeds():
    """Each layer's response is averaged over seeds; without layer records there is an empty table."""
    layers = pd.concat(
        [finals({20: [0, 0]}).assign(layer=layer, response_std=[0.1 * layer, 0.3 * layer]) for layer in (1, 2)]
    )

    assert list(findings.responses(layers)["response_std"]) == pytest.approx([0.2, 0.4])
    assert findings.responses(layers.head(0)).empty


def test_cost_counts_a_run_once(tmp_path):
    """Seconds are a run's, not a twin's; what never ended has no seconds yet."""
    study = made.load(tmp_path)
    results = made.results(tmp_path, study)
    made.write(results, study.runs[0], made.records(study.runs[0], status=None))

    cost = findings.cost(frames.load(study, results).runs)

    assert list(cost["runs"]) == [2, 3, 3, 3, 3, 3]
    assert list(cost["total_seconds"].head(2)) == [40, 96]


def test_derive_finds_what_was_put_in(tmp_path):
    """From records to verdicts: errors of 1, 2 and 3 % at every depth are flat."""
    study = made.load(tmp_path)
    found = findings.derive(study, frames.load(study, made.results(tmp_path, study, lambda run, _: run.seed + 1)))

    assert set(found.by_depth["mean"]) == {
        2.0,
        2.4,
        4.0,
    }  # training; running, made 1.2 times as much; test, made 2 points more
    assert set(found.trends["verdict"]) == {"flat"}


def test_derive_finds_agreement_and_drift(tmp_path):
    """From records to verdicts: nets that differ by a millionth agree, and drift by no more than that."""
    study = made.load(tmp_path, made.AGREEING, "kernel")
    found = findings.derive(study, frames.load(study, made.results(tmp_path, study, made.alike)))

    assert list(found.agreements["verdict"]) == ["agree"] * 3
    assert list(found.claims["result"]) == ["met"] * 3
    compiled = found.drift[found.drift["twin"] == "compiled"]
    assert list(compiled["iteration"]) == [12, 24, 36, 48]
    assert compiled["largest"].is_monotonic_increasing
    assert compiled["largest"].iloc[-1] == pytest.approx(1e-6)
    assert (compiled["between_seeds"] > 0.01).all()
