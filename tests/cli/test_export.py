"""The command `export`: what it prints, and what it refuses."""

import json
import sys
from pathlib import Path

import pytest

import made
from deeptwins import study
from deeptwins.cli import app
from deeptwins.findings import following


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository with a study of two runs that are done; the working directory."""
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("ablations").mkdir()
    study = made.small(tmp_path / "ablations", grid='[[vary]]\nfamily = "cifar"\ndepth = 8\nseed = [0, 1]\n')
    made.results(tmp_path, study)
    return study


@pytest.fixture
def call(monkeypatch, capsys):
    """Call `deeptwins export` with arguments; returns exit code, stdout and stderr."""

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["deeptwins", "export", *arguments])
        with pytest.raises(SystemExit) as end:
            app.main()
        return end.value.code or 0, *capsys.readouterr()

    return main


def test_what_was_written_is_one_line(small, call):
    """The line says where, how many, and what became of them; a second export says that they are the same."""
    assert call("small", "--to", "csv") == (0, "exports/csv/small: 4 files, 4 new\n", "")
    assert call("small", "--to", "csv") == (0, "exports/csv/small: 4 files, 4 the same\n", "")
    assert {path.name for path in Path("exports/csv/small").iterdir()} == {
        f"{name}.csv" for name in ("runs", "machines", "epochs", "layers")
    }


def test_runs_of_another_setting_are_told_and_exported_by_it(small, call, tmp_path):
    """Runs with other settings are named, and left out; `--set` exports them, and them alone."""
    made.results(tmp_path, study.load(small.path, ["recipe.shift=2"]))
    _, said, _ = call("small", "--to", "jsonl")
    assert "2 runs with shift 2 (here 0)" in said

    call("small", "--to", "jsonl", "--set", "recipe.shift=2")
    rows = Path("exports/jsonl/small-shift-2/runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(row)["shift"] for row in rows} == {2}
    rows = Path("exports/jsonl/small/runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(row)["shift"] for row in rows} == {0}


def test_following_ends_with_the_study(small, call, tmp_path, monkeypatch):
    """`--follow` waits for records, takes them as they come, and ends when the study is done."""
    last = made.RunFiles.of(tmp_path / "results", small.runs[1]).records
    whole = last.read_bytes()
    last.unlink()
    steps = iter([lambda: last.write_bytes(whole[: len(whole) // 2]), lambda: last.write_bytes(whole)])
    monkeypatch.setattr(following.time, "sleep", lambda _: next(steps)())
    code, said, _ = call("small", "--to", "csv", "--follow")

    assert code == 0
    assert (
        said == "following results/small, into exports/csv/small; Ctrl-C ends it\nexports/csv/small: 4 files, 4 new\n"
    )
    assert Path("exports/csv/small/runs.csv").read_text(encoding="utf-8").count(",done,") == 4


def test_following_waits_for_the_seeds_that_are_asked_for(small, call, tmp_path, monkeypatch):
    """With `--seeds`, as in the run, it does not end before these seeds are done."""
    third = study.load(small.path, seeds=3).runs[2]
    waited = []
    monkeypatch.setattr(following.time, "sleep", lambda _: waited.append(made.write(tmp_path / "results", third)))
    assert call("small", "--to", "csv", "--follow", "--seeds", "3")[0] == 0

    assert len(waited) == 1
    assert Path("exports/csv/small/runs.csv").read_text(encoding="utf-8").count(",done,") == 6


def test_following_goes_on_with_the_study_as_its_file_is_now(small, call, tmp_path, monkeypatch):
    """A study that is edited meanwhile is read anew, in one line; runs that it has no longer are not waited for."""
    made.RunFiles.of(tmp_path / "results", small.runs[1]).records.unlink()
    edited = small.path.read_text(encoding="utf-8").replace("[0, 1]", "[0]")
    monkeypatch.setattr(following.time, "sleep", lambda _: small.path.write_text(edited, encoding="utf-8"))
    code, said, error = call("small", "--to", "csv", "--follow")

    assert (code, error) == (0, "")
    assert said.splitlines()[1] == "ablations/small.toml has changed and is read anew: 1 run"


def test_ctrl_c_ends_following_in_one_line(small, call, tmp_path, monkeypatch):
    """At Ctrl-C what has come is written, one line says so, and the exit code is 130."""
    made.RunFiles.of(tmp_path / "results", small.runs[1]).records.unlink()

    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(following.time, "sleep", interrupt)
    code, said, error = call("small", "--to", "csv", "--follow")

    assert (code, error) == (130, "")
    assert said.splitlines()[1:] == ["interrupted; exports/csv/small: 4 files, 4 new; the same command goes on"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["smal", "--to", "csv"], 'no study "smal" in ablations/ or '),
        (["small"], "Missing option '--to'. Choose from: csv, parquet, jsonl, tensorboard, mlflow,"),
        (["small", "--to", "csv", "--out", "results/x"], "--out results/x: in results, where records alone may lie;"),
        (["small", "--to", "csv", "--results", "no"], "no/small: no records; `deeptwins run small` makes some, and"),
        (["small", "--to", "csv", "--out", "file"], "file/small: Not a directory"),
    ],
)
def test_what_cannot_be_exported_is_one_line(small, call, arguments, line):
    """A study that is not there, a folder that cannot be, no records: one line, exit code 2, nothing written."""
    Path("file").touch()
    code, said, error = call(*arguments)

    assert (code, said, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"deeptwins: {line}")
    assert not Path("exports").exists()


def test_a_damaged_record_is_named_and_nothing_is_written(small, call, tmp_path):
    """A damaged record ends an export in one line."""
    made.RunFiles.of(tmp_path / "results", small.runs[0]).records.write_text("{}\n", encoding="utf-8")
    code, said, error = call("small", "--to", "csv")

    assert (code, said) == (2, "")
    assert f"{small.runs[0].id}.jsonl:1: " in error
    assert not Path("exports").exists()
