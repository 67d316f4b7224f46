"""Prose: what a report says in words."""

import re
from typing import get_args

import pytest

import made
from deeptwins import findings, frames, prose
from deeptwins.study import Metric, Net, Recipe


def verdict(folder, study, level=made.level):
    """What the report of a made-up study says first."""
    data = frames.load(study, made.results(folder, study, level))
    (sentence,) = prose.verdicts(study, data, findings.derive(study, data).trends)
    return sentence


def test_verdict_for_a_net_with_and_without_shortcuts(tmp_path):
    """The sentence says how each moves, from which depth to which, with interval and number of seeds."""
    errors = {("plain", 20): 8, ("plain", 56): 60, ("residual", 20): 2, ("residual", 56): 2.2}

    assert verdict(tmp_path, made.small(tmp_path), lambda run, twin: errors[twin, run.twins[twin].depth]) == (
        "Without shortcuts, training error rises from 8.0 % at depth 20 to 60.0 % at depth 56 "
        "(+52.0 points, 95 % interval 52.0 to 52.0, 3 seeds); "
        "with them it does not: it changes by less than 1 point "
        "(2.0 % at depth 20, 2.2 % at depth 56: +0.2 points, 95 % interval 0.2 to 0.2, 3 seeds)."
    )


@pytest.mark.parametrize(
    ("residual", "words"),
    [
        (lambda run: 2 + run.twins["residual"].depth, "with them it rises too, from 22.0 % at depth 20 to 58.0 %"),
        (
            lambda run: 80 - run.twins["residual"].depth,
            "with them it does not: it falls from 60.0 % at depth 20 to 24.0 %",
        ),
        (lambda run: 9 + 4 * run.seed * (run.twins["residual"].depth - 30) / 20, "with them it shows no clear trend: "),
    ],
)
def test_verdict_is_honest_about_the_other_twin(tmp_path, residual, words):
    """Where the residual twin rises too, falls or is undecided, the sentence says so."""
    study = made.small(tmp_path)

    text = verdict(tmp_path, study, lambda run, twin: run.twins[twin].depth if twin == "plain" else residual(run))

    assert words in text
    assert ("with them it does not" in text) == ("falls" in words)


def test_verdict_for_any_other_twins(tmp_path):
    """Twins that differ in something else go by their names."""
    text = verdict(tmp_path, made.small(tmp_path, "narrow = { width = 8 }\nwide = { width = 32 }"), lambda *_: 5)

    assert text.startswith("In the narrow twin, training error stays flat: it changes by less than 1 point (5.0 % at")
    assert "; in the wide twin it stays flat: it changes by less than 1 point (5.0 % at depth 20, " in text


def test_verdict_for_several_shortcuts(tmp_path):
    """Several shortcuts go by their kind."""
    twins = 'plain = { shortcut = "none" }\na = { shortcut = "zero-pad" }\nb = { shortcut = "projection" }'

    text = verdict(tmp_path, made.small(tmp_path, twins), lambda *_: 5)

    assert "Without shortcuts, training error" in text
    assert "; with zero-pad shortcuts it " in text
    assert "; with projection shortcuts it " in text


def test_one_seed_supports_no_verdict(tmp_path):
    """From one seed the page says the numbers and that they support no verdict."""
    study = made.small(tmp_path, grid=made.GRID.replace("[0, 1, 2]", "0"))

    assert "in 1 seed, which supports no verdict" in verdict(tmp_path, study)


def test_one_depth_has_no_trend(tmp_path):
    """One depth gives the error there."""
    study = made.small(tmp_path, grid=made.GRID.replace("[20, 56]", "20"))

    text = verdict(tmp_path, study, lambda *_: 5)

    assert text.startswith("Without shortcuts, training error is 5.0 % at depth 20, the only depth (3 seeds);")


def test_what_is_missing_is_said(tmp_path):
    """Unfinished, failed and diverged runs, and runs left aside, are named under the verdict."""
    study = made.load(tmp_path)
    results = made.results(tmp_path, study)
    unfinished, failed, diverged, other = study.runs[:4]
    made.write(results, unfinished, made.records(unfinished, status=None))
    made.write(results, failed, made.records(failed, status="failed"))
    made.write(results, diverged, made.records(diverged, diverged=["plain"]))
    made.write(results, other.model_copy(update={"recipe": other.recipe.model_copy(update={"momentum": 0.5})}))

    data = frames.load(study, results)
    assert prose.remarks(study, data, findings.final(data.epochs)) == [
        "Provisional: 16 of 18 runs have finished.",
        "Nets that diverged, and count with an error of 100 %: 1 of 32.",
        "Runs that failed, and are left out: 1.",
        "Runs with other settings than the study's, left out: 1.",
    ]
    assert prose.provenance(data).rows[0] == ["runs", "15 done, 1 diverged, 1 failed, 1 unfinished"]


def test_a_complete_study_needs_no_remark(tmp_path):
    """Where every run is done there is nothing to warn of."""
    study = made.small(tmp_path)
    data = frames.load(study, made.results(tmp_path, study))

    assert prose.remarks(study, data, findings.final(data.epochs)) == []


def test_diverging_in_the_last_evaluation_is_said(tmp_path):
    """A net whose loss is first not finite at the very end diverged too."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    last = study.runs[0].recipe.iterations
    made.write(results, study.runs[0], made.records(study.runs[0], diverged=["plain"], diverged_at=last))
    data = frames.load(study, results)

    (remark,) = prose.remarks(study, data, findings.final(data.epochs))

    assert remark == "Nets that diverged, and count with an error of 100 %: 1 of 12."


def test_every_metric_has_a_label():
    """What the metrics are called is said for each of them, and for nothing else."""
    assert list(prose.METRICS) == list(findings.METRICS) == list(get_args(Metric))


def test_the_table_of_trends(tmp_path):
    """Every verdict stands beside the numbers that it rests on; a tiny p is bounded, a missing one is a dash."""
    study = made.load(tmp_path)
    data = frames.load(study, made.results(tmp_path, study))

    table = prose.trends(findings.derive(study, data).trends)

    assert len(table.rows) == 2 * 2 * 3
    cifar, imagenet = (next(row for row in table.rows if row[0] == name) for name in ("cifar", "imagenet"))
    assert cifar[:4] == ["cifar", "plain", "training error", "rises"]
    assert all(re.fullmatch(r"[+-]?\d+\.\d( to \d+\.\d)?", text) for text in cifar[4:7])
    assert re.fullmatch(r"\d\.\d{3}", cifar[7])
    assert re.fullmatch(r"\d\.\d{3} to \d\.\d{3}", cifar[8])
    assert cifar[9:] == ["< 0.001", "1.000", "3"]
    assert imagenet[9:] == ["-", "-", "3"]


def test_the_table_of_the_recipe(tmp_path):
    """Every field of the recipe is told: what twins share once, what differs by twin, what the grid varies as such."""
    grid = made.GRID + "learning_rate = [0.05, 0.1]\n"
    path = tmp_path / "small.toml"
    made.small(tmp_path)
    text = path.read_text().replace(made.GRID, grid).replace("learning_rate = 0.05\n", "milestones = [100, 200]\n")
    study = made.load(tmp_path, text, "small")
    data = frames.load(study, made.results(tmp_path, study))

    rows = dict(prose.recipe(data.runs).rows)

    assert rows.keys() == {*Recipe.model_fields, *Net.model_fields} - {"dataset", "family", "depth"}
    assert rows["iterations"] == "240 (21.4 epochs)"
    assert rows["milestones"] == "100, 200"
    assert rows["learning_rate"] == "varies: 0.05 or 0.1"
    assert rows["shortcut"] == "plain: none; residual: zero-pad"
    assert rows["image_size"] == "the dataset's"
    assert rows["shift"] == rows["flip"] == "no augmentation"


def test_other_data_is_said(tmp_path):
    """Runs of one data set with two checksums do not compare, and the page says so."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    first, *rest = made.records(study.runs[0])
    made.write(results, study.runs[0], [first | {"dataset": first["dataset"] | {"checksum": "sha256:00"}}, *rest])
    data = frames.load(study, results)

    (remark,) = prose.remarks(study, data, findings.final(data.epochs))

    assert remark == "Not all runs were trained on the same data: digits has 2 checksums."


@pytest.mark.parametrize(("value", "text"), [(0.04, "+0.0"), (-0.04, "+0.0"), (-1.25, "-1.2"), (56.12, "+56.1")])
def test_points_carry_a_sign(value, text):
    """A difference is written with its sign and one decimal, and never as minus zero."""
    assert prose.points(value) == text
