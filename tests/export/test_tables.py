"""Tables: `deeptwins.load`, and the files that `export` writes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import deeptwins
import made
from deeptwins.export import tables
from deeptwins.export.columns import COLUMNS
from places import ROOT
from refusals import refused

READ = {
    "csv": pd.read_csv,
    "parquet": pd.read_parquet,
    "jsonl": lambda path: pd.DataFrame(map(json.loads, path.read_text().splitlines())),
}
UNFINISHED = '[[vary]]\nfamily = "cifar"\ndepth = 8\nseed = [0, 1, 2]\n'


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository with a study of three runs: one done, one unfinished, one failed."""
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("ablations").mkdir()
    study = made.small(tmp_path / "ablations", grid=UNFINISHED)
    for run, status in zip(study.runs, ("done", None, "failed"), strict=True):
        lines = made.records(run, status=status)
        made.write(tmp_path / "results", run, lines if status else lines[:9])
    return study


def test_a_study_is_loaded_by_name_or_path(small):
    """`load` takes a name or a path, and gives the same tables: finished runs, or what all have recorded."""
    by_name, by_path = deeptwins.load("small"), deeptwins.load(small.path, "results")
    whole = deeptwins.load("small", unfinished=True)

    pd.testing.assert_frame_equal(by_name.epochs, by_path.epochs)
    assert [len(found.epochs) for found in (by_name, whole)] == [40, 88]
    assert [*by_name.runs["status"]] == ["done", "done", "unfinished", "unfinished", "failed", "failed"]
    assert by_name.epochs.groupby("twin")["train_error_pct"].last().min() < 3


def test_runs_of_another_setting_are_loaded_by_it(small, tmp_path):
    """With `settings`, the runs that were trained with them are loaded."""
    other = deeptwins.study.load(small.path, ["recipe.shift=2"])
    made.results(tmp_path, other)

    assert {*deeptwins.load("small", settings=["recipe.shift=2"]).runs["shift"]} == {2}


def test_what_cannot_be_loaded_is_named(small, tmp_path):
    """A study that is not there, or has no results, is an error that says so; so is a name that deeptwins lacks."""
    assert re.fullmatch(
        r'no study "smal" in ablations/ or .*/ablations/; did you mean small\?', refused(deeptwins.load, "smal")
    )
    assert refused(deeptwins.load, "small", "nowhere").startswith("nowhere/small: no such folder")
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        deeptwins.lod  # noqa: B018


def test_importing_deeptwins_loads_neither_pandas_nor_torch():
    """`import deeptwins` is cheap: what `load` needs is loaded by its first use."""
    code = "import sys, deeptwins; print({'pandas', 'torch', 'pydantic'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout  # noqa: S603

    assert said == "set()\n"


@pytest.mark.parametrize("form", READ)
def test_files_have_what_tables_have(small, tmp_path, form):
    """Every table that has rows is a file with the same columns and numbers; unfinished runs are in it."""
    target = tables.Tables(form, tmp_path / "out" / "small")
    told = target.take(small, tmp_path / "results", ())
    found = deeptwins.load("small", unfinished=True)

    assert told == {f"{name}.{form}": "new" for name in ("runs", "machines", "epochs", "layers")}
    for name in ("runs", "epochs"):
        read, table = READ[form](tmp_path / "out" / "small" / f"{name}.{form}"), getattr(found, name)
        assert [*read] == [*table] == [*COLUMNS[name]]
        for column, what in COLUMNS[name].items():
            if what.kind in {"integer", "number"}:
                assert [*read[column]] == [*table[column]]
    assert {*read["run"]} == {run.id for run in small.runs}
    assert {*target.take(small, tmp_path / "results", ()).values()} == {"the same"}


def stamps(folder):
    """When each file of a folder was written, and which it is."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_only_what_has_changed_is_written(small, tmp_path):
    """Files stay untouched until a record comes; then those that it is in change, and those without a row go."""
    target, folder = tables.Tables("csv", tmp_path / "out"), tmp_path / "out"
    target.take(small, tmp_path / "results", ())
    before = stamps(folder)
    target.take(small, tmp_path / "results", ())
    assert stamps(folder) == before

    _, unfinished, _ = small.runs
    made.write(tmp_path / "results", unfinished, made.records(unfinished, status=None)[:10])
    told = target.take(small, tmp_path / "results", ())
    assert {name: what for name, what in told.items() if what != "the same"} == {"epochs.csv": "changed"}

    for run in small.runs:
        made.write(tmp_path / "results", run, made.records(run, status=None)[:3])
    target.take(small, tmp_path / "results", ())
    assert sorted(path.stem for path in folder.iterdir()) == ["epochs", "machines", "runs"]


def test_text_in_csv_is_no_formula(small, tmp_path):
    """A cell of CSV that a spreadsheet would take for a formula is guarded as on pages; JSON lines have it as it is."""
    run = small.runs[0]
    lines = made.records(run)
    lines[0]["machine"]["cpu"] = '=HYPERLINK("x")'
    made.write(tmp_path / "results", run, lines)
    for form in ("csv", "jsonl"):
        tables.Tables(form, tmp_path / "out" / "small").take(small, tmp_path / "results", ())
    csv, jsonl = (tmp_path / "out" / "small" / f"machines.{form}" for form in ("csv", "jsonl"))

    assert "'=HYPERLINK" in csv.read_text()
    assert json.loads(jsonl.read_text().splitlines()[0])["cpu"] == '=HYPERLINK("x")'


def test_lists_and_tables_are_json(tmp_path, monkeypatch):
    """A cell that holds a list or a table is JSON."""
    monkeypatch.chdir(tmp_path)
    study = made.load(tmp_path, made.TOML.replace("[recipe]", "[recipe]\nmilestones = [100, 200]"))
    run = study.runs[0]
    lines = made.records(run)
    lines[0]["twins"]["plain"]["stages"] = [{"blocks": 1, "layers": 2, "output": [16, 8, 8]}]
    made.write(tmp_path / "results", run, lines)
    row = deeptwins.load(study.path).runs.iloc[0]

    assert json.loads(row["milestones"]) == [100, 200]
    assert json.loads(row["stages"])[0]["output"] == [16, 8, 8]


def test_the_example_of_the_documents_works(monkeypatch, capsys):
    """What docs/data.md shows in Python runs as it stands, in the repository."""
    monkeypatch.chdir(ROOT)
    (example,) = re.findall(r"```python\n(.*?)```", Path("docs/data.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(example, {})  # noqa: S102  our own text
    said = capsys.readouterr().out

    assert re.search(r"^56 +plain( +\d\d\.\d+){3}$", said, re.MULTILINE)
