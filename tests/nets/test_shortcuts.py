"""Shortcuts against their formulas, written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptwins.nets.shortcuts import SHORTCUTS, Transition
from nets_made import bn, build, identity, images, shaken, spec


def branch(block, x):
    """Convolution, norm, ReLU, convolution, norm."""
    stride = block.conv1.stride
    y = bn(block.bn1, F.conv2d(x, block.conv1.weight, stride=stride, padding=1)).relu()
    return bn(block.bn2, F.conv2d(y, block.conv2.weight, padding=1))


def projected(block, x):
    """1x1 convolution and batch normalization."""
    convolution, norm = block.shortcut
    return bn(norm, F.conv2d(x, convolution.weight, stride=block.conv1.stride))


def gate(block, x):
    """sigmoid(W x + b)."""
    inner = block.shortcut.gate
    return 1 / (1 + torch.exp(-F.conv2d(x, inner.weight, inner.bias, stride=block.conv1.stride)))


# What a block is before its last ReLU: He et al. 2015, section 3.3; He et al. 2016, table 1. In evaluation.
FORMULAS = {
    "none": branch,
    "zero-pad": lambda b, x: branch(b, x) + identity(b, x),
    "projection": lambda b, x: branch(b, x) + (projected(b, x) if b.conv1.stride == (2, 2) else x),
    "projections": lambda b, x: branch(b, x) + projected(b, x),
    "scaled": lambda b, x: branch(b, x) + 0.5 * identity(b, x),
    "frozen-gate": lambda b, x: 0.5 * branch(b, x) + 0.5 * identity(b, x),
    "gate": lambda b, x: gate(b, x) * branch(b, x) + (1 - gate(b, x)) * identity(b, x),
    "shortcut-gate": lambda b, x: branch(b, x) + (1 - gate(b, x)) * identity(b, x),
    "dropout": lambda b, x: branch(b, x) + 0.5 * identity(b, x),
}


@pytest.mark.parametrize("stage", [0, 1])  # the second halves the image and doubles the channels
@pytest.mark.parametrize("shortcut", FORMULAS)
def test_a_block_is_its_formula(shortcut, stage):
    """A block with this shortcut computes the paper's expression, where the shape is kept and where it changes."""
    block = shaken(build(spec(shortcut=shortcut)).double()).eval().blocks[stage][0]
    x = images(2, channels=4, size=7).double()

    torch.testing.assert_close(block((x, x)), (FORMULAS[shortcut](block, x).relu(),) * 2)


@settings(max_examples=40)  # Each makes every shortcut.
@given(channels=st.integers(1, 5), more=st.integers(0, 5), stride=st.integers(1, 2), size=st.integers(1, 9))
def test_shortcuts_lead_to_the_shape_of_the_branch(channels, more, stride, size):
    """Whatever the transition, a shortcut's output has the shape of a 3x3 convolution's of the same stride."""
    transition, x = Transition(channels, channels + more, stride), torch.ones(2, channels, size, size)
    shape = F.conv2d(x, torch.ones(channels + more, channels, 3, 3), stride=stride, padding=1).shape
    for name in SHORTCUTS:
        added, weight = SHORTCUTS[name].make(transition, spec(shortcut=name)).eval()(x)

        assert added is None or added.shape == shape
        assert not isinstance(weight, torch.Tensor) or weight.shape == shape


@pytest.mark.parametrize("bias", [0.0, -3.0, -6.0])
@pytest.mark.parametrize("shortcut", ["gate", "shortcut-gate"])
def test_gates_start_at_their_bias(shortcut, bias):
    """Where its input is 0, a fresh gate lets 1 - sigmoid(b) of the identity pass: b is the net's `gate_bias`."""
    block = build(spec(shortcut=shortcut, gate_bias=bias)).blocks[0][0]
    probe = torch.zeros(1, 4, 3, 3)

    _, weight = block.shortcut(probe)
    block.shortcut.gate.weight.data.zero_()
    added, _ = block.shortcut(probe + 1)

    torch.testing.assert_close(added, torch.full_like(added, 1 - torch.tensor(bias).sigmoid().item()))
    if shortcut == "gate":
        torch.testing.assert_close(weight, torch.full_like(weight, torch.tensor(bias).sigmoid().item()))
    else:
        assert weight is None


def test_dropout_has_its_expectation():
    """In training every value of the identity is kept or 0, half of them each; in evaluation it is half of it."""
    shortcut, x = SHORTCUTS["dropout"].make(Transition(4, 4, 1), spec()), torch.rand(50, 4, 20, 20) + 1
    torch.manual_seed(0)

    added, _ = shortcut.train()(x)

    assert ((added == x) | (added == 0)).all()
    assert (added == 0).double().mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(shortcut.eval()(x)[0], 0.5 * x)


def test_projections_stand_where_the_options_say():
    """Option B projects where the shape changes, option C everywhere; a bottleneck's first stage changes it, too."""

    def projections(**fields):
        blocks = [block for stage in build(spec(**fields)).blocks for block in stage]
        return [len(list(block.shortcut.parameters())) > 0 for block in blocks]

    assert projections(depth=14, shortcut="projection") == [False, False, True, False, True, False]
    assert projections(depth=14, shortcut="projections") == [True] * 6
    assert projections(family="cifar-bottleneck", depth=20, shortcut="projection") == [True, False] * 3
    assert projections(family="imagenet", shortcut="projection") == [False, False, *[True, False] * 3]


@pytest.mark.parametrize("norm", ["none", "scalar"])
def test_nets_without_normalization_normalize_nothing(norm):
    """Without batch normalization none is left on projections, either."""
    net = build(spec(shortcut="projections", norm=norm))

    assert not [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
