"""Tables: findings as text, and how numbers are written."""

import dataclasses
import re
from typing import get_args

import pytest

import made
from deeptwins import findings, frames, tables
from deeptwins.claims import Metric
from deeptwins.specs import Net, Recipe


def test_every_metric_has_a_label():
    """What the metrics are called is said for each of them, and for nothing else."""
    assert list(tables.METRICS) == list(findings.METRICS) == list(get_args(Metric))


def test_the_table_of_trends(tmp_path):
    """Every verdict stands beside the numbers that it rests on; a tiny p is bounded, a missing one is a dash."""
    study = made.load(tmp_path)
    data = frames.load(study, made.results(tmp_path, study))

    table = tables.trends(findings.derive(study, data).trends)

    assert len(table.rows) == 2 * 2 * 3
    cifar, imagenet = (next(row for row in table.rows if row[0] == name) for name in ("cifar", "imagenet"))
    assert cifar[:4] == ["cifar", "plain", "training error", "rises"]
    assert all(re.fullmatch(r"[+-]?\d+\.\d( to \d+\.\d)?", text) for text in cifar[4:7])
    assert re.fullmatch(r"\d\.\d{3}", cifar[7])
    assert re.fullmatch(r"\d\.\d{3} to \d\.\d{3}", cifar[8])
    assert cifar[9:] == ["< 0.001", "1.000", "3"]
    assert imagenet[9:] == ["-", "-", "3"]


def test_the_table_of_agreements(tmp_path):
    """Every verdict on an agreement stands beside the numbers that it rests on."""
    study = made.load(tmp_path, made.AGREEING, "kernel")
    data = frames.load(study, made.results(tmp_path, study, lambda run, twin: 2 + run.seed + 0.5 * (twin == "triton")))

    rows = tables.agreements(findings.derive(study, data).agreements).rows

    same, apart = ["+0.0", "0.0 to 0.0", "0.0 to 0.0", "3"], ["+0.5", "0.5 to 0.5", "0.5 to 0.5", "3"]
    assert rows == [
        ["cifar", "8", "compiled minus eager", "training error", "agree", *same],
        ["cifar", "8", "triton minus eager", "training error", "agree", *apart],
        ["cifar", "8", "triton minus eager", "test error", "agree", *apart],
    ]


def test_the_table_of_the_drift(tmp_path):
    """Drift is told at the first evaluation, where it is furthest and at the last; no drift is furthest nowhere."""
    study = made.load(tmp_path, made.AGREEING, "kernel")
    data = frames.load(study, made.results(tmp_path, study, made.alike))
    found = findings.derive(study, data).drift
    found.loc[found["twin"] == "compiled", ["median", "largest"]] = 0.0
    found.loc[(found["twin"] == "triton") & (found["iteration"] == 24), "largest"] = 0.25
    found.loc[found["iteration"] == 48, "between_seeds"] = float("nan")

    rows = tables.drift(found).rows

    assert [row[2:5] for row in rows] == [
        ["compiled and eager", "first", "12"],
        ["compiled and eager", "last", "48"],
        ["triton and eager", "first", "12"],
        ["triton and eager", "furthest apart", "24"],
        ["triton and eager", "last", "48"],
    ]
    assert [row[6] for row in rows[:2]] == ["0", "0"]
    assert rows[3][6:] == ["2.5e-1", "6.5e-2", "3"]
    assert rows[4][5:] == ["1.0e-3", "1.0e-3", "-", "3"]


def test_the_table_of_claims(tmp_path):
    """A claim is spelled out, be it of a trend or of an agreement."""
    study = made.load(tmp_path, made.AGREEING + '[[expect]]\ntwin = "eager"\ntrend = "flat"\n', "kernel")
    data = frames.load(study, made.results(tmp_path, study, made.alike))

    rows = tables.claims(findings.derive(study, data).claims).rows

    assert [row[1:4] for row in rows] == [
        ["training error of compiled agrees with that of eager", "agree", "✓ met"],
        ["training error of triton agrees with that of eager", "agree", "✓ met"],
        ["test error of triton agrees with that of eager", "agree", "✓ met"],
        ["training error of eager stays flat", "inconclusive", "? undecided"],
    ]


def test_the_table_of_the_recipe(tmp_path):
    """Every field of the recipe is told: what twins share once, what differs by twin, what the grid varies as such."""
    grid = made.GRID + "learning_rate = [0.05, 0.1]\n"
    path = tmp_path / "small.toml"
    made.small(tmp_path)
    text = path.read_text().replace(made.GRID, grid).replace("learning_rate = 0.05\n", "milestones = [100, 200]\n")
    study = made.load(tmp_path, text, "small")
    data = frames.load(study, made.results(tmp_path, study))

    rows = dict(tables.recipe(data.runs).rows)

    assert rows.keys() == {*Recipe.model_fields, *Net.model_fields} - {"dataset", "family", "depth"}
    assert rows["iterations"] == "240 (21.4 epochs)"
    assert rows["milestones"] == "100, 200"
    assert rows["learning_rate"] == "varies: 0.05 or 0.1"
    assert rows["shortcut"] == "plain: none; residual: zero-pad"
    assert rows["image_size"] == "the dataset's"
    assert rows["shift"] == rows["flip"] == "no augmentation"


def test_versions_are_those_that_the_records_name(tmp_path):
    """Every package's version is told, but for one that was not there, or that older records do not name."""
    study = made.load(tmp_path)
    data = frames.load(study, made.results(tmp_path, study))
    without = dataclasses.replace(data, runs=data.runs.assign(machine_triton=None))
    older = dataclasses.replace(data, runs=data.runs.drop(columns="machine_triton"))

    told, *untold = (dict(tables.provenance(each).rows)["versions"] for each in (data, without, older))

    assert "torch 2.14.1, triton 3.8.0, numpy" in told
    assert untold == [told.replace(" triton 3.8.0,", "")] * 2


@pytest.mark.parametrize(("value", "text"), [(0.04, "+0.0"), (-0.04, "+0.0"), (-1.25, "-1.2"), (56.12, "+56.1")])
def test_points_carry_a_sign(value, text):
    """A difference is written with its sign and one decimal, and never as minus zero."""
    assert tables.points(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (2.04e-7, "2e-7"),
        (9e-5, "9e-5"),
        (1e-4, "0.01 %"),
        (0.00312, "0.31 %"),
        (0.042, "4.2 %"),
        (0.2049, "20 %"),
        (2.5, "250 %"),
    ],
)
def test_shares_are_legible_at_any_size(value, text):
    """A share of a whole is written in percent, or as a power of ten where that would take many zeros."""
    assert tables.share(value) == text
