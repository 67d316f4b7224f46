"""Which nets trained, and that no claim about errors rests on those that did not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made
from deeptwins.findings import derive, frames, learning

SEEDS = 3
LEVELS = {"good": 2.0, "fair": 60.0, "chance": 90.0, "diverged": 100.0}


def states(errors, images=1437, chance=90.0, margin=1.0):
    """The states of nets, from their training errors."""
    last = made.last(made.asked(seeds=len(errors)), lambda run, _: errors[run.seed])
    last = last.assign(train_images=images, chance_pct=chance)
    return list(learning.assess(last, margin)["state"])


@pytest.mark.parametrize(
    ("error", "images", "chance", "margin", "state"),
    [
        (90.0, 1437, 90.0, 1.0, "at chance"),
        (88.0, 1437, 90.0, 1.0, "at chance"),  # 1,437 guesses may do so well
        (80.0, 1437, 90.0, 1.0, "trained"),
        (80.0, 20, 90.0, 1.0, "at chance"),  # and so may 20
        (0.0, 20, 90.0, 1.0, "trained"),
        (0.0, 2, 50.0, 1.0, "at chance"),
        (89.4, 50_000, 90.0, 1.0, "at chance"),  # better than guesses, but by less than the study tells apart
        (88.0, 50_000, 90.0, 1.0, "trained"),
        (20.0, 1000, 20.0, 1.0, "at chance"),  # the commonest of two classes has 80 %
        (10.0, 1000, 20.0, 1.0, "trained"),
        (50.0, 1000, 50.0, 1.0, "at chance"),
        (0.1, 50_000, 1.0, 1.0, "trained"),  # chance errs less than the margin: half of that is enough
        (1.0, 50_000, 1.0, 1.0, "at chance"),
        (0.0, 50_000, 0.0, 1.0, "at chance"),  # one class alone
        (99.9, 1437, 90.0, 1.0, "at chance"),  # worse than chance
    ],
)
def test_a_net_trained_where_it_is_better_than_chance(error, images, chance, margin, state):
    """What counts is the number of right answers beside that of one answer to all, and the study's margin."""
    assert states([error], images, chance, margin) == [state]


def test_the_more_nets_the_more_each_has_to_show():
    """What one net alone would show, one of a hundred may be by chance."""
    assert states([86.5])[0] == "trained"
    assert states([86.5] + [90.0] * 99)[0] == "at chance"


def test_chance_is_that_of_the_training_images(tmp_path):
    """The header's commonest class sets what one answer to all gets wrong; without it, classes are taken as even."""
    study = made.asked()
    run, *_ = study.runs
    first, *rest = made.records(run)
    uneven = first | {"dataset": first["dataset"] | {"commonest": 96}}
    for header, chance in ((first, 90.0), (uneven, 25.0)):
        made.write(tmp_path, run, [header, *rest])
        assert set(frames.load(study, tmp_path).runs["chance_pct"]) == {chance}


def found(folder, claims, level, twins=("a", "b"), depths=(20, 56)):
    """What becomes of claims: the result and the verdict of each, from kinds of nets; and all findings."""
    study = made.asked(twins, depths, SEEDS, claims)
    for run in study.runs:
        errors = {twin: level(twin, run.twins[twin].depth, run.seed) for twin in run.twins}
        lost = [twin for twin, kind in errors.items() if kind == "diverged"]
        lines = made.records(run, lambda _, twin, e=errors: LEVELS[e[twin]], diverged=lost)
        lines[0]["dataset"] = lines[0]["dataset"] | {"commonest": 13}
        made.write(folder, run, lines)
    findings = derive.derive(study, frames.load(study, folder))
    return list(zip(findings.claims["result"], findings.claims["verdict"], strict=True)), findings


def claim(twin, statement):
    """Spell a claim."""
    return f'[[expect]]\ntwin = "{twin}"\n{statement}\n'


STATEMENTS = {
    "rises": ("a", 'trend = "rises"'),
    "falls": ("a", 'trend = "falls"'),
    "flat": ("a", 'trend = "flat"'),
    "above": ("a", 'above = "b"'),
    "below": ("a", 'below = "b"'),
    "agrees": ("a", 'agrees_with = "b"'),
    "at most": ("a", "at_most = 95.0"),
    "less": ("a", "at_most = 5.0"),
}


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("kinds", [["chance"], ["diverged"], ["chance", "diverged"]], ids=" and ".join)
def test_no_claim_about_errors_rests_on_nets_that_did_not_train(tmp_path, statement, kinds):
    """Where all nets are at chance or diverged, every claim about errors is undecided, and says why."""
    text = claim(*STATEMENTS[statement])

    (ruling,), findings = found(tmp_path, text, lambda twin, depth, seed: kinds[(depth + (twin == "b")) % len(kinds)])

    assert ruling in {("undecided", "untrained"), ("undecided", "diverged")}
    assert len(findings.untrained) == len(findings.final)


@pytest.mark.parametrize(
    ("level", "statement", "ruling"),
    [
        # The deep net is at chance, the shallow one trained: that is degradation.
        (lambda twin, depth, seed: "chance" if depth == 56 else "good", "rises", ("met", "rises")),
        (lambda twin, depth, seed: "chance" if depth == 20 else "good", "falls", ("met", "falls")),
        # One of two twins trained.
        (lambda twin, depth, seed: "chance" if twin == "a" else "good", "above", ("met", "above")),
        (lambda twin, depth, seed: "chance" if twin == "b" else "good", "below", ("met", "below")),
        (lambda twin, depth, seed: "chance" if twin == "a" else "good", "agrees", ("contradicted", "differ")),
        # At one depth neither did.
        (
            lambda twin, depth, seed: "chance" if depth == 56 or twin == "a" else "good",
            "above",
            ("undecided", "untrained"),
        ),
        # In one seed neither did, or one diverged, whose error is no number.
        (lambda twin, depth, seed: "chance" if seed == 1 else "good", "flat", ("undecided", "untrained")),
        (lambda twin, depth, seed: "diverged" if depth == 56 else "good", "rises", ("undecided", "diverged")),
        (
            lambda twin, depth, seed: "diverged" if (depth, seed) == (56, 1) else "good",
            "rises",
            ("undecided", "diverged"),
        ),
        (lambda twin, depth, seed: "diverged" if twin == "a" else "good", "above", ("undecided", "diverged")),
        (lambda twin, depth, seed: "diverged" if twin == "b" else "good", "below", ("undecided", "diverged")),
        (lambda twin, depth, seed: "chance" if seed == 1 else "good", "at most", ("undecided", "untrained")),
        # Nets that learned little learned something.
        (lambda twin, depth, seed: "fair", "flat", ("met", "flat")),
    ],
)
def test_a_comparison_counts_where_one_of_two_nets_trained(tmp_path, level, statement, ruling):
    """In each seed one of the two must have trained, and none may have diverged."""
    assert found(tmp_path, claim(*STATEMENTS[statement]), level)[0] == [ruling]


def test_a_depth_that_diverged_between_others_voids_a_trend(tmp_path):
    """Every depth of a trend has a say in its test, so that none may have diverged."""
    level = {20: "good", 32: "diverged", 56: "fair"}

    ((result, verdict),), _ = found(
        tmp_path, claim("a", 'trend = "rises"'), lambda twin, depth, _: level[depth], depths=(20, 32, 56)
    )

    assert (result, verdict) == ("undecided", "diverged")


@pytest.mark.parametrize("kind", ["chance", "diverged"])
def test_that_a_net_fails_may_be_claimed_of_one_that_did_not_train(kind):
    """`fails` is about just that; wherever the study's bound is, a net that learned nothing fails."""
    for bound in (20.0, 95.0, 100.0):
        last = made.last(made.asked(), lambda *_: LEVELS[kind])
        row = derive.by_depth(derive.final(last), bound)[0]
        assert (row.outcome, row.failed) == ("fails", SEEDS)


def test_one_seed_that_learned_nothing_leaves_training_open():
    """A twin of which one seed is at chance, though below the bound, is not said to train."""
    last = made.last(made.asked(), lambda run, _: 90.0 if run.seed else 2.0)

    assert derive.by_depth(derive.final(last), 99.0)[0].outcome == "inconclusive"


@given(st.lists(st.tuples(*[st.sampled_from(["trained", "at chance", "diverged"])] * 2), min_size=1))
def test_one_more_seed_never_makes_nets_comparable(seeds):
    """What a seed makes void stays so whatever the others do; seeds that are sound one by one are so together."""
    alone = [learning.void([nets]) for nets in seeds]

    assert (learning.void(seeds) is None) == (set(alone) == {None})
    assert learning.void(seeds) in alone
    assert learning.void(seeds) == learning.void([nets[::-1] for nets in reversed(seeds)])
