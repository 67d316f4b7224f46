"""Growth: twins are made deeper in the midst of their training, and their outputs stay what they were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor

from deeptwins.errors import noting
from deeptwins.nets import ResNet, growing
from deeptwins.records import Record
from deeptwins.train.measuring import clean, images_at_once
from deeptwins.train.training import Training

# How far logits may move when a net grows, as a share of the largest: what rounding does in a hundred layers.
# They are compared without autocast, so that the weights of a bf16 run are multiplied in fp32.
SAME_OUTPUTS = {"fp32": 1e-3, "tf32": 0.05, "bf16": 1e-3}


def due(training: Training) -> bool:
    """Whether some twins are to be grown after this iteration."""
    return training.iteration == training.run.recipe.grow_at


def grow(training: Training) -> Iterator[Record]:
    """Make the twins that are to be grown deeper without changing their outputs, and check that they have not.

    Raises:
        RuntimeError: the outputs of a net have changed.
    """
    for name, shallow_twin in training.twins.items():
        spec = training.run.twins[name]
        if spec.grown_from is None or shallow_twin.diverged_at is not None:
            continue
        shallow_twin.lane.finish()
        shallow = cast("ResNet", shallow_twin.net)
        with noting(f"twin {name}"):
            before = clean(training, shallow, "train").tolist()
            twin = training.deepen(name)
            growing.grow(shallow, cast("ResNet", twin.net), _images(training))
            difference = growing.largest_difference(shallow, twin.net, _images(training))
        if difference > SAME_OUTPUTS[training.run.recipe.precision]:
            raise RuntimeError(f"{name}: its logits differ by {difference:.1e} after growth; they must be the same")
        after = clean(training, twin.net, "train").tolist()
        yield {
            "kind": "growth",
            "iteration": training.iteration,
            "twin": name,
            "depth_before": spec.grown_from,
            "depth": spec.depth,
            "largest_difference": difference,
            "train_error_before_pct": 100.0 * before[1] / before[0],
            "train_error_after_pct": 100.0 * after[1] / after[0],
        }


def _images(training: Training) -> Iterator[Tensor]:
    """The training images, without augmentation."""
    return (x for x, _ in training.stream.clean("train", images_at_once(training)))
