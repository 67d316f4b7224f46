"""A training step of several nets one after another, and of the same nets packed into one (`packed.py`).

Every round of a packed step is preceded by one of the separate nets, so that both meet the same noise. The time of the
separate nets over that of the packed one is taken for each such pair: `ratio` is the median, `ratio_q1` and `ratio_q3`
are the quartiles. The case `separate` compares the separate nets with themselves. `deeptwins profile --timings FILE`
makes a page of it; `docs/packing.md` has the results.

On a GPU, steps are CUDA graphs between two events (`profile/clock.py`), in the trainer's deterministic arithmetic, on
batches of 128 images of CIFAR-10's size. How long that takes has not been measured. On a CPU images are those of the
study `depth`, 1x8x8, and nets have its width or half of it. Time is then the processor time of the process, which other
jobs disturb less than the clock's. A few minutes in all.
"""

import statistics
import time
from dataclasses import asdict, dataclass
from itertools import product

import pytest
import torch
import torch.nn.functional as F

import counting
import packed
import whereabouts
from deeptwins import nets
from deeptwins.kernels.formats import LAYOUTS
from deeptwins.profile.clock import EventTimer, flush, replay
from deeptwins.study.specs import Net, Recipe
from deeptwins.train import device, optimization

DEVICE = device.device("auto").type
IMAGES = {"cuda": (3, 32, 32), "cpu": (1, 8, 8)}
ROUNDS = {"cuda": 30, "cpu": 10}
WARMUP = 2
BATCH = 128

pytestmark = [pytest.mark.usefixtures("arithmetic"), pytest.mark.filterwarnings("error:The CUDA Graph is empty")]


@dataclass(frozen=True)
class Setting:
    """Which nets are trained, twins of `nets` / 2 seeds, and how."""

    nets: int
    depth: int
    width: int
    precision: str
    layout: str

    def __str__(self):
        """Name it so that `pytest -k` can choose."""
        return f"{self.nets}nets-depth{self.depth}-width{self.width}-{self.precision}-{self.layout}"


def settings():
    """Choose the settings and variants that are timed on this device.

    `gemm`, which has the same layout in any setting, is timed in one. A CPU gets no bf16, and full width, which takes
    long, only at depth 20 in channels_last.
    """
    widths, precisions = ((16,), ("bf16", "fp32")) if DEVICE == "cuda" else ((8, 16), ("fp32",))
    for nets_, depth, width, precision, layout in product((2, 8), (20, 56), widths, precisions, LAYOUTS):
        if DEVICE == "cuda" or width == widths[0] or (depth == 20 and layout == "channels_last"):
            for variant in ("separate", *packed.CONVOLUTIONS):
                if variant != "gemm" or layout == "channels_last":
                    yield Setting(nets_, depth, width, precision, layout), variant


def pytest_generate_tests(metafunc):
    """Parametrize by setting and variant."""
    chosen = list(settings())
    metafunc.parametrize(("setting", "variant"), chosen, ids=["-".join(map(str, pair)) for pair in chosen])


def clock():
    """Make the clock that steps are timed by."""
    return EventTimer() if DEVICE == "cuda" else time.process_time


@pytest.fixture(autouse=True)
def timer(request):
    """Let pytest-benchmark read the same clock, for which it looks before a bench begins."""
    request.applymarker(pytest.mark.benchmark(timer=clock()))


def recipe(setting):
    """Make the recipe of the CIFAR studies, as far as a step needs it."""
    return Recipe(
        dataset="synthetic", iterations=1, batch_size=BATCH, learning_rate=0.1, momentum=0.9, weight_decay=1e-4,
        precision=setting.precision,
    )  # fmt: skip


def built(setting):
    """Build plain and residual twins of some seeds, on the CPU."""
    for i in range(setting.nets):
        shortcut, seed = ("none", "zero-pad")[i % 2], i // 2
        net = Net(family="cifar", depth=setting.depth, width=setting.width, shortcut=shortcut)
        yield nets.build(net, IMAGES[DEVICE][0], 10, seed).to(memory_format=LAYOUTS[setting.layout])


def step_of(setting, variant):
    """Make the call that trains all nets on one batch."""
    torch.manual_seed(0)
    images = torch.randn(BATCH, *IMAGES[DEVICE]).to(DEVICE, memory_format=LAYOUTS[setting.layout])
    labels = torch.randint(10, (BATCH,)).to(DEVICE)
    if variant == "separate":
        models, loss_of = list(built(setting)), lambda logits: F.cross_entropy(logits.float(), labels)
    else:
        models = [packed.Packed(list(built(setting)), variant)]
        loss_of = lambda logits: packed.losses(logits.float(), labels).sum()  # noqa: E731  as in the other branch
    optimizers = [optimization.sgd(model.to(DEVICE), recipe(setting)) for model in models]

    def step():
        for model, optimizer in zip(models, optimizers, strict=True):
            with torch.autocast(DEVICE, torch.bfloat16, enabled=setting.precision == "bf16"):
                logits = model(images)
            optimizer.zero_grad(set_to_none=True)
            loss_of(logits).backward()
            optimizer.step()

    return step


def bench_step(benchmark, setting, variant):
    """One batch for all nets: forward, backward, optimizer; `ratio`, how many times as fast as one after another."""
    device.configure(recipe(setting), torch.device(DEVICE))
    work, baseline, timed = step_of(setting, variant), step_of(setting, "separate"), "process"
    work()  # the first step also allocates what all others use
    with counting.Counter() as counter:
        work()
    if DEVICE == "cuda":
        (work, timed), (baseline, _) = replay(work), replay(baseline)
    empty_cache = flush() if DEVICE == "cuda" else lambda: None
    read, separate_s = clock(), []

    def separate():
        empty_cache()
        start = read()
        baseline()
        separate_s.append(read() - start)
        empty_cache()

    benchmark.pedantic(work, setup=separate, rounds=ROUNDS[DEVICE], warmup_rounds=WARMUP)

    report(benchmark, setting, variant, separate_s[WARMUP:], counter.operators, timed)


def report(benchmark, setting, variant, separate_s, operators, timed):  # noqa: PLR0913, PLR0917  all that a page needs
    """Add to a result what was trained, and the ratio; print it."""
    median_s = statistics.median(benchmark.stats.stats.data)
    ratios = [before / after for before, after in zip(separate_s, benchmark.stats.stats.data, strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    benchmark.extra_info.update(
        asdict(setting),
        variant=variant,
        image="x".join(map(str, IMAGES[DEVICE])),
        batch=BATCH,
        timed=timed,
        operators=operators,
        ratio=ratio,
        ratio_q1=low,
        ratio_q3=high,
        **whereabouts.of(DEVICE),
    )
    print(
        f"\n{setting}-{variant}: {1000 * median_s:.2f} ms, {BATCH / median_s:.0f} images/s per net,"
        f" {operators} operators, {ratio:.2f} ({low:.2f} to {high:.2f}) times as fast as one after another"
    )
