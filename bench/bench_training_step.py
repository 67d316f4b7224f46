"""A training step on the CPU, by depth and twin; and the time that a run spends outside its steps, and on diagnostics.

`bench_throughput.py` has the steps of a GPU.
"""

import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from deeptwins import data, study
from deeptwins.nets import ResNet, diagnostics
from deeptwins.records import host
from deeptwins.train import training
from tiny import complete

CPU = torch.device("cpu")
SHORT = Path(__file__).parents[1] / "ablations" / "depth-cifar10-short.toml"
NETS = [("cifar", 20), ("cifar", 32), ("cifar", 44), ("cifar", 56), ("imagenet", 18), ("imagenet", 34)]
GATED = [("cifar", 20), ("cifar", 56)]


def run_of(depth, family, layers, twins):
    """One run of the study with the named twins alone."""
    run = next(run for run in depth.runs if (net := run.twins["plain"]).family == family and net.depth == layers)
    return run.model_copy(update={"twins": {name: run.twins[name] for name in twins}})


@pytest.mark.parametrize("twin", ["plain", "residual"])
@pytest.mark.parametrize(
    ("family", "layers"), [pytest.param(*net, marks=[pytest.mark.gate] * (net in GATED)) for net in NETS]
)
def bench_step(benchmark, depth, family, layers, twin):
    """One net, one batch of 128 digits: forward, backward, optimizer, running sums."""
    run = run_of(depth, family, layers, [twin])
    trained = training.Training(run, data.load("digits"), CPU)
    benchmark.pedantic(trained.step, warmup_rounds=3, rounds=10)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layers", [20, 56])
def bench_step_on_photographs(benchmark, layers, precision):
    """One residual net of the paper's, one batch of 128 images of 3x32x32, in fp32 beside bf16.

    `native_bf16` says whether the processor has instructions for bf16, or imitates it.
    """
    short = study.load(SHORT, [f"recipe.precision={precision}"], seeds=1)
    trained = training.Training(
        run_of(short, "cifar", layers, ["residual"]), data.load("synthetic", image_size=32), CPU
    )
    benchmark.extra_info["native_bf16"] = host.native_bf16()
    benchmark.pedantic(trained.step, warmup_rounds=1, rounds=3)


@contextmanager
def stopwatch(monkeypatch, *calls):
    """Sum the time spent inside the named methods; a call inside another is part of it."""
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


def spent_in(benchmark, monkeypatch, run, results, calls):
    """Train a run on the CPU; return the seconds inside the named methods, and those of the whole run."""
    dataset = data.load("digits")
    (results / run.study).mkdir()
    with stopwatch(monkeypatch, *calls) as spent:
        started = time.perf_counter()
        benchmark.pedantic(complete, (run, dataset, CPU, results), rounds=1)
        return spent[0], time.perf_counter() - started


@pytest.mark.parametrize(("family", "layers"), [("cifar", 20), ("cifar", 56)])
def bench_overhead(benchmark, depth, family, layers, tmp_path, monkeypatch):  # noqa: PLR0913, PLR0917  fixtures
    """A whole run on the CPU; `outside_pct` of its wall time is not forward, backward or optimizer: at most 5."""
    run = run_of(depth, family, layers, ["plain", "residual"])
    calls = [(ResNet, "__call__"), (torch.Tensor, "backward"), (torch.optim.SGD, "step")]

    spent, wall = spent_in(benchmark, monkeypatch, run, tmp_path, calls)

    benchmark.extra_info["outside_pct"] = round(100 * (1 - spent / wall), 2)
    print(f"\n{run.id}: {benchmark.extra_info['outside_pct']} % of {wall:.1f} s outside forward, backward, optimizer")


@pytest.mark.parametrize(("family", "layers"), [("cifar", 20), ("cifar", 56)])
def bench_diagnostics(benchmark, depth, family, layers, tmp_path, monkeypatch):  # noqa: PLR0913, PLR0917  fixtures
    """A whole run on the CPU; `diagnostics_pct` of its wall time goes into diagnostics: at most 2."""
    run, look = run_of(depth, family, layers, ["plain", "residual"]), diagnostics.look
    # A generator does its work when it is iterated over, outside of the call that the stopwatch measures.
    monkeypatch.setattr(diagnostics, "look", lambda *arguments: list(look(*arguments)))

    calls = [(diagnostics, "gradient_norms"), (diagnostics, "look")]
    spent, wall = spent_in(benchmark, monkeypatch, run, tmp_path, calls)

    benchmark.extra_info["diagnostics_pct"] = round(100 * spent / wall, 2)
    print(f"\n{run.id}: {benchmark.extra_info['diagnostics_pct']} % of {wall:.1f} s are diagnostics")
