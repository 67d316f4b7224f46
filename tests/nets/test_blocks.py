"""Blocks: the fused way and the other, learned scales, stochastic depth."""

import copy

import pytest
import torch

from deeptwins.nets.blocks import blocks
from nets_made import NAMES, TABLES, build, images, shaken, spec
from pairwise import cross, label, pairwise

BLOCK = ("shortcut", "block_order", "norm")  # what a block is made of


@pytest.mark.parametrize("fields", pairwise(cross(**{field: NAMES[field] for field in BLOCK})), ids=label)
def test_fused_and_unfused_are_one_net(fields):
    """With the addition fused into the last norm a net has the logits, the gradients, and the running statistics."""
    fused = shaken(build(spec(**fields)).double())
    unfused = copy.deepcopy(fused)
    for block in blocks(unfused):
        block.fuse = False
    found = []
    for net in (fused, unfused):
        torch.manual_seed(0)  # for dropout
        logits = net(images(4).double())
        logits.square().sum().backward()
        found.append({name: p.grad for name, p in net.named_parameters()} | dict(net.named_buffers()))
        found[-1] |= {"logits": logits, "evaluated": net.eval()(images(4).double())}

    for name, tensor in found[0].items():
        torch.testing.assert_close(
            found[1][name], tensor, rtol=1e-6, atol=1e-6 * (1 + tensor.abs().max().item()), msg=name
        )


def test_the_fused_way_is_taken():
    """In training, blocks of the orders that can be fused are: only their last norm adds."""
    net, joined = build(spec()), []
    for block in blocks(net):
        block.join.register_forward_hook(lambda *_: joined.append(1))

    net(images(2))
    assert not joined
    for block in blocks(net):
        block.fuse = False
    net(images(2))
    assert len(joined) == 3


@pytest.mark.parametrize("order", TABLES["block_order"])
@pytest.mark.parametrize("shortcut", ["zero-pad", "gate", "frozen-gate"])
def test_the_learned_scale_multiplies_the_branch(shortcut, order):
    """With a learned scalar a, a block adds a F(x) where it would add F(x)."""
    fields = {"shortcut": shortcut, "block_order": order, "norm": "none"}
    scaled, unscaled = build(spec(initialization="rezero", **fields)), build(spec(initialization="he", **fields))
    (block, *_), (other, *_) = blocks(scaled), blocks(unscaled)
    x, branch = images(2, channels=4).abs(), other.order.branch(other.layers, images(2, channels=4).abs())
    added, weight = other.shortcut(x)
    block.join.scale.data.fill_(0.3)

    y = other.order.close(other.layers, 0.3 * branch * (1 if weight is None else weight) + added)

    torch.testing.assert_close(block((x, x))[0], y)


def test_survival_falls_linearly():
    """The l-th of L blocks survives with probability 1 - l / L (1 - p): Huang et al. 2016, equation 4."""
    net = build(spec(depth=20, survival=0.5))

    assert [block.survival for block in blocks(net)] == pytest.approx([1 - i / 9 * 0.5 for i in range(1, 10)])


def ways_taken(block, times):
    """Call a block of the last stage, and tell of each time whether it was whole or only its shortcut."""
    whole = copy.deepcopy(block)
    whole.survival = 1.0
    x = images(2, channels=8, size=4).abs()
    added, _ = whole.shortcut(x)
    ways = {"whole": whole((x, x))[0], "shortcut": whole.order.close(whole.layers, added)}

    torch.manual_seed(0)
    outputs = [block((x, x))[0] for _ in range(times)]
    return ["-".join(name for name, way in ways.items() if torch.allclose(y, way, atol=1e-6)) for y in outputs]


@pytest.mark.parametrize("shortcut", [name for name in TABLES["shortcut"] if name not in {"none", "dropout"}])
@pytest.mark.parametrize("order", TABLES["block_order"])
def test_blocks_are_whole_or_only_their_shortcut(order, shortcut):
    """In training a block is now whole, now only its shortcut, and nothing else."""
    block = shaken(build(spec(survival=0.5, shortcut=shortcut, block_order=order))).blocks[2][0]

    assert set(ways_taken(block, 20)) == {"whole", "shortcut"}


def test_blocks_are_dropped_as_often_as_said():
    """In training a block is only its shortcut with probability 1 - p."""
    block = shaken(build(spec(survival=0.3))).blocks[2][0]
    assert block.survival == pytest.approx(0.3)

    assert ways_taken(block, 300).count("whole") / 300 == pytest.approx(0.3, abs=0.08)  # three standard deviations


def test_evaluation_weighs_by_survival():
    """In evaluation the branch counts p: relu(p F(x) + x), Huang et al. 2016, equation 5."""
    net = shaken(build(spec(survival=0.4))).eval()
    for block, channels in zip(blocks(net), (4, 4, 8), strict=True):
        x = images(2, channels=channels).abs()
        added, _ = block.shortcut(x)
        branch = block.order.branch(block.layers, x)

        torch.testing.assert_close(block((x, x))[0], (block.survival * branch + added).relu())


def test_a_dropped_block_is_left_alone():
    """Its statistics stay as they are, and no gradient reaches its layers, while one passes its shortcut."""
    block = build(spec(survival=0.5)).blocks[0][0]
    block.survival = 1e-9
    x = images(2, channels=4).abs().requires_grad_()

    block((x, x))[0].sum().backward()

    assert torch.equal(x.grad, torch.ones_like(x))
    assert all(parameter.grad is None for parameter in block.parameters())
    assert block.bn1.num_batches_tracked == 0
