"""The Triton kernels as an operator of PyTorch: what autograd, compilers, graphs and processes make of it."""

import os
import shutil
from multiprocessing import get_context

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fused
from fused import Case
from fused_net import Net, batch_of, process, trained

FORWARD = "deeptwins::bn_relu_add"


def operator():
    """Give the operator, loaded with Triton."""
    pytest.importorskip("deeptwins.kernels.bn_relu_add.operator", reason="Triton exists for Linux")
    return torch.ops.deeptwins.bn_relu_add.default


def arguments(case, device, *, wanted=True, view=None):
    """Give the operator's arguments, in its order."""
    module = case.module("triton", device)
    x, residual, *_ = case.tensors(device)
    x = x if view is None else view(x)
    residual = None if residual is None or view is not None else residual.requires_grad_(wanted)
    parameters = [p if p is None else p.detach().requires_grad_(wanted) for p in (module.weight, module.bias)]
    statistics = (module.running_mean, module.running_var, module.num_batches_tracked) if case.training else (
        module.running_mean, module.running_var, None,
    )  # fmt: skip
    return (
        x.requires_grad_(wanted), residual, *parameters, *statistics, case.training, case.momentum, case.eps,
        case.order == "relu-add" and case.residual, case.fork, wanted,
    )  # fmt: skip


VARIANTS = {
    "join": {},
    "forked join, bfloat16": {"fork": True, "dtype": torch.bfloat16},
    "no residual, cumulative": {"residual": False, "momentum": None},
    "forked, no residual, channels first": {"residual": False, "fork": True, "last": False},
    "relu-add, without parameters": {"order": "relu-add", "weight": False, "bias": False},
    "evaluation, bfloat16, channels first": {"training": False, "dtype": torch.bfloat16, "last": False},
}
JOINS = {
    "join": {},
    "forked join": {"fork": True},
    "no residual": {"residual": False},
    "relu-add": {"order": "relu-add"},
    "evaluation": {"training": False},
}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # of PyTorch's check itself
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.usefixtures("triton")
def test_the_operator_is_what_it_says(variant, device):
    """PyTorch's own checks of the schema, the gradient, the fake and of tracing pass for every variant."""
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    case = Case((3, 3, 2, 3), **VARIANTS[variant])

    torch.library.opcheck(operator(), arguments(case, device), test_utils=tests)


@pytest.mark.usefixtures("triton")
def test_the_operator_without_gradients_is_what_it_says(device):
    """So they do where nothing requires a gradient, and for inputs with gaps."""
    torch.library.opcheck(operator(), arguments(Case((3, 5, 3, 3)), device, wanted=False))
    for view in (lambda t: t[:, 1:4, ::2], lambda t: t.contiguous()[..., 1:], lambda t: t[:1].expand(t.shape)):
        case = Case((3, 5, 3, 3))
        x, *rest = arguments(case, device, view=view)
        rest[1:5] = [t[: x.shape[1]].detach() for t in rest[1:5]]
        torch.library.opcheck(operator(), (x.detach(), *rest), test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("variant", JOINS)
@pytest.mark.usefixtures("triton")
def test_gradients_are_derivatives(variant, last, device):
    """In float64 gradients are the derivatives, found numerically, of all there is to derive by."""
    case = Case((2, 2, 2, 1), torch.float64, **JOINS[variant], last=last)
    module = case.module("triton", device)
    x, residual, *_ = case.tensors(device)
    module.track_running_stats = not case.training  # left alone, so that every call gives the same

    def function(x, residual, weight, bias):
        state = {"weight": weight, "bias": bias}
        return torch.func.functional_call(module, state, (x, residual), {"fork": case.fork})

    leaves = [None if t is None else t.detach().requires_grad_() for t in (x, residual, module.weight, module.bias)]
    assert torch.autograd.gradcheck(function, leaves, fast_mode=not (last and variant == "join"))


@pytest.mark.usefixtures("triton")
def test_an_input_changed_before_backward_is_noticed(device):
    """Changing x in place between forward and backward is refused; changing y does no harm."""
    case = Case()
    x, residual, dy, _ = case.tensors(device)
    expected = fused.run(case.module("triton", device), x, residual, dy)
    leaf = x.clone().requires_grad_()

    y = case.module("triton", device)(leaf, residual)
    y.data.zero_()
    y.backward(dy)
    assert torch.equal(leaf.grad, expected["dx"])

    y = case.module("triton", device)(leaf, residual)
    leaf.data.zero_()
    changed = leaf * 1
    y = case.module("triton", device)(changed, residual)
    changed.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward(dy)


class Recorded(TorchDispatchMode):
    """What the operator was called with and gave."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Call, and record calls of the operator."""
        outputs = func(*args, **(kwargs or {}))
        if func.name() == FORWARD:
            self.calls.append(outputs)
        return outputs


@pytest.mark.parametrize(("wanted", "enabled"), [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.usefixtures("triton")
def test_only_what_a_backward_pass_needs_is_kept(fork, wanted, enabled, device):
    """For the backward pass x, a bit an element and a few values a channel are kept, and y is not; else nothing is."""
    case = Case((2, 16, 4, 4), fork=fork)
    module = case.module("triton", device).requires_grad_(wanted)
    x, residual, *_ = case.tensors(device)
    kept = []

    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t)
    with Recorded() as recorded, hooks, torch.set_grad_enabled(enabled):
        uses = module(x, residual, fork=fork)

    ((y, twin, stats, mask),) = recorded.calls
    wanted = wanted and enabled
    assert (twin.numel() > 0) == (fork and wanted)
    assert (mask.numel(), stats.numel()) == ((x.numel() // 8, 3 * 16) if wanted else (0, 0))
    assert twin.untyped_storage().nbytes() <= x.element_size()
    needed = (x, module.weight, module.bias, stats, mask) if wanted else ()
    assert {t.data_ptr() for t in kept} == {t.data_ptr() for t in needed}
    assert all(use.data_ptr() == y.data_ptr() for use in (uses if fork else [uses]))


# --- compilers --------------------------------------------------------------------------------------------------------


TOLERANCE = {"cpu": {}, "cuda": {"rtol": 1e-3, "atol": 1e-3}}  # convolutions may run in TF32, by other algorithms


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own, while it traces
@pytest.mark.usefixtures("triton")
def test_compiled_whole_a_net_stays_the_same(backend, device):
    """Compiled without a graph break a net gives the same values and gradients, and counts each batch once."""
    if backend == "inductor" and device == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("torch.compile needs a C++ compiler on the CPU, and there is no g++")
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1)).to(device)
    nets = [Net("triton").to(device) for _ in range(2)]
    torch._dynamo.reset()
    call = torch.compile(nets[1], fullgraph=True, backend=backend)

    for _ in range(2):
        expected, found = trained(nets[0], nets[0], x), trained(nets[1], call, x)
        torch.testing.assert_close(found, expected, **TOLERANCE[device])
    assert [tail.num_batches_tracked.item() for tail in nets[1].tails] == [2] * 3
    if backend != "inductor":
        for net in nets:
            net.eval()
        torch.testing.assert_close(call(x), nets[0](x), **TOLERANCE[device])


@pytest.mark.gpu
def test_a_captured_training_step_replays():
    """A training step captured in a CUDA graph gives, replayed with other inputs, what it gives uncaptured."""
    nets = [Net("triton").cuda() for _ in range(2)]
    static = torch.randn(4, 3, 6, 6, device="cuda")
    batches = [torch.randn(4, 3, 6, 6, device="cuda") for _ in range(3)]
    state = {name: tensor.clone() for name, tensor in nets[1].state_dict().items()}
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            trained(nets[1], nets[1], static)
    torch.cuda.current_stream().wait_stream(stream)
    nets[1].zero_grad()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = trained(nets[1], nets[1], static)
    nets[1].load_state_dict(state)

    for x in batches:
        nets[0].zero_grad()
        for p in nets[1].parameters():
            p.grad.zero_()
        expected = trained(nets[0], nets[0], x)
        static.copy_(x)
        graph.replay()
        torch.testing.assert_close(captured, expected, **TOLERANCE["cuda"])


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch built without torch.distributed")
def test_gradients_are_averaged_over_processes(tmp_path):
    """With DistributedDataParallel in two processes each has the mean of the gradients that each alone would have."""
    pytest.importorskip("triton", reason="Triton exists for Linux")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("kernels are compiled here, and gloo's processes are on the CPU")
    other = get_context("spawn").Process(target=process, args=(1, tmp_path))
    other.start()
    alone = []
    with fused.interpreted():
        for rank in range(2):
            net = Net("triton")
            trained(net, net, batch_of(rank))
            alone.append([p.grad for p in net.parameters()])
    process(0, tmp_path)
    other.join()

    assert other.exitcode == 0
    expected = [sum(gradients) / 2 for gradients in zip(*alone, strict=True)]
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), expected)
