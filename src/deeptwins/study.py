"""A study: one question, one TOML file. Read it, check it, expand it into the runs that answer it.

Whatever is wrong is an `InputError` of one line that names the file, the key, the value and what is allowed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeptwins.errors import InputError, choices, line, shown

Metric = Literal["train_error_pct", "running_error_pct", "test_error_pct"]
Trend = Literal["rises", "falls", "flat"]
T = TypeVar("T", bound=BaseModel)

FOLDER = Path("ablations")
LARGEST_GRID = 100_000  # runs: beyond it a study is a slip of the keyboard
Count = Annotated[int, Field(ge=1, le=10**9)]
CountOrNone = Annotated[int, Field(ge=0, le=10**9)]
Layers = Annotated[int, Field(ge=1, le=10_000)]
Size = Annotated[int, Field(ge=1, le=4096)]  # channels or pixels
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class _Table(BaseModel):
    """A table of a study file: no unknown key, no silent conversion, no change after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Net(_Table):
    """What a net is; twins differ in some of these fields. Which names exist, the tables of `deeptwins.nets` say."""

    family: str
    depth: Layers
    width: Size = 16
    stem: Literal["cifar", "imagenet"] = "cifar"
    shortcut: str = "none"
    initialization: str = "he"
    fused_op: str = "auto"


class Recipe(_Table):
    """How a net is trained; the same for all twins of a run. Budgets are in iterations, sizes in pixels."""

    dataset: Text
    iterations: Count
    batch_size: Count
    learning_rate: Positive
    optimizer: str = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: NotNegative = 0.0
    warmup: CountOrNone = 0
    milestones: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    decay: Positive = 0.1
    normalization: Literal["channel", "pixel-mean"] = "channel"
    image_size: Size | None = None
    shift: CountOrNone = 0
    flip: bool = False
    evaluate_every: Count = 1
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"


class Expect(_Table):
    """A claim that the report checks, in every family or the one named, about a twin's metric.

    Either it has this trend over depth, or it agrees with that of another twin at every depth.
    """

    twin: Text
    trend: Trend | None = None
    agrees_with: Text | None = None
    metric: Metric = "train_error_pct"
    family: str | None = None


class Paper(_Table):
    """A published value to print beside ours, in percent."""

    family: str
    depth: Layers
    twin: Text
    metric: Metric
    value: Annotated[float, Field(ge=0, le=100)]
    source: Text


class RunSpec(_Table):
    """One cell of a study's grid: everything that decides the numbers of a run."""

    study: str
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    twins: dict[str, Net]
    recipe: Recipe

    @property
    def id(self) -> str:
        """A readable slug and a short hash of the fields.

        Fields at their defaults stay out of the hash, so that a field added later keeps old runs theirs.
        """
        fields = self.model_dump(mode="json", exclude={"study"}, exclude_defaults=True)
        digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]
        nets = dict.fromkeys(f"{net.family}-{net.depth}" for net in self.twins.values())
        return "-".join([*nets, f"seed{self.seed}", digest])

    @property
    def setting(self) -> str:
        """The hash that runs share which differ in nothing but the seed."""
        return self.model_copy(update={"seed": 0}).id.rsplit("-", 1)[1]


class Study(_Table):
    """A checked study file. `name` is its stem, `runs` its grids expanded in order, `settings` and `seeds` `load`'s."""

    name: str
    path: Path
    settings: tuple[str, ...] = ()
    seeds: int | None = None
    question: Text
    twins: dict[str, dict[str, Any]] = Field(min_length=1)
    vary: list[dict[str, Any]] = Field(min_length=1)
    recipe: dict[str, Any] = {}
    source: str = ""
    cost: str = ""
    flat_within_pct: NotNegative = 1.0
    expect: list[Expect] = []
    paper: list[Paper] = []
    runs: list[RunSpec] = []


def load(path: Path, settings: Sequence[str] = (), seeds: int | None = None) -> Study:
    """Read and check a study file.

    Args:
        path: of the TOML file.
        settings: `recipe.KEY=VALUE` texts that override the recipe.
        seeds: how many seeds, from 0, every grid gets in place of its own.

    Raises:
        InputError: the file cannot be read, or something in it, in `settings` or in `seeds` is wrong.
    """
    if seeds is not None and not 1 <= seeds <= LARGEST_GRID:
        raise InputError(f"--seeds {shown(seeds)}: give 1 to {LARGEST_GRID:,}")
    content = _parse(path)
    try:
        for setting in settings:
            _override(content, setting)
        for key in ("name", "path", "settings", "seeds", "runs"):
            if key in content:
                raise InputError(f"{key}: unknown key")
        study = Study(name=path.stem, path=path, settings=tuple(settings), seeds=seeds, **content)
        if seeds is not None:
            study = study.model_copy(update={"vary": [{**grid, "seed": list(range(seeds))} for grid in study.vary]})
        runs = _expand(study)
        _check_against(runs, "expect", study.expect)
        _check_against(runs, "paper", study.paper)
        _check_claims(runs, study.expect)
    except ValidationError as error:
        raise InputError(f"{path}: {_first(error)}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return study.model_copy(update={"runs": runs})


def find(name: str, folder: Path = FOLDER) -> Path:
    """The file of a study given by name or by path.

    Raises:
        InputError: there is none.
    """
    path = Path(name)
    if path.suffix == ".toml":
        if path.is_file():
            return path
        raise InputError(f"{path}: no such file")
    if not folder.is_dir():
        raise InputError(f"no folder {folder}/ here: go to the repository's root, or give the path of a .toml file")
    known = sorted(file.stem for file in folder.glob("*.toml"))
    if name not in known:
        raise InputError(f"no study {shown(name)} in {folder}/; {choices(known, name)}")
    return folder / f"{name}.toml"


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also: not UTF-8, too long an integer, nested too deeply
        raise InputError(f"{path}: not TOML: {line(str(error))}") from None


def _override(content: dict[str, Any], setting: str) -> None:
    """Apply one `recipe.KEY=VALUE`; VALUE is TOML, or else a bare string."""
    match = re.fullmatch(r"recipe\.([A-Za-z_-]+)=(.+)", setting, re.DOTALL)
    if match is None:
        raise InputError(f"--set {shown(setting)}: write recipe.KEY=VALUE")
    key, text = match.groups()
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    grids, recipe = content.get("vary"), content.setdefault("recipe", {})
    for i, grid in enumerate(grids if isinstance(grids, list) else []):
        if isinstance(grid, dict) and key in grid:
            raise InputError(f"--set {shown(setting)}: vary[{i}] varies {key}")
    if isinstance(recipe, dict):  # else `Study` refuses it
        recipe[key] = value


def _expand(study: Study) -> list[RunSpec]:
    axes = {*Net.model_fields, *Recipe.model_fields, "seed"}
    _known("recipe", study.recipe, axes - {"seed"})
    for name, fields in study.twins.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise InputError(f"twins.{line(name)}: a twin's name is lower-case letters, digits and hyphens")
        _known(f"twins.{name}", fields, set(Net.model_fields))
    runs: dict[str, RunSpec] = {}
    for i, grid in enumerate(study.vary):
        _known(f"vary[{i}]", grid, axes)
        if "seed" not in grid:
            raise InputError(f"vary[{i}].seed: missing; give a list of seeds")
        if twice := sorted(grid.keys() & study.recipe.keys()):
            raise InputError(f"vary[{i}].{twice[0]}: given in [recipe] too; give it once")
        lists = {k: v if isinstance(v, list) and k != "milestones" else [v] for k, v in grid.items()}
        size = math.prod(len(values) for values in lists.values())
        if not 1 <= size <= LARGEST_GRID:
            raise InputError(f"vary[{i}]: {size} runs; a grid has 1 to {LARGEST_GRID:,}")
        for values in itertools.product(*lists.values()):
            run = _cell(study, i, dict(zip(lists, values, strict=True)))
            if run.id in runs:
                raise InputError(f"vary[{i}]: the run {run.id.rsplit('-', 1)[0]} stands in the grids twice")
            runs[run.id] = run
    return list(runs.values())


def _cell(study: Study, i: int, varied: Mapping[str, Any]) -> RunSpec:
    """The run of one grid cell; an error names the table that the bad value came from."""
    fields = {**study.recipe, **varied}
    common = {key: fields[key] for key in Net.model_fields.keys() & fields.keys()}
    seed = fields.pop("seed")

    def made(table: type[T], values: dict[str, Any], twin: str | None = None) -> T:
        try:
            return table(**values)
        except ValidationError as error:
            key = str(error.errors()[0]["loc"][0])
            own = twin is not None and key in study.twins[twin]
            where = f"twins.{twin}" if own else f"vary[{i}]" if key in varied else "recipe"
            raise InputError(f"{where}.{_first(error)}") from None

    twins = {name: made(Net, {**common, **own}, name) for name, own in study.twins.items()}
    recipe = made(Recipe, {key: value for key, value in fields.items() if key in Recipe.model_fields})
    if list(recipe.milestones) != sorted(set(recipe.milestones)):
        raise InputError(f"recipe.milestones = {list(recipe.milestones)}: must rise")
    for key, last in (("milestones", max(recipe.milestones, default=0)), ("warmup", recipe.warmup)):
        if last > recipe.iterations:
            raise InputError(f"recipe.{key} = {last}: beyond the last of {recipe.iterations} iterations")
    return made(RunSpec, {"study": study.name, "seed": seed, "twins": twins, "recipe": recipe})


def _check_against(runs: Sequence[RunSpec], table: str, entries: Sequence[Expect | Paper]) -> None:
    """Refuse a claim, or a published value, about nets that no run has."""
    for i, entry in enumerate(entries):
        nets = [run.twins[entry.twin] for run in runs if entry.twin in run.twins]
        known: dict[str, Iterable[Any]] = {"twin": {twin for run in runs for twin in run.twins}}
        if entry.family is not None:
            known["family"] = {net.family for net in nets}
        if isinstance(entry, Paper):
            known["depth"] = {net.depth for net in nets if net.family == entry.family}
        for key, values in known.items():
            if (value := getattr(entry, key)) not in values:
                where = f"{table}[{i}].{key} = {shown(value)}"
                raise InputError(f"{where}: no run of the study has it; {choices(values, str(value))}")


def _check_claims(runs: Sequence[RunSpec], claims: Sequence[Expect]) -> None:
    """Refuse a claim that says nothing, or two things, or that sets a twin beside one that it cannot agree with."""
    for i, claim in enumerate(claims):
        if claim.agrees_with is None:
            if claim.trend is None:
                raise InputError(f"expect[{i}].trend: missing; give {', '.join(get_args(Trend))}, or give agrees_with")
            continue
        where = f"expect[{i}].agrees_with = {shown(claim.agrees_with)}"
        if claim.trend is not None:
            raise InputError(f"{where}: given beside trend = {shown(claim.trend)}; give one of the two")
        pairs = [(twin, net, run.twins[claim.twin]) for run in runs for twin, net in run.twins.items()]
        pairs = [pair for pair in pairs if pair[0] != claim.twin and claim.family in {None, pair[2].family}]
        like = {twin for twin, net, own in pairs if (net.family, net.depth) == (own.family, own.depth)}
        if claim.agrees_with not in like:
            known = choices(like, claim.agrees_with) if like else "there is none"
            raise InputError(f"{where}: no other twin of the same family and depth; {known}")


def _known(table: str, keys: Iterable[str], allowed: set[str]) -> None:
    for key in keys:
        if key not in allowed:
            raise InputError(f"{table}.{line(key)}: unknown key; {choices(allowed, key)}")


def _first(error: ValidationError) -> str:
    """The first of pydantic's complaints as `key = value: what is wrong`."""
    first = error.errors(include_url=False)[0]
    where = ""
    for part in first["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    if first["type"] in {"missing", "extra_forbidden"}:
        return f"{line(where)}: {'missing' if first['type'] == 'missing' else 'unknown key'}"
    message = first["msg"].removeprefix("Input ").removeprefix("should ")
    return f"{line(where)} = {shown(first['input'])}: should {message}"
