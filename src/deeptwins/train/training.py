"""Train one run: all its twins in lock-step on the same batches.

The trainer takes nets by name and does not know which has shortcuts. Speed is never read off a side-by-side run.

Every net has a lane of its own, and several runs may take turns on one device: what is issued on one lane does not wait
for what was issued on another, but for the feed of batches, which runs share that see the same ones.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins import nets
from deeptwins.data import Dataset
from deeptwins.data.stream import Stream
from deeptwins.errors import InputError
from deeptwins.kernels import unavailable
from deeptwins.nets import diagnostics, growing
from deeptwins.nets.initialization import weights_sha256
from deeptwins.nets.inspection import size, stages
from deeptwins.records import Record
from deeptwins.study.specs import Net, RunSpec
from deeptwins.train.feeds import Feed, Feeds
from deeptwins.train.lanes import STEPS, Lane, Mark, finished
from deeptwins.train.optimization import OPTIMIZERS, learning_rate

EVALUATION_BATCH = {"cpu": 500, "cuda": 2500}  # images: on a GPU so many that it, and not the host, is what takes time
# Precise statistics are measured over so many images, or over so small a part of a short run: they must cost little.
PRECISE_IMAGES, PRECISE_EVERY = 2048, 40  # images; iterations for each batch
# How far logits may move when a net grows, as a share of the largest: what rounding does in a hundred layers.
# They are compared without autocast, so that the weights of a bf16 run are multiplied in fp32.
SAME_OUTPUTS = {"fp32": 1e-3, "tf32": 0.05, "bf16": 1e-3}


def check(run: RunSpec, device: torch.device) -> None:
    """Raise ValueError, naming field, value and what is allowed, for a run that cannot be trained on a device."""
    for net in run.twins.values():
        nets.check(net)
        if reason := unavailable(net.fused_op, device.type):
            raise ValueError(f"fused_op = {net.fused_op!r}: {reason}")
    if run.recipe.optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer = {run.recipe.optimizer!r}: choose from {', '.join(OPTIMIZERS)}")
    if run.recipe.optimizer == "adam" and run.recipe.momentum:
        raise ValueError(f"momentum = {run.recipe.momentum}: adam has moments of its own; leave it out")


def check_sizes(run: RunSpec, dataset: Dataset, name: str) -> None:
    """Refuse what does not go with the size of the images; the name is what the user knows the run by.

    Raises:
        InputError: they are shifted out of sight, or a batch normalization has one value to normalize by.
    """
    _, height, width = dataset.image
    images = f"those of {dataset.name} are {height}x{width}"
    if run.recipe.shift >= min(height, width):
        raise InputError(
            f"{name}: recipe.shift = {run.recipe.shift}: must be less than the images are high and wide; {images}"
        )
    for twin, net in run.twins.items():
        if net.norm != "batch" or (net.norm_batch or run.recipe.batch_size) > 1:
            continue
        if stages(net, dataset.image, dataset.classes)[-1]["output"][1:] == [1, 1]:
            key = f"twins.{twin}.norm_batch" if net.norm_batch else "recipe.batch_size"
            raise InputError(
                f"{name}: {key} = 1: the last stage of {twin} leaves one pixel of an image, and batch normalization"
                f" needs two values; give 2 or more; {images}"
            )


def cost(run: RunSpec, dataset: Dataset) -> float:
    """FLOPs of a run: three forward's worth a training image, one an evaluated image."""
    flops = sum(size(net, dataset.image, dataset.classes)[1] for net in run.twins.values())
    trained = run.recipe.iterations * run.recipe.batch_size
    evaluations = trained / len(dataset.train.labels) / run.recipe.evaluate_every
    evaluated = evaluations * sum(len(split) for split in dataset.splits.values())
    return flops * (3.0 * trained + evaluated)


@dataclass
class Twin:
    """One net of a run in training; `seen` sums what the batches since the last evaluation showed, on the device."""

    net: nets.ResNet
    optimizer: torch.optim.Optimizer
    seen: Tensor  # float64 (3,): images, errors, loss
    diverged_at: int | None = None
    grown: bool = False
    capture: bool = True
    lane: Lane = field(init=False)

    def __post_init__(self) -> None:
        """Open the lane, once all that its steps use is there."""
        self.lane = Lane(self.seen.device, [*self.net.parameters()], capture=self.capture)


class Training:
    """The twins of one run between two iterations. Its `state` carries everything that decides the numbers to come."""

    def __init__(
        self,
        run: RunSpec,
        dataset: Dataset,
        device: torch.device,
        feeds: Feeds | None = None,
        *,
        capture: bool = True,
    ) -> None:
        """Build the twins of a run.

        Args:
            run: what to train.
            dataset: as loaded for the run's recipe.
            device: where to train.
            feeds: those of the runs that train beside this one; by default there is none.
            capture: whether steps may be captured; without, each is issued kernel by kernel, as a profiler wants it,
                and so are its batches, unless `feeds` are given.
        """
        self.run = run
        self.device = device
        self.stream = Stream(dataset, run.recipe, run.seed, device)
        self._feeds = Feeds(capture=capture) if feeds is None else feeds
        self._feed: Feed | None = None
        self._marks: list[Mark] = []
        self.iteration = 0
        self.twins: dict[str, Twin] = {}
        self.header: dict[str, dict[str, Any]] = {}
        for name, spec in run.twins.items():
            first = spec if spec.grown_from is None else spec.model_copy(update={"depth": spec.grown_from})
            net = self._built(first)
            parameters, flops = size(spec, dataset.image, dataset.classes)
            self.header[name] = {"parameters": parameters, "flops": flops, "weights_sha256": weights_sha256(net)}
            self.header[name]["stages"] = stages(spec, dataset.image, dataset.classes)
            seen = torch.zeros(3, dtype=torch.float64, device=device)
            optimizer = OPTIMIZERS[run.recipe.optimizer](net, run.recipe)
            self.twins[name] = Twin(net, optimizer, seen, capture=capture)

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
        return self._due(self.iteration)

    def step(self, count: int = 1) -> None:
        """Train every twin on the next batch, or on so many as a replay has at most. The host waits for nothing."""
        self._advance(count)

    def advance(self) -> None:
        """Train every twin on the next batches, as many as a replay has, or on one where something is due before.

        The host waits for nothing.
        """
        steps = STEPS[self.device.type]
        coming = range(self.iteration + 1, self.iteration + steps)
        self._advance(1 if any(map(self._due, coming)) else steps)

    def keep_pace(self) -> None:
        """Wait for the steps that were issued before this was called last, so that the host does not run far ahead."""
        for mark in self._marks:
            finished(mark)
        self._marks = [twin.lane.mark() for twin in self.training]

    def evaluate(self) -> Iterator[Record]:
        """Measure every twin on all splits in evaluation mode, and start the running sums anew."""
        splits, sums = self.stream.dataset.splits, {}
        for name, twin in self.twins.items():  # all of them, before the host waits for one
            if twin.diverged_at is None:
                with twin.lane:
                    sums[name] = torch.stack([twin.seen, *(self._clean(twin.net, split) for split in splits)])
                    twin.seen.zero_()
        for name, on_device in sums.items():
            twin = self.twins[name]
            with twin.lane:
                measured = dict(zip(("running", *splits), on_device.cpu().tolist(), strict=True))
            record: Record = {
                "kind": "epoch",
                "iteration": self.iteration,
                "epoch": round(self.stream.epochs(self.iteration), 3),
                "twin": name,
            }
            for what in ("train", "running", *(name for name in splits if name != "train")):
                images, errors, loss = measured[what]
                record[f"{what}_error_pct"] = 100.0 * errors / images
                record[f"{what}_loss"] = loss / images if math.isfinite(loss) else None
            record["learning_rate"] = learning_rate(self.run.recipe, self.iteration - 1)
            if record["train_loss"] is None or record["running_loss"] is None:
                twin.diverged_at = self.iteration
                record |= {f"{what}_error_pct": 100.0 for what in measured}
            yield record

    @property
    def grows(self) -> bool:
        """Whether some twins are to be grown after this iteration."""
        return self.iteration == self.run.recipe.grow_at

    def grow(self) -> Iterator[Record]:
        """Make the twins that are to be grown deeper without changing their outputs, and check that they have not.

        Raises:
            RuntimeError: the outputs of a net have changed.
        """
        for name, shallow_twin in self.twins.items():
            spec = self.run.twins[name]
            if spec.grown_from is None or shallow_twin.diverged_at is not None:
                continue
            shallow_twin.lane.finish()
            shallow = shallow_twin.net
            before = self._clean(shallow, "train").tolist()
            twin = self._deepen(name)
            growing.grow(shallow, twin.net, self._images())
            difference = growing.largest_difference(shallow, twin.net, self._images())
            if difference > SAME_OUTPUTS[self.run.recipe.precision]:
                raise RuntimeError(f"{name}: its logits differ by {difference:.1e} after growth; they must be the same")
            after = self._clean(twin.net, "train").tolist()
            yield {
                "kind": "growth",
                "iteration": self.iteration,
                "twin": name,
                "depth_before": spec.grown_from,
                "depth": spec.depth,
                "largest_difference": difference,
                "train_error_before_pct": 100.0 * before[1] / before[0],
                "train_error_after_pct": 100.0 * after[1] / after[0],
            }

    def gradients(self) -> Iterator[Record]:
        """Measure the gradient of every layer of the twins in training, as the last step left it."""
        for name, twin in self.twins.items():
            if twin.diverged_at is None:
                with twin.lane:
                    norms = diagnostics.gradient_norms(twin.net)
                yield {"kind": "gradient", "iteration": self.iteration, "twin": name, "norms": norms}

    def diagnose(self) -> Iterator[Record]:
        """Look inside the trained twins: over the test split, and over the last batches that were trained on."""
        most = math.ceil(PRECISE_IMAGES / self.run.recipe.batch_size)
        latest = range(self.iteration - min(most, math.ceil(self.iteration / PRECISE_EVERY)), self.iteration)
        for name, twin in self.twins.items():
            if twin.diverged_at is None:
                test, count = self.stream.clean("test", self._images_at_once), partial(self._clean, twin.net, "test")
                with twin.lane, self._precision():
                    found = list(diagnostics.look(twin.net, test, map(self.stream.batch, latest), count))
                for record in found:
                    yield {"kind": record["kind"], "iteration": self.iteration, "twin": name} | record

    def state(self) -> dict[str, Any]:
        """Everything that decides the numbers to come, as `torch.load` reads it with `weights_only`."""
        for twin in self.twins.values():
            twin.lane.finish()
        twins = {
            name: {
                "net": twin.net.state_dict(),
                "optimizer": twin.optimizer.state_dict(),
                "seen": twin.seen,
                "diverged_at": twin.diverged_at,
                "grown": twin.grown,
            }
            for name, twin in self.twins.items()
        }
        return {"iteration": self.iteration, "twins": twins}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.iteration = state["iteration"]
        for name, saved in state["twins"].items():
            twin = self._deepen(name) if saved["grown"] else self.twins[name]
            twin.net.load_state_dict(saved["net"])
            twin.optimizer.load_state_dict(saved["optimizer"])
            twin.seen.copy_(saved["seen"])
            twin.diverged_at = saved["diverged_at"]

    def _built(self, spec: Net) -> nets.ResNet:
        dataset = self.stream.dataset
        net = nets.build(spec, dataset.image[0], dataset.classes, self.run.seed)
        return net.to(self.device).to(memory_format=torch.channels_last)

    def _deepen(self, name: str) -> Twin:
        """Put a net of the final depth in a twin's place; what its parameters share keep their optimizer's state."""
        twin = self.twins[name]
        known = {key: twin.optimizer.state[p] for key, p in twin.net.named_parameters() if p in twin.optimizer.state}
        net = self._built(self.run.twins[name])
        optimizer = OPTIMIZERS[self.run.recipe.optimizer](net, self.run.recipe)
        for key, parameter in net.named_parameters():
            if key in known:
                optimizer.state[parameter] = known[key]
        deep = self.twins[name] = Twin(net, optimizer, twin.seen, twin.diverged_at, grown=True, capture=twin.capture)
        return deep

    def _due(self, iteration: int) -> bool:
        last = iteration in {self.run.recipe.iterations, self.run.recipe.grow_at}
        return last or self.stream.ends_epoch(iteration, self.run.recipe.evaluate_every)

    def _advance(self, count: int) -> None:
        """Issue some steps of every twin that has not diverged."""
        if self._feed is None:
            self._feed = self._feeds.at(self.stream, self.iteration)
        self._feed.fill(self.iteration, count)
        # What a net draws by itself (dropout, blocks to drop) is a function of (seed, iteration), too.
        seeds = [_digest(self.run.seed, self.iteration + i) for i in range(count)]
        for twin in self.training:
            twin.net.train()
            with self._feed.read_by(twin.lane):
                twin.lane.run(partial(self._step, twin, self._feed), count, seeds)
        self.iteration += count

    def _step(self, twin: Twin, feed: Feed, place: int) -> None:
        """Train a twin on one batch of the feed: what a lane may capture."""
        x, y = feed.batch(place)
        with self._precision():
            logits = twin.net(x)
        loss = F.cross_entropy(logits.float(), y)
        twin.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if twin.net.drops:  # as in the paper's code, momentum and weight decay go on for blocks that were dropped
            for parameter in twin.net.parameters():
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for group in twin.optimizer.param_groups:
            group["lr"] = feed.rates[place]
        twin.optimizer.step()
        twin.seen += _counts(logits.detach(), y, loss.detach())

    @property
    def _images_at_once(self) -> int:
        return EVALUATION_BATCH[self.device.type]

    def _images(self) -> Iterator[Tensor]:
        return (x for x, _ in self.stream.clean("train", self._images_at_once))

    def _precision(self) -> torch.autocast:
        # No weight is used twice in a step, so there is nothing to cache; and what is cached outlives a capture.
        enabled = self.run.recipe.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)

    @torch.inference_mode()
    def _clean(self, net: nn.Module, split: str) -> Tensor:
        net.eval()
        total = torch.zeros(3, dtype=torch.float64, device=self.device)
        for x, y in self.stream.clean(split, self._images_at_once):
            with self._precision():
                logits = net(x)
            total += _counts(logits, y, F.cross_entropy(logits.float(), y))
        return total


def _digest(seed: int, iteration: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{iteration}".encode()).digest()[:8], "big")


def _counts(logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
    """Images, errors, loss of a batch as float64 (3,) on its device; logits that are not finite count as errors."""
    wrong = (logits.argmax(1) != y) | ~logits.isfinite().all(1)
    return torch.stack([loss.new_full((), len(y)), wrong.sum(), loss * len(y)]).double()
