"""Growth: a deeper net that computes the same."""

import copy
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from deeptwins import nets
from deeptwins.nets import building, growing
from nets_made import TABLES, build, images, possible, shaken, spec
from pairwise import label, pairwise

DEPTHS = {"cifar": (14, 26), "cifar-bottleneck": (11, 29), "imagenet": (18, 34)}  # of several blocks per stage
BATCHES = [images(seed=seed) for seed in range(3)]


def growing_net(case):
    """Describe a net of this family, shortcut, order, norm and initialization that grows."""
    before, depth = DEPTHS[case["family"]]
    return spec(**{**case, "depth": depth, "grown_from": before})


GROWING = list(possible(growing_net, family=DEPTHS, **TABLES))


def grown(net):
    """Build the shallow net, as if it had been trained, and grow it."""
    shallow = shaken(build(net.model_copy(update={"depth": net.grown_from})))
    deep = build(net)
    growing.grow(shallow, deep, BATCHES)
    return shallow, deep


@pytest.fixture(scope="module", params=pairwise(GROWING), ids=label)
def pair(request):
    """A net with any two lines of the tables, and what it has grown to."""
    return grown(growing_net(request.param))


def test_growth_changes_no_output(pair):
    """In evaluation a grown net has the logits of the shallow one, on images it was not grown on, too."""
    shallow, deep = map(copy.deepcopy, pair)
    x = images(16, seed=9)

    torch.testing.assert_close(deep.eval()(x), shallow.eval()(x), rtol=1e-3, atol=1e-3)
    assert growing.largest_difference(shallow, deep, BATCHES) < 1e-3
    assert len(list(nets.blocks.blocks(deep))) > len(list(nets.blocks.blocks(shallow)))


def test_what_does_not_learn_from_zero_grows_where_a_learned_scale_is_zero():
    """Residual blocks that end in a ReLU are added where their scale is what starts at 0, and only there."""
    cases = [case for case in GROWING if case["block_order"] == "relu-before-addition" and case["shortcut"] != "none"]

    assert {case["initialization"] for case in cases} == {"skipinit", "rezero"}


def test_what_was_added_learns(pair):
    """In the first steps a gradient reaches every parameter of the blocks that were added."""
    deep = copy.deepcopy(pair[1]).train()
    optimizer, reached = torch.optim.SGD(deep.parameters(), lr=0.01), set()
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(deep(images()), torch.arange(8)).backward()
        optimizer.step()
        reached |= {name for name, p in deep.named_parameters() if p.grad.any()}

    assert {name for name, _ in deep.named_parameters()} - reached == set()


@pytest.mark.parametrize(("shortcut", "added"), [("none", "zero-pad"), ("none", "projection"), ("zero-pad", "none")])
def test_what_is_added_may_be_of_another_kind(shortcut, added):
    """A plain net grows by residual blocks, or a residual one by plain ones, without a change of its outputs."""
    net = spec(shortcut=shortcut, depth=20, grown_from=8, grown_with=added)
    shallow, deep = grown(net)

    assert growing.largest_difference(shallow, deep, BATCHES) < 1e-3
    for stage in deep.blocks:
        assert [block.residual for block in stage] == [shortcut != "none"] + [added != "none"] * 2


def plainly_grown():
    """Give each combination of the tables' lines, the net of it that grows by plain blocks, and why it may not."""
    for case in possible(lambda case: spec(**case), **TABLES):
        net = spec(depth=14, width=2, grown_from=8, grown_with="none", fused_op="eager", **case)
        try:
            nets.check(net)
        except ValueError as error:
            yield case, net, str(error)
        else:
            yield case, net, None


def some(nets_of_cases):
    """Choose from (case, net) pairs the nets of so few cases that every two lines are still together in one."""
    chosen = pairwise([case for case, _ in nets_of_cases])
    return [net for case, net in nets_of_cases if case in chosen]


def grown_signed(net):
    """Grow a net whose learned scalars have become negative, and return by how much its outputs change."""
    shallow = shaken(build(net.model_copy(update={"depth": net.grown_from})))
    deep = build(net)
    with torch.no_grad():
        for name, parameter in shallow.named_parameters():
            if name.endswith("join.scale"):
                parameter.fill_(-0.5)
    growing.grow(shallow, deep, BATCHES[:1])
    return growing.largest_difference(shallow, deep, BATCHES[:1])


def test_plain_blocks_are_added_exactly_where_they_keep_outputs(monkeypatch):
    """Every two lines that may grow by plain blocks keep the outputs; those refused for their sign do not."""
    cases = list(plainly_grown())
    kept = [(case, net) for case, net, refused in cases if refused is None]
    signed = [(case, net) for case, net, refused in cases if refused is not None and "may end so" in refused]
    monkeypatch.setattr(building, "check", lambda _net: None)  # builds what is refused, too

    assert [net for net in some(kept) if grown_signed(net) > 1e-3] == []
    assert [net for net in some(signed) if grown_signed(net) < 1e-3] == []
    assert {net.block_order for _, net in signed} == {"relu-before-addition"}
    assert {(net.shortcut, net.initialization) for _, net in signed} == {
        (shortcut, name)
        for shortcut, name in product(TABLES["shortcut"], ("he", "rezero", "skipinit"))
        if shortcut != "none" and (name != "he" or shortcut in {"projection", "projections"})
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"grown_with": "zero-pad"}, "of no use without grown_from"),
        ({"grown_with": "no-such", "depth": 20, "grown_from": 8}, "choose from none"),
        ({"grown_with": "gate", "depth": 20, "grown_from": 8}, "no block with the shortcut 'gate'"),
    ],
)
def test_what_cannot_be_added_is_refused(fields, said):
    """A kind of block to be added must exist, compute the identity, and have something to be added to."""
    with pytest.raises(ValueError, match=said):
        nets.check(spec(**fields))


def test_in_training_a_grown_plain_net_is_the_same_up_to_the_batch():
    """Normalized by the statistics of the very batch that was measured, an added plain block copies in training."""
    net = spec(shortcut="none", depth=14, grown_from=8)
    shallow = shaken(build(net.model_copy(update={"depth": 8})))
    deep, x = build(net), images(32)
    shallow.eval()
    growing.grow(shallow, deep, [x])
    added = deep.blocks[0][1]
    arriving = []
    deep.blocks[0][0].register_forward_hook(lambda _module, _inputs, output: arriving.append(output[0]))
    deep.eval()(x)

    torch.testing.assert_close(added.train()((arriving[0],) * 2)[0], arriving[0], rtol=1e-3, atol=1e-3)


def test_a_difference_is_seen():
    """The largest difference is that of the logits, as a share of the largest."""
    one, other = build(spec()), build(spec())
    other.linear.bias.data[3] += 0.5
    largest = max(one.eval()(x).abs().max().item() for x in BATCHES)

    assert growing.largest_difference(one, one, BATCHES) == 0
    assert growing.largest_difference(one, other, BATCHES) == pytest.approx(0.5 / largest, rel=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"grown_from": 9}, "grown_from = 9: depth = 9: family cifar has depths"),
        ({"family": "imagenet", "depth": 18, "grown_from": 34}, "grown_from = 34: its blocks are not among"),
        ({"family": "imagenet", "depth": 50, "grown_from": 34}, "grown_from = 34: its blocks are not among"),
        ({"shortcut": "gate", "grown_from": 8}, "grown_from = 8: no block with the shortcut 'gate'"),
        ({"shortcut": "scaled", "grown_from": 8}, "grown_from = 8: no block with the shortcut 'scaled'"),
        ({"shortcut": "projections", "grown_from": 8}, "grown_from = 8: no block with the shortcut 'projections'"),
        ({"family": "imagenet", "depth": 101, "grown_from": 50}, "grown_from = 50: no plain bottleneck"),
        ({"block_order": "full-pre-activation", "grown_from": 8}, "grown_from = 8: no block of the order"),
        ({"block_order": "relu-pre-activation", "grown_from": 8}, "grown_from = 8: no block of the order"),
        ({"shortcut": "zero-pad", "block_order": "norm-after-addition", "grown_from": 8}, "no block of the order"),
        ({"shortcut": "zero-pad", "block_order": "relu-before-addition", "grown_from": 8}, "learns whose branch is 0"),
        ({"shortcut": "zero-pad", "survival": 0.5, "grown_from": 8}, "grown_from = 8: with survival = 0.5 the weight"),
        (
            {
                "shortcut": "projection",
                "block_order": "relu-before-addition",
                "grown_from": 8,
                "grown_with": "none",
            },
            "grown_from = 8: no plain block keeps what is negative, and blocks of the order 'relu-before-addition'",
        ),
    ],
)
def test_growth_that_would_change_the_net_is_refused(fields, message):
    """Where no added block can compute the identity the net is refused, in one line that says why."""
    with pytest.raises(ValueError, match=message) as refused:
        nets.check(spec(**{"depth": 20, "shortcut": "none", **fields}))

    assert "\n" not in str(refused.value)
