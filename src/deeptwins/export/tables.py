"""The tables of a study's records: as DataFrames for one's own analysis, and as CSV, Parquet or JSON lines."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from deeptwins import study as studies
from deeptwins.export.columns import COLUMNS, typed
from deeptwins.findings import frames
from deeptwins.findings.frames import Frames
from deeptwins.pages.tables import csv
from deeptwins.study import Study
from deeptwins.system import disk


def load(
    study: str | Path, results: str | Path = "results", *, settings: Sequence[str] = (), unfinished: bool = False
) -> Frames:
    """Return the records of a study as tables: `runs`, `epochs`, `layers` and so on, each a DataFrame.

    docs/columns.md lists all columns, with their types and units.

    Args:
        study: its name, or the path of its .toml file.
        results: the folder of results.
        settings: `recipe.KEY=VALUE` texts: reads the runs that were trained with these, as `--set` does.
        unfinished: also take what runs have recorded that have not finished, or have failed. It is no result yet.

    Raises:
        deeptwins.errors.InputError: there is no such study or no folder of its results, or a file is damaged.
    """
    asked = studies.load(studies.find(str(study)), settings)
    return tidy(frames.load(asked, Path(results), unfinished=unfinished))


def tidy(found: Frames) -> Frames:
    """Give every table the columns that are promised, each of its type."""
    tables: dict[str, Any] = {name: typed(name, getattr(found, name)) for name in COLUMNS}
    return replace(found, **tables)


def _csv(table: pd.DataFrame) -> bytes:
    return csv(table).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    table.to_parquet(content, engine="pyarrow", index=False)
    return content.getvalue()


def _jsonl(table: pd.DataFrame) -> bytes:
    return b"".join(_lines(table))


def _lines(table: pd.DataFrame) -> Iterator[bytes]:
    for row in table.to_dict("records"):
        known = {str(key): _plain(value) for key, value in row.items()}
        yield json.dumps(known, allow_nan=False).encode() + b"\n"


def _plain(value: object) -> object:
    """Return a value as JSON has it: what is missing, or no number, is null."""
    missing = value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value))
    return None if missing else value


FORMS: dict[str, Callable[[pd.DataFrame], bytes]] = {"csv": _csv, "parquet": _parquet, "jsonl": _jsonl}


@dataclass(frozen=True)
class Tables:
    """Writes the tables of a study, a file each, without those that have no row."""

    form: str
    """Of `FORMS`."""
    folder: Path

    def take(self, study: Study, results: Path, _changed: Sequence[Path]) -> dict[str, str]:
        """Write the tables anew, as they are now; a file whose content stays the same is not touched.

        Raises:
            InputError: a record is damaged.
            OSError: the folder cannot be written.
        """
        found = tidy(frames.load(study, results, unfinished=True))
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {}
        for name in COLUMNS:
            table, path = getattr(found, name), self.folder / f"{name}.{self.form}"
            if table.empty:
                path.unlink(missing_ok=True)  # of runs that are gone
                continue
            content = FORMS[self.form](table)
            before = path.read_bytes() if path.is_file() else None
            told[path.name] = "the same" if before == content else "new" if before is None else "changed"
            if before != content:
                disk.replace(path, content)
        return told

    def close(self) -> None:
        """Do nothing: every file is whole."""
