"""Train one run: all its twins in lock-step on the same batches.

The trainer takes nets by name and does not know which has shortcuts. Speed is never read off a side-by-side run.

Every net has a lane of its own, and several runs may take turns on one device. Work on one lane never waits for another
lane. It waits only for the feed of batches, which runs on the same batches share.

Here are the step and the state; `measuring` evaluates, `growth` makes nets deeper.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins import nets, records
from deeptwins.data import Dataset
from deeptwins.data.stream import Stream
from deeptwins.errors import noting
from deeptwins.nets.initialization import weights_sha256
from deeptwins.nets.inspection import children, size, stages
from deeptwins.nets.own.weights import redrawn
from deeptwins.study.specs import Net, RunSpec
from deeptwins.system.importing import is_own
from deeptwins.train import checkpoints
from deeptwins.train.feeds import Feed, Feeds
from deeptwins.train.lanes import STEPS, Lane, Mark, finished
from deeptwins.train.optimization import OPTIMIZERS
from deeptwins.train.provenance import own_parts


class Standing(NamedTuple):
    """How far a run is: iterations issued, and the training error of each twin, in percent, as far as it is known."""

    iteration: int
    errors: dict[str, float]


@dataclass
class Twin:
    """One net of a run in training."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    seen: Tensor
    """Sums over the batches since the last evaluation, on the device: images, errors, loss, float64 (3,)."""
    diverged_at: int | None = None
    grown: bool = False
    capture: bool = True
    error_pct: float | None = None
    """On the training set, at the last evaluation."""
    lane: Lane = field(init=False)

    def __post_init__(self) -> None:
        """Open the lane, once all that its steps use exists."""
        own = not isinstance(self.net, nets.ResNet)
        self.lane = Lane(self.seen.device, [*self.net.parameters()], capture=self.capture, watched=own)


class Training:
    """The twins of one run between two iterations. Its `state` carries everything that decides the numbers to come."""

    def __init__(
        self, run: RunSpec, dataset: Dataset, device: torch.device, feeds: Feeds | None = None, *, capture: bool = True
    ) -> None:
        """Build the twins of a run.

        Args:
            run: what to train.
            dataset: as loaded for the run's recipe.
            device: where to train.
            feeds: the feeds that it shares with the runs beside it; by default it has its own.
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
        self._due = frozenset(records.evaluations(run.recipe, len(dataset.train)))
        self.twins: dict[str, Twin] = {}
        self.header: dict[str, dict[str, Any]] = {}
        for name, spec in run.twins.items():
            first = spec if spec.grown_from is None else spec.model_copy(update={"depth": spec.grown_from})
            with noting(f"twin {name}"):
                net = self._build(first)
                parameters, flops = size(spec, dataset.image, dataset.classes)
                self.header[name] = {"parameters": parameters, "flops": flops, "weights_sha256": weights_sha256(net)}
                if spec.is_own:
                    self.header[name]["children"] = children(spec, dataset.image, dataset.classes)
                    self.header[name]["redrawn"] = [*redrawn(net)]
                else:
                    self.header[name]["stages"] = stages(spec, dataset.image, dataset.classes)
                optimizer = OPTIMIZERS[run.recipe.optimizer](net, run.recipe)
            seen = torch.zeros(3, dtype=torch.float64, device=device)
            # A graph would repeat forever what a part of one's own did in Python when it was captured. Of whole nets
            # the first steps are watched.
            inside = {*own_parts(spec)} - {spec.family, spec.initialization}
            captured = capture and not inside and not is_own(run.recipe.optimizer)
            self.twins[name] = Twin(net, optimizer, seen, capture=captured)

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
        return self.iteration in self._due

    @property
    def standing(self) -> Standing:
        """How far it is. Errors are those of the last evaluation, and before the first, on a CPU, of the batches seen.

        On a GPU the host would have to wait for these.
        """
        errors = {name: twin.error_pct for name, twin in self.twins.items()}
        if self.device.type == "cpu":
            for name, twin in self.twins.items():
                images, wrong, _ = twin.seen.tolist()
                if errors[name] is None and images:
                    errors[name] = 100.0 * wrong / images
        return Standing(self.iteration, {name: error for name, error in errors.items() if error is not None})

    def step(self, count: int = 1) -> None:
        """Train every twin on the next batches, at most as many as one replay has. The host waits for nothing."""
        if self._feed is None:
            self._feed = self._feeds.at(self.stream, self.iteration)
        self._feed.fill(self.iteration, count)
        # What a net draws by itself (dropout, blocks to drop) is a function of (seed, iteration), too.
        seeds = [_digest(self.run.seed, self.iteration + i) for i in range(count)]
        for name, twin in self.twins.items():
            if twin.diverged_at is not None:
                continue
            twin.net.train()
            with noting(f"twin {name}"), self._feed.read_by(twin.lane):
                twin.lane.run(partial(self._step, twin, self._feed), count, seeds)
        self.iteration += count

    def advance(self) -> None:
        """Train every twin on as many batches as a replay has, or on one if an evaluation falls between them.

        The host waits for nothing.
        """
        steps = STEPS[self.device.type]
        between = range(self.iteration + 1, self.iteration + steps)
        self.step(steps if self._due.isdisjoint(between) else 1)

    def keep_pace(self) -> None:
        """Wait for the steps that were issued before the last call, so that the host does not run far ahead."""
        for mark in self._marks:
            finished(mark)
        self._marks = [twin.lane.mark() for twin in self.training]

    def precision(self) -> torch.autocast:
        """Compute inside in the recipe's precision."""
        # No weight is used twice in a step, so there is nothing to cache; and what is cached outlives a capture.
        enabled = self.run.recipe.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)

    def refusals(self) -> list[str]:
        """Return why the steps of twins could not be captured, where they should have been; once for each twin."""
        said = []
        for name, twin in self.twins.items():
            if twin.lane.refusal is not None:
                said.append(f"twin {name}: no CUDA graph, so its steps take longer: {twin.lane.refusal}")
                twin.lane.refusal = None
        return said

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
        """Go back to a state.

        Raises:
            Exception: of some kind, where it is no state of these twins; that is found before PyTorch takes it.
        """
        checked = checkpoints.RunState.model_validate(state)
        if checked.twins.keys() != self.twins.keys() or checked.iteration > self.run.recipe.iterations:
            raise ValueError("of another run")
        self.iteration = checked.iteration
        for name, saved in checked.twins.items():
            twin = self.deepen(name) if saved.grown else self.twins[name]
            checkpoints.check_form(saved.net, twin.net.state_dict())
            if not is_own(self.run.recipe.optimizer):  # which may keep whatever it wants
                checkpoints.check_optimizer(saved.optimizer, twin.optimizer)
            checkpoints.check_form(saved.seen, twin.seen.cpu())
            twin.net.load_state_dict(saved.net)
            twin.optimizer.load_state_dict(dict(saved.optimizer))
            twin.seen.copy_(saved.seen)
            twin.diverged_at = saved.diverged_at

    def deepen(self, name: str) -> Twin:
        """Put a net of the final depth in a twin's place.

        Parameters that both nets have keep their optimizer's state; the values of all parameters are still to be set.
        """
        twin = self.twins[name]
        known = {key: twin.optimizer.state[p] for key, p in twin.net.named_parameters() if p in twin.optimizer.state}
        with noting(f"twin {name}"):
            net = self._build(self.run.twins[name])
            optimizer = OPTIMIZERS[self.run.recipe.optimizer](net, self.run.recipe)
        for key, parameter in net.named_parameters():
            if key in known:
                optimizer.state[parameter] = known[key]
        deep = self.twins[name] = Twin(net, optimizer, twin.seen, twin.diverged_at, grown=True, capture=twin.capture)
        return deep

    def _build(self, spec: Net) -> nn.Module:
        dataset = self.stream.dataset
        net = nets.build(spec, dataset.image[0], dataset.classes, self.run.seed).to(self.device)
        # The order of memory in a net of one's own is its author's.
        return net if spec.is_own else net.to(memory_format=torch.channels_last)

    def _step(self, twin: Twin, feed: Feed, place: int) -> None:
        """Train a twin on one batch of the feed: what a lane may capture."""
        # Forward, and the loss.
        x, y = feed.batch(place)
        with self.precision():
            logits = twin.net(x)
        loss = F.cross_entropy(logits.float(), y)
        # Backward.
        twin.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # As in the paper's code, momentum and weight decay go on for blocks that were dropped.
        if isinstance(twin.net, nets.ResNet) and twin.net.drops:
            for parameter in twin.net.parameters():
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        # Move the weights at the iteration's learning rate.
        for group in twin.optimizer.param_groups:
            group["lr"] = feed.rates[place]
        twin.optimizer.step()
        # Count the batch's errors, as it was seen before the step.
        twin.seen += counts(logits.detach(), y, loss.detach())


def counts(logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
    """Images, errors, loss of a batch as float64 (3,) on its device; logits that are not finite count as errors."""
    wrong = (logits.argmax(1) != y) | ~logits.isfinite().all(1)
    return torch.stack([loss.new_full((), len(y)), wrong.sum(), loss * len(y)]).double()


def _digest(seed: int, iteration: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{iteration}".encode()).digest()[:8], "big")
