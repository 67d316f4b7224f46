"""A step, op by op: who calls what, what it must move and compute, and that watching changes nothing."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch

import tiny
from deeptwins.kernels.bn_relu_add.definition import unavailable
from deeptwins.nets.inspection import trace
from deeptwins.profile import ops as profile_ops
from deeptwins.profile.ops import Call, Profiled, Spent
from deeptwins.records.profiles import PARTS
from deeptwins.train import training


def profiled(dataset, net, steps=1):
    """Profile the last of some steps of a tiny net; returns its run, its ops and what trained it."""
    run = tiny.run_with(net=net)
    trained = training.Training(run, dataset, tiny.CPU)
    for _ in range(steps - 1):
        trained.step()
    step = profile_ops.profiled(trained.step, trained.twins["net"].net, tiny.CPU)
    return run, step.ops, trained


@pytest.fixture(scope="module")
def first_step(dataset):
    """Profile the first step of a tiny net with some fields, once for each net."""
    return cache(lambda **net: profiled(dataset, net))


NETS = [
    {"shortcut": "none"},
    {"shortcut": "zero-pad"},
    {"shortcut": "projection"},
    {"shortcut": "zero-pad", "block_order": "full-pre-activation"},
    {"shortcut": "shortcut-gate"},
    {"shortcut": "zero-pad", "norm": "scalar", "initialization": "fixup"},
]


@pytest.mark.parametrize("net", [net for net in NETS if net.get("norm") != "scalar"], ids=str)
def test_flops_by_layer_are_three_forwards(dataset, first_step, net):
    """Backward costs two of a layer's forward passes, its input's gradient and its weights'; the stem has no first."""
    run, ops, _ = first_step(**net)
    layers = trace(run.twins["net"], dataset.image, dataset.classes)
    flops = {}
    for call, _ in ops:
        key = call.layer, call.direction
        flops[key] = flops.get(key, 0) + call.flops

    for layer in layers:
        if layer.flops:
            forward = layer.flops * run.recipe.batch_size
            backward = forward if layer.name == "conv" else 2 * forward
            assert flops[layer.name, "forward"] == forward
            assert flops[layer.name, "backward"] == backward
    assert sum(flops.values()) == run.recipe.batch_size * sum(
        layer.flops * (2 if layer.name == "conv" else 3) for layer in layers
    )


@pytest.mark.parametrize("net", NETS, ids=str)
def test_every_op_has_a_place(dataset, first_step, net):
    """An op of a step belongs to a module of the net, both ways, or to a named part of the step, and took time."""
    run, ops, trained = first_step(**net)
    modules = {name for name, _ in trained.twins["net"].net.named_modules()} - {""}

    assert {call.layer for call, _ in ops} <= modules | {*PARTS} | {"ending"}
    weighted = {layer.name for layer in trace(run.twins["net"], dataset.image, dataset.classes) if layer.flops}
    for way in ("forward", "backward"):
        assert weighted <= {call.layer for call, _ in ops if call.direction == way}
    assert all(spent.time_us > 0 and spent.kernels for _, spent in ops)


def test_the_parts_of_a_step_come_in_order(first_step):
    """Batch, forward, loss, backward, optimizer, running sums."""
    _, ops, _ = first_step(shortcut="zero-pad")
    phases = []
    for call, _ in ops:
        phase = call.layer if call.layer in PARTS else "net"
        if [phase, call.direction] not in phases[-1:]:
            phases.append([phase, call.direction])

    assert phases == [
        ["batch", "forward"], ["net", "forward"], ["loss and sums", "forward"], ["loss and sums", "backward"],
        ["net", "backward"], ["optimizer", "optimizer"], ["loss and sums", "forward"],
    ]  # fmt: skip


def test_kinds_of_work(first_step):
    """A residual net's step has every kind of work of an eager net; only its joins add."""
    _, ops, _ = first_step(shortcut="zero-pad")
    of_layer = {(call.layer, call.direction): call.kind for call, _ in ops if call.op == "convolution"}

    assert {*of_layer.values()} == {"convolution"}
    assert {call.kind for call, _ in ops} == {
        "batch", "convolution", "normalization", "ReLU", "addition", "shortcut", "pooling and linear map",
        "loss and sums", "optimizer", "other",
    }  # fmt: skip
    joins = [call.layer for call, _ in ops if call.kind == "addition" and call.direction == "forward"]
    assert joins == [f"stages.{i}.0.bn2" for i in range(3)]


def test_a_plain_net_adds_nothing(first_step):
    """Without shortcuts there is no addition, forward or backward; a batch counter is none."""
    _, ops, _ = first_step(shortcut="none")

    assert not [call for call, _ in ops if call.kind in {"addition", "shortcut"}]


@pytest.mark.parametrize("net", [{"shortcut": "zero-pad"}, {"shortcut": "zero-pad", "survival": 0.5}], ids=str)
def test_watching_changes_no_weight(dataset, net):
    """Steps that are profiled leave the weights, sums and momenta that others leave, bit for bit."""
    _, _, watched = profiled(dataset, net, steps=3)
    alone = training.Training(watched.run, dataset, tiny.CPU)
    for _ in range(3):
        alone.step()
    watched.step()  # nothing is left behind that would see this one
    alone.step()

    for (name, ours), theirs in zip(
        watched.twins["net"].net.state_dict().items(), alone.twins["net"].net.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert torch.equal(watched.twins["net"].seen, alone.twins["net"].seen)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in watched.twins["net"].net.modules())


def test_the_fused_op_is_one(dataset):
    """Where the fused operation runs, its forward and backward calls stand at the layer whose norm it is."""
    if unavailable("triton", "cpu"):
        pytest.skip("needs Triton's interpreter")
    _, ops, _ = profiled(dataset, {"shortcut": "zero-pad", "fused_op": "triton"})

    fused = {
        (call.layer, call.direction): call.op for call, _ in ops if call.kind == "fused BN-ReLU-add" and call.moved
    }
    for layer in ("bn", "stages.0.0.bn1", "stages.2.0.bn2"):
        assert fused[layer, "forward"] == "bn_relu_add"
        assert fused[layer, "backward"] == "bn_relu_add_backward"


def event(name, children=(), kernels=(), own_us=0.0):
    """Make what the profiler says of a range."""
    launched = [SimpleNamespace(name=kernel, duration=us) for kernel, us in kernels]
    return SimpleNamespace(name=name, cpu_children=children, kernels=launched, self_cpu_time_total=own_us)


CALL = Call("conv", "forward", "convolution", 1000, 0)


def test_on_a_gpu_kernels_count():
    """Time and launches are those of the kernels that a range launched, however deep; its own shadow is none."""
    inner = event("aten::cudnn_convolution", kernels=[("conv", 7.0), ("transpose", 2.0)], own_us=50)
    outer = event(
        "deeptwins::op 0", [event("aten::convolution", [inner], own_us=9)], [("deeptwins::op 0", 99), ("fill", 1.0)]
    )

    spent = profile_ops._spent(outer, CALL, torch.device("cuda"))

    assert (spent.time_us, spent.launches) == (10.0, 3)
    assert sorted(spent.kernels) == [("conv", 7.0), ("fill", 1.0), ("transpose", 2.0)]


@pytest.mark.gpu
def test_a_step_on_a_gpu_is_taken_apart(dataset):
    """On a device, too, every convolution is found in its layer, has launched kernels, and takes time of the step."""
    cuda = torch.device("cuda")
    run = tiny.run_with(net={"shortcut": "zero-pad"})
    trained = training.Training(run, dataset, cuda, capture=False)
    trained.step()

    step = profile_ops.profiled(trained.step, trained.twins["net"].net, cuda)

    convolutions = [(call, spent) for call, spent in step.ops if call.kind == "convolution"]
    layers = {layer.name for layer in trace(run.twins["net"], dataset.image, 10) if layer.kind.endswith("Conv2d")}
    for direction in ("forward", "backward"):
        assert {call.layer for call, _ in convolutions if call.direction == direction} == layers
    assert all(spent.launches and spent.time_us for _, spent in convolutions)
    assert sum(spent.time_us for _, spent in step.ops) < 1e6 * step.seconds


def test_on_a_cpu_own_times_count():
    """Time is that of the op below the range, split among the ops that it calls; a call that moves is a launch."""
    inner = event("aten::mkldnn_convolution", own_us=50)
    outer = event("deeptwins::op 0", [event("aten::convolution", [inner], own_us=9)], own_us=1000)

    spent = profile_ops._spent(outer, CALL, torch.device("cpu"))

    assert spent == Spent(59, 1, (("convolution", 9), ("mkldnn_convolution", 50)))


def test_medians_over_steps():
    """Calls of an op are summed up in a step, then the median over steps is taken; a dropped block's op counts as 0."""

    def step(*times):
        return Profiled(1.0, [(CALL, Spent(us, 2, (("k", us),))) for us in times])

    once = Profiled(1.0, [(Call("conv", "backward", "convolution", 10, 0), Spent(1, 1, ()))])
    ops, kernels = profile_ops.sums([step(1, 2), step(5, 6), step(100, 1), once], lambda moved, _: moved * 1e-6)

    total = ops["conv", "forward", "convolution", "convolution"]
    assert (total.time_us, total.calls, total.launches, total.roofline_us) == (7, 2, 4, pytest.approx(2000))
    assert kernels["convolution", "k"].time_us == 7
    assert ops["conv", "backward", "other", "convolution"].time_us == 0
