"""The trainer on images of CIFAR-10's size, timed: what `bench_throughput.py`, `bench_choices.py` and others share.

On a CPU everything is small, so that benches can be rehearsed there: such numbers mean nothing for a GPU.
"""

import os
from dataclasses import replace
from pathlib import Path

import torch

from deeptwins import data, study
from deeptwins.data import layouts
from deeptwins.data.images import Resident
from deeptwins.train import device, lanes, training
from deeptwins.train.feeds import Feeds

STUDY = Path(__file__).parents[1] / "ablations" / "depth-cifar10.toml"
DEVICE = device.device("auto")
REHEARSAL = DEVICE.type == "cpu"
SMALL = ("recipe.width=4", "recipe.batch_size=16", "recipe.image_size=8")
SIZE = 32  # pixels, of CIFAR-10's images
IMAGES = {"cpu": 512, "cuda": 50_000}  # at least: on a GPU epochs are then as long as those of CIFAR-10
ITERATIONS = {"cpu": 2, "cuda": 200}
ROUNDS = {"cpu": 1, "cuda": 3}


def runs(precision=None):
    """Make the runs of one seed of the study, in a precision or in its own."""
    settings = [f"recipe.precision={precision}"] if precision else []
    return study.load(STUDY, [*settings, *(SMALL if REHEARSAL else ())], seeds=1).runs


def images():
    """Load CIFAR-10 if it is there, else as many synthetic images of its size."""
    folder = os.environ.get("DEEPTWINS_DATA")
    if not REHEARSAL and folder and layouts.find("cifar10", Path(folder)):
        return data.load("cifar10", Path(folder))
    return repeated(data.load("synthetic", image_size=8 if REHEARSAL else SIZE), IMAGES[DEVICE.type])


def repeated(small, least):
    """Repeat the training images of a dataset until there are at least so many."""
    times = -(-least // len(small.train))
    pixels = small.train.images.pixels.repeat(times, 1, 1, 1)
    return replace(small, train=data.Split(small.train.labels.repeat(times), Resident(pixels)))


def advance(trainings, iterations):
    """Train all of them so many iterations on, by turns, and wait for the device once."""
    goal = trainings[0].iteration + iterations
    while trainings[0].iteration < goal:
        for trained in trainings:
            trained.advance()
    if not REHEARSAL:
        torch.cuda.synchronize()


def time_trainer(benchmark, chosen, dataset, together=None):
    """Time the trainer on some runs, so many at once or all of them; return them, and the iterations of a round."""
    device.configure(chosen[0].recipe, DEVICE)
    feeds, resident, together = Feeds(), dataset.to(DEVICE), together or len(chosen)
    trainings = [training.Training(run, resident, DEVICE, feeds) for run in chosen]
    parties = [trainings[i : i + together] for i in range(0, len(trainings), together)]

    def all_of_them(iterations):
        for party in parties:
            advance(party, iterations)

    all_of_them(lanes.WARMUP + 2 * lanes.STEPS[DEVICE.type])
    before, rounds = trainings[0].iteration, ROUNDS[DEVICE.type]
    benchmark.pedantic(all_of_them, (ITERATIONS[DEVICE.type],), rounds=rounds)
    return trainings, (trainings[0].iteration - before) / rounds
