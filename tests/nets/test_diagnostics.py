"""Diagnostics: every number as its formula says, whatever the net, which stays as it was."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deeptwins import nets
from deeptwins.kernels import IMPLEMENTATIONS
from deeptwins.nets import diagnostics
from nets_made import build, spec

NETS = {
    "plain": {"shortcut": "none"},
    "residual": {},
    "projection": {"shortcut": "projection"},
    "gate": {"shortcut": "gate"},
    "dropout": {"shortcut": "dropout"},
    "survival": {"survival": 0.5},
    "ghost": {"norm_batch": 4},
    "no norm": {"norm": "none"},
    "scalar": {"norm": "scalar"},
    "bottleneck": {"family": "cifar-bottleneck"},
    **{order: {"block_order": order} for order in nets.orders.BLOCK_ORDERS},
}


def built(**fields):
    """Build a net whose running statistics and norms are not those that it starts with."""
    made = build(spec(**fields))
    with torch.no_grad():
        for norm in diagnostics.batch_norms(made).values():
            norm.weight.copy_(torch.linspace(0.5, 1.5, len(norm.weight)))
            norm.bias.copy_(torch.linspace(-0.3, 0.4, len(norm.bias)))
    made.train()
    for x, _ in batches(8, 8):
        made(x)
    return made


def batches(*sizes):
    """Make batches of images that are the same every time."""
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(n, 3, 8, 8, generator=generator) + 1, torch.arange(n) % 10) for n in sizes]


def images(*sizes):
    """All images of some batches."""
    return torch.cat([x for x, _ in batches(*sizes)])


def look(net, test=(5, 3), training=(8, 8)):
    """Look inside a net whose error is of no interest."""
    return list(
        diagnostics.look(net, batches(*test), batches(*training), lambda: torch.tensor([8.0, 2.0, 4.0]).double())
    )


@torch.no_grad()
def test_responses_are_the_deviations_after_bn():
    """A layer's response is the standard deviation of its BN output, before addition and ReLU, over all batches."""
    net = built()
    responses, _ = diagnostics.responses_and_shares(net, batches(5, 2))

    net.eval()
    block = net.stages[0][0]
    x = net.bn(net.conv(images(5, 2)))
    by_hand = block.bn2.normalize(block.conv2(block.bn1(block.conv1(x)))).std(correction=0).item()
    assert list(responses)[:3] == ["bn", "stages.0.0.bn1", "stages.0.0.bn2"]
    assert len(responses) == 7  # 6n+1 layers of 3x3
    assert responses["stages.0.0.bn2"] == pytest.approx(by_hand, rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("shortcut", ["none", "zero-pad", "gate", "projection"])
def test_shares_compare_the_branch_with_the_input(shortcut):
    """A branch's share is the norm of what is added to the shortcut over that of the block's input, plain or not."""
    net = built(shortcut=shortcut)
    _, shares = diagnostics.responses_and_shares(net, batches(5, 2))

    net.eval()
    x, by_hand = net.bn(net.conv(images(5, 2))), []
    for block in nets.blocks.blocks(net):
        added, weight = block.shortcut(x)
        branch = block.bn2.normalize(block.conv2(block.bn1(block.conv1(x)))) * (1 if weight is None else weight)
        by_hand.append((branch.norm() / x.norm()).item())
        x = F.relu(branch if added is None else branch + added)
    assert shares == pytest.approx({f"stages.{i}.0": share for i, share in enumerate(by_hand)}, rel=1e-5)


def test_gradient_norms_are_those_of_the_weights_in_order():
    """There is one norm a layer that counts to the depth, the linear map last; none on shortcuts."""
    net = built(shortcut="projection")
    assert diagnostics.gradient_norms(net) == [None] * 8

    (x, y), *_ = batches(8)
    F.cross_entropy(net(x), y).backward()
    norms = diagnostics.gradient_norms(net)

    assert len(norms) == 8
    assert norms[0] == pytest.approx(net.conv.weight.grad.norm().item(), rel=1e-3)
    assert norms[2] == pytest.approx(net.stages[0][0].conv2.weight.grad.norm().item(), rel=1e-3)
    assert norms[-1] == pytest.approx(net.linear.weight.grad.norm().item(), rel=1e-3)


def test_a_dropped_block_has_no_gradient():
    """Where stochastic depth dropped a block from the step, or nothing finite came back, there is no norm."""
    net = built(survival=0.5)
    (x, y), *_ = batches(8)
    F.cross_entropy(net(x), y).backward()
    dropped, infinite = net.stages[1][0].conv1.weight, net.linear.weight
    dropped.grad = torch.zeros_like(dropped)  # as the trainer leaves it
    infinite.grad = torch.full_like(infinite, math.inf)

    norms = diagnostics.gradient_norms(net)

    assert norms[3] is None
    assert norms[-1] is None
    assert norms[0] > 0


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(16,), (12, 4)])
def test_precise_statistics_are_those_of_all_images(sizes):
    """Means and variances are the population's over all batches, each of which is normalized by its own."""
    net = built()
    precise = diagnostics.precise_statistics(net, batches(*sizes))

    net.train()
    first = net.conv(images(*sizes))
    second = torch.cat([net.stages[0][0].conv1(net.bn(net.conv(x))) for x, _ in batches(*sizes)])
    for name, x in {"bn": first, "stages.0.0.bn1": second}.items():
        mean, variance = precise[name]
        torch.testing.assert_close(mean, x.mean((0, 2, 3)).double(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(variance, x.var((0, 2, 3), correction=0).double(), rtol=1e-4, atol=0)


def test_running_errors_are_root_mean_squares_over_channels():
    """Means are off in precise standard deviations; standard deviations by the logarithm of their ratio."""
    net = built()
    precise = diagnostics.precise_statistics(net, batches(16))
    mean, variance = precise["bn"]
    variance = variance + net.bn.epsilon
    net.bn.running_mean.copy_(mean + torch.tensor([0.1, -0.1, 0.3, -0.3]) * variance.sqrt())
    net.bn.running_var.copy_(variance * math.exp(2 * 0.2) - net.bn.epsilon)

    means, deviations = diagnostics.running_errors(net, precise)["bn"]

    assert means == pytest.approx(math.sqrt(0.05), rel=1e-4)
    assert deviations == pytest.approx(0.2, rel=1e-4)


@torch.no_grad()
def test_normalized_by_precise_statistics():
    """With precise statistics over one batch, evaluation mode computes of it what training mode does; then no more."""
    net = built()
    x = images(16)
    precise = diagnostics.precise_statistics(net, batches(16))
    before = net.eval()(x)

    with diagnostics.normalized_by(net, precise):
        measured = net.eval()(x)

    assert torch.equal(net.eval()(x), before)
    torch.testing.assert_close(measured, net.train()(x), rtol=1e-4, atol=1e-4)
    assert (measured - before).abs().max() > 1e-2


@pytest.mark.parametrize("net", NETS)
def test_any_net_can_be_looked_into(net):
    """Whatever its norm, order and shortcuts, a net gives a record a layer with a norm, and one a block."""
    made = built(**NETS[net])
    found = look(made)

    kinds = [record["kind"] for record in found]
    norms = bool(diagnostics.batch_norms(made))
    assert kinds == sorted(kinds, key=["layer", "block", "precise"].index)
    assert kinds.count("layer") == {"bottleneck": 10}.get(net, 7)
    assert kinds.count("block") == 3
    assert kinds.count("precise") == norms
    for record in found:
        if record["kind"] == "layer":
            assert record["response_std"] > 0
            assert all((record[f"running_{what}_error"] is not None) == norms for what in ("mean", "std"))
        if record["kind"] == "block":
            assert record["branch_share"] > 0


def test_layers_are_counted_by_their_convolutions():
    """A response stands at the number of its convolution, whose size is said: a bottleneck has one of 3x3 in three."""
    layers = [record for record in look(built(family="cifar-bottleneck")) if record["kind"] == "layer"]
    assert [record["layer"] for record in layers] == list(range(1, 11))
    assert [record["kernel"] for record in layers] == [3, *[1, 3, 1] * 3]

    # The first block takes its input as the stem leaves it; the last norm stands before the linear map.
    layers = [record for record in look(built(block_order="full-pre-activation")) if record["kind"] == "layer"]
    assert [record["layer"] for record in layers] == [1, 3, 4, 5, 6, 7, 8]
    assert [record["kernel"] for record in layers] == [3] * 6 + [None]


def test_errors_with_precise_statistics_are_counted():
    """The error with precise statistics is counted while they are in place."""
    net, seen = built(), []

    def count():
        seen.append(net.bn.running_mean.clone())
        return torch.tensor([8.0, 2.0, 4.0])

    *_, last = diagnostics.look(net, batches(5), batches(8, 8), count)

    assert last == {"kind": "precise", "test_error_pct": 25.0, "test_loss": 0.5}
    torch.testing.assert_close(seen[0].double(), diagnostics.precise_statistics(net, batches(8, 8))["bn"][0])


def test_what_is_not_finite_is_null():
    """A net that computes no numbers leaves nulls, which a record can hold."""
    net = built()
    with torch.no_grad():
        net.bn.weight.fill_(math.nan)

    found = look(net)

    assert found[1]["response_std"] is None
    assert all(not isinstance(v, float) or math.isfinite(v) for record in found for v in record.values())


@pytest.mark.parametrize("net", NETS)
def test_leaves_the_net_as_it_was(net):
    """Looking changes no weight, statistic, gradient, mode or option, leaves no hook, and draws nothing."""
    made = built(**NETS[net])
    (x, y), *_ = batches(8)
    F.cross_entropy(made(x), y).backward()
    made.stages[0].eval()

    def everything():
        tensors = [*made.state_dict().values(), *(p.grad for p in made.parameters() if p.grad is not None)]
        options = ("training", "fuse", "implementation", "track_running_stats", "momentum")
        modes = [[getattr(module, key, None) for key in options] for module in made.modules()]
        return [tensor.clone() for tensor in [*tensors, torch.get_rng_state()]], modes

    tensors, modes = everything()

    look(made)
    diagnostics.gradient_norms(made)

    after, modes_after = everything()
    assert all(torch.equal(one, other) for one, other in zip(tensors, after, strict=True))
    assert modes_after == modes
    assert not any(module._forward_pre_hooks for module in made.modules())


def test_a_failure_leaves_the_net_as_it_was():
    """An error in the middle of a pass takes the hooks away and puts the modes back, too."""
    net = built()
    with pytest.raises(RuntimeError):
        diagnostics.responses_and_shares(net, [(torch.ones(2, 4, 8, 8), torch.zeros(2))])

    assert net.training
    assert all(block.fuse for block in nets.blocks.blocks(net))
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_nothing_is_compiled_or_launched_for_it(monkeypatch):
    """Diagnostics compute by the eager definition, whatever the net is trained with."""
    net = built()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            monkeypatch.setattr(module, "implementation", "triton")
    monkeypatch.setitem(IMPLEMENTATIONS, "triton", None)

    assert look(net)
