"""The tutorial's nets: their padding, their start and their optimizer are those of Keras and of PyTorch."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from deeptwins import data, study
from deeptwins.errors import OWN_CODE
from deeptwins.nets.own import tutorial
from deeptwins.system.importing import attribute
from deeptwins.train import provenance, training
from places import ROOT


@given(side=st.integers(1, 40), size=st.integers(1, 7), stride=st.integers(1, 3))
def test_padding_is_that_of_keras(side, size, stride):
    """Windows give ceil(side / stride) values; the padding is as small as that allows, and what is odd lies behind."""
    image = torch.ones(1, 1, side, side)

    padded = tutorial.same(image, size, stride)

    steps = math.ceil(side / stride)
    assert F.max_pool2d(padded, size, stride).shape[2:] == (steps, steps)
    missing = max((steps - 1) * stride + size - side, 0)
    assert padded.shape[2:] == (side + missing, side + missing)
    before, after = missing // 2, missing - missing // 2
    assert torch.equal(padded, F.pad(image, (before, after, before, after)))


def test_the_edition_of_pytorch_is_torchvisions_net_with_biases():
    """Without biases, and without norms in projections, torchvision's ResNet-18 computes the same from its weights."""
    net = tutorial.pytorch(1, 10, depth=18, width=64)
    theirs = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10)
    theirs.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    for module in theirs.modules():
        if isinstance(module, BasicBlock) and module.downsample is not None:
            module.downsample[1] = nn.Identity()
    biases = [f"{name}.bias" for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    values = {name: value for name, value in net.state_dict().items() if name not in biases}
    assert [value.shape for value in values.values()] == [value.shape for value in theirs.state_dict().values()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values.values(), strict=True)))
    for name in biases:
        nn.init.zeros_(net.get_parameter(name))
    images = torch.rand(3, 1, 28, 28)

    torch.testing.assert_close(net(images), theirs(images))


def test_the_editions_differ_in_padding_and_norms_alone():
    """They have the same parameters; on an even number of pixels Keras's windows begin a pixel further in."""
    nets = [make(1, 10, depth=18, width=4).eval() for make in (tutorial.keras, tutorial.pytorch)]
    nets[1].load_state_dict(nets[0].state_dict())
    norms = [next(module for module in net.modules() if isinstance(module, nn.BatchNorm2d)) for net in nets]
    images = torch.rand(2, 1, 28, 28)

    assert [(norm.eps, norm.momentum) for norm in norms] == [(1e-3, 0.01), (1e-5, 0.1)]
    assert not torch.allclose(*(net(images) for net in nets))
    with pytest.raises(ValueError, match="depth = 34: the tutorial's net has 18 layers"):
        tutorial.keras(1, 10, depth=34, width=4)


@pytest.mark.parametrize(
    ("start", "bounds", "biased"),
    [
        (tutorial.keras_start, lambda fan_in, fan_out: math.sqrt(6 / (fan_in + fan_out)), False),
        (tutorial.pytorch_start, lambda fan_in, _: 1 / math.sqrt(fan_in), True),
    ],
    ids=["keras", "pytorch"],
)
def test_the_start_is_uniform_within_the_bounds_of_its_edition(start, bounds, biased):
    """Weights fill the interval of Glorot's rule, or of PyTorch's, whose biases do, too; the seed decides them."""
    net, again, other = (tutorial.keras(1, 10, depth=18, width=8) for _ in range(3))
    for one, seed in ((net, 0), (again, 0), (other, 1)):
        start(one, seed)

    for layer in (net.conv, net.blocks[3].conv2, net.linear):
        fan_out, fan_in = (layer.weight.numel() // layer.weight.shape[i] for i in (1, 0))
        bound = bounds(fan_in, fan_out)
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert bool(layer.bias.any()) is biased
        assert layer.bias.abs().max() <= bound
    assert torch.equal(net.linear.weight, again.linear.weight)
    assert not torch.equal(net.linear.weight, other.linear.weight)


def test_parts_that_ship_are_none_of_ones_own():
    """They are of the record's commit, and no error is laid at their door: their code is deeptwins'."""
    runs = study.load(ROOT / "ablations" / "fashion-tutorial.toml").runs

    assert attribute(runs[0].twins["residual"].family) is tutorial.keras

    assert [provenance.named(run) for run in runs] == [[]] * len(runs)
    assert not any(Path(tutorial.__file__).is_relative_to(code) for code in OWN_CODE)


def test_the_study_trains_each_edition_from_its_start_with_its_optimizer():
    """Its images are divided by 255 alone, its rate is constant, and Keras's Adam has another epsilon."""
    runs = [run for run in study.load(ROOT / "ablations" / "fashion-tutorial.toml").runs if run.seed == 0]
    small = {"dataset": "digits", "batch_size": 16, "validation": 0.0}
    seen = {}
    for run in runs:
        twins = {name: net.model_copy(update={"width": 4}) for name, net in run.twins.items()}
        less = run.model_copy(update={"recipe": run.recipe.model_copy(update=small), "twins": twins})
        trained = training.Training(less, data.load("digits"), torch.device("cpu"))
        images, _ = trained.stream.batch(0)
        assert (images.min(), images.max()) == (0, 1)
        twin = trained.twins["residual"]
        edition = run.twins["residual"].family.rpartition(":")[2]
        seen[edition] = twin.optimizer.param_groups[0]["eps"], bool(twin.net.linear.bias.any())
    assert seen == {"keras": (1e-7, False), "pytorch": (1e-8, True)}
    assert all(run.recipe.milestones == () for run in runs)
