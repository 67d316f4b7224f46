"""The course of a run: in which order its records must come, and after which iterations its nets are evaluated."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Protocol

from deeptwins.records.kinds import Budget


class Schedule(Protocol):
    """What of a recipe decides when its nets are evaluated."""

    @property
    def iterations(self) -> int:
        """The number of iterations that the twin trains."""

    @property
    def batch_size(self) -> int:
        """Images an iteration."""

    @property
    def evaluate_every(self) -> int:
        """Epochs from one evaluation to the next."""

    @property
    def grow_at(self) -> int | None:
        """After so many iterations nets are grown."""


def evaluations(recipe: Schedule, images: int) -> list[int]:
    """The iterations, counted from 1, after which nets are evaluated.

    They are those that complete a multiple of `evaluate_every` epochs, the one before nets are grown, and the last.

    Args:
        recipe: how they are trained.
        images: of the training split.
    """
    epochs = images * recipe.evaluate_every
    complete = {
        -(-n * epochs // recipe.batch_size) for n in range(1, recipe.iterations * recipe.batch_size // epochs + 1)
    }
    return sorted(complete | {recipe.iterations} | ({recipe.grow_at} if recipe.grow_at else set()))


class Course:
    """The course of a run, record by record."""

    def __init__(self, path: Path) -> None:
        self._study, self._run = path.parent.name, path.stem
        self._header: dict[str, Any] = {}
        self._over = False
        self._reached: dict[tuple[str, str], int] = {}
        self._evaluated: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def take(self, record: dict[str, Any]) -> None:
        """Check a record, whose fields are of their types, against those before it.

        Raises:
            ValueError: it does not belong here; says why.
        """
        if self._over:
            raise ValueError("a record after the run's end")
        if not self._header:
            self._begin(record)
        elif record["kind"] == "run":
            raise ValueError("a second header")
        elif record["kind"] == "end":
            self._end(record)
        else:
            self._go_on(record)

    def _begin(self, record: dict[str, Any]) -> None:
        """Check the header against the file's place and itself."""
        if record["kind"] != "run":
            raise ValueError(f"a run's first record must be of kind run, not {record['kind']!r}")
        for key, place in (("study", self._study), ("run", self._run)):
            if record[key] != place:
                raise ValueError(f"of {key} {record[key]!r}, and it lies where {place!r} belongs")
        data = record["dataset"]
        if (data.get("commonest") or 0) > data["train"]:
            raise ValueError(f"dataset.commonest: {data['commonest']}, and dataset.train is {data['train']}")
        if set(record["twins"]) != set(record["spec"]["twins"]):
            raise ValueError("twins: not those of spec.twins")
        self._header = record

    def _go_on(self, record: dict[str, Any]) -> None:
        """Check what was recorded after an iteration."""
        last = self._header["spec"]["recipe"]["iterations"]
        if record["iteration"] > last:
            raise ValueError(f"iteration: {record['iteration']}, and the recipe has {last}")
        if record["kind"] == "move":
            return
        if record["twin"] not in self._header["twins"]:
            raise ValueError(f"twin: {record['twin']!r} is none of this run")
        # Every number has one place: no evaluation, layer or block comes twice, or before an earlier one.
        series = record["kind"], record["twin"]
        place = record.get("layer") or record.get("block") or record["iteration"]
        if place <= self._reached.get(series, 0):
            raise ValueError(f"a second {record['kind']} record of {record['twin']} at {place}, or one out of order")
        self._reached[series] = place
        if record["kind"] == "epoch":
            self._evaluated[record["twin"]].append(record)

    def _end(self, record: dict[str, Any]) -> None:
        """Check that a run that was trained to its end has all evaluations; a twin that diverged, up to there."""
        self._over = True
        if record["status"] == "failed":
            return
        due = evaluations(Budget.model_validate(self._header["spec"]["recipe"]), self._header["dataset"]["train"])
        for twin in self._header["twins"]:
            evaluated = [epoch["iteration"] for epoch in self._evaluated[twin]]
            diverged = evaluated and None in (self._evaluated[twin][-1][key] for key in ("train_loss", "running_loss"))
            missing = [iteration for iteration in due if iteration not in evaluated]
            if diverged and record["status"] == "diverged":
                missing = [iteration for iteration in missing if iteration < evaluated[-1]]
            if missing:
                raise ValueError(f"the end of a run without the evaluation of {twin} after iteration {missing[0]}")
            if strange := sorted({*evaluated} - {*due}):
                raise ValueError(f"the end of a run with an evaluation of {twin} after iteration {strange[0]}, not due")
