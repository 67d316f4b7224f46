"""Tiny runs for the tests that train: nets of eight layers on synthetic images."""

import torch

from deeptwins.study.specs import Net, Recipe, RunSpec
from deeptwins.train import completion
from deeptwins.train.feeds import Feeds

CPU = torch.device("cpu")
RECIPE = Recipe(
    dataset="synthetic", iterations=20, batch_size=64, learning_rate=0.1, momentum=0.9, weight_decay=1e-4,
    warmup=4, milestones=(15,), shift=1, flip=True,
)  # fmt: skip


def run_of(recipe=RECIPE, seed=0, **shortcuts):
    """Make a run of tiny nets; the twins are given as name=shortcut."""
    twins = shortcuts or {"plain": "none", "residual": "zero-pad"}
    nets = {name: Net(family="cifar", depth=8, width=4, shortcut=shortcut) for name, shortcut in twins.items()}
    return RunSpec(study="tiny", seed=seed, twins=nets, recipe=recipe)


def run_with(recipe=RECIPE, seed=0, **twins):
    """Make a run of tiny nets; the twins are given as name={field: value}."""
    nets = {name: Net(**{"family": "cifar", "depth": 8, "width": 4, **fields}) for name, fields in twins.items()}
    return RunSpec(study="tiny", seed=seed, twins=nets, recipe=recipe)


def complete(run, dataset, device, results, go_on=lambda _iteration: True, say=print):  # noqa: PLR0913, PLR0917
    """Take a run to its end, as a worker does that has no other; `go_on` is asked after every block of iterations."""
    turns = completion.advance(run, dataset, device, results, Feeds(), say)
    try:
        standing = next(turns)
        while True:
            standing = turns.send(go_on(standing.iteration))
    except StopIteration as end:
        return end.value
