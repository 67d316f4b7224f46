"""The operation batch normalization, addition, ReLU: what every implementation gives, and the module around it."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fused
from deeptwins.kernels import BNReLUAdd, bn_relu_add
from deeptwins.kernels.bn_relu_add.definition import ORDERS, unavailable
from fused import Case
from pairwise import cross, label, pairwise

JOINS = list(itertools.product((True, False), ORDERS, (True, False)))  # residual, order, fork
PARAMETERS = [(True, True), (True, False), (False, False)]  # weight, bias
CALLS = pairwise(cross(join=JOINS, parameters=PARAMETERS, training=(True, False), last=(True, False)))


def case_of(join, **options):
    """Give the case of a join."""
    residual, order, fork = join
    return Case(residual=residual, order=order, fork=fork, **options)


def definition(norm, x, residual=None, order="add-relu"):
    """Compose the operation from PyTorch's modules."""
    if residual is None:
        return F.relu(norm(x))
    return F.relu(norm(x) + residual) if order == "add-relu" else F.relu(norm(x)) + residual


def random(*shape, device="cpu", last=False, seed=0, **options):
    """Draw a tensor."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device, **options)
    return drawn.contiguous(memory_format=fused.FORMATS[last])


@pytest.mark.parametrize("call", CALLS, ids=label)
def test_every_implementation_gives_the_formulas(call, implementation, device):
    """In float64 results, gradients and running statistics are the formulas'; without weight or bias with 1 and 0."""
    join, (weight, bias), training, last = call.values()
    case = case_of(
        join, shape=(3, 4, 3, 2), dtype=torch.float64, weight=weight, bias=bias, training=training, last=last
    )

    found = fused.errors(case, implementation, device)

    assert ("dw" in found, "db" in found) == (weight, bias)
    for name, (error, least) in found.items():
        assert error <= least, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own, while it compiles
def test_the_compiled_one_does_so_too(device):
    """The implementation `compiled` gives the formulas at a join, running statistics included."""
    if reason := unavailable("compiled", device):
        pytest.skip(reason)

    fused.assert_as_exact_as_eager(Case((4, 8, 6, 6), fork=True), device, "compiled")


def test_auto_is_eager_on_the_cpu():
    """On a CPU the implementation `auto` is `eager`, bit for bit, and `eager` PyTorch's own modules."""
    x, residual = random(4, 3, 5, 5), random(4, 3, 5, 5, seed=1)
    for order in ORDERS:
        norm = nn.BatchNorm2d(3)
        expected = definition(norm, x, residual, order)
        for implementation in ("auto", "eager"):
            module = BNReLUAdd(3, order=order, implementation=implementation)
            assert torch.equal(module(x, residual), expected)
            assert torch.equal(module.running_var, norm.running_var)
            assert torch.equal(bn_relu_add(x, residual, training=True, order=order), expected)


# --- statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.3, 0.0, 1.0, None])
def test_running_statistics_are_batch_norm_s(momentum, implementation, device):
    """Over several batches they are `nn.BatchNorm2d`'s, of unbiased variances; without momentum, the batches' mean."""
    module = BNReLUAdd(2, momentum=momentum, implementation=implementation, device=device)
    norm = nn.BatchNorm2d(2, momentum=momentum, device=device)
    batches = [random(4, 2, 2, 5, device=device, seed=seed) * (seed + 1) + seed for seed in range(3)]

    for x in batches:
        module(x)
        norm(x)

    torch.testing.assert_close(module.state_dict(), norm.state_dict())
    assert module.num_batches_tracked.item() == 3
    if momentum is None:
        torch.testing.assert_close(module.running_mean, torch.stack([x.mean(fused.DIMS) for x in batches]).mean(0))
        torch.testing.assert_close(module.running_var, torch.stack([x.var(fused.DIMS) for x in batches]).mean(0))


def test_evaluation_takes_the_running_statistics_and_leaves_them(implementation, device):
    """Evaluation normalizes by the running statistics, and changes and counts nothing."""
    module = BNReLUAdd(3, implementation=implementation, device=device).eval()
    norm = nn.BatchNorm2d(3, device=device).eval()
    state = {"running_mean": random(3, device=device), "running_var": random(3, device=device).exp()}
    for each in (module, norm):
        each.load_state_dict(state, strict=False)
    x = random(2, 3, 4, 4, device=device, seed=1)

    for inputs in (x, x[:1, :, :1, :1]):
        torch.testing.assert_close(module(inputs), definition(norm, inputs))
    torch.testing.assert_close(module.state_dict(), norm.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
def test_without_running_statistics_each_batch_has_its_own(training, implementation, device):
    """With track_running_stats=False, also in evaluation, a batch is normalized by its own statistics."""
    module = BNReLUAdd(3, track_running_stats=False, implementation=implementation, device=device).train(training)
    x = random(4, 3, 2, 2, device=device) * 3 + 1

    torch.testing.assert_close(module(x), definition(nn.BatchNorm2d(3, device=device), x))
    assert set(module.state_dict()) == {"weight", "bias"}


def test_running_statistics_may_be_left_alone(implementation, device):
    """Training with track_running_stats set to False afterwards leaves the running statistics, and counts nothing."""
    module = BNReLUAdd(3, implementation=implementation, device=device)
    before = copy.deepcopy(module.state_dict())
    module.track_running_stats = False
    module(random(4, 3, 2, 2, device=device))

    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("join", JOINS)
def test_an_empty_batch_passes(join, training, implementation, device):
    """An empty batch gives an empty result and zero gradients, and leaves the running statistics; it is counted."""
    case = case_of(join, shape=(0, 3, 4, 2), training=training)
    module = case.module(implementation, device)
    before = copy.deepcopy(module.state_dict())

    found = fused.run(module, *case.tensors(device))

    assert all(found[name].shape == case.shape for name in ("y", "dx", *["dr"] * case.residual))
    assert not found["dw"].any()
    assert not found["db"].any()
    assert torch.equal(module.running_mean, before["running_mean"])
    assert torch.equal(module.running_var, before["running_var"])
    assert module.num_batches_tracked.item() == training


# --- memory -----------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "channels first": lambda t: t,
    "channels last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "some channels": lambda t: t[:, :2],
    "some channels, last": lambda t: t.contiguous(memory_format=torch.channels_last)[:, :2],
    "every other column": lambda t: t[..., ::2],
    "every other column, channels last": lambda t: t.contiguous(memory_format=torch.channels_last)[..., ::2],
    "expanded images": lambda t: t[:1].expand(t.shape),
    "expanded images, channels last": lambda t: t.contiguous(memory_format=torch.channels_last)[:1].expand(t.shape),
    "expanded channels": lambda t: t[:, :1].expand(t.shape),
    "expanded positions": lambda t: t[..., :1, :1].expand(t.shape),
    "transposed": lambda t: t.transpose(2, 3),
    "transposed, channels last": lambda t: t.contiguous(memory_format=torch.channels_last).transpose(2, 3),
    "images and channels exchanged": lambda t: t.transpose(0, 1),
    "one position": lambda t: t[..., :1, :1].contiguous(),
    "one column, channels last": lambda t: t.contiguous(memory_format=torch.channels_last)[..., :1],
    "one channel": lambda t: t[:, :1].contiguous(),
    "one channel of several, last": lambda t: t.contiguous(memory_format=torch.channels_last)[:, :1],
    "one image, channels last": lambda t: t[:1].contiguous(memory_format=torch.channels_last),
}


def strides(t):
    """Give the strides that matter: those along more than one element."""
    return [stride for size, stride in zip(t.shape, t.stride(), strict=True) if size > 1]


@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout_is_taken_and_given_as_eager_gives_it(name, triton, device):
    """Sliced, expanded and transposed inputs give eager's values, in eager's memory format."""
    found = {}
    for implementation in ("eager", triton):
        x, residual, dy = (LAYOUTS[name](random(4, 3, 2, 6, device=device, seed=seed)) for seed in range(3))
        module = BNReLUAdd(x.shape[1], implementation=implementation, device=device)
        found[implementation] = fused.run(module, x, residual, dy)

    for eager, other in zip(found["eager"].values(), found[triton].values(), strict=True):
        torch.testing.assert_close(other, eager, rtol=1e-4, atol=1e-5)
    assert strides(found[triton]["y"]) == strides(found["eager"]["y"])
    assert strides(found[triton]["dx"]) == strides(found["eager"]["dx"])


def test_tensors_of_different_layouts_mix(triton, device):
    """The residual and the gradient may lie otherwise in memory than x."""
    case = Case((3, 4, 4, 2))
    x, residual, dy, _ = case.tensors(device)
    expected = fused.run(case.module(triton, device), x, residual, dy)

    found = fused.run(case.module(triton, device), x, residual.contiguous(), dy[:1, :1].expand(dy.shape) * 0 + dy)
    mixed = fused.run(case.module(triton, device), x, LAYOUTS["channels first"](residual), dy.contiguous())

    for name, value in expected.items():
        assert torch.equal(found[name], value)
        assert torch.equal(mixed[name], value)


@pytest.mark.parametrize("training", [True, False])
def test_statistics_and_parameters_may_be_slices(training, triton, device):
    """Weight, bias and running statistics that are every other element of a tensor are read and written as such."""
    names = ("weight", "bias", "running_mean", "running_var")
    wide = [random(6, device=device, seed=seed).abs() + 0.1 for seed in range(4)]
    rest = [t[1::2].clone() for t in wide]
    found = []
    for chosen, tensors in (("eager", [t[::2].clone() for t in wide]), (triton, [t[::2] for t in wide])):
        x = random(4, 3, 2, 2, device=device).requires_grad_()
        leaves = [x, *(t.detach().requires_grad_() for t in tensors[:2])]
        of_channels = dict(zip(names, [*leaves[1:], *tensors[2:]], strict=True))
        y = bn_relu_add(x, training=training, implementation=chosen, **of_channels)
        found.append([y, *torch.autograd.grad(y.square().sum(), leaves), *tensors[2:]])

    torch.testing.assert_close(*found)
    assert all(torch.equal(t[1::2], kept) for t, kept in zip(wide, rest, strict=True))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("training", [True, False])
def test_the_residual_may_be_x(order, training, implementation, device):
    """bn(x) + x gives x both gradients; y is memory of its own."""
    case = Case(dtype=torch.float64, order=order, training=training)
    module = case.module(implementation, device)
    x, _, dy, _ = case.tensors(device)
    expected = {name: value for name, (value, _) in fused.reference(module, x, x, dy).items()}
    leaf = x.clone().requires_grad_()

    y = module(leaf, leaf)
    y.backward(dy)

    assert y.untyped_storage().data_ptr() != leaf.untyped_storage().data_ptr()
    assert torch.equal(leaf, x)
    torch.testing.assert_close(y.detach(), expected["y"])
    torch.testing.assert_close(leaf.grad, expected["dx"] + expected["dr"])


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanting", [(), ("x",), ("residual",), ("weight",), ("bias",), ("weight", "residual")])
@pytest.mark.parametrize("fork", [True, False])
def test_gradients_go_where_they_are_wanted(wanting, fork, implementation, device):
    """What requires a gradient gets the one it would get if all did; what does not gets none, and nor does y then."""
    case = Case(fork=fork)
    module = case.module(implementation, device)
    x, residual, dy, other = case.tensors(device)
    leaves = {"x": x, "residual": residual, "weight": module.weight, "bias": module.bias}
    for leaf in leaves.values():
        leaf.detach_()
    expected = fused.run(case.module(implementation, device), *case.tensors(device))
    for name, leaf in leaves.items():
        leaf.requires_grad_(name in wanting)

    found = module(x, residual, fork=fork)
    uses = found if fork else (found,)

    assert all(y.requires_grad == bool(wanting) for y in uses)
    if wanting:
        torch.autograd.backward(uses, [dy, other][: len(uses)])
    names = {"x": "dx", "residual": "dr", "weight": "dw", "bias": "db"}
    for name, leaf in leaves.items():
        assert (leaf.grad is not None) == (name in wanting)
        assert leaf.grad is None or torch.equal(leaf.grad, expected[names[name]])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_without_gradients(mode, implementation, device):
    """Without gradients, as when statistics are calibrated, y and the running statistics are as with them."""
    case = Case(fork=True)
    x, residual, *_ = case.tensors(device)
    module, other = case.module(implementation, device), case.module(implementation, device)
    expected = module(x, residual)

    with mode():
        uses = other(x, residual, fork=True)

    assert all(torch.equal(y, expected) for y in uses)
    torch.testing.assert_close(other.state_dict(), module.state_dict(), rtol=0, atol=0)
    assert not any(y.requires_grad for y in uses)


@pytest.mark.parametrize("residual_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("order", ORDERS)
def test_autocast(order, residual_dtype, implementation, device):
    """Under autocast y has the dtype of x, the convolution's, and the residual is cast to it; gradients follow."""
    torch.manual_seed(0)
    convolution, module = nn.Conv2d(3, 4, 3), BNReLUAdd(4, order=order, implementation=implementation)
    convolution, module = convolution.to(device), module.to(device)
    residual = random(2, 4, 4, 4, device=device, dtype=residual_dtype).requires_grad_()

    with torch.autocast(device, torch.bfloat16):
        y = module(convolution(random(2, 3, 6, 6, device=device)), residual)
    y.float().square().sum().backward()

    assert y.dtype == torch.bfloat16
    assert residual.grad.dtype == residual_dtype
    assert module.weight.grad.dtype == convolution.weight.grad.dtype == torch.float32
    assert all(t.grad.abs().max() > 0 for t in (module.weight, module.bias, residual))
