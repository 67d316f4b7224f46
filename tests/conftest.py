"""What the whole suite shares."""

import gc
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from deeptwins.cli.pages import plain_strings

# How every property test runs. None may fail because the machine is slow.
settings.register_profile(
    "deeptwins",
    deadline=None,
    max_examples=50,  # of most; those of readers of files have more
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,  # CI looks at the same examples every time, so that a commit passes or fails.
    print_blob=True,  # A failing example is printed with the line that runs it again.
)
settings.load_profile("deeptwins")

# Without a GPU the Triton kernels run on the CPU, in Triton's interpreter, which must be asked for before Triton loads.
if not any(Path(file).exists() for file in ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")):
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items):
    """Skip, with the reason, what needs a CUDA device where there is none, and begin with the files of slow tests.

    Then short tests are left at the end, for whichever process is idle.
    """
    slow = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda item: item.path not in slow)
    wanting = [item for item in items if "gpu" in item.keywords]
    if wanting:
        import torch  # noqa: PLC0415  a run of the torch-free tests stays free of it

        if not torch.cuda.is_available():
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish():
    """Save time: strings of small tables are as the command line has them, and garbage is looked for in less."""
    if "pandas" in sys.modules:
        plain_strings()
    gc.freeze()  # thousands of tests, which live to the end


@pytest.fixture
def terminal():
    """SIGHUP as a terminal sends it, also where the tests run under `nohup`, which ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def dataset():
    """The synthetic images."""
    from deeptwins import data  # noqa: PLC0415  loads torch

    return data.load("synthetic")


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Where a fused operation runs."""
    return request.param


@pytest.fixture(scope="session")
def triton(device):
    """The implementation `triton`: native on a CUDA device, through Triton's interpreter on the CPU."""
    import fused  # noqa: PLC0415  loads torch
    from deeptwins.kernels.bn_relu_add.definition import unavailable  # noqa: PLC0415

    if reason := unavailable("triton", device):
        pytest.skip(reason)
    if device == "cuda":
        yield "triton"
        return
    with fused.interpreted():
        yield "triton"


@pytest.fixture(scope="session")
def implementation(request, device):
    """Each implementation of the table but `compiled`, which takes seconds a shape and has tests of its own."""
    return request.getfixturevalue("triton") if request.param == "triton" else request.param


def pytest_generate_tests(metafunc):
    """Run what asks for an implementation over the table, unless it chooses by itself."""
    chosen = {name for mark in metafunc.definition.iter_markers("parametrize") for name in mark.args[0:1]}
    if "implementation" in metafunc.fixturenames and "implementation" not in chosen:
        from deeptwins.kernels import IMPLEMENTATIONS  # noqa: PLC0415  loads torch

        names = [name for name in IMPLEMENTATIONS if name != "compiled"]
        metafunc.parametrize("implementation", names, indirect=True, scope="session")
