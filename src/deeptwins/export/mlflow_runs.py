"""MLflow: a run per unit, in the experiment `deeptwins-STUDY` of a tracking server or of an SQLite file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deeptwins.export import units
from deeptwins.export.trackers import client
from deeptwins.export.units import Point, Unit

MOST_METRICS, MOST_PARAMS, LONGEST = 1000, 100, 6000  # of a request; characters of a parameter
UNIT, MARK = "deeptwins.unit", "deeptwins.mark"  # tags
DATABASE = "mlflow.db"
PAGE = 1000  # runs an answer lists
STATUS = {"unfinished": "RUNNING", "failed": "FAILED"}
QUIET = {"MLFLOW_LOGGING_LEVEL": "WARNING", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


class MlflowRuns:
    """Runs of MLflow. Records have no times, so all that is measured has that of the run's start."""

    def __init__(self, address: str) -> None:
        """Open the store at an address, as MLflow's tracking URI."""
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        mlflow: Any = client("mlflow", "mlflow")
        self._entities: Any = client("mlflow.entities", "mlflow")
        self._artifacts = None
        if (file := Path(address.removeprefix("sqlite:///"))).name == DATABASE:
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists():  # a store that is half made, MLflow neither finishes nor mends
                with TemporaryDirectory(prefix=f".{DATABASE}-", dir=file.parent) as folder:
                    whole = Path(folder, DATABASE)
                    mlflow.MlflowClient(tracking_uri=f"sqlite:///{whole}").search_experiments(max_results=1)
                    if not file.exists():  # nobody has made it meanwhile
                        whole.replace(file)
            self._artifacts = file.with_name("artifacts").absolute().as_uri()  # else where the command is given
        self._client = mlflow.MlflowClient(tracking_uri=address)
        self._found: dict[str, dict[str, Any]] = {}
        """By study, its runs by the unit's key."""
        self._experiments: dict[str, str] = {}

    def left(self, unit: Unit) -> str | None:
        """Return the mark of the unit's run."""
        run = self._runs(unit.study).get(unit.key)
        return run and run.data.tags.get(MARK, "")

    def begin(self, unit: Unit) -> None:
        """Make a run with the settings, in the place of an older one."""
        runs = self._runs(unit.study)
        if unit.key in runs:
            self._client.delete_run(runs.pop(unit.key).info.run_id)
        tags = {UNIT: unit.key, "deeptwins.run": unit.run, "deeptwins.twin": unit.twin, "seed": str(unit.seed)}
        if unit.commit:
            tags["mlflow.source.git.commit"] = unit.commit
        run = self._client.create_run(self._experiments[unit.study], int(1000 * unit.started), tags, unit.name)
        params = [self._entities.Param(key, str(value)[:LONGEST]) for key, value in unit.settings.items()]
        for i in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run.info.run_id, params=params[i : i + MOST_PARAMS])
        runs[unit.key] = run

    def add(self, unit: Unit, points: Sequence[Point]) -> None:
        """Log points, the mark last: what a kill has left half done is logged again, which adds nothing."""
        run = self._runs(unit.study)[unit.key]
        at = int(1000 * unit.started)
        metrics = [
            self._entities.Metric(key, value, at, point.iteration)
            for point in points
            for key, value in point.metrics.items()
        ]
        if unit.over:
            ended = at + int(1000 * (unit.seconds or 0))
            self._client.set_terminated(run.info.run_id, STATUS.get(unit.status, "FINISHED"), ended)
        while len(metrics) > MOST_METRICS:
            self._client.log_batch(run.info.run_id, metrics=metrics[:MOST_METRICS])
            del metrics[:MOST_METRICS]
        told = {"deeptwins.status": unit.status, MARK: units.mark(unit)}
        tags = [self._entities.RunTag(key, value) for key, value in told.items()]
        self._client.log_batch(run.info.run_id, metrics=metrics, tags=tags)
        run.data.tags[MARK] = told[MARK]

    def close(self) -> None:
        """Do nothing: what is logged is logged."""

    def _runs(self, study: str) -> dict[str, Any]:
        """List the runs of a study, once."""
        if study not in self._found:
            name = f"deeptwins-{study}"
            experiment = self._client.get_experiment_by_name(name)
            number = experiment.experiment_id if experiment else self._client.create_experiment(name, self._artifacts)
            runs: list[Any] = []
            token = None
            while True:
                page = self._client.search_runs([number], max_results=PAGE, page_token=token)
                runs += page
                token = page.token
                if not token:
                    break
            self._experiments[study] = number
            self._found[study] = {run.data.tags[UNIT]: run for run in runs if UNIT in run.data.tags}
        return self._found[study]


def in_folder(out: Path) -> str:
    """Return the address of the SQLite file in a folder."""
    return f"sqlite:///{out.absolute() / DATABASE}"
