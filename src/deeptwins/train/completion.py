"""Take a run from wherever it stands to its end: its records, its checkpoints, and its exact resumption."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from deeptwins import records
from deeptwins.data import Dataset
from deeptwins.errors import InputError
from deeptwins.records import Record, RunFiles
from deeptwins.records.sameness import other_code
from deeptwins.study.specs import RunSpec
from deeptwins.train import checkpoints, growth, measuring
from deeptwins.train import device as devices
from deeptwins.train.device import configure
from deeptwins.train.feeds import Feeds
from deeptwins.train.provenance import parts
from deeptwins.train.training import Standing, Training

CHECKPOINT_SECONDS = 15.0  # how much work a kill may cost, at most, while writing a checkpoint takes little
CHECKPOINT_SHARE = 0.02  # of the time, at most, goes into writing them: large ones come less often
PACE_SECONDS = 0.2  # the host runs at most about this far ahead of a GPU, so that stopping takes no longer

LASTING = ("epoch", "gradient", "growth")  # records of the training itself; those of its end are made anew

Status = Literal["done", "diverged", "stopped"]


def advance(  # noqa: PLR0913, PLR0917  a caller binds them all once, with partial
    run: RunSpec, dataset: Dataset, device: torch.device, results: Path, feeds: Feeds, say: Callable[[str], None]
) -> Generator[Standing, bool, Status]:
    """Train a run to its end from wherever it stands, by turns with other runs on the device, in the same process.

    A turn issues a block of iterations (on a CPU, a single one). It waits for them only where something is evaluated or
    saved. It yields how far the run is, and takes whether to go on; if not, it saves a checkpoint and ends with
    `stopped`. Killed at any moment and begun again, it leaves the same records as if it had never been disturbed, but
    for timings.

    Args:
        run: what to train.
        dataset: as loaded for the run's recipe.
        device: where to train.
        results: the folder that holds the study's folder, which must exist.
        feeds: the feeds of the runs that take turns.
        say: takes a line that the user should see.

    Raises:
        OSError: the results cannot be written.
    """
    # Go back to where the run stands.
    configure(run.recipe, device)
    files = RunFiles.of(results, run)
    training, seconds = _resumed(partial(Training, run, dataset, device, feeds), files, say)
    started = saved = paced = time.monotonic()
    pause = CHECKPOINT_SECONDS
    while not training.finished:
        # Train, and measure where a measurement is due.
        training.advance()
        for text in training.refusals():
            say(f"{run.id}: {text}")
        if training.due:
            records.append(files.records, *measuring.evaluate(training), *measuring.gradients(training))
        if growth.due(training):
            records.append(files.records, *growth.grow(training))
        # Let the other runs have their turns, which may change the arithmetic of the process.
        go_on = yield training.standing
        configure(run.recipe, device)
        # Save, when that is due or this turn is the last one.
        now = time.monotonic()
        if not go_on or now - saved >= pause:
            took = _save(training, files, seconds - started)
            saved, pause = time.monotonic(), max(CHECKPOINT_SECONDS, took / CHECKPOINT_SHARE)
        if not go_on:
            return "stopped"
        # Keep the host from running far ahead of the device.
        if now - paced >= PACE_SECONDS:
            training.keep_pace()
            paced = now
    # Look inside the trained nets, close the records, and remove what only an unfinished run needs.
    records.append(files.records, *measuring.diagnose(training))
    end = _end(training)
    seconds += time.monotonic() - started
    records.append(files.records, end | {"seconds": round(seconds, 3)})
    files.checkpoint.unlink(missing_ok=True)
    status: Status = end["status"]
    return status


def _save(training: Training, files: RunFiles, before: float) -> float:
    """Save a checkpoint; returns how many seconds that took.

    Args:
        training: to be saved.
        files: of the run.
        before: seconds spent on the run so far, less the time of the monotonic clock.
    """
    state = training.state()  # waits for the device, which is no time lost
    now = time.monotonic()
    identity = _identity(training.run, training.stream.dataset)
    belongs = {"of": identity, "after": records.last_hash(files.records)}
    checkpoints.save(files, {**state, **belongs, "seconds": before + now})
    return time.monotonic() - now


def _end(training: Training) -> dict[str, Any]:
    """The last record of a run that was trained to its end, but for the time that it took."""
    diverged = {name: twin.diverged_at for name, twin in training.twins.items() if twin.diverged_at is not None}
    reason = "; ".join(f"{name}: loss not finite at iteration {at}" for name, at in diverged.items())
    return {"kind": "end", "status": "diverged" if diverged else "done", "reason": reason or None}


def _resumed(begin: Callable[[], Training], files: RunFiles, say: Callable[[str], None]) -> tuple[Training, float]:
    """Bring training and records to the last checkpoint, or both to the start.

    Args:
        begin: makes the training as it stands before the first iteration.
        files: of the run.
        say: takes a line that the user should see.

    Returns:
        The training, and the seconds that were spent on it so far.
    """
    # Read the records, and make the header that this process would write.
    training = begin()
    recorded = records.read(files.records)
    header = _header(training)
    here = {key: header[key] for key in ("machine", "commit")}
    other = _difference(recorded[0], header) if recorded else None
    try:
        state = checkpoints.load(files)
        if state is not None and recorded and not other:
            identity = _identity(training.run, training.stream.dataset)
            if state.get("of") != identity or state.get("after") not in records.hashes(files.records):
                raise checkpoints.set_aside(files, "checkpoint of another run, or of other records")
            # Go on from the checkpoint. What was recorded after it will be recorded again, the same to the last bit.
            training.restore(state)
            lasting = records.keep(files.records, lambda record: _lasts(record, training.iteration))
            # Note it if that is on another machine, or at another commit, than before.
            place = [record for record in lasting if record["kind"] in records.PLACES][-1]
            if any(place[key] != value for key, value in here.items()):
                records.append(files.records, {"kind": "move", "iteration": training.iteration, "at": _now(), **here})
            return training, float(state["seconds"])
    except checkpoints.UnusableCheckpointError as error:
        say(str(error))
    except (
        InputError,
        OSError,
        torch.OutOfMemoryError,
        torch.AcceleratorError,
    ):  # which are no fault of the checkpoint
        raise
    except Exception:  # noqa: BLE001  intact, but of another version's nets
        say(str(checkpoints.set_aside(files)))
        training = begin()
    # Start over. The checkpoint goes before the records: without them it must never be used.
    if other:
        say(f"{files.records}: begun {other}; the run starts over")
    files.checkpoint.unlink(missing_ok=True)
    files.records.unlink(missing_ok=True)
    records.append(files.records, header)
    return training, 0.0


def _identity(run: RunSpec, dataset: Dataset) -> dict[str, str]:
    """What a checkpoint says that it is of."""
    spec = hashlib.sha256(run.model_dump_json().encode()).hexdigest()
    return {"study": run.study, "run": run.id, "spec": spec, "dataset": dataset.checksum}


def _difference(one: Record, other: Record) -> str | None:
    """Say why two headers are of runs that may not leave the same numbers; None: they do."""
    if one["machine"]["device"] != other["machine"]["device"]:
        return "on another device"
    if one["dataset"]["checksum"] != other["dataset"]["checksum"]:
        return "on other images"
    changed = other_code(one.get("parts"), other.get("parts"))
    return f"with another {' and '.join(changed)}" if changed else None


def _lasts(record: Record, iteration: int) -> bool:
    """Whether a record stays when training goes on from an iteration."""
    if record["kind"] == "move":  # after one at this very iteration nothing was kept; it is noted anew
        return bool(record["iteration"] < iteration)
    return bool(record["kind"] == "run" or (record["kind"] in LASTING and record["iteration"] <= iteration))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _header(training: Training) -> Record:
    dataset, own = training.stream.dataset, parts(training.run)
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
            "commonest": max(dataset.counts),
            "image": list(dataset.image),
            **({"notes": list(dataset.notes)} if dataset.notes else {}),
        },
        "machine": devices.describe(training.device.type),
        "commit": devices.commit(),
        **({"parts": own} if own else {}),
    }
