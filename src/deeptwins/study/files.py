"""A study: one question, one TOML file. Read it, check it, expand it into the runs that answer it.

Whatever is wrong is an `InputError` of one line that names the file, the key, the value and what is allowed.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from deeptwins.errors import InputError, choices, line, shown
from deeptwins.study import claims, extending, toml
from deeptwins.study.claims import MOST_CLAIMS, Expect, Paper
from deeptwins.study.places import FOLDER, NAME, check_name
from deeptwins.study.specs import (
    LONGEST_TEXT,
    Checked,
    Net,
    NonEmpty,
    NotNegative,
    Percent,
    Recipe,
    RunSpec,
    by_setting,
    unit,
)

T = TypeVar("T", bound=BaseModel)
N = TypeVar("N", Net, Recipe)

GROUPS = ("Degradation", "Blocks and shortcuts", "Training", "Speed")
"""Headings of lists of studies and pages, in order; others follow, by name."""
FIRST = "depth"
"""The study that lists show before the others of its group: all other studies follow from its question."""
OWN = "Other studies"
SCHEMA_LINE = "#:schema ./study.schema.json"
"""The first line of a study, for editors: where the schema lies."""

LARGEST_STUDY = 20_000  # nets; more are a slip of the keyboard, and would take long to check
MOST_SEEDS = 100_000
_KEY = r"([A-Za-z_-]+?)(?:(?<=options)\.(\w+))?"  # of a setting: a field, or one of the options


class Answer(Checked):
    """The answer to the study's question, one sentence for each way in which its claims may turn out."""

    met: NonEmpty
    """All of them are met."""
    contradicted: NonEmpty
    """All of them are contradicted."""


class Study(Checked):
    """A checked study file. `name` is its stem, `runs` the expanded grids, `settings` and `seeds` those of `load`."""

    name: str
    path: Path
    settings: tuple[str, ...] = ()
    seeds: int | None = None
    question: NonEmpty
    """What the study asks. Its page begins with it."""
    group: NonEmpty = OWN
    """The heading under which lists show the study."""
    twins: dict[str, dict[str, Any]] = Field(min_length=1, max_length=100)
    """The nets that are trained side by side, by name: the fields in which they differ. The first is the baseline."""
    vary: list[dict[str, Any]] = Field(min_length=1)
    """The grids of runs: fields with a value or a list of values each. Every combination of the values is a run."""
    recipe: dict[str, Any] = Field(default_factory=dict)
    """How all nets are trained, and the fields of nets that all twins share."""
    source: str = ""
    """Where the question comes from: authors, year, section."""
    cost: str = ""
    """How long the study takes, on what."""
    answer: Answer | None = None
    """What the page answers when all claims turn out one way. Without it the page words the claims' verdicts."""
    scale: str = ""
    """Why the answer of a small study may differ from the paper's."""
    flat_within_pct: Annotated[NotNegative, unit("points")] = 1.0
    """The margin. Errors that surely differ by less are the same: a trend is `flat`, twins agree."""
    fails_above_pct: Percent | None = None
    """The error above which a net fails to train. Without it pages say the error, and claims on that are refused."""
    expect: list[Expect] = Field(default_factory=list, max_length=MOST_CLAIMS)
    """What the study claims. The page says of each claim whether it is met, contradicted or undecided."""
    paper: list[Paper] = Field(default_factory=list, max_length=MOST_CLAIMS)
    """Published values, to stand beside ours."""
    runs: list[RunSpec] = Field(default_factory=list)


FROM_OUTSIDE = ("name", "path", "settings", "seeds", "runs")
"""Fields of a study that its file does not have."""


def load(path: Path, settings: Sequence[str] = (), seeds: int | None = None, folder: Path = FOLDER) -> Study:
    """Read and check a study file, with all that it extends.

    Args:
        path: of the TOML file.
        settings: `recipe.KEY=VALUE` texts that override the recipe.
        seeds: how many seeds, from 0, every grid gets in place of its own.
        folder: where a study that it extends is looked for by name, after the file's own.

    Raises:
        InputError: the file cannot be read, or something in it, in `settings` or in `seeds` is wrong.
    """
    if seeds is not None and not 1 <= seeds <= MOST_SEEDS:
        raise InputError(f"--seeds {shown(seeds)}: give 1 to {MOST_SEEDS:,}")
    content, extended = extending.merged(path, folder)
    try:
        check_name(path.stem)
        for setting in settings:
            _override(content, setting)
        for key in FROM_OUTSIDE:
            if key in content:
                raise InputError(f"{key}: unknown key")
        study = Study(name=path.stem, path=path, settings=tuple(settings), seeds=seeds, **content)
        if seeds is not None:
            study = study.model_copy(update={"vary": [{**grid, "seed": list(range(seeds))} for grid in study.vary]})
        runs = _expand(study)
        claims.check([*by_setting(runs).values()], study.expect, study.paper, study.fails_above_pct)
    except (ValidationError, InputError) as error:
        what = _first(error) if isinstance(error, ValidationError) else error
        raise InputError(f"{path}: {what}{f' ({_origin(extended)})' if extended else ''}") from None
    return study.model_copy(update={"runs": runs})


def written(path: Path, settings: Sequence[str] = ()) -> str:
    """Write a study as one TOML file, with all that it extends, and with settings; it loads to the same study.

    Raises:
        InputError: as `load`.
    """
    load(path, settings)
    content, extended = extending.merged(path)
    for setting in settings:
        _override(content, setting)
    head = [SCHEMA_LINE, *([f"# {line(path.name)}, {_origin(extended)}"] if extended else [])]
    ordered = {key: content[key] for key in Study.model_fields if key in content}
    return "\n".join([*head, toml.write(ordered)])


def copied(path: Path) -> str:
    """Return the text of a study, for a file of another name. A study that extends another is written out in full.

    Raises:
        InputError: as `load`.
    """
    load(path)
    text = toml.read_text(path)
    if extending.EXTENDS in toml.parse(text):
        return written(path)
    first, _, rest = text.partition("\n")
    return f"{SCHEMA_LINE}\n{rest if first.startswith('#:schema') else text}"


def _origin(extended: Sequence[Path]) -> str:
    """Say what a study has its keys from beside its own file."""
    return f"with what it has of {', '.join(line(file.name) for file in extended)}"


def order(group: str, name: str) -> tuple[int, str, bool, str]:
    """Return the sort key of a study or page: by group, those of `GROUPS` first; in a group `FIRST`, then by name."""
    return (GROUPS.index(group) if group in GROUPS else len(GROUPS), group, name != FIRST, name)


def changed(table: N, settings: Sequence[str], name: str = "net") -> N:
    """Change fields of a net or recipe by `KEY=VALUE` texts. Whether the net can be built is not checked here.

    Raises:
        InputError: a text has another form, the key is none of the table's, or the value has the wrong type.
    """
    fields: dict[str, Any] = table.model_dump()
    for setting in settings:
        match = re.fullmatch(rf"{_KEY}=(.+)", setting, re.DOTALL)
        if match is None:
            raise InputError(f"--set {shown(setting)}: write KEY=VALUE")
        key, option, text = match.groups()
        _known(name, [key], {*fields})
        fields[key] = _value(text) if option is None else _joined(dict(fields[key]), {option: _value(text)})
    try:
        return type(table)(**fields)
    except ValidationError as error:
        raise InputError(_first(error)) from None


def _value(text: str) -> Any:  # noqa: ANN401  whatever TOML has
    """Read a value as TOML does, or else as a bare string."""
    try:
        content = toml.parse(f"value = {text}")
    except ValueError:
        return text
    return content["value"] if len(content) == 1 else text  # which has further lines


def _override(content: dict[str, Any], setting: str) -> None:
    """Apply one `recipe.KEY=VALUE`; VALUE is TOML, or else a bare string."""
    if len(setting) > LONGEST_TEXT or not setting.isprintable():
        raise InputError(f"--set {shown(setting)}: at most {LONGEST_TEXT:,} printable characters")
    match = re.fullmatch(rf"recipe\.{_KEY}=(.+)", setting)
    if match is None:
        raise InputError(f"--set {shown(setting)}: write recipe.KEY=VALUE")
    key, option, text = match.groups()
    value = _value(text)
    grids, recipe = content.get("vary"), content.setdefault("recipe", {})
    for i, grid in enumerate(grids if isinstance(grids, list) else []):
        if isinstance(grid, dict) and key in grid:
            raise InputError(f"--set {shown(setting)}: vary[{i}] varies {key}")
    if isinstance(recipe, dict):  # else `Study` refuses it
        recipe[key] = value if option is None else _joined(recipe.get(key), {option: value})


def _expand(study: Study) -> list[RunSpec]:
    """Return the runs of all grids, in order; refuse unknown keys, and a run that stands in them twice."""
    # Check the recipe and the twins.
    axes = {*Net.model_fields, *Recipe.model_fields, "seed"}
    _known("recipe", study.recipe, axes - {"seed"})
    for name, fields in study.twins.items():
        if not NAME.fullmatch(name):
            raise InputError(f"twins.{line(name)}: a twin's name is at most 60 lower-case letters, digits and hyphens")
        _known(f"twins.{name}", fields, set(Net.model_fields))
    runs: dict[str, RunSpec] = {}
    nets = 0
    for i, grid in enumerate(study.vary):
        # Check the grid.
        _known(f"vary[{i}]", grid, axes)
        if "seed" not in grid:
            raise InputError(f"vary[{i}].seed: missing; give a list of seeds")
        if twice := sorted(grid.keys() & study.recipe.keys()):
            raise InputError(f"vary[{i}].{twice[0]}: given in [recipe] too; give it once")
        lists = {k: v if isinstance(v, list) and k != "milestones" else [v] for k, v in grid.items()}
        size = math.prod(len(values) for values in lists.values())
        nets += size * len(study.twins)
        if not size or nets > LARGEST_STUDY:
            raise InputError(f"vary[{i}]: {size:,} runs; a study has 1 or more, and at most {LARGEST_STUDY:,} nets")
        # Make the run of every cell.
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

    def build(table: type[T], values: dict[str, Any], twin: str | None = None) -> T:
        try:
            return table(**values)
        except ValidationError as error:
            key = str(error.errors()[0]["loc"][0])
            where = f"vary[{i}]" if key in varied else "recipe"
            if twin is not None and key in study.twins[twin]:
                where = f"twins.{twin}"
            raise InputError(f"{where}.{_first(error)}") from None

    build(Net, {"family": "", "depth": 1, **common})  # also what every twin has its own of
    twins = {name: build(Net, _with(common, twin), name) for name, twin in study.twins.items()}
    recipe = build(Recipe, {key: value for key, value in fields.items() if key in Recipe.model_fields})
    check_cell({f"twins.{name}": net for name, net in twins.items()}, recipe)
    return build(RunSpec, {"study": study.name, "seed": seed, "twins": twins, "recipe": recipe})


def _with(common: Mapping[str, Any], twin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all twins share with a twin's own fields; its options are added to those that all share."""
    own = {"options": _joined(common.get("options"), twin["options"])} if "options" in twin else {}
    return {**common, **twin, **own}


def _joined(shared: Any, own: Any) -> Any:  # noqa: ANN401  whatever TOML has: `Net` refuses what is no table
    """Add a table to another one, if there is one."""
    return {**shared, **own} if isinstance(shared, dict) and isinstance(own, dict) else own


def check_cell(nets: Mapping[str, Net], recipe: Recipe) -> None:
    """Refuse values that are possible, but not together.

    Args:
        nets: of a run, by the name that an error gives them, such as `twins.plain`.
        recipe: of the run.

    Raises:
        InputError: one line that names the key and what is allowed.
    """
    if list(recipe.milestones) != sorted(set(recipe.milestones)):
        raise InputError(f"recipe.milestones = {list(recipe.milestones)}: must rise")
    last = {"milestones": max(recipe.milestones, default=0), "warmup": recipe.warmup, "grow_at": recipe.grow_at or 0}
    for key, at in last.items():
        if at > recipe.iterations:
            raise InputError(f"recipe.{key} = {at}: beyond the last of {recipe.iterations} iterations")
    if recipe.warmup_rate is not None and not recipe.warmup:
        raise InputError(f"recipe.warmup_rate = {recipe.warmup_rate}: of no use without recipe.warmup")
    for name, net in nets.items():
        if net.norm_batch is not None and recipe.batch_size % net.norm_batch:
            raise InputError(f"{name}.norm_batch = {net.norm_batch}: must divide batch_size = {recipe.batch_size}")
        if net.grown_from is not None and net.grown_from >= net.depth:
            raise InputError(f"{name}.grown_from = {net.grown_from}: must be less than depth = {net.depth}")
        if net.grown_from is not None and recipe.grow_at is None:
            raise InputError(f"{name}.grown_from = {net.grown_from}: say when in recipe.grow_at")
    if recipe.grow_at is not None and all(net.grown_from is None for net in nets.values()):
        raise InputError(f"recipe.grow_at = {recipe.grow_at}: no twin has grown_from")


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
    message = re.sub(r"^\w+ should ", "", first["msg"])
    return f"{line(where)} = {shown(first['input'])}: should {message}"
