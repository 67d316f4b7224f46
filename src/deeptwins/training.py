"""Train one run: all its twins in lock-step on the same batches.

The trainer takes nets by name and does not know which has shortcuts. Speed is never read off a side-by-side run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins import nets
from deeptwins.data import Dataset
from deeptwins.diagnostics import layer_responses
from deeptwins.errors import InputError
from deeptwins.kernels import unavailable
from deeptwins.nets.initialization import weights_sha256
from deeptwins.nets.inspection import size
from deeptwins.records import Record
from deeptwins.specs import Recipe, RunSpec
from deeptwins.stream import Stream

EVALUATION_BATCH = 500

OPTIMIZERS: dict[str, Callable[[nn.Module, Recipe], torch.optim.Optimizer]] = {
    "sgd": lambda net, recipe: torch.optim.SGD(
        net.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=True,
    ),
}


def device(name: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means here.

    Raises:
        InputError: no such device, or cuda where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {name}: choose from auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA device on this machine; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def check(run: RunSpec, device: torch.device) -> None:
    """Raise ValueError, naming field, value and what is allowed, for a run that cannot be trained on a device."""
    for net in run.twins.values():
        nets.check(net)
        if reason := unavailable(net.fused_op, device.type):
            raise ValueError(f"fused_op = {net.fused_op!r}: {reason}")
    if run.recipe.optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer = {run.recipe.optimizer!r}: choose from {', '.join(OPTIMIZERS)}")


def cost(run: RunSpec, dataset: Dataset) -> float:
    """FLOPs of a run: three forward's worth a training image, one an evaluated image."""
    flops = sum(size(net, dataset.image, dataset.classes)[1] for net in run.twins.values())
    trained = run.recipe.iterations * run.recipe.batch_size
    evaluations = trained / len(dataset.train.labels) / run.recipe.evaluate_every
    evaluated = evaluations * (len(dataset.train.labels) + len(dataset.test.labels))
    return flops * (3.0 * trained + evaluated)


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """The rate of an iteration (from 0): a linear warm-up to the full rate, times `decay` from each milestone on."""
    warm = min(1.0, (iteration + 1) / recipe.warmup) if recipe.warmup else 1.0
    return recipe.learning_rate * warm * recipe.decay ** sum(iteration >= milestone for milestone in recipe.milestones)


@dataclass
class Twin:
    """One net of a run in training; `seen` sums what the batches since the last evaluation showed, on the device."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    seen: Tensor  # float64 (3,): images, errors, loss
    diverged_at: int | None = None


class Training:
    """The twins of one run between two iterations. Its `state` carries everything that decides the numbers to come."""

    def __init__(self, run: RunSpec, dataset: Dataset, device: torch.device) -> None:
        self.run = run
        self.device = device
        self.stream = Stream(dataset, run.recipe, run.seed, device)
        self.iteration = 0
        self.twins: dict[str, Twin] = {}
        self.header: dict[str, dict[str, Any]] = {}
        for name, spec in run.twins.items():
            net = nets.build(spec, dataset.image[0], dataset.classes, run.seed)
            parameters, flops = size(spec, dataset.image, dataset.classes)
            self.header[name] = {"parameters": parameters, "flops": flops, "weights_sha256": weights_sha256(net)}
            net = net.to(device).to(memory_format=torch.channels_last)
            seen = torch.zeros(3, dtype=torch.float64, device=device)
            self.twins[name] = Twin(net, OPTIMIZERS[run.recipe.optimizer](net, run.recipe), seen)

    @property
    def training(self) -> list[Twin]:
        """The twins that have not diverged."""
        return [twin for twin in self.twins.values() if twin.diverged_at is None]

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.iteration >= self.run.recipe.iterations or not self.training

    @property
    def due(self) -> bool:
        """Whether the twins are evaluated after this iteration."""
        last = self.iteration == self.run.recipe.iterations
        return last or self.stream.ends_epoch(self.iteration, self.run.recipe.evaluate_every)

    def step(self) -> None:
        """Train every twin on the next batch. The host waits for nothing."""
        x, y = self.stream.batch(self.iteration)
        rate = learning_rate(self.run.recipe, self.iteration)
        for twin in self.training:
            twin.net.train()
            with self._precision():
                logits = twin.net(x)
            loss = F.cross_entropy(logits.float(), y)
            twin.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for group in twin.optimizer.param_groups:
                group["lr"] = rate
            twin.optimizer.step()
            twin.seen += _counts(logits.detach(), y, loss.detach())
        self.iteration += 1

    def evaluate(self) -> Iterator[Record]:
        """Measure every twin on both splits in evaluation mode, and start the running sums anew."""
        for name, twin in self.twins.items():
            if twin.diverged_at is not None:
                continue
            running, train, test = (
                torch.stack([twin.seen, *(self._clean(twin.net, split) for split in ("train", "test"))]).cpu().tolist()
            )
            twin.seen.zero_()
            record: Record = {
                "kind": "epoch",
                "iteration": self.iteration,
                "epoch": round(self.stream.epochs(self.iteration), 3),
                "twin": name,
            }
            for what, (images, errors, loss) in (("train", train), ("running", running), ("test", test)):
                record[f"{what}_error_pct"] = 100.0 * errors / images
                record[f"{what}_loss"] = loss / images if math.isfinite(loss) else None
            record["learning_rate"] = learning_rate(self.run.recipe, self.iteration - 1)
            if record["train_loss"] is None or record["running_loss"] is None:
                twin.diverged_at = self.iteration
                record |= {f"{what}_error_pct": 100.0 for what in ("train", "running", "test")}
            yield record

    def layers(self) -> Iterator[Record]:
        """Measure the layer responses of the trained twins on the test split."""
        for name, twin in self.twins.items():
            if twin.diverged_at is None:
                responses = layer_responses(twin.net, self.stream.clean("test", EVALUATION_BATCH))
                for i, (layer, deviation) in enumerate(responses.items(), 1):
                    record = {"kind": "layer", "iteration": self.iteration, "twin": name, "layer": i, "name": layer}
                    yield {**record, "response_std": deviation}

    def state(self) -> dict[str, Any]:
        """Everything that decides the numbers to come, as `torch.load` reads it with `weights_only`."""
        twins = {
            name: {
                "net": twin.net.state_dict(),
                "optimizer": twin.optimizer.state_dict(),
                "seen": twin.seen,
                "diverged_at": twin.diverged_at,
            }
            for name, twin in self.twins.items()
        }
        return {"iteration": self.iteration, "twins": twins}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.iteration = state["iteration"]
        for name, saved in state["twins"].items():
            twin = self.twins[name]
            twin.net.load_state_dict(saved["net"])
            twin.optimizer.load_state_dict(saved["optimizer"])
            twin.seen.copy_(saved["seen"])
            twin.diverged_at = saved["diverged_at"]

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.recipe.precision == "bf16")

    @torch.inference_mode()
    def _clean(self, net: nn.Module, split: Literal["train", "test"]) -> Tensor:
        net.eval()
        total = torch.zeros(3, dtype=torch.float64, device=self.device)
        for x, y in self.stream.clean(split, EVALUATION_BATCH):
            with self._precision():
                logits = net(x)
            total += _counts(logits, y, F.cross_entropy(logits.float(), y))
        return total


def configure(recipe: Recipe, device: torch.device) -> None:
    """Make the arithmetic what the recipe says, and repeatable."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic cuBLAS asks for
        torch.use_deterministic_algorithms(mode=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        torch.backends.cuda.matmul.allow_tf32 = recipe.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = recipe.precision == "tf32"


def _counts(logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
    """Images, errors, loss of a batch as float64 (3,) on its device; logits that are not finite count as errors."""
    wrong = (logits.argmax(1) != y) | ~logits.isfinite().all(1)
    return torch.stack([loss.new_full((), len(y)), wrong.sum(), loss * len(y)]).double()
