"""The command `deeptwins doctor`: what is on this machine."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from deeptwins.cli.console import ABLATIONS, RESULTS, say, tell, wrap
from deeptwins.cli.options import AsJson, Data, results_option
from deeptwins.system.spoken import heard

Own = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATASET", help="Datasets of your own, as studies name them: folder:PATH or package.module:attribute."
    ),
]
ResultsFolder = Annotated[Path, results_option("Where the records of runs go.")]


def doctor(
    own: Own = None,
    *,
    data: Data = None,
    results: ResultsFolder = RESULTS,
    as_json: AsJson = False,  # noqa: ARG001  see `tell`
) -> None:
    """Tell what is on this machine, and so what can run.

    Of datasets in folders, it tells which files are left out.
    """
    from deeptwins import data as datasets
    from deeptwins.kernels import IMPLEMENTATIONS, unavailable
    from deeptwins.records import host
    from deeptwins.train import device as devices

    device = devices.device("auto").type
    found: dict[str, Any] = dict(devices.describe(device))
    found |= {"commit": devices.commit(), "workers": host.cores() if device == "cpu" else 1}
    found |= {
        "load": host.load(),
        "busy": host.busy(),
        "native_bf16": devices.native_bf16(device),
        "free_disk_gib": _free(results),
    }
    found["fused_ops"] = {name: unavailable(name, device) or "can run" for name in IMPLEMENTATIONS}
    with heard(partial(say, err=True)):
        found["datasets"] = dict(datasets.available(data)) | {name: datasets.look(name, data) for name in own or []}
    found["studies"] = sorted(path.stem for path in ABLATIONS.glob("*.toml"))
    tell(lambda: found)
    _print(found, results)


def _print(found: dict[str, Any], results: Path) -> None:
    """Print a row for each thing that was found."""
    busy, fused, datasets, studies = (found.pop(key) for key in ("busy", "fused_ops", "datasets", "studies"))
    quiet = "busy: times measured now are too long" if busy else "quiet enough to measure times"
    bf16 = {True: "native", False: "imitated, slowly", None: "not known"}
    rows = found | {
        "workers": f"{found['workers']} by default",
        "load": f"{found['load']:.1f} on {found['cores']} cores in the last minute; {quiet}",
        "native_bf16": bf16[found["native_bf16"]],
        "free_disk_gib": f"{found['free_disk_gib']} GiB where {results}/ lies",
    }
    names = {"native_bf16": "bf16", "free_disk_gib": "free disk", "memory_gib": "memory"}
    rows |= {"memory_gib": f"{found['memory_gib']} GiB"}
    rows = {names.get(key, key): value for key, value in rows.items()}
    rows |= {f"fused op {name}": state for name, state in fused.items()}
    rows |= {f"dataset {name}": state for name, state in datasets.items()}
    rows["studies"] = ", ".join(studies) or f"none: no folder {ABLATIONS}/ here; go to the repository's root"
    widest = max(map(len, rows))
    for key, value in rows.items():
        wrap(f"{key:{widest}}  {'none' if value is None else value}", hanging=widest + 2)


def _free(folder: Path) -> float:
    """How much of the disk that a folder is on, or will be on, is free, in GiB."""
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return round(shutil.disk_usage(there).free / 2**30, 1)
