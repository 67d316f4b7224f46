"""What to profile: the nets of a study, each once, or networks by name, all on one page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deeptwins.errors import InputError, SpecError, choices, noting, shown
from deeptwins.nets import inspection
from deeptwins.study import FOLDER, Study, changed, check_cell, find, known, load
from deeptwins.study.networks import EXAMPLES, NAME, OWN, named
from deeptwins.study.specs import Net, Recipe, RunSpec, option_words
from deeptwins.train import checks

NETWORKS = 6  # on a page, at most: their names name it
RANDOM = "random images"
# A network has no recipe of its own: that of He et al. 2015, section 4.2, of which only sizes matter here.
RECIPE = Recipe(dataset=RANDOM, iterations=64_000, batch_size=128, learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
SHOWN = {"dataset", "image_size", "batch_size", "precision"}  # fields of a recipe that a page shows of every net
COSTS = (*sorted(SHOWN), "optimizer", "shift", "flip")  # fields of a recipe on which the cost of a step depends


@dataclass(frozen=True)
class ProfileOptions:
    """The options of `deeptwins profile`, as they were given."""

    settings: tuple[str, ...] = ()
    batch: int | None = None
    image: tuple[int, int, int] | None = None
    words: tuple[str, ...] = ()
    """All options as words, but for folders: for the command that the page shows."""


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
    """The nets of one page."""

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
                with noting(f"net {subject.label}"):
                    checks.check(subject.run, device)
            except SpecError as error:
                raise InputError(f"{subject.label}: {error}") from None
            if subject.net.fused_op == "compiled":
                raise InputError(
                    f"{subject.label}: fused_op = 'compiled': what torch.compile makes cannot be taken apart by op"
                )


def plans(names: Sequence[str], options: ProfileOptions, folder: Path = FOLDER) -> list[Plan]:
    """Plan the pages that names mean: one per study, and one for all networks together.

    Raises:
        InputError: a name is neither a study's nor a network's, or an option is wrong.
    """
    planned, networks = [], []
    studies = known(folder)
    for name in dict.fromkeys(names):
        if Path(name).suffix == ".toml" or name in studies:
            planned.append(_of_study(name, options, folder))
        elif NAME.fullmatch(name) or OWN.fullmatch(name):
            networks.append(name)
        else:
            raise InputError(f"no study and no network {shown(name)}: {choices([*studies, *EXAMPLES], name)}")
    if len(networks) > NETWORKS:
        raise InputError(f"{len(networks)} networks: at most {NETWORKS} stand on one page")
    return [*planned, *([_of_networks(networks, options)] if networks else [])]


def _of_study(name: str, options: ProfileOptions, folder: Path) -> Plan:
    if options.image is not None:
        raise InputError("--input: the images of a study are its dataset's; --set recipe.image_size scales them")
    settings = [*options.settings, *([] if options.batch is None else [f"recipe.batch_size={options.batch}"])]
    study = load(find(name, folder), settings)
    return Plan(study.name, _command([name], options), tuple(_subjects(study)))


def _subjects(study: Study) -> Iterator[Subject]:
    """Name every net of a study once, whatever the seeds: by family, depth, twin, and more where that is too little.

    More are the fields in which nets of one name differ, and those that the settings changed.
    """
    distinct: dict[Any, tuple[str, Net, RunSpec]] = {}
    for run in study.runs:
        for twin, net in run.twins.items():
            key = net, *(getattr(run.recipe, field) for field in COSTS)
            distinct.setdefault(key, (twin, net, run))
    names = [f"{net.family}-{net.depth} {twin}" for twin, net, _ in distinct.values()]
    fields = [_fields(net, run.recipe) for _, net, run in distinct.values()]
    for i, (twin, net, run) in enumerate(distinct.values()):
        same = [fields[j] for j, name in enumerate(names) if name == names[i]]
        apart = {key for key in fields[i] if any(other[key] != fields[i][key] for other in same)}
        label = _label(names[i], fields[i], apart | _changed(study.settings))
        yield Subject(label, run.model_copy(update={"twins": {twin: net}}))


def _fields(net: Net, recipe: Recipe) -> dict[str, Any]:
    """Tabulate all that a step depends on."""
    return {**net.model_dump(), "options": option_words(net.options), **recipe.model_dump(include={*COSTS})}


def _changed(settings: Sequence[str]) -> set[str]:
    """Name the fields that settings change, but for those that a page shows anyway."""
    return {re.split("[.=]", setting.removeprefix("recipe."))[0] for setting in settings} - SHOWN


def _label(name: str, fields: dict[str, Any], named: set[str]) -> str:
    told = (value if key == "options" else f"{key} {value}" for key, value in fields.items() if key in named)
    return ", ".join([name, *told])


def _of_networks(names: list[str], options: ProfileOptions) -> Plan:
    """Plan networks by name, with a recipe that `recipe.KEY=VALUE` changes; other settings are the networks'."""
    of_recipe = [text.removeprefix("recipe.") for text in options.settings if text.startswith("recipe.")]
    of_net = [text for text in options.settings if not text.startswith("recipe.")]
    recipe = changed(RECIPE, of_recipe, "recipe")
    if recipe.dataset != RANDOM:
        raise InputError("--set recipe.dataset: networks are profiled on random images; --input gives their size")
    if options.batch is not None:
        recipe = recipe.model_copy(update={"batch_size": options.batch})
    subjects = []
    for name in names:
        net, image, classes = named(name, of_net)
        image = options.image or image
        inspection.check_named(name, net)
        with noting(f"net {name}"):
            check_cell({name: net}, recipe)
            inspection.trace(net, image, classes)
        run = RunSpec(study="profile", seed=0, twins={name: net}, recipe=recipe)
        label = _label(name, _fields(net, recipe), _changed(options.settings))
        subjects.append(Subject(label, run, image, classes))
    return Plan("-".join(names).replace(":", "."), _command(names, options), tuple(subjects))


def _command(names: list[str], options: ProfileOptions) -> str:
    return shlex.join(["deeptwins", "profile", *(Path(name).name for name in names), *options.words])
