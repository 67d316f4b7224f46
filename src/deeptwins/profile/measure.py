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
from deeptwins.errors import InputError
from deeptwins.kernels.formats import PRECISIONS
from deeptwins.profile import ops as profile_ops
from deeptwins.profile import roofline
from deeptwins.profile.plans import RANDOM, Plan, Subject
from deeptwins.records.profiles import KernelTime, Op, Profile, Rate, Step
from deeptwins.train import device as devices
from deeptwins.train import lanes, training

STEPS, WARMUP = 5, 2
RANDOM_BYTES = 2**26  # of images, at most, unless a batch has more
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # what a GPU says, and what a CPU


def profile(
    plan: Plan,
    device: torch.device,
    steps: int = STEPS,
    folder: Path | None = None,
    told: Callable[[], object] = lambda: None,
) -> Profile:
    """Profile the nets of a plan.

    Args:
        plan: what to profile.
        device: where.
        steps: how many steps are timed, and how many profiled.
        folder: where datasets lie.
        told: is called after every net.

    Raises:
        InputError: a dataset is not there or no net can be trained on it, or something does not fit into memory.
    """
    rates: dict[str, roofline.Rates] = {}
    nets, ops, kernels = [], [], []
    loaded: dict[Any, Dataset] = {}
    with _threads(device):
        for subject in plan.subjects:
            recipe = subject.run.recipe
            source = recipe.dataset, recipe.image_size, recipe.validation, subject.image, recipe.batch_size
            if source not in loaded:
                loaded = {source: _dataset(subject, folder)}
            training.check_sizes(subject.run, loaded[source], subject.label)
            devices.configure(recipe, device)
            if recipe.precision not in rates:
                rates[recipe.precision] = roofline.measure(device.type, recipe.precision)
            try:
                step, some_ops, some_kernels = _measure(subject, loaded[source], device, steps, rates[recipe.precision])
            except RuntimeError as error:
                if not any(text in str(error) for text in OUT_OF_MEMORY):
                    raise
                raise InputError(f"{subject.label}: does not fit into memory; a smaller --batch may") from None
            nets.append(step)
            ops += some_ops
            kernels += some_kernels
            told()
        threads = torch.get_num_threads()
    return Profile(
        name=plan.name,
        command=plan.command,
        date=datetime.now(UTC).date().isoformat(),
        commit=devices.commit(),
        machine=devices.describe(device.type),
        threads=threads,
        steps=steps,
        rates=tuple(
            Rate(precision=precision, copy_bytes_per_s=rate.bytes_per_s, flops_per_s=rate.flops_per_s)
            for precision, rate in rates.items()
        ),
        nets=tuple(nets),
        ops=tuple(ops),
        kernels=tuple(kernels),
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
    subject: Subject, dataset: Dataset, device: torch.device, steps: int, rates: roofline.Rates
) -> tuple[Step, list[Op], list[KernelTime]]:
    """Time steps of a net, and profile as many."""
    replayed = _replayed(subject, dataset, device, steps) if device.type == "cuda" else []
    trained = _trained(subject, dataset, device, capture=False)
    (twin,) = trained.twins.values()
    for _ in range(WARMUP):
        trained.step()
    profile_ops.profiled(trained.step, twin.net, device)  # the profiler's first step is slower
    issued, profiled = [], []
    for _ in range(steps):  # by turns, so that a machine that is busy for a while slows both
        trained.step()  # what the profiler left behind in caches is gone then
        issued.append(1e6 * profile_ops.timed(trained.step, device))
        profiled.append(profile_ops.profiled(trained.step, twin.net, device))
    ops, kernels = profile_ops.sums(profiled, rates.floor_s)
    net, recipe, label = subject.net, subject.run.recipe, subject.label
    clocked = replayed or issued
    step = Step(
        net=label,
        family=net.family,
        depth=net.depth,
        shortcut=net.shortcut,
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
        profiled_us=_us(1e6 * median(each.seconds for each in profiled)),
        least_bytes=roofline.least_bytes(net, dataset.image, recipe.batch_size, PRECISIONS[recipe.precision].itemsize),
    )
    return step, [_op(label, key, each) for key, each in ops.items()], [
        KernelTime(net=label, kind=kind, kernel=name, calls=each.calls, time_us=_us(each.time_us))
        for (kind, name), each in kernels.items()
    ]  # fmt: skip


def _trained(subject: Subject, dataset: Dataset, device: torch.device, *, capture: bool) -> training.Training:
    """Prepare a net to be trained, one that grows at its final depth."""
    trained = training.Training(subject.run, dataset, device, capture=capture)
    if subject.net.grown_from is not None:
        list(trained.grow())
    return trained


def _replayed(subject: Subject, dataset: Dataset, device: torch.device, steps: int) -> list[float]:
    """Time steps as the trainer takes them, captured, so many in a replay; returns microseconds a step."""
    trained, count = _trained(subject, dataset, device, capture=True), lanes.STEPS[device.type]
    for _ in range(lanes.WARMUP + 1):  # replays, of which the first are issued, and one is captured
        trained.step(count)
    times = [1e6 * profile_ops.timed(partial(trained.step, count), device) / count for _ in range(steps)]
    del trained
    gc.collect()  # graphs, and what they hold of the device's memory
    return times


def _op(label: str, key: profile_ops.Key, each: profile_ops.Sum) -> Op:
    layer, _, kind, op = key
    direction: Any = key[1]  # one of three
    return Op(
        net=label,
        layer=layer,
        direction=direction,
        kind=kind,
        op=op,
        calls=each.calls,
        launches=each.launches,
        time_us=_us(each.time_us),
        bytes=each.moved,
        flops=each.flops,
        floor_us=_us(each.floor_us),
    )


def _us(microseconds: float) -> float:
    """Round to what a clock can tell."""
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
