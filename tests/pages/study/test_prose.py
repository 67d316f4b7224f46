"""Prose: what a report says in words."""

import re
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import made
from deeptwins.findings import derive, frames
from deeptwins.findings.rows import Difference, Trend
from deeptwins.pages.study import comparing as pairs
from deeptwins.pages.study import prose


def verdicts(folder, study, level=made.level):
    """What the report of a made-up study says first, sentence by sentence."""
    return told(study, frames.load(study, made.results(folder, study, level)))


def told(study, data):
    """What a report says first: that no net trained, the answer, the evidence."""
    findings = derive.derive(study, data)
    answer = prose.answer(study, findings.claims) if study.answer else ""
    return [*prose.untrained(findings), *([answer] if answer else []), *prose.evidence(study, data, findings)]


def verdict(folder, study, level=made.level):
    """The only sentence of the verdict."""
    (sentence,) = verdicts(folder, study, level)
    return sentence


def test_verdict_for_a_net_with_and_without_shortcuts(tmp_path):
    """The sentence says how each moves, from which depth to which, with interval and number of seeds."""
    errors = {("plain", 20): 8, ("plain", 56): 60, ("residual", 20): 2, ("residual", 56): 2.2}

    assert verdict(tmp_path, made.small(tmp_path), lambda run, twin: errors[twin, run.twins[twin].depth]) == (
        "Without shortcuts, training error rises from 8.0 % at depth 20 to 60.0 % at depth 56 "
        "(+52.0 points, 95 % interval 52.0 to 52.0, 3 seeds). "
        "With shortcuts, it stays within 1 point: 2.0 % at depth 20, 2.2 % at depth 56 "
        "(+0.2 points, 95 % interval 0.2 to 0.2, 3 seeds)."
    )


@pytest.mark.parametrize(
    ("residual", "words"),
    [
        (lambda run: 2 + run.twins["residual"].depth, "With shortcuts, it rises from 22.0 % at depth 20 to 58.0 %"),
        (lambda run: 80 - run.twins["residual"].depth, "With shortcuts, it falls from 60.0 % at depth 20 to 24.0 %"),
        (
            lambda run: 9 + 4 * run.seed * (run.twins["residual"].depth - 30) / 20,
            "With shortcuts, three seeds cannot tell whether it rises or falls: ",
        ),
    ],
)
def test_verdict_is_honest_about_the_other_twin(tmp_path, residual, words):
    """Where the residual twin rises too, falls or is undecided, the sentence says so."""
    study = made.small(tmp_path)

    text = verdict(tmp_path, study, lambda run, twin: run.twins[twin].depth if twin == "plain" else residual(run))

    assert words in text


def test_nets_that_diverge_are_told_and_not_compared(tmp_path):
    """Where the deepest nets diverged the sentence says in how many seeds, and what the other twin does."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    for run in study.runs:
        deep = run.twins["plain"].depth == 56 and run.seed < 2
        made.write(results, run, made.records(run, diverged=["plain"] if deep else []))
    data = frames.load(study, results)

    (sentence,) = told(study, data)

    first, second = sentence.split("). ")
    assert first == (
        "Without shortcuts, training error has no trend to judge: 8.1 % at depth 20, diverged at depth 56"
        " (in 2 of 3 seeds"
    )
    assert re.match(r"With shortcuts, it stays within 1 point: 1\.7\d* % at depth 20, \d", second)


def test_what_is_higher_is_not_written_as_equal(tmp_path):
    """An error that is higher by less than a tenth of a point is written with as many decimals as show it."""
    study = made.load_text(
        f"[twins]\na = {{ width = 8 }}\nb = {{ width = 9 }}\n{made.GRID}", keys="flat_within_pct = 0.0"
    )
    one = study.model_copy(update={"runs": [run for run in study.runs if run.twins["a"].depth == 20]})
    for run in study.runs:
        deep = run.twins["a"].depth > 20
        lines = made.records(run, lambda _, twin, deep=deep: 5.001 + 0.021 * (twin == "b") + 0.03 * deep)
        lines[0]["dataset"] |= {"test": 1_000_000}
        made.write(tmp_path, run, lines)
        if not deep:
            made.write(tmp_path / "one", run, lines)

    (moving,), (compared,) = (
        told(of, data)
        for of, data in ((study, frames.load(study, tmp_path)), (one, frames.load(one, tmp_path / "one")))
    )

    assert "Training error of a rises from 5.00 % at depth 20 to 5.03 % at depth 56 (+0.03 points" in moving
    assert compared.startswith("Training error of a is 5.0 % (3 seeds). Higher: b (+0.02 points")


def test_depths_that_diverge_alike_are_told_together(tmp_path):
    """Whatever depths diverged are named, those in as many seeds once."""
    study = made.load(tmp_path, made.TOML.split("[[paper]]", maxsplit=1)[0])
    for run in study.runs:
        lost = run.twins["plain"].depth in {32, 44} or (run.twins["plain"].depth == 56 and run.seed == 1)
        made.write(tmp_path, run, made.records(run, diverged=["plain"] if lost else []))
    data = frames.load(study, tmp_path)

    text = told(study, data)[-2]

    assert "8.1 % at depth 20, diverged at depths 32 and 44 (in 3 of 3 seeds), diverged at depth 56 (in 1 of 3" in text


NOTHING = "So their errors decide nothing."


def lost(folder, kinds, keys="", grid=made.ONE_DEPTH):
    """What is said first of twins that end at an error or, at 100 %, diverge."""
    tables = "\n".join(f"{twin} = {{ width = {8 + i} }}" for i, twin in enumerate(kinds))
    study = made.load_text(f"[twins]\n{tables}\n{grid}", keys)
    for run in study.runs:
        diverged = [twin for twin, error in kinds.items() if error == 100]
        made.write(folder, run, made.records(run, lambda _, twin: kinds[twin], diverged=diverged))
    data = frames.load(study, folder)
    return told(study, data)


@pytest.mark.parametrize(
    ("kinds", "how"),
    [
        ({"a": 90, "b": 90}, "the training error of all 6 nets is not shown to be better than chance (90.0 %)"),
        ({"a": 88, "b": 90}, "the training error of all 6 nets is not shown to be better than chance (90.0 %)"),
        ({"a": 100, "b": 100}, "all 6 nets diverged"),
        ({"a": 90, "b": 100}, "3 of 6 nets diverged; the others are not shown to be better than chance (90.0 %)"),
    ],
)
def test_where_no_net_trained_that_is_said_first(tmp_path, kinds, how):
    """The first line says that no net trained, how that shows, and why it decides nothing; then what is undecided."""
    claims = '[answer]\nmet = "Yes."\ncontradicted = "No."\n[[expect]]\ntwin = "b"\nabove = "a"\n'

    first, answer = lost(tmp_path, kinds, claims)

    assert first == f"No net trained: {how}. {NOTHING}"
    nets = "diverged" if 100 in kinds.values() else "did not train"
    assert answer == f"Whether training error of b is above that of a is undecided, as nets {nets}."


def test_of_a_net_alone_one_error_is_spoken_of(tmp_path):
    """Where there is a single net, the sentence is about one error."""
    (sentence,) = lost(tmp_path, {"a": 90}, grid=made.ONE_DEPTH.replace("[0, 1, 2]", "0"))

    assert "of the only net is not shown to be better than chance (90.0 %). So its error decides nothing." in sentence


def test_in_how_many_seeds_neither_trained_is_said(tmp_path):
    """Of twins that trained in other seeds it is not said that neither trained; claims left open so are told as all."""
    claims = '[answer]\nmet = "Yes."\ncontradicted = "No."\n'
    for statement in ('above = "a"', 'below = "c"', "at_most = 50.0", 'agrees_with = "a"'):
        claims += f'[[expect]]\ntwin = "b"\n{statement}\n'
    study = made.asked("abc", claims=claims)

    answer, *_, sentence = verdicts(tmp_path, study, lambda run, _: 90.0 if run.seed == 1 else 3.0)

    assert answer == "4 of 4 claims are undecided, as nets did not train."
    assert sentence.endswith("), as neither trained in 1 of 3 seeds.")


def test_a_family_of_which_no_net_trained_is_named(tmp_path):
    """Of one family the sentence begins with its name, and the other's answer stands."""
    study = made.load(tmp_path, made.TOML)
    sentences = verdicts(tmp_path, study, lambda run, twin: 90 if run.twins[twin].family == "imagenet" else 5)

    assert sentences[0] == (
        f"In the imagenet family, no net trained: the training error of all 12 nets is not shown to be better than"
        f" chance (90.0 %). {NOTHING}"
    )


def test_what_cannot_be_compared_is_told_twin_by_twin(tmp_path):
    """Beside a twin at chance, one at chance is not called higher, and one that diverged diverges."""
    claims = "".join(f'[[expect]]\ntwin = "{twin}"\nabove = "a"\n' for twin in "bcd")

    (sentence,) = lost(tmp_path, {"a": 88, "b": 91, "c": 100, "d": 5}, claims)

    assert sentence == (
        "Training error of a is 88.0 %: it fails to train (3 seeds). Lower: d (-83.0 points, 95 % interval -83.0 to"
        " -83.0). Not compared: b (91.0 %), as neither trained; c, which diverged in 3 of 3 seeds."
    )


def test_verdict_for_any_other_twins(tmp_path):
    """Twins that differ in something else go by their names."""
    text = verdict(tmp_path, made.small(tmp_path, "narrow = { width = 8 }\nwide = { width = 32 }"), lambda *_: 5)

    assert text.startswith("Training error of narrow stays within 1 point: 5.0 % at depth 20, 5.0 % at depth 56 (")
    assert ". Training error of wide stays within 1 point: 5.0 % at depth 20, " in text


def test_verdict_for_several_shortcuts(tmp_path):
    """Several shortcuts go by their kind."""
    twins = 'plain = { shortcut = "none" }\na = { shortcut = "zero-pad" }\nb = { shortcut = "projection" }'

    text = verdict(tmp_path, made.small(tmp_path, twins), lambda *_: 5)

    assert "Without shortcuts, training error" in text
    assert ". With zero-pad shortcuts, it " in text
    assert ". With projection shortcuts, it " in text


def test_one_seed_supports_no_verdict(tmp_path):
    """From one seed the page says the numbers and that they support no verdict."""
    study = made.small(tmp_path, grid=made.GRID.replace("[0, 1, 2]", "0"))

    text = verdict(tmp_path, study)

    assert text.startswith("Without shortcuts, one seed cannot tell whether training error rises or falls: ")
    assert " points, 1 seed, which supports no verdict). With shortcuts, one seed cannot tell whether it " in text


def test_one_twin_at_one_depth_has_its_error(tmp_path):
    """One twin at one depth has nothing to be compared with: its error there is given."""
    study = made.small(tmp_path, "plain = {}", made.GRID.replace("[20, 56]", "20"))

    assert verdict(tmp_path, study, lambda *_: 5) == (
        "Without shortcuts, training error is 5.0 % at depth 20, the only depth (3 seeds)."
    )


def comparing(folder, *twins, grid=made.ONE_DEPTH, level=None, keys=""):
    """What is said of twins at one depth, by default those of made.SEVEN."""
    tables = "\n".join(f"{twin} = {{ width = {8 + i} }}" for i, twin in enumerate(twins))
    study = made.load_text(f"[twins]\n{tables}\n{grid}", keys)
    return verdicts(folder, study, level or (lambda run, twin: made.SEVEN[twin][run.seed]))


def test_verdict_on_twins_of_different_families(tmp_path):
    """The sentence names the family of both, and has the other's own error."""
    study = made.load_text(f'[twins]\na = {{}}\nb = {{ family = "my:net", depth = 2 }}\n{made.ONE_DEPTH}', keys="")

    (sentence,) = verdicts(tmp_path, study, lambda run, twin: {"a": 2, "b": 9}[twin])

    assert sentence == (
        "Twins of the my:net family: training error of a (cifar family) is 2.0 % (3 seeds). Higher: b (+7.0 points,"
        " 95 % interval 7.0 to 7.0)."
    )


def test_verdict_on_twins_at_one_depth(tmp_path):
    """The sentence sorts twins by how they compare with the first, each with its difference and interval."""
    (sentence,) = comparing(tmp_path, *made.SEVEN)

    assert sentence == (
        "Training error of base is 3.1 % (3 seeds). "
        "Higher: more (+5.0 points, 95 % interval 4.8 to 5.2), most (+10.0, 9.7 to 10.4). "
        "Lower: less (-3.0, -3.1 to -2.8). Within 1 point: like (0.0, -0.1 to 0.2). "
        "Undecided: some (+10.2, -26.7 to 47.2, fails to train in 1 of 3 seeds). "
        "Fails to train in 3 of 3 seeds: lost (90.0 %)."
    )


def test_two_that_fail_are_told_together(tmp_path):
    """Several twins that fail to train are listed together, and of the first it is said, too."""
    (sentence,) = comparing(tmp_path, "a", "b", "c", level=lambda run, _: 70.0)

    assert sentence == (
        "Training error of a is 70.0 %: it fails to train (3 seeds). "
        "Fails to train in 3 of 3 seeds: b (70.0 %), c (70.0 %)."
    )


def test_failures_in_different_numbers_of_seeds_are_counted_apart(tmp_path):
    """Where twins fail in different numbers of seeds, each has its own."""
    errors = {"a": [1] * 5, "b": [90] * 5, "c": [19.9, 23, 23, 23, 23]}
    grid = made.ONE_DEPTH.replace("[0, 1, 2]", "[0, 1, 2, 3, 4]")

    (sentence,) = comparing(tmp_path, *errors, grid=grid, level=lambda run, twin: errors[twin][run.seed])

    assert sentence.endswith(". Fails to train: b (90.0 %, 5 of 5 seeds), c (22.4 %, 4 of 5 seeds).")


def test_one_seed_compares_nothing(tmp_path):
    """From one seed the sentence gives the differences, without intervals, and says that they support no verdict."""
    grid = made.ONE_DEPTH.replace("[0, 1, 2]", "0")

    (sentence,) = comparing(tmp_path, "base", "more", grid=grid)

    assert sentence == (
        "Training error of base is 3.0 % (1 seed, which supports no verdict). Undecided: more (+5.0 points)."
    )


def test_several_settings_are_told_apart_by_what_they_are(tmp_path):
    """Where all settings are of one family, a sentence begins with what tells its setting from the others."""
    grid = made.ONE_DEPTH + "warmup = [0, 45]\n"

    sentences = comparing(tmp_path, "base", "more", grid=grid)
    trends = comparing(tmp_path, "base", grid=made.GRID + "warmup = [0, 45]\n")

    assert [sentence.split(" is ")[0] for sentence in sentences] == [
        "Warmup 0: training error of base",
        "Warmup 45: training error of base",
    ]
    assert trends[0].startswith("Warmup 0: without shortcuts, training error ")


CLAIMS = '[[expect]]\ntwin = "more"\nabove = "base"\n[[expect]]\ntwin = "less"\nabove = "base"\n'


def test_claims_name_the_error_that_is_compared(tmp_path):
    """A study that claims something of the test error is told by the test error."""
    keys = '[[expect]]\ntwin = "more"\nabove = "base"\nmetric = "test_error_pct"\n'

    (sentence,) = comparing(tmp_path, "base", "more", keys=keys)

    assert sentence.startswith("Test error of base is 5.1 % (3 seeds). Higher: more (+5.0 points, ")


def test_claimed_pairs_are_told_beside_trends(tmp_path):
    """Where depth varies, trends come first; then the pairs that a claim names, at each depth."""
    trend, *sentences = comparing(
        tmp_path, "base", "more", grid=made.GRID, keys=CLAIMS.split('[[expect]]\ntwin = "less', maxsplit=1)[0]
    )

    assert trend.startswith("Training error of base ")
    assert [sentence.partition(" (3")[0] for sentence in sentences] == [
        "Training error of base at depth 20 is 3.1 %",
        "Training error of base at depth 56 is 3.1 %",
    ]


ANSWER = '[answer]\nmet = "Yes, they are."\ncontradicted = "No, they are not."\n'


@pytest.mark.parametrize(
    ("level", "first"),
    [
        ({"more": 9, "less": 9}, "Yes, they are."),
        ({"more": 1, "less": 1}, "No, they are not."),
        (
            {"more": 9, "less": 1},
            (
                "Partly. Training error of more is above that of base;"
                " not as expected, training error of less is below that of base."
            ),
        ),
    ],
)
def test_the_answer_comes_first(tmp_path, level, first):
    """A study that words its answer gives it in the first sentence, as its claims are met, contradicted, or some so."""
    answered, evidence = comparing(
        tmp_path,
        *("base", "more", "less"),
        keys=CLAIMS + ANSWER,
        level=lambda run, twin: level.get(twin, 5) + run.seed,
    )

    assert answered == first
    assert evidence.startswith("Training error of base is 6.0 %")


@pytest.mark.parametrize(("seeds", "who"), [("[0, 1, 2]", "Three seeds"), ("0", "One seed")])
def test_an_answer_that_nobody_can_give_is_undecided(tmp_path, seeds, who):
    """Where no claim is decided the first sentence says so, and how many seeds cannot tell."""
    grid = made.ONE_DEPTH.replace("[0, 1, 2]", seeds)

    undecided = comparing(
        tmp_path,
        *("base", "more", "less"),
        keys=CLAIMS + ANSWER,
        grid=grid,
        level=lambda run, twin: 5 if twin == "base" else made.SEVEN["some"][run.seed],
    )

    more, less = (f"whether training error of {twin} is above that of base" for twin in ("more", "less"))
    assert undecided[0] == f"{who} cannot tell {more}, nor {less}."


def judged(*results, says="", of=1):
    """The table of claims that training error rises, one for each (result, verdict)."""
    claims = pd.DataFrame(results, columns=["result", "verdict"]).assign(claim=range(len(results)), says=says, of=of)
    twins = [f"t{i}" for i in range(len(results))]
    return claims.assign(group="cifar", twin=twins, metric="train_error_pct", trend="rises", n=5)


RISING = made.asked(
    [f"t{i}" for i in range(5)],
    (20, 56),
    claims="".join(f'[[expect]]\ntwin = "t{i}"\ntrend = "rises"\n' for i in range(5)),
)
MET, CONTRADICTED, UNDECIDED = ("met", "rises"), ("contradicted", "falls"), ("undecided", "inconclusive")


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([MET], "As expected: training error of t0 rises."),
        ([CONTRADICTED] * 2, "Not as expected: training error of t0 falls and training error of t1 falls."),
        ([UNDECIDED], "Five seeds cannot tell whether training error of t0 rises."),
        ([("undecided", "diverged")], "Whether training error of t0 rises is undecided, as nets diverged."),
        (
            [MET] * 3,
            "As expected: training error of t0 rises, training error of t1 rises and training error of t2 rises.",
        ),
        ([MET] * 4, "As expected: 4 of 4 claims are met."),
        (
            [MET, CONTRADICTED, UNDECIDED, UNDECIDED],
            (
                "Partly as expected. Training error of t0 rises; not as expected, training error of t1 falls;"
                " whether training error of t2 rises and whether training error of t3 rises, five seeds cannot tell."
            ),
        ),
        (
            [UNDECIDED] + [CONTRADICTED] * 4,
            (
                "Not as expected: 4 of 5 claims are contradicted;"
                " whether training error of t0 rises, five seeds cannot tell."
            ),
        ),
        ([], ""),
    ],
)
def test_an_answer_without_words_tells_what_became_of_the_claims(results, text):
    """Where no words fit, the answer names what is met, what was found instead, and what nobody can tell; or counts."""
    assert prose.answer(RISING, judged(*results)) == text


def test_a_claim_is_told_in_its_own_words_but_never_what_is_found_against_it():
    """A claim's `says` stands for it where it is met or undecided; what contradicts it is told from the verdict."""
    answers = [prose.answer(RISING, judged(case, says="it helps")) for case in (MET, UNDECIDED, CONTRADICTED)]

    assert answers == [
        "As expected: it helps.",
        "Five seeds cannot tell whether it helps.",
        "Not as expected: training error of t0 falls.",
    ]


def test_what_contradicts_a_claim_at_some_depth_is_not_said_of_all():
    """A claim about several depths is contradicted by one, and no more than that is said."""
    claims = judged(("contradicted", "agree"), of=2).drop(columns="trend").assign(above="base")

    assert prose.answer(RISING, claims) == (
        "Not as expected: at some depth, training error of t0 is within 1 point of that of base."
    )


def test_a_claim_of_two_families_is_told_apart_only_where_they_differ():
    """Where families have one result a claim is told once; else each is named."""
    same, other = judged(MET, MET).assign(claim=0, twin="plain", group=["cifar", "imagenet"]), judged(MET, UNDECIDED)
    other = other.assign(claim=0, twin="plain", group=["cifar", "imagenet"])

    assert prose.answer(RISING, same) == "As expected: training error of plain rises."
    assert prose.answer(RISING, other) == (
        "Partly as expected. Training error of plain rises (cifar family);"
        " whether training error of plain rises (imagenet family), five seeds cannot tell."
    )


@pytest.mark.parametrize(
    ("says", "place"), [("", " (cifar family)"), ('says = "plain nets of CIFAR\'s family degrade"\n', "")]
)
def test_a_claim_that_is_limited_is_not_told_of_all(tmp_path, says, place):
    """Of a claim about one family, or setting, the answer names it, unless the claim's own words do."""
    text = made.TOML.split("[[expect]]", maxsplit=1)[0]
    claim = f'[[expect]]\ntwin = "plain"\ntrend = "rises"\nfamily = "cifar"\n{says}'
    study = made.load(tmp_path, text + claim)
    data = frames.load(study, made.results(tmp_path, study))

    answer = prose.answer(study, derive.derive(study, data).claims)

    words = "plain nets of CIFAR's family degrade" if says else "training error of plain rises"
    assert answer == f"As expected: {words}{place}."


ERRORS = {"eager": [2.0, 3.0, 4.0], "compiled": [2.0, 3.0, 4.0], "triton": [2.1, 3.0, 3.9]}


def agreeing(folder, text=made.AGREEING, level=None, **errors):
    """What is said of nets that should agree, from their training errors by seed."""
    study = made.load(folder, text, "kernel")
    return verdicts(folder, study, level or (lambda run, twin: (ERRORS | errors)[twin][run.seed]))


def test_verdict_on_twins_that_agree(tmp_path):
    """Of twins that should agree the sentence says that they do, by how much, how far losses drift, and by chance."""
    compiled, triton = agreeing(tmp_path)

    assert compiled == (
        "The twins compiled and eager agree within 1 point. Training error: 3.0 % against 3.0 % "
        "(0.0 points, 95 % interval 0.0 to 0.0, 3 seeds). Loss traces are identical to the last bit."
    )
    assert triton == (
        "The twins triton and eager agree within 1 point. Training error: 3.0 % against 3.0 % "
        "(0.0 points, 95 % interval -0.2 to 0.2, 3 seeds). Test error: 5.0 % against 5.0 % "
        "(0.0 points, 95 % interval -0.2 to 0.2, 3 seeds). "
        "Loss traces drift apart by at most 5 % of the loss, where two seeds of eager differ by 42 %."
    )


@pytest.mark.parametrize(
    ("triton", "words"),
    [
        ([7.0, 8.0, 9.0], "The twins triton and eager differ. Training error: 8.0 % against 3.0 % (+5.0 points"),
        (
            [4.0, 3.0, 2.0],
            "Three seeds cannot tell whether the twins triton and eager agree within 1 point. Training error: 3.0 % ",
        ),
    ],
)
def test_verdict_is_honest_about_twins_that_do_not_agree(tmp_path, triton, words):
    """Where errors differ, or too little is known, the sentence says so in its first words."""
    assert agreeing(tmp_path, triton=triton)[1].startswith(words)


def test_errors_that_are_judged_apart_are_named_apart(tmp_path):
    """Where one error of a twin agrees and another does not, each says which it is; the twins then differ."""
    study = made.load(tmp_path, made.AGREEING, "kernel")
    results = made.results(tmp_path, study, made.alike)
    for run in study.runs:
        lines = [
            line | {"test_error_pct": 50.0} if line["kind"] == "epoch" and line["twin"] == "triton" else line
            for line in made.records(run, made.alike)
        ]
        made.write(results, run, lines)
    data = frames.load(study, results)

    _, sentence = told(study, data)

    assert sentence.startswith("The twins triton and eager differ. Training error agrees: 3.0 % against 3.0 % (")
    assert ". Test error differs: 50.0 % against 5.0 % (+45.0 points" in sentence


def test_of_several_depths_the_worst_is_told(tmp_path):
    """Over several depths the sentence tells the one where the twins lie furthest apart."""
    text = made.AGREEING.replace("depth = 8", "depth = [8, 14, 20]")
    apart = {8: 0.1, 14: -0.3, 20: 0.2}

    _, sentence = agreeing(
        tmp_path, text, lambda run, twin: 3 + run.seed + apart[run.twins[twin].depth] * (twin == "triton")
    )

    assert "Training error: 3.7 % against 4.0 % at depth 14, where they differ most (-0.3 points" in sentence


def test_of_several_depths_one_that_differs_is_told(tmp_path):
    """Where twins differ at one depth that one is told, though another, undecided, lies further apart."""
    text = made.AGREEING.replace("depth = 8", "depth = [8, 14]")

    _, sentence = agreeing(
        tmp_path,
        text,
        lambda run, twin: 20 + (twin == "triton") * (5 if run.twins[twin].depth == 8 else 10 * run.seed),
    )

    assert sentence.startswith(
        "The twins triton and eager differ. Training error: 25.0 % against 20.0 % at depth 8, where they differ most ("
    )


def test_one_seed_supports_no_agreement(tmp_path):
    """From one seed the sentence says the numbers and that they support no verdict, and knows no chance."""
    _, sentence = agreeing(tmp_path, made.AGREEING.replace("[0, 1, 2]", "0"), made.alike)

    assert sentence == (
        "One seed cannot tell whether the twins triton and eager agree within 1 point. Training error: 2.0 % against "
        "2.0 % "
        "(0.0 points, 1 seed, which supports no verdict). Test error: 4.0 % against 4.0 % "
        "(0.0 points, 1 seed, which supports no verdict). Loss traces drift apart by at most 0.1 % of the loss."
    )


def test_agreement_comes_before_trends(tmp_path):
    """A study that claims both gets both, agreement first, by family where there are several."""
    text = made.AGREEING.replace("[recipe]", '[[vary]]\nfamily = "imagenet"\ndepth = [18, 34]\nseed = [0, 1]\n[recipe]')

    sentences = agreeing(tmp_path, f'{text}[[expect]]\ntwin = "eager"\ntrend = "flat"\n', made.alike)

    assert [re.split(r" is | stays |\.", sentence)[0] for sentence in sentences] == [
        "In the cifar family, the twins compiled and eager agree within 1 point",
        "In the cifar family, the twins triton and eager agree within 1 point",
        "In the imagenet family, the twins compiled and eager agree within 1 point",
        "In the imagenet family, the twins triton and eager agree within 1 point",
        "In the cifar family, training error of eager",
        "In the imagenet family, training error of eager",
    ]


def test_without_records_of_a_claimed_pair_comparisons_are_told(tmp_path):
    """While no run of the family that a claim names has finished, the verdict is not empty."""
    text = made.AGREEING.replace("[recipe]", '[[vary]]\nfamily = "imagenet"\ndepth = 18\nseed = 0\n[recipe]')
    study = made.load(tmp_path, text.replace('"eager"\n', '"eager"\nfamily = "imagenet"\n'), "kernel")
    made.write(tmp_path / "results", study.runs[0])
    data = frames.load(study, tmp_path / "results")

    (sentence,) = told(study, data)

    assert sentence.startswith("Training error of eager is ")


def test_each_twin_has_the_number_that_carries_the_answer(tmp_path):
    """It is the error that the first claim is about, of the deepest net, beside that of the shallowest."""
    errors = {("plain", 20): 8, ("plain", 56): 60, ("residual", 20): 2, ("residual", 56): 2.2}
    study = made.small(tmp_path)
    data = frames.load(study, made.results(tmp_path, study, lambda run, twin: errors[twin, run.twins[twin].depth]))

    assert prose.numbers(study, derive.derive(study, data)) == [
        ("plain", "60.0 %", "training error at depth 56; 8.0 % at depth 20"),
        ("residual", "2.2 %", "training error at depth 56; 2.0 % at depth 20"),
    ]


PAIR = {"n": 3, "low": -90.0, "high": 90.0, "p_holm": 0.2, "depth": 56, "depths": 2, "shallowest": 20, "deepest": 56}
FOUND = re.compile(
    r"\b(rises|falls|stays|agrees|differs|above|below|higher|lower|within|may|clear\w*|not|vanish)\b", re.IGNORECASE
)


def sentences(value, other, row):
    """The sentences that have two errors and their difference: of a trend, and of an agreement."""
    trend = {"shallowest_mean": other, "deepest_mean": value, "difference": value - other} | PAIR | row
    pair = {"mean": value, "other_mean": other, "difference": value - other} | PAIR | row
    agreed = {**dict(zip(Trend.VERDICTS, ("agree", "differ", "differ"), strict=True)), "inconclusive": "inconclusive"}
    pair["verdict"] = agreed[pair["verdict"]]
    return prose._course("it", trend, 1.0), prose._difference(pd.DataFrame([pair]), pair["verdict"])


@given(st.floats(0, 100), st.floats(0, 100), st.sampled_from([*Trend.VERDICTS, "inconclusive"]))
def test_numbers_in_one_sentence_add_up_as_printed(value, other, verdict):
    """In every sentence with two errors and their difference, that is the difference of the errors as printed."""
    for sentence, sign in zip(sentences(value, other, {"verdict": verdict}), (-1, 1), strict=True):
        first, second = map(Decimal, re.findall(r"([\d.]+) %", sentence)[:2])
        (points,) = map(Decimal, re.findall(r"([+-]?[\d.]+) points", sentence))

        assert points == sign * (first - second)


def undecided(n, low, high):
    """Every sentence that the page may say of what nothing is decided about, by kind."""
    row = {"verdict": "inconclusive", "n": n, "low": low, "high": high, "p_holm": 0.105}
    course, difference = sentences(60.0, 5.0, row)
    pair = pd.DataFrame([{"twin": "b", "difference": 55.0} | row])
    (against,) = pairs._against(made.asked("ab"), pair, {"b": {"outcome": "inconclusive", "failed": 0, "n": n}})
    claims = judged(("undecided", "inconclusive")).assign(n=n)
    agreements = pd.DataFrame([{"group": "cifar", "twin": "b", "other": "a", "metric": "test_error_pct"} | PAIR | row])
    agreements = agreements.assign(mean=60.0, other_mean=5.0, difference=55.0)
    drift = pd.DataFrame(columns=["group", "twin", "other"])
    return course, difference, against, prose.answer(RISING, claims), *prose._agreements(RISING, agreements, drift)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("interval", [(-5.0, 9.0), (53.1, 92.3), (-92.3, -53.1)])
def test_what_is_undecided_is_never_worded_as_a_finding(n, interval):
    """Where nothing is decided each sentence says that the seeds cannot tell, and states no effect and no absence."""
    course, difference, against, answer, agreement = undecided(n, *interval)

    asked = re.compile(r"(?i)whether [^:,(.]*")  # what the question is
    for sentence in (course, difference, against, answer, agreement):
        assert not FOUND.search(asked.sub("", sentence).replace("cannot", "").replace("supports no verdict", ""))
    for sentence in (course, answer, agreement):
        assert f"seed{'' if n == 1 else 's'} cannot tell" in sentence
    assert against.startswith("Undecided: b ")
    # An interval that excludes 0 does not stand without the reason why that decides nothing.
    for sentence in (course, difference, against, agreement) if n > 1 else ():
        assert ("p 0.105 corrected" in sentence) == (interval[0] * interval[1] > 0)


def test_every_verdict_has_its_words():
    """No verdict on a trend or a difference is left to the words of what is undecided."""
    seen = {verdict: sentences(60.0, 5.0, {"verdict": verdict})[0] for verdict in (*Trend.VERDICTS, "inconclusive")}
    study = made.asked("ab")
    cells = {"b": {"outcome": "trains", "failed": 0, "n": 3}}
    for verdict in (*Difference.VERDICTS, "inconclusive"):
        row = {"twin": "b", "difference": 55.0, "verdict": verdict} | PAIR
        seen[f"pair {verdict}"] = pairs._against(study, pd.DataFrame([row]), cells)[0]

    assert len({*seen.values()}) == len(seen)
    assert [verdict for verdict, sentence in seen.items() if "cannot tell" in sentence or "Undecided" in sentence] == [
        "inconclusive",
        "pair inconclusive",
    ]


def test_of_a_study_without_a_bound_errors_are_told_and_no_failures(tmp_path):
    """Where a study does not say when a net fails, one at 42 % is higher, and only one at chance did not train."""
    errors = {"a": 2.0, "b": 42.0, "c": 90.0}
    twins = "".join(f"{twin} = {{ width = {i} }}\n" for i, twin in enumerate(errors, 8))
    study = made.load_text(f"[twins]\n{twins}{made.ONE_DEPTH}", keys="")

    (sentence,) = verdicts(tmp_path, study, lambda run, twin: errors[twin])

    assert sentence == (
        "Training error of a is 2.0 % (3 seeds). Higher: b (+40.0 points, 95 % interval 40.0 to 40.0)."
        " Did not train in 3 of 3 seeds: c (90.0 %)."
    )


@pytest.mark.parametrize(
    ("grid", "level", "text"),
    [
        (
            made.GRID,
            lambda run, twin: run.twins[twin].depth if twin == "plain" else 3.0,
            "Training error of plain rises with depth; training error of residual stays flat.",
        ),
        (
            made.GRID,
            lambda run, twin: 3.0 if twin == "plain" else 9 + 4 * run.seed * (run.twins[twin].depth - 30) / 20,
            (
                "Training error of plain stays flat; whether training error of residual rises or falls,"
                " three seeds cannot tell."
            ),
        ),
        (
            made.ONE_DEPTH,
            lambda run, twin: 3.0 + run.seed + 5 * (twin == "residual"),
            "Training error of residual is above that of plain.",
        ),
        (
            made.GRID,
            lambda _, twin: 100.0 if twin == "plain" else 3.0,
            "Training error of plain cannot be judged, as nets diverged; training error of residual stays flat.",
        ),
        (made.ONE_DEPTH, lambda *_: 95.0, ""),
    ],
)
def test_a_study_that_claims_nothing_says_what_was_found(tmp_path, grid, level, text):
    """Without a claim the first line says what training error does, or that nobody can tell; or nothing."""
    study = made.small(tmp_path, grid=grid)
    data = frames.load(study, made.results(tmp_path, study, level))

    assert prose.found(study, derive.derive(study, data)) == text
