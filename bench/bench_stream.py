"""The batch stream on the CPU: how long it takes to make a batch for the trainer."""

import itertools

import pytest
import torch

from deeptwins import data
from deeptwins.data import stream
from training_time import repeated


@pytest.mark.gate
def bench_batches(benchmark, depth):
    """Ten batches of 128 images in the size of CIFAR-10, gathered, shifted, flipped and normalized."""
    recipe = depth.runs[0].recipe.model_copy(update={"dataset": "synthetic", "shift": 4, "flip": True})
    dataset = repeated(data.load("synthetic", image_size=32), 10_000)
    batches = stream.Stream(dataset, recipe, 0, torch.device("cpu"))
    steps = itertools.count(step=10)

    def ten():
        begun = next(steps)
        for t in range(begun, begun + 10):
            batches.batch(t)

    benchmark(ten)
