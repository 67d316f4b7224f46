"""Where the code of parts of one's own comes from."""

import subprocess
import sys
from importlib import metadata

import pytest

import parts_made
from deeptwins.system.origins import origin


@pytest.fixture
def of(tmp_path, monkeypatch):
    """Return a function that says where a name's code comes from, in a new process as it were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])

    def ask(name):
        with parts_made.forgotten():
            return origin(name)

    return ask


def test_the_hash_is_of_all_python_files_of_a_package_or_of_the_one_file(tmp_path, of):
    """It changes with any file's content or name, and with nothing else; a module alone has its own."""
    parts_made.write(tmp_path, "def part(): ...", "own_a.parts")
    parts_made.write(tmp_path, "x = 1", "own_a.inner.other")
    parts_made.write(tmp_path, "def part(): ...", "own_b")
    package, module = of("own_a.parts:part"), of("own_b:part")

    (tmp_path / "own_a" / "notes.txt").write_text("notes")
    parts_made.write(tmp_path, "y = 1", "own_c")
    assert (of("own_a.parts:part"), of("own_b:part")) == (package, module)
    parts_made.write(tmp_path, "x = 2", "own_a.inner.other")
    changed = of("own_a.parts:part")
    (tmp_path / "own_a" / "inner" / "other.py").rename(tmp_path / "own_a" / "inner" / "another.py")
    renamed = of("own_a.parts:part")
    parts_made.write(tmp_path, "def part(): pass", "own_b")

    assert len({code["sha256"] for code in (package, changed, renamed, module, of("own_b:part"))}) == 5
    assert package | {"sha256": ""} == {"package": "own_a", "version": None, "sha256": "", "commit": None}


def test_what_is_installed_has_a_version_and_what_python_has_no_source(of):
    """A distribution's version is named; of what is built into Python nothing is known."""
    assert of("pluggy:HookspecMarker")["version"] == metadata.version("pluggy")
    assert of("_pytest.outcomes:skip")["version"] == pytest.__version__  # its distribution has another name
    assert of("math:pi") == {"package": "math", "version": None, "sha256": None, "commit": None}


def test_the_commit_is_that_of_the_folder(tmp_path, of):
    """The commit is the one of the checkout that holds the file; `-dirty` says that files differ."""

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603

    git("init", "--quiet")
    parts_made.write(tmp_path, "def part(): ...", "own_d")
    assert of("own_d:part")["commit"] is None
    git("add", "own_d.py")
    git("commit", "--quiet", "--message", "one")
    commit = of("own_d:part")["commit"]
    parts_made.write(tmp_path, "def part(): pass", "own_d")

    assert git("rev-parse", "HEAD").startswith(commit)
    assert of("own_d:part")["commit"] == f"{commit}-dirty"
