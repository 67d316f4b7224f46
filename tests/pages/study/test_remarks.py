"""Remarks: what a reader is told before trusting a verdict."""

import pytest

import made
from deeptwins.findings import derive, frames
from deeptwins.pages.page import write
from deeptwins.pages.study import provenance, remarks
from deeptwins.pages.study.page import PAGE
from made import paper
from reading import html, markdown, rows

SCALE = f'scale = "Ours are small."\n{made.BOUND}\n'
FAR = 'dataset = "cifar10"'
OURS = "5.1 % (95 % interval 4.9 to 5.3)."
THERE = "Published on cifar10 at depth 20 (table 6):"
BASE = f"{THERE} test error is"
MORE = "+5.0 points, 95 % interval 4.8 to 5.2)."


def remarked(folder, twins, values, level, grid=made.ONE_DEPTH):
    """The remarks of a study of these twins, from their training errors; test errors are 2 points above."""
    tables = "\n".join(f"{twin} = {{ width = {8 + i} }}" for i, twin in enumerate(twins))
    study = made.load_text(f"[twins]\n{tables}\n{grid}", values, SCALE)
    data = frames.load(study, made.results(folder, study, level))
    return remarks.remarks(study, data, derive.derive(study, data))


def seven(run, twin):
    """The training error of one of the twins of `made.SEVEN`."""
    return made.SEVEN[twin][run.seed]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (paper("base", 90.0), f"Published test error of base at depth 20 is 90.00 % (table 6). Here it is {OURS}"),
        (
            paper("lost", 9.0),
            "Published test error of lost at depth 20 is 9.00 % (table 6). Here the net fails to train.",
        ),
        (
            paper("base", '"fails"'),
            f"Published: base at depth 20 fails to train (table 6). Here its test error is {OURS}",
        ),
        (
            paper("base", 9.0, FAR) + paper("more", 6.0, FAR),
            f"{BASE} lower with more (6.00 %) than with base (9.00 %). Here it is higher ({MORE}",
        ),
        (
            paper("base", 9.0, FAR) + paper("more", 12.0, FAR) + paper("like", 7.0, FAR) + paper("lost", 6.5, FAR),
            (
                f"{THERE} lost (test error 6.50 %) trains. Here it fails to train (test error 92.0 %). "
                "Also on cifar10 at depth 20: test error is lower with like (7.00 %) than with base (9.00 %). "
                "Here there is no such difference (0.0 points, 95 % interval -0.1 to 0.2)."
            ),
        ),
        (
            paper("base", 9.0, FAR, 56) + paper("more", '"fails"', FAR, 56) + paper("most", '"fails"', FAR, 56),
            (
                "Published on cifar10 at depth 56 (table 6): more and most fail to train. "
                "Here, at depth 20, these train: more (test error 10.1 %) and most (15.1 %)."
            ),
        ),
        (
            paper("base", 3.0, FAR) + paper("more", 3.0, FAR) + paper("like", 3.0, FAR),
            f"{BASE} the same with more (3.00 %) as with base (3.00 %). Here they differ ({MORE}",
        ),
        (
            paper("base", 9.0, FAR) + paper("more", 6.0, FAR) + paper("most", 5.0, FAR),
            (
                f"{BASE} lower with more (6.00 %) and most (5.00 %) than with base (9.00 %). Here it is higher "
                "(more +5.0 points, 95 % interval 4.8 to 5.2; most +10.0, 9.7 to 10.4)."
            ),
        ),
        (
            paper("base", '"fails"', FAR),
            f"{THERE} base fails to train. Here it trains (test error 5.1 %).",
        ),
    ],
)
def test_what_differs_from_the_paper_is_said(tmp_path, values, words):
    """Where our answer is not the published one, a remark says in what; the next one, how far the scale is."""
    twins = ["base", "more", "most", "like", "lost"]

    assert remarked(tmp_path, twins, values, seven) == [words, "Ours are small."]


def test_what_is_too_imprecise_is_said_last(tmp_path):
    """What our intervals leave open is named in one sentence behind all others."""
    values = paper("base", 9.0, FAR) + paper("some", 12.0, FAR)
    lower = paper("more", 6.0, FAR)
    open_ = "Our seeds cannot tell whether these differ as published: some from base."

    assert remarked(tmp_path / "alone", ["base", "some"], values, seven) == ["Ours are small.", open_]
    first, scale, last = remarked(tmp_path / "both", ["base", "more", "some"], values + lower, seven)
    assert "some" not in first
    assert (scale, last) == ("Ours are small.", open_)


def test_ours_is_told_once_beside_several_published_values(tmp_path):
    """What stands beside two published values of one source is told beside the first, with its family if not ours."""
    far = FAR, 164, "cifar-bottleneck"
    values = [paper("base", 9.0, *far), paper("lost", 12.0, *far), paper("base", 9.0, FAR), paper("lost", 7.0, FAR)]

    remark, _ = remarked(tmp_path, ["base", "lost"], "".join(values), seven)

    assert remark == (
        "Published on cifar10 at depth 164 in the cifar-bottleneck family (table 6): "
        "lost (test error 12.00 %) trains. Here, at depth 20, it fails to train (test error 92.0 %)."
    )


@pytest.mark.parametrize(
    ("errors", "here"),
    [
        ({0: 90.0, 5: 3.0}, "92.0 % for warmup 0"),
        ({0: 90.0, 5: 80.0}, "92.0 % for warmup 0 and 82.0 % for warmup 5"),
    ],
)
def test_a_setting_in_which_a_net_fails_is_named(tmp_path, errors, here):
    """Where a study has several settings a remark says in which of them it is not as published."""
    grid = f"{made.ONE_DEPTH}warmup = [0, 5]\n"

    remark, _ = remarked(tmp_path, ["base"], paper("base", 9.0, FAR), lambda run, _: errors[run.recipe.warmup], grid)

    assert remark == f"{THERE} base (test error 9.00 %) trains. Here it fails to train (test error {here})."


def test_a_setting_in_which_twins_differ_is_named(tmp_path):
    """Where twins differ as published in one setting and not in another, a remark names that other."""
    grid = f"{made.ONE_DEPTH}warmup = [0, 5]\n"
    values = paper("base", 9.0, FAR) + paper("more", 6.0, FAR)

    def level(run, twin):
        lower = run.recipe.warmup and twin == "more"
        return 0.1 * run.seed if lower else seven(run, twin)

    remark, _ = remarked(tmp_path, ["base", "more"], values, level, grid)

    assert remark.endswith(f"Here it is higher (warmup 0: {MORE}")


def test_of_what_is_as_published_only_the_scale_is_told(tmp_path):
    """Where ours is the published answer, nothing is said but how far the scale is."""
    values = paper("base", 9.0, FAR) + paper("lost", '"fails"', FAR) + paper("base", 5.1) + paper("lost", '"fails"')

    assert remarked(tmp_path, ["base", "more", "lost"], values, seven) == ["Ours are small."]


def test_what_is_missing_is_said(tmp_path):
    """Unfinished, failed and diverged runs, and runs left aside, are named under the verdict."""
    study = made.load(tmp_path, made.TOML.partition("[[paper]]")[0])
    results = made.results(tmp_path, study)
    unfinished, failed, diverged, other = study.runs[:4]
    made.write(results, unfinished, made.records(unfinished, status=None))
    made.write(results, failed, made.records(failed, status="failed"))
    made.write(results, diverged, made.records(diverged, diverged=["plain"]))
    made.write(results, other.model_copy(update={"recipe": other.recipe.model_copy(update={"momentum": 0.5})}))

    data = frames.load(study, results)
    assert remarks.remarks(study, data, derive.derive(study, data)) == [
        "Provisional: 16 of 18 runs have finished.",
        "1 of 32 nets diverged; an error of 100 % is put in place of theirs.",
        "1 run failed and is left out.",
        "Left out, as their settings are not the study's: 1 run with momentum 0.5 (here 0.0).",
    ]
    assert provenance.origin(data).rows[0] == ["runs", "15 done, 1 diverged, 1 failed, 1 unfinished"]


def test_a_complete_study_needs_no_remark(tmp_path):
    """Where every run is done there is nothing to warn of."""
    study = made.small(tmp_path)
    data = frames.load(study, made.results(tmp_path, study))

    assert remarks.remarks(study, data, derive.derive(study, data)) == []


def test_diverging_in_the_last_evaluation_is_said(tmp_path):
    """A net whose loss is first not finite at the very end diverged too."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    last = study.runs[0].recipe.iterations
    made.write(results, study.runs[0], made.records(study.runs[0], diverged=["plain"], diverged_at=last))
    data = frames.load(study, results)

    (remark,) = remarks.remarks(study, data, derive.derive(study, data))

    assert remark == "1 of 12 nets diverged; an error of 100 % is put in place of theirs."


def test_other_code_is_said(tmp_path):
    """That runs were made by different code of one's own stands above the verdict, and in the table of provenance."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    part = {"package": "mypkg", "version": "1.2", "sha256": "1" * 64, "commit": None}
    for digit, run in zip("112222", study.runs, strict=True):
        first, *rest = made.records(run)
        first["parts"] = dict.fromkeys(("mypkg.a:one", "mypkg.b:two"), part | {"sha256": digit * 64})
        made.write(results, run, [first, *rest])

    (caution,) = remarks.cautions(frames.load(study, results))
    written = write(PAGE, tmp_path / "reports", study, results)

    assert caution == (
        "Not all runs were made by the same code, so that their errors may not compare: mypkg was changed between runs"
        " (2 by 1111111, 4 by 2222222)."
    )
    assert markdown(written).index(caution) < markdown(written).index("Without shortcuts, training error")
    assert (
        "code of mypkg|mypkg.a:one, mypkg.b:two: version 1.2, source 111111111111; version 1.2, source 222222222222"
    ) in rows(markdown(written))


def test_other_data_is_said(tmp_path):
    """Runs of one data set with two checksums do not compare, and the page says so above its verdict."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    first, *rest = made.records(study.runs[0])
    made.write(results, study.runs[0], [first | {"dataset": first["dataset"] | {"checksum": "sha256:00"}}, *rest])
    data = frames.load(study, results)

    assert remarks.remarks(study, data, derive.derive(study, data)) == []
    (caution,) = remarks.cautions(data)
    assert caution.startswith(
        "Not all runs were trained on the same data, so that their errors do not compare: digits has 2 checksums (1 of"
        " sha256:00, 5 of sha256:"
    )
    written = write(PAGE, tmp_path / "reports", study, results)
    for text in (markdown(written), html(written).partition("<body>")[2]):
        assert text.index(caution) < text.index("Without shortcuts, training error")
    told = " ".join(written.lines)
    assert told.index(caution) < told.index("Without shortcuts, training error")
