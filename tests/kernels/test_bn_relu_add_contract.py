"""What batch normalization, addition, ReLU promises around its values: errors, checkpoints, copies."""

import copy
import os
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from deeptwins.kernels import IMPLEMENTATIONS, BNReLUAdd, bn_relu_add
from fused import Case

X = torch.zeros(2, 3, 4, 4)
ONES = torch.ones(3)
REFUSED = {
    "x no tensor": (TypeError, "argument 'x' must be Tensor, not list", {"x": [1.0]}),
    "x not 4D": (ValueError, r"expected 4D input \(got 3D input\)", {"x": X[0]}),
    "x of 8 bits": (RuntimeError, "'x' must be floating point of 16 bits", {"x": X.to(torch.float8_e5m2)}),
    "x of integers": (RuntimeError, "'x' must be floating point", {"x": X.long()}),
    "one value a channel": (ValueError, "more than 1 value per channel", {"x": X[:1, :, :1, :1]}),
    "eps 0": (ValueError, "eps must be positive during training", {"eps": 0.0}),
    "eps below 0": (ValueError, "eps", {"eps": -1e-5, "training": False, "running_mean": ONES, "running_var": ONES}),
    "residual no tensor": (TypeError, "'residual' must be Tensor, not float", {"residual": 1.0}),
    "residual's shape": (RuntimeError, "'residual' must have the shape of 'x'", {"residual": X[:1]}),
    "residual's dtype": (RuntimeError, "'residual' must have the dtype of 'x'", {"residual": X.double()}),
    "residual's device": (RuntimeError, "same device.*'residual'", {"residual": X.to("meta")}),
    "weight no tensor": (TypeError, "'weight' must be Tensor, not list", {"weight": [1.0]}),
    "weight's shape": (RuntimeError, "weight should contain 3 elements not 4", {"weight": torch.ones(4)}),
    "bias's shape": (RuntimeError, "bias should contain 3 elements not 2", {"bias": torch.ones(2)}),
    "weight's dtype": (RuntimeError, "'weight' must be floating point", {"weight": ONES.long()}),
    "bias's device": (RuntimeError, "same device.*'bias'", {"bias": ONES.to("meta")}),
    "running_mean's shape": (
        RuntimeError, "running_mean should contain 3 elements", {"running_mean": torch.ones(4), "running_var": ONES},
    ),
    "running_var's device": (
        RuntimeError, "same device.*'running_var'", {"running_mean": ONES, "running_var": ONES.to("meta")},
    ),
    "half of the running statistics": (ValueError, "both be None or neither", {"running_mean": ONES}),
    "evaluation without statistics": (RuntimeError, "running_mean must be defined", {"training": False}),
    "unknown order": (ValueError, "order = 'relu': choose from add-relu, relu-add", {"order": "relu"}),
    "unknown implementation": (
        ValueError, "implementation = 'cuda': choose from auto, eager, compiled, triton", {"implementation": "cuda"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("chosen", IMPLEMENTATIONS)
def test_refuses_what_does_not_fit(name, chosen):
    """What does not fit is refused in one line that names the argument, whatever the implementation."""
    error, message, arguments = REFUSED[name]
    with pytest.raises(error, match=message) as caught:
        bn_relu_add(**{"x": X, "training": True, "implementation": chosen} | arguments)
    assert "\n" not in str(caught.value)


def test_the_module_refuses_as_well():
    """The module refuses unknown options at once, and inputs as the function does."""
    with pytest.raises(ValueError, match="order = 'add'"):
        BNReLUAdd(3, order="add")
    with pytest.raises(ValueError, match="implementation = 'fast'"):
        BNReLUAdd(3, implementation="fast")
    with pytest.raises(ValueError, match="4D"):
        BNReLUAdd(3)(X[0])
    with pytest.raises(TypeError, match="'x' must be Tensor"):
        BNReLUAdd(3)(None)
    module = BNReLUAdd(3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        module(X[:1, :, :1, :1])
    with pytest.raises(RuntimeError, match="weight should contain 4 elements"):
        module(torch.zeros(2, 4, 3, 3))
    assert module.num_batches_tracked.item() == 0


# --- the module -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}])
def test_checkpoints_are_batch_norm_s(options):
    """Either of `nn.BatchNorm2d` and the module loads the other's state, names and order alike."""
    norm, module = nn.BatchNorm2d(3, **options), BNReLUAdd(3, **options)
    norm(torch.randn(4, 3, 2, 2))

    module.load_state_dict(norm.state_dict())

    assert list(module.state_dict()) == list(norm.state_dict())
    torch.testing.assert_close(module.state_dict(), norm.state_dict(), rtol=0, atol=0)
    module.train()(torch.randn(4, 3, 2, 2))
    norm.load_state_dict(module.state_dict())
    torch.testing.assert_close(module.state_dict(), norm.state_dict(), rtol=0, atol=0)


def test_old_checkpoints_load():
    """A checkpoint from before batches were counted loads as into `nn.BatchNorm2d`: the count is kept."""
    state = nn.BatchNorm2d(3).state_dict()
    del state["num_batches_tracked"]
    del state._metadata
    module = BNReLUAdd(3)
    module(torch.randn(4, 3, 2, 2))

    module.load_state_dict(state)

    assert module.num_batches_tracked.item() == 1
    assert torch.equal(module.running_mean, torch.zeros(3))


def test_the_module_is_copied_pickled_and_called_functionally(implementation, device):
    """Deep copies, pickles and functional calls of the module give what it gives."""
    module = Case(order="relu-add").module(implementation, device)
    x, residual, *_ = Case().tensors(device)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]  # noqa: S301  our own bytes

    expected = module(x, residual)

    assert all(torch.equal(each(x, residual), expected) for each in copies)
    assert torch.equal(torch.func.functional_call(module, state, (x, residual)), expected)
    assert torch.equal(state["running_mean"], module.running_mean)
    assert module.num_batches_tracked.item() == state["num_batches_tracked"].item() == 1


def test_the_module_says_what_it_is():
    """The module's description, defaults and parameters are `nn.BatchNorm2d`'s, with order and implementation added."""
    module = BNReLUAdd(3, order="relu-add", implementation="eager")
    assert "3, eps=1e-05, momentum=0.1" in repr(module)
    assert repr(module).endswith("order=relu-add, implementation=eager)")
    for options in ({"bias": False}, {"affine": False}, {"affine": False, "bias": False}):
        module = BNReLUAdd(3, **options)
        assert module.bias is None
        assert (module.weight is None) == ("affine" in options)
        module.reset_parameters()


def test_normalize_is_batch_norm_alone():
    """`normalize` is batch normalization without addition and ReLU."""
    x = torch.randn(4, 3, 2, 2)

    assert torch.equal(BNReLUAdd(3).normalize(x), nn.BatchNorm2d(3)(x))


@pytest.mark.parametrize("fork", [True, False])
def test_shapes_are_known_without_data(fork, implementation):
    """On the device `meta` the result has x's shape, dtype and memory format."""
    if implementation == "triton":
        pytest.importorskip("triton")
    module = BNReLUAdd(3, implementation=implementation, device="meta")
    x = torch.empty(2, 3, 4, 4, device="meta").contiguous(memory_format=torch.channels_last)

    for residual in (None, x):
        found = module(x, residual, fork=fork)
        y = found[0] if fork else found
        assert (y.shape, y.dtype, y.stride()) == (x.shape, x.dtype, x.stride())


@pytest.fixture(scope="module")
def elsewhere():
    """What a process says that has neither a device nor the interpreter, line by line."""
    code = """
import sys
import deeptwins.nets
print(*{"triton", "torch._dynamo"} & {*sys.modules})
import torch
from deeptwins.kernels import BNReLUAdd
x = torch.ones(2, 3, 4, 4)
BNReLUAdd(3)(x)
module = BNReLUAdd(3, implementation="triton")
try:
    module(x)
except RuntimeError as error:
    print(error)
print(module.num_batches_tracked.item())
"""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(  # noqa: S603  our own code
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def test_says_in_one_line_that_it_cannot_run_on_a_cpu(elsewhere):
    """Without a device and without the interpreter, `triton` says so in one line and counts nothing; `auto` works."""
    pytest.importorskip("triton")
    _, line, count = elsewhere

    assert line.startswith("implementation 'triton': Triton needs a CUDA device, not cpu")
    assert "TRITON_INTERPRET=1" in line
    assert count == "0"


def test_loads_nothing_that_it_does_not_need(elsewhere):
    """Nets of the eager operation load neither Triton nor torch.compile's front end."""
    assert elsewhere[0] == ""
