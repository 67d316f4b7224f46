"""What the benches share. They time, and assert nothing about results."""

import gc
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


@pytest.fixture
def arithmetic(monkeypatch):
    """Put PyTorch's settings back as they were before the trainer changed them, and free what the bench's nets held."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    deterministic = torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
    torch.use_deterministic_algorithms(deterministic)
    torch.compiler.reset()  # so that no net meets the guards of another
    gc.collect()  # graphs, which hold memory of the device
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@pytest.fixture(scope="session")
def depth():
    """The study that most people run."""
    return study.load(Path(__file__).parents[1] / "ablations" / "depth.toml")
