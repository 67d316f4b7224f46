"""What to profile: the nets of a study, each once, or networks by name, all on one page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deeptwins.errors import InputError, choices, shown
from deeptwins.nets import inspection
from deeptwins.study import FOLDER, Study, changed, check_cell, find, load
from deeptwins.study.networks import EXAMPLES, NAME, named
from deeptwins.study.specs import Net, Recipe, RunSpec
from deeptwins.train import training

NETWORKS = 6  # on a page, at most: their names name it
RANDOM = "random images"
# A network has no recipe of its own: that of He et al. 2015, section 4.2, of which only sizes matter here.
RECIPE = Recipe(dataset=RANDOM, iterations=64_000, batch_size=128, learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
SAID = {"dataset", "image_size", "batch_size", "precision"}  # of a recipe: what a page says of every net
COSTS = (*sorted(SAID), "optimizer", "shift", "flip")  # of a recipe: what its step depends on


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
        elif NAME.fullmatch(name):
            networks.append(name)
        else:
            known = [*(path.stem for path in folder.glob("*.toml")), *EXAMPLES]
            raise InputError(f"no study and no network {shown(name)}: {choices(known, name)}")
    if len(networks) > NETWORKS:
        raise InputError(f"{len(networks)} networks: at most {NETWORKS} stand on one page")
    return [*made, *([_of_networks(networks, asked)] if networks else [])]


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
        net, image, classes = named(name, of_net)
        inspection.check_named(name, net)
        image = asked.image or image
        check_cell({name: net}, recipe)
        inspection.trace(net, image, classes)
        run = RunSpec(study="profile", seed=0, twins={name: net}, recipe=recipe)
        label = _label(name, _fields(net, recipe), _changed(asked.settings))
        subjects.append(Subject(label, run, image, classes))
    return Plan("-".join(names), _command(names, asked), tuple(subjects))


def _command(names: list[str], asked: Asked) -> str:
    return shlex.join(["deeptwins", "profile", *(Path(name).name for name in names), *asked.options])
