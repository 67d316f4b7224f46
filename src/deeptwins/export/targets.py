"""Where numbers go: files of tables, or a tracker; by the name that `--to` gives."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from deeptwins.errors import InputError
from deeptwins.export.event_files import EventFiles
from deeptwins.export.mlflow_runs import DATABASE, MlflowRuns, in_folder
from deeptwins.export.trackers import Tracked, Tracker
from deeptwins.export.trackio_runs import TrackioRuns
from deeptwins.export.wandb_runs import WandbRuns
from deeptwins.study import Study

FOLDER = Path("exports")
TABLES = ("csv", "parquet", "jsonl")
DATABRICKS = "databricks"  # the one address of a server that looks like a folder


class Sink(Protocol):
    """What takes the numbers of a study."""

    def take(self, study: Study, results: Path, changed: Sequence[Path]) -> dict[str, str]:
        """Take what has changed; says of each net, or file, whether it is new, replaced, changed or the same."""

    def close(self) -> None:
        """Write what is still in memory."""


@dataclass(frozen=True)
class Opened:
    """Where an export lies, and what shows it."""

    where: str
    """A folder, or the address of a store."""
    what: str
    """What the export has several of: files or nets."""
    shown_by: str
    """The command; empty where any program reads it."""
    target: Sink


SHOWN_BY = {
    "tensorboard": "tensorboard --logdir {where}",
    "mlflow": "mlflow server --backend-store-uri {where}",
    "trackio": "TRACKIO_DIR={where} trackio show --project deeptwins-{study}",
    "wandb": "wandb sync {where}/wandb/offline-run-*",
}
"""The command, by tracker, that shows its runs or uploads them."""
NAMES = (*TABLES, *SHOWN_BY)


def place(name: str, out: str | None, results: Path, study: Study) -> Opened:
    """Open a target.

    Args:
        name: of `NAMES`.
        out: the folder that was asked for; for MLflow also the address of a store.
        results: the folder of results, in which no other files may lie.
        study: whose numbers are exported.

    Raises:
        InputError: the folder lies in that of results, the client is not installed, or it fails.
    """
    address = None
    if name == "mlflow":  # which reads its variable itself, whatever is in it
        uri = out is not None and ("://" in out or out == DATABRICKS)
        address = out if uri else os.environ.get("MLFLOW_TRACKING_URI") if out is None else None
    file, folder = _file(address) if address else None, Path(out or FOLDER / name)
    if (file or not address) and Path(file or folder).resolve().is_relative_to(results.resolve()):
        raise InputError(f"--out {address or out}: in {results}, where records alone may lie; choose another folder")
    if name in TABLES:
        folder /= _name(study)
        tables: Sink = import_module("deeptwins.export.tables").Tables(name, folder)  # trackers need no pandas
        return Opened(str(folder), "file", "", tables)
    make: dict[str, Callable[[], Tracker]] = {
        "tensorboard": lambda: EventFiles(folder),
        "mlflow": lambda: MlflowRuns(address or in_folder(folder)),
        "trackio": lambda: TrackioRuns(folder),
        "wandb": lambda: WandbRuns(folder),
    }
    where = str(folder) if name != "mlflow" else address or f"sqlite:///{folder / DATABASE}"
    server = bool(address) and file is None  # it shows itself
    shown_by = "" if server else SHOWN_BY[name].format(where=shlex.quote(where), study=study.name)
    if name == "mlflow":
        beside = Path(file) if file else folder / DATABASE
        lock = None if server else beside.with_name(f"{beside.name}.{study.name}.lock")
    else:
        lock = folder / f".{study.name}.lock"
    return Opened(where, "net", shown_by, Tracked(name, make[name], lock))


def _file(address: str) -> str | None:
    """Return the file or folder of a store's address; None: it is that of a server."""
    for scheme in ("sqlite:///", "file://"):
        if address.startswith(scheme):
            return address.removeprefix(scheme)
    return None if "://" in address or address == DATABRICKS else address


def _name(study: Study) -> str:
    """Name the folder of a study's tables as that of its page: another recipe has another."""
    if not study.settings:
        return study.name
    name: str = import_module("deeptwins.pages.study.commands").folder(study)  # takes a second to load
    return name
