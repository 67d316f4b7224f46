"""What a record says of the machine."""

import json

from deeptwins import machine


def test_describes_this_machine():
    """The description is JSON, names the versions that run, and invents no accelerator."""
    import torch  # noqa: PLC0415  as in the module: not everybody needs it

    description = json.loads(json.dumps(machine.describe()))

    assert description["torch"] == torch.__version__
    assert description["cores"] >= 1
    assert description["gpu"] is None
    assert description["memory_gib"] > 0


def test_commit_is_of_the_code_and_not_of_the_folder_one_stands_in(tmp_path, monkeypatch):
    """The commit is the checkout's that the code lies in, wherever the command was called."""
    here = machine.commit()
    monkeypatch.chdir(tmp_path)

    assert machine.commit() == here


def test_no_git_is_no_commit(monkeypatch):
    """Where git cannot be called there is no commit, and no error."""
    monkeypatch.setenv("PATH", "")

    assert machine.commit() is None
