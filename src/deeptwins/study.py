"""A study: one question, one TOML file. Read it, check it, expand it into the runs that answer it.

Whatever is wrong is an `InputError` of one line that names the file, the key, the value and what is allowed.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeptwins.errors import InputError

Metric = Literal["train_error_pct", "running_error_pct", "test_error_pct"]
Trend = Literal["rises", "falls", "flat"]
T = TypeVar("T", bound=BaseModel)

LARGEST_GRID = 100_000  # runs: beyond it a study is a slip of the keyboard
_BIG = 10**9
Count = Annotated[int, Field(ge=1, le=_BIG)]
CountOrNone = Annotated[int, Field(ge=0, le=_BIG)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class _Table(BaseModel):
    """A table of a study file: no unknown key, no silent conversion, no change after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Net(_Table):
    """What a net is; twins differ in some of these fields. Which names exist, the tables of `deeptwins.nets` say."""

    family: str
    depth: Count
    width: Count = 16
    stem: Literal["cifar", "imagenet"] = "cifar"
    shortcut: str = "none"
    initialization: str = "he"


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
    image_size: Count | None = None
    shift: CountOrNone = 0
    flip: bool = False
    evaluate_every: Count = 1
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"


class Expect(_Table):
    """A claim that the report checks: in every family, or the one named, a twin's metric has this trend over depth."""

    twin: Text
    trend: Trend
    metric: Metric = "train_error_pct"
    family: str | None = None


class Paper(_Table):
    """A published value to print beside ours, in percent."""

    family: str
    depth: Count
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
    """A checked study file. `name` is the file's stem, `runs` its grids expanded in order."""

    name: str
    path: Path
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
        InputError: the file cannot be read, or something in it (or in `settings`) is wrong.
    """
    content = _parse(path)
    try:
        for setting in settings:
            _override(content, setting)
        for key in ("name", "path", "runs"):
            if key in content:
                raise InputError(f"{key}: unknown key")
        study = Study(name=path.stem, path=path, **content)
        if seeds is not None:
            study = study.model_copy(update={"vary": [{**grid, "seed": list(range(seeds))} for grid in study.vary]})
        runs = _expand(study)
        for table in ("expect", "paper"):
            for i, entry in enumerate(getattr(study, table)):
                if entry.twin not in study.twins:
                    raise InputError(f"{table}[{i}].twin = {_shown(entry.twin)}: no such twin; {_choices(study.twins)}")
    except ValidationError as error:
        raise InputError(f"{path}: {_first(error)}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return study.model_copy(update={"runs": runs})


def find(name: str, folder: Path = Path("ablations")) -> Path:
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
        raise InputError(f"no study {_shown(name)} in {folder}/; {_choices(known, name)}")
    return folder / f"{name}.toml"


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and integers too long for Python to read
        raise InputError(f"{path}: not TOML: {_line(str(error))}") from None


def _override(content: dict[str, Any], setting: str) -> None:
    """Apply one `recipe.KEY=VALUE`; VALUE is TOML, or else a bare string."""
    match = re.fullmatch(r"recipe\.([A-Za-z_-]+)=(.+)", setting, re.DOTALL)
    if match is None:
        raise InputError(f"--set {_shown(setting)}: write recipe.KEY=VALUE")
    key, text = match.groups()
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    recipe = content.setdefault("recipe", {})
    if not isinstance(recipe, dict):
        raise InputError("recipe: must be a table")
    for i, grid in enumerate(content.get("vary", []) if isinstance(content.get("vary"), list) else []):
        if isinstance(grid, dict) and key in grid:
            raise InputError(f"--set {_shown(setting)}: vary[{i}] varies {key}")
    recipe[key] = value


def _expand(study: Study) -> list[RunSpec]:
    axes = {*Net.model_fields, *Recipe.model_fields, "seed"}
    _known("recipe", study.recipe, axes - {"seed"})
    for name, fields in study.twins.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise InputError(f"twins.{_line(name)}: a twin's name is lower-case letters, digits and hyphens")
        _known(f"twins.{name}", fields, set(Net.model_fields))
    runs: dict[str, RunSpec] = {}
    for i, grid in enumerate(study.vary):
        _known(f"vary[{i}]", grid, axes)
        if "seed" not in grid:
            raise InputError(f"vary[{i}].seed: missing; give a list of seeds")
        if twice := sorted(grid.keys() & study.recipe.keys()):
            raise InputError(f"vary[{i}].{twice[0]}: given in [recipe] too; give it once")
        lists = {
            key: value if isinstance(value, list) and key != "milestones" else [value] for key, value in grid.items()
        }
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


def _known(table: str, keys: Iterable[str], allowed: set[str]) -> None:
    for key in keys:
        if key not in allowed:
            raise InputError(f"{table}.{_line(key)}: unknown key; {_choices(allowed, key)}")


def _choices(names: Iterable[str], wrong: str = "") -> str:
    names = sorted(names)
    close = difflib.get_close_matches(wrong, names, 1)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"


def _first(error: ValidationError) -> str:
    """The first of pydantic's complaints as `key = value: what is wrong`."""
    first = error.errors(include_url=False)[0]
    where = ""
    for part in first["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    if first["type"] == "missing":
        return f"{_line(where)}: missing"
    if first["type"] == "extra_forbidden":
        return f"{_line(where)}: unknown key"
    message = first["msg"].removeprefix("Input ").removeprefix("should ")
    return f"{_line(where)} = {_shown(first['input'])}: should {message}"


def _shown(value: object) -> str:
    try:
        return _line(json.dumps(value, ensure_ascii=False, default=str))
    except (ValueError, RecursionError):  # an integer too long to print, a table nested too deeply
        return "(unprintable)"


def _line(text: str) -> str:
    """The text on one line, printable, and not too long."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004
