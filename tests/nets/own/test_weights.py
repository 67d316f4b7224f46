"""Initial weights of nets of one's own: what twins share starts equal, and what an author has set stays."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import own_nets
from deeptwins import nets
from deeptwins.nets import initialization
from deeptwins.nets.initialization import Initialization
from deeptwins.nets.own.weights import redrawn


def weights(name="small", seed=0, **fields):
    """The parameters and buffers of a net as it starts."""
    return nets.build(own_nets.spec(name, **fields), 3, 10, seed).state_dict()


@settings(max_examples=6)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**63 - 1), st.sampled_from(["small", "before_others"]))
def test_what_two_nets_share_starts_equal(depth, other_depth, seed, name):
    """Parameters that two nets share by name and shape are equal to the bit, whatever else they have or draw."""
    one, other = weights(depth=depth, seed=seed, options={"skip": False}), weights(name, depth=other_depth, seed=seed)

    shared = one.keys() & other.keys()
    assert len(shared) >= 12
    assert all(torch.equal(one[key], other[key]) for key in shared)


def test_what_an_author_has_set_stays():
    """Values on which two constructions agree are left: zero gammas, layer scales, tokens, rows of padding."""
    made = weights()

    assert made["norms.0.weight"].tolist() == [0] * 4
    assert made["norms.1.weight"].tolist() == [1] * 4
    assert made["scales"].unique().tolist() == pytest.approx([0.1])
    assert made["token"].tolist() == [0] * 4
    assert made["words.weight"][0].tolist() == [0] * 4


def test_what_is_drawn_is_drawn_by_rule():
    """Weights of convolutions and linear maps are He's, biases 0, all else is as wide, and about as large, as drawn.

    Each by its name: no two of one shape are the same.
    """
    made = weights(width=256)

    assert not torch.equal(made["convs.0.weight"], made["convs.1.weight"])
    assert made["convs.0.weight"].std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert made["head.weight"].std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.1)
    assert made["head.bias"].unique().tolist() == made["stem.bias"].unique().tolist() == [0]
    assert made["place"].std().item() == pytest.approx(0.02, rel=0.2)
    assert abs(made["place"].mean().item()) < 0.005
    assert made["gain"].mean().item() == pytest.approx(1, abs=0.03)
    assert made["gain"].std().item() == pytest.approx(0.1, rel=0.2)
    assert sorted(made["order"].tolist()) == [*range(256)]


def test_what_is_drawn_is_a_function_of_the_seed():
    """One seed gives the same net each time, another one other values of all that is drawn, and of nothing else."""
    net = nets.build(own_nets.spec(width=64), 3, 10, 0)
    one, again, other = net.state_dict(), weights(width=64), weights(width=64, seed=1)
    drawn = redrawn(net)

    assert {*drawn} >= {"place", "gain", "words.weight", "stem.weight", "stem.bias", "convs.0.weight", "order"}
    assert not {*drawn} & {"scales", "token", "norms.0.weight", "norms.0.running_var"}
    for key, value in one.items():
        assert torch.equal(value, again[key])
        assert torch.equal(value, other[key]) == (key not in drawn or key.endswith(".bias")), key


def test_a_net_is_made_without_drawing_from_anybody():
    """PyTorch's, NumPy's and Python's generators are afterwards as they were, and so is what PyTorch is set to."""
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    weights("before_others")

    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), str(np.random.get_state())) == before[1:]  # noqa: NPY002
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_initialization_of_ones_own_has_the_last_word(monkeypatch):
    """It is given the net, after all else, and the seed."""
    with_seed = Initialization(lambda net, seed: net.get_parameter("place").data.fill_(seed))
    monkeypatch.setitem(initialization.INITIALIZATIONS, "mine:fill", with_seed)
    made = weights(seed=7, initialization="mine:fill")

    assert made["place"].unique().tolist() == [7]
    assert torch.equal(made["stem.weight"], weights(seed=7)["stem.weight"])
