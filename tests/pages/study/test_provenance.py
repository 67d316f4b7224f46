"""Provenance: what a page says of where its numbers come from."""

import dataclasses

import made
from deeptwins.findings import frames
from deeptwins.pages.study import provenance
from deeptwins.study.specs import Net, Recipe


def test_the_table_of_the_recipe(tmp_path):
    """Every field of the recipe is told: what twins share once, what differs by twin, what the grid varies as such."""
    grid = made.GRID + "learning_rate = [0.05, 0.1]\n"
    path = tmp_path / "small.toml"
    made.small(tmp_path)
    text = path.read_text().replace(made.GRID, grid).replace("learning_rate = 0.05\n", "milestones = [100, 200]\n")
    study = made.load(tmp_path, text, "small")
    data = frames.load(study, made.results(tmp_path, study))

    rows = dict(provenance.recipe(data.runs).rows)

    assert rows.keys() == {*Recipe.model_fields, *Net.model_fields} - {"dataset", "family", "depth", "options"}
    assert rows["iterations"] == "240 (240.0 epochs)"
    assert rows["milestones"] == "100, 200"
    assert rows["learning_rate"] == "varies: 0.05 or 0.1"
    assert rows["shortcut"] == "plain: none; residual: zero-pad"
    assert rows["image_size"] == "the dataset's"
    assert rows["shift"] == rows["flip"] == "no augmentation"
    assert rows["norm_batch"] == "the whole batch"
    assert rows["warmup_rate"] == "rises linearly"
    assert rows["validation"] == "none"


def test_versions_are_those_that_the_records_name(tmp_path):
    """Every package's version is told, but for one that was not there, or that older records do not name."""
    study = made.load(tmp_path)
    data = frames.load(study, made.results(tmp_path, study))
    without = dataclasses.replace(data, machines=data.machines.assign(triton=None))
    older = dataclasses.replace(data, machines=data.machines.drop(columns="triton"))

    told, *untold = (dict(provenance.origin(each).rows)["versions"] for each in (data, without, older))

    assert "torch 2.14.1, triton 3.8.0, numpy" in told
    assert untold == [told.replace(" triton 3.8.0,", "")] * 2


def test_what_only_some_recipes_have(tmp_path):
    """Fields that are usually empty are told as numbers where they are given, and in words where they are not."""
    grid = '[[vary]]\nfamily = "cifar"\ndepth = 20\nseed = 0\ngrow_at = 100\nvalidation = 0.1\n'
    twins = (
        "[twins]\na = { norm_batch = 32 }\nb = { grown_from = 8 }\nc = { grown_from = 8, grown_with = 'projection' }\n"
    )
    study = made.load_text(f"{twins}{grid}warmup = 5\nwarmup_rate = 0.01\n")

    rows = dict(provenance.recipe(frames.load(study, made.results(tmp_path, study)).runs).rows)

    assert rows["norm_batch"] == "a: 32; b: the whole batch; c: the whole batch"
    assert rows["grown_from"] == "a: not grown; b: 8; c: 8"
    assert rows["grown_with"] == "a: not grown; b: the net's shortcut; c: projection"
    assert (rows["grow_at"], rows["warmup_rate"], rows["validation"]) == ("100", "0.01", "10 % of the training images")


def test_when_and_at_what_cost(tmp_path):
    """The page tells the days on which runs began, the measured time of all runs, and the device."""
    study = made.small(tmp_path)
    data = frames.load(study, made.results(tmp_path, study))
    runs, machines = data.runs, data.machines
    some = runs[runs["seed"] == 1]
    on_gpu = dataclasses.replace(data, machines=machines.assign(gpu="NVIDIA H100"))

    assert provenance.dates(runs) == "2026-11-20 to 2026-11-22"
    assert provenance.dates(some) == "2026-11-21"
    assert provenance.spent(data) == "3.8 core-minutes on AMD EPYC"
    assert provenance.spent(on_gpu) == "3.8 min on NVIDIA H100"


def test_every_machine_that_trained_is_named(tmp_path):
    """Of a run that went on elsewhere the page names both machines, their versions and commits."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    first, *rest = made.records(study.runs[0])
    there = first["machine"] | {"cpu": "Xeon", "cores": 8, "torch": "2.11.0"}
    move = {"kind": "move", "iteration": 9, "at": "2026-11-24T02:40:00Z", "machine": there, "commit": "d5"}
    made.write(results, study.runs[0], [first, move, *rest])

    data = frames.load(study, results)
    rows = dict(provenance.origin(data).rows)

    assert rows["machine"] == "AMD EPYC, 2 cores, Linux 6.1; Xeon, 8 cores, Linux 6.1"
    assert "torch 2.14.1; 2.11.0, " in rows["versions"]
    assert rows["commit"] == "abc1234; d5"
    assert provenance.spent(data) == "3.8 core-minutes on AMD EPYC; Xeon"


def test_what_is_noted_of_the_data_is_told(tmp_path):
    """The page tells of the data what a user must know of it, each note once."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    without = dict(provenance.origin(frames.load(study, results)).rows)["data"]
    for run in study.runs:
        first, *rest = made.records(run)
        noted = first["dataset"] | {"notes": ["left out: 1 hidden", "labels have gaps"]}
        made.write(results, run, [first | {"dataset": noted}, *rest])
    data = frames.load(study, results)

    assert dict(provenance.origin(data).rows)["data"] == f"{without} (left out: 1 hidden; labels have gaps)"


def test_older_records_have_no_date(tmp_path):
    """Records that do not say when they began have no date, and the table of provenance no row for it."""
    study = made.small(tmp_path)
    results = made.results(tmp_path, study)
    for run in study.runs:
        first, *rest = made.records(run)
        made.write(results, run, [{key: value for key, value in first.items() if key != "started"}, *rest])
    data = frames.load(study, results)

    assert provenance.dates(data.runs) == ""
    assert "date" not in dict(provenance.origin(data).rows)
