"""Block orders against He et al. 2016, figure 4, written out by hand."""

import pytest
import torch
import torch.nn.functional as F

from deeptwins.nets.orders import BLOCK_ORDERS
from nets_made import bn, build, identity, images, shaken, spec


def conv(convolution, x):
    """3x3, as in the block."""
    return F.conv2d(x, convolution.weight, stride=convolution.stride, padding=1)


FORMULAS = {
    "original": lambda b, x: F.relu(identity(b, x) + bn(b.bn2, conv(b.conv2, F.relu(bn(b.bn1, conv(b.conv1, x)))))),
    "norm-after-addition": lambda b, x: F.relu(
        bn(b.bn2, identity(b, x) + conv(b.conv2, F.relu(bn(b.bn1, conv(b.conv1, x)))))
    ),
    "relu-before-addition": lambda b, x: (
        identity(b, x) + F.relu(bn(b.bn2, conv(b.conv2, F.relu(bn(b.bn1, conv(b.conv1, x))))))
    ),
    "relu-pre-activation": lambda b, x: (
        identity(b, x) + bn(b.bn2, conv(b.conv2, F.relu(bn(b.bn1, conv(b.conv1, F.relu(x))))))
    ),
    "full-pre-activation": lambda b, x: (
        identity(b, x) + conv(b.conv2, F.relu(bn(b.bn2, conv(b.conv1, F.relu(bn(b.bn1, x))))))
    ),
}


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("order", FORMULAS)
def test_a_block_is_its_formula(order, stage):
    """A block of this order computes what the figure shows; not the net's first, which pre-activation spares a norm."""
    block = shaken(build(spec(depth=14, block_order=order)).double()).eval().blocks[stage][1 - stage]
    x = images(2, channels=4, size=7).double()

    torch.testing.assert_close(block((x, x)), (FORMULAS[order](block, x),) * 2)


@pytest.mark.parametrize("order", BLOCK_ORDERS)
def test_the_norm_has_the_width_of_what_it_normalizes(order):
    """Every norm is used, but for a pre-activation's in the first block, whose input the stem has normalized."""
    block = build(spec(block_order=order)).blocks[1][0]

    assert block.bn1.num_features == (4 if order == "full-pre-activation" else 8)
    assert block.bn2.num_features == 8


def whole(net, x, order):
    """Compute a net of depth 8 by hand, stem and classifier included."""
    x = F.relu(bn(net.bn, conv(net.conv, x)))
    for i, (block,) in enumerate(net.blocks):
        if i == 0 and order == "full-pre-activation":  # the stem's activation is the first block's
            x = x + conv(block.conv2, F.relu(bn(block.bn2, conv(block.conv1, x))))
        else:
            x = FORMULAS[order](block, x)
    if order == "full-pre-activation":
        x = F.relu(bn(net.ending, x))
    elif order == "relu-pre-activation":
        x = F.relu(x)
    return x.mean((2, 3)) @ net.linear.weight.T + net.linear.bias


@pytest.mark.parametrize("order", FORMULAS)
def test_a_net_begins_and_ends_as_the_paper_says(order):
    """Pre-activation nets share the stem's activation with their first block, and activate once more before pooling."""
    net = shaken(build(spec(block_order=order)).double()).eval()
    x = images(2).double()

    torch.testing.assert_close(net(x), whole(net, x, order))
