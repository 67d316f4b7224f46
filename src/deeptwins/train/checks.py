"""What can be said of a run before it is trained: whether its device and its images allow it, and what it costs."""

from __future__ import annotations

import torch

from deeptwins import nets
from deeptwins.data import Dataset
from deeptwins.errors import InputError, SpecError, noting
from deeptwins.kernels import unavailable
from deeptwins.nets.inspection import size, stages
from deeptwins.nets.own.making import check_training
from deeptwins.study.specs import RunSpec
from deeptwins.system.importing import check_name, is_own
from deeptwins.train.optimization import OPTIMIZERS, SCHEDULES, learning_rate


def check(run: RunSpec, device: torch.device) -> None:
    """Raise SpecError, naming field, value and what is allowed, for a run that cannot be trained on a device."""
    for twin, net in run.twins.items():
        with noting(f"twin {twin}"):
            nets.check(net)
        if reason := unavailable(net.fused_op, device.type):
            raise SpecError(f"fused_op = {net.fused_op!r}: {reason}")
    check_name("optimizer", run.recipe.optimizer, OPTIMIZERS)
    check_name("schedule", run.recipe.schedule, SCHEDULES)
    if is_own(run.recipe.schedule):
        for iteration in sorted({0, *run.recipe.milestones, run.recipe.iterations - 1}):
            learning_rate(run.recipe, iteration)
    if run.recipe.optimizer == "adam" and run.recipe.momentum:
        raise SpecError(f"momentum = {run.recipe.momentum}: adam has moments of its own; leave it out")


def check_sizes(run: RunSpec, dataset: Dataset, name: str) -> None:
    """Refuse a recipe that does not go with the size of the images.

    Args:
        run: what is to be trained.
        dataset: as loaded for the run's recipe.
        name: what the user knows the run by.

    Raises:
        InputError: images are shifted out of sight, a batch normalization has one value to normalize by, or a net of
            one's own cannot be trained on such images.
    """
    _, height, width = dataset.image
    images = f"those of {dataset.name} are {height}x{width}"
    if run.recipe.shift >= min(height, width):
        raise InputError(
            f"{name}: recipe.shift = {run.recipe.shift}: must be less than the images are high and wide; {images}"
        )
    for twin, net in run.twins.items():
        if net.is_own:
            with noting(f"study {name}"), noting(f"twin {twin}"):
                check_training(net, dataset.image, dataset.classes, min(run.recipe.batch_size, 2))
            continue
        if net.norm != "batch" or (net.norm_batch or run.recipe.batch_size) > 1:
            continue
        with noting(f"study {name}"), noting(f"twin {twin}"):
            last = stages(net, dataset.image, dataset.classes)[-1]
        if last["output"][1:] == [1, 1]:
            key = f"twins.{twin}.norm_batch" if net.norm_batch else "recipe.batch_size"
            raise InputError(
                f"{name}: {key} = 1: the last stage of {twin} leaves one pixel of an image, and batch normalization"
                f" needs two values; give 2 or more; {images}"
            )


def try_parts(run: RunSpec, dataset: Dataset) -> None:
    """Make the nets and optimizers of a run that need an initialization or an optimizer of one's own.

    Raises:
        Exception: of any kind, which the part raised; a note says of which twin it is.
    """
    for twin, net in run.twins.items():
        if is_own(net.initialization) or is_own(run.recipe.optimizer):
            with noting(f"twin {twin}"):
                model = nets.build(net, dataset.image[0], dataset.classes, run.seed)
                OPTIMIZERS[run.recipe.optimizer](model, run.recipe)


def cost(run: RunSpec, dataset: Dataset) -> float:
    """FLOPs of a run: those of three forward passes per training image, and of one per evaluated image."""
    flops = 0
    for twin, net in run.twins.items():
        with noting(f"twin {twin}"):
            flops += size(net, dataset.image, dataset.classes)[1]
    trained = run.recipe.iterations * run.recipe.batch_size
    evaluations = trained / len(dataset.train.labels) / run.recipe.evaluate_every
    evaluated = evaluations * sum(len(split) for split in dataset.splits.values())
    return flops * (3.0 * trained + evaluated)
