"""Nets packed into one compute what each computes alone: the experiment of `docs/packing.md`."""

import pytest
import torch
import torch.nn.functional as F

import packed
from deeptwins import nets
from deeptwins.study.specs import Net
from deeptwins.train import optimization
from tiny import RECIPE

CONVOLUTIONS = pytest.mark.parametrize("convolution", packed.CONVOLUTIONS)
SHORTCUTS = ("none", "zero-pad", "zero-pad", "none")
# Float64 rounds at 1e-16; sums in another order, and the steps that follow, make little more of it.
SAME = {"rtol": 1e-10, "atol": 1e-11}


def build(shortcut, seed=0, **fields):
    """Build a tiny net in float64."""
    net = Net(**{"family": "cifar", "depth": 14, "width": 4, "shortcut": shortcut, **fields})
    return nets.build(net, 3, 10, seed).double().to(memory_format=torch.channels_last)


def build_all():
    """Build twins of two seeds, in no order."""
    return [build(shortcut, seed=i // 2) for i, shortcut in enumerate(SHORTCUTS)]


def batch(seed):
    """Make random images and labels."""
    torch.manual_seed(seed)
    return torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.randint(10, (6,))


def train(separate, together, steps, **kind):
    """Train nets one by one and packed on the same batches; return the losses of all, those of the packed last."""
    optimizers = [optimization.sgd(net, RECIPE) for net in (*separate, together)]
    found = []
    for images, labels in map(batch, range(steps)):
        x, y = images.to(**kind), labels.to(kind.get("device"))
        losses = [*(F.cross_entropy(net(x), y) for net in separate), packed.losses(together(x), y)]
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
        found.append([loss.detach() for loss in losses])
    return found


@CONVOLUTIONS
def test_packed_nets_train_as_they_do_alone(convolution):
    """Losses of every step, weights, running statistics and outputs in both modes are those of the separate nets."""
    separate = build_all()
    together = packed.Packed(build_all(), convolution)
    x, _ = batch(9)
    torch.testing.assert_close(together(x), torch.stack([net(x) for net in separate]), **SAME)

    for *alone, packs in train(separate, together, steps=6):
        torch.testing.assert_close(packs, torch.stack(alone), **SAME)

    for net, state in zip(separate, together.unpack(), strict=True):
        torch.testing.assert_close(state, dict(net.state_dict()), **SAME)
        net.eval()
    torch.testing.assert_close(together.eval()(x), torch.stack([net(x) for net in separate]), **SAME)


@CONVOLUTIONS
def test_packed_nets_train_alike_on_every_device(convolution, device):
    """In fp32, too, and with the device's own operations, the losses of the first steps agree."""
    separate = [net.float().to(device) for net in build_all()]
    together = packed.Packed(separate, convolution)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = train(separate, together, steps=3, dtype=torch.float32, device=device)

    for *alone, packs in found:
        torch.testing.assert_close(packs, torch.stack(alone), rtol=1e-4, atol=1e-5)


@CONVOLUTIONS
def test_unpacking_undoes_packing(convolution):
    """What comes out of a packed net is what went in, to the last bit, and fits the nets."""
    separate = build_all()
    states = packed.Packed(separate, convolution).unpack()

    for net, state in zip(separate, states, strict=True):
        assert state.keys() == net.state_dict().keys()
        assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
        net.load_state_dict(state)


@CONVOLUTIONS
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_net_that_diverges_leaves_the_others_alone(convolution, bad):
    """Weights of one net that are not finite make its loss so, and change no bit of another's weights."""
    fine, ill = packed.Packed(build_all(), convolution), build_all()
    for parameter in ill[1].parameters():
        parameter.detach().fill_(bad)
    ill = packed.Packed(ill, convolution)
    for together in (fine, ill):
        found = train([], together, steps=2)

    assert found[-1][0].isfinite().tolist() == [True, False, True, True]
    for i, (before, after) in enumerate(zip(fine.unpack(), ill.unpack(), strict=True)):
        assert all(torch.equal(before[key], after[key]) for key in before) == (i != 1)


@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("stage", [0, 1])
def test_a_plain_net_adds_nothing_whatever_its_input(stage, dimension):
    """Where alpha is 0 the skip and its gradient are 0, even beside inf and NaN; where it is 1, they are the net's."""
    block = build("zero-pad").blocks[stage][0]
    skip = packed.Skip(block, [False, True], dimension)
    x = torch.randn(2, 2, block.conv1.in_channels, 4, 4, dtype=torch.float64)  # batch, nets, channels
    x[:, 0], x[0, 0] = float("inf"), float("nan")
    x = x.flatten(1, 2).transpose(0, 1 - dimension).requires_grad_()
    expected, _ = block.shortcut(x.transpose(0, 1 - dimension).chunk(2, 1)[1])

    added = skip(x)
    (gradient,) = torch.autograd.grad(added, x, torch.full_like(added, float("inf")))

    plain, residual = added.transpose(0, 1 - dimension).chunk(2, 1)
    assert torch.equal(residual, expected)
    assert not plain.any()
    plain, residual = gradient.transpose(0, 1 - dimension).chunk(2, 1)
    assert not plain.any()
    assert residual.isinf().any()


def test_plain_nets_alone_add_nothing():
    """A packed net without residual ones has no additions, and one without plain ones no alpha."""
    plain, residual = (packed.Packed([build(shortcut), build(shortcut, seed=1)]) for shortcut in ("none", "zero-pad"))
    x, _ = batch(0)

    assert plain.stages[0][0].skip(x) is None
    assert residual.stages[0][0].skip(x) is x


@pytest.mark.parametrize(
    "fields",
    [
        {"shortcut": "projection"},
        {"shortcut": "scaled"},
        {"block_order": "full-pre-activation"},
        {"block_order": "relu-before-addition"},
        {"norm": "none"},
        {"norm_batch": 2},
        {"survival": 0.5},
        {"stem": "imagenet"},
        {"family": "cifar-bottleneck", "depth": 20},
        {"depth": 20},
        {"width": 8},
    ],
    ids=str,
)
def test_what_cannot_be_packed_is_refused(fields):
    """Nets of other shapes, or that compute something else, are not packed wrongly."""
    with pytest.raises(ValueError, match="packed"):
        packed.Packed([build("zero-pad"), build(**{"shortcut": "zero-pad", **fields})])


def test_nets_of_different_ages_are_refused():
    """The number of batches that a net has seen is packed once, and so must be the same."""
    older, younger = build("none"), build("zero-pad")
    older(batch(0)[0])

    with pytest.raises(ValueError, match="different numbers of batches"):
        packed.Packed([older, younger])
