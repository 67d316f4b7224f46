"""Torture: kills, full disks, poor file systems and damaged files, with counts: `tox -e torture [-- PART ...]`.

Every case is numbered; `PART:NUMBER` tries one again, with the same seed. Exit code 1 where anything was defective.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

# Before torch is imported: a process per case, on one core.
os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "made")]

import typer  # noqa: E402

import children  # noqa: E402
import disks  # noqa: E402
import files  # noqa: E402
import kills  # noqa: E402
from tally import Tally, table  # noqa: E402

GOALS = {"kills": 500, "records": 5_000, "checkpoints": 2_000, "studies": 10_000, "data": 5_000, "disks": 28}
SHARES = {"kills": 50, "records": 20, "checkpoints": 12, "studies": 4, "data": 6, "disks": 8}  # % of the time, at most


def main(
    parts: Annotated[list[str] | None, typer.Argument(metavar="PART[:NUMBER]", help=", ".join(GOALS))] = None,
    minutes: Annotated[float, typer.Option(help="End by then; parts that need less leave more to others.")] = 60,
    seed: Annotated[int, typer.Option(help="Of all that is chosen at random.")] = 0,
) -> None:
    """Try to break deeptwins, and count how each attempt ended."""
    chosen = [part.partition(":") for part in parts or GOALS]
    if unknown := {name for name, _, _ in chosen} - GOALS.keys():
        raise typer.BadParameter(f"no part {min(unknown)}: choose from {', '.join(GOALS)}")
    end = time.monotonic() + 60 * minutes
    tallies = []
    left = sum(SHARES[name] for name, _, _ in chosen)
    for name, _, number in chosen:
        # What earlier parts did not need is left to later ones.
        deadline = time.monotonic() + (end - time.monotonic()) * SHARES[name] / left
        left -= SHARES[name]
        numbers = range(int(number), int(number) + 1) if number else range(GOALS[name])
        tallies.append(_tortured(name, numbers, seed, deadline))
    typer.echo("\n".join(table(tallies)))
    if any(tally.defects for tally in tallies):
        raise typer.Exit(1)


def _tortured(name: str, numbers: range, seed: int, deadline: float) -> Tally:
    """Try the cases of a part."""
    tally = Tally(name)
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        if name in files.PARTS:
            prepared = files.PARTS[name](Path(folder), seed)
            children.try_all(tally, prepared.case, prepared.restore, numbers, deadline)
        else:
            part: Callable[..., None] = {"kills": kills.try_all, "disks": disks.try_all}[name]
            part(tally, Path(folder), numbers, seed, deadline)
    if tally.skipped:
        typer.echo(f"{name}: {tally.skipped}")
    return tally


if __name__ == "__main__":
    typer.run(main)
