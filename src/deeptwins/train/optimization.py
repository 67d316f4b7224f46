"""How weights move: optimizers, and schedules of the learning rate. To add one, name it in the table of its kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import nn

from deeptwins.errors import PartError, noting
from deeptwins.study.specs import Recipe
from deeptwins.system.importing import Parts, defined


def sgd(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make stochastic gradient descent: v = momentum v + g + weight_decay w, from v = 0; w -= learning_rate v."""
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    # PyTorch begins with v = g, which is the same; but its fused steps fail where only some parameters have a v.
    if recipe.momentum:
        for parameter in net.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def adam(net: nn.Module, recipe: Recipe, epsilon: float = 1e-8) -> torch.optim.Optimizer:
    """Make Adam (Kingma and Ba 2015) with beta = (0.9, 0.999); weight decay is a part of the gradient."""
    parameters = [*net.parameters()]
    return torch.optim.Adam(
        parameters,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        eps=epsilon,
        fused=True,
        capturable=parameters[0].is_cuda,  # it counts its steps on the device
    )


def keras_adam(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make Adam with the epsilon that is Keras's default."""
    return adam(net, recipe, epsilon=1e-7)


OPTIMIZERS: Parts[Callable[[nn.Module, Recipe], torch.optim.Optimizer]] = Parts(
    {"sgd": sgd, "adam": adam}, called=("net", "recipe"), returns=(torch.optim.Optimizer,)
)


def steps(recipe: Recipe, iteration: int) -> float:
    """Return the rate of an iteration (from 0): a warm-up to the full rate, times `decay` from each milestone on."""
    if recipe.warmup_rate is not None and iteration < recipe.warmup:
        return recipe.warmup_rate
    warm = min(1.0, (iteration + 1) / recipe.warmup) if recipe.warmup else 1.0
    return recipe.learning_rate * warm * recipe.decay ** sum(iteration >= milestone for milestone in recipe.milestones)


SCHEDULES: Parts[Callable[[Recipe, int], float]] = Parts(
    {"steps": steps}, called=("recipe", "iteration"), returns=(Real,)
)


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """The learning rate of an iteration (from 0), as the recipe's schedule says.

    Raises:
        PartError: a schedule of one's own says what is no rate.
    """
    schedule = SCHEDULES[recipe.schedule]
    with noting(f"schedule = {recipe.schedule!r}"):
        rate = schedule(recipe, iteration)
        if not 0 <= rate < math.inf:
            raise PartError(f"returns {rate} for iteration {iteration}, and must return 0 or more", defined(schedule))
    return float(rate)
