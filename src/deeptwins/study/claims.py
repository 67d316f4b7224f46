"""What a study claims, and what has been published: the tables `[[expect]]` and `[[paper]]` of a study file."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Any, Literal, TypeVar, get_args

from pydantic import Field

from deeptwins.errors import InputError, choices, line, shown
from deeptwins.study.specs import Checked, Depth, Net, NonEmpty, Percent, Recipe, RunSpec

Metric = Literal["train_error_pct", "running_error_pct", "validation_error_pct", "test_error_pct"]
Direction = Literal["rises", "falls", "flat"]
FAILS: Literal["fails"] = "fails"
# Measured only where a recipe holds images out.
VALIDATION: Literal["validation_error_pct"] = "validation_error_pct"
Flow = Literal["healthy", "vanish", "explode"]
STATEMENTS = ("trend", "agrees_with", "above", "below", "at_most", "fails", "gradients")
MOST_CLAIMS = 200  # and published values: each is compared with all others
BESIDE = ("agrees_with", "above", "below")  # statements about two twins; their value is the name of the other
MIRRORED = {"above": "below", "below": "above"}
SAME_PLACE = ("twin", "family", "depth", "metric", "source")  # shared by two values of one net


class Limited(Checked):
    """A statement about a twin: in every run of the study, or in those that `where` names."""

    twin: NonEmpty
    """The twin that it is about, a name of `[twins]`."""
    where: dict[str, Any] = Field(default_factory=dict)
    """Fields of the recipe, or of the net of this twin, with the values that these runs have."""

    def covers(self, run: RunSpec) -> bool:
        """Whether the statement is about a run."""
        net, recipe = run.twins[self.twin], run.recipe
        return all(
            getattr(net if key in Net.model_fields else recipe, key) == _kept(value)
            for key, value in self.where.items()
        )


def _kept(value: Any) -> Any:  # noqa: ANN401  whatever TOML has
    """Return a value as a net or a recipe keeps it: a list as a tuple, a table as its sorted pairs."""
    if isinstance(value, dict):
        return tuple(sorted((key, _kept(part)) for key, part in value.items()))
    return tuple(value) if isinstance(value, list) else value


class Expect(Limited):
    """A claim that the report checks, about a metric of a twin after the last iteration. It states one thing.

    It holds for every run of the study, or for those of a `family`, or for those whose recipe, or net of this twin, has
    the values of `where`.
    """

    trend: Direction | None = None
    """The metric has this trend over depth."""
    agrees_with: NonEmpty | None = None
    """The metric agrees with that of this other twin, seed by seed, at every depth."""
    above: NonEmpty | None = None
    """The metric is higher than that of this other twin, seed by seed, at every depth."""
    below: NonEmpty | None = None
    """The metric is lower than that of this other twin, seed by seed, at every depth."""
    at_most: Percent | None = None
    """The metric's mean over seeds is at most this much."""
    fails: bool | None = None
    """The twin fails to train: it diverges, or the metric ends above the study's `fails_above_pct`; or it does not.

    This claim needs `fails_above_pct`.
    """
    gradients: Flow | None = None
    """What the twin's gradients do on the way to the first layers of its deepest net: vanish, explode, or neither."""
    metric: Metric = "train_error_pct"
    """The error that it is about; it has no meaning beside `gradients`."""
    family: str | None = None
    """The family that it is about; by default every family of the study."""
    says: NonEmpty | None = None
    """The claim in words that fit behind "whether": "full pre-activation trains better". By default made from keys."""

    @property
    def statement(self) -> str:
        """Which of `STATEMENTS` the claim makes."""
        return next(key for key in STATEMENTS if getattr(self, key) is not None)

    @property
    def other(self) -> str | None:
        """The twin that the claim compares this one with, if any."""
        return next((getattr(self, key) for key in BESIDE if getattr(self, key) is not None), None)

    def covers(self, run: RunSpec) -> bool:
        """Whether the claim is about a run."""
        return self.family in {None, run.twins[self.twin].family} and super().covers(run)


class Paper(Limited):
    """A published value to print beside ours, in percent, or that the net `fails` to train.

    A value of another dataset than the study's is of another scale: only how twins differ can be compared. It stands
    beside all runs of the study, or beside those whose recipe, or net of this twin, has the values of `where`.
    """

    metric: Metric
    """The error that was published."""
    value: Percent | Literal["fails"]
    """The published error, or that the net `fails` to train."""
    source: NonEmpty
    """Where it was published: authors, year, table."""
    family: str
    """The family of the published net."""
    depth: Depth
    """The depth of the published net."""
    dataset: str | None = None
    """The dataset that it was measured on; by default the study's."""


T = TypeVar("T", Expect, Paper)
Entry = tuple[str, T, list[RunSpec], set[int]]
"""A claim or a published value: the name of its table, itself, the runs that it is about, and what Python calls them.

What Python calls a run (its `id()`) is kept, because a run's own id takes long to compute and each is compared with all
others.
"""


def check(
    runs: Sequence[RunSpec], claims: Sequence[Expect], published: Sequence[Paper], fails_above_pct: float | None
) -> None:
    """Refuse claims and published values that no run of the study can decide, or that cannot all be true.

    Refused are: a claim or published value about nets that no run has, about an error that no run measures, or about
    failing to train where the study has no `fails_above_pct`; a claim that states nothing, two things, or a trend over
    a single depth; and two claims that contradict each other.

    Raises:
        InputError: one line that names the table, the key, the value and what is allowed.
    """
    if fails_above_pct is None:
        _check_no_failure(claims, published)
    claimed = ((f"expect[{i}]", claim, _claimed(f"expect[{i}]", claim, runs)) for i, claim in enumerate(claims))
    values = ((f"paper[{i}]", value, _published(f"paper[{i}]", value, runs)) for i, value in enumerate(published))
    _check_claims([(*entry, {id(run) for run in entry[-1]}) for entry in claimed])
    _check_values([(*entry, {id(run) for run in entry[-1]}) for entry in values])


def _check_no_failure(claims: Sequence[Expect], published: Sequence[Paper]) -> None:
    """Refuse to say of nets whether they fail to train, where the study does not say when they do."""
    stated = [f"expect[{i}].fails = {shown(claim.fails)}" for i, claim in enumerate(claims) if claim.fails is not None]
    stated += [f'paper[{i}].value = "{FAILS}"' for i, value in enumerate(published) if value.value == FAILS]
    if stated:
        raise InputError(
            f"{stated[0]}: the study does not say when a net fails to train; give fails_above_pct, the error in percent"
            " above which it does"
        )


def _claimed(where: str, claim: Expect, runs: Sequence[RunSpec]) -> list[RunSpec]:
    """Check a claim alone, and return the runs that it is about."""
    _check_statement(where, claim)
    _require(where, claim, "twin", _twins(runs))
    if claim.family is not None:
        _require(where, claim, "family", {run.twins[claim.twin].family for run in runs})
    covered = _covered(where, claim, runs)
    others = _twins(covered) - {claim.twin}
    if claim.other is not None and claim.other not in others:
        known_others = choices(others, claim.other) if others else "there is none"
        raise InputError(
            f"{where}.{claim.statement} = {shown(claim.other)}: no other twin of these runs; {known_others}"
        )
    if claim.trend is not None:
        _check_depths(where, claim, covered)
    _check_metric(where, claim, covered)
    return covered


def _published(where: str, value: Paper, runs: Sequence[RunSpec]) -> list[RunSpec]:
    """Check a published value alone, and return the runs that it stands beside."""
    _require(where, value, "twin", _twins(runs))
    same_data = [run for run in runs if value.dataset in {None, run.recipe.dataset}]
    covered = _covered(where, value, same_data or runs)
    if same_data:
        _require(where, value, "family", {run.twins[value.twin].family for run in covered})
        covered = [run for run in covered if run.twins[value.twin].family == value.family]
        _require(where, value, "depth", {run.twins[value.twin].depth for run in covered})
        covered = [run for run in covered if run.twins[value.twin].depth == value.depth]
    _check_metric(where, value, covered)
    return covered


def _covered(where: str, entry: Expect | Paper, runs: Sequence[RunSpec]) -> list[RunSpec]:
    """Return those of the runs that a claim or a published value covers; refuse a `where` that no run has."""
    fields = {*Net.model_fields, *Recipe.model_fields}
    for key in entry.where:
        if key not in fields:
            raise InputError(f"{where}.where.{line(key)}: unknown key; {choices(fields, key)}")
    covered = [run for run in runs if entry.covers(run)] if entry.where else [*runs]
    if not covered:
        pairs = ", ".join(f"{key} = {shown(value)}" for key, value in entry.where.items())
        raise InputError(f"{where}.where: no run of the study has {pairs}")
    return covered


def _check_statement(where: str, claim: Expect) -> None:
    """Refuse a claim that states nothing, or two things."""
    given = [key for key in STATEMENTS if getattr(claim, key) is not None]
    if not given:
        raise InputError(
            f"{where}.trend: missing; give {', '.join(get_args(Direction))}, or give {' or '.join(STATEMENTS[1:])}"
        )
    if len(given) > 1:
        first, second = given[:2]
        raise InputError(
            f"{where}.{second} = {shown(getattr(claim, second))}: given beside"
            f" {first} = {shown(getattr(claim, first))}; give one of the two"
        )


def _check_depths(where: str, claim: Expect, covered: Sequence[RunSpec]) -> None:
    """Refuse a trend of nets that have a single depth in every family."""
    nets = {(net.family, net.depth) for net in (run.twins[claim.twin] for run in covered)}
    if len(nets) == len({family for family, _ in nets}):
        depths = ", ".join(f"{family} {depth}" for family, depth in sorted(nets))
        raise InputError(
            f"{where}.trend = {shown(claim.trend)}: over depth, of which {claim.twin} has one in these runs ({depths});"
            " give two or more of a family"
        )


def _check_metric(where: str, entry: Expect | Paper, covered: Sequence[RunSpec]) -> None:
    """Refuse an error that some of these runs do not measure."""
    if entry.metric == VALIDATION and not all(run.recipe.validation for run in covered):
        raise InputError(
            f"{where}.metric = {shown(entry.metric)}: not all runs that it is about hold out images; set"
            f" recipe.validation, or {choices({*get_args(Metric)} - {VALIDATION})}"
        )


def _check_claims(claimed: Sequence[Entry[Expect]]) -> None:
    """Refuse two claims that cannot both be met: of one run they state the opposite."""
    for (earlier, first, _, before), (where, second, _, covered) in combinations(claimed, 2):
        (subject, stated), (same, other) = _stated(first), _stated(second)
        opposed = subject == same and stated != other and None not in {stated, other}
        if opposed and not before.isdisjoint(covered):
            raise InputError(
                f"{where}.{second.statement} = {shown(getattr(second, second.statement))}: contradicts"
                f" {earlier}.{first.statement} = {shown(getattr(first, first.statement))}, of the same runs;"
                " keep one of the two"
            )


def _stated(claim: Expect) -> tuple[Hashable, Hashable]:
    """Return what a claim is about, and what it states of that; None: no other statement contradicts it.

    Nets whose errors agree within the study's margin may still differ, and a trend that is flat within it may still
    rise.
    """
    if claim.other is not None:
        twins = tuple(sorted((claim.twin, claim.other)))
        stated = claim.statement if claim.twin == twins[0] else MIRRORED.get(claim.statement)
        return (twins, claim.metric), stated if claim.statement in MIRRORED else None
    metric = None if claim.gradients else claim.metric
    stated = None if claim.statement == "at_most" or claim.trend == "flat" else getattr(claim, claim.statement)
    return (claim.twin, claim.statement, metric), stated


def _check_values(published: Sequence[Entry[Paper]]) -> None:
    """Refuse two values that one source has for one net."""
    for (earlier, first, _, before), (where, second, runs, covered) in combinations(published, 2):
        alike = all(getattr(first, key) == getattr(second, key) for key in SAME_PLACE)
        differ = alike and first.value != second.value and not before.isdisjoint(covered)
        if differ and _same_data(first, second, runs):
            raise InputError(
                f"{where}.value = {shown(second.value)}: {earlier} has {shown(first.value)} from the same source, for"
                " the same net, metric and data; keep one, or tell them apart by where"
            )


def _same_data(first: Paper, second: Paper, runs: Sequence[RunSpec]) -> bool:
    """Whether two values are of the same data; one that names no dataset is of the runs' own."""
    of_runs = {None, *(run.recipe.dataset for run in runs)}
    return first.dataset == second.dataset or {first.dataset, second.dataset} <= of_runs


def _twins(runs: Sequence[RunSpec]) -> set[str]:
    """The twins, which are the same in all runs of a study."""
    return {*runs[0].twins}


def _require(where: str, entry: Expect | Paper, key: str, known: set[Any]) -> None:
    """Refuse a value that no run of the study has."""
    if (value := getattr(entry, key)) not in known:
        raise InputError(f"{where}.{key} = {shown(value)}: no run of the study has it; {choices(known, str(value))}")
