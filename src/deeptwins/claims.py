"""What a study claims, and what has been published: the tables `[[expect]]` and `[[paper]]` of a study file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import Field

from deeptwins.errors import InputError, choices, shown
from deeptwins.specs import Checked, Layers, Net, Percent, Recipe, RunSpec, Text

Metric = Literal["train_error_pct", "running_error_pct", "validation_error_pct", "test_error_pct"]
Trend = Literal["rises", "falls", "flat"]
FAILS: Literal["fails"] = "fails"
Flow = Literal["healthy", "vanish", "explode"]
STATEMENTS = ("trend", "agrees_with", "above", "below", "at_most", "fails", "gradients")
BESIDE = ("agrees_with", "above", "below")  # statements about two twins, by the name of the other


class Expect(Checked):
    """A claim that the report checks, about a metric of a twin after the last iteration. It states one thing.

    It holds for every run of the study, or for those of a `family`, or for those whose recipe, or net of this twin, has
    the values of `where`.
    """

    twin: Text
    trend: Trend | None = None
    """The metric has this trend over depth."""
    agrees_with: Text | None = None
    """It agrees with that of this twin, seed by seed, at every depth."""
    above: Text | None = None
    """It is higher than that of this twin, seed by seed, at every depth."""
    below: Text | None = None
    """It is lower."""
    at_most: Percent | None = None
    """Its mean over seeds is at most this much."""
    fails: bool | None = None
    """The twin fails to train: it diverges, or the metric ends above the study's `fails_above_pct`; or it does not."""
    gradients: Flow | None = None
    """On the way to the first layers of the twin's deepest net they vanish, or explode, or do neither."""
    metric: Metric = "train_error_pct"
    family: str | None = None
    where: dict[str, Any] = Field(default_factory=dict)

    @property
    def statement(self) -> str:
        """Which of `STATEMENTS` it makes."""
        return next(key for key in STATEMENTS if getattr(self, key) is not None)

    @property
    def other(self) -> str | None:
        """The twin that it sets this one beside, if any."""
        return next((getattr(self, key) for key in BESIDE if getattr(self, key) is not None), None)

    def covers(self, run: RunSpec) -> bool:
        """Tell whether the claim is about a run."""
        net = run.twins.get(self.twin)
        if net is None or self.family not in {None, net.family}:
            return False
        fields = net.model_dump() | run.recipe.model_dump()
        return all(
            fields[key] == (tuple(value) if isinstance(value, list) else value) for key, value in self.where.items()
        )


class Paper(Checked):
    """A published value to print beside ours, in percent, or that the net `fails` to train.

    One of another dataset than the study's is of another scale: what can be compared is how twins differ.
    """

    twin: Text
    metric: Metric
    value: Percent | Literal["fails"]
    source: Text
    family: str
    depth: Layers
    dataset: str | None = None
    """None: the study's."""


def check(runs: Sequence[RunSpec], claims: Sequence[Expect], published: Sequence[Paper]) -> None:
    """Refuse a claim, or a published value, about nets that no run has, and a claim that states nothing, or two things.

    Raises:
        InputError: one line that names the table, the key, the value and what is allowed.
    """
    for i, claim in enumerate(claims):
        _check_claim(f"expect[{i}]", claim, runs)
    datasets = {run.recipe.dataset for run in runs}
    for i, value in enumerate(published):
        known: dict[str, Iterable[Any]] = {"twin": {twin for run in runs for twin in run.twins}}
        nets = [run.twins[value.twin] for run in runs if value.twin in run.twins]
        if value.dataset is None or value.dataset in datasets:
            known["family"] = {net.family for net in nets}
            known["depth"] = {net.depth for net in nets if net.family == value.family}
        _require(f"paper[{i}]", value, known)


def _check_claim(where: str, claim: Expect, runs: Sequence[RunSpec]) -> None:
    given = [key for key in STATEMENTS if getattr(claim, key) is not None]
    if not given:
        raise InputError(
            f"{where}.trend: missing; give {', '.join(get_args(Trend))}, or give {' or '.join(STATEMENTS[1:])}"
        )
    if len(given) > 1:
        first, second = given[:2]
        raise InputError(
            f"{where}.{second} = {shown(getattr(claim, second))}: given beside"
            f" {first} = {shown(getattr(claim, first))}; give one of the two"
        )
    known: dict[str, Iterable[Any]] = {"twin": {twin for run in runs for twin in run.twins}}
    if claim.family is not None:
        known["family"] = {run.twins[claim.twin].family for run in runs if claim.twin in run.twins}
    _require(where, claim, known)
    fields = {*Net.model_fields, *Recipe.model_fields}
    for key in claim.where:
        if key not in fields:
            raise InputError(f"{where}.where.{key}: unknown key; {choices(fields, key)}")
    covered = [run for run in runs if claim.covers(run)]
    if not covered:
        pairs = ", ".join(f"{key} = {shown(value)}" for key, value in claim.where.items())
        raise InputError(f"{where}.where: no run of the study has {pairs}")
    others = {twin for run in covered for twin in run.twins} - {claim.twin}
    if claim.other is not None and claim.other not in others:
        known_others = choices(others, claim.other) if others else "there is none"
        raise InputError(
            f"{where}.{claim.statement} = {shown(claim.other)}: no other twin of these runs; {known_others}"
        )


def _require(where: str, entry: Expect | Paper, known: Mapping[str, Iterable[Any]]) -> None:
    """Refuse a value that no run of the study has."""
    for key, values in known.items():
        if (value := getattr(entry, key)) not in values:
            raise InputError(
                f"{where}.{key} = {shown(value)}: no run of the study has it; {choices(values, str(value))}"
            )
