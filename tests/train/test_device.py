"""What a record says of the machine."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest

from deeptwins.records import host
from deeptwins.train import device
from repositories import git

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository outside the working directory, with nothing of the user's settings."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


def copied(folder):
    """The module, as a copy in a folder."""
    path = Path(shutil.copy(device.__file__, folder))
    spec = importlib.util.spec_from_file_location("copy_of_machine", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_describes_this_machine():
    """The description is JSON, names the versions that run, and invents no accelerator."""
    import torch  # noqa: PLC0415  as in the module: not everybody needs it

    description = json.loads(json.dumps(device.describe()))

    assert description["torch"] == torch.__version__
    triton = pytest.importorskip("triton", reason="Triton exists for Linux")
    assert description["triton"] == triton.__version__
    assert description["cores"] >= 1
    assert description["gpu"] is None
    assert description["memory_gib"] > 0


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("400000 100000", 4), ("150000 100000", 2), ("1000 100000", 1), ("9900000 100000", 8), ("", 8)],
)
def test_a_containers_quota_counts(tmp_path, monkeypatch, quota, cores):
    """A container that may use less time than its cores have gets as many workers as that time is worth."""
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(host, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)

    assert host.cores() == cores


@needs_git
def test_commit_is_of_the_code_and_not_of_the_folder_one_stands_in(repository, tmp_path, monkeypatch):
    """The commit is the checkout's that the code lies in, wherever the command was called; changed files show."""
    module = copied(repository)
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "one")
    monkeypatch.chdir(tmp_path)

    commit = module.commit()
    assert len(commit) == 12
    assert git(repository, "rev-parse", "HEAD").startswith(commit)

    with Path(module.__file__).open("a") as file:
        file.write("# changed\n")
    assert module.commit() == f"{commit}-dirty"


@needs_git
def test_what_runs_write_does_not_change_the_commit(repository):
    """Records and pages that are committed may be written anew: the code is the commit's all the same."""
    module = copied(repository)
    for folder in ("results", "reports"):
        (repository / folder).mkdir()
        (repository / folder / "old").write_text("old", encoding="utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "one")

    for folder in ("results", "reports"):
        (repository / folder / "old").write_text("new", encoding="utf-8")

    assert len(module.commit()) == 12


@needs_git
def test_a_copy_in_somebody_elses_repository_has_no_commit(repository):
    """Code that merely lies in a repository which does not hold it, as an installed package may, has no commit."""
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "one")

    assert copied(repository).commit() is None


def test_no_git_is_no_commit(monkeypatch):
    """Where git cannot be called there is no commit, and no error."""
    monkeypatch.setenv("PATH", "")

    assert device.commit() is None
