"""Where the time of a training step goes: nets, or those of a study, measured into `results/profile/<name>.json`."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from deeptwins import data, images, lanes, machine, profile_ops, roofline, training
from deeptwins.data import Dataset, Split
from deeptwins.errors import InputError, choices, shown
from deeptwins.nets import inspection
from deeptwins.profile_records import Kernel, Op, Profile, Rate, Step
from deeptwins.specs import Net, Recipe, RunSpec
from deeptwins.study import FOLDER, Study, changed, check_cell, find, load

NETWORKS = 6  # on a page, at most: their names name it
STEPS, WARMUP = 5, 2
RANDOM = "random images"
RANDOM_BYTES = 2**26  # of images, at most, unless a batch has more
# A network has no recipe of its own: that of He et al. 2015, section 4.2, of which only sizes matter here.
RECIPE = Recipe(dataset=RANDOM, iterations=64_000, batch_size=128, learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
SAID = {"dataset", "image_size", "batch_size", "precision"}  # of a recipe: what a page says of every net
COSTS = (*sorted(SAID), "optimizer", "shift", "flip")  # of a recipe: what its step depends on
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # what a GPU says, and what a CPU
ITEMSIZE = {"fp32": 4, "tf32": 4, "bf16": 2}  # bytes of an element of an activation


@dataclass(frozen=True)
class Asked:
    """What was asked for, as the command line has it."""

    settings: tuple[str, ...] = ()
    batch: int | None = None
    image: tuple[int, int, int] | None = None
    options: tuple[str, ...] = ()
    """All the words behind the names, but for folders."""


@dataclass(frozen=True)
class Subject:
    """A net to profile, with its recipe: a run of one twin."""

    label: str
    run: RunSpec
    image: tuple[int, int, int] | None = None
    """Of random images; None: the recipe has a dataset."""
    classes: int = 0

    @property
    def net(self) -> Net:
        """The net."""
        (net,) = self.run.twins.values()
        return net


@dataclass(frozen=True)
class Plan:
    """What goes onto one page."""

    name: str
    command: str
    subjects: tuple[Subject, ...]

    def check(self, device: torch.device) -> None:
        """Check all that can be checked without data.

        Raises:
            InputError: a net cannot be trained on the device, or not be profiled.
        """
        for subject in self.subjects:
            try:
                training.check(subject.run, device)
            except ValueError as error:
                raise InputError(f"{subject.label}: {error}") from None
            if subject.net.fused_op == "compiled":
                raise InputError(
                    f"{subject.label}: fused_op = 'compiled': what torch.compile makes cannot be taken apart by op"
                )


def plans(names: Sequence[str], asked: Asked, folder: Path = FOLDER) -> list[Plan]:
    """Plan what names mean: a page a study, and one for all networks together.

    Raises:
        InputError: a name is neither a study's nor a network's, or something else that was asked for is wrong.
    """
    made, networks = [], []
    for name in dict.fromkeys(names):
        if Path(name).suffix == ".toml" or (folder / f"{name}.toml").is_file():
            made.append(_of_study(name, asked, folder))
        elif inspection.NAME.fullmatch(name):
            networks.append(name)
        else:
            known = [*(path.stem for path in folder.glob("*.toml")), *inspection.EXAMPLES]
            raise InputError(f"no study and no network {shown(name)}: {choices(known, name)}")
    if len(networks) > NETWORKS:
        raise InputError(f"{len(networks)} networks: at most {NETWORKS} stand on one page")
    return [*made, *([_of_networks(networks, asked)] if networks else [])]


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
            training.configure(recipe, device)
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
        commit=machine.commit(),
        machine=machine.describe(device.type),
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


def _of_study(name: str, asked: Asked, folder: Path) -> Plan:
    if asked.image is not None:
        raise InputError("--input: the images of a study are its dataset's; --set recipe.image_size scales them")
    settings = [*asked.settings, *([] if asked.batch is None else [f"recipe.batch_size={asked.batch}"])]
    study = load(find(name, folder), settings)
    return Plan(study.name, _command([name], asked), tuple(_subjects(study)))


def _subjects(study: Study) -> Iterator[Subject]:
    """Name every net of a study once, whatever the seeds: by family, depth and twin, and what else tells it apart.

    It is told from the other nets of the study, and from its own in the study as it is without the settings.
    """
    found: dict[Any, tuple[str, Net, RunSpec]] = {}
    for run in study.runs:
        for twin, net in run.twins.items():
            key = net, *(getattr(run.recipe, field) for field in COSTS)
            found.setdefault(key, (twin, net, run))
    names = [f"{net.family}-{net.depth} {twin}" for twin, net, _ in found.values()]
    fields = [_fields(net, run.recipe) for _, net, run in found.values()]
    for i, (twin, net, run) in enumerate(found.values()):
        same = [fields[j] for j, name in enumerate(names) if name == names[i]]
        apart = {key for key in fields[i] if any(other[key] != fields[i][key] for other in same)}
        label = _label(names[i], fields[i], apart | _changed(study.settings))
        yield Subject(label, run.model_copy(update={"twins": {twin: net}}))


def _fields(net: Net, recipe: Recipe) -> dict[str, Any]:
    """Tabulate all that a step depends on."""
    return {**net.model_dump(), **recipe.model_dump(include={*COSTS})}


def _changed(settings: Sequence[str]) -> set[str]:
    """Name the fields that settings change, but for those that a page says anyway."""
    return {setting.removeprefix("recipe.").split("=")[0] for setting in settings} - SAID


def _label(name: str, fields: dict[str, Any], told: set[str]) -> str:
    return ", ".join([name, *(f"{key} {value}" for key, value in fields.items() if key in told)])


def _of_networks(names: list[str], asked: Asked) -> Plan:
    """Plan networks by name, with a recipe that `recipe.KEY=VALUE` changes; other settings are the networks'."""
    of_recipe = [text.removeprefix("recipe.") for text in asked.settings if text.startswith("recipe.")]
    of_net = [text for text in asked.settings if not text.startswith("recipe.")]
    recipe = changed(RECIPE, of_recipe, "recipe")
    if recipe.dataset != RANDOM:
        raise InputError("--set recipe.dataset: networks are profiled on random images; --input gives their size")
    if asked.batch is not None:
        recipe = recipe.model_copy(update={"batch_size": asked.batch})
    subjects = []
    for name in names:
        net, image, classes = inspection.named(name, of_net)
        image = asked.image or image
        try:
            check_cell({name: net}, recipe)
        except InputError as error:
            raise InputError(str(error).replace("twins.", "", 1)) from None
        inspection.trace(net, image, classes)
        run = RunSpec(study="profile", seed=0, twins={name: net}, recipe=recipe)
        label = _label(name, _fields(net, recipe), _changed(asked.settings))
        subjects.append(Subject(label, run, image, classes))
    return Plan("-".join(names), _command(names, asked), tuple(subjects))


def _command(names: list[str], asked: Asked) -> str:
    return shlex.join(["deeptwins", "profile", *(Path(name).name for name in names), *asked.options])


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
) -> tuple[Step, list[Op], list[Kernel]]:
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
        least_bytes=roofline.least_bytes(net, dataset.image, recipe.batch_size, ITEMSIZE[recipe.precision]),
    )
    return step, [_op(label, key, each) for key, each in ops.items()], [
        Kernel(net=label, kind=kind, kernel=name, calls=each.calls, time_us=_us(each.time_us))
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
