"""What follows a convolution: ghost batch normalization by its parts, and biases in the place of a norm."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptwins.nets.norms import NORMS, BatchNorm, GhostBatchNorm
from nets_made import build, images, shaken, spec


def norms(size, order="add-relu"):
    """Make a ghost batch normalization and an ordinary one with the same weights."""
    ghost = shaken(GhostBatchNorm(3, size, order, "eager").double())
    whole = BatchNorm(3, order=order, implementation="eager").double()
    whole.load_state_dict(ghost.state_dict())
    return ghost, whole


@pytest.mark.parametrize("order", ["add-relu", "relu-add"])
@pytest.mark.parametrize("fork", [False, True])
@settings(max_examples=20)  # For each order and fork.
@given(size=st.integers(1, 5), count=st.integers(1, 20), relu=st.booleans(), adds=st.booleans())
def test_ghost_batch_normalization_is_batch_normalization_of_parts(  # noqa: PLR0913, PLR0917
    order, fork, size, count, relu, adds
):
    """Output and gradients are those of batch normalization of each part by itself; the last part may be smaller."""
    ghost, whole = norms(size, order)
    x, added = images(count, size=4).double(), images(20, size=4, seed=1).double()
    added = added[: len(x)] if adds and relu else None
    y = ghost(x, added, fork=fork and relu, relu=relu)
    y = y[0] if fork and relu else y
    y.square().sum().backward()
    ours = ghost.weight.grad, ghost.bias.grad

    pieces = [None] * len(x.split(size)) if added is None else added.split(size)
    expected = torch.cat([whole(part, piece, relu=relu) for part, piece in zip(x.split(size), pieces, strict=True)])
    expected.square().sum().backward()

    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(ours, (whole.weight.grad, whole.bias.grad))


@given(parts=st.integers(1, 6))
def test_running_statistics_forget_a_batch_as_fast(parts):
    """Where all parts have the same statistics, the running ones move as those of `nn.BatchNorm2d` do."""
    ghost, whole = norms(4)
    part = images(4, size=4).double()
    ghost(part.repeat(parts, 1, 1, 1))
    whole(part)

    torch.testing.assert_close(ghost.running_mean, whole.running_mean)
    torch.testing.assert_close(ghost.running_var, whole.running_var)
    assert ghost.momentum == whole.momentum


def test_in_evaluation_the_parts_make_no_difference():
    """In evaluation ghost batch normalization is batch normalization, to the last bit."""
    ghost, whole = norms(2)
    x = images(8).double()

    assert torch.equal(ghost.eval()(x), whole.eval()(x))


def test_every_norm_of_a_net_is_of_parts():
    """With `norm_batch`, images of one part know nothing of the other's: stem, blocks and projections."""
    net = build(spec(shortcut="projections", norm_batch=4)).double()
    whole = copy.deepcopy(net)
    first, second = images(4).double(), images(4, seed=1).double()

    torch.testing.assert_close(net(torch.cat([first, second])), torch.cat([whole(first), whole(second)]))


@pytest.mark.parametrize("norm", ["none", "scalar"])
def test_biases_stand_in_for_the_norm(norm):
    """Without normalization there is a bias a channel, or one for all; addition and ReLU are as before."""
    x, added = images(2), images(2, seed=1)
    for order in ("add-relu", "relu-add"):
        module = NORMS[norm](3, spec(norm=norm), order)
        torch.nn.init.uniform_(module.bias)
        assert module.bias.shape == ((3,) if norm == "none" else (1,))
        biased = x + module.bias.reshape(1, -1, 1, 1)

        assert torch.equal(module(x, relu=False), biased)
        assert torch.equal(module(x), biased.relu())
        both = (biased + added).relu() if order == "add-relu" else biased.relu() + added
        assert torch.equal(module(x, added), both)
        assert all(torch.equal(y, both) for y in module(x, added, fork=True))


def test_the_bias_before_a_convolution_is_one_number():
    """With `scalar` a convolution computes conv(x + b), b one learned number that starts at 0."""
    convolution = build(spec(norm="scalar")).blocks[0][0].conv1
    x = images(2, channels=4)
    assert convolution.shift.tolist() == [0.0]
    convolution.shift.data.fill_(0.7)

    torch.testing.assert_close(convolution(x), torch.nn.functional.conv2d(x + 0.7, convolution.weight, padding=1))
