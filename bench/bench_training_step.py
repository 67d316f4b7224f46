"""A training step by depth and twin, and what a run spends on anything but forward, backward and optimizer."""

import time
from contextlib import contextmanager

import pytest
import torch

from deeptwins import completion, data, training
from deeptwins.nets import ResNet

NETS = [("cifar", 20), ("cifar", 32), ("cifar", 44), ("cifar", 56), ("imagenet", 18), ("imagenet", 34)]


def run_of(depth, family, layers, twins):
    """One run of the study with the named twins alone."""
    run = next(run for run in depth.runs if (net := run.twins["plain"]).family == family and net.depth == layers)
    return run.model_copy(update={"twins": {name: run.twins[name] for name in twins}})


@pytest.mark.parametrize("twin", ["plain", "residual"])
@pytest.mark.parametrize(("family", "layers"), NETS)
def bench_step(benchmark, depth, family, layers, twin):
    """One net, one batch of 128 digits: forward, backward, optimizer, running sums."""
    run = run_of(depth, family, layers, [twin])
    trained = training.Training(run, data.load("digits"), training.device("auto"))

    def step():
        trained.step()
        if trained.device.type == "cuda":
            torch.cuda.synchronize()

    benchmark.extra_info["device"] = trained.device.type
    benchmark.pedantic(step, warmup_rounds=3, rounds=10)


@contextmanager
def stopwatch(monkeypatch, *calls):
    """Sum the time spent inside the named methods, calls within calls counted once."""
    spent, inside = [0.0], [False]

    def timed(method):
        def call(*args, **kwargs):
            if inside[0]:
                return method(*args, **kwargs)
            inside[0], started = True, time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                inside[0] = False
                spent[0] += time.perf_counter() - started

        return call

    with monkeypatch.context() as patch:
        for owner, name in calls:
            patch.setattr(owner, name, timed(getattr(owner, name)))
        yield spent


@pytest.mark.parametrize(("family", "layers"), [("cifar", 20), ("cifar", 56)])
def bench_overhead(benchmark, depth, family, layers, tmp_path, monkeypatch):  # noqa: PLR0913, PLR0917  fixtures
    """A whole run on the CPU; `outside_pct` of its wall time is not forward, backward or optimizer: at most 5."""
    run, dataset = run_of(depth, family, layers, ["plain", "residual"]), data.load("digits")
    (tmp_path / run.study).mkdir()
    calls = [(ResNet, "__call__"), (torch.Tensor, "backward"), (torch.optim.SGD, "step")]

    with stopwatch(monkeypatch, *calls) as spent:
        started = time.perf_counter()
        benchmark.pedantic(completion.complete, (run, dataset, torch.device("cpu"), tmp_path), rounds=1)
        wall = time.perf_counter() - started

    benchmark.extra_info["outside_pct"] = round(100 * (1 - spent[0] / wall), 2)
    print(f"\n{run.id}: {benchmark.extra_info['outside_pct']} % of {wall:.1f} s outside forward, backward, optimizer")
