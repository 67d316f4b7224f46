"""A study and its records as they come: what has changed since the last look, until all its runs are over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deeptwins import records
from deeptwins import study as studies
from deeptwins.errors import InputError
from deeptwins.records import RunFiles
from deeptwins.study import Study, extending

PAUSE_SECONDS = 1.0  # between two looks
SHARE = 5  # times as long as what followed the last look took, at least: those who train need the processor

Stamp = tuple[int, int, int]


class Watched:
    """A study and the files of its records, as they were at the last look."""

    def __init__(self, study: Study, results: Path) -> None:
        self._results, self._folder = results, results / study.name
        self._content: object = None
        self._stamps: dict[Path, Stamp] = {}
        self._over: set[Path] = set()
        self._read(study)
        self.edited = False
        """Whether the study was another at the look before."""
        self.unread: InputError | None = None
        """Why the study's file could not be read at the last look: the study stays what it was."""
        self.damaged: dict[Path, InputError] = {}
        """What was wrong with files at the last look."""
        self.removed = False
        """Whether there were files at the look before that had gone at the last one."""

    @property
    def done(self) -> bool:
        """Whether every run that the study asks for was over at the last look."""
        return self._asked <= self._over

    @property
    def any(self) -> bool:
        """Whether there were files at the last look."""
        return bool(self._stamps)

    @property
    def asked(self) -> int:
        """How many runs the study asks for."""
        return len(self._asked)

    @property
    def finished(self) -> int:
        """How many of them were over at the last look."""
        return len(self._asked & self._over)

    def _read(self, study: Study) -> None:
        self.study = study
        self._asked = {RunFiles.of(self._results, run).records for run in study.runs}

    def _look_at_study(self) -> None:
        """Read the study again if its file, or one that it extends, says something else."""
        try:
            content, _ = extending.merged(self.study.path)
            if content != self._content:
                study = studies.load(self.study.path, self.study.settings, self.study.seeds)
                self.edited = study != self.study
                self._content = content
                self._read(study)
            self.unread = None
        except InputError as error:
            self.unread = error

    def look(self) -> list[Path]:
        """List the files that are new or have changed, sorted; all of them if the study has changed.

        Their content may be newer than this look.
        """
        self.edited = False
        self._look_at_study()
        if self.edited:
            self._stamps = {}
        stamps = dict(self._stamped())
        changed = [path for path, stamp in stamps.items() if stamp != self._stamps.get(path)]
        self.removed = bool({*self._stamps} - {*stamps})
        self._stamps = stamps
        self._over &= {*stamps}
        for path in [*self.damaged]:
            if path in changed or path not in stamps:
                del self.damaged[path]
        for path in changed:
            self._over.discard(path)
            try:
                if records.status(records.read(path)):
                    self._over.add(path)
            except InputError as error:
                self.damaged[path] = error
        return changed

    def _stamped(self) -> Iterator[tuple[Path, Stamp]]:
        for path in sorted(self._folder.glob("*.jsonl")):
            try:
                status = path.stat()
            except OSError:  # it has just been replaced, or removed
                continue
            yield path, (status.st_ino, status.st_size, status.st_mtime_ns)


def follow(
    tasks: Sequence[tuple[Watched, Callable[[Study, Sequence[Path]], object]]],
    warn: Callable[[InputError], object],
    edited: Callable[[Study], object],
) -> None:
    """Look again and again, until all runs of all studies are over.

    Args:
        tasks: the files of each study, and what is done with the study, as it is now, and those that have changed, none
            if some were only removed. While a study has no files, nothing is done: what was made of the old ones stays
            until there are new ones.
        warn: told once of a damaged record: while a study has one, nothing is done with its files. Also told once of a
            study's file that cannot be read: it goes on with the study as it was.
        edited: told of a study whose file has changed.
    """
    waiting: list[set[Path]] = [set() for _ in tasks]
    removed: list[bool] = [False] * len(tasks)
    unread: list[str] = [""] * len(tasks)
    while True:
        begun = time.monotonic()
        for i, ((watched, take), paths) in enumerate(zip(tasks, waiting, strict=True)):
            paths.update(watched.look())
            removed[i] |= watched.removed
            if watched.edited:
                edited(watched.study)
            said, unread[i] = unread[i], str(watched.unread or "")
            if unread[i] not in {"", said}:
                warn(InputError(f"{unread[i]}; until it can be read, the study stays what it was"))
            for path, error in watched.damaged.items():
                if path in paths:
                    warn(error)
            if watched.damaged:
                paths -= {*watched.damaged}
            elif watched.any and (paths or removed[i]):
                take(watched.study, sorted(path for path in paths if path.exists()))
                paths.clear()
                removed[i] = False
        if all(watched.done for watched, _ in tasks):
            return
        time.sleep(max(PAUSE_SECONDS, SHARE * (time.monotonic() - begun)))
