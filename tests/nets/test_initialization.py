"""Initial weights: their distribution, and what the initializations make of residual branches."""

import pytest
import torch

from deeptwins.nets.blocks import blocks
from nets_made import build, images, spec

IDENTITIES = ("zero-gamma", "fixup", "skipinit", "rezero")  # whose branches start at 0


def test_he_initialization_has_its_deviation():
    """A convolution's weights have mean 0 and standard deviation sqrt(2 / fan_in); BN starts as the identity."""
    net = build(spec(depth=56, width=16))
    weight = net.stages[2][1].conv1.weight

    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert abs(weight.mean().item()) < 0.001
    assert torch.equal(net.bn.weight, torch.ones(16))
    assert torch.equal(net.bn.bias, torch.zeros(16))
    assert torch.equal(net.linear.bias, torch.zeros(10))


@pytest.mark.parametrize("family", ["cifar", "cifar-bottleneck"])
@pytest.mark.parametrize("order", ["original", "norm-after-addition", "relu-before-addition", "relu-pre-activation"])
@pytest.mark.parametrize("name", IDENTITIES)
def test_blocks_start_as_their_shortcut(name, order, family):
    """Where branches start at 0, a block is its shortcut and what follows the addition, whatever its order."""
    if order == "relu-before-addition" and name in {"zero-gamma", "fixup"}:
        pytest.skip("never would it learn")
    net = build(spec(family, initialization=name, block_order=order)).eval()
    for block in blocks(net):
        x = images(2, channels=block.conv1.in_channels).abs()
        added, _ = block.shortcut(x)

        torch.testing.assert_close(block((x, x))[0], block.order.close(block.layers, added))


def activity(name, depth, shortcut="zero-pad"):
    """What reaches the linear map of a fresh net without normalization, or after it if there must be some."""
    reached = []
    net = build(spec(initialization=name, depth=depth, shortcut=shortcut)).eval()
    net.linear.register_forward_pre_hook(lambda _, args: reached.append(args[0]))
    net(images(4))
    return reached[0]


@pytest.mark.parametrize("name", IDENTITIES)
def test_what_a_fresh_net_computes_does_not_depend_on_depth(name):
    """Where branches start at 0 a deeper net starts as the same function; with He's weights it does not."""
    assert torch.equal(activity(name, 8), activity(name, 56))
    assert not torch.allclose(activity("he", 8), activity("he", 56), rtol=0.1)


@pytest.mark.parametrize("name", IDENTITIES)
def test_plain_blocks_are_left_alone(name):
    """An initialization of residual branches leaves a net without shortcuts as deep as it was."""
    fields = {"shortcut": "none", "norm": "scalar" if name == "fixup" else "none" if name == "skipinit" else "batch"}
    net, he = build(spec(initialization=name, **fields)), build(spec(**fields))

    for (key, parameter), other in zip(net.named_parameters(), he.parameters(), strict=True):
        assert torch.equal(parameter, other) or (name == "fixup" and key == "linear.weight")


@pytest.mark.parametrize(
    ("family", "depth", "branches", "power"), [("cifar", 20, 9, -1 / 2), ("cifar-bottleneck", 29, 9, -1 / 4)]
)
def test_fixup_scales_and_zeroes(family, depth, branches, power):
    """Of L branches of m layers, inner ones are scaled by L^(-1 / (2m - 2)), last ones 0, as is the linear map."""
    net, he = (build(spec(family, depth, norm="scalar", initialization=name)) for name in ("fixup", "he"))
    for block, other in zip(blocks(net), blocks(he), strict=True):
        *inner, (last, _) = block.layers
        for (convolution, _), (before, _) in zip(inner, other.layers, strict=False):
            torch.testing.assert_close(convolution.weight, before.weight * branches**power)
        assert not last.weight.any()
        assert block.join.scale == 1

    assert not net.linear.weight.any()
    assert torch.equal(net.conv.weight, he.conv.weight)
    assert not [name for name, p in net.named_parameters() if name.endswith(("bias", "shift")) and p.any()]


@pytest.mark.parametrize("name", ["skipinit", "rezero"])
def test_the_learned_scale_starts_at_0_and_moves(name):
    """Each branch has one scalar, 0 at the start, which has a gradient in the first step, and the branch none yet."""
    net = build(spec(initialization=name))
    net(images()).square().sum().backward()

    for block in blocks(net):
        assert block.join.scale.shape == ()
        assert block.join.scale.item() == 0
        assert block.join.scale.grad.item() != 0
        assert not block.conv1.weight.grad.any()


@pytest.mark.parametrize("order", ["original", "norm-after-addition", "full-pre-activation"])
def test_zero_gamma_zeroes_the_last_scale_of_a_branch(order):
    """Only the closing norm's weight is changed, or where none closes the branch, the last convolution's."""
    net, he = (build(spec(block_order=order, initialization=name)) for name in ("zero-gamma", "he"))
    last = "bn2.weight" if order == "original" else "conv2.weight"
    for (key, parameter), other in zip(net.named_parameters(), he.parameters(), strict=True):
        zeroed = key.startswith("stages") and key.endswith(last)
        assert torch.equal(parameter, torch.zeros_like(other) if zeroed else other)
