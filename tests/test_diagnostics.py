"""Diagnostics: layer responses as the paper defines them."""

import pytest
import torch

from deeptwins import nets
from deeptwins.diagnostics import layer_responses
from deeptwins.specs import Net


def test_layer_responses_are_the_deviations_after_bn():
    """A layer's response is the standard deviation of its BN output, before addition and ReLU, over all batches."""
    net = nets.build(Net(family="cifar", depth=8, width=4, shortcut="zero-pad"), 3, 10, 0).eval()
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(n, 3, 8, 8, generator=generator) + 1, torch.zeros(n)) for n in (5, 2)]
    block = net.stages[0][0]
    x = net.bn(net.conv(torch.cat([x for x, _ in batches])))
    by_hand = block.bn2.normalize(block.conv2(block.bn1(block.conv1(x)))).std(correction=0).item()

    responses = layer_responses(net, batches)

    assert list(responses)[:3] == ["bn", "stages.0.0.bn1", "stages.0.0.bn2"]
    assert len(responses) == 7  # 6n+1 layers of 3x3
    assert responses["stages.0.0.bn2"] == pytest.approx(by_hand, rel=1e-5)


def test_leaves_the_net_as_it_was():
    """Measuring changes no running statistic and leaves no hook."""
    net = nets.build(Net(family="cifar", depth=8, width=4), 3, 10, 0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    layer_responses(net, [(torch.ones(2, 3, 8, 8), torch.zeros(2))])

    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(module._forward_pre_hooks for module in net.modules())
