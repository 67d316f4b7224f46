"""The record format: what a kill, a full disk or a newer version may do to it."""

import json
import os
import re
import stat
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins import records
from deeptwins.errors import InputError
from deeptwins.records.kinds import Budget

HEADER = {
    "kind": "run",
    "schema": records.SCHEMA,
    "study": "s",
    "run": "r",
    "spec": {"twins": {"plain": {}}, "recipe": {"iterations": 3, "batch_size": 1}},
    "twins": {"plain": {"parameters": 1, "flops": 1, "weights_sha256": "0" * 64}},
    "dataset": {"name": "d", "checksum": "c", "train": 3, "test": 1, "classes": 2, "image": [1, 8, 8]},
    "machine": {"device": "cpu"},
    "commit": None,
}
EPOCH = {
    "kind": "epoch",
    "iteration": 3,
    "epoch": 1.0,
    "twin": "plain",
    "train_error_pct": 12.5,
    "train_loss": 0.5,
    "running_error_pct": 15.0,
    "running_loss": 0.6,
    "test_error_pct": 20.0,
    "test_loss": None,
    "learning_rate": 0.1,
}
LAYER = {"kind": "layer", "iteration": 3, "twin": "plain", "layer": 1, "name": "stem", "response_std": 1.0}
END = {"kind": "end", "status": "done", "reason": None, "seconds": 1.0}


@pytest.fixture
def path(tmp_path):
    """A run's file with four records."""
    return written(tmp_path, HEADER, EPOCH, LAYER, END)


def written(folder, *lines):
    """Append records, one by one, to the file where those of HEADER belong."""
    path = folder / "s" / "r.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    for record in lines:
        records.append(path, record)
    return path


@pytest.mark.parametrize("write", [records.append, lambda path: records.replace(path, b"")], ids=["a line", "a file"])
def test_a_full_disk_names_the_file(tmp_path, monkeypatch, write):
    """A line or a file that cannot be made durable is an error that says which."""
    monkeypatch.setattr(os, "fsync", mock.Mock(side_effect=OSError(28, "No space left on device")))

    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path / 'x.jsonl'}'"):
        write(tmp_path / "x.jsonl")


def test_many_records_are_appended_at_once(tmp_path):
    """Records come back as they went in, in order, be they appended one by one or several at once."""
    path = written(tmp_path, HEADER)
    records.append(path, EPOCH, LAYER)
    records.append(path, END)

    assert records.read(path) == [HEADER, EPOCH, LAYER, END]
    assert path.read_bytes() == written(tmp_path / "one", HEADER, EPOCH, LAYER, END).read_bytes()


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
    written(tmp_path, HEADER, EPOCH)

    assert synced == ["file", "folder", "file"]


@given(cut=st.integers(0, 1200))
def test_a_file_cut_anywhere_loses_its_torn_line_only(tmp_path_factory, cut):
    """Whatever byte a kill stopped at, the whole lines before it are read and nothing else."""
    path = written(tmp_path_factory.mktemp("cut"), HEADER, EPOCH, END)
    content = path.read_bytes()[:cut]
    path.write_bytes(content)

    assert records.read(path) == [HEADER, EPOCH, END][: content.count(b"\n")]


def test_keep_repairs_and_filters(path):
    """Keeping some records rewrites the file without the others and without a torn line, so that appending goes on."""
    path.write_bytes(path.read_bytes() + b'{"kind":"ep')

    kept = records.keep(path, lambda record: record["kind"] != "end")
    records.append(path, END)

    assert kept == [HEADER, EPOCH, LAYER]
    assert records.read(path) == [HEADER, EPOCH, LAYER, END]


def test_keeping_of_a_missing_file_makes_none(tmp_path):
    """A run that never started has nothing to keep, and gets no file by it."""
    assert records.keep(tmp_path / "none.jsonl", lambda _: True) == []
    assert not list(tmp_path.iterdir())


def test_keeping_everything_leaves_the_file_alone(path):
    """Where no record goes, the file is not written again."""
    before = path.stat()

    assert records.keep(path, lambda _: True) == [HEADER, EPOCH, LAYER, END]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_not_a_number_is_refused(path):
    """JSON has no NaN: a record with one is refused and the file stays as it was."""
    before = path.read_bytes()

    with pytest.raises(ValueError, match="not JSON compliant"):
        records.append(path, {"kind": "epoch", "loss": float("nan")})

    assert path.read_bytes() == before


def plain(folder, *lines):
    """Write records as the oldest files hold them, whose lines have no hash."""
    path = folder / "s" / "r.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def refused(path):
    """Read a file that is refused; returns the line without the file's name and without the remedy."""
    with pytest.raises(InputError) as error:
        records.read(path)
    message = str(error.value)
    assert message.startswith(f"{path}:")
    assert message.endswith("; move the file away and run the study again")
    return message.removeprefix(f"{path}:").removesuffix("; move the file away and run the study again")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=4,
)


@given(data=st.data())
def test_no_value_ends_in_a_traceback(tmp_path_factory, data):
    """Whatever stands in the place of a value, the file is read, or refused in one line that begins with its name."""
    lines = json.loads(json.dumps([HEADER, EPOCH, LAYER, END]))
    part = data.draw(st.sampled_from(lines))
    key = data.draw(st.sampled_from(sorted(part)))
    while isinstance(part[key], dict) and part[key] and data.draw(st.booleans()):
        part = part[key]
        key = data.draw(st.sampled_from(sorted(part)))
    part[key] = data.draw(ANYTHING)
    path = plain(tmp_path_factory.mktemp("any"), *lines)

    try:
        refusal = "" if records.read(path) == lines else "other records"
    except InputError as error:
        refusal = str(error)

    assert not refusal or re.fullmatch(rf"{re.escape(str(path))}:\d: .+", refusal)


def test_lines_without_hashes_are_read(tmp_path):
    """The oldest files have none."""
    assert records.read(plain(tmp_path, HEADER, EPOCH, END)) == [HEADER, EPOCH, END]


@given(data=st.data())
def test_whatever_is_changed_is_named(tmp_path_factory, data):
    """An edited byte, lines swapped, doubled or left out: the first line that is not as it was written is named."""
    path = written(tmp_path_factory.mktemp("changed"), HEADER, EPOCH, LAYER, END)
    lines = path.read_bytes().splitlines(keepends=True)
    number = data.draw(st.integers(0, 2))
    change = data.draw(st.sampled_from(["edited", "swapped", "doubled", "left out"]))
    if change == "edited":
        at = data.draw(st.integers(0, len(lines[number]) - 2))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != lines[number][at]))
        lines[number] = lines[number][:at] + bytes([byte]) + lines[number][at + 1 :]
    elif change == "swapped":
        lines[number], lines[number + 1] = lines[number + 1], lines[number]
    elif change == "doubled":
        lines.insert(number, lines[number])
    else:
        del lines[number]
    path.write_bytes(b"".join(lines))

    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}:{number + (2 if change == 'doubled' else 1)}: "):
        records.read(path)


@pytest.mark.parametrize(
    ("record", "changes", "message"),
    [
        (EPOCH, {"train_error_pct": 1000}, "epoch.train_error_pct: input should be less than or equal to 100"),
        (EPOCH, {"train_error_pct": -50}, "epoch.train_error_pct: input should be greater than or equal to 0"),
        (EPOCH, {"train_error_pct": True}, "epoch.train_error_pct: input should be a valid number"),
        (EPOCH, {"train_error_pct": None}, "epoch.train_error_pct: input should be a valid number"),
        (EPOCH, {"test_error_pct": float("nan")}, "not a record"),
        (EPOCH, {"train_loss": float("inf")}, "not a record"),
        (EPOCH, {"train_loss": "0.5"}, "epoch.train_loss: input should be a valid number"),
        (EPOCH, {"iteration": 2.5}, "epoch.iteration: input should be a valid integer"),
        (EPOCH, {"iteration": 10**400}, "epoch.iteration: input should be less"),
        (EPOCH, {"iteration": 4}, "iteration: 4, and the recipe has 3"),
        (EPOCH, {"iteration": 0}, "epoch.iteration: input should be greater than or equal to 1"),
        (EPOCH, {"twin": "other"}, "twin: 'other' is none of this run"),
        (EPOCH, {"kind": "epochs"}, "content: input tag 'epochs' found using 'kind' does not match"),
        (EPOCH, {"kind": "run"}, "run.machine: field required"),
        (LAYER, {"response_std": -1.0}, "layer.response_std: input should be greater than or equal to 0"),
        (LAYER, {"layer": None}, "layer.layer: input should be a valid integer"),
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path, record, changes, message):
    """Each kind of record has types and bounds; the line and the key are named."""
    path = plain(tmp_path, HEADER, record | changes)

    assert refused(path).startswith(f"2: {message}")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([EPOCH], "1: a run's first record must be of kind run, not 'epoch'"),
        ([HEADER, HEADER], "2: a second header"),
        ([HEADER, EPOCH, EPOCH], "3: a second epoch record of plain at 3, or one out of order"),
        ([HEADER, EPOCH, END, LAYER], "4: a record after the run's end"),
        ([HEADER, END], "2: the end of a run without the evaluation of plain after iteration 3"),
        ([HEADER | {"study": "t"}], "1: of study 't', and it lies where 's' belongs"),
        ([HEADER | {"run": "q"}], "1: of run 'q', and it lies where 'r' belongs"),
        ([HEADER | {"twins": HEADER["twins"] | {"more": HEADER["twins"]["plain"]}}], "1: twins: not those of"),
        ([HEADER | {"machine": None}], "1: run.machine: input should be an object"),
        ([{key: value for key, value in HEADER.items() if key != "machine"}], "1: run.machine: field required"),
        ([HEADER, {**END, "status": ["done"]}], "2: end.status: "),
        ([[1]], "1: not a record"),
    ],
)
def test_records_that_do_not_go_together_are_refused(tmp_path, lines, message):
    """A file holds one run, of its own study, whole and in order."""
    assert refused(plain(tmp_path, *lines)).startswith(message)


def test_a_twin_that_diverged_ends_early(tmp_path):
    """Its evaluations end where its loss was not finite any more; without that they are missing."""
    header = HEADER | {"spec": {"twins": {"plain": {}}, "recipe": {"iterations": 9, "batch_size": 1}}}
    last = EPOCH | {"train_error_pct": 100.0, "train_loss": None}
    end = END | {"status": "diverged"}

    assert records.read(plain(tmp_path, header, last, end)) == [header, last, end]
    assert refused(plain(tmp_path, header, EPOCH, end)) == (
        "3: the end of a run without the evaluation of plain after iteration 6"
    )


def test_text_that_is_none_is_refused(tmp_path):
    """Bytes that are no text, and text that is nested without end, are no record."""
    path = plain(tmp_path)
    for line in (b"\xff\xfe", b"[" * 100_000, b"rubbish"):
        path.write_bytes(line + b"\n")
        assert refused(path) == "1: not a record"


def test_a_newer_format_is_left_alone(tmp_path):
    """A file of a newer deeptwins is refused with the way to read it."""
    path = plain(tmp_path, HEADER | {"schema": 99})

    with pytest.raises(InputError, match=r":1: schema 99, and this deeptwins reads up to 1: upgrade it$"):
        records.read(path)


@given(
    images=st.integers(1, 50),
    iterations=st.integers(1, 60),
    batch_size=st.integers(1, 120),
    evaluate_every=st.integers(1, 3),
)
def test_evaluations_are_due_where_epochs_end(images, iterations, batch_size, evaluate_every):
    """Nets are evaluated after the first iteration at which another multiple of epochs is complete, and the last."""
    recipe = Budget(iterations=iterations, batch_size=batch_size, evaluate_every=evaluate_every)
    seen = [t * batch_size // images // evaluate_every for t in range(iterations + 1)]
    complete = {t for t in range(1, iterations + 1) if seen[t] > seen[t - 1]}

    assert records.evaluations(recipe, images) == sorted(complete | {iterations})


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

    assert records.read(path) == [HEADER, EPOCH, LAYER, END]
    records.keep(path, lambda record: record["kind"] != "end")
    assert records.read(path) == [HEADER, EPOCH, LAYER]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_images_of_a_class_are_counted_within_the_training_images(tmp_path):
    """A header that counts more images of one class than there are is refused, with its key."""
    dataset = HEADER["dataset"]

    def counted(number):
        header = HEADER | {"dataset": dataset | {"commonest": number}}
        return records.read(written(tmp_path / str(number), header))[0]["dataset"]["commonest"]

    number = dataset["train"]
    assert counted(number) == number
    refused = rf"r\.jsonl:1: dataset\.commonest: {number + 1}, and dataset\.train is {number}"
    with pytest.raises(InputError, match=refused):
        counted(number + 1)
