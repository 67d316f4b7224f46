"""Train many runs on this machine: check everything, then hand them to workers, the longest first.

A run's numbers depend neither on how many workers there are nor on the order in which they take the runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from deeptwins import data, records
from deeptwins.data import Dataset
from deeptwins.errors import InputError, noting
from deeptwins.records import RunFiles, host
from deeptwins.records.locks import claimed
from deeptwins.records.sameness import Seen, mixed, other_code
from deeptwins.study.specs import RunSpec, by_setting
from deeptwins.system import disk
from deeptwins.system.spoken import heard
from deeptwins.train import checks
from deeptwins.train import device as devices
from deeptwins.train.provenance import parts
from deeptwins.train.schedule.crew import Crew, Team
from deeptwins.train.schedule.jobs import Job, Jobs
from deeptwins.train.schedule.progress import Display
from deeptwins.train.schedule.session import Session
from deeptwins.train.schedule.workers import DatasetKey, Equipment, dataset_key

TOGETHER = 4  # runs on a GPU: the eight nets of a seed of `depth-cifar10` are four


@dataclass(frozen=True)
class Outcome:
    """What became of the runs, those that were finished before included."""

    total: int
    done: int
    diverged: int
    failed: int
    out_of_time: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether runs are left to be done: a signal came, or the deadline."""
        return self.done + self.diverged + self.failed < self.total


def train_all(  # noqa: PLR0913  one for each option of the command line
    runs: Sequence[RunSpec],
    *,
    device: str,
    results: Path,
    display: Display,
    data_folder: Path | None = None,
    workers: int | None = None,
    together: int | None = None,
    deadline: float = math.inf,
    fresh: bool = False,
) -> Outcome:
    """Train the runs that are not finished; everything is checked before anything is written.

    Args:
        runs: of one study or several.
        device: auto, cpu or cuda.
        results: the folder of results; the studies' folders are made in it.
        display: shows what happens; entered and left here.
        data_folder: where datasets lie.
        workers: how many processes train; by default one per core on the CPU, one on a GPU.
        together: how many runs each of them trains at once; by default one on the CPU, `TOGETHER` on a GPU.
        deadline: on the monotonic clock: by then what is unfinished is saved, and the workers are gone.
        fresh: delete what the runs have left behind, and start over.

    Raises:
        InputError: something given is wrong, or the results cannot be written (any longer); what is finished stays.
    """
    # Which runs are still to be trained.
    accelerator = devices.device(device)
    pending, ended = _pending(runs, results, fresh=fresh)
    # Load every dataset once, and check that the runs go with it.
    with heard(display.say):
        datasets = _load(pending, data_folder)
        costs = [_check(run, datasets[dataset_key(run)]) for run in pending]
    # Order them: the longest first. Runs that are trained together see the same batches if they are of one seed.
    labels = dict(zip(((run.study, run.id) for run in runs), _labels(runs), strict=True))
    jobs = [Job(run, labels[run.study, run.id], cost) for run, cost in zip(pending, costs, strict=True)]
    side_by_side = together or (1 if accelerator.type == "cpu" else TOGETHER)
    jobs.sort(key=lambda job: (job.run.seed if side_by_side > 1 else 0, -job.cost))
    # Make sure of the folders, before minutes of training; and only then delete.
    lost = {lack for study in dict.fromkeys(run.study for run in pending) for lack in _check_writable(results / study)}
    if fresh:
        _start_over(runs, results)
    # Choose the team: no more than there are jobs for.
    number = min(workers or (host.cores() if accelerator.type == "cpu" else 1), len(jobs))
    team = Team(number, min(side_by_side, -(-len(jobs) // max(number, 1))))
    equipment = Equipment(results, accelerator, {key: dataset.share() for key, dataset in datasets.items()})
    # Train.
    out_of_time = False
    with display:
        for text in _changed(runs, pending, results, datasets) + _other_code(runs, pending, results):
            display.say(text)
        if before := ended.total():
            display.say(f"{before} of {len(runs)} runs were finished before")
        for note in dict.fromkeys(f"{images.name}: {note}" for images in datasets.values() for note in images.notes):
            display.say(note)
        for lack in sorted(lost):
            display.say(f"{results}: {lack}")
        if jobs:
            what = "1 run" if len(jobs) == 1 else f"{len(jobs)} runs"
            display.say(f"training {what} on {accelerator.type}, {team.places} at a time")
            for text in devices.slow((job.run.recipe for job in jobs), accelerator.type):
                display.say(text)
            session = Session(Jobs(jobs, ended), Crew(team, equipment), display, deadline)
            session.work()
            out_of_time = session.out_of_time
    return Outcome(len(runs), ended["done"], ended["diverged"], ended["failed"], out_of_time)


def _pending(runs: Sequence[RunSpec], results: Path, *, fresh: bool) -> tuple[list[RunSpec], Counter[str]]:
    """Tell the runs to train from those that are finished, which are counted by status."""
    pending: list[RunSpec] = []
    ended = Counter[str]()
    for run in runs:
        files = RunFiles.of(results, run)
        status = records.status(records.read(files.records))
        if fresh or status not in ("done", "diverged"):
            pending.append(run)
        else:
            ended[status] += 1
            with suppress(OSError):  # finished is finished, also where nothing can be written
                files.checkpoint.unlink()  # a kill right after the last record leaves one behind
    return pending, ended


def _load(runs: Sequence[RunSpec], folder: Path | None) -> dict[DatasetKey, Dataset]:
    """Load every dataset once, and try the parts of one's own that need one."""
    datasets: dict[DatasetKey, Dataset] = {}
    for key in dict.fromkeys(map(dataset_key, runs)):
        name, image_size, validation = key
        datasets[key] = data.load(name, folder, image_size, validation)
    for run in by_setting(runs).values():
        with noting(f"study {run.study}"):
            checks.try_parts(run, datasets[dataset_key(run)])
    return datasets


def _check(run: RunSpec, dataset: Dataset) -> float:
    """Check that a run goes with its dataset; returns its cost, in FLOPs."""
    checks.check_sizes(run, dataset, run.study)
    with noting(f"study {run.study}"):
        return checks.cost(run, dataset)


def _changed(
    runs: Sequence[RunSpec], pending: Sequence[RunSpec], results: Path, datasets: Mapping[DatasetKey, Dataset]
) -> list[str]:
    """Say of each study that its runs, those that finished before and those to come, do not see the same images."""
    sentences = []
    for study in dict.fromkeys(run.study for run in pending):
        settings = {run.setting for run in runs if run.study == study}
        coming = [run for run in pending if run.study == study]
        seen = [Seen(run.recipe.dataset, run.recipe.image_size, datasets[dataset_key(run)].checksum) for run in coming]
        for path in sorted(
            {*(results / study).glob("*.jsonl")} - {RunFiles.of(results, run).records for run in coming}
        ):
            with suppress(InputError, ValidationError):  # such files are `report`'s to refuse
                seen += _seen(records.read(path), settings)
        sentences += [f"{study}: {text}" for text in mixed(seen)]
    return sentences


def _other_code(runs: Sequence[RunSpec], pending: Sequence[RunSpec], results: Path) -> list[str]:
    """Say of finished runs that other code of one's own parts made them."""
    changed, coming = Counter[tuple[str, str]](), {(run.study, run.id) for run in pending}
    for run in runs:
        if (run.study, run.id) not in coming and (now := parts(run)):
            first, *_ = records.read(RunFiles.of(results, run).records)
            changed.update((run.study, package) for package in other_code(first.get("parts"), now))
    return [
        f"{study}: {number} finished {'run was' if number == 1 else 'runs were'} made by another {package}: kept;"
        f" --fresh trains {'it' if number == 1 else 'them'} anew"
        for (study, package), number in changed.items()
    ]


def _seen(lines: Sequence[records.Record], settings: set[str]) -> list[Seen]:
    """Say what a finished run of these settings was trained on; nothing of others."""
    if records.status([*lines]) not in {"done", "diverged"}:
        return []
    run = RunSpec.model_validate(lines[0]["spec"])
    seen = Seen(run.recipe.dataset, run.recipe.image_size, lines[0]["dataset"]["checksum"])
    return [seen] if run.setting in settings else []


def _labels(runs: Sequence[RunSpec]) -> list[str]:
    """Name each run for people, as shortly as tells it from the others."""
    slugs = [run.id.rsplit("-", 1)[0] for run in runs]
    alike = Counter(slugs)
    labels = [slug if alike[slug] == 1 else run.id for slug, run in zip(slugs, runs, strict=True)]
    if len({run.study for run in runs}) > 1:
        return [f"{run.study}/{label}" for label, run in zip(labels, runs, strict=True)]
    return labels


def _check_writable(folder: Path) -> list[str]:
    """Make the folder, and find out what its file system cannot do.

    Raises:
        InputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return disk.shortcomings(folder)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; choose a folder for the results with --results DIR") from None


def _start_over(runs: Sequence[RunSpec], results: Path) -> None:
    """Delete what the runs have left behind, of all or of none.

    Raises:
        InputError: another deeptwins trains one of them.
    """
    with ExitStack() as locks:
        for study in dict.fromkeys(run.study for run in runs):
            claim = claimed(*(RunFiles.of(results, run) for run in runs if run.study == study))
            if not locks.enter_context(claim):
                raise InputError(f"--fresh: another deeptwins trains runs of study {study}; stop that one first")
        for run in runs:
            files = RunFiles.of(results, run)
            # The checkpoint first: without its records, new ones would one day be resumed from it.
            for path in (files.checkpoint, files.corrupt, *files.parts, files.log, files.records):
                path.unlink(missing_ok=True)
