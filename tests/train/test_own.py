"""Nets of one's own in training: any images and classes, exact resumption, and steps that no graph can hold."""

import random

import numpy as np
import pytest
import torch

import own_nets
import tiny
from deeptwins import records
from deeptwins.data import Dataset, Split, images
from deeptwins.errors import InputError
from deeptwins.records import RunFiles
from deeptwins.study.specs import RunSpec
from deeptwins.train import checks, lanes, training

RECIPE = tiny.RECIPE.model_copy(update={"iterations": 8, "batch_size": 16, "milestones": (), "dataset": "made"})


@pytest.fixture(scope="module")
def wide():
    """Images of 6x10 pixels in three classes."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (48, 6, 10, 3), dtype=np.uint8)
    split = Split(torch.from_numpy(np.arange(48) % 3), images.from_array(pixels, None))
    return Dataset("made", split, split, 3, (3, 6, 10), "sha256:made")


def run_of(**twins):
    """Make a run of nets of one's own."""
    return RunSpec(
        study="tiny", seed=0, twins={name: own_nets.spec(**net) for name, net in twins.items()}, recipe=RECIPE
    )


TWINS = {"plain": {"options": {"skip": False}}, "deeper": {"depth": 3}, "bare": {"name": "bare"}}


def left(results, run):
    """The records of a run, without what no two have in common."""
    lines = records.read(RunFiles.of(results, run).records)
    return [{k: v for k, v in line.items() if k not in {"started", "seconds", "hash"}} for line in lines]


def test_a_run_leaves_all_its_records_and_resumes_exactly(wide, tmp_path):
    """Nets of one's own train on images of any form and number of classes; stopped and resumed, nothing differs."""
    run = run_of(**TWINS)
    for folder in ("whole", "parts"):
        (tmp_path / folder / "tiny").mkdir(parents=True)
    assert tiny.complete(run, wide, tiny.CPU, tmp_path / "whole") == "done"
    assert tiny.complete(run, wide, tiny.CPU, tmp_path / "parts", lambda iteration: iteration < 5) == "stopped"
    assert tiny.complete(run, wide, tiny.CPU, tmp_path / "parts") == "done"

    whole = left(tmp_path / "whole", run)
    assert left(tmp_path / "parts", run) == whole
    twins = whole[0]["twins"]
    assert twins["plain"]["weights_sha256"] != twins["deeper"]["weights_sha256"]
    assert "gain" in twins["plain"]["redrawn"]
    assert "scales" not in twins["plain"]["redrawn"]
    assert [child["name"] for child in twins["deeper"]["children"]] == ["stem", "convs", "norms", "words", "head"]
    assert [child["name"] for child in twins["bare"]["children"]] == ["the net itself"]
    kinds = {(line["twin"], line["kind"]) for line in whole if "twin" in line}
    assert {kind for twin, kind in kinds if twin == "plain"} == {"epoch", "gradient", "layer", "precise"}
    assert {kind for twin, kind in kinds if twin == "bare"} == {"epoch", "gradient"}


def test_steps_that_cannot_be_captured_are_issued(wide, tmp_path, monkeypatch):
    """Where capture fails, a net goes on step by step with the same records, and one line a twin says why."""
    run = run_of(**TWINS)
    said = {}

    def refused(_lane, _work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    for folder, captured in (("as it is", lanes.Lane._captured), ("refused", refused)):
        (tmp_path / folder / "tiny").mkdir(parents=True)
        monkeypatch.setattr(lanes.Lane, "_captured", captured)
        said[folder] = []
        tiny.complete(run, wide, tiny.CPU, tmp_path / folder, say=said[folder].append)

    assert left(tmp_path / "refused", run) == left(tmp_path / "as it is", run)
    assert said["as it is"] == []
    assert len(said["refused"]) == len(TWINS)
    assert "twin plain: no CUDA graph, so its steps take longer: operation not permitted" in said["refused"][0]


def test_what_a_net_draws_in_a_step_is_a_function_of_seed_and_step(wide):
    """Whatever was drawn before, steps draw the same, also by Python's and NumPy's generators; none is captured."""
    weights = []
    for number in (1, 2):
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002
        trained = training.Training(run_of(net={"name": "drawing"}), wide, tiny.CPU)
        for _ in range(lanes.WARMUP):
            trained.step()
        weights.append(trained.twins["net"].net.table.detach())

    assert torch.equal(*weights)
    assert not trained.twins["net"].lane._capture


def test_a_net_that_cannot_train_on_one_image_is_refused(wide):
    """Before anything is trained, each net is run in training mode on as many images as batches have."""
    run = run_of(net={}, bare={"name": "bare"})
    checks.check_sizes(run, wide, "study")
    squashed = Dataset("made", wide.train, wide.test, 3, (3, 3, 3), "")
    alone = run.model_copy(update={"recipe": RECIPE.model_copy(update={"batch_size": 1, "shift": 0})})

    with pytest.raises(InputError, match="own_nets:small: ValueError: Expected more than 1 value per channel"):
        checks.check_sizes(alone, squashed, "study")
