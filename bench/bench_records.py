"""Records written and read: how long a run needs to append its records, and a report to read a thousand runs."""

import itertools

import pytest

import made
from deeptwins import records
from deeptwins.pages.page import write
from deeptwins.pages.study.page import PAGE


@pytest.mark.gate
def bench_append(benchmark, tmp_path):
    """Two hundred appends, each of which waits for the disk: as many as two twins make in 100 epochs."""
    record = {"kind": "epoch", "twin": "plain", "iteration": 12, "epoch": 1.5, "train_error_pct": 12.3} | {
        f"{split}_{what}": 0.123456789 for split in ("train", "running", "test") for what in ("loss", "error", "images")
    }
    files = itertools.count()

    def append():
        path = tmp_path / f"{next(files)}.jsonl"
        for _ in range(200):
            records.append(path, record)

    benchmark(append)


@pytest.mark.gate
def bench_report(benchmark, tmp_path):
    """The frames, findings, figures and page of 1,002 finished runs."""
    study = made.load(tmp_path, made.TOML.replace("seed = [0, 1, 2]", f"seed = {list(range(167))}"))
    results = made.results(tmp_path, study)
    benchmark.pedantic(write, (PAGE, tmp_path / "reports", study, results), rounds=3, warmup_rounds=1)
