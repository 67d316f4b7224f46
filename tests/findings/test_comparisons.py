"""Comparisons: trends over depth, differences between twins, and what a study may claim of many of them."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made
from deeptwins.findings import comparisons, judging, statistics
from deeptwins.findings.rows import Difference, Trend, cells, table

NAN = math.nan
ABOVE = '[[expect]]\ntwin = "b"\nabove = "a"\n'
RISES = '[[expect]]\ntwin = "a"\ntrend = "rises"\n'
ERROR_METRICS = ("train_error_pct", "running_error_pct", "test_error_pct")


def judged(study, last):
    """A study's trends and differences, judged, as tables."""
    trends, differences = comparisons.judge(study, last)
    return table(Trend, trends), table(Difference, differences)


def only_training(last):
    """The evaluations without any other error, so that tests of it are judged alone."""
    return last.drop(columns=["running_error_pct", "test_error_pct"])


def trend(errors, margin=1.0):
    """The trend of the training error, judged alone, from {depth: one error a seed}; NaN for one that did not end."""
    study = made.asked(depths=list(errors), seeds=len(next(iter(errors.values()))), margin=margin)
    last = made.last(study, lambda run, twin: errors[run.twins[twin].depth][run.seed])
    return judged(study, only_training(last))[0].iloc[0]


def compared(errors, margin=1.0, claims="", depths=(20,)):
    """The comparisons of training errors, judged alone, from {twin: one error a seed}; depth number i adds i points."""
    seeds = len(next(iter(errors.values())))
    study = made.asked(list(errors), depths, seeds, claims, margin)
    last = made.last(study, lambda run, twin: errors[twin][run.seed] + depths.index(run.twins[twin].depth))
    return judged(study, only_training(last))[1]


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


def test_a_slope_s_interval_is_over_seeds():
    """Three seeds that rise by 1, 2 and 6 points per layer: 3 with Student's t of 2 degrees of freedom."""
    row = trend({20: [10, 10, 10], 24: [14, 18, 34]})

    half = 4.30265 * (7 / 3) ** 0.5
    assert (row["shallowest"], row["deepest"]) == (20, 24)
    assert (row["slope"], row["slope_low"], row["slope_high"]) == pytest.approx((3, 3 - half, 3 + half), abs=1e-4)


def test_a_trend_leaves_out_incomplete_seeds():
    """A seed that did not finish at every depth is in no trend."""
    row = trend({20: [8, 9, 7], 32: [30, NAN, 33], 56: [60, 66, 63]})

    assert (row["n"], row["shallowest_mean"], row["deepest_mean"]) == (2, 7.5, 61.5)


def test_no_complete_seed_is_inconclusive():
    """Where no seed finished at every depth there is nothing to say, and no error."""
    row = trend({20: [8, NAN], 32: [NAN, 30]})

    assert (row["n"], row["verdict"]) == (0, "inconclusive")


def test_a_trend_s_p_is_the_larger_of_two_tests():
    """What both Student's and Page's test must see has the larger of their p: here once the one and once the other."""
    student = trend({20: [8, 9, 7], 32: [30, 28, 33], 56: [20, 66, 63]})
    page = trend({20: [8, 8, 8], 32: [30, 28, 33], 56: [20, 20, 20.1]})
    values = np.array([12.0, 57.0, 56.0])

    assert student["page_p_rises"] < student["p"] == statistics.t_test(values)
    assert page["p"] == page["page_p_rises"] > 0.01 > statistics.t_test(np.array([12, 12, 12.1]))


ERRORS = st.lists(st.lists(st.integers(0, 1000), min_size=4, max_size=4), min_size=2, max_size=4)


@settings(max_examples=40)  # Each tries many permutations of the seeds.
@given(ERRORS)
def test_rising_mirrors_falling(seeds):
    """Read from deep to shallow, what rises falls."""
    errors = np.array(seeds) / 10
    mirror = {"rises": "falls", "falls": "rises"}

    there = trend(dict(zip([20, 32, 44, 56], errors.T.tolist(), strict=True)))["verdict"]
    back = trend(dict(zip([20, 32, 44, 56], errors.T[::-1].tolist(), strict=True)))["verdict"]

    assert back == mirror.get(there, there)


@pytest.mark.parametrize(
    ("own", "verdict"),
    [
        ([5.0, 7.0, 9.0], "agree"),
        ([5.1, 7.0, 8.9], "agree"),
        ([5.2, 7.2, 9.2], "agree"),  # the interval excludes 0, but lies within the margin
        ([8.0, 10.1, 11.9], "above"),
        ([2.0, 4.1, 5.9], "below"),
        ([9.0, 7.0, 5.0], "inconclusive"),
        ([5.0, 7.0, NAN], "agree"),
        ([5.0, NAN, NAN], "inconclusive"),
        ([8.0, 10.0, 12.0], "above"),  # without any spread
    ],
)
def test_a_comparison(own, verdict):
    """A twin is above another, or below, where the test sees a difference, and agrees within the margin."""
    errors = {"a": [5.0, 7.0, 9.0], "b": own}
    study = made.asked(["a", "b"])
    last = made.last(study, lambda run, twin: errors[twin][run.seed])

    (row,) = comparisons.judge(study, only_training(last))[1]

    assert row.verdict == verdict
    assert row.over_seeds.n == sum(not math.isnan(error) for error in own)


def test_a_comparison_is_twin_minus_other_paired_by_seed():
    """The difference is the twin's error minus the other's, over the seeds that have both, with both intervals."""
    (row,) = compared({"a": [2, 4, NAN], "b": [60, 64, 99]}).to_dict("records")

    assert (row["twin"], row["other"], row["depth"], row["n"]) == ("b", "a", 20, 2)
    assert (row["mean"], row["other_mean"], row["difference"]) == (62, 3, 59)
    assert (row["bootstrap_low"], row["bootstrap_high"]) == (58, 60)
    assert [row["low"], row["high"]] == pytest.approx([59 - 12.706, 59 + 12.706], abs=1e-3)
    assert row["p"] == pytest.approx(2 * math.atan(1 / 59) / math.pi)  # Student's t of 1 degree of freedom is Cauchy's


def test_every_other_twin_is_compared_with_the_first():
    """Three twins make two comparisons at each depth, in the study's order, with the first; one twin makes none."""
    rows = compared({"z": [1, 2], "b": [1, 2], "a": [1, 2]}, depths=(20, 32))

    pairs = [(20, "b", "z"), (20, "a", "z"), (32, "b", "z"), (32, "a", "z")]
    assert list(rows[["depth", "twin", "other"]].itertuples(index=False, name=None)) == pairs
    assert compared({"a": [1, 2]}).empty


def test_a_claim_adds_its_pair():
    """A pair that only a claim names is compared too; one that is compared already is not, whichever way round."""
    errors = {"a": [1, 2, 3], "b": [5, 6, 7], "c": [9, 10, 11]}
    claims = '[[expect]]\ntwin = "c"\nabove = "b"\n[[expect]]\ntwin = "a"\nbelow = "b"\n'

    rows = compared(errors, claims=claims)

    assert list(zip(rows["twin"], rows["other"], strict=True)) == [("b", "a"), ("c", "a"), ("c", "b")]


def test_twins_of_different_depths_are_paired_by_run():
    """A twin that fixes its own depth is compared in every run, under the deeper one's depth."""
    study = made.load_text(
        '[twins]\nshallow = { depth = 20 }\ndeep = {}\n[[vary]]\nfamily = "cifar"\ndepth = [32, 56]\nseed = [0, 1]\n'
    )
    last = made.last(study, lambda run, twin: run.twins[twin].depth + run.seed)

    rows = judged(study, last)[1].query("metric == 'train_error_pct'")

    assert list(rows["depth"]) == [32, 56]
    assert list(rows["difference"]) == [12, 36]
    assert list(rows["depth_other"]) == [20, 20]


def test_twins_of_different_families_are_compared_apart():
    """A twin that fixes its family is compared with each family of the other; claims find the pair from either side."""
    grid = "".join(
        f'[[vary]]\nfamily = "{f}"\ndepth = {d}\nseed = [0, 1]\n' for f, d in (("cifar", 20), ("imagenet", 18))
    )
    claims = '[[expect]]\ntwin = "b"\nbelow = "a"\n[[expect]]\ntwin = "a"\nagrees_with = "b"\n'
    study = made.load_text(f'[twins]\na = {{}}\nb = {{ family = "my:net", depth = 2 }}\n{grid}', claims)
    last = only_training(made.last(study, lambda run, twin: run.twins[twin].depth + run.seed))
    claimed = comparisons.scopes(study, last)

    rows = comparisons.comparisons(last, [("b", "a")], 1.0)

    found = {(row.group, row.group_other, row.depth, row.over_seeds.difference, row.over_seeds.n) for row in rows}
    assert found == {("my:net", "cifar", 20, -18, 2), ("my:net", "imagenet", 18, -16, 2)}
    assert all(row.is_claimed_by(claim, places) for row in rows for claim, places in claimed)
    assert {row.group for row in judging.agreements(claimed, rows)} == {"cifar", "imagenet"}


def test_twins_that_fix_their_depth_count_once():
    """Twins that both fix their depth are in several runs of a seed, with the same numbers, and are one pair."""
    twins = "[twins]\na = { depth = 20 }\nb = { depth = 56 }\nc = {}\n"
    study = made.load_text(f'{twins}[[vary]]\nfamily = "cifar"\ndepth = [8, 14]\nseed = [0, 1]\n')
    last = made.last(study, lambda run, twin: run.twins[twin].depth + run.seed)

    rows = judged(study, last)[1].query("metric == 'train_error_pct' and twin == 'b'")

    assert list(rows["n"]) == [2]


PAIRS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=5)  # quarters of a percent


@pytest.mark.slow
@settings(max_examples=40)  # Each compares twins, twice.
@given(PAIRS, st.sampled_from([0.25, 1.0, 4.0]))
def test_a_comparison_is_mutual(errors, within):
    """Asked the other way round, above is below, and the difference and its intervals change their sign."""
    own, other = (list(map(float, side)) for side in zip(*errors, strict=True))
    swapped = {"above": "below", "below": "above"}
    study = made.asked("ab", seeds=len(errors), margin=within)

    def difference(first, second):
        last = made.last(study, lambda run, twin: (first if twin == "a" else second)[run.seed])
        return comparisons.judge(study, only_training(last))[1]

    (there,), (back,) = difference(other, own), difference(own, other)
    (mirrored,) = comparisons.between([there], "a", "b")

    assert back.verdict == mirrored.verdict == swapped.get(there.verdict, there.verdict)
    assert back.over_seeds.p == pytest.approx(there.over_seeds.p, nan_ok=True)
    for key, value in cells(back).items():
        if key not in {"twin", "other", "verdict", "bootstrap_low", "bootstrap_high"}:
            assert value == pytest.approx(cells(mirrored)[key], nan_ok=True), key


def test_mirrored_twice_a_difference_is_itself():
    """Every field that belongs to a twin is the other's once mirrored, and everything else stays."""
    (row,) = comparisons.judge(made.asked("ab"), only_training(made.last(made.asked("ab"))))[1]
    row = replace(row, depth_twin=56, family_other="my:net", group_other="my:net, x 1", verdict="above")
    mirrored, estimate = row.mirrored(), row.over_seeds

    assert mirrored.mirrored() == row
    assert comparisons.between([row], "b", "a") == [row]
    assert comparisons.between([row], "a", "b") == [mirrored]
    assert not comparisons.between([row], "a", "c")
    assert (mirrored.twin, mirrored.other, mirrored.depth_other) == ("a", "b", 56)
    assert (mirrored.family, mirrored.group, mirrored.group_other) == ("my:net", "my:net, x 1", "cifar")
    assert (mirrored.mean, mirrored.other_mean, mirrored.verdict) == (row.other_mean, row.mean, "below")
    assert mirrored.over_seeds.bootstrap_low == -estimate.bootstrap_high
    assert mirrored.over_seeds.bootstrap_high == -estimate.bootstrap_low


def test_what_the_seeds_would_be():
    """A comparison says how many seeds would show a difference as large as the margin: here sd 1 for 2 points."""
    (row,) = compared({"a": [5, 5, 5], "b": [5, 6, 7]}, margin=2.0).to_dict("records")

    assert row["seeds_for"] == statistics.seeds_needed(1.0, 2.0) == 5


def test_many_comparisons_need_more():
    """A difference that is seen alone is not seen as one of many: its p is counted as often as there are tests."""
    two = {"a": [5, 7, 9], "b": [8, 11, 11]}
    noise = {name: [5 + i, 7 - i, 9 + (-1) ** i] for i, name in enumerate("cdefg")}

    (alone,) = compared(two).to_dict("records")
    among = compared(two | noise).to_dict("records")[0]

    assert (alone["verdict"], among["verdict"]) == ("above", "inconclusive")
    assert among["p"] == alone["p"] == alone["p_holm"]
    assert among["p_holm"] == pytest.approx(6 * alone["p"])


def test_what_is_claimed_weighs_more():
    """A claimed effect is seen among many that nobody claimed; these are judged, too, whatever becomes of the claim."""
    two = {"a": [5, 7, 9], "b": [8, 11, 11]}
    noise = {name: [5 + i, 7 - i, 9 + (-1) ** i] for i, name in enumerate("cde")}
    plain = {"f": [55, 57.1, 59]}

    first, *others = compared(two | noise | plain, claims=ABOVE).to_dict("records")
    unclaimed = compared(two | noise | plain).to_dict("records")[0]
    missed = compared(two | noise | plain, claims=ABOVE.replace('"b"', '"c"')).to_dict("records")

    assert (first["weight"], first["verdict"]) == (comparisons.CLAIMED, "above")
    assert {row["weight"] for row in others} == {comparisons.UNCLAIMED}
    assert unclaimed["verdict"] == "inconclusive"
    assert [row["verdict"] for row in missed[1:]] == ["inconclusive"] * 3 + ["above"]


def test_over_depths_only_claimed_pairs_are_tested():
    """Where depth varies the trends are the question, and of the comparisons those that a claim names."""
    errors = {"a": [5, 7, 9], "b": [25, 28, 29], "c": [25, 28, 29]}

    none = compared(errors, depths=(20, 32))
    one = compared(errors, depths=(20, 32), claims=ABOVE)

    assert set(none["verdict"]) == {"not tested"}
    assert list(one["verdict"]) == ["above", "not tested"] * 2


def test_a_claim_is_about_its_family_and_its_where():
    """A claim gives weight to the runs that it covers; where twins have one depth the others are tested as well."""
    grid = (
        '[twins]\na = {}\nb = { width = 8 }\n[[vary]]\nfamily = "cifar"\ndepth = 20\nseed = [0, 1]\nwarmup = [0, 5]\n'
    )
    study = made.load_text(grid, f"{ABOVE}where = {{ warmup = 5 }}\n")

    last = made.last(study, lambda run, twin: run.seed + 50 * (twin == "b"))
    rows = comparisons.judge(study, only_training(last))[1]

    assert [(row.group, row.weight) for row in rows] == [
        ("cifar, warmup 0", comparisons.UNCLAIMED),
        ("cifar, warmup 5", comparisons.CLAIMED),
    ]


def weights(claims):
    """What the tests of a study of two twins weigh, by metric."""
    study = made.asked("ab", claims=claims)
    return {row.metric: row.weight for row in comparisons.judge(study, made.last(study))[1]}


def test_a_metric_weighs_what_claims_make_of_it():
    """A claim gives weight in the metric that it names; without claims it is the training error that counts."""
    claimed, named, aside = comparisons.CLAIMED, comparisons.UNCLAIMED, comparisons.ASIDE
    agrees = ABOVE.replace("above", "agrees_with")
    test = 'metric = "test_error_pct"\n'

    assert list(weights("").values()) == [named, aside, aside]
    assert list(weights(ABOVE).values()) == [claimed, aside, aside]
    assert list(weights(ABOVE + test).values()) == [aside, aside, claimed]
    assert list(weights(ABOVE + agrees + test).values()) == [claimed, aside, named]


def test_all_metrics_are_one_family():
    """Every test of a study counts for every other, whatever its metric, but those that nobody claims cost little."""
    study = made.asked("abc", claims=ABOVE)
    last = made.last(study, lambda run, twin: run.seed * (1 + (twin == "b")))

    rows = comparisons.judge(study, last)[1]

    (claimed,) = [row for row in rows if row.weight == comparisons.CLAIMED]
    assert len(rows) == 6
    assert claimed.p_holm == pytest.approx(claimed.over_seeds.p * (10 + 1 + 4 * 0.1) / 10)


def test_a_metric_that_nobody_measured_is_not_compared():
    """Without a validation set there is nothing of it in the tables, be the column missing or empty."""
    study = made.asked(["a", "b"], (20, 32))
    last = made.last(study)

    for evaluations in (last, last.assign(validation_error_pct=NAN)):
        for rows in comparisons.judge(study, evaluations):
            assert {row.metric for row in rows} == {"train_error_pct", "running_error_pct", "test_error_pct"}
    measured = comparisons.judge(study, last.assign(validation_error_pct=last["test_error_pct"]))[1]
    assert {row.metric for row in measured} == set(comparisons.METRICS)


SHAPES = {
    "eight twins at one depth": made.asked("abcdefgh"),
    "two twins over four depths": made.asked("ab", (20, 32, 44, 56)),
    "three twins over three depths, claims": made.asked("abc", (20, 32, 44), claims=RISES + ABOVE),
    "four twins at one depth, claims": made.asked("abcd", claims=ABOVE + ABOVE.replace('"b"', '"c"')),
}
STUDIES = 150  # of each shape
BOUND = 0.05 + 2 * (0.05 * 0.95 / STUDIES) ** 0.5  # with room for two standard errors of the simulation


def noise(last, studies, images=None):
    """Errors of simulated studies, (nets, studies, metrics); metrics of a net share half of their variance.

    They are of whole images, where it is said of how many.
    """
    random = np.random.default_rng(0)
    seeds = random.normal(0, 5, (last["seed"].max() + 1, studies, 1))[last["seed"]]
    shared = random.normal(0, 2, (len(last), studies, 1))
    own = random.normal(0, 2, (len(last), studies, len(ERROR_METRICS)))
    errors = 40 + seeds + (shared + own) / 2**0.5
    return errors if images is None else np.round(errors / 100 * images) * 100 / images


def by_study(rows, studies):
    """Descriptions of the metrics `NAME NUMBER`, apart for each number, which is that of a study."""
    by_number = [[] for _ in range(studies)]
    for row in rows:
        metric, number = row.metric.split()
        by_number[int(number)].append(replace(row, metric=metric))
    return by_number


def simulated(monkeypatch, study, effect, studies=STUDIES, images=None):
    """The tests of simulated studies, of all metrics: verdict, p, and the number of the study.

    Errors of all studies are described at once, as metrics of one, which is quick; then each study is judged by itself.
    """
    names = [f"{metric} {i}" for i in range(studies) for metric in ERROR_METRICS]
    monkeypatch.setattr(comparisons, "METRICS", names)
    # These are slow, and decide nothing.
    monkeypatch.setattr(statistics, "bootstrap_interval", lambda values: (NAN, NAN))
    monkeypatch.setattr(statistics, "seeds_needed", lambda sd, difference: NAN)
    last = made.last(study)
    effects = np.array([effect(depth, twin) for depth, twin in zip(last["depth"], last["twin"], strict=True)])
    errors = pd.DataFrame((noise(last, studies, images) + effects[:, None, None]).reshape(len(last), -1), columns=names)
    every = pd.concat([last.drop(columns=[*ERROR_METRICS]), errors], axis=1)
    moved = comparisons.trends(every, study.flat_within_pct)
    differ = comparisons.comparisons(every, comparisons.pairs(study), study.flat_within_pct)
    claimed = comparisons.scopes(study, last)
    tests = [
        {"metric": row.metric, "twin": row.twin, "verdict": row.verdict, "p": row.over_seeds.p, "study": i}
        for i, rows in enumerate(zip(by_study(moved, studies), by_study(differ, studies), strict=True))
        for row in itertools.chain(*comparisons.verdicts(study, claimed, *rows))
        if row.verdict != "not tested"
    ]
    tests = pd.DataFrame(tests)
    return tests.assign(effect=tests["verdict"].isin(comparisons.EFFECTS))


def share(which, tests):
    """Of all studies, the share with any such test, in any metric."""
    return which.groupby(tests["study"]).any().mean()


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_without_effect_at_most_5_percent_of_studies_claim_one(monkeypatch, shape):
    """Where neither depth nor twin does anything, at most 5 % of whole studies pronounce any effect, in any error.

    Without the correction more of them would.
    """
    tests = simulated(monkeypatch, SHAPES[shape], lambda depth, twin: 0)

    assert set(tests["metric"]) == set(ERROR_METRICS)
    assert share(tests["effect"], tests) <= BOUND
    assert share(tests["p"] < 0.05, tests) > BOUND


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_with_effect_studies_find_it(monkeypatch, shape):
    """Where depth and twins do much, nearly all studies say so."""
    tests = simulated(monkeypatch, SHAPES[shape], lambda depth, twin: 3 * depth + 40 * "abcdefgh".index(twin), 40)

    assert share(tests["effect"] & (tests["metric"] == "train_error_pct"), tests) > 0.9


@pytest.mark.slow
def test_two_seeds_that_err_on_as_many_images_are_no_certainty(monkeypatch):
    """Errors are of whole images, so that differences of two seeds are often equal: no study claims more for it."""
    tests = simulated(monkeypatch, made.asked("abcdefgh", seeds=2), lambda depth, twin: 0, images=360)

    assert share(tests["effect"], tests) <= BOUND


@pytest.mark.slow
def test_true_claims_do_not_loosen_the_rest(monkeypatch):
    """Where what is claimed is true, of the rest at most 5 % of studies pronounce what is not."""
    study = SHAPES["four twins at one depth, claims"]

    tests = simulated(monkeypatch, study, lambda depth, twin: 200 * (twin in "bc"))

    rest = tests[tests["twin"] == "d"]
    assert 0 < share(rest["effect"], rest) <= BOUND
