"""Columns: what is promised of the tables is what they have."""

import json

import pandas as pd
import pytest

import made
from deeptwins import study
from deeptwins.export import columns, tables
from deeptwins.export.columns import COLUMNS
from deeptwins.findings import frames
from deeptwins.records.kinds import OF_TWINS
from deeptwins.study.specs import Net, Recipe
from places import ROOT

TABLES = {"epoch": "epochs", "gradient": "gradients", "layer": "layers", "block": "blocks"}
TABLES |= {"precise": "precise", "growth": "growth"}


@pytest.fixture(scope="module")
def real():
    """The tables of the reference study that has all kinds of records."""
    return frames.load(study.load(ROOT / "ablations" / "nested.toml"), ROOT / "results" / "reference")


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_is_described(real, name):
    """A table of real records has no column that is not described, and lacks only what its study does not record."""
    there = {*getattr(real, name)} - {"kind"}

    assert there <= {*COLUMNS[name]}
    assert {*COLUMNS[name]} - there <= {"validation_error_pct", "validation_loss", "cuda", "cudnn"}


@pytest.mark.parametrize(("kind", "name"), TABLES.items())
def test_every_field_of_a_record_has_its_column(kind, name):
    """A field that is recorded of a twin is a column; the norms of gradients are one column, by layer."""
    fields = {*OF_TWINS[kind].model_fields} - {"kind", "norms"}

    assert fields <= {*COLUMNS[name]}
    assert {*Net.model_fields, *Recipe.model_fields} <= {*COLUMNS["runs"]}
    assert {*columns.ROWS} == {*COLUMNS}


def test_a_column_has_its_type_whatever_is_in_it(real, tmp_path):
    """A column has the same type in a study with all kinds of records as in one without a row, and in every order."""
    small = made.small(tmp_path)
    tmp_path.joinpath("results", "small").mkdir(parents=True)
    empty = tables.tidy(frames.load(small, tmp_path / "results"))
    full = tables.tidy(real)

    for name, described in COLUMNS.items():
        types = getattr(full, name).dtypes
        assert [*types.index] == [*described]
        assert types.equals(getattr(empty, name).dtypes)
        assert (
            not getattr(full, name)[[key for key, what in described.items() if not what.missing]].isna().any(axis=None)
        )


def test_what_is_no_column_of_ours_comes_last_as_it_is():
    """A field that a machine has beside those described follows them."""
    table = columns.typed("machines", pd.DataFrame([{"tpu": 4, "run": "a", "commit": None, "cores": 2.0}]))

    assert [*table] == [*COLUMNS["machines"], "tpu"]
    assert (table["tpu"][0], table["cores"][0], table["commit"].isna()[0]) == (4, 2, True)


def test_a_net_of_ones_own_has_its_columns(tmp_path):
    """What it consists of is JSON, and how much of it was drawn anew is a number; other nets have none and 0."""
    twins = 'own = { family = "nowhere.nets:make" }\nplain = { family = "cifar" }'
    asked = made.small(tmp_path, twins, "[[vary]]\ndepth = 8\nseed = 0\n")
    first, *lines = made.records(asked.runs[0])
    child = {"name": "body", "kind": "Block", "output": [8], "parameters": 10}
    first["twins"]["own"] |= {"children": [child], "redrawn": ["a", "b"]}
    made.write(tmp_path / "results", asked.runs[0], [first, *lines])

    runs = tables.tidy(frames.load(asked, tmp_path / "results")).runs.set_index("twin")

    assert (runs["redrawn"]["own"], runs["redrawn"]["plain"]) == (2, 0)
    assert json.loads(runs["children"]["own"]) == [child]
    assert runs["children"].isna()["plain"]


def test_the_document_names_every_table():
    """docs/data.md says of each table what a row is."""
    text = ROOT.joinpath("docs", "data.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]

    assert {*COLUMNS} <= {name.strip(" `") for row in rows for name in row.split(",")}
