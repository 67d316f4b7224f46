"""Where the time of a training step goes: the nets of a plan, measured into `results/profile/<name>.json`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from deeptwins import data
from deeptwins.data import Dataset, Split, images
from deeptwins.errors import InputError, noting
from deeptwins.kernels.formats import PRECISIONS
from deeptwins.profile import clock, roofline
from deeptwins.profile import ops as profile_ops
from deeptwins.profile.plans import RANDOM, Plan, Subject
from deeptwins.records import host
from deeptwins.records.kinds import PartCode
from deeptwins.records.profiles import KernelTime, Op, Profile, Rate, Step
from deeptwins.train import checks, growth, lanes, training
from deeptwins.train import device as devices
from deeptwins.train.provenance import parts

STEPS, WARMUP = 5, 2
RANDOM_BYTES = 2**26  # of images, at most, unless a batch has more
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # what a GPU says, and what a CPU


def profile(
    plan: Plan,
    device: torch.device,
    steps: int = STEPS,
    folder: Path | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Profile:
    """Profile the nets of a plan.

    Args:
        plan: what to profile.
        device: where.
        steps: how many steps are timed, and as many profiled.
        folder: where datasets lie.
        progress: is called after every net.

    Raises:
        InputError: a dataset is missing or no net can be trained on it, or something does not fit into memory.
    """
    load = host.load()  # before this profile adds to it
    rates: dict[str, Rate] = {}
    measured: list[tuple[Step, list[profile_ops.Profiled]]] = []
    loaded: dict[Any, Dataset] = {}
    with _threads(device):
        for subject in plan.subjects:
            # Load the dataset, unless it is the last one. No more than one is kept.
            recipe = subject.run.recipe
            source = recipe.dataset, recipe.image_size, recipe.validation, subject.image, recipe.batch_size
            if source not in loaded:
                loaded = {source: _dataset(subject, folder)}
            checks.check_sizes(subject.run, loaded[source], subject.label)
            # Measure the rates of the device before and after each net: the best counts, so that they are right if the
            # machine is free for once.
            devices.configure(recipe, device)
            precision = recipe.precision
            if precision not in rates:
                rates[precision] = roofline.measure(device.type, precision)
            # Profile the net.
            try:
                with noting(f"net {subject.label}"):
                    measured.append(_measure(subject, loaded[source], device, steps))
            except RuntimeError as error:
                if not any(text in str(error) for text in OUT_OF_MEMORY):
                    raise
                raise InputError(f"{subject.label}: does not fit into memory; a smaller --batch may") from None
            rates[precision] = rates[precision].best(roofline.measure(device.type, precision))
            progress()
        threads = torch.get_num_threads()
    rows = [_rows(step, profiled, rates[step.precision]) for step, profiled in measured]
    return Profile(
        name=plan.name,
        command=plan.command,
        date=datetime.now(UTC).date().isoformat(),
        commit=devices.commit(),
        machine={**devices.describe(device.type), "load": load},
        parts={
            name: PartCode.model_validate(code)
            for subject in plan.subjects
            for name, code in parts(subject.run).items()
        },
        threads=threads,
        steps=steps,
        rates=tuple(rates.values()),
        nets=tuple(step for step, _ in measured),
        ops=tuple(op for ops, _ in rows for op in ops),
        kernels=tuple(kernel for _, kernels in rows for kernel in kernels),
    )


def _dataset(subject: Subject, folder: Path | None) -> Dataset:
    recipe = subject.run.recipe
    if subject.image is None:
        return data.load(recipe.dataset, folder, recipe.image_size, recipe.validation)
    channels, height, width = subject.image
    size = channels * height * width
    count = max(recipe.batch_size, min(8 * recipe.batch_size, RANDOM_BYTES // size))
    draw = np.random.default_rng(0)
    try:
        pixels = draw.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
        split = Split(torch.from_numpy(draw.integers(0, subject.classes, count)), images.from_array(pixels, None))
    except MemoryError:
        raise InputError(f"{subject.label}: its images do not fit into memory; a smaller --batch may") from None
    return Dataset(RANDOM, split, split, subject.classes, subject.image, "")


def _measure(
    subject: Subject, dataset: Dataset, device: torch.device, steps: int
) -> tuple[Step, list[profile_ops.Profiled]]:
    """Time steps of a net, and profile as many."""
    # Captured steps are timed only; steps that are issued op by op are profiled, too.
    replayed = _replayed(subject, dataset, device, steps) if device.type == "cuda" else []
    trained = _trained(subject, dataset, device, capture=False)
    (twin,) = trained.twins.values()
    for _ in range(WARMUP):
        trained.step()
    profile_ops.profiled(trained.step, twin.net, device)  # the profiler's first step is slower
    issued, profiled = [], []
    for _ in range(steps):  # timed and profiled by turns: a machine that is busy for a while then slows both
        trained.step()  # removes from the caches what the profiler left there
        issued.append(1e6 * clock.timed(trained.step, device))
        profiled.append(profile_ops.profiled(trained.step, twin.net, device))
    net, recipe, label = subject.net, subject.run.recipe, subject.label
    clocked = replayed or issued
    step = Step(
        net=label,
        family=net.family,
        depth=net.depth,
        shortcut="-" if net.is_own else net.shortcut,
        parameters=sum(parameter.numel() for parameter in twin.net.parameters()),
        dataset=recipe.dataset,
        image="x".join(map(str, dataset.image)),
        batch_size=recipe.batch_size,
        precision=recipe.precision,
        optimizer=recipe.optimizer,
        step_us=_us(median(clocked)),
        fastest_us=_us(min(clocked)),
        slowest_us=_us(max(clocked)),
        issued_us=_us(median(issued)) if replayed else None,
        profiled_us=_us(1e6 * median(step.seconds for step in profiled)),
        least_bytes=roofline.least_bytes(net, dataset.image, recipe.batch_size, PRECISIONS[recipe.precision].itemsize),
    )
    return step, profiled


def _rows(step: Step, profiled: list[profile_ops.Profiled], rate: Rate) -> tuple[list[Op], list[KernelTime]]:
    """Sum up the ops and kernels of a net, medians over its steps, each op beside its roofline."""
    ops, kernels = profile_ops.sums(profiled, rate.roofline_s)
    where = ("layer", "direction", "kind", "op")
    op_rows = [
        Op.model_validate({"net": step.net, **dict(zip(where, key, strict=True)), **vars(total)})
        for key, total in ops.items()
    ]
    kernel_rows = [
        KernelTime(net=step.net, kind=kind, kernel=name, calls=total.calls, time_us=total.time_us)
        for (kind, name), total in kernels.items()
    ]
    return op_rows, kernel_rows


def _trained(subject: Subject, dataset: Dataset, device: torch.device, *, capture: bool) -> training.Training:
    """Prepare a net to be trained, one that grows at its final depth."""
    trained = training.Training(subject.run, dataset, device, capture=capture)
    if subject.net.grown_from is not None:
        list(growth.grow(trained))
    return trained


def _replayed(subject: Subject, dataset: Dataset, device: torch.device, steps: int) -> list[float]:
    """Time steps as the trainer takes them, captured, several per replay; returns microseconds per step."""
    trained, count = _trained(subject, dataset, device, capture=True), lanes.STEPS[device.type]
    for _ in range(lanes.WARMUP + 1):  # the first are issued step by step, the last one is captured
        trained.step(count)
    times = [1e6 * clock.timed(partial(trained.step, count), device) / count for _ in range(steps)]
    del trained
    gc.collect()  # graphs, and what they hold of the device's memory
    return times


def _us(microseconds: float) -> float:
    """Round to nanoseconds."""
    return round(microseconds, 3)


@contextmanager
def _threads(device: torch.device) -> Iterator[None]:
    """Compute on a CPU with one thread, as a worker trains."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
