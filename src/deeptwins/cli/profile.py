"""The command `deeptwins profile`: where the time of a training step goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptwins.cli.console import ABLATIONS, REPORTS, RESULTS, as_typed, beginning, read_shape, say, stoppable
from deeptwins.cli.options import (
    Data,
    DeviceName,
    Reports,
    complete_shown,
    image_option,
    results_option,
    settings_option,
)
from deeptwins.cli.pages import print_index, print_page, publish, spec_of
from deeptwins.errors import InputError
from deeptwins.system.spoken import heard

if TYPE_CHECKING:
    import torch

    from deeptwins.profile.plans import Plan

BATCH, STEPS = 65_536, 1000  # more is a slip


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STUDY|NETWORK",
        help="depth, cifar-plain-56 or the like; or .toml files.",
        autocompletion=complete_shown,
    ),
]
ImagesPerStep = Annotated[
    int | None, typer.Option(min=1, max=BATCH, metavar="N", help="Images per step. [default: the study's; 128]")
]
NetworkImage = Annotated[str | None, image_option("The image of a network, e.g. 1x28x28.")]
Steps = Annotated[int, typer.Option(min=1, max=STEPS, metavar="N", help="Steps to time, and as many to profile.")]
ProfiledSettings = Annotated[
    list[str] | None,
    settings_option("KEY=VALUE", "Change a network, or with recipe.KEY=VALUE its recipe or a study's."),
]
Profiles = Annotated[Path, results_option("Where the profile goes.")]
BenchTimings = Annotated[
    list[Path] | None,
    typer.Option(
        "--timings",
        metavar="FILE",
        help="Make pages of these timings: JSON of bench_throughput.py, bench_packing.py or bench_choices.py."
        " Can be given again.",
    ),
]


def profile(  # noqa: PLR0913  every option is a parameter
    names: Names = None,
    *,
    device: DeviceName = "auto",
    batch: ImagesPerStep = None,
    image: NetworkImage = None,
    steps: Steps = 5,
    settings: ProfiledSettings = None,
    results: Profiles = RESULTS,
    reports: Reports = REPORTS,
    data: Data = None,
    timings: BenchTimings = None,
) -> None:
    """Tell where the time of a training step goes.

    It is divided by kind of work, layer and kernel. The nets of a study are profiled with its recipe and data.
    Networks, named as for `show`, share one page and train with SGD on random images. On a CPU, one thread computes,
    as in a study. Use an idle machine: other work lengthens times. The profile goes to results/profile/NAME.json and
    onto a page, reports/profile-NAME/index.html.

    --timings makes pages of what benches measured: how fast the paper's CIFAR-10 grid trains, in
    reports/throughput/index.html; whether packing nets pays, in reports/choices/index.html.

    \b
    Examples:
      deeptwins profile cifar-plain-56 cifar-resnet-56
      deeptwins profile depth --device cuda
      deeptwins profile resnet-18 --batch 8 --set recipe.precision=bf16
      deeptwins profile --timings throughput.json
    """  # noqa: D301
    if timings:
        beginning("writing the pages")
        _show(timings, results, reports)
    if not names:
        if not timings:
            raise InputError("Missing argument 'STUDY|NETWORK', or --timings FILE; see `deeptwins profile --help`")
        return
    beginning("loading PyTorch")
    from deeptwins.profile import measure
    from deeptwins.profile import plans as profile_plans
    from deeptwins.train import device as devices

    # The options as the page repeats them: those that decide what is measured.
    words = as_typed(device=None if device == "auto" else device, batch=batch, input=image)
    words += as_typed(settings, steps=None if steps == measure.STEPS else steps)
    shape = None if image is None else read_shape(image)
    accelerator = devices.device(device)
    options = profile_plans.ProfileOptions(tuple(settings or ()), batch, shape, tuple(words))
    # Check all plans before the first of them takes its minutes.
    with heard(partial(say, err=True)):
        plans = profile_plans.plans(names, options, ABLATIONS)
        for plan in plans:
            plan.check(accelerator)
    recipes = [subject.run.recipe for plan in plans for subject in plan.subjects]
    for text in devices.slow(recipes, accelerator.type):
        say(text, err=True)
    for plan in plans:
        _profile(plan, accelerator, steps, data, results, reports)


def _profile(  # noqa: PLR0913, PLR0917
    plan: Plan, device: torch.device, steps: int, data: Path | None, results: Path, reports: Path
) -> None:
    """Profile the nets of a plan, with progress on stderr; write the record and its page, and print it."""
    from deeptwins.profile import measure
    from deeptwins.records import profiles, tables

    path = profiles.path_of(results, plan.name)
    tables.check_writable(path)  # refuses a folder that cannot be written before minutes of profiling
    printed: list[str] = []  # by parts of one's own: shown once the bar is gone
    try:
        with (
            stoppable(),
            typer.progressbar(length=len(plan.subjects), label=f"profiling {plan.name}", file=sys.stderr) as bar,
            heard(printed.append),
        ):
            record = measure.profile(plan, device, steps, data, lambda: bar.update(1))
    finally:
        for text in printed:
            say(text, err=True)
    tables.write(path, record)
    publish("profile", reports, (path,))


def _show(files: Sequence[Path], results: Path, reports: Path) -> None:
    """Keep the timings of benches, write their pages, and print what they say."""
    from deeptwins.pages.choices import numbers as choices
    from deeptwins.pages.page import write
    from deeptwins.pages.throughput import numbers as throughput
    from deeptwins.records import benchmarks

    timings = benchmarks.read(files)
    known = throughput.BENCHES, choices.BENCHES
    timed = [(benches, cases) for benches in known if len(cases := timings.of(*benches.modules))]
    if not timed:
        names = ", ".join(name for benches in known for name in benches.modules)
        raise timings.refused(f"no timing by {names}")
    for benches, cases in timed:
        benches.derive(cases)  # what makes no sense is refused before any of it takes the place of what does
    for benches, cases in timed:
        kept = benchmarks.keep(cases, benches.path_of(results))
        print_page(write(spec_of(benches.page), reports, kept))
    print_index(reports)
