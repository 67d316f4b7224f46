"""What a run is made of: its nets, its recipe, its seed; and the base and types of all tables of a study file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from deeptwins.system.importing import is_own

Count = Annotated[int, Field(ge=1, le=10**9)]
CountFromZero = Annotated[int, Field(ge=0, le=10**9)]
DEEPEST = 10_000
Depth = Annotated[int, Field(ge=1, le=DEEPEST, json_schema_extra={"unit": "layers"})]
Size = Annotated[int, Field(ge=1, le=4096)]
BatchSize = Annotated[int, Field(ge=1, le=65_536, json_schema_extra={"unit": "images"})]
Shift = Annotated[int, Field(ge=0, le=4096, json_schema_extra={"unit": "pixels"})]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, json_schema_extra={"unit": "percent"})]
NonEmpty = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f/]*$")]  # it may become part of a file's name
DatasetName = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]

LONGEST_TEXT = 4000  # characters
MOST_OPTIONS = 100  # of a net; and values in a list
LONGEST_NUMBER = 10**18
LONGEST_SLUG = 120  # characters: a file with this name, and more behind it, can be made on every file system


def unit(name: str) -> Any:  # noqa: ANN401  as pydantic's own
    """Say in which unit a field is, for the reference of all keys."""
    return Field(json_schema_extra={"unit": name})


OptionValue = bool | int | float | str
OptionPairs = tuple[tuple[str, OptionValue | tuple[OptionValue, ...]], ...]
_SCALAR = {"type": ["boolean", "integer", "number", "string"]}


def option_pairs(table: object) -> OptionPairs:
    """Return a table of options as pairs, sorted by name, which can be hashed; pairs as they are.

    Raises:
        PydanticCustomError: it is no table of names with values, or lists of values, of the simple types of TOML.
    """
    pairs = tuple(table.items()) if isinstance(table, Mapping) else table
    if not isinstance(pairs, tuple) or len(pairs) > MOST_OPTIONS:
        raise PydanticCustomError("options", f"Input should be a table, of at most {MOST_OPTIONS} options")
    kept: dict[str, Any] = {}
    for name, value in pairs:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > LONGEST_SLUG:
            raise PydanticCustomError("options", f"Input should have names of parameters; {str(name)[:40]!r} is none")
        values = value if isinstance(value, list | tuple) else [value]
        if len(values) > MOST_OPTIONS or not all(map(_is_option, values)):
            message = f"Input should have true, false, a finite number, a text, or a list of these; {name} has not"
            raise PydanticCustomError("options", message)
        kept[name] = tuple(values) if isinstance(value, list | tuple) else value
    return tuple(sorted(kept.items()))


def _is_option(value: object) -> bool:
    if isinstance(value, int | float):  # also true and false
        return -LONGEST_NUMBER <= value <= LONGEST_NUMBER
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def option_words(pairs: OptionPairs) -> str:
    """Write options as TOML does: `skip = false, stages = [2, 2]`; empty without any."""
    return ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in pairs)


class Checked(BaseModel):
    """A table of a study file: no unknown key, no silent conversion, no change after reading."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, str_max_length=LONGEST_TEXT, use_attribute_docstrings=True
    )


class Net(Checked):  # noqa: PLW1641  pydantic makes `__hash__` of what is frozen
    """What a net is. The twins of a run differ in some of these fields.

    The tables of `deeptwins.nets` list the names of shortcuts and the like.
    """

    family: Name
    """The plan of the layers: `cifar` (6n+2 layers, three stages), `cifar-bottleneck` (9n+2) or `imagenet` (four).

    Or a net of your own, `package.module:function`: it has `depth`, `width`, `options`, `initialization` alone.
    """
    depth: Depth
    """Layers with weights on the longest path, as the papers count them: 20, 32, 44, 56, ... or 18, 34, 50, ..."""
    width: Annotated[Size, unit("channels")] = 16
    """Channels of the first stage; each further stage has twice as many."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """The first layer: `cifar`, a 3x3 convolution; `imagenet`, a 7x7 one with stride 2, then max pooling."""
    shortcut: str = "none"
    """What is added to a block's residual branch.

    `none`: nothing, a plain net. `zero-pad`: the block's input, with channels of zeros where the shape changes (the
    paper's option A). `projection`: the input, through a 1x1 convolution where the shape changes (B). `projections`:
    through a 1x1 convolution everywhere (C). `scaled`: half the input. `frozen-gate`: half the input, to half the
    branch. `gate`, `shortcut-gate`: the input times a learned gate; with `gate` the branch times its complement.
    `dropout`: the input, half of its values dropped in training.
    """
    gate_bias: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """The bias of gated shortcuts at the start: b_g of He et al. 2016, Identity mappings."""
    block_order: str = "original"
    """How a block orders norm, ReLU, convolution and addition: He et al. 2016, Identity mappings, figure 4."""
    norm: str = "batch"
    """`batch`: batch normalization. `none`: a bias per channel in its place. `scalar`: one bias for all channels."""
    norm_batch: Annotated[Count | None, unit("images")] = None
    """How many images share the statistics of batch normalization in training; by default the whole batch."""
    survival: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Stochastic depth: the probability that a step keeps the last block; it falls linearly from 1 before the first."""
    initialization: str = "he"
    """The weights at the start: `he`, or one of the others, with which residual branches begin at zero."""
    grown_from: Depth | None = None
    """The depth at first. At the recipe's `grow_at` blocks are added that change no output. By default none are."""
    grown_with: str | None = None
    """The shortcut of the added blocks; by default the net's own."""
    options: Annotated[
        OptionPairs,
        BeforeValidator(option_pairs),
        PlainSerializer(dict, return_type=dict, when_used="json"),
        WithJsonSchema(
            {
                "type": "object",
                "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]},
                "propertyNames": {"pattern": r"^[^\W\d]\w*$"},
                "maxProperties": MOST_OPTIONS,
            }
        ),
        Field(json_schema_extra={"default": {}}),
    ] = ()
    """What a net of your own is made with besides: names and values, such as `{ skip = false }`.

    Those of a twin are added to those that all twins share.
    """
    fused_op: str = "auto"
    """What computes batch normalization, addition and ReLU. `auto`: Triton on a GPU that can run it, else `eager`."""

    @property
    def is_own(self) -> bool:
        """Whether it is a net of the user's own, of which deeptwins knows no stages and blocks."""
        return is_own(self.family)

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal, and options of the same types: to Python `1` and `true` are the same."""
        return super().__eq__(other) and isinstance(other, Net) and repr(self.options) == repr(other.options)


OF_OWN_NETS = ("family", "depth", "width", "initialization", "options")
"""The fields that a net of one's own has. The others are of no use with it."""


class Recipe(Checked):
    """How a net is trained; the same for all twins of a run. Budgets are in iterations, sizes in pixels."""

    dataset: DatasetName
    """`digits`, `synthetic`, `fashion-mnist`, `cifar10`, `cifar100`, or your own: `folder:PATH`, `parquet:PATH`, or
    `package.module:attribute`."""
    iterations: Annotated[Count, unit("iterations")]
    """How long a net is trained: one iteration is one step on one batch."""
    batch_size: BatchSize
    """Images per iteration."""
    learning_rate: AboveZero
    """The learning rate after the warm-up and before the first milestone."""
    optimizer: str = "sgd"
    """`sgd`, or `adam`, which has moments of its own and takes no `momentum`."""
    schedule: str = "steps"
    """The learning rate of each iteration: `steps`, which rises in the warm-up and falls at milestones."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The momentum of SGD."""
    weight_decay: NotNegative = 0.0
    """L2 penalty on all parameters, those of batch normalization included."""
    warmup: Annotated[CountFromZero, unit("iterations")] = 0
    """The learning rate rises linearly to its full value in these first iterations, or has the value `warmup_rate`."""
    warmup_rate: AboveZero | None = None
    """A constant learning rate for the warm-up; by default it rises linearly to the full one."""
    milestones: Annotated[tuple[Annotated[Count, unit("iterations")], ...], Field(strict=False, max_length=100)] = ()
    """Iterations from which on the learning rate is multiplied by `decay`, in rising order."""
    decay: AboveZero = 0.1
    """What each milestone multiplies the learning rate by."""
    grow_at: Annotated[Count | None, unit("iterations")] = None
    """After so many iterations nets with `grown_from` are grown; by default never."""
    normalization: Literal["channel", "pixel-mean", "none"] = "channel"
    """Of images. `channel`: mean 0 and standard deviation 1 per channel. `pixel-mean`: the mean image is subtracted.
    `none`: values from 0 to 255 become 0 to 1."""
    image_size: Annotated[Size | None, unit("pixels")] = None
    """The side that images are scaled to; by default the dataset's own."""
    shift: Shift = 0
    """Augmentation: images are moved by up to so many pixels, and filled with zeros."""
    flip: bool = False
    """Augmentation: half of the images are mirrored."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of the training images that is held out for validation."""
    evaluate_every: Annotated[Count, unit("epochs")] = 1
    """Epochs between evaluations; the last iteration is always evaluated."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Of convolutions and matrix products. A CPU computes `tf32` in fp32, and imitates `bf16`, slowly, where its
    processor lacks the instructions; `deeptwins doctor` tells."""


UNSET = {
    "norm_batch": "the whole batch",
    "grown_from": "not grown",
    "grown_with": "the net's shortcut",
    "warmup_rate": "rises linearly",
    "grow_at": "never",
    "image_size": "the dataset's",
}
"""What None means, for every field of a net or recipe that may be None: words for a table."""


class RunSpec(Checked):
    """One cell of a study's grid: everything that decides the numbers of a run."""

    study: str
    seed: Seed
    twins: dict[str, Net]
    recipe: Recipe

    @property
    def id(self) -> str:
        """A readable slug and a short hash of the fields.

        Fields at their defaults stay out of the hash, so that a field added later does not change the ids of old runs.
        """
        fields = self.model_dump(mode="json", exclude={"study"}, exclude_defaults=True)
        digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]
        families = (f"{net.family.replace(':', '.')}-{net.depth}" for net in self.twins.values())
        nets = "-".join(dict.fromkeys(families))
        return f"{nets[:LONGEST_SLUG]}-seed{self.seed}-{digest}"

    @property
    def setting(self) -> str:
        """The hash that is shared by runs that differ in nothing but the seed."""
        return self.model_copy(update={"seed": 0}).id.rsplit("-", 1)[1]


def by_setting(runs: Iterable[RunSpec]) -> dict[str, RunSpec]:
    """Return one run of each setting: what does not depend on the seed need not be computed for every run."""
    return {run.setting: run for run in runs}
