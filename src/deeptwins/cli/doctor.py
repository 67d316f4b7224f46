"""The command `deeptwins doctor`: what is on this machine."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from deeptwins.cli.console import ABLATIONS, RESULTS, TRAINING, beginning, missing, needs_training, say, tell, wrap
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
    """Tell what this machine has, and what can run on it.

    For a dataset in a folder, tell which files are left out.
    """
    from deeptwins import study
    from deeptwins.records import host

    found: dict[str, Any]
    try:
        found = _of_training(own or [], data)
    except ModuleNotFoundError as error:
        if error.name not in TRAINING or own:
            raise
        found = _without_training() | {"training": missing(error.name)}
    found |= {"load": host.load(), "busy": host.busy(), "free_disk_gib": _free(results)}
    found["studies"] = [*study.known(ABLATIONS)]
    tell(lambda: found)
    _print(found, results)


def _of_training(own: Sequence[str], data: Path | None) -> dict[str, Any]:
    """Tell of this machine what training takes: the device, the versions, the fused ops, the datasets."""
    needs_training()
    beginning("loading PyTorch")
    from deeptwins import data as datasets
    from deeptwins.kernels import IMPLEMENTATIONS, unavailable
    from deeptwins.records import host
    from deeptwins.train import device as devices

    device = devices.device("auto").type
    found: dict[str, Any] = dict(devices.describe(device))
    found |= {"commit": devices.commit(), "workers": host.cores() if device == "cpu" else 1}
    found["native_bf16"] = devices.native_bf16(device)
    found["training"] = None
    found["fused_ops"] = {name: unavailable(name, device) or "can run" for name in IMPLEMENTATIONS}
    with heard(partial(say, err=True)):
        found["datasets"] = dict(datasets.available(data)) | {name: datasets.look(name, data) for name in own}
    return found


def _without_training() -> dict[str, Any]:
    """Tell of this machine what can be told without PyTorch."""
    from deeptwins import __version__
    from deeptwins.records import host

    found: dict[str, Any] = {"cpu": host.processor(), "cores": host.cores(), "memory_gib": host.memory_gib()}
    found |= {"os": f"{platform.system()} {platform.release()}", "python": platform.python_version()}
    return found | {"deeptwins": __version__, "native_bf16": host.native_bf16(), "fused_ops": {}, "datasets": {}}


def _print(found: dict[str, Any], results: Path) -> None:
    """Print a row for each thing that was found."""
    busy, fused, datasets, studies = (found.pop(key) for key in ("busy", "fused_ops", "datasets", "studies"))
    quiet = "busy: times measured now are too long" if busy else "quiet enough to measure times"
    bf16 = {True: "native", False: "imitated, slowly", None: "not known"}
    rows = found | {
        "load": f"{found['load']:.1f} on {found['cores']} cores in the last minute; {quiet}",
        "native_bf16": bf16[found["native_bf16"]],
        "memory_gib": f"{found['memory_gib']} GiB",
        "free_disk_gib": f"{found['free_disk_gib']} GiB where {results}/ lies",
        "training": found["training"] or "can run",
    }
    if "workers" in found:
        rows["workers"] = f"{found['workers']} by default"
    names = {"native_bf16": "bf16", "free_disk_gib": "free disk", "memory_gib": "memory"}
    rows = {names.get(key, key): value for key, value in rows.items()}
    rows |= {f"fused op {name}": state for name, state in fused.items()}
    rows |= {f"dataset {name}": state for name, state in datasets.items()}
    rows["studies"] = ", ".join(studies)
    widest = max(map(len, rows))
    for key, value in rows.items():
        wrap(f"{key:{widest}}  {'none' if value is None else value}", hanging=widest + 2)


def _free(folder: Path) -> float:
    """How much of the disk that a folder is on, or will be on, is free, in GiB."""
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return round(shutil.disk_usage(there).free / 2**30, 1)
