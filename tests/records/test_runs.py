"""The record format: what a kill, a full disk or a newer version may do to it."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins import records
from deeptwins.errors import InputError

HEADER = {"kind": "run", "schema": records.SCHEMA, "study": "s", "run": "r"}
EPOCH = {"kind": "epoch", "iteration": 3, "twin": "plain", "train_error_pct": 12.5, "train_loss": None}
END = {"kind": "end", "status": "done", "reason": None, "seconds": 1.0}


@pytest.fixture
def path(tmp_path):
    """A run's file with three records."""
    path = tmp_path / "r.jsonl"
    for record in (HEADER, EPOCH, END):
        records.append(path, record)
    return path


def test_many_records_are_appended_at_once(tmp_path):
    """Records come back as they went in, in order, be they appended one by one or several at once."""
    records.append(tmp_path / "r.jsonl", HEADER, EPOCH)
    records.append(tmp_path / "r.jsonl", END)

    assert records.read(tmp_path / "r.jsonl") == [HEADER, EPOCH, END]


def test_a_missing_file_has_no_records(tmp_path):
    """A run that never started has no records, and that is no error."""
    assert records.read(tmp_path / "none.jsonl") == []


def test_a_run_is_over_only_with_its_end_line(path):
    """The status is the end line's, and there is none before it stands."""
    assert records.status(records.read(path)) == "done"
    assert records.status([HEADER, EPOCH]) is None
    assert records.status([]) is None


@pytest.fixture
def synced(monkeypatch):
    """What has been synced to the disk, in order: files and folders."""
    synced, sync = [], os.fsync

    def noted(descriptor):
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    monkeypatch.setattr("os.fsync", noted)
    return synced


def test_a_replacement_survives_a_power_cut(tmp_path, synced):
    """The new content is on the disk before it takes the place of the old, and the folder is synced after."""
    records.replace(tmp_path / "file", b"new")

    assert synced == ["file", "folder"]


def test_a_new_file_survives_a_power_cut(tmp_path, synced):
    """The folder is synced when a record makes the file, and only then: before that, the file has no durable name."""
    records.append(tmp_path / "r.jsonl", HEADER)
    records.append(tmp_path / "r.jsonl", EPOCH)

    assert synced == ["file", "folder", "file"]


@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_loses_its_torn_line_only(tmp_path_factory, cut):
    """Whatever byte a kill stopped at, the whole lines before it are read and nothing else."""
    path = tmp_path_factory.mktemp("cut") / "r.jsonl"
    for record in (HEADER, EPOCH, END):
        records.append(path, record)
    content = path.read_bytes()[:cut]
    path.write_bytes(content)

    assert records.read(path) == [HEADER, EPOCH, END][: content.count(b"\n")]


def test_keep_repairs_and_filters(path):
    """Keeping some records rewrites the file without the others and without a torn line, so that appending goes on."""
    path.write_bytes(path.read_bytes() + b'{"kind":"ep')

    kept = records.keep(path, lambda record: record["kind"] != "end")
    records.append(path, END)

    assert kept == [HEADER, EPOCH]
    assert records.read(path) == [HEADER, EPOCH, END]


def test_keeping_of_a_missing_file_makes_none(tmp_path):
    """A run that never started has nothing to keep, and gets no file by it."""
    assert records.keep(tmp_path / "none.jsonl", lambda _: True) == []
    assert not list(tmp_path.iterdir())


def test_keeping_everything_leaves_the_file_alone(path):
    """Where no record goes, the file is not written again."""
    before = path.stat()

    assert records.keep(path, lambda _: True) == [HEADER, EPOCH, END]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_not_a_number_is_refused(path):
    """JSON has no NaN: a record with one is refused and the file stays as it was."""
    before = path.read_bytes()

    with pytest.raises(ValueError, match="not JSON compliant"):
        records.append(path, {"kind": "epoch", "loss": float("nan")})

    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"kind":"run","schema":99}\n', "schema 99, and this deeptwins reads up to 1: upgrade"),
        (b'{"kind":"run","schema":"x"}\n', "schema x"),
        (b'{"kind":"run","schema":1}\nrubbish\n{"kind":"end"}\n', ":2: not a record"),
        (b"[1]\n", ":1: not a record"),
        (b'{"kind":"end","status":"done"}\n', "first record must be of kind run"),
        (b"\xff\xfe\n", ":1: not a record"),
        (b'{"kind":"run","schema":1}\n{"kind":"end"}\n', ":2: not a record"),
        (b'{"kind":"run","schema":1}\n{"kind":"end","status":["done"]}\n', ":2: not a record"),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    """A damaged line, or a newer schema, is one line that names the file."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)

    with pytest.raises(InputError, match=message) as error:
        records.read(path)

    assert str(error.value).startswith(str(path))


def test_replace_never_shows_half_a_file(tmp_path, monkeypatch):
    """When writing fails on the way, the old content stands."""
    path = tmp_path / "file"
    records.replace(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(OSError, match="No space"):
        records.replace(path, b"new")

    assert path.read_bytes() == b"old"


def test_what_a_kill_left_of_a_replacement_is_harmless(path):
    """Half a replacement beside the file is never read, and the next replacement goes over it."""
    records.part_of(path).write_bytes(b"half" * 1000)

    assert records.read(path) == [HEADER, EPOCH, END]
    records.keep(path, lambda record: record["kind"] != "end")
    assert records.read(path) == [HEADER, EPOCH]
    assert [file.name for file in path.parent.iterdir()] == [path.name]
