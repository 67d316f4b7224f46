"""What the numbers that the trainer chooses for a GPU are worth: steps per replay, runs in hand, images per evaluation.

Nets, images and rehearsal are those of `bench_throughput.py`, in the precision of the study. That bench also shows what
one stream per net is worth: all nets together beside one after another. `deeptwins profile --timings FILE` makes a page
of it.
"""

import pytest

import whereabouts
from deeptwins.train import device, lanes, measuring, training
from deeptwins.train.feeds import Feeds
from deeptwins.train.schedule import scheduling
from training_time import DEVICE, REHEARSAL, ROUNDS, advance, images, runs, time_trainer

pytestmark = [pytest.mark.usefixtures("arithmetic"), pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def dataset():
    """What all of them train on."""
    return images()


def describe(benchmark, choice, value, chosen, iterations=1):
    """Add to a result the value tried and the trainer's; print the time."""
    benchmark.extra_info.update(
        choice=choice,
        value=value,
        chosen=chosen,
        precision=runs()[0].recipe.precision,
        iterations=iterations,
        rehearsal=REHEARSAL,
        **whereabouts.of(DEVICE.type),
    )
    ms = 1000 * benchmark.stats.stats.median / iterations
    print(f"\n{choice} {value} (the trainer: {chosen}): {ms:.2f} ms")


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16, 32])
def bench_steps(benchmark, monkeypatch, dataset, steps):
    """An iteration of all nets of one seed together, so many steps per replay."""
    chosen = lanes.STEPS[DEVICE.type]
    monkeypatch.setitem(lanes.STEPS, DEVICE.type, steps)
    _, iterations = time_trainer(benchmark, runs(), dataset)
    describe(benchmark, "steps a replay", steps, chosen, iterations)


@pytest.mark.parametrize("together", [1, 2, 4])
def bench_together(benchmark, dataset, together):
    """An iteration of all nets of one seed, so many runs in hand while the others wait."""
    _, iterations = time_trainer(benchmark, runs(), dataset, together)
    describe(benchmark, "runs in hand", together, scheduling.TOGETHER, iterations)


@pytest.mark.parametrize("at_once", [500, 2500, 10_000])
def bench_evaluation(benchmark, monkeypatch, dataset, at_once):
    """An evaluation of the deepest twins, so many images at a time."""
    chosen = measuring.EVALUATION_BATCH[DEVICE.type]
    monkeypatch.setitem(measuring.EVALUATION_BATCH, DEVICE.type, at_once)
    run = runs()[-1]
    device.configure(run.recipe, DEVICE)
    trained = training.Training(run, dataset.to(DEVICE), DEVICE, Feeds())

    def step():  # an evaluation also reports on the training steps since the last, of which there must be one
        advance([trained], 1)

    benchmark.pedantic(
        lambda: list(measuring.evaluate(trained)), setup=step, warmup_rounds=1, rounds=ROUNDS[DEVICE.type]
    )
    describe(benchmark, "images an evaluation", at_once, chosen)
