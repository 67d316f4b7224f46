"""Frames: the records that belong to a study, as tables."""

import json
import shutil

import pytest

import made
from deeptwins.errors import InputError
from deeptwins.findings import frames
from refusals import refused


@pytest.fixture
def study(tmp_path):
    """The study that most tests read."""
    return made.load(tmp_path)


def test_a_row_is_one_run_and_twin(study, tmp_path):
    """Every finished run gives one row a twin, with its net, recipe, sizes, data and status, and a row of machine."""
    data = frames.load(study, made.results(tmp_path, study))
    runs = data.runs

    assert len(runs) == 2 * len(study.runs)
    row = runs[(runs["twin"] == "residual") & (runs["depth"] == 32) & (runs["seed"] == 1)].iloc[0]
    expected = {"family": "cifar", "shortcut": "zero-pad", "dataset": "digits", "iterations": 240, "parameters": 501766}
    expected |= {
        "train_images": 128,
        "status": "done",
        "seconds": 32.0,
    }
    assert row[list(expected)].to_dict() == expected
    assert data.machines["run"].tolist() == [run.id for run in sorted(study.runs, key=lambda run: run.id)]
    assert {*data.machines["cpu"]} == {"AMD EPYC"}
    assert {*data.machines["commit"]} == {"abc1234"}


def test_epochs_and_layers_are_long_form(study, tmp_path):
    """Evaluations and layers are rows that know their family, depth, seed and twin."""
    data = frames.load(study, made.results(tmp_path, study))

    assert len(data.epochs) == len(study.runs) * 2 * 20
    assert len(data.layers) == sum(2 * (net.depth - 1) for run in study.runs for net in [run.twins["plain"]])
    for table in (data.epochs, data.layers):
        assert set(frames.KEYS) <= set(table.columns)


def test_what_is_inside_nets_is_long_form(tmp_path):
    """Gradients are rows by layer, numbered from 1 at every evaluation; blocks and precise errors are rows, too."""
    study = made.small(tmp_path)
    norm = lambda seed, layer, iteration: None if layer == 3 else iteration + layer + seed / 10  # noqa: E731
    data = frames.load(study, made.looked_into(tmp_path, study, norm=norm))

    net = data.gradients[(data.gradients["depth"] == 20) & (data.gradients["twin"] == "residual")]
    assert len(net) == 3 * 20 * 20  # seeds, evaluations, layers
    row = net[(net["seed"] == 1) & (net["iteration"] == 24) & (net["layer"] == 5)].iloc[0]
    assert row["norm"] == 29.1
    assert set(net.loc[net["norm"].isna(), "layer"]) == {3}
    assert len(data.blocks) == 3 * 2 * (9 + 27)
    assert len(data.precise) == 3 * 2 * 2
    for table in (data.gradients, data.blocks, data.precise):
        assert set(frames.KEYS) <= set(table.columns)


def test_old_records_have_no_more_than_responses(study, tmp_path):
    """Layers in records of the first kind are of 3x3; what these do not say gives tables without a row."""
    data = frames.load(study, made.results(tmp_path, study))

    assert set(data.layers["kernel"]) == {3}
    assert data.layers["running_mean_error"].isna().all()
    assert data.gradients.empty
    assert data.blocks.empty
    assert data.precise.empty


def test_order_is_the_studys(study, tmp_path):
    """Rows come by family as the study lists them, then depth, seed and twin, whatever the files are called."""
    runs = frames.load(study, made.results(tmp_path, study)).runs

    order = list(runs[["group", "depth", "seed", "twin"]].itertuples(index=False, name=None))
    assert order[0] == ("cifar", 20, 0, "plain")
    assert order == sorted(order)


@pytest.mark.parametrize("status", [None, "failed"])
def test_what_did_not_finish_gives_no_numbers(study, tmp_path, status):
    """A run that was killed or failed is counted, and nothing it said is in the tables of numbers."""
    results = made.results(tmp_path, study)
    run = study.runs[0]
    made.write(results, run, made.records(run, status=status))

    data = frames.load(study, results)

    assert (data.asked, data.missing) == (18, 1)
    assert set(data.runs.loc[data.runs["run"] == run.id, "status"]) == {status or "unfinished"}
    assert run.id not in {*data.epochs["run"], *data.layers["run"]}


def test_a_torn_end_is_no_end(study, tmp_path):
    """A run whose last line was cut off by a kill counts as unfinished."""
    path = made.write(tmp_path / "results", study.runs[0])
    path.write_bytes(path.read_bytes()[:-5])

    assert set(frames.load(study, tmp_path / "results").runs["status"]) == {"unfinished"}


def test_divergence_is_a_result(study, tmp_path):
    """A run that diverged has finished."""
    run = study.runs[0]
    made.write(tmp_path / "results", run, made.records(run, diverged=["plain"]))

    data = frames.load(study, tmp_path / "results")

    assert data.missing == 17
    assert data.epochs.loc[data.epochs["twin"] == "plain", "train_error_pct"].iloc[-1] == 100


def test_other_settings_are_left_aside_and_other_seeds_are_not(study, tmp_path):
    """A run made with another recipe is only counted; a seed that the file does not ask for is welcome."""
    run = study.runs[0]
    slower = run.model_copy(update={"recipe": run.recipe.model_copy(update={"learning_rate": 0.01})})
    for other in (run, slower, run.model_copy(update={"seed": 7})):
        made.write(tmp_path / "results", other)

    data = frames.load(study, tmp_path / "results")

    assert data.aside == [slower]
    assert set(data.runs["seed"]) == {0, 7}
    assert data.missing == 17


def test_what_varies_besides_depth_makes_groups(tmp_path):
    """Runs of the same family and depth that differ in width are kept apart, and the group says by what."""
    study = made.load(
        tmp_path, made.TOML.replace('"imagenet"\ndepth = [18, 34]', '"imagenet"\ndepth = 18\nwidth = [8, 16]')
    )

    groups = frames.load(study, made.results(tmp_path, study)).runs["group"].unique()

    assert list(groups) == ["cifar", "imagenet, width 8", "imagenet, width 16"]


LONGER = """
[[vary]]
family = "cifar"
depth = [20, 56]
seed = 0
iterations = {0}
warmup = {1}
milestones = [{2}, {3}]
"""


def test_a_group_is_told_by_as_little_as_tells_it_apart():
    """What follows from another key is left out: of a longer schedule the iterations are told, not the milestones."""
    text = (
        "[twins]\nplain = {}\nwide = { width = 32 }\n" + LONGER.format(60, 12, 30, 45) + LONGER.format(120, 24, 60, 90)
    )
    both = LONGER.format(60, 12, 30, 45) + LONGER.format(60, 0, 30, 45) + LONGER.format(120, 12, 60, 90)
    study = made.load_text(text)
    three = made.load_text("[twins]\nplain = {}\n" + both)

    assert set(made.last(study)["group"]) == {"cifar, iterations 60", "cifar, iterations 120"}
    assert set(made.last(three)["group"]) == {
        "cifar, iterations 60, warmup 12",
        "cifar, iterations 60, warmup 0",
        "cifar, iterations 120, warmup 12",
    }


def test_growth_is_long_form(tmp_path):
    """Nets that were grown are rows that know their run; without any the table is empty."""
    grid = '[[vary]]\nfamily = "cifar"\ndepth = 20\nseed = [0, 1]\ngrow_at = 100\n'
    grown = made.load_text(f"[twins]\na = {{}}\nb = {{ grown_from = 8 }}\n{grid}")
    plain = made.small(tmp_path)

    table = frames.load(grown, made.results(tmp_path, grown)).growth

    assert list(table[["twin", "seed", "depth_before", "depth", "iteration"]].itertuples(index=False, name=None)) == [
        ("b", 0, 8, 20, 100),
        ("b", 1, 8, 20, 100),
    ]
    assert set(frames.KEYS) <= set(table.columns)
    assert frames.load(plain, made.results(tmp_path, plain)).growth.empty


def test_no_folder_says_what_to_run(study, tmp_path):
    """Without results, one line says what makes them."""
    with pytest.raises(InputError, match=r"results/depth: no such folder; run the study first"):
        frames.load(study, tmp_path / "results")


def test_an_empty_folder_gives_empty_tables(study, tmp_path):
    """A study that has only begun has no rows and misses every run."""
    (tmp_path / "results" / "depth").mkdir(parents=True)
    (tmp_path / "results" / "depth" / "begun.jsonl").touch()

    data = frames.load(study, tmp_path / "results")

    assert (len(data.runs), len(data.epochs), data.missing) == (0, 0, 18)


@pytest.mark.parametrize(
    "damage",
    [
        {"spec": {"study": "depth"}},
        {"spec": None},
        {"twins": {}},
        {"dataset": None},
        {"machine": None},
    ],
)
def test_damage_is_one_line(study, tmp_path, damage):
    """A first record that lacks what it must say is an error of one line that names the file."""
    lines = made.records(study.runs[0])
    path = made.write(tmp_path / "results", study.runs[0], [lines[0] | damage, *lines[1:]])

    assert path.name in refused(frames.load, study, tmp_path / "results")


def test_an_unknown_twin_is_one_line(study, tmp_path):
    """An evaluation of a twin that the run does not have is damage."""
    lines = made.records(study.runs[0])
    made.write(tmp_path / "results", study.runs[0], [lines[0], lines[1] | {"twin": "third"}, lines[-1]])

    with pytest.raises(InputError, match="'third'"):
        frames.load(study, tmp_path / "results")


def test_the_same_run_twice_is_one_line(study, tmp_path):
    """A copied file must not count as a further seed."""
    path = made.write(tmp_path / "results", study.runs[0])
    shutil.copy(path, path.with_name("copy.jsonl"))

    with pytest.raises(InputError, match=r"copy.jsonl:1: of run .*, and it lies where 'copy' belongs"):
        frames.load(study, tmp_path / "results")


def test_a_newer_schema_is_one_line(study, tmp_path):
    """A record that a newer deeptwins wrote is refused, not misread."""
    path = made.write(tmp_path / "results", study.runs[0])
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    path.write_text(json.dumps(json.loads(first) | {"schema": 99}) + "\n" + rest, encoding="utf-8")

    with pytest.raises(InputError, match="schema 99"):
        frames.load(study, tmp_path / "results")
