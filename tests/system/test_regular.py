"""Tests that no command waits for, or is filled by, what lies in the place of a file that it reads."""

import os
from pathlib import Path

import pytest

from deeptwins import records, study
from deeptwins.errors import InputError
from deeptwins.pages.listing import write_index
from deeptwins.records import RunFiles, benchmarks, kernels
from deeptwins.records.locks import claimed
from deeptwins.system import regular
from deeptwins.train import checkpoints

STATUS = Path("/proc/self/status")


def lock(path):
    """Lock a run."""
    with claimed(RunFiles(path.parent.parent, "study", "run-0a")):
        pass


READERS = {
    "own.toml": study.load,
    "run-0a.jsonl": records.read,
    "run-0a.checkpoint": lambda path: checkpoints.load(RunFiles(path.parent.parent, "study", "run-0a")),
    ".lock": lock,
    "kernels.json": kernels.read,
    "timings.json": lambda path: benchmarks.read([path], "again"),
    "summary.json": lambda path: write_index(path.parents[1]),
}


@pytest.mark.parametrize("kind", ["a FIFO", "a device", "a folder", "a link to a FIFO"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_named_and_not_opened(name, kind, tmp_path):
    """In the place of a study, a record, a checkpoint, a lock or a table, what is no file ends the command at once."""
    path = tmp_path / "study" / name
    path.parent.mkdir()
    {
        "a FIFO": os.mkfifo,
        "a device": lambda path: path.symlink_to("/dev/zero"),
        "a folder": os.mkdir,
        "a link to a FIFO": lambda path: (os.mkfifo(tmp_path / "elsewhere"), path.symlink_to(tmp_path / "elsewhere")),
    }[kind](path)
    with pytest.raises((InputError, OSError), match=rf"{name}"):
        READERS[name](path)


@pytest.mark.parametrize("name", [name for name in READERS if name != ".lock"])
def test_files_of_absurd_size_are_not_read(name, tmp_path):
    """A file that no memory could hold is refused by its size."""
    path = tmp_path / "study" / name
    path.parent.mkdir()
    path.touch()
    os.truncate(path, 2**42)
    with pytest.raises((InputError, OSError), match=rf"{name}"):
        READERS[name](path)


@pytest.mark.parametrize("most", [0, 1, 99, 100, 10**6])
def test_a_file_is_read_whole_or_not_at_all(most, tmp_path):
    """A file of `most` bytes or less is read, a larger one refused."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    if most >= 100:
        assert regular.read(path, most) == bytes(100)
    else:
        with pytest.raises(OSError, match=f"larger than {most} bytes"):
            regular.read(path, most)


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's /proc")
def test_a_file_whose_size_is_unknown_is_read():
    """What the system makes while it is read, and says to have no size, is read as far as is allowed."""
    assert b"Name:" in regular.read(STATUS, 10**6)
    with pytest.raises(OSError, match="larger than 10 bytes"):
        regular.read(STATUS, 10)
