"""The fused BN-ReLU-add at the sites of ResNets, by implementation: forward, and forward and backward, in training.

What is timed is chosen in `sites.settings`; `--full-grid` times all of it, and `-k` any part, by net, kind, shape, data
type or layout: `-k "resnet-50 and join and bf16"`. An implementation named in `deeptwins.kernels.IMPLEMENTATIONS` is
timed without a change here, and so is a fused operation of another library, `peers.PEERS`, where it is installed.

On a GPU time is the device's: CUDA graphs between two events, the cache cold. How long it takes has not been measured;
of 54 settings, 228 with `--full-grid`, most goes to inductor, which compiles each anew: at 8 s for one, that is 8
minutes. `--session-timeout=SECONDS` ends it earlier and keeps what has been timed, ResNet-50 first. On a CPU time is
the clock's, with one thread and whatever is in the cache: a minute in all.

`bytes` are those that the fused operation must move (`deeptwins.kernels.bn_relu_add.traffic`), whatever an
implementation really moves: so `gb_per_s` is an effective bandwidth, and equal bandwidths mean equal times.
`percent_of_copy` compares it with that of a copy, which is measured once per session.
"""

import gc

import pytest
import torch

import whereabouts
from deeptwins.kernels import IMPLEMENTATIONS, BNReLUAdd
from deeptwins.kernels.bn_relu_add.definition import unavailable
from deeptwins.kernels.formats import DTYPES, LAYOUTS
from deeptwins.kernels.offline.cases import SITES
from deeptwins.profile import clock, roofline
from deeptwins.train import device
from peers import PEERS
from sites import settings

DEVICE = device.device("auto").type
ROUNDS = {"cpu": {"rounds": 20, "warmup_rounds": 3}, "cuda": {"rounds": 100, "warmup_rounds": 10}}

# A compiler's warning is no reason to lose a measurement; that nothing was captured is one.
pytestmark = pytest.mark.filterwarnings("default", "error:The CUDA Graph is empty")


def pytest_generate_tests(metafunc):
    """Parametrize by setting; cases of a setting run one after another and share its tensors and what is compiled."""
    chosen = settings(DEVICE, full=metafunc.config.getoption("full_grid"))
    metafunc.parametrize("tensors", chosen, indirect=True, ids=str, scope="module")


@pytest.fixture(autouse=True)
def timer(request):
    """Let pytest-benchmark read the device's clock."""
    if DEVICE == "cuda":
        request.applymarker(pytest.mark.benchmark(timer=clock.EventTimer()))


@pytest.fixture(scope="session")
def flush():
    """The call before each round: it empties the cache of a GPU."""
    return clock.flush() if DEVICE == "cuda" else None


@pytest.fixture(scope="session")
def of_machine():
    """What every result says about the machine and the memory of the device."""
    return {
        **whereabouts.of(DEVICE),
        "l2_bytes": clock.l2_bytes() if DEVICE == "cuda" else None,
        "copy_gb_per_s": roofline.copy_gb_per_s(DEVICE),
    }


class Tensors:
    """The inputs of the operation in a setting, and the gradients that come back, one per use of its result."""

    def __init__(self, setting):
        self.setting = setting
        self.fork = setting.site.join
        torch.manual_seed(0)
        self.x = self._random().requires_grad_()
        self.residual = self._random().requires_grad_() if setting.site.join else None
        self.gradients = [self._random() for _ in range(1 + self.fork)]

    def _random(self):
        values = torch.randn(self.setting.site.shape, dtype=DTYPES[self.setting.dtype], device=DEVICE)
        return values.contiguous(memory_format=LAYOUTS[self.setting.layout])

    def work(self, implementation, direction):
        """Make the call to be timed; autograd sums the gradients of two uses as it does in a net."""
        channels = self.x.shape[1]
        if implementation in PEERS:
            make, _ = PEERS[implementation]
            module: torch.nn.Module = make(channels, DEVICE)
        else:
            module = BNReLUAdd(channels, device=DEVICE, implementation=implementation)
        inputs = [self.x, *([] if self.residual is None else [self.residual]), *module.parameters()]

        def forward():
            return module(self.x, self.residual, fork=self.fork)

        def both():
            return torch.autograd.grad(forward(), inputs, self.gradients)

        return {"forward": forward, "forward+backward": both}[direction]

    def described(self, direction):
        """What a result says about the setting."""
        kind = SITES["join" if self.setting.site.join else "no join"]
        launches = kind.forward if direction == "forward" else kind.forward + kind.backward
        return {
            "nets": self.setting.site.nets,
            "shape": self.setting.site.shape,
            "join": self.setting.site.join,
            "fork": self.fork,
            "dtype": self.setting.dtype,
            "layout": self.setting.layout,
            "tensor_bytes": self.x.nbytes,
            "bytes": sum(launch.bytes(self.x.numel(), self.x.element_size()) for launch in launches),
        }


@pytest.fixture(scope="module")
def tensors(request):
    """Random tensors. What was compiled for other settings is dropped, and a new shape does not make shapes dynamic."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(automatic_dynamic_shapes=False, fail_on_recompile_limit_hit=True):
        yield Tensors(request.param)
    gc.collect()  # graphs, which hold memory of the device


def untimed(implementation, setting):
    """Say why an implementation is not timed here in a setting; None if it is."""
    if implementation in PEERS:
        _, without = PEERS[implementation]
        return without(setting, DEVICE)
    if reason := unavailable(implementation, DEVICE):
        return reason
    if implementation == "triton":
        from deeptwins.kernels.bn_relu_add import operator  # noqa: PLC0415  it needs Triton, which is there

        if operator.INTERPRETED:
            return "implementation 'triton': under Triton's interpreter its time says nothing of the kernels"
    return None


@pytest.mark.parametrize("direction", ["forward", "forward+backward"])
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, *PEERS])
def bench_bn_relu_add(benchmark, tensors, of_machine, flush, implementation, direction):  # noqa: PLR0913, PLR0917  fixtures
    """One call in training: at a join with a residual and a result used twice, else without."""
    if reason := untimed(implementation, tensors.setting):
        pytest.skip(reason)
    work = tensors.work(implementation, direction)
    if DEVICE == "cuda":
        work, timed = clock.replay(work)
    else:
        work()  # compiles
        timed = "clock"
    benchmark.group = str(tensors.setting)
    benchmark.pedantic(work, setup=flush, **ROUNDS[DEVICE])

    info = {"implementation": implementation, "direction": direction, "timed": timed}
    info |= tensors.described(direction) | of_machine
    if benchmark.enabled:
        info["gb_per_s"] = info["bytes"] / benchmark.stats.stats.median / 1e9
        info["percent_of_copy"] = 100 * info["gb_per_s"] / info["copy_gb_per_s"]
    benchmark.extra_info.update(info)
