"""Judging: a study's claims, and published values."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import made
from deeptwins.findings import comparisons, derive, judging
from deeptwins.findings.judging import Evidence
from deeptwins.findings.rows import Difference, table
from deeptwins.pages.study import tables
from made import paper

AGREES = '[[expect]]\ntwin = "b"\nagrees_with = "a"\n'
TWINS = "[twins]\na = {}\nb = { width = 8 }\n"


def claim(twin, statement, more=""):
    """Spell a claim."""
    return f'[[expect]]\ntwin = "{twin}"\n{statement}\n{more}\n'


def judged(study, level):
    """The claims of a study, and its agreements, from the error of each run and twin."""
    last = made.last(study, level)
    scopes = comparisons.scopes(study, last)
    trends, compared = comparisons.judge(study, last)
    errors = derive.by_depth(derive.final(last), study.fails_above_pct)
    evidence = Evidence(trends, compared, errors, derive.states(last), pd.DataFrame())
    return judging.claims(scopes, evidence), table(Difference, judging.agreements(scopes, compared))


def results(claims, errors, depths=(20,)):
    """The results of claims about twins, from {twin: one error a seed} or {(twin, depth): ...}."""
    names = list(dict.fromkeys(key[0] if isinstance(key, tuple) else key for key in errors))
    study = made.asked(names, depths, len(next(iter(errors.values()))), claims)

    def level(run, twin):
        depth = run.twins[twin].depth
        return errors.get(twin, errors.get((twin, depth)))[run.seed]

    return list(judged(study, level)[0]["result"])


@pytest.mark.parametrize(
    ("deep", "expected"),
    [
        ([60, 66, 63], {"rises": "met", "falls": "contradicted", "flat": "contradicted"}),
        ([8, 9, 7.1], {"rises": "contradicted", "falls": "contradicted", "flat": "met"}),
        ([0, 30, 9], {"rises": "undecided", "falls": "undecided", "flat": "undecided"}),
    ],
)
@pytest.mark.parametrize("trend", ["rises", "falls", "flat"])
def test_a_claimed_trend(deep, expected, trend):
    """A claim of a trend is met by its verdict, contradicted by another, and undecided where that is inconclusive."""
    errors = {("a", 20): [8, 9, 7], ("a", 56): deep}

    assert results(claim("a", f'trend = "{trend}"'), errors, (20, 56)) == [expected[trend]]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ([25, 27, 30], {"above": "met", "below": "contradicted", "agrees_with": "contradicted"}),
        ([1, 2, 2.5], {"above": "contradicted", "below": "met", "agrees_with": "contradicted"}),
        ([5.1, 7, 9], {"above": "contradicted", "below": "contradicted", "agrees_with": "met"}),
        ([9, 7, 5], {"above": "undecided", "below": "undecided", "agrees_with": "undecided"}),
    ],
)
@pytest.mark.parametrize("statement", ["above", "below", "agrees_with"])
def test_a_claimed_difference(own, expected, statement):
    """A twin above another is not below it and does not agree with it; what nobody can tell is undecided."""
    errors = {"a": [5, 7, 9], "b": own}

    assert results(claim("b", f'{statement} = "a"'), errors) == [expected[statement]]


@pytest.mark.parametrize(("own", "result"), [([25, 27, 30], "met"), ([1, 2, 2.5], "contradicted")])
def test_a_claim_may_name_the_twins_either_way_round(own, result):
    """That the first twin is below another is what the comparison of that other with the first says."""
    assert results(claim("a", 'below = "b"'), {"a": [5, 7, 9], "b": own}) == [result]


@pytest.mark.parametrize(
    ("errors", "fails", "trains"),
    [
        ([90.0, 88, 91], "met", "contradicted"),
        ([100.0, 100, 100], "met", "contradicted"),
        ([2.0, 3, 2], "contradicted", "met"),
        ([90.0, 10, 50], "undecided", "undecided"),
        ([30.0, 90, 60], "undecided", "undecided"),  # all above the bound, and the interval of the mean reaches below
        ([90.0], "undecided", "undecided"),
    ],
)
def test_a_claimed_failure(errors, fails, trains):
    """A twin fails where the interval of its error lies above the bound, and trains where it does not reach above."""
    for statement, result in (("fails = true", fails), ("fails = false", trains)):
        assert results(claim("a", statement), {"a": errors}) == [result]


def test_where_failure_begins_is_the_study_s_choice():
    """The bound of failure is `fails_above_pct`; a net that diverged fails wherever that lies."""
    study = made.asked(["a"], claims=claim("a", "fails = true"))
    verdicts = []
    for bound, error in ((20, 15.0), (10, 15.0), (100, 100.0)):
        verdicts += list(judged(study.model_copy(update={"fails_above_pct": bound}), lambda *_: error)[0]["verdict"])  # noqa: B023

    assert verdicts == ["trains", "fails", "fails"]


@pytest.mark.parametrize(
    ("errors", "result"),
    [
        ([2, 3, 2], "met"),
        ([3.6, 4.0], "undecided"),  # the bound is 5.06
        ([3.6, 3.9], "met"),  # 4.70; the interval, of both sides, ends at 5.66
        ([9, 9.1, 9.2], "contradicted"),
        ([4, 6, 5], "undecided"),
        ([2], "undecided"),
    ],
)
def test_a_claimed_bound(errors, result):
    """A mean is at most so much where its one-sided bound is, and more where its interval begins there."""
    assert results(claim("a", "at_most = 5.0"), {"a": errors}) == [result]


@pytest.mark.parametrize(
    ("deep", "result"),
    [([60, 70, 80], "met"), ([66, 76, 86], "contradicted"), ([50, 70, 90], "undecided")],
)
def test_a_claim_covers_every_depth(deep, result):
    """Twins that agree at one depth must do so at all of them."""
    errors = {("a", 20): [5, 7, 9], ("b", 20): [5, 7, 9], ("a", 56): [60, 70, 80], ("b", 56): deep}

    assert results(AGREES, errors, (20, 56)) == [result]


@given(st.lists(st.sampled_from(["agree", "differ", "inconclusive"]), min_size=1))
def test_several_depths_are_judged_together(verdicts):
    """Together, twins agree if they do in all, and differ if they do in one; the order changes nothing."""
    joint = judging.jointly(verdicts, "agree")

    assert joint == judging.jointly(verdicts[::-1], "agree")
    assert (joint == "agree") == (set(verdicts) == {"agree"})
    assert (joint == "differ") == ("differ" in verdicts)


def test_a_claim_of_agreement_is_about_its_own_pair():
    """That a twin agrees with one other says nothing about its agreeing with a third."""
    errors = {"a": [5, 7, 9], "b": [5, 7, 9], "c": [15, 17, 19]}

    assert results(AGREES + claim("b", 'agrees_with = "c"'), errors) == ["met", "contradicted"]


GROUPS = '[[vary]]\nfamily = "cifar"\ndepth = 20\nseed = [0, 1]\nwarmup = [0, 5]\n'
GROUPS += '[[vary]]\nfamily = "imagenet"\ndepth = [18, 34]\nseed = [0, 1]\n'


@pytest.mark.parametrize(
    ("scope", "groups"),
    [
        ("", ["cifar, warmup 0", "cifar, warmup 5", "imagenet"]),
        ('family = "imagenet"', ["imagenet"]),
        ("where = { warmup = 5 }", ["cifar, warmup 5"]),
        ("where = { depth = 34 }", ["imagenet"]),
        ('family = "cifar"\nwhere = { width = 8 }', ["cifar, warmup 0", "cifar, warmup 5"]),
    ],
)
@pytest.mark.parametrize("statement", ["above", "agrees_with"])
def test_a_claim_is_about_what_it_covers(scope, groups, statement):
    """A claim has a row for each group of the family and the runs that it names, and no other."""
    study = made.load_text(TWINS + GROUPS, claim("b", f'{statement} = "a"', scope))

    table, agreements = judged(study, lambda run, twin: 5 + 20 * (twin == "b"))

    assert list(table["group"]) == groups
    assert list(agreements["group"].unique()) == (groups if statement == "agrees_with" else [])


def test_a_claim_about_one_depth_says_nothing_of_others():
    """With `where` a claim can be about one depth: the others neither meet nor contradict it."""
    study = made.load_text(TWINS + GROUPS, claim("b", 'agrees_with = "a"', "where = { depth = 34 }"))

    table, agreements = judged(study, lambda run, twin: 5 + 20 * (twin == "b" and run.twins[twin].depth == 18))

    (row,) = table.to_dict("records")
    assert (row["where"], row["n"], row["result"]) == ("depth = 34", 2, "met")
    assert set(agreements["depth"]) == {34}


def test_what_nothing_was_found_about_is_undecided():
    """A claim about runs that have not finished is undecided, with no seed."""
    claims = claim("a", 'trend = "rises"', 'family = "imagenet"') + claim("a", "fails = true", 'family = "imagenet"')
    study = made.load_text(TWINS + GROUPS, claims)
    last = made.last(study, lambda run, _: 5.0 if run.twins["a"].family == "cifar" else float("nan"))

    trends, compared = comparisons.judge(study, last)
    errors = derive.by_depth(derive.final(last), 20)
    evidence = Evidence(trends, compared, errors, derive.states(last), pd.DataFrame())
    claims = judging.claims(comparisons.scopes(study, last), evidence)

    assert list(claims["group"]) == ["imagenet"] * 2
    assert list(claims["result"]) == ["undecided"] * 2
    assert list(claims["n"]) == [0, 0]


def test_claims_of_all_kinds_stand_in_one_table():
    """Each kind of statement has a column of its own, if anything of that kind is claimed."""
    claims = claim("a", "fails = false") + AGREES + claim("b", "at_most = 50.0", 'metric = "test_error_pct"')

    table, _ = judged(made.asked("ab", claims=claims), lambda *_: 5.0)

    stated = ["agrees_with", "at_most", "fails"]
    assert list(table) == ["claim", "group", "twin", "metric", *stated, "of", "n", "verdict", "result"]
    assert list(table["claim"]) == [0, 1, 2]
    assert list(table["verdict"]) == ["trains", "agree", "at most"]
    assert list(table["result"]) == ["met"] * 3


def against(study, level):
    """The tables beside the published values of a study: those of its own data, and those of others."""
    last = made.last(study, level)
    errors = derive.by_depth(derive.final(last), study.fails_above_pct)
    _, compared = comparisons.judge(study, last)
    return judging.against_paper(study, last, errors), judging.across_scales(study, last, errors, compared)


@pytest.mark.parametrize(
    ("ours", "reading"), [([9, 10, 13], "inside"), ([1.1, 1.2, 1.3], "outside"), ([12], "too few seeds")]
)
@pytest.mark.parametrize("data", ["", 'dataset = "digits"'])
def test_a_published_number(ours, reading, data):
    """A published value of the same data lies inside our interval or outside, or there are too few seeds to say."""
    study = made.asked("a", (20, 32), len(ours), paper("a", 10.0, data))

    table, others = against(study, lambda run, _: ours[run.seed])

    (row,) = table.to_dict("records")
    assert (row["depth"], row["paper"], row["reading"], row["n"]) == (20, 10, reading, len(ours))
    assert row["difference"] == pytest.approx(sum(ours) / len(ours) - 10)
    assert others.empty


def test_the_words_of_a_claim_and_the_depths_it_is_about_stand_in_the_table():
    """A claim that words itself brings its words, and each says of how many depths its verdict is."""
    claims = claim("a", "fails = false", 'says = "it trains"') + claim("b", "at_most = 50.0", "where = { depth = 20 }")

    table, _ = judged(made.asked("ab", (20, 32), claims=claims), lambda *_: 5.0)

    assert list(table["says"]) == ["it trains", ""]
    assert list(table["of"]) == [2, 1]


@pytest.mark.parametrize(
    ("ours", "published", "reading"),
    [
        ([90, 90], 10.0, "trains as published, fails here"),
        ([90, 90], 90.0, "untrained"),
        ([90, 5], 10.0, "untrained"),
        ([90], 10.0, "untrained"),
    ],
)
def test_no_published_number_is_read_beside_nets_that_did_not_train(ours, published, reading):
    """A number neither lies inside the interval of nets that learned nothing, nor outside."""
    study = made.asked("a", (20,), len(ours), paper("a", published))

    table, _ = against(study, lambda run, _: ours[run.seed])

    assert list(table["reading"]) == [reading]


@pytest.mark.parametrize(
    ("ours", "reading"),
    [
        ([90, 92], "fails too"),
        ([2, 3], "fails as published, trains here"),
        ([90, 2], "inconclusive"),
        ([90], "too few seeds"),
    ],
)
@pytest.mark.parametrize("data", ["", 'dataset = "cifar10"'])
def test_a_published_failure(ours, reading, data):
    """Where a net failed to train ours fails too, or trains, or nobody can tell; of other data just so."""
    study = made.asked("a", (20,), len(ours), paper("a", '"fails"', data))

    tables = against(study, lambda run, _: ours[run.seed])

    ((row,),) = [table.to_dict("records") for table in tables if len(table)]
    assert (row["paper"], row["reading"]) == ("fails", reading)
    assert len(tables[1]) == bool(data)


TIED = "where = { warmup = 5 }"


@pytest.mark.parametrize(
    ("more", "groups"), [("", ["cifar, warmup 0", "cifar, warmup 5"]), (TIED, ["cifar, warmup 5"])]
)
def test_a_published_value_stands_beside_our_nets_of_the_runs_that_it_names(more, groups):
    """With `where` a value of our own data stands beside no net that was trained otherwise."""
    study = made.load_text(TWINS + GROUPS, paper("a", 10.0, more))

    table, _ = against(study, lambda run, _: 5.0 + run.recipe.warmup)

    assert list(table["group"]) == groups
    assert list(table["mean"]) == [5.0 + int(group[-1]) for group in groups]


FAR = 'dataset = "cifar10"'


def apart(published, ours, more=""):
    """The reading of two twins, from the published values of other data and from errors of ours, one a seed."""
    values = paper("b", published[1], FAR, 110) + paper("a", published[0], FAR, 110)
    study = made.asked("ab", (20, 32), len(ours[0]), more + values)

    table, others = against(study, lambda run, twin: ours["ab".index(twin)][run.seed])

    *_, row = others.to_dict("records")
    assert table.empty
    assert (row["twin"], row["other"], row["paper_depth"], row["depth"]) == ("b", "a", 110, 32)
    assert row["difference"] == pytest.approx(sum(ours[1]) / len(ours[1]) - sum(ours[0]) / len(ours[0]))
    return row["reading"]


BASE, HIGHER, LOWER, WIDE = [10, 11, 12], [15, 16, 17.1], [5, 6, 7.1], [8, 13, 14]
LOST, WORSE = [70, 71, 72], [74, 75, 76.1]


@pytest.mark.parametrize(
    ("published", "ours", "reading"),
    [
        ((6.6, 12.9), (BASE, HIGHER), "same direction"),
        ((6.6, 12.9), (BASE, LOWER), "opposite direction"),
        ((12.9, 6.6), (BASE, LOWER), "same direction"),
        (('"fails"', 6.6), (BASE, HIGHER), "opposite direction"),
        ((6.6, '"fails"'), (BASE, LOST), "same direction"),
        (('"fails"', '"fails"'), (LOST, WORSE), "no difference either"),
        ((6.6, 6.6), (BASE, BASE), "no difference either"),
        ((6.6, 6.6), (BASE, HIGHER), "a difference here"),
    ],
)
def test_of_other_data_directions_are_compared(published, ours, reading):
    """Of other data what counts is whether the twin differs from the first in the direction that was published."""
    assert apart(published, ours) == reading


@pytest.mark.parametrize(
    ("published", "ours", "reading"),
    [
        ((6.6, 12.9), (BASE, BASE), "no such difference here"),
        ((6.6, 6.9), (BASE, WIDE), "too imprecise to tell"),
        ((6.9, 6.6), (BASE, WIDE), "too imprecise to tell"),
        ((6.6, 18.9), (BASE, WIDE), "no such difference here"),
        ((6.6, 6.6), (BASE, WIDE), "too imprecise to tell"),
        ((6.6, '"fails"'), (BASE, [1, 9, 30]), "too imprecise to tell"),  # it may fail here, too
        (('"fails"', 6.6), (BASE, BASE), "no such difference here"),
    ],
)
def test_what_an_interval_leaves_open_is_no_difference_from_the_paper(published, ours, reading):
    """Where our interval holds both 0 and the published difference it is too imprecise, else there is no such one."""
    assert apart(published, ours) == reading


@pytest.mark.parametrize(
    ("published", "ours", "reading"),
    [
        ((6.6, 12.9), (BASE, LOST), "trains as published, fails here"),
        ((6.6, 12.9), (LOST, WORSE), "trains as published, fails here"),
        ((6.6, 28.9), (BASE, LOST), "same direction"),  # above the study's bound, which is for its own data
        ((6.6, '"fails"'), (BASE, HIGHER), "fails as published, trains here"),
        ((6.6, '"fails"'), (BASE, BASE), "fails as published, trains here"),
        (('"fails"', '"fails"'), (BASE, HIGHER), "fails as published, trains here"),
    ],
)
def test_training_in_one_place_alone_comes_before_any_direction(published, ours, reading):
    """A net that trains there and fails here, or the other way round, does not do as published, whatever its sign."""
    assert apart(published, ours) == reading


@pytest.mark.parametrize(
    ("value", "own"), [(12.95, [("a", "-", 71.0, "trains as published, fails here")]), ('"fails"', [])]
)
def test_a_baseline_that_trains_in_one_place_alone_has_a_row_of_its_own(value, own):
    """What differs in the training of the twin that others are compared with has a row, and what does not has none."""
    study = made.asked("ab", (20,), 3, paper("a", value, FAR, 56) + paper("b", 7.4, FAR, 56))

    _, table = against(study, lambda run, twin: (LOST if twin == "a" else BASE)[run.seed])

    rows = zip(table["twin"], table["other"].fillna("-"), table["mean"], table["reading"], strict=True)
    assert list(rows) == [*own, ("b", "a", 11.0, "same direction")]


def test_a_value_published_alone_stands_beside_ours():
    """A value that no other can be compared with is set beside ours, and no direction is read from it."""
    _, table = against(made.asked("ab", (20,), 3, paper("a", 6.6, FAR, 110)), lambda run, twin: BASE[run.seed])

    (row,) = table.to_dict("records")
    assert (row["paper"], row["mean"], row["reading"]) == (6.6, pytest.approx(sum(BASE) / 3), "published alone")


def test_of_nets_that_fail_none_is_worse():
    """Where both of ours fail to train they do not differ, whatever their errors."""
    assert apart((28.9, 33.0), (LOST, WORSE)) == "no such difference here"


def test_a_published_value_stands_beside_our_net_of_its_depth():
    """Where we have a net of the published depth it is compared with that one, otherwise with our deepest."""
    values = "".join(paper("a", 7.0, FAR, depth) + paper("b", 9.0, FAR, depth) for depth in (20, 110))
    study = made.asked("ab", (20, 32), 3, values)

    _, table = against(study, lambda run, twin: (HIGHER if twin == "b" else BASE)[run.seed])

    assert list(zip(table["paper_depth"], table["depth"], strict=True)) == [(20, 20), (110, 32)]


def test_twins_that_fix_their_depths_are_compared_across_them():
    """Of twins that fix their depths published values of these are compared, and of no other depth."""
    twins = "[twins]\na = { depth = 20 }\nb = { depth = 56 }\n"
    values = paper("a", 9.78, FAR, 20) + paper("b", 12.95, FAR, 56) + paper("b", 13.5, FAR, 110)
    study = made.load_text(f'{twins}[[vary]]\nfamily = "cifar"\nseed = [0, 1, 2]\n', values)

    _, table = against(study, lambda run, twin: (HIGHER if twin == "b" else BASE)[run.seed])

    row, deeper = table.to_dict("records")
    assert (deeper["paper_depth"], deeper["reading"]) == (110, "published alone")
    assert (row["paper_depth"], row["paper_depth_other"]) == (row["depth_twin"], row["depth_other"]) == (56, 20)
    assert (row["paper"], row["paper_other"], row["reading"]) == (12.95, 9.78, "same direction")


@pytest.mark.parametrize("alone", [False, True])
def test_published_differences_stand_beside_those_of_the_runs_that_they_name(alone):
    """With `where` a value of other data is compared in these runs alone, as a pair or without a baseline."""
    grid = '[[vary]]\nfamily = "cifar"\ndepth = [20, 32]\nseed = [0, 1, 2]\nwarmup = [0, 5]\n'
    values = paper("b", 12.9, f"{FAR}\n{TIED}", 110) + ("" if alone else paper("a", 6.6, f"{FAR}\n{TIED}", 110))

    def level(run, twin):
        return 10.0 + run.seed / 10 + (5 if run.recipe.warmup else -5) * (twin == "b")

    _, table = against(made.load_text(TWINS + grid, values), level)

    (row,) = table.to_dict("records")
    assert (row["group"], row["depth"], row["mean"]) == ("cifar, warmup 5", 32, pytest.approx(15.1))
    assert row["reading"] == ("published alone" if alone else "same direction")


def test_values_about_different_runs_are_not_compared():
    """What was published of nets with a warm-up is no baseline for what was published of nets without."""
    values = paper("a", 6.6, f"{FAR}\n{TIED}") + paper("b", 12.9, f"{FAR}\nwhere = {{ warmup = 0 }}")

    _, table = against(made.load_text(TWINS + GROUPS, values), lambda *_: 5.0)

    rows = zip(table["twin"], table["group"], table["reading"], strict=True)
    assert list(rows) == [("a", "cifar, warmup 5", "published alone"), ("b", "cifar, warmup 0", "published alone")]


def test_of_two_sources_each_has_its_own_baseline():
    """A twin is compared with the value that its own source has of the baseline, and no twin with itself."""
    second = 'source = "table 7"'
    values = [paper("a", 6.6, FAR), paper("b", 12.9, FAR), paper("a", 7.6, FAR), paper("b", 5.9, FAR)]
    values[2:] = [value.replace('source = "table 6"', second) for value in values[2:]]
    study = made.asked("ab", claims="".join(values))

    _, table = against(study, lambda run, twin: (HIGHER if twin == "b" else BASE)[run.seed])

    rows = zip(*(table[key] for key in ("twin", "other", "source", "paper_other", "reading")), strict=True)
    assert list(rows) == [
        ("b", "a", "table 6", 6.6, "same direction"),
        ("b", "a", "table 7", 7.6, "opposite direction"),
    ]


def test_one_seed_has_no_direction():
    """From one seed nothing is said about directions."""
    study = made.asked("ab", (20,), 1, paper("a", 6.6, FAR, 110) + paper("b", 12.9, FAR, 110))

    assert list(against(study, made.level)[1]["reading"]) == ["too few seeds"]


def test_the_baseline_is_the_first_twin_with_a_value():
    """Each twin is compared with the first that has a value of the same data, depth and metric, or else with none."""
    values = "".join(paper(twin, value, FAR, 110) for twin, value in (("c", 8.0), ("b", 6.0), ("d", '"fails"')))
    values += paper("a", 7.0, 'dataset = "cifar100"', 110) + paper("b", 9.0, FAR, 110, metric="train_error_pct")
    study = made.asked("abcd", (20,), 2, values)

    _, table = against(study, lambda run, twin: 5 + run.seed + 10 * "abcd".index(twin))

    pairs = zip(table["twin"], table["other"].fillna("-"), table["metric"], table["reading"], strict=True)
    assert list(pairs) == [
        ("c", "b", "test_error_pct", "same direction"),
        ("d", "b", "test_error_pct", "same direction"),
        ("a", "-", "test_error_pct", "published alone"),
        ("b", "-", "train_error_pct", "published alone"),
    ]


def test_no_published_values():
    """A study without published values has empty tables."""
    assert [len(table) for table in against(made.asked("ab"), made.level)] == [0, 0]


@pytest.mark.parametrize(
    ("verdict", "claimed", "result"),
    [
        ("healthy", "healthy", "met"),
        ("vanish", "vanish", "met"),
        ("explode", "healthy", "contradicted"),
        ("inconclusive", "vanish", "undecided"),
    ],
)
def test_a_claim_about_gradients_is_judged_by_those_of_the_deepest_net(verdict, claimed, result):
    """Whether gradients vanish is one finding a twin and group, and a claim is about its own twin's."""
    study = made.load_text(TWINS + made.GRID, claim("a", f'gradients = "{claimed}"'))
    last = made.last(study, lambda *_: 5.0)
    trends, compared = comparisons.judge(study, last)
    flow = pd.DataFrame(
        {"group": ["cifar"] * 2, "twin": ["b", "a"], "depth": 20, "n": 3, "verdict": ["other than any", verdict]}
    )

    evidence = Evidence(trends, compared, derive.by_depth(derive.final(last), 20), derive.states(last), flow)
    (row,) = judging.claims(comparisons.scopes(study, last), evidence).to_dict("records")

    assert (row["group"], row["gradients"], row["n"], row["result"]) == ("cifar", claimed, 3, result)
    told = {"healthy": "gradients of a neither vanish nor explode", "vanish": "gradients of a vanish"}
    assert tables.claim(row) == told[claimed]


def test_what_correction_leaves_undecided_has_no_direction():
    """A difference that is undecided after correction for all tests is not said to be as published, or the opposite."""
    claims = "".join(claim(twin, 'above = "a"', 'metric = "test_error_pct"') for twin in "bcdefgh")
    values = paper("a", 6.6, FAR) + paper("b", 7.6, FAR)

    def level(run, twin):
        return 3.0 if twin == "a" else 4.0 + run.seed * (0.35 if twin == "b" else 0.9)

    (alone,) = against(made.asked("ab", claims=values), level)[1].to_dict("records")
    (among,) = against(made.asked("abcdefgh", claims=claims + values), level)[1].to_dict("records")

    assert alone["low"] == among["low"] > 0
    assert (alone["reading"], among["reading"]) == ("same direction", "too imprecise to tell")
