"""What a device can do at most, and the least that a step moves."""

import time

import pytest
import torch

from deeptwins.profile import clock, roofline
from deeptwins.records.profiles import Rate
from deeptwins.study.networks import named

STEPS, BANDWIDTH = 64_000, 3e12  # the paper's iterations, an H100's bytes per second


def allowed():
    """Tell whether products of matrices may be in TF32."""
    return torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("depth", "megabytes", "plain_s", "residual_s"),
    [(20, 48.2, 9.3, 10.3), (32, 77.6, 14.9, 16.6), (44, 107.0, 20.5, 22.8), (56, 136.3, 26.2, 29.1)],
)
def test_the_least_bytes_of_the_papers_nets(depth, megabytes, plain_s, residual_s):
    """In bf16 at batch 128 a step passes 9 times over a plain net's activations, 10 times over a residual one's."""
    plain, residual = (
        roofline.least_bytes(named(f"cifar-{kind}-{depth}")[0], (3, 32, 32), 128, 2) for kind in ("plain", "resnet")
    )

    assert plain / 9e6 == pytest.approx(megabytes, abs=0.05)
    assert residual / 10e6 == pytest.approx(megabytes, abs=0.05)
    assert plain * STEPS / BANDWIDTH == pytest.approx(plain_s, abs=0.1)
    assert residual * STEPS / BANDWIDTH == pytest.approx(residual_s, abs=0.1)


def test_the_least_bytes_grow_with_batch_and_element():
    """Twice the images are twice the bytes, and so are elements of twice the size."""
    net = named("cifar-plain-8")[0]

    one = roofline.least_bytes(net, (3, 32, 32), 64, 2)

    assert roofline.least_bytes(net, (3, 32, 32), 128, 2) == 2 * one
    assert roofline.least_bytes(net, (3, 32, 32), 64, 4) == 2 * one


def test_a_projection_is_a_convolution_too():
    """A shortcut with convolutions of its own has more activations to pass over."""
    bare, projected = (named("cifar-resnet-8", [f"shortcut={kind}"])[0] for kind in ("zero-pad", "projection"))

    more = roofline.least_bytes(projected, (3, 32, 32), 1, 4) - roofline.least_bytes(bare, (3, 32, 32), 1, 4)

    assert more == 10 * 4 * (32 * 16 * 16 + 64 * 8 * 8)


def test_a_net_that_was_grown_with_shortcuts_is_residual():
    """What was added with a shortcut needs the passes of a residual net."""
    net = named("cifar-plain-14")[0]
    grown = net.model_copy(update={"grown_from": 8, "grown_with": "zero-pad"})

    plain, residual = (roofline.least_bytes(spec, (3, 32, 32), 1, 4) for spec in (net, grown))

    assert residual * 9 == plain * 10


@pytest.mark.parametrize(("moved", "flops", "seconds"), [(100, 10, 10), (10, 1000, 50), (0, 0, 0)])
def test_the_roofline_is_the_longer_of_two_times(moved, flops, seconds):
    """Bytes and FLOPs overlap at best, so that the slower of them decides."""
    assert Rate(precision="fp32", copy_bytes_per_s=10, flops_per_s=20).roofline_s(moved, flops) == seconds


def test_the_best_of_two_measurements_counts():
    """Each rate by itself: other work on the machine may have slowed the one or the other."""
    first, second = (Rate(precision="fp32", copy_bytes_per_s=a, flops_per_s=b) for a, b in ((10, 20), (5, 40)))

    assert first.best(second) == second.best(first) == Rate(precision="fp32", copy_bytes_per_s=10, flops_per_s=40)


def test_rates_are_measured(monkeypatch):
    """Both rates are numbers of work over seconds, and the switch for TF32 is left as it was."""
    monkeypatch.setattr(roofline, "COPIED", {"cpu": 2**16})
    monkeypatch.setattr(roofline, "MULTIPLIED", {"cpu": 16})
    seen = []
    monkeypatch.setattr(roofline, "_best", lambda work, *_: seen.append((work(), allowed())) or 0.5)
    before = allowed()

    rates = roofline.measure("cpu", "tf32")

    assert (rates.copy_bytes_per_s, rates.flops_per_s) == (2 * 2**16 / 0.5, 2 * 16**3 / 0.5)
    assert seen[1][1]
    assert allowed() == before


def test_what_is_multiplied_is_random_and_the_same(monkeypatch):
    """Ones would flatter a GPU; and two measurements multiply the same numbers."""
    monkeypatch.setattr(roofline, "MULTIPLIED", {"cpu": 16})
    products = []
    monkeypatch.setattr(roofline, "_best", lambda work, *_: products.append(work()) or 1.0)

    for _ in range(2):
        roofline.flops_per_s("cpu", "fp32")

    assert products[0].std() > 1
    assert torch.equal(*products)


def test_the_best_round_counts(monkeypatch):
    """Work is done once to warm up, then timed until the rounds are over, and the shortest is the result."""
    calls, readings = [], iter([0, 3, 10, 11, 20, 22])
    monkeypatch.setattr(roofline, "LONG_S", 100)
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(readings))

    assert roofline._best(lambda: calls.append(1), "cpu", 3) == 1
    assert len(calls) == 4


def test_long_rounds_are_few(monkeypatch):
    """Where rounds have taken long enough, no more follow."""
    calls, readings = [], iter([0, 3, 10, 11])
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(readings))

    assert roofline._best(lambda: calls.append(1), "cpu", 10) == 3
    assert len(calls) == 2


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_rates_of_a_gpu(precision):
    """On a device both rates are measured, and are what one can have."""
    rates = roofline.measure("cuda", precision)

    assert 1e10 < rates.copy_bytes_per_s < 1e14
    assert 1e11 < rates.flops_per_s < 1e16


@pytest.mark.gpu
def test_the_devices_clock_agrees_with_the_hosts():
    """What elapses between two events is some of what the host sees, once the cache has been overwritten, too."""
    x, timer, flush = torch.ones(1024, 1024, device="cuda"), clock.EventTimer(), clock.flush()
    flush()
    begun = time.perf_counter()
    start = timer()
    x @ x
    elapsed = timer() - start

    assert start == 0
    assert 0 < elapsed < time.perf_counter() - begun
