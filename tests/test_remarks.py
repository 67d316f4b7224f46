"""Remarks: what a reader is told before trusting a verdict."""

import pytest

import made
from deeptwins import findings, frames, provenance, remarks


def paper(twin, value, more=""):
    """Spell a published value of the test error at depth 20."""
    net = f'[[paper]]\nfamily = "cifar"\ndepth = 20\ntwin = "{twin}"\nmetric = "test_error_pct"\n'
    return f'{net}value = {value}\nsource = "table 1"\n{more}\n'


SCALE = 'scale = "Ours are small."\n'
FAR = 'dataset = "cifar10"'
OURS = "5.1 % (95 % interval 4.9 to 5.3)."
BASE = "Published in table 1: on cifar10 at depth 20, test error is"
MORE = "+5.0 points, 95 % interval 4.8 to 5.2)."


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (paper("base", 90.0), f"Published test error of base at depth 20 is 90.00 % (table 1); here it is {OURS}"),
        (
            paper("base", '"fails"'),
            f"Published: base at depth 20 fails to train (table 1); here its test error is {OURS}",
        ),
        (
            paper("base", 9.0, FAR) + paper("more", 6.0, FAR),
            f"{BASE} lower with more (6.00 %) than with base (9.00 %); here it is higher ({MORE}",
        ),
        (
            paper("base", 9.0, FAR) + paper("more", 6.0, FAR) + paper("some", '"fails"', FAR),
            (
                f"{BASE} lower with more (6.00 %) than with base (9.00 %); here it is higher ({MORE} "
                "Also on cifar10 at depth 20, test error is higher with some (it fails to train) "
                "than with base (9.00 %); here no difference is seen (+10.2 points, 95 % interval -26.7 to 47.2)."
            ),
        ),
        (
            paper("base", 3.0, FAR) + paper("more", 3.0, FAR) + paper("some", 3.0, FAR),
            f"{BASE} the same with more (3.00 %) as with base (3.00 %); here they differ ({MORE}",
        ),
        (
            paper("base", 9.0, FAR) + paper("more", 6.0, FAR) + paper("most", 5.0, FAR),
            (
                f"{BASE} lower with more (6.00 %) and most (5.00 %) than with base (9.00 %); here it is higher "
                "(more +5.0 points, 95 % interval 4.8 to 5.2; most +10.0, 9.7 to 10.4)."
            ),
        ),
        (
            paper("base", '"fails"', FAR),
            "Published: base fails to train on cifar10 (table 1); here it trains (5.1 %).",
        ),
    ],
)
def test_what_differs_from_the_paper_is_said(tmp_path, values, words):
    """Where our answer is not the published one, a remark says in what, and then why that may be."""
    tables = "\n".join(f"{twin} = {{ width = {8 + i} }}" for i, twin in enumerate(("base", "more", "most", "some")))
    study = made.load_text(f"[twins]\n{tables}\n{made.ONE_DEPTH}", values, SCALE)
    data = frames.load(study, made.results(tmp_path, study, lambda run, twin: made.SEVEN[twin][run.seed]))

    (remark,) = remarks.remarks(study, data, findings.derive(study, data))

    assert remark == f"{words} Ours are small."


def test_what_is_as_published_needs_no_excuse(tmp_path):
    """Where ours is the published answer, nothing is said, and the scale is not blamed."""
    values = paper("base", 9.0, FAR) + paper("more", '"fails"', FAR) + paper("base", 5.1) + paper("lost", '"fails"')
    tables = "\n".join(f"{twin} = {{ width = {8 + i} }}" for i, twin in enumerate(("base", "more", "lost")))
    study = made.load_text(f"[twins]\n{tables}\n{made.ONE_DEPTH}", values, SCALE)
    data = frames.load(study, made.results(tmp_path, study, lambda run, twin: made.SEVEN[twin][run.seed]))

    assert remarks.remarks(study, data, findings.derive(study, data)) == []


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
    assert remarks.remarks(study, data, findings.derive(study, data)) == [
        "Provisional: 16 of 18 runs have finished.",
        "Nets that diverged, and count with an error of 100 %: 1 of 32.",
        "Runs that failed, and are left out: 1.",
        "Runs with other settings than the study's, left out: 1.",
    ]
    assert provenance.origin(data).rows[0] == ["runs", "15 done, 1 diverged, 1 failed, 1 unfinished"]


def test_a_complete_study_needs_no_remark(tmp_path):
    """Where every run is done there is nothing to warn of."""
    study = made.small(tmp_path)
    data = frames.load(study, made.results(tmp_path, study))

    assert remarks.remarks(study, data, findings.derive(study, data)) == []


def test_diverging_in_the_last_evaluation_is_said(tmp_path):
    """A net whose loss is first not finite at the very end diverged too."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    last = study.runs[0].recipe.iterations
    made.write(results, study.runs[0], made.records(study.runs[0], diverged=["plain"], diverged_at=last))
    data = frames.load(study, results)

    (remark,) = remarks.remarks(study, data, findings.derive(study, data))

    assert remark == "Nets that diverged, and count with an error of 100 %: 1 of 12."


def test_other_data_is_said(tmp_path):
    """Runs of one data set with two checksums do not compare, and the page says so."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    first, *rest = made.records(study.runs[0])
    made.write(results, study.runs[0], [first | {"dataset": first["dataset"] | {"checksum": "sha256:00"}}, *rest])
    data = frames.load(study, results)

    (remark,) = remarks.remarks(study, data, findings.derive(study, data))

    assert remark == "Not all runs were trained on the same data: digits has 2 checksums."
