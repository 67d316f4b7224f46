"""Train many runs on this machine: check everything, then hand them to workers, the longest first.

A run's numbers depend neither on how many workers there are nor on the order in which they take the runs.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from deeptwins import data, records
from deeptwins.data import Dataset
from deeptwins.errors import InputError
from deeptwins.records import host
from deeptwins.records.locks import claimed
from deeptwins.study.specs import RunSpec
from deeptwins.train import checkpoints
from deeptwins.train import device as devices
from deeptwins.train import training as training_
from deeptwins.train.attempts import log_of, parts_of
from deeptwins.train.progress import Display
from deeptwins.train.session import Job, Session
from deeptwins.train.workers import Source, source

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
        display: told of what happens; entered and left here.
        data_folder: where datasets lie.
        workers: how many processes train; by default one a core on the CPU, one on a GPU.
        together: how many runs each of them trains at once; by default one on the CPU, `TOGETHER` on a GPU.
        deadline: on the monotonic clock: by then what is unfinished is saved, and the workers are gone.
        fresh: delete what the runs have left behind, and start over.

    Raises:
        InputError: something given is wrong, or the results cannot be written (any longer); what is finished stays.
    """
    accelerator = devices.device(device)
    ended = Counter[str]()
    pending: list[RunSpec] = []
    for run in runs:
        status = records.status(records.read(records.path_of(results, run.study, run.id)))
        if fresh or status not in ("done", "diverged"):
            pending.append(run)
        else:
            ended[status] += 1
            # A kill right after the last record leaves one behind.
            checkpoints.path_of(results, run.study, run.id).unlink(missing_ok=True)
    datasets: dict[Source, Dataset] = {}
    for run in pending:
        if source(run) not in datasets:
            name, image_size, validation = source(run)
            datasets[source(run)] = data.load(name, data_folder, image_size, validation)
    for run in pending:
        training_.check_sizes(run, datasets[source(run)], run.study)
    labels = dict(zip(((run.study, run.id) for run in runs), _labels(runs), strict=True))
    jobs = [Job(run, labels[run.study, run.id], training_.cost(run, datasets[source(run)])) for run in pending]
    company = together or (1 if accelerator.type == "cpu" else TOGETHER)
    # The longest first; runs that are trained together see the same batches if they are of one seed.
    jobs.sort(key=lambda job: (job.run.seed if company > 1 else 0, -job.cost))
    for study in dict.fromkeys(run.study for run in pending):
        _check_writable(results / study)
    if fresh:
        _start_over(runs, results)
    datasets = {key: dataset.share() for key, dataset in datasets.items()}
    number = min(workers or (host.cores() if accelerator.type == "cpu" else 1), len(jobs))
    out_of_time = False
    company = min(company, -(-len(jobs) // max(number, 1)))
    with display:
        if before := ended.total():
            display.say(f"{before} of {len(runs)} runs were finished before")
        if jobs:
            display.say(f"training {len(jobs)} runs on {accelerator.type}, {number * company} at a time")
            equipment = results, accelerator, datasets
            session = Session(jobs, ended, (number, company), equipment, display, deadline)
            session.work()
            out_of_time = session.out_of_time
    return Outcome(len(runs), ended["done"], ended["diverged"], ended["failed"], out_of_time)


def _labels(runs: Sequence[RunSpec]) -> list[str]:
    """Name each run for people, as shortly as tells it from the others."""
    slugs = [run.id.rsplit("-", 1)[0] for run in runs]
    alike = Counter(slugs)
    labels = [slug if alike[slug] == 1 else run.id for slug, run in zip(slugs, runs, strict=True)]
    if len({run.study for run in runs}) > 1:
        return [f"{run.study}/{label}" for label, run in zip(labels, runs, strict=True)]
    return labels


def _check_writable(folder: Path) -> None:
    """Make the folder, and a file in it that is removed again.

    Raises:
        InputError: that fails.
    """
    probe = folder / f".probe-{os.getpid()}"  # its own: another deeptwins may be starting beside this one
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(4096))
        probe.unlink()
    except OSError as error:
        with suppress(OSError):
            probe.unlink()
        raise InputError(f"{folder}: {error.strerror}; choose a folder for the results with --results DIR") from None


def _start_over(runs: Sequence[RunSpec], results: Path) -> None:
    """Delete what the runs have left behind, of all or of none.

    Raises:
        InputError: another deeptwins trains one of them.
    """
    with ExitStack() as locks:
        for study in dict.fromkeys(run.study for run in runs):
            if not locks.enter_context(claimed(results, study, *(run.id for run in runs if run.study == study))):
                raise InputError(f"--fresh: another deeptwins trains runs of study {study}; stop that one first")
        for run in runs:
            checkpoint = checkpoints.path_of(results, run.study, run.id)
            # The checkpoint first: without its records, new ones would one day be resumed from it.
            rest = (checkpoint.with_suffix(".corrupt"), *parts_of(results, run), log_of(results, run))
            for path in (checkpoint, *rest, records.path_of(results, run.study, run.id)):
                path.unlink(missing_ok=True)
