"""Lanes: what is captured and replayed is what would have been computed, bit for bit."""

from unittest import mock

import pytest
import torch

import taped
import tiny
from deeptwins import records
from deeptwins.records import RunFiles
from deeptwins.train import lanes
from deeptwins.train.lanes import WARMUP, Lane
from pairwise import cross, label, pairwise
from tiny import complete

SHORT = tiny.RECIPE.model_copy(update={"iterations": 12, "milestones": (10,)})  # evaluated after 8 and 12
RECIPES = {
    "sgd": {},
    "adam": {"optimizer": "adam", "momentum": 0.0, "learning_rate": 0.01},
    "bf16": {"precision": "bf16"},
}
NETS = {
    "twins": {"plain": {"shortcut": "none"}, "residual": {"shortcut": "zero-pad"}},
    "gates and parts": {"one": {"shortcut": "shortcut-gate"}, "other": {"shortcut": "projections", "norm_batch": 16}},
    "without normalization": {"one": {"shortcut": "zero-pad", "norm": "scalar", "initialization": "fixup"}},
}


NEVER = 10**9  # steps before anything is captured


@pytest.fixture
def train(dataset, tmp_path_factory):
    """Train a run on the CPU, and capture after some steps; gives all its records, timings aside."""

    def call(run, warmup=WARMUP):
        folder = tmp_path_factory.mktemp("results")
        folder.joinpath("tiny").mkdir()
        with mock.patch.object(lanes, "WARMUP", warmup):
            complete(run, dataset, tiny.CPU, folder)
        rows = records.read(RunFiles.of(folder, run).records)
        return [{key: value for key, value in row.items() if key not in ("seconds", "started")} for row in rows]

    return call


@pytest.fixture
def tape(monkeypatch):
    """Tape instead of calling again; the list grows by each replay."""
    played = []
    monkeypatch.setattr(Lane, "_captured", taped.captured(played))
    return played


@pytest.mark.parametrize("case", pairwise(cross(nets=NETS, recipe=RECIPES, steps=(1, 4))), ids=label)
def test_captured_steps_leave_the_same_records(train, monkeypatch, tape, case):
    """A run whose batches and steps are captured leaves what it leaves eagerly: losses, gradients, statistics."""
    nets, recipe, steps = case.values()
    run = tiny.run_with(SHORT.model_copy(update=RECIPES[recipe]), **NETS[nets])
    eager = train(run, NEVER)
    assert not tape

    monkeypatch.setitem(lanes.STEPS, "cpu", steps)
    assert train(run) == eager

    blocks = 12 - WARMUP if steps == 1 else 2  # of 12 iterations, the first block eager
    assert len(tape) == (len(run.twins) + 1) * blocks  # the feed's, too


def test_what_draws_on_the_host_is_not_captured(train, tape):
    """Nets that drop blocks or values go on eagerly: a replay would drop the same ones for ever."""
    run = tiny.run_with(SHORT, drops={"shortcut": "zero-pad", "survival": 0.5}, dropout={"shortcut": "dropout"})
    eager = train(run, NEVER)

    assert train(run) == eager
    assert {lane._parameters == () for lane in tape} == {True}  # the feed's alone


@pytest.mark.parametrize("apart", [True, False])
def test_what_draws_on_the_device_is_replayed_from_its_seed(train, monkeypatch, tape, apart):
    """Dropout is captured where graphs draw apart from each other, a step at a time; and no record shows it."""
    run = tiny.run_with(SHORT, dropout={"shortcut": "dropout"}, other={"shortcut": "dropout", "depth": 14})
    eager = train(run, NEVER)
    monkeypatch.setattr(lanes, "DRAWS_APART", apart)
    # As on a GPU, where dropout draws from a generator of the device.
    monkeypatch.setattr(lanes, "_states", lambda _device: (0, torch.get_rng_state()))

    assert train(run) == eager
    assert len({lane for lane in tape if lane._parameters}) == (len(run.twins) if apart else 0)


def test_nets_that_grow_are_captured_anew(train, tape):
    """A net that is grown is another net: its steps are captured again, and leave the records of eager ones."""
    recipe = tiny.RECIPE.model_copy(update={"grow_at": 10})
    run = tiny.run_with(recipe, grown={"depth": 14, "grown_from": 8}, other={"shortcut": "zero-pad"})
    eager = train(run, NEVER)

    assert train(run) == eager
    assert len({id(lane) for lane in tape}) == 4  # the feed's, the other's, and two of the one that grows


def test_the_tape_sees_what_a_graph_would_not():
    """The stand-in fails where a graph would: a number of Python's that changed is played as it was."""
    x, factor = torch.ones(3), 2.0
    lane = Lane(tiny.CPU)
    replay = taped.captured([])(lane, lambda: x.mul_(factor))
    assert x.tolist() == [1, 1, 1]  # taping leaves no trace
    factor = 5.0
    replay()

    assert x.tolist() == [2, 2, 2]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_graphs_leave_the_weights_of_eager_steps(dataset, monkeypatch, precision):
    """On a device, too, captured steps move weights as eager ones do: the same kernels on the same numbers."""
    from deeptwins.train import device, training  # noqa: PLC0415

    run = tiny.run_of(tiny.RECIPE.model_copy(update={"precision": precision}))
    left = []
    for warmup in (10**9, WARMUP):
        monkeypatch.setattr(lanes, "WARMUP", warmup)
        device.configure(run.recipe, torch.device("cuda"))
        begun = training.Training(run, dataset, torch.device("cuda"))
        while not begun.finished:
            begun.advance()
        twins = begun.state()["twins"].items()
        left.append({f"{name} {key}": value for name, twin in twins for key, value in twin["net"].items()})

    for name, weights in left[0].items():
        assert torch.equal(weights, left[1][name]), name
