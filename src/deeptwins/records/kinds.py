"""What the records of a run hold, kind by kind: `docs/method.md` defines the numbers, and each field says its unit.

A number that is not finite, or missing, is null where the type allows it. Keys that these models do not know are
ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from deeptwins.records.fields import Amount, FromOne, FromZero, Strict, Text

ErrorPct = Annotated[float, Field(ge=0, le=100)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256


class Stage(Strict):
    """Blocks of one shape, one after another."""

    blocks: FromOne
    layers: FromOne
    """Convolutions of each block."""
    output: tuple[FromOne, FromOne, FromOne]
    """Channels, height, width."""
    added: FromOne | None = None
    """Blocks that growth adds."""


class Child(Strict):
    """What a net of one's own consists of at the top, in order of execution."""

    name: Text
    kind: Text
    """The name of its class; of a sequence, the classes of its elements."""
    output: list[FromZero]
    """The shape of what it returned last, without the batch."""
    parameters: FromZero


class TwinSize(Strict):
    """What a twin is before it is trained."""

    parameters: FromZero
    flops: FromZero
    """Of the forward pass of one image."""
    weights_sha256: Digest
    stages: list[Stage] | None = None
    """The oldest records lack it, and those of nets of one's own."""
    children: list[Child] | None = None
    """Of a net of one's own."""
    redrawn: list[Text] | None = None
    """Of a net of one's own: the names of parameters and buffers whose values were drawn anew."""


class TrainedOn(Strict):
    """The dataset, and the number of images in each split."""

    name: Text
    checksum: Text
    train: FromOne
    test: FromOne
    validation: FromOne | None = None
    classes: FromOne
    commonest: FromOne | None = None
    """Training images of the commonest class; older records lack it."""
    image: tuple[FromOne, FromOne, FromOne]
    """Channels, height, width."""
    notes: list[Text] | None = None
    """What a user must know of it."""


class PartCode(Strict):
    """Which code a part of one's own is."""

    package: Text
    """The outermost package that it lies in, or a module in none."""
    version: Text | None
    """Of the distribution that it was installed with."""
    sha256: Digest | None
    """Of the package's Python files: for each, in the order of their names, its SHA-256 and its name."""
    commit: Text | None


class TrainedAt(Strict):
    """Where a part of the run was trained."""

    machine: dict[str, str | int | float | None]
    commit: str | None


class Budget(Strict):
    """The part of a recipe (`study.specs.Recipe`) that says how long nets are trained, and when evaluated."""

    iterations: FromOne
    batch_size: FromOne
    evaluate_every: FromOne = 1
    grow_at: FromOne | None = None


class Outline(Strict):
    """The part of a specification that all records must agree with; `study.specs.RunSpec` reads the whole."""

    twins: Annotated[dict[str, Any], Field(min_length=1)]
    recipe: Budget


class Begun(TrainedAt):
    """`kind: run`, the first record."""

    kind: Literal["run"]
    schema_: Annotated[int, Field(alias="schema", ge=1)]
    started: Text | None = None
    """ISO 8601, UTC; the oldest records lack it."""
    study: Text
    run: Text
    spec: Outline
    twins: dict[str, TwinSize]
    dataset: TrainedOn
    parts: dict[Text, PartCode] | None = None
    """Parts of one's own, by name, `package.module:attribute`; runs without any lack it."""


class Moved(TrainedAt):
    """`kind: move`: from here on on another machine, or at another commit."""

    kind: Literal["move"]
    iteration: FromZero
    at: Text
    """ISO 8601, UTC."""


class Ended(Strict):
    """`kind: end`, the last record."""

    kind: Literal["end"]
    status: Literal["done", "diverged", "failed"]
    reason: str | None
    seconds: Amount


class OfTwin(Strict):
    """What is recorded of a twin after an iteration, counted from 1."""

    iteration: FromOne
    twin: Text


class Evaluated(OfTwin):
    """`kind: epoch`. Errors in percent of the images; losses are mean cross-entropies, in nats."""

    kind: Literal["epoch"]
    epoch: Amount
    """How many epochs the iterations are."""
    train_error_pct: ErrorPct
    train_loss: Amount | None
    running_error_pct: ErrorPct
    """Over the batches since the evaluation before."""
    running_loss: Amount | None
    test_error_pct: ErrorPct
    test_loss: Amount | None
    validation_error_pct: ErrorPct | None = None
    validation_loss: Amount | None = None
    learning_rate: Amount


class Gradients(OfTwin):
    """`kind: gradient`: the L2 norm of each layer's weight gradient in the last step before, in order."""

    kind: Literal["gradient"]
    norms: list[Amount | None]


class Grown(OfTwin):
    """`kind: growth`: a twin was made deeper."""

    kind: Literal["growth"]
    depth_before: FromOne
    depth: FromOne
    largest_difference: Amount
    """Of the logits, as a share of the largest."""
    train_error_before_pct: ErrorPct
    train_error_after_pct: ErrorPct


class LayerRecord(OfTwin):
    """`kind: layer`, of a trained net."""

    kind: Literal["layer"]
    layer: FromOne
    name: Text
    response_std: Amount | None
    kernel: FromOne | None = None
    """Side of the convolution, in pixels; None: not square."""
    running_mean_error: Amount | None = None
    running_std_error: Amount | None = None


class BlockRecord(OfTwin):
    """`kind: block`, of a trained net."""

    kind: Literal["block"]
    block: FromOne
    name: Text
    branch_share: Amount | None


class Precise(OfTwin):
    """`kind: precise`: errors with precise statistics of batch normalization."""

    kind: Literal["precise"]
    test_error_pct: ErrorPct
    test_loss: Amount | None


OF_TWINS: dict[str, type[OfTwin]] = {
    "epoch": Evaluated,
    "growth": Grown,
    "gradient": Gradients,
    "layer": LayerRecord,
    "block": BlockRecord,
    "precise": Precise,
}
"""The kinds that are of one twin."""

AnyKind = Begun | Moved | Evaluated | Gradients | Grown | LayerRecord | BlockRecord | Precise | Ended
RECORD: TypeAdapter[AnyKind] = TypeAdapter(Annotated[AnyKind, Field(discriminator="kind")])
