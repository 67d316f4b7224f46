"""Derivatives of every kind and order, and transforms of every kind: as through PyTorch's own modules."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.autograd import forward_ad
from torch.fx.experimental.optimization import fuse
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from deeptwins.kernels import BNReLUAdd, bn_relu_add
from fused import Case
from fused_net import Net, trained

# residual, order, fork
SITES = [(True, "add-relu", False), (True, "add-relu", True), (False, "add-relu", True), (True, "relu-add", False)]


def arguments(case, device):
    """Give x, the residual, weight and bias, those that there are."""
    module, (x, residual, *_) = case.module("eager", device), case.tensors(device)
    parameters = [p.detach() for p in (module.weight, module.bias)]
    return [x, *([residual] if case.residual else []), *parameters]


def operation(case, implementation, device):
    """Give the operation as a function of these, with the running statistics left alone; a fork's uses are summed."""
    module = case.module(implementation, device)
    module.track_running_stats = not case.training

    def called(x, *rest):
        *residual, weight, bias = rest
        uses = torch.func.functional_call(module, {"weight": weight, "bias": bias}, (x, *residual), {"fork": case.fork})
        return uses[0] + uses[1].sin() if case.fork else uses

    return called


def composition(case, device):
    """Give the same, composed from PyTorch's functions."""
    module = case.module("eager", device)
    statistics = (None, None) if case.training else (module.running_mean, module.running_var)

    def called(x, *rest):
        *residual, weight, bias = rest
        y = F.batch_norm(x, *statistics, weight, bias, case.training, 0.1, case.eps)
        y = F.relu(sum(residual, y)) if case.order == "add-relu" else sum(residual, F.relu(y))
        return y + y.sin() if case.fork else y

    return called


# --- ways to a derivative ---------------------------------------------------------------------------------------------


def leaves_of(inputs):
    """Copy them as leaves of a graph."""
    return [t.clone().requires_grad_() for t in inputs]


def directions(inputs):
    """Give a direction for each of them."""
    return tuple((t + torch.arange(t.numel(), device=t.device).view_as(t)).cos() for t in inputs)


def cubed(f):
    """Give a number of the function's result, which is not linear in it."""
    return lambda *inputs: f(*inputs).pow(3).sum()


def penalized(f, inputs, number=torch.sum):
    """Give gradients and those of a penalty on them."""
    leaves = leaves_of(inputs)
    gradients = torch.autograd.grad(number(f(*leaves)), leaves, create_graph=True)
    penalty = sum(g.sin().sum() for g in gradients)
    return gradients, torch.autograd.grad(penalty, leaves, allow_unused=True, materialize_grads=True)


def backward(f, inputs):
    """Let gradients gather in leaves."""
    leaves = leaves_of(inputs)
    cubed(f)(*leaves).backward()
    return [t.grad for t in leaves]


def dual(f, inputs):
    """Go forward with tangents, and backward through the tangent."""
    leaves = leaves_of(inputs)
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(*pair) for pair in zip(leaves, directions(inputs), strict=True)]
        y, tangent = forward_ad.unpack_dual(f(*duals))
        return y, tangent, torch.autograd.grad(tangent.sin().sum(), leaves)


def dual_gradient(f, inputs):
    """Go backward with a gradient that has a tangent, through a graph that has none."""
    leaves = leaves_of(inputs)
    with forward_ad.dual_level():
        y = f(*leaves)
        dy = forward_ad.make_dual(*directions([y.detach(), y.detach() + 1]))
        return [forward_ad.unpack_dual(g).tangent for g in torch.autograd.grad(y, leaves, dy)]


def batched_gradients(f, inputs):
    """Go backward with several gradients at once."""
    leaves = leaves_of(inputs)
    y = f(*leaves)
    dy = torch.stack(directions([y.detach(), y.detach() + 1]))
    return torch.autograd.grad(y, leaves, dy, is_grads_batched=True)


def functional(name, **options):
    """Give a function of torch.autograd.functional, applied to the operation or to a number of its result."""
    transform = getattr(torch.autograd.functional, name)

    def way(f, inputs):
        inputs = tuple(inputs)
        if name in {"hessian", "hvp", "vhp"}:
            f = cubed(f)
        if name in {"jacobian", "hessian"}:
            return transform(f, inputs, **options)
        return transform(f, inputs, inputs[0].sin() if name == "vjp" else directions(inputs), **options)

    return way


def stacked(t):
    """Make two of one."""
    return torch.stack([t, t.flip(0)])


def mapped(f, inputs, which):
    """Map over these inputs, by number."""
    over = tuple(0 if i in which else None for i in range(len(inputs)))
    return torch.func.vmap(f, over)(*(t if i is None else stacked(t) for t, i in zip(inputs, over, strict=True)))


def all_of(inputs):
    """Number the inputs."""
    return tuple(range(len(inputs)))


WAYS = {
    "penalty": penalized,
    "penalty, not linear": lambda f, a: penalized(f, a, lambda y: y.pow(3).sum()),
    "penalty, checkpointed": lambda f, a: penalized(lambda *t: checkpoint(f, *t, use_reentrant=False), a),
    "checkpoint, reentrant": lambda f, a: backward(lambda *t: checkpoint(f, *t, use_reentrant=True), a),
    "forward mode": dual,
    "forward mode, backward": dual_gradient,
    "batched gradients": batched_gradients,
    "jvp": functional("jvp", strict=True),
    "vjp": functional("vjp", strict=True),
    "jacobian": functional("jacobian", vectorize=True),
    "jacobian, forward": functional("jacobian", vectorize=True, strategy="forward-mode"),
    "hessian": functional("hessian", strict=True),
    "hessian, forward": functional("hessian", vectorize=True, outer_jacobian_strategy="forward-mode"),
    "hvp": functional("hvp"),
    "vhp": functional("vhp"),
    "func.grad": lambda f, a: torch.func.grad(cubed(f), all_of(a))(*a),
    "func.vjp": lambda f, a: torch.func.vjp(f, *a)[1](a[0].sin()),
    "func.jvp": lambda f, a: torch.func.jvp(f, tuple(a), directions(a)),
    "func.jacrev": lambda f, a: torch.func.jacrev(f, all_of(a))(*a),
    "func.jacfwd": lambda f, a: torch.func.jacfwd(f, all_of(a))(*a),
    "func.hessian": lambda f, a: torch.func.hessian(cubed(f), all_of(a))(*a),
    "func.linearize": lambda f, a: torch.func.linearize(f, *a)[1](*directions(a)),
    "func.functionalize": lambda f, a: torch.func.functionalize(f)(*a),
    "vmap": lambda f, a: mapped(f, a, range(4)),
    "vmap, of x": lambda f, a: mapped(f, a, [0]),
    "vmap, of the residual": lambda f, a: mapped(f, a, [1]),  # or of the weight
    "vmap, of gradients": lambda f, a: mapped(torch.func.grad(cubed(f), all_of(a)), a, [1]),
}


# Each way at another site, by turns.
TURNS = [(way, SITES[i % 4], i % 3 > 0) for i, way in enumerate(WAYS)]


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # of PyTorch's own forward mode
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr:UserWarning")  # of linearize itself
@pytest.mark.parametrize(("way", "site", "training"), TURNS, ids=list(WAYS))
@pytest.mark.usefixtures("triton")
def test_every_way_to_a_derivative_gives_what_pytorch_s_modules_give(way, site, training, device):
    """Gradients of gradients, forward mode, torch.autograd.functional and torch.func give the composition's values."""
    residual, order, fork = site
    case = Case((2, 2, 2, 1), torch.float64, residual=residual, order=order, fork=fork, training=training)
    inputs = arguments(case, device)

    expected = tree_leaves(WAYS[way](composition(case, device), inputs))
    found = tree_leaves(WAYS[way](operation(case, "triton", device), inputs))

    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert any(t.any() for t in found)


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.usefixtures("triton")
def test_second_derivatives_are_derivatives(fork, device):
    """In float64 second derivatives are the derivatives, found numerically, of the first, by all there is."""
    case = Case((2, 1, 2, 1), torch.float64, fork=fork)
    leaves = [t.requires_grad_() for t in arguments(case, device)]

    assert torch.autograd.gradgradcheck(operation(case, "triton", device), leaves, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("site", SITES, ids=str)
@pytest.mark.usefixtures("triton")
def test_a_graph_of_gradients_does_not_change_them(site, dtype, device):
    """With create_graph gradients are those of the kernels, far from zero and in 16 bits too, but for rounding."""
    residual, order, fork = site
    case = Case((4, 3, 3, 3), dtype, residual=residual, order=order, fork=fork, offset=50.0)
    module, (x, r, *gradients) = case.module("triton", device), case.tensors(device)
    leaves = [x.requires_grad_(), *([r.requires_grad_()] if residual else []), module.weight, module.bias]
    uses = module(x, r, fork=fork)

    once, again = (
        torch.autograd.grad(uses, leaves, gradients if fork else gradients[0], retain_graph=True, create_graph=graph)
        for graph in (False, True)
    )

    assert [any(g.requires_grad for g in some) for some in (once, again)] == [False, True]
    for one, other in zip(once, again, strict=True):
        assert (one.dtype, one.stride()) == (other.dtype, other.stride())
        torch.testing.assert_close(
            other.detach(), one, rtol=0, atol=4 * torch.finfo(dtype).eps * one.abs().max().item()
        )


@pytest.mark.parametrize(
    "frozen", [(), ("weight",), ("weight", "bias"), ("x", "residual"), ("residual", "weight", "bias")]
)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(1, 3, 2, 1), (0, 3, 2, 2)])
@pytest.mark.usefixtures("triton")
def test_penalties_of_frozen_modules_and_small_batches(shape, training, frozen, device):
    """What is frozen, and a batch of one image or none, leaves a penalty of gradients as with PyTorch's modules."""
    case = Case(shape, torch.float64, training=training)
    names = ("x", "residual", "weight", "bias")
    found = []
    for f in (operation(case, "triton", device), composition(case, device)):
        inputs = dict(zip(names, arguments(case, device), strict=True))
        leaves = [t.requires_grad_() for name, t in inputs.items() if name not in frozen]
        gradients = torch.autograd.grad(f(*inputs.values()).sum(), leaves, create_graph=True)
        penalty = sum(g.square().sum() for g in gradients)
        found.append([*gradients, *torch.autograd.grad(penalty, leaves, allow_unused=True, materialize_grads=True)])

    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("triton")
def test_the_residual_s_own_gradient_may_be_a_constant(device):
    """That the residual's gradient does not depend on the residual is said by PyTorch itself, in strict mode."""
    case = Case((2, 3, 2, 2), torch.float64)
    x, residual, weight, bias = arguments(case, device)
    f = operation(case, "triton", device)

    with pytest.raises(RuntimeError, match="independent of"):
        torch.autograd.functional.hessian(lambda r: f(x, r, weight, bias).sum(), residual, strict=True)


def test_residuals_are_mapped_over_alone(implementation, device):
    """torch.func.vmap over the residual alone, or over x alone, gives the result of each."""
    case = Case((2, 3, 2, 2), torch.float64)
    x, residual, *parameters = arguments(case, device)
    f = operation(case, implementation, device)

    ours = torch.func.vmap(lambda r: f(x, r, *parameters))(stacked(residual))
    theirs = torch.func.vmap(lambda t: f(t, residual, *parameters))(stacked(x))

    torch.testing.assert_close(ours, torch.stack([f(x, r, *parameters) for r in stacked(residual)]))
    torch.testing.assert_close(theirs, torch.stack([f(t, residual, *parameters) for t in stacked(x)]))


def batch(device):
    """Draw a few images."""
    x = torch.randn(2, 3, 3, 2, generator=torch.Generator().manual_seed(1))
    return x.to(device).contiguous(memory_format=torch.channels_last)


# --- graphs -----------------------------------------------------------------------------------------------------------


def test_torch_fx_takes_the_module_for_a_leaf(implementation, device):
    """A net traced by torch.fx has the modules as nodes: it trains, evaluates and is pickled as the net itself."""
    x = batch(device)
    nets = [Net(implementation).to(device) for _ in range(2)]
    traced = fx.symbolic_trace(nets[1])

    assert [node.target for node in traced.graph.nodes if node.op == "call_module" and "tails" in node.target] == [
        f"tails.{i}" for i in range(3)
    ]
    torch.testing.assert_close(trained(traced, traced, x), trained(nets[0], nets[0], x))
    for each in (nets[0], traced):
        each.eval()
    fused_net = fuse(traced)  # convolutions with batch normalization alone
    for each in (traced, fused_net, pickle.loads(pickle.dumps(traced))):  # noqa: S301  our own bytes
        torch.testing.assert_close(each(x), nets[0](x))


def test_torch_fx_traces_it_inside_of_modules_only(implementation):
    """By itself neither the module nor the function is traced by torch.fx, and each says so."""
    with pytest.raises(fx.proxy.TraceError, match="as a part of other modules"):
        fx.symbolic_trace(BNReLUAdd(3, implementation=implementation))
    with pytest.raises(TypeError, match="'x' must be Tensor, not Proxy"):
        fx.symbolic_trace(lambda x: bn_relu_add(x, training=True, implementation=implementation))


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(
    "replaced",
    [
        lambda module: nn.utils.fuse_conv_bn_eval(nn.Conv2d(3, 3, 1).eval(), module),
        nn.SyncBatchNorm.convert_sync_batchnorm,
        lambda module: nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(module)),
    ],
    ids=["fuse", "convert", "convert inside"],
)
def test_nothing_takes_the_place_of_the_module(replaced, affine):
    """What would put batch normalization alone in its place, and drop addition and ReLU, is refused."""
    with pytest.raises(TypeError, match="also adds and rectifies"):
        replaced(BNReLUAdd(3, affine=affine).eval())


def test_epsilon_is_what_eps_is_set_to():
    """What sets `eps` of all batch normalizations changes what is added to the variance, also in what is printed."""
    module, plain = BNReLUAdd(3).eval(), nn.BatchNorm2d(3, eps=0.5).eval()
    module.eps = 0.5
    x = torch.randn(2, 3, 2, 2)

    torch.testing.assert_close(module(x), plain(x).relu())
    torch.testing.assert_close(module.normalize(x), plain(x))
    assert "eps=0.5" in module.extra_repr()


@pytest.mark.usefixtures("triton")
def test_an_exported_net_trains_as_the_net_itself(device):
    """A net exported by torch.export has the net's values, gradients and running statistics, forks included."""
    x = batch(device)
    nets = [Net("triton").to(device) for _ in range(2)]

    exported = torch.export.export(nets[1], (x,), strict=True).module()

    named = []
    for net in (exported, nets[0]):
        y, *rest = trained(net, net, x)
        names = (name for name, _ in (*net.named_parameters(), *net.named_buffers()))
        named.append({"y": y, **dict(zip(names, rest, strict=True))})
    torch.testing.assert_close(*named)


@pytest.mark.usefixtures("triton")
def test_what_was_traced_without_gradients_still_has_them(device):
    """A graph traced under no_grad gives, called outside, the gradients of the operation."""
    case = Case((2, 3, 2, 2), torch.float64, fork=True)
    inputs = arguments(case, device)
    f = operation(case, "triton", device)
    with torch.no_grad():
        traced = make_fx(f)(*inputs)

    found, expected = (functional("vjp")(each, inputs) for each in (traced, f))

    torch.testing.assert_close(found, expected)
