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


SECOND, FIRST = "cgroup2 cgroup rw,nsdelegate", "cgroup cgroup rw,cpu,cpuacct"
SLICE, JOB = "user.slice/user-7.slice", "user.slice/user-7.slice/job.scope"


@pytest.mark.parametrize(
    ("groups", "mounts", "limits", "cores"),
    [
        (["0::/"], [("/", "fs", SECOND)], {"fs/cpu.max": "max 100000"}, 8),
        (["0::/"], [("/", "fs", SECOND)], {"fs/cpu.max": "400000 100000"}, 4),
        (["0::/"], [("/", "fs", SECOND)], {"fs/cpu.max": "150000 100000"}, 2),
        (["0::/"], [("/", "fs", SECOND)], {"fs/cpu.max": "1000 100000"}, 1),
        (["0::/"], [("/", "fs", SECOND)], {"fs/cpu.max": "9900000 100000"}, 8),
        (["0::/"], [("/", "fs", SECOND)], {"fs/cpu.max": ""}, 8),
        (["0::/"], [("/", "fs", SECOND)], {"fs/cpu.max": "200000 0"}, 8),
        # Nested slices of version 2: the smallest on the way up, wherever it stands.
        ([f"0::/{JOB}"], [("/", "fs", SECOND)], {f"fs/{JOB}/cpu.max": "300000 100000"}, 3),
        (
            [f"0::/{JOB}"],
            [("/", "fs", SECOND)],
            {f"fs/{JOB}/cpu.max": "max 1", f"fs/{SLICE}/cpu.max": "300000 100000"},
            3,
        ),
        ([f"0::/{JOB}"], [("/", "fs", SECOND)], {"fs/user.slice/cpu.max": "2 1", f"fs/{JOB}/cpu.max": "3 1"}, 2),
        ([f"0::/{JOB}"], [("/", "fs", SECOND)], {"fs/other.slice/cpu.max": "2 1", f"fs/{JOB}/below/cpu.max": "3 1"}, 8),
        # A container that sees its own part of the tree alone, with and without a name of it.
        (["0::/docker/1/a"], [("/docker/1", "fs", SECOND)], {"fs/a/cpu.max": "max 1", "fs/cpu.max": "2 1"}, 2),
        (["0::/docker/1"], [("/", "fs", SECOND)], {"fs/cpu.max": "2 1"}, 2),
        (["0::/../elsewhere"], [("/", "fs", SECOND)], {"fs/cpu.max": "2 1"}, 2),
        # Version 1, alone or beside an empty tree of version 2.
        (
            ["4:cpu,cpuacct:/"],
            [("/", "cpu", FIRST)],
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            8,
        ),
        (
            ["4:cpu,cpuacct:/docker/1", "0::/"],
            [("/", "unified", SECOND), ("/docker/1", "cpu", FIRST)],
            {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"},
            3,
        ),
        (
            ["5:memory:/a", "4:cpu:/a/b"],
            [("/", "memory", "cgroup cgroup rw,memory"), ("/", "cpu", "cgroup cgroup rw,cpu")],
            {"cpu/a/cpu.cfs_quota_us": "100000", "cpu/a/cpu.cfs_period_us": "50000", "memory/a/cpu.max": "1 1"},
            2,
        ),
        ([], [], {}, 8),
        (["nonsense"], [("/", "fs", SECOND)], {"fs/cpu.max": "1 1"}, 8),
    ],
)
def test_the_quota_of_every_control_group_counts(tmp_path, monkeypatch, groups, mounts, limits, cores):  # noqa: PLR0913, PLR0917
    """Less time than the cores have, by a group or one around it, is worth as many workers as it would keep busy."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(host, "PROCESS", tmp_path)
    rows = [f"31 23 0:9 {root} {tmp_path}/{place} rw,relatime shared:9 - {tree}" for root, place, tree in mounts]
    (tmp_path / "mountinfo").write_text("\n".join(["22 1 8:1 / / rw - ext4 /dev/sda1 rw", *rows, ""]))
    (tmp_path / "cgroup").write_text("".join(f"{row}\n" for row in groups))
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")

    assert host.cores() == cores


def test_elsewhere_than_on_linux_the_cores_count(tmp_path, monkeypatch):
    """Where nothing tells of control groups there are no quotas."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(host, "PROCESS", tmp_path / "none")

    assert host.cores() == 8


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
