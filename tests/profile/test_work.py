"""What an op must do: its bytes, counted by hand."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from deeptwins.profile import work as profile_work


class Counter(TorchDispatchMode):
    """Counts the bytes of each op."""

    def __init__(self):
        super().__init__()
        self.moved = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Call and count."""
        out = func(*args, **(kwargs or {}))
        self.moved.append(profile_work.moved(func, args, kwargs or {}, out))
        return out


def sgd(momentum):
    """Make an optimizer of 100 numbers, after a step."""
    parameter = torch.nn.Parameter(torch.ones(100))
    parameter.grad = torch.ones(100)
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=momentum, fused=True)
    optimizer.step()
    return optimizer


X, Y = torch.ones(10, 10), torch.ones(10, 10)
SPREAD = torch.ones(10, 1).expand(10, 10)


WORK = {
    "add": (lambda: X + Y, 300),
    "add to itself": (lambda: X + X, 200),
    "add in place": (lambda: X.clone().add_(Y), 200 + 300),
    "copy": (lambda: X.clone().copy_(Y), 200 + 200),
    "zero": (lambda: X.clone().zero_(), 200 + 100),
    "view": (lambda: X[2:].view(-1), 0),
    "empty": (lambda: torch.empty_like(X), 0),
    "expanded": (lambda: SPREAD + X, 10 + 200),
    "relu": (lambda: torch.relu(X), 200),
    "product": (lambda: torch.mm(X, Y), 300),
    "two results": (lambda: torch.max(X, 1), 100 + 10 + 20),
}


@pytest.mark.parametrize("name", WORK)
def test_bytes_by_hand(name):
    """Each tensor that an op reads or writes counts once; views and allocations move nothing."""
    work, floats = WORK[name]
    with Counter() as counter:
        work()

    assert sum(counter.moved) == 4 * floats


def test_a_gathering_op_reads_what_it_takes():
    """An op that picks rows of a large table reads no more of it than it writes."""
    rows = torch.tensor([1, 2])
    with Counter() as counter:
        torch.ones(1000, 10).index_select(0, rows)

    assert counter.moved[-1] == 2 * 10 * 4 * 2 + 2 * 8


@pytest.mark.parametrize(("momentum", "tensors"), [(0, 3), (0.9, 5)])
def test_an_optimizer_only_reads_gradients(momentum, tensors):
    """A step of SGD reads weight, gradient and momentum, and writes weight and momentum."""
    optimizer = sgd(momentum)
    with Counter() as counter:
        optimizer.step()

    assert max(counter.moved) == pytest.approx(tensors * 400, abs=16)
