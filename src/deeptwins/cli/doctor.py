"""The command `deeptwins doctor`: what is on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from deeptwins.cli.console import ABLATIONS, print_table
from deeptwins.cli.options import Data

Own = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATASET", help="Datasets of your own, as studies name them: folder:PATH."),
]


def doctor(own: Own = None, data: Data = None) -> None:
    """Tell what is on this machine, and so what can run.

    Of datasets in folders, it tells which files are left out.
    """
    from deeptwins import data as datasets
    from deeptwins.kernels import IMPLEMENTATIONS, unavailable
    from deeptwins.records import host
    from deeptwins.train import device as devices

    device = devices.device("auto").type
    rows = [(key, "none" if value is None else str(value)) for key, value in devices.describe(device).items()]
    rows += [("commit", devices.commit() or "none")]
    rows += [("workers", f"{host.cores()} by default" if device == "cpu" else "1 by default")]
    rows += [(f"fused op {name}", unavailable(name, device) or "can run") for name in IMPLEMENTATIONS]
    rows += [(f"dataset {name}", where) for name, where in datasets.available(data)]
    rows += [(f"dataset {name}", datasets.look(name, data)) for name in own or []]
    names = sorted(path.stem for path in ABLATIONS.glob("*.toml"))
    rows += [("studies", ", ".join(names) or f"none: no folder {ABLATIONS}/ here; go to the repository's root")]
    print_table(rows)
