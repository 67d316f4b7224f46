"""The files of a run, all in `results/<study>/`: what it leaves behind, and what it needs while it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from deeptwins.system.disk import part_of


class Identified(Protocol):
    """Anything that has a study and an id, such as a run's specification."""

    @property
    def study(self) -> str:
        """The name of its study."""

    @property
    def id(self) -> str:
        """Its name within the study; it ends in a hash."""


@dataclass(frozen=True)
class RunFiles:
    """Where the files of one run lie."""

    results: Path
    """The folder of all results."""
    study: str
    id: str

    @classmethod
    def of(cls, results: Path, run: Identified) -> Self:
        """The files of a run."""
        return cls(results, run.study, run.id)

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.results / self.study

    @property
    def records(self) -> Path:
        """Its records: all that a finished run leaves."""
        return self.folder / f"{self.id}.jsonl"

    @property
    def checkpoint(self) -> Path:
        """Its last checkpoint, while the run is unfinished."""
        return self.folder / f"{self.id}.checkpoint"

    @property
    def corrupt(self) -> Path:
        """A checkpoint that could not be used, set aside."""
        return self.folder / f"{self.id}.corrupt"

    @property
    def log(self) -> Path:
        """The traceback of a failed run."""
        return self.folder / f"{self.id}.log"

    @property
    def parts(self) -> tuple[Path, ...]:
        """What a kill may leave while records or checkpoint are being replaced; removed when the run continues."""
        return part_of(self.records), part_of(self.checkpoint)

    @property
    def lock(self) -> Path:
        """The empty lock file of the study; each run locks one byte of it."""
        return self.folder / ".lock"

    @property
    def lock_byte(self) -> int:
        """The byte of `lock` that stands for the run: the hash at the end of its id."""
        return int(self.id.rsplit("-", 1)[1], 16)
