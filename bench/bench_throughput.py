"""How fast the nets of `depth-cifar10` train: one alone, all of one seed together, and by the loops that people write.

`together` are the runs of one seed taking turns as a study trains them, `alone` is a net in the trainer by itself, both
in TF32 (as the study, and the convolutions of the usual loop), fp32 and bf16; `usual` and `compiled` are the loops of
`handwritten.py`, a net after another. Warm-up, capture and compilation are over before the clock starts; nothing is
evaluated until it has stopped, when `together` times that, too. A case is timed over a fixed number of iterations, and
waits for the device once at their end (the loops wait in each, by `.item()`). `deeptwins profile --timings FILE` makes
the page, of several files, too: the cases may be timed in several calls.

Speed does not depend on what the images show: without CIFAR-10 in DEEPTWINS_DATA they are synthetic. On a CPU all is
small, and the loop that compiles does so without generating code: a rehearsal, whose numbers mean nothing for a GPU.
"""

import math
import os
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

import handwritten
import whereabouts
from deeptwins import data, nets, study
from deeptwins.data import layouts
from deeptwins.data.images import Resident
from deeptwins.profile import roofline
from deeptwins.records import host
from deeptwins.train import device, lanes, training
from deeptwins.train.feeds import Feeds

STUDY = Path(__file__).parents[1] / "ablations" / "depth-cifar10.toml"
DEVICE = device.device("auto")
REHEARSAL = DEVICE.type == "cpu"
SMALL = ("recipe.width=4", "recipe.batch_size=16", "recipe.image_size=8")
SIZE = 32  # pixels, of CIFAR-10's images
IMAGES = {"cpu": 512, "cuda": 50_000}  # at least: so that epochs are as long as those of CIFAR-10
STUDY_IMAGES = {"train": 50_000, "test": 10_000}  # CIFAR-10's, whatever stands in for them here
ITERATIONS = {"cpu": 2, "cuda": 200}
ROUNDS = {"cpu": 1, "cuda": 3}  # of the trainer; the loops take long, and are timed once
WARMUP = {"cpu": 1, "cuda": 20}  # iterations of a loop, in which it compiles, and its workers start
WORKERS = {"cpu": 1, "cuda": 4}
BACKEND = {"cpu": "eager", "cuda": "inductor"}
ITEMSIZE = {"tf32": 4, "fp32": 4, "bf16": 2}  # the study's precision first

# A warning of a compiler, or of a forked process, would end a bench, and is none about what is timed.
pytestmark = [pytest.mark.usefixtures("arithmetic"), pytest.mark.filterwarnings("default")]


def runs(precision=None):
    """Make the runs of one seed of the study, in a precision or in its own."""
    settings = [*([f"recipe.precision={precision}"] if precision else ()), *(SMALL if REHEARSAL else ())]
    return study.load(STUDY, settings, seeds=1).runs


def pytest_generate_tests(metafunc):
    """Parametrize by way or precision, then by the nets of the study: what takes longest, to compile, comes last."""
    for name, values in (("precision", ITEMSIZE), ("way", handwritten.LOOPS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values)
    if "net" in metafunc.fixturenames:
        found = [(twin, net.depth) for run in runs("fp32") for twin, net in run.twins.items()]
        metafunc.parametrize("net", found, ids=[f"{twin}-{depth}" for twin, depth in found])


@pytest.fixture(scope="session")
def dataset():
    """What all of them train on."""
    return images()


def images():
    """CIFAR-10 if it is there, else as many synthetic images of its size."""
    folder = os.environ.get("DEEPTWINS_DATA")
    if not REHEARSAL and folder and layouts.find("cifar10", Path(folder)):
        return data.load("cifar10", Path(folder))
    return repeated(data.load("synthetic", image_size=8 if REHEARSAL else SIZE), IMAGES[DEVICE.type])


def repeated(small, least):
    """Repeat the training images of a dataset until there are at least so many."""
    times = -(-least // len(small.train))
    pixels = small.train.images.pixels.repeat(times, 1, 1, 1)
    return replace(small, train=data.Split(small.train.labels.repeat(times), Resident(pixels)))


@pytest.fixture(scope="session")
def copy_gb_per_s():
    """How fast the device copies."""
    return roofline.copy_gb_per_s(DEVICE.type)


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


def time_evaluation(trainings):
    """Time an evaluation of all nets, as if of the study's images; count those of a seed of the study."""
    recipe, splits = trainings[0].run.recipe, trainings[0].stream.dataset.splits
    for _ in range(2):  # in the first, libraries choose their kernels
        advance(trainings, 1)
        start = time.perf_counter()
        for trained in trainings:
            list(trained.evaluate())
        seconds = time.perf_counter() - start
    assert all(len(trained.training) == len(trained.twins) for trained in trainings), "diverged nets are not evaluated"
    epochs = recipe.iterations * recipe.batch_size / STUDY_IMAGES["train"]
    return {
        "evaluation_s": seconds * sum(STUDY_IMAGES.values()) / sum(map(len, splits.values())),
        "evaluations": math.ceil(epochs / recipe.evaluate_every),
    }


def describe(benchmark, way, chosen, dataset, iterations, copy_gb_per_s, **told):  # noqa: PLR0913, PLR0917  all there is to say
    """Add to a result what it is of; print what it comes to."""
    recipe, specs = chosen[0].recipe, [net for run in chosen for net in run.twins.values()]
    sizes = dataset.image, recipe.batch_size, ITEMSIZE[recipe.precision]
    twin, depth = (next(iter(chosen[0].twins)), specs[0].depth) if len(specs) == 1 else ("all", None)
    benchmark.extra_info.update(
        way=way,
        twin=twin,
        depth=depth,
        nets=len(specs),
        precision=recipe.precision,
        batch=recipe.batch_size,
        width=specs[0].width,
        image="x".join(map(str, dataset.image)),
        iterations=iterations,
        study_iterations=recipe.iterations,
        least_bytes=sum(roofline.least_bytes(net, *sizes) for net in specs),
        copy_gb_per_s=copy_gb_per_s,
        dataset=dataset.name,
        convolutions_in_tf32=bool(torch.backends.cudnn.allow_tf32) and not REHEARSAL,
        rehearsal=REHEARSAL,
        **whereabouts.of(DEVICE.type),
        **told,
    )
    seconds = benchmark.stats.stats.median / iterations
    floor = benchmark.extra_info["least_bytes"] / copy_gb_per_s / 1e9
    print(
        f"\n{way}, {twin}{'' if depth is None else f'-{depth}'}, {recipe.precision}: {1000 * seconds:.2f} ms an"
        f" iteration, {len(specs) / seconds:.0f} net-iterations/s, {100 * floor / seconds:.1f} % of the floor"
    )


def only(precision, net):
    """Make the run of one net of the study."""
    twin, depth = net
    run = next(run for run in runs(precision) if run.twins[twin].depth == depth)
    return run.model_copy(update={"twins": {twin: run.twins[twin]}})


def bench_together(benchmark, dataset, copy_gb_per_s, precision):
    """An iteration of all nets of one seed, as a study trains them."""
    chosen = runs(precision)
    trainings, iterations = time_trainer(benchmark, chosen, dataset)
    describe(benchmark, "together", chosen, dataset, iterations, copy_gb_per_s, **time_evaluation(trainings))


def bench_alone(benchmark, dataset, copy_gb_per_s, precision, net):
    """An iteration of one net that has the device to itself."""
    chosen = [only(precision, net)]
    _, iterations = time_trainer(benchmark, chosen, dataset)
    describe(benchmark, "alone", chosen, dataset, iterations, copy_gb_per_s)


def bench_loop(benchmark, dataset, copy_gb_per_s, way, net):
    """An iteration of one net in a loop that people write, of operators that PyTorch has."""
    loop, cores, iterations = handwritten.LOOPS[way], host.cores(), ITERATIONS[DEVICE.type]
    run = only(loop.precision, net)
    if not REHEARSAL:
        torch.set_num_threads(cores)  # PyTorch's default: what people leave untouched
    workers = min(WORKERS[DEVICE.type], cores)
    ((_, spec),) = run.twins.items()
    model = nets.build(
        spec.model_copy(update={"fused_op": "eager"}), dataset.image[0], dataset.classes, run.seed
    ).to(DEVICE)  # fmt: skip
    loader = handwritten.pictures(dataset, run.recipe, workers, pinned=not REHEARSAL)
    steps = loop.steps(model, run.recipe, loader, BACKEND[DEVICE.type])
    advance_loop(steps, WARMUP[DEVICE.type])
    benchmark.pedantic(advance_loop, (steps, iterations), rounds=1)
    steps.close()

    told = {"workers": workers}
    if loop.compiled:
        told["backend"] = BACKEND[DEVICE.type]
    describe(benchmark, way, [run], dataset, iterations, copy_gb_per_s, **told)


def advance_loop(steps, iterations):
    """Go through so many iterations."""
    for _ in islice(steps, iterations):
        pass
