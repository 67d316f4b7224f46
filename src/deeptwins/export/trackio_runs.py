"""trackio: a run per unit, in the project `deeptwins-STUDY` of a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deeptwins.export import units
from deeptwins.export.trackers import client
from deeptwins.export.units import Point, Unit

MARK = "deeptwins_mark"


class TrackioRuns:
    """Runs of trackio. Records have no times, so all that is measured has that of the run's start."""

    def __init__(self, out: Path) -> None:
        os.environ["TRACKIO_DIR"] = str(out.absolute())  # which it reads when it is imported
        self._store: Any = client("trackio.sqlite_storage", "trackio").SQLiteStorage
        out.mkdir(parents=True, exist_ok=True)

    def left(self, unit: Unit) -> str | None:
        """Return the mark of the unit's run."""
        found = self._found(unit)
        if not found:
            return None
        config = self._store.get_run_config(_project(unit), unit.name, run_id=found[0]) or {}
        return str(config.get(MARK, "")) if found == [unit.id] else ""

    def begin(self, unit: Unit) -> None:
        """Remove an older run; a new one begins with its first points."""
        for old in self._found(unit):
            self._store.delete_run(_project(unit), unit.name, run_id=old)

    def add(self, unit: Unit, points: Sequence[Point]) -> None:
        """Log points, settings and mark, all at once."""
        at = datetime.fromtimestamp(unit.started, UTC).isoformat()
        about = {"twin": unit.twin, "run": unit.run, "status": unit.status, MARK: units.mark(unit)}
        self._store.bulk_log(
            _project(unit),
            unit.name,
            [dict(point.metrics) for point in points],
            steps=[point.iteration for point in points],
            timestamps=[at] * len(points),
            config={**unit.settings, **about, "_Group": unit.run, "_Created": at},
            run_id=unit.id,
        )

    def close(self) -> None:
        """Do nothing: what is logged is logged."""

    def _found(self, unit: Unit) -> list[str]:
        """The ids of runs that have the unit's name."""
        project = _project(unit)
        if not self._store.get_project_db_path(project).exists():
            return []
        return [str(run["id"]) for run in self._store.get_run_records(project) if run["name"] == unit.name]


def _project(unit: Unit) -> str:
    return f"deeptwins-{unit.study}"
