"""Optimization: the learning rate of an iteration."""

import pytest

import tiny
from deeptwins.train.optimization import learning_rate


def test_learning_rate_follows_the_recipe():
    """The rate rises linearly through the warm-up and falls at each milestone."""
    recipe = tiny.RECIPE.model_copy(update={"iterations": 40, "milestones": (20, 30), "warmup": 4})

    rates = [learning_rate(recipe, t) for t in (0, 1, 3, 4, 19, 20, 29, 30)]
    assert rates == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_a_constant_warm_up_is_constant():
    """With `warmup_rate` the rate stands at it through the warm-up, then is the full one."""
    recipe = tiny.RECIPE.model_copy(update={"warmup_rate": 0.01, "milestones": (6,)})

    assert [learning_rate(recipe, t) for t in (0, 3, 4, 6)] == pytest.approx([0.01, 0.01, 0.1, 0.01])
