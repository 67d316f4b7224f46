"""What a run is made of: its nets, its recipe, its seed; and the base and types of all tables of a study file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, le=10**9)]
CountFromZero = Annotated[int, Field(ge=0, le=10**9)]
Depth = Annotated[int, Field(ge=1, le=10_000)]
Size = Annotated[int, Field(ge=1, le=4096)]  # channels or pixels
BatchSize = Annotated[int, Field(ge=1, le=65_536)]  # images
Shift = Annotated[int, Field(ge=0, le=4096)]  # pixels
AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100)]
NonEmpty = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f/]*$")]  # it may become part of a file's name
DatasetName = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]

LONGEST_TEXT = 4000  # characters
LONGEST_SLUG = 120  # characters: a file with this name, and more behind it, can be made on every file system


class Checked(BaseModel):
    """A table of a study file: no unknown key, no silent conversion, no change after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_max_length=LONGEST_TEXT)


class Net(Checked):
    """What a net is; twins differ in some of these fields. Which names exist, the tables of `deeptwins.nets` say."""

    family: Name
    depth: Depth
    width: Size = 16
    stem: Literal["cifar", "imagenet"] = "cifar"
    shortcut: str = "none"
    gate_bias: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """The bias of gated shortcuts at the start: b_g of He et al. 2016."""
    block_order: str = "original"
    norm: str = "batch"
    norm_batch: Count | None = None
    """Images that share the statistics of batch normalization in training; None: the whole batch."""
    survival: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Probability that the last block is not dropped from a step; it falls linearly from 1 before the first."""
    initialization: str = "he"
    grown_from: Depth | None = None
    """The depth at which the net is trained until the recipe's `grow_at`; then it is grown, computing the same.

    None: it is not grown.
    """
    grown_with: str | None = None
    """The shortcut of the blocks that are added then; None: the net's."""
    fused_op: str = "auto"


class Recipe(Checked):
    """How a net is trained; the same for all twins of a run. Budgets are in iterations, sizes in pixels."""

    dataset: DatasetName
    iterations: Count
    batch_size: BatchSize
    learning_rate: AboveZero
    optimizer: str = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: NotNegative = 0.0
    warmup: CountFromZero = 0
    warmup_rate: AboveZero | None = None
    """The learning rate throughout the warm-up; None: it rises linearly to the full one."""
    milestones: Annotated[tuple[Count, ...], Field(strict=False, max_length=100)] = ()
    decay: AboveZero = 0.1
    grow_at: Count | None = None
    """After so many iterations nets with `grown_from` are grown; None: never."""
    normalization: Literal["channel", "pixel-mean"] = "channel"
    image_size: Size | None = None
    """The side that images are scaled to; None: the dataset's."""
    shift: Shift = 0
    flip: bool = False
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of the training images that is held out for validation."""
    evaluate_every: Count = 1
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"


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
        nets = "-".join(dict.fromkeys(f"{net.family}-{net.depth}" for net in self.twins.values()))
        return f"{nets[:LONGEST_SLUG]}-seed{self.seed}-{digest}"

    @property
    def setting(self) -> str:
        """The hash that is shared by runs that differ in nothing but the seed."""
        return self.model_copy(update={"seed": 0}).id.rsplit("-", 1)[1]


def by_setting(runs: Iterable[RunSpec]) -> dict[str, RunSpec]:
    """Return a run of each setting: what is asked of runs whatever their seed need not be asked of each."""
    return {run.setting: run for run in runs}
