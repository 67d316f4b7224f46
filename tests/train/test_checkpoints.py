"""Checkpoints: exact, atomic, and never trusted when damaged."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from deeptwins import data
from deeptwins.records import RunFiles
from deeptwins.study.specs import Net, RunSpec
from deeptwins.train import checkpoints
from deeptwins.train.training import Training

STATE = {"iteration": 7, "twins": {"plain": {"weight": torch.arange(6.0).reshape(2, 3)}}, "seconds": 1.5, "why": None}


def of_a_run(folder):
    """The files of a run in a folder of results."""
    (folder / "tiny").mkdir()
    return RunFiles(folder, "tiny", "r")


@pytest.fixture
def files(tmp_path):
    """The files of a run."""
    return of_a_run(tmp_path)


def test_comes_back_bit_for_bit(files):
    """A state of tensors, numbers and texts comes back as it was."""
    checkpoints.save(files, STATE)

    state = checkpoints.load(files)

    assert torch.equal(state["twins"]["plain"].pop("weight"), STATE["twins"]["plain"]["weight"])
    assert state == {"iteration": 7, "twins": {"plain": {}}, "seconds": 1.5, "why": None}


def test_none_where_there_is_none(files):
    """No checkpoint is no error."""
    assert checkpoints.load(files) is None


@given(data=st.data())
def test_any_damage_is_said_and_set_aside(tmp_path_factory, data):
    """One changed byte, or a lost tail, anywhere in the file: it is moved away, and the message names it."""
    files = of_a_run(tmp_path_factory.mktemp("damage"))
    checkpoints.save(files, STATE)
    content = bytearray(files.checkpoint.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    files.checkpoint.write_bytes(content)

    with pytest.raises(checkpoints.UnusableCheckpointError, match="set aside"):
        checkpoints.load(files)

    assert files.corrupt.read_bytes() == content
    assert checkpoints.load(files) is None


def test_holds_no_code(tmp_path, files):
    """A file that would run code when unpickled is set aside, and the code is not run."""

    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("proof").touch, ())

    checkpoints.save(files, {"evil": Evil()})

    with pytest.raises(checkpoints.UnusableCheckpointError):
        checkpoints.load(files)

    assert not tmp_path.joinpath("proof").exists()


def test_a_checkpoint_is_small_enough_to_carry(files):
    """Of the paper's residual net of 56 layers it holds weights and momentum in float32, 7 MB, and hardly more."""
    run = RunSpec(
        study="tiny",
        seed=0,
        twins={"residual": Net(family="cifar", depth=56, shortcut="zero-pad")},
        recipe=tiny.RECIPE.model_copy(update={"batch_size": 2}),
    )
    training = Training(run, data.load("synthetic"), tiny.CPU)
    checkpoints.save(files, training.state())

    assert 2 * 4 * 853_018 < files.checkpoint.stat().st_size < 7.2e6
