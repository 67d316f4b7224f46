"""What the whole suite shares."""

import pytest


def pytest_collection_modifyitems(items):
    """Skip, with the reason, what needs a CUDA device where there is none."""
    wanting = [item for item in items if "gpu" in item.keywords]
    if wanting:
        import torch  # noqa: PLC0415  a run of the torch-free tests stays free of it

        if not torch.cuda.is_available():
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def dataset():
    """The synthetic images."""
    from deeptwins import data  # noqa: PLC0415  loads torch

    return data.load("synthetic")
