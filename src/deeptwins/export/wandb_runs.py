"""Weights & Biases: a run per unit, in the project `deeptwins-STUDY`, offline; `wandb sync` uploads it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deeptwins.export import units
from deeptwins.export.trackers import client
from deeptwins.export.units import Point, Unit
from deeptwins.system import disk

FOLDER = "wandb"  # that the client makes


class WandbRuns:
    """Offline runs. A run that was written cannot be continued, so a later export writes it anew, under the same id."""

    def __init__(self, out: Path) -> None:
        self._wandb: Any = client("wandb", "wandb")
        self._out = out
        self._open: dict[str, tuple[Any, str]] = {}
        """By key: the client's run, and the mark of what it has."""
        (out / FOLDER).mkdir(parents=True, exist_ok=True)  # else the client takes a folder for temporary files

    def left(self, unit: Unit) -> str | None:
        """Return the mark of a run in hand, or of one that is written and has all points."""
        if unit.key in self._open:
            return self._open[unit.key][1]
        try:
            left = self._mark(unit).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return left if not units.lacking(unit, left) else ""

    def begin(self, unit: Unit) -> None:
        """Make a run with the settings; what was written of this run before is deleted."""
        if unit.key in self._open:
            self._open.pop(unit.key)[0].finish()
        mark = self._mark(unit)
        if mark.exists():
            header = mark.read_text(encoding="utf-8").split(" ")[0]
            self._remove(units.identify(unit.key, header))
            mark.unlink()
        self._remove(unit.id)
        quiet = self._wandb.Settings(
            mode="offline",
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
        )
        run = self._wandb.init(
            project=f"deeptwins-{unit.study}",
            id=unit.id,
            name=unit.name,
            group=unit.run,
            config={**unit.settings, "run": unit.run, "twin": unit.twin},
            dir=str(self._out),
            reinit="create_new",
            settings=quiet,
        )
        disk.replace(mark, units.mark(unit, 0).encode())  # so that what a kill leaves is found, and goes
        self._open[unit.key] = run, units.mark(unit, 0)

    def add(self, unit: Unit, points: Sequence[Point]) -> None:
        """Log points; a run that is over is written, and its mark after it."""
        run, _ = self._open[unit.key]
        for point in points:
            run.log(dict(point.metrics), step=point.iteration)
        run.summary["status"] = unit.status
        self._open[unit.key] = run, units.mark(unit)
        if unit.over:
            self._write(unit.key, self._mark(unit))

    def close(self) -> None:
        """Write the runs in hand."""
        for key in [*self._open]:
            self._write(key, self._out / FOLDER / f"{units.identify(key, '')}.mark")

    def _write(self, key: str, mark: Path) -> None:
        """Write a run, and then the mark that it is whole: what a kill leaves is written anew."""
        run, left = self._open.pop(key)
        run.finish()
        disk.replace(mark, left.encode())

    def _mark(self, unit: Unit) -> Path:
        return self._out / FOLDER / f"{units.identify(unit.key, '')}.mark"

    def _remove(self, number: str) -> None:
        for folder in (self._out / FOLDER).glob(f"offline-run-*-{number}"):
            shutil.rmtree(folder)
