"""A whole study and the loop that people write by hand, timed one after the other: same nets, steps and evaluations."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import handwritten
from deeptwins import data, study
from deeptwins.records import host

DEPTH = Path(__file__).parents[1] / "ablations" / "depth.toml"


@pytest.mark.parametrize("feed", [handwritten.tutorial, handwritten.lean])
def bench_depth_against_the_handwritten_loop(benchmark, tmp_path, feed):
    """One seed of `depth`, 12 nets: `ratio` is the hand-written loop's time over that of the whole `deeptwins run`."""
    runs = study.load(DEPTH, seeds=1).runs
    dataset = data.load("digits")
    torch.set_num_threads(host.cores())  # PyTorch's default, which people leave as it is

    started = time.perf_counter()
    handwritten.train_study(runs, dataset, feed)
    by_hand = time.perf_counter() - started

    command = [
        sys.executable,
        "-m",
        "deeptwins",
        "run",
        DEPTH,
        "--seeds",
        "1",
        "--device",
        "cpu",
        "--results",
        tmp_path,
    ]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=1)

    ours = benchmark.stats.stats.mean
    cores = host.cores()
    benchmark.extra_info.update(handwritten_s=round(by_hand, 1), ratio=round(by_hand / ours, 2), cores=cores)
    print(
        f"\ndepth, one seed, {cores} cores: {feed.__name__} loop {by_hand:.0f} s,"
        f" deeptwins {ours:.0f} s: {by_hand / ours:.2f} times as fast"
    )
