"""The Triton kernels: how exact they are, and what holds to the last bit."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fused
from deeptwins.kernels.bn_relu_add.definition import ORDERS
from fused import Case
from pairwise import cross, label, pairwise

pytestmark = pytest.mark.usefixtures("triton")

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
CHANNELS = (1, 3, 16, 20, 63, 136)
POSITIONS = {2: (2, 1, 1), 49: (1, 7, 7), 127: (127, 1, 1), 128: (2, 8, 8), 129: (3, 1, 43)}
FEW = 3  # channels: with channels first each is a program of its own, for which the interpreter takes long
JOINS = list(itertools.product((True, False), ORDERS, (True, False), (True, False)))


def cases():
    """Pair channels, positions and dtypes; what else there is to choose changes from one to the next."""
    pairs = pairwise(cross(channels=CHANNELS, positions=POSITIONS.values(), dtype=DTYPES))
    for number, pair in enumerate(pairs):
        residual, order, fork, training = JOINS[number * 5 % 16]
        images, height, width = pair["positions"]
        shape = images, pair["channels"], height, width
        yield Case(shape, pair["dtype"], residual=residual, order=order, fork=fork, training=training)


def same(found, expected):
    """Tell whether two results are equal bit for bit, but for the sign of zeros and what a NaN holds."""
    assert found.keys() == expected.keys()
    return all(torch.equal(value.nan_to_num(123.0), expected[name].nan_to_num(123.0)) for name, value in found.items())


# --- how exact --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_errors_are_eager_s_or_smaller(case, device):
    """Measured against float64, no result is further off than eager's, or than what storing it rounds off."""
    fused.assert_as_exact_as_eager(case, device)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_errors_are_eager_s_or_smaller_with_channels_first(channels, dtype, device):
    """So it is with channels first in memory."""
    if device == "cpu" and channels > FEW:
        pytest.skip(f"the interpreter takes long for {channels} channels, each a program of its own")
    for number, (images, height, width) in enumerate(POSITIONS.values()):
        residual, order, fork, training = JOINS[(5 * number + channels) % 16]
        shape = images, channels, height, width
        fused.assert_as_exact_as_eager(
            Case(shape, dtype, last=False, residual=residual, order=order, fork=fork, training=training), device
        )


# The same examples every time: an implementation that is as exact as eager may yet be unlucky with one.
@settings(derandomize=True, max_examples=25)  # For as many the interpreter takes some seconds.
@given(
    case=st.builds(
        Case,
        shape=st.tuples(st.integers(2, 5), st.integers(1, 40), st.integers(1, 6), st.integers(1, 6)),
        dtype=st.sampled_from(DTYPES),
        last=st.booleans(),
        residual=st.booleans(),
        order=st.sampled_from(ORDERS),
        fork=st.booleans(),
        training=st.booleans(),
        eps=st.sampled_from([1e-5, 1e-3]),
        scale=st.floats(0.01, 100),
        seed=st.integers(0, 2**31),
    ),
    sigmas=st.floats(-10, 10),
)
def test_errors_are_eager_s_or_smaller_for_any_shape_scale_and_offset(case, sigmas, device):
    """So it is for whatever shape, scale and offset."""
    images, channels, *size = case.shape
    if not case.last and device == "cpu":
        channels = 1 + channels % FEW
    fused.assert_as_exact_as_eager(replace(case, shape=(images, channels, *size), offset=sigmas * case.scale), device)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("offset", [1e3, -3e3])
def test_values_far_from_zero_are_normalized_as_exactly_as_others(offset, last, device):
    """At 1000 and 3000 standard deviations from zero errors stay within the floor, far below eager's."""
    case = Case((8, 6, 5, 5), last=last, offset=offset, scale=1.0)

    for name, (error, floor) in fused.errors(case, "triton", device).items():
        assert error <= floor, name


@pytest.mark.parametrize("last", [True, False])
def test_an_outlier_in_front_does_no_harm(last, device):
    """That sums are measured from the first values costs nothing where these lie far from the others."""
    case = Case((16, 4, 6, 6), last=last, offset=1000.0, scale=1.0)
    x, *rest = case.tensors(device)
    x[0] = 0
    found, eager = (fused.run(case.module(implementation, device), x, *rest) for implementation in ("triton", "eager"))

    for name, (value, measure) in fused.reference(case.module("eager", device), x, *rest).items():
        assert fused.error(found[name], value, measure) <= max(fused.error(eager[name], value, measure), 4e-6), name


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_are_rounded_to_once(dtype, order, device):
    """Of y and the gradients next to no value differs from the exact one, rounded: nothing is rounded on the way."""
    case = Case((8, 8, 6, 6), dtype, order=order)
    found = fused.run(case.module("triton", device), *case.tensors(device))

    for name, (value, _) in fused.reference(case.module("eager", device), *case.tensors(device)).items():
        if name in {"y", "dx", "dr"}:
            assert (found[name] != value.to(dtype)).double().mean() < 0.01, name


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parameters_of_16_bits(dtype, training, device):
    """Weight, bias and running statistics may be of x's 16 bits; theirs is then the floor."""
    fused.assert_as_exact_as_eager(Case((3, 9, 4, 4), dtype, parameters=dtype, training=training), device)


# --- ReLU -------------------------------------------------------------------------------------------------------------

SPECIAL = (0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), -float("inf"), 2.0**-24, 2.0**-120, -(2.0**-130))


EPS = 2.0**-10


def identity(case, implementation, device):
    """Make a module that leaves x as it is, to the bit, but for the weight."""
    module = case.module(implementation, device)
    with torch.no_grad():
        module.running_mean.zero_()
        module.running_var.fill_(1 - EPS)
        if module.weight is not None:
            module.weight.fill_(1)
            module.bias.zero_()
    return module


@pytest.mark.parametrize("dtype", [torch.float64, *DTYPES])
@pytest.mark.parametrize(("residual", "order"), [(True, "add-relu"), (True, "relu-add"), (False, "add-relu")])
def test_zeros_and_what_is_not_finite_pass_as_in_eager(residual, order, dtype, device):
    """ReLU, and its gradient at exact zeros, at NaN and at infinities, are PyTorch's, for any two addends."""
    size = len(SPECIAL)
    case = Case((4, size, 1, size), dtype, residual=residual, order=order, training=False, eps=EPS)
    values = torch.tensor(SPECIAL, dtype=torch.float64, device=device).to(dtype)
    dy = values[torch.arange(4 * size * size, device=device) % (size - 3)].view(4, 1, size, size).transpose(1, 2)
    x, r, dy = (
        t.expand(case.shape).contiguous(memory_format=torch.channels_last)
        for t in (values.view(1, -1, 1, 1), values.view(1, 1, 1, -1), dy)
    )

    found, eager = (
        fused.run(identity(case, implementation, device), x, r if residual else None, dy)
        for implementation in ("triton", "eager")
    )

    assert same(found, eager)


@pytest.mark.parametrize("special", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [(0, 1, 0, 0), (1, 1, 2, 3)])
def test_what_is_not_finite_spoils_what_it_spoils_in_eager(place, special, device):
    """In training NaN and infinity in x, the residual or the gradient leave NaN, infinities and zeros as in eager."""
    case = Case((2, 3, 3, 5))
    for number in range(3):
        inputs = case.tensors(device)
        inputs[number][place] = special
        found, eager = (
            fused.run(case.module(implementation, device), *inputs) for implementation in ("triton", "eager")
        )

        for name, value in found.items():
            patterns = (torch.isnan, torch.isposinf, torch.isneginf, torch.logical_not)
            if device == "cuda" and name.startswith("running"):
                patterns = (torch.isfinite,)  # eager's kernels do not all make infinities of infinities
            for pattern in patterns:
                assert torch.equal(pattern(value), pattern(eager[name])), (number, name)


@pytest.mark.parametrize(("residual", "order"), [(True, "add-relu"), (True, "relu-add"), (False, "add-relu")])
@pytest.mark.parametrize(("dtype", "weight"), [(torch.float16, 2.0**-10), (torch.bfloat16, 2.0**-120)])
def test_what_is_stored_as_zero_gets_no_gradient(dtype, weight, residual, order, device):
    """ReLU decides by the value stored: what is positive, but rounds to zero in 16 bits, passes no gradient."""
    case = Case((2, 8, 2, 2), dtype, residual=residual, order=order, training=False, eps=EPS)
    x = torch.full(case.shape, 2.0**-16, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    x[0] = 2.0**10
    module = identity(case, "triton", device)
    module.weight.data.fill_(weight)

    found = fused.run(module, x, torch.zeros_like(x) if residual else None, torch.ones_like(x))

    assert found["y"][0].all()
    assert not found["y"][1].any()
    assert torch.equal(found["dx"], torch.where(found["y"] > 0, weight, 0.0).to(dtype))
    assert torch.equal(found["db"], torch.full_like(found["db"], 4.0))


# --- to the last bit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [True, False])
def test_results_repeat(last, device):
    """Ten runs give the same bits; in the interpreter, where one is like the other, two."""
    case = Case((5, 3, 9, 7), last=last, fork=True)
    expected = fused.run(case.module("triton", device), *case.tensors(device))

    for _ in range(9 if device == "cuda" else 1):
        assert same(fused.run(case.module("triton", device), *case.tensors(device)), expected)


@pytest.mark.parametrize("first", [0, 1])
def test_two_forwards_then_two_backwards(first, device):
    """A module called twice before it goes backward keeps apart what each backward needs, in either order."""
    case = Case(momentum=0.0)
    module = case.module("triton", device)
    inputs = [Case(momentum=0.0, seed=seed).tensors(device)[:3] for seed in range(2)]
    expected = [fused.run(case.module("triton", device), *tensors) for tensors in inputs]
    leaves = [(x.requires_grad_(), r.requires_grad_()) for x, r, _ in inputs]

    results = [module(*each) for each in leaves]
    for number in (first, 1 - first):
        module.zero_grad()
        results[number].backward(inputs[number][2])
        assert torch.equal(leaves[number][0].grad, expected[number]["dx"])
        assert torch.equal(leaves[number][1].grad, expected[number]["dr"])
        assert torch.equal(module.weight.grad, expected[number]["dw"])


@pytest.mark.parametrize("fork", [True, False])
def test_a_graph_that_is_kept_goes_backward_again(fork, device):
    """With retain_graph a second backward gives the bits of the first."""
    case = Case(fork=fork)
    module = case.module("triton", device)
    x, residual, dy, other = case.tensors(device)
    leaves = [x.requires_grad_(), residual.requires_grad_(), module.weight, module.bias]
    uses = module(x, residual, fork=fork)

    gradients = [dy, other] if fork else dy
    found = [torch.autograd.grad(uses, leaves, gradients, retain_graph=True) for _ in range(2)]

    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


FORKS = cross(
    arriving=[(True, True), (True, False), (False, True)],
    addition=[(residual, order) for residual in (True, False) for order in ORDERS],
    dtype=[torch.float32, torch.bfloat16],
)


@pytest.mark.parametrize("fork", pairwise(FORKS), ids=label)
def test_a_fork_sums_its_gradients(fork, device):
    """A result used twice goes backward as one whose gradient is the sum, rounded once, or the only one there is."""
    arriving, (residual, order), dtype = fork.values()
    case = Case(dtype=dtype, residual=residual, order=order, fork=True)
    x, r, dy, other = case.tensors(device)
    gradients = [gradient if arrives else None for gradient, arrives in zip((dy, other), arriving, strict=True)]
    total = dy + other if all(arriving) else next(each for each in gradients if each is not None)
    expected = fused.run(case.module("triton", device), x, r, total)
    module = case.module("triton", device)
    leaves = [t.requires_grad_() for t in (x, r) if t is not None]

    uses = module(x, r, fork=True)
    kept = [(y, gradient) for y, gradient in zip(uses, gradients, strict=True) if gradient is not None]
    torch.autograd.backward(*zip(*kept, strict=True))

    assert all(torch.equal(y, expected["y"]) for y in uses)
    found = [*(leaf.grad for leaf in leaves), module.weight.grad, module.bias.grad]
    names = ["dx", "dr", "dw", "db"] if residual else ["dx", "dw", "db"]
    assert all(torch.equal(gradient, expected[name]) for name, gradient in zip(names, found, strict=True))


class Nothing(torch.autograd.Function):
    """A sum that gives no gradient."""

    @staticmethod
    def forward(_ctx, y):
        """Sum."""
        return y.sum()

    @staticmethod
    def backward(_ctx, _dy):
        """Give nothing."""
        return


@pytest.mark.parametrize("fork", [True, False])
def test_where_no_gradient_arrives_none_leaves(fork, device):
    """Where no use of the result has a gradient, nothing gets one."""
    case = Case(fork=fork)
    x, residual, *_ = case.tensors(device)
    module = case.module("triton", device)
    uses = module(x.requires_grad_(), residual.requires_grad_(), fork=fork)

    sum(Nothing.apply(y) for y in (uses if fork else [uses])).backward()

    assert all(leaf.grad is None for leaf in (x, residual, module.weight, module.bias))
