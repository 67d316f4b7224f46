"""The columns of all tables of records: their types, units and meanings; the page of them, docs/columns.md."""

from __future__ import annotations

import json
from typing import NamedTuple

import pandas as pd

from deeptwins.study import schema
from deeptwins.study.specs import Net, Recipe

DTYPES = {"integer": "int64", "number": "float64", "text": "string", "truth": "bool"}
NULLABLE = {
    "integer": "Int64"
}  # of columns in which values may be missing; the others have a missing value of their own
PAGE = """\
# All columns

The tables that `deeptwins.load` returns and `deeptwins export` writes, column by column. [Data](data.md) shows how to
use them. This page is made from the code: `deeptwins schema --columns`. Errors are in percent of the images, losses are
mean cross-entropies in nats. *or none* marks columns in which a value may be missing.
"""


class Described(NamedTuple):
    """What a column holds."""

    kind: str
    """`integer`, `number`, `text` or `truth`; with a `?` behind it a value may be missing."""
    unit: str
    text: str

    @property
    def missing(self) -> bool:
        """Whether a value may be missing."""
        return self.kind.endswith("?")

    @property
    def dtype(self) -> str:
        """Of pandas."""
        kind = self.kind.removesuffix("?")
        return (NULLABLE if self.missing else {}).get(kind, DTYPES[kind])


Columns = dict[str, Described]


def _of_specs(table: type[Net | Recipe]) -> Columns:
    """Describe the fields of nets or recipes as the reference of all keys does."""
    fields = schema.schema({})["$defs"]["Fields"]["properties"]
    kinds = {"integer": "integer", "number": "number", "boolean": "truth"}
    described = {}
    for key, field in table.model_fields.items():
        kind = kinds.get(fields[key].get("type", ""), "text")
        optional = "?" if field.default is None and not field.is_required() else ""
        described[key] = Described(kind + optional, fields[key].get("unit", ""), fields[key]["description"])
    return described


_KEYS: Columns = {
    "run": Described("text", "", "The run's id; its file is `results/STUDY/RUN.jsonl`."),
    "setting": Described("text", "", "What runs share that differ in nothing but the seed: a hash."),
    "family": Described("text", "", "The plan of the layers."),
    "group": Described(
        "text", "", "The family and, where a study varies more than the depth, that: a panel of a figure."
    ),
    "depth": Described("integer", "layers", "Layers with weights on the longest path."),
    "seed": Described("integer", "", "What the initial weights and the batches are drawn from."),
    "twin": Described("text", "", "The net's name in the study."),
}
_AFTER = Described("integer", "iterations", "After so many iterations, counted from 1.")
_LAYER = Described("integer", "", "The layer's number, from 1.")


def _error(of: str) -> Described:
    return Described("number", "percent", of)


def _loss(of: str) -> Described:
    return Described("number?", "nats", of)


COLUMNS: dict[str, Columns] = {
    "runs": {
        **{key: _KEYS[key] for key in ("run", "setting", "group", "seed", "twin")},
        **_of_specs(Net),
        **_of_specs(Recipe),
        "parameters": Described("integer", "", "Learned numbers of the net."),
        "flops": Described("integer", "FLOPs", "Of the forward pass of one image; two a multiply-add."),
        "weights_sha256": Described("text", "", "SHA-256 of the initial weights."),
        "stages": Described(
            "text?", "", "The net's stages, as JSON; nets of one's own and the oldest records lack it."
        ),
        "children": Described("text?", "", "What a net of one's own consists of, as JSON; others lack it."),
        "redrawn": Described(
            "integer", "", "Parameters and buffers of a net of one's own that were drawn anew; others have 0."
        ),
        "checksum": Described("text", "", "Of the dataset's images."),
        "train_images": Described("integer", "images", "Trained on."),
        "test_images": Described("integer", "images", "Tested on."),
        "classes": Described("integer", "", "Of the dataset."),
        "notes": Described("text", "", "What a user must know of the dataset."),
        "chance_pct": _error("The error of always answering with the commonest class."),
        "image": Described("text", "pixels", "Channels x height x width."),
        "started": Described("text?", "", "When training began: ISO 8601, UTC; the oldest records lack it."),
        "status": Described("text", "", "`done`, `diverged`, `failed` or `unfinished`."),
        "reason": Described("text?", "", "Why it diverged or failed."),
        "seconds": Described("number?", "seconds", "Of training the whole run, all twins; none until it is over."),
    },
    "machines": {
        "run": _KEYS["run"],
        "device": Described("text?", "", "`cpu` or `cuda`."),
        "cpu": Described("text?", "", "The processor."),
        "cores": Described("integer?", "", "Cores that the process may use."),
        "memory_gib": Described("number?", "GiB", "Of the machine."),
        "gpu": Described("text?", "", "The GPU, and its memory."),
        "driver": Described("text?", "", "Version of NVIDIA's driver."),
        "cuda": Described("text?", "", "Version."),
        "cudnn": Described("text?", "", "Version."),
        "os": Described("text?", "", "The operating system."),
        "python": Described("text?", "", "Version."),
        "torch": Described("text?", "", "Version."),
        "triton": Described("text?", "", "Version."),
        "numpy": Described("text?", "", "Version."),
        "deeptwins": Described("text?", "", "Version."),
        "commit": Described("text?", "", "Of deeptwins, where it runs from a repository."),
    },
    "parts": {
        "run": _KEYS["run"],
        "part": Described("text", "", "A part of one's own: `package.module:attribute`."),
        "package": Described("text", "", "The package or module that it is in."),
        "version": Described("text?", "", "Of the distribution that brought it; none: it is not installed."),
        "sha256": Described("text?", "", "Of the package's source files."),
        "commit": Described("text?", "", "Of the repository that it lies in."),
    },
    "epochs": {
        **_KEYS,
        "iteration": _AFTER,
        "epoch": Described("number", "epochs", "How many epochs the iterations are."),
        "train_error_pct": _error("On the training images, not augmented."),
        "train_loss": _loss("The same."),
        "running_error_pct": _error("On the batches since the evaluation before, as trained."),
        "running_loss": _loss("The same."),
        "test_error_pct": _error("On the test images."),
        "test_loss": _loss("The same."),
        "validation_error_pct": Described("number?", "percent", "On the images that are held out, if there are any."),
        "validation_loss": _loss("The same."),
        "learning_rate": Described("number", "", "Of the iteration."),
    },
    "layers": {
        **_KEYS,
        "iteration": _AFTER,
        "layer": _LAYER,
        "name": Described("text", "", "The layer's name in the net."),
        "kernel": Described("integer?", "pixels", "Side of the convolution; none: not square."),
        "response_std": Described("number?", "", "Standard deviation of what its norm gives, over the test set."),
        "running_mean_error": Described(
            "number?", "", "Of running means from precise ones, in deviations; root mean square."
        ),
        "running_std_error": Described(
            "number?", "", "Of running deviations from precise ones; root mean square of log ratios."
        ),
    },
    "blocks": {
        **_KEYS,
        "iteration": _AFTER,
        "block": Described("integer", "", "The block's number, from 1."),
        "name": Described("text", "", "The block's name in the net."),
        "branch_share": Described(
            "number?", "", "L2 norm of the residual branch, as a share of that of the block's input."
        ),
    },
    "gradients": {
        **_KEYS,
        "iteration": _AFTER,
        "layer": _LAYER,
        "norm": Described("number?", "", "L2 norm of the gradient of the layer's weight, in the last step before."),
    },
    "precise": {
        **_KEYS,
        "iteration": _AFTER,
        "test_error_pct": _error("On the test images, with precise statistics of batch normalization."),
        "test_loss": _loss("The same."),
    },
    "growth": {
        **_KEYS,
        "iteration": _AFTER,
        "depth_before": Described("integer", "layers", "The net's depth until then; `depth` is the one since."),
        "largest_difference": Described("number", "", "Of the logits before and after, as a share of the largest."),
        "train_error_before_pct": _error("On the training images, just before."),
        "train_error_after_pct": _error("Just after."),
    },
}
"""The columns of each table, in order."""
ROWS = {
    "runs": "A row per run and twin: the net, the recipe, the data, and what became of the run.",
    "machines": "A row per run and machine, or commit, that trained a part of it.",
    "parts": "A row per run and part of one's own: the code that it was.",
    "epochs": "A row per twin and evaluation.",
    "layers": "A row per twin and layer, after training.",
    "blocks": "A row per twin and block, after training.",
    "gradients": "A row per twin, evaluation and layer.",
    "precise": "A row per twin, after training.",
    "growth": "A row per twin that was grown.",
}
"""What a row of each table is."""


def typed(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Give a table the columns that are described, in order, each of its type; others follow as they are.

    Lists and tables in cells become JSON.

    Args:
        name: of the table.
        table: as `findings.frames` makes it.
    """
    described = COLUMNS[name]
    others = [column for column in table if column not in described and column != "kind"]
    whole = table.reindex(columns=[*described, *others])
    for column, what in described.items():
        if what.kind.startswith("text"):
            whole[column] = whole[column].map(_text, na_action="ignore")
    return whole.astype({column: what.dtype for column, what in described.items()})


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else str(value)


def markdown() -> str:
    """Write the page of all columns."""
    blocks = [PAGE]
    for name, columns in COLUMNS.items():
        rows = "".join(map(_row, columns.items()))
        blocks.append(f"## `{name}`\n\n{ROWS[name]}\n\n| column | type | unit | meaning |\n|---|---|---|---|\n{rows}")
    return "\n".join(blocks)


def _row(column: tuple[str, Described]) -> str:
    """Write a column's line."""
    name, what = column
    kind = what.kind.removesuffix("?").replace("truth", "true or false") + (" or none" if what.missing else "")
    return _cells(f"`{name}`", kind, what.unit, what.text)


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
