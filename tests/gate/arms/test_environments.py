"""An environment of a commit is made once, by the commands that the user gives, and is nobody else's."""

import os
import sys

import pytest

from deeptwins.errors import InputError
from deeptwins.gate.arms import environments, worktrees

INSTALL = ("pip install .",)


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """The commands that were run: none really is."""
    commands = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(environments.shutil, "which", lambda name, path=None: None if name == "uv" else name)
    monkeypatch.setattr(environments, "_run", lambda command, folder, variables: commands.append([*command]))
    return commands


def made(tmp_path, commit="a" * 40, install=INSTALL):
    """The interpreter of an environment."""
    with environments.environment(tmp_path, commit, tmp_path, install, lambda what: None) as python:
        return python


def test_an_environment_is_made_once_for_each_commit_and_command(ran, tmp_path):
    """It has pytest-benchmark as the gate has; the same commit finds it again, also while it is in use."""
    with environments.environment(tmp_path, "a" * 40, tmp_path, INSTALL, lambda what: None) as python:
        number = len(ran)
        assert made(tmp_path) == python
    assert len(ran) == number == 3
    assert ran[1][:2] == ["pip", "install"]
    assert ran[1][3].startswith("pytest-benchmark==")
    assert ran[2] == ["pip", "install", "."]

    others = {made(tmp_path, commit="b" * 40), made(tmp_path, install=("pip install .[x]",))}
    assert len({python, *others}) == 3
    assert {len(str(other)) for other in others} == {len(str(python))}  # where memory lies depends on it


def test_one_that_failed_is_made_anew(ran, tmp_path, monkeypatch):
    """What is half done is never taken for an environment."""

    def fail(*_):
        raise InputError("no compiler")

    with monkeypatch.context() as broken:
        broken.setattr(environments, "_run", fail)
        with pytest.raises(InputError, match="no compiler"):
            made(tmp_path)
    made(tmp_path)
    assert len(ran) == 3


def test_the_oldest_environments_go(ran, tmp_path, monkeypatch):
    """But not those in use."""
    monkeypatch.setattr(environments, "KEPT", 2)
    with environments.environment(tmp_path, "a" * 40, tmp_path, INSTALL, lambda what: None) as used:
        os.utime(used.parents[1], (0, 0))
        for commit in "bcd":
            os.utime(made(tmp_path, commit=commit * 40).parents[1], (ord(commit), ord(commit)))
        assert used.parents[1].exists()
        assert len([*environments.cache().iterdir()]) == 3


@pytest.mark.parametrize(
    ("command", "says"),
    [("", "empty command"), ("pip install '", "No closing quotation"), ("pip install -e .", "without --editable")],
)
def test_commands_that_make_no_sense_are_refused(command, says):
    """Before anything is made."""
    with pytest.raises(InputError, match=says):
        environments.commands([command])


def test_a_command_that_fails_says_why(tmp_path):
    """By its last line that speaks of an error."""
    script = "print('Error: no such thing'); print('bye'); raise SystemExit(3)"
    with pytest.raises(InputError, match=r"^install: .* fails: Error: no such thing$"):
        environments._run([sys.executable, "-c", script], tmp_path, os.environ)
    with pytest.raises(InputError, match="nowhere is not installed"):
        environments._run(["nowhere"], tmp_path, os.environ)


def test_an_arm_runs_what_is_installed_for_it(tmp_path, monkeypatch):
    """Its own interpreter, and nothing from its worktree, where nothing is compiled."""
    (tmp_path / "src").mkdir()
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    plain = worktrees.Arm("base", "a" * 40, tmp_path)
    own = worktrees.Arm("base", "a" * 40, tmp_path, python=str(tmp_path / "env" / "bin" / "python"))

    assert str(tmp_path / "src") in plain.environment()["PYTHONPATH"]
    assert own.environment() == {"PYTHONPATH": "", "VIRTUAL_ENV": str(tmp_path / "env")}
