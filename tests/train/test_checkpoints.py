"""Checkpoints: exact, atomic, and never trusted when damaged."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from deeptwins import data
from deeptwins.study.specs import Net, RunSpec
from deeptwins.train import checkpoints
from deeptwins.train.training import Training

STATE = {"iteration": 7, "twins": {"plain": {"weight": torch.arange(6.0).reshape(2, 3)}}, "seconds": 1.5, "why": None}


def test_comes_back_bit_for_bit(tmp_path):
    """A state of tensors, numbers and texts comes back as it was."""
    path = tmp_path / "r.checkpoint"
    checkpoints.save(path, STATE)

    state = checkpoints.load(path)

    assert torch.equal(state["twins"]["plain"].pop("weight"), STATE["twins"]["plain"]["weight"])
    assert state == {"iteration": 7, "twins": {"plain": {}}, "seconds": 1.5, "why": None}


def test_none_where_there_is_none(tmp_path):
    """No checkpoint is no error."""
    assert checkpoints.load(tmp_path / "r.checkpoint") is None


@given(data=st.data())
def test_any_damage_is_said_and_set_aside(tmp_path_factory, data):
    """One changed byte, or a lost tail, anywhere in the file: it is moved away, and the message names it."""
    path = tmp_path_factory.mktemp("damage") / "r.checkpoint"
    checkpoints.save(path, STATE)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    path.write_bytes(content)

    with pytest.raises(checkpoints.CorruptCheckpointError, match="set aside"):
        checkpoints.load(path)

    assert path.with_suffix(".corrupt").read_bytes() == content
    assert checkpoints.load(path) is None


def test_holds_no_code(tmp_path):
    """A file that would run code when unpickled is set aside, and the code is not run."""

    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("proof").touch, ())

    path = tmp_path / "r.checkpoint"
    checkpoints.save(path, {"evil": Evil()})

    with pytest.raises(checkpoints.CorruptCheckpointError):
        checkpoints.load(path)

    assert not tmp_path.joinpath("proof").exists()


def test_a_checkpoint_is_small_enough_to_carry(tmp_path):
    """Of the paper's residual net of 56 layers it holds weights and momentum in float32, 7 MB, and hardly more."""
    run = RunSpec(
        study="tiny",
        seed=0,
        twins={"residual": Net(family="cifar", depth=56, shortcut="zero-pad")},
        recipe=tiny.RECIPE.model_copy(update={"batch_size": 2}),
    )
    training = Training(run, data.load("synthetic"), tiny.CPU)
    path = tmp_path / "net.checkpoint"
    checkpoints.save(path, training.state())

    assert 2 * 4 * 853_018 < path.stat().st_size < 7.2e6
