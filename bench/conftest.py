"""What the benches share: they time, and assert nothing about how right things are."""

from pathlib import Path

import pytest
import torch

from deeptwins import study


def pytest_addoption(parser):
    """Add the benches' own option."""
    parser.addoption("--full-grid", action="store_true", help="time bench_bn_relu_add at all sites in everything")


@pytest.fixture(autouse=True)
def one_thread():
    """Time with one thread, as a worker trains."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def depth():
    """The study that most people run."""
    return study.load(Path(__file__).parents[1] / "ablations" / "depth.toml")
