"""What `bench/` rests on: the sites of the nets, what is timed where, and the clock that reads a device's events."""

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch
import torchvision
from torch import nn

import device_time
import sites
from deeptwins import roofline

ROOT = Path(__file__).parents[1]
NEEDS_BENCHMARK = pytest.mark.skipif(
    importlib.util.find_spec("pytest_benchmark") is None, reason="needs pytest-benchmark: dependency group bench"
)


def python(folder, *arguments, **environment):
    """Run Python in a process of its own, which finds the package and the benches; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), str(ROOT / "bench"), kept.get("PYTHONPATH")]))
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": path} | environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pytest_without_gpu(folder, *arguments):
    """Run pytest, whatever the machine, as on one without a GPU."""
    return python(
        folder, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments, CUDA_VISIBLE_DEVICES=""
    )


@pytest.mark.parametrize(
    ("net", "join", "relu", "bare"), [("resnet-50", 16, 33, 4), ("resnet-18", 8, 9, 3), ("cifar-resnet-20", 9, 10, 0)]
)
def test_every_layer_of_a_net_is_a_site(net, join, relu, bare):
    """He et al. 2015, table 1: a normalization a layer; a join a block; bare ones in projections."""
    assert Counter(layer.kind for layer in sites.NETS[net]) == Counter(join=join, relu=relu, bare=bare)


@pytest.mark.parametrize("depth", [18, 50])
def test_shapes_are_torchvisions(depth):
    """The shapes derived for a net are those that torchvision's net of this depth normalizes."""
    with torch.device("meta"):
        net, image = torchvision.models.get_model(f"resnet{depth}"), torch.empty(1, 3, 224, 224)
    seen = []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _module, _inputs, y: seen.append(tuple(y.shape[1:])))
    net(image)

    derived = [(layer.channels, layer.size, layer.size) for layer in sites.NETS[f"resnet-{depth}"]]
    assert Counter(seen) == Counter(derived)


def test_equal_shapes_are_one_site():
    """A shape is timed once, for all nets that have it, at a join and elsewhere apart."""
    found = sites.sites()

    assert len({(site.join, site.shape) for site in found}) == len(found)
    assert [site.nets for site in found if site.shape == (256, 128, 28, 28)] == [
        ("resnet-50", "resnet-18"),
        ("resnet-18",),
    ]


def test_every_site_is_timed_on_a_gpu():
    """The usual choice on a GPU has every site in bf16 and channels_last, and some in every other combination."""
    chosen = sites.settings("cuda")

    assert {setting.site for setting in chosen if str(setting).endswith("bf16-channels_last")} == {*sites.sites()}
    assert len({(setting.dtype, setting.layout) for setting in chosen}) == 6
    assert {*chosen} < {*sites.settings("cuda", full=True)}


@NEEDS_BENCHMARK
def test_a_cpu_times_the_cifar_net():
    """Without a GPU the bench collects the CIFAR net's six shapes, by implementation and direction."""
    listed = pytest_without_gpu(ROOT, "--collect-only", "-q", "bench/bench_bn_relu_add.py")

    tests = [line for line in listed.splitlines() if "::" in line]
    assert {line.split("[")[1].split("-fp32-channels_last-")[0] for line in tests} == {
        f"cifar-resnet-20-{kind}-128x{shape}"
        for kind in ("relu", "join")
        for shape in ("16x32x32", "32x16x16", "64x8x8")
    }
    assert sum("-eager-forward]" in line for line in tests) == sum("-eager-forward+backward]" in line for line in tests)


class FakeEvent:
    """An event of a device whose clock advances by 1/8 s an event; it must be waited for before it is read."""

    now = 0

    def __init__(self, *, enable_timing):
        assert enable_timing
        self.at = self.waited = None

    def record(self):
        """Take the time."""
        FakeEvent.now += 1
        self.at = FakeEvent.now

    def synchronize(self):
        """Wait."""
        self.waited = True

    def elapsed_time(self, end):
        """Return milliseconds."""
        assert end.waited
        return (end.at - self.at) * 125.0


def test_the_clock_reads_the_time_between_two_events():
    """Readings come in pairs, 0 and what elapsed between the events, pair by pair."""
    timer = roofline.EventTimer(FakeEvent)

    assert [timer(), timer(), timer(), timer()] == [0, 0.125, 0, 0.125]


TIMED = f"""
import pytest
from deeptwins import roofline

{inspect.getsource(FakeEvent)}

@pytest.fixture(autouse=True)
def timer(request):
    request.applymarker(pytest.mark.benchmark(timer=roofline.EventTimer(FakeEvent)))

def test_timed(benchmark):
    benchmark.pedantic(FakeEvent(enable_timing=True).record, warmup_rounds=2, rounds=3)
"""


@NEEDS_BENCHMARK
def test_pytest_benchmark_records_what_the_clock_reads(tmp_path):
    """With one event between the two of the clock a round takes two ticks: no calibration, and nothing is added."""
    (tmp_path / "test_timed.py").write_text(TIMED, encoding="utf-8")

    pytest_without_gpu(tmp_path, "--rootdir=.", "--benchmark-json=timed.json", "test_timed.py")

    (timed,) = json.loads((tmp_path / "timed.json").read_text(encoding="utf-8"))["benchmarks"]
    assert timed["stats"]["data"] == [0.25, 0.25, 0.25]


@pytest.mark.parametrize(("refused", "timed"), [(None, "graph"), (RuntimeError("not permitted"), "events")])
def test_work_is_captured_once_it_is_warm(monkeypatch, refused, timed):
    """Work runs a few times on the stream that captures it; what cannot be captured is handed back as it is."""
    cuda, calls = MagicMock(), []
    monkeypatch.setattr(torch, "cuda", cuda)
    cuda.graph.side_effect = refused and [refused]

    def work():
        calls.append(cuda.graph.called)

    assert device_time.replay(work) == (work if refused else cuda.CUDAGraph().replay, timed)
    assert calls == [False] * device_time.WARMUP + ([] if refused else [True])
    cuda.graph.assert_called_once_with(cuda.CUDAGraph(), stream=cuda.Stream())


@pytest.mark.gpu
def test_a_replay_does_the_work_again():
    """A graph on a device computes from what its tensors hold when it is replayed."""
    x, y = torch.zeros(8, device="cuda"), torch.zeros(8, device="cuda")
    replayed, timed = device_time.replay(lambda: torch.add(x, 1, out=y))
    x.fill_(1)

    replayed()

    assert timed == "graph"
    assert y.tolist() == [2.0] * 8


REFUSED = """
import device_time, torch

x, stream = torch.ones(8, device="cuda"), torch.cuda.current_stream()
work, timed = device_time.replay(lambda: x.sum().item())
assert timed == "events"
assert work() == 8
assert torch.cuda.current_stream() == stream
assert device_time.replay(x.sum)[1] == "graph"
"""


@pytest.mark.gpu
def test_a_refused_capture_leaves_the_device_usable():
    """Work that waits for the device cannot be captured; what comes after it runs where it did, and can be captured."""
    assert "not captured, but timed by events" in python(ROOT, "-c", REFUSED)
