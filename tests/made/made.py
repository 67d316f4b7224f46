"""Made-up records: a results folder as `deeptwins run` would leave it, without any training."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from deeptwins import study
from deeptwins.findings import frames, learning
from deeptwins.records import RunFiles, evaluations
from deeptwins.study import Study
from deeptwins.study.specs import RunSpec

TOML = """
question = "Does training error rise with depth when there is no shortcut?"
source = "He et al. 2015, section 4.2, figure 6"
cost = "6 min on 2 CPU cores"
fails_above_pct = 20.0

[twins]
plain = { shortcut = "none" }
residual = { shortcut = "zero-pad" }

[[vary]]
family = "cifar"
depth = [20, 32, 44, 56]
seed = [0, 1, 2]

[[vary]]
family = "imagenet"
depth = [18, 34]
seed = [0, 1, 2]

[recipe]
dataset = "digits"
iterations = 240
batch_size = 128
learning_rate = 0.05
evaluate_every = 12

[[expect]]
twin = "plain"
trend = "rises"

[[expect]]
twin = "residual"
trend = "flat"
family = "cifar"

[[paper]]
family = "cifar"
depth = 56
twin = "residual"
metric = "test_error_pct"
value = 6.97
source = "table 6"
"""

GRID = """
[[vary]]
family = "cifar"
depth = [20, 56]
seed = [0, 1, 2]
"""

ONE_DEPTH = GRID.replace("[20, 56]", "20")

BOUND = "fails_above_pct = 20.0"

TWINS = 'plain = { shortcut = "none" }\nresidual = { shortcut = "zero-pad" }'

AGREEING = """
question = "Do three implementations train the same net?"

[twins]
eager = { fused_op = "eager" }
compiled = { fused_op = "compiled" }
triton = { fused_op = "triton" }

[[vary]]
family = "cifar"
depth = 8
seed = [0, 1, 2]

[recipe]
dataset = "digits"
shortcut = "zero-pad"
iterations = 48
batch_size = 128
learning_rate = 0.05
evaluate_every = 12

[[expect]]
twin = "compiled"
agrees_with = "eager"

[[expect]]
twin = "triton"
agrees_with = "eager"

[[expect]]
twin = "triton"
agrees_with = "eager"
metric = "test_error_pct"
"""

# Errors of seven twins at one depth, by seed: the others lie above, below or about the first, or fail.
SEVEN = {
    "base": [3.0, 3.1, 3.2],
    "more": [8.0, 8.2, 8.1],
    "most": [13.0, 13.3, 13.1],
    "less": [0.0, 0.2, 0.2],
    "like": [3.1, 3.1, 3.2],
    "some": [1.0, 9.0, 30.0],
    "lost": [88.0, 90.0, 92.0],
}

# Final training errors, in percent, near what the digits recipe gives.
PLAIN = {20: 8.0, 32: 30.0, 44: 54.0, 56: 65.0, 18: 3.0, 34: 35.0}

Level = Callable[[RunSpec, str], float]


def level(run: RunSpec, twin: str) -> float:
    """Final training error of a net: high without shortcuts where it is deep, else about 2 %."""
    net = run.twins[twin]
    mean = PLAIN.get(net.depth, net.depth) if net.shortcut == "none" else 1.5 + net.depth / 100
    return min(100.0, mean * random.Random(f"{run.id} {twin}").uniform(0.8, 1.2))  # noqa: S311 - no secret


def alike(run: RunSpec, twin: str) -> float:
    """Final training error of nets that differ by rounding, in the study AGREEING: 2, 3 and 4 % by seed."""
    return (2 + run.seed) * (1 + {"compiled": 1e-6, "triton": 1e-3}.get(twin, 0.0))


def load(folder: Path, text: str = TOML, name: str = "depth") -> Study:
    """Write a study file and read it."""
    path = folder / f"{name}.toml"
    folder.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return study.load(path)


def small(
    folder: Path, twins: str = TWINS, grid: str = GRID, question: str = "Who wins?", name: str = "small"
) -> Study:
    """Write and read a study of one family and two depths, without claims."""
    recipe = TOML.split("[recipe]")[1].split("[[expect]]", maxsplit=1)[0]
    return load(folder, f"question = {json.dumps(question)}\n[twins]\n{twins}\n{grid}\n[recipe]{recipe}", name)


def asked(
    twins: Sequence[str] = ("plain",),
    depths: Sequence[int] = (20,),
    seeds: int = 3,
    claims: str = "",
    margin: float = 1.0,
) -> Study:
    """Return a study of these twins at these depths; claims are TOML."""
    tables = "".join(f"{twin} = {{ width = {8 + i} }}\n" for i, twin in enumerate(twins))
    grid = f'[[vary]]\nfamily = "cifar"\ndepth = {list(depths)}\nseed = {list(range(seeds))}\n'
    return load_text(f"[twins]\n{tables}{grid}", claims, f"flat_within_pct = {margin}\n{BOUND}")


def load_text(twins_and_grid: str, claims: str = "", keys: str = BOUND) -> Study:
    """Return a study without a file that stays, from its tables of twins and grids, its claims, and keys before all.

    The recipe is that of TOML, but for what the grids vary.
    """
    recipe = TOML.split("[recipe]")[1].split("[[expect]]", maxsplit=1)[0]
    recipe = "".join(f"{line}\n" for line in recipe.splitlines() if line.split(" =")[0] not in twins_and_grid)
    with TemporaryDirectory() as folder:
        return load(Path(folder), f'question = "?"\n{keys}\n{twins_and_grid}[recipe]\n{recipe}{claims}')


def paper(  # noqa: PLR0913, PLR0917  every key of its own
    twin: str, value: object, more: str = "", depth: int = 20, family: str = "cifar", metric: str = "test_error_pct"
) -> str:
    """Spell a published value; value and more are TOML."""
    net = f'[[paper]]\ntwin = "{twin}"\nfamily = "{family}"\ndepth = {depth}\nmetric = "{metric}"\n'
    return f'{net}value = {value}\nsource = "table 6"\n{more}\n'


def last(study: Study, level: Level = level) -> pd.DataFrame:
    """Return the last evaluation of each net of each run, as `findings.latest` would; NaN is a run that did not end."""
    labels = frames._labels(study.runs)
    rows = [
        {"run": run.id, "setting": run.setting, "family": net.family, "group": frames._group(net, labels[run.setting])}
        | {"depth": net.depth, "seed": run.seed, "twin": twin, "test_images": 360, "running_loss": 1.0}
        | {"train_images": 1437, "chance_pct": 90.0, "train_loss": 1.0}
        | dict.fromkeys(("train_error_pct", "running_error_pct", "test_error_pct"), level(run, twin))
        for run in study.runs
        for twin, net in run.twins.items()
    ]
    table = pd.DataFrame(rows).dropna(subset="train_error_pct", ignore_index=True)
    return learning.assess(table, study.flat_within_pct)


def records(
    run: RunSpec,
    level: Level = level,
    status: str | None = "done",
    diverged: Sequence[str] = (),
    diverged_at: int | None = None,
) -> list[dict[str, Any]]:
    """Every record of a run; without a status its `end` is missing, as after a kill."""
    iterations = run.recipe.iterations
    diverged_at = diverged_at or iterations // 2
    lines: list[dict[str, Any]] = [_first(run)]
    for twin in run.twins:
        last = level(run, twin)
        for iteration in evaluations(run.recipe, run.recipe.batch_size):
            error = last + (90 - last) * (1 - iteration / iterations) ** 3
            stopped = twin in diverged and iteration >= diverged_at
            lines.append(_epoch(run, twin, iteration, 100.0 if stopped else error))
            if stopped:
                break
    for twin, net in run.twins.items():
        for layer in range(1, net.depth):
            std = (1.0 if net.shortcut == "none" else 0.6) * (20 / net.depth) ** 0.5 / layer**0.25
            place = {"iteration": iterations, "twin": twin, "layer": layer, "name": f"conv{layer}"}
            lines.append({"kind": "layer", **place, "response_std": std})
    for twin, net in run.twins.items():
        if net.grown_from is not None:
            place = {"iteration": run.recipe.grow_at, "twin": twin, "depth_before": net.grown_from, "depth": net.depth}
            errors = dict.fromkeys(("train_error_before_pct", "train_error_after_pct"), 40.0)
            lines.append({"kind": "growth", **place, "largest_difference": 1e-6 * (1 + run.seed), **errors})
    if status is not None:
        reason = f"{diverged[0]}: loss not finite at iteration {diverged_at}" if diverged else None
        seconds = 0.5 * sum(net.depth for net in run.twins.values())
        status = "diverged" if diverged else status
        lines.append({"kind": "end", "status": status, "reason": reason, "seconds": seconds})
    return lines


def inside(  # noqa: PLR0913  every number of its own
    run: RunSpec,
    *,
    response: Callable[[int, int], float] = lambda _seed, layer: 1 / layer,
    kernel: Callable[[int], int | None] = lambda _layer: 3,
    norm: Callable[[int, int, int], float | None] = lambda _seed, layer, _iteration: 1 / layer,
    layers: Callable[[int, int], int] = lambda depth, _iteration: depth,
    precise: Callable[[int, float], float] = lambda _seed, error: error,
    error: float | None = 0.1,
) -> list[dict[str, Any]]:
    """Every record of what is inside the nets of a finished run; its layers take the place of those in `records`."""
    last = run.recipe.iterations
    lines: list[dict[str, Any]] = []
    for twin, net in run.twins.items():
        for iteration in evaluations(run.recipe, run.recipe.batch_size):
            norms = [norm(run.seed, layer, iteration) for layer in range(1, layers(net.depth, iteration) + 1)]
            lines.append({"kind": "gradient", "iteration": iteration, "twin": twin, "norms": norms})
        place = {"iteration": last, "twin": twin}
        for layer in range(1, net.depth):
            errors = dict.fromkeys(("running_mean_error", "running_std_error"), error and error * (1 + run.seed))
            line = {"kind": "layer", **place, "layer": layer, "name": f"bn{layer}", "kernel": kernel(layer)}
            lines.append(line | {"response_std": response(run.seed, layer)} | errors)
        for block in range(1, net.depth // 2):
            share = {"name": f"block{block}", "branch_share": 0.5 + run.seed / 10}
            lines.append({"kind": "block", **place, "block": block, **share})
        if error is not None:
            test = precise(run.seed, min(100.0, level(run, twin) + 2))
            lines.append({"kind": "precise", **place, "test_error_pct": test, "test_loss": 1.0})
    return lines


def looked_into(folder: Path, study: Study, **options: Any) -> Path:
    """Make a results folder in which every run is done, with all records of what is inside its nets."""
    for run in study.runs:
        *lines, end = [line for line in records(run) if line["kind"] != "layer"]
        write(folder / "results", run, [*lines, *inside(run, **options), end])
    return folder / "results"


def write(results: Path, run: RunSpec, lines: Sequence[dict[str, Any]] | None = None) -> Path:
    """Write a run's records (by default those of a finished run) where they belong."""
    path = RunFiles.of(results, run).records
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines or records(run)), encoding="utf-8")
    return path


def results(folder: Path, study: Study, level: Level = level) -> Path:
    """Make a results folder in which every run of the study is done."""
    for run in study.runs:
        write(folder / "results", run, records(run, level))
    return folder / "results"


def _first(run: RunSpec) -> dict[str, Any]:
    def size(depth: int) -> dict[str, Any]:
        digest = hashlib.sha256(f"{run.seed} {depth}".encode()).hexdigest()
        return {"parameters": 16186 * (depth - 1), "flops": 300_000 * depth, "weights_sha256": digest}

    return {
        "kind": "run",
        "schema": 1,
        "study": run.study,
        "run": run.id,
        "spec": run.model_dump(mode="json"),
        "twins": {twin: size(net.depth) for twin, net in run.twins.items()},
        "dataset": {
            "name": run.recipe.dataset,
            "checksum": "sha256:" + hashlib.sha256(run.recipe.dataset.encode()).hexdigest(),
            "train": run.recipe.batch_size,  # an iteration is an epoch
            "test": 360,
            "classes": 10,
            "image": [1, 8, 8],
        },
        "machine": {
            "device": "cpu",
            "cpu": "AMD EPYC",
            "cores": 2,
            "memory_gib": 23.5,
            "gpu": None,
            "driver": None,
            "os": "Linux 6.1",
            "python": "3.11.7",
            "torch": "2.14.1",
            "triton": "3.8.0",
            "numpy": "2.4.6",
            "deeptwins": "0.1.0",
        },
        "commit": "abc1234",
        "started": f"2026-11-2{run.seed}T02:40:00Z",
    }


def _epoch(run: RunSpec, twin: str, iteration: int, error: float) -> dict[str, Any]:
    loss = None if error == 100.0 else error / 30
    validated = {"validation_error_pct": min(100.0, error + 1), "validation_loss": loss}
    return (validated if run.recipe.validation else {}) | {
        "kind": "epoch",
        "iteration": iteration,
        "epoch": float(iteration),
        "twin": twin,
        "train_error_pct": error,
        "train_loss": loss,
        "running_error_pct": min(100.0, error * 1.2),
        "running_loss": loss,
        "test_error_pct": min(100.0, error + 2),
        "test_loss": loss,
        "learning_rate": 0.05,
    }
