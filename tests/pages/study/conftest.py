"""Pages of three made-up studies, written once: what most tests of a study's page look at."""

import pytest

import made
from deeptwins.pages.page import write
from deeptwins.pages.study.page import PAGE


def written(folder, study, level=made.level):
    """Write the page of a study of which every run is done; its `facts` are what the page rests on."""
    return write(PAGE, folder / "reports", study, made.results(folder, study, level))


@pytest.fixture(scope="session")
def shipped(tmp_path_factory):
    """The page of the study that ships: two families, depths, claims, an answer, a published value."""
    folder = tmp_path_factory.mktemp("shipped")
    answer = '[answer]\nmet = "Yes, it does."\ncontradicted = "No."\n'
    return written(folder, made.load(folder, made.TOML.replace("[twins]", f"{answer}[twins]", 1)))


@pytest.fixture(scope="session")
def agreeing(tmp_path_factory):
    """The page of a study whose twins should agree, and do."""
    folder = tmp_path_factory.mktemp("agreeing")
    return written(folder, made.load(folder, made.AGREEING, "kernel"), made.alike)


@pytest.fixture(scope="session")
def one_depth(tmp_path_factory):
    """The page of a study of one depth, in which one twin does as well as the other."""
    folder = tmp_path_factory.mktemp("one-depth")
    return written(folder, made.small(folder, grid=made.ONE_DEPTH), lambda run, _: 5.0 + run.seed)
