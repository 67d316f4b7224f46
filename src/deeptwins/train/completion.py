"""Take a run from wherever it stands to its end: its records, its checkpoints, and its exact resumption."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import torch

from deeptwins import records
from deeptwins.data import Dataset
from deeptwins.records import Record, runs
from deeptwins.study.specs import RunSpec
from deeptwins.train import checkpoints
from deeptwins.train import device as devices
from deeptwins.train.device import configure
from deeptwins.train.feeds import Feeds
from deeptwins.train.training import Training

CHECKPOINT_SECONDS = 15.0  # how much work a kill may cost, at most, while writing a checkpoint takes little
CHECKPOINT_SHARE = 0.02  # of the time, at most, goes into writing them: large ones come less often
PACE_SECONDS = 0.2  # how far, about, the host may run ahead of a GPU: as long as it takes to stop

LASTING = ("epoch", "gradient", "growth")  # records of the training itself; those of its end are made anew

Status = Literal["done", "diverged", "stopped"]


def complete(  # noqa: PLR0913, PLR0917  what, on what, where, to where, and the two ways to talk back
    run: RunSpec,
    dataset: Dataset,
    device: torch.device,
    results: Path,
    go_on: Callable[[int], bool] = lambda _iteration: True,
    say: Callable[[str], None] = print,
) -> Status:
    """Train a run to its end from wherever it stands, leaving its records; or stop, with a checkpoint, when told to.

    Killed at any moment and called again, it leaves the same records as if it had never been disturbed, timings aside.

    Args:
        run: what to train.
        dataset: as loaded for the run's recipe.
        device: where to train.
        results: the folder that holds the study's folder, which must be there.
        go_on: asked after every block of iterations (on a CPU after every one), with the number of iterations done.
        say: takes a line that the user should see.

    Raises:
        OSError: the results cannot be written.
    """
    going = advance(run, dataset, device, results, Feeds(), say)
    try:
        iteration = next(going)
        while True:
            iteration = going.send(go_on(iteration))
    except StopIteration as end:
        status: Status = end.value
        return status


def advance(  # noqa: PLR0913, PLR0917  what, on what, where, to where, beside what, and a way to talk back
    run: RunSpec,
    dataset: Dataset,
    device: torch.device,
    results: Path,
    feeds: Feeds,
    say: Callable[[str], None],
) -> Generator[int, bool, Status]:
    """Do what `complete` does in turns with other runs on one device, in the same process.

    A turn issues a block of iterations and waits for none of them, but where something is evaluated or saved. It yields
    the number of iterations issued, and takes whether to go on. `feeds` are those of the runs that take turns.
    """
    configure(run.recipe, device)
    path, checkpoint = (module.path_of(results, run.study, run.id) for module in (runs, checkpoints))
    training, seconds = _resumed(run, dataset, device, results, feeds, say)
    started = saved = paced = time.monotonic()
    pause = CHECKPOINT_SECONDS
    while not training.finished:
        training.advance()
        if training.due:
            records.append(path, *training.evaluate(), *training.gradients())
        if training.grows:
            records.append(path, *training.grow())
        wanted = yield training.iteration
        configure(run.recipe, device)  # other runs may have had it otherwise
        now = time.monotonic()
        if not wanted or now - saved >= pause:
            state = training.state()  # waits for the device, which is no time lost
            now = time.monotonic()
            checkpoints.save(checkpoint, {**state, "seconds": seconds + now - started})
            saved = time.monotonic()
            pause = max(CHECKPOINT_SECONDS, (saved - now) / CHECKPOINT_SHARE)
        if not wanted:
            return "stopped"
        if now - paced >= PACE_SECONDS:
            training.keep_pace()
            paced = now
    records.append(path, *training.diagnose())
    diverged = {name: twin.diverged_at for name, twin in training.twins.items() if twin.diverged_at is not None}
    reason = "; ".join(f"{name}: loss not finite at iteration {at}" for name, at in diverged.items()) or None
    status: Status = "diverged" if diverged else "done"
    seconds += time.monotonic() - started
    records.append(path, {"kind": "end", "status": status, "reason": reason, "seconds": round(seconds, 3)})
    checkpoint.unlink(missing_ok=True)
    return status


def _resumed(  # noqa: PLR0913, PLR0917  as above
    run: RunSpec,
    dataset: Dataset,
    device: torch.device,
    results: Path,
    feeds: Feeds,
    say: Callable[[str], None],
) -> tuple[Training, float]:
    """Bring training and records to the last checkpoint, or both to the start; the seconds spent so far come along."""
    path, checkpoint = (module.path_of(results, run.study, run.id) for module in (runs, checkpoints))
    training = Training(run, dataset, device, feeds)
    found = records.read(path)
    header = _header(training, dataset)
    here = {key: header[key] for key in ("machine", "commit")}
    try:
        state = checkpoints.load(checkpoint)
        if state is not None and found and _same_numbers(found[0], header):
            training.restore(state)
            # What was recorded after the checkpoint will be recorded again, the same to the last bit.
            stand = records.keep(path, lambda record: _stands(record, training.iteration))
            there = [record for record in stand if record["kind"] in records.PLACES][-1]
            if any(there[key] != value for key, value in here.items()):
                records.append(path, {"kind": "move", "iteration": training.iteration, "at": _now(), **here})
            return training, float(state["seconds"])
    except checkpoints.CorruptCheckpointError as error:
        say(str(error))
    except (torch.OutOfMemoryError, torch.AcceleratorError):  # which are RuntimeErrors, and no fault of the checkpoint
        raise
    except (KeyError, RuntimeError, ValueError):  # intact, but of another version's nets
        say(str(checkpoints.set_aside(checkpoint)))
        training = Training(run, dataset, device, feeds)
    if found and not _same_numbers(found[0], header):
        say(f"{path}: begun on another device or other images; the run starts over")
    checkpoint.unlink(missing_ok=True)  # before the records: without them it must never be found
    path.unlink(missing_ok=True)
    records.append(path, header)
    return training, 0.0


def _same_numbers(one: Record, other: Record) -> bool:
    """Whether two headers are of runs that leave the same numbers."""
    ours, theirs = ((record["machine"]["device"], record["dataset"]["checksum"]) for record in (one, other))
    return bool(ours == theirs)


def _stands(record: Record, iteration: int) -> bool:
    """Whether a record stands when training goes on from an iteration."""
    if record["kind"] == "move":  # from where it went on nothing was kept, if it is not beyond
        return bool(record["iteration"] < iteration)
    return bool(record["kind"] == "run" or (record["kind"] in LASTING and record["iteration"] <= iteration))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _header(training: Training, dataset: Dataset) -> Record:
    return {
        "kind": "run",
        "schema": records.SCHEMA,
        "started": _now(),
        "study": training.run.study,
        "run": training.run.id,
        "spec": training.run.model_dump(mode="json"),
        "twins": training.header,
        "dataset": {
            "name": dataset.name,
            "checksum": dataset.checksum,
            **{name: len(split) for name, split in dataset.splits.items()},
            "classes": dataset.classes,
            "image": list(dataset.image),
        },
        "machine": devices.describe(training.device.type),
        "commit": devices.commit(),
    }
