"""How fast the nets of `depth-cifar10` train: one alone, all of one seed together, and by the loops that people write.

`together` are the runs of one seed taking turns, as a study trains them; `alone` is one net in the trainer. Both are
timed in TF32 (as the study trains, and as the usual loop convolves), fp32 and bf16. `usual` and `compiled` are the
loops of `handwritten.py`, one net after another. Warm-up, capture and compilation are over before the clock starts.
Nothing is evaluated while it runs; `together` times an evaluation afterwards. A case is timed over a fixed number of
iterations and waits for the device once, at their end; the loops wait in each, by `.item()`. `deeptwins profile
--timings FILE` makes the page, also of several files, so that cases may be timed in several calls.

Speed does not depend on what the images show: without CIFAR-10 in DEEPTWINS_DATA they are synthetic. On a CPU
everything is small, and the loop that compiles generates no code: a rehearsal, whose numbers mean nothing for a GPU.
"""

import math
import time
from itertools import islice

import pytest
import torch

import handwritten
import whereabouts
from deeptwins import nets
from deeptwins.kernels.formats import PRECISIONS
from deeptwins.profile import roofline
from deeptwins.records import host
from deeptwins.train import measuring
from training_time import DEVICE, ITERATIONS, REHEARSAL, advance, images, runs, time_trainer

STUDY_IMAGES = {"train": 50_000, "test": 10_000}  # CIFAR-10's, whatever stands in for them here
WARMUP = {"cpu": 1, "cuda": 20}  # iterations of a loop, in which it compiles and its workers start
WORKERS = {"cpu": 1, "cuda": 4}
BACKEND = {"cpu": "eager", "cuda": "inductor"}
# A warning of a compiler or of a forked process, which is not about what is timed, would end a bench.
pytestmark = [pytest.mark.usefixtures("arithmetic"), pytest.mark.filterwarnings("default")]


def pytest_generate_tests(metafunc):
    """Parametrize by way or precision, then by the nets of the study: what takes longest, to compile, comes last."""
    for name, values in (("precision", PRECISIONS), ("way", handwritten.LOOPS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values)
    if "net" in metafunc.fixturenames:
        chosen = [(twin, net.depth) for run in runs("fp32") for twin, net in run.twins.items()]
        metafunc.parametrize("net", chosen, ids=[f"{twin}-{depth}" for twin, depth in chosen])


@pytest.fixture(scope="session")
def dataset():
    """What all nets train on."""
    return images()


@pytest.fixture(scope="session")
def copy_gb_per_s():
    """How fast the device copies."""
    return roofline.copy_gb_per_s(DEVICE.type)


def time_evaluation(trainings):
    """Time an evaluation of all nets, scaled to the images of the study; count the evaluations of one of its seeds."""
    recipe, splits = trainings[0].run.recipe, trainings[0].stream.dataset.splits
    for _ in range(2):  # in the first, libraries choose their kernels
        advance(trainings, 1)
        start = time.perf_counter()
        for trained in trainings:
            list(measuring.evaluate(trained))
        seconds = time.perf_counter() - start
    assert all(len(trained.training) == len(trained.twins) for trained in trainings), "diverged nets are not evaluated"
    epochs = recipe.iterations * recipe.batch_size / STUDY_IMAGES["train"]
    return {
        "evaluation_s": seconds * sum(STUDY_IMAGES.values()) / sum(map(len, splits.values())),
        "evaluations": math.ceil(epochs / recipe.evaluate_every),
    }


def describe(benchmark, way, chosen, dataset, iterations, copy_gb_per_s, **more):  # noqa: PLR0913, PLR0917  all that a page needs
    """Add to a result which nets were trained how; print its rates."""
    recipe, specs = chosen[0].recipe, [net for run in chosen for net in run.twins.values()]
    sizes = dataset.image, recipe.batch_size, PRECISIONS[recipe.precision].itemsize
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
        **more,
    )
    seconds = benchmark.stats.stats.median / iterations
    bound = benchmark.extra_info["least_bytes"] / copy_gb_per_s / 1e9
    print(
        f"\n{way}, {twin}{'' if depth is None else f'-{depth}'}, {recipe.precision}: {1000 * seconds:.2f} ms an"
        f" iteration, {len(specs) / seconds:.0f} net-iterations/s,"
        f" {100 * bound / seconds:.1f} % of the memory roofline"
    )


def only(precision, net):
    """Make the run of a single net of the study."""
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
    """An iteration of one net in a loop that people write, of PyTorch's own operators."""
    loop, cores, iterations = handwritten.LOOPS[way], host.cores(), ITERATIONS[DEVICE.type]
    run = only(loop.precision, net)
    if not REHEARSAL:
        torch.set_num_threads(cores)  # PyTorch's default, which people leave as it is
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

    more: dict[str, int | str] = {"workers": workers}
    if loop.compiled:
        more["backend"] = BACKEND[DEVICE.type]
    describe(benchmark, way, [run], dataset, iterations, copy_gb_per_s, **more)


def advance_loop(steps, iterations):
    """Go on by so many iterations."""
    for _ in islice(steps, iterations):
        pass
