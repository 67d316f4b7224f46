"""What the fused operation moves: the numbers stated, against every byte that its kernels touch in the interpreter."""

import itertools
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch

from deeptwins.kernels.bn_relu_add.definition import ORDERS
from deeptwins.kernels.bn_relu_add.traffic import Site
from fused import Case
from pairwise import cross, pairwise

launches = pytest.importorskip("deeptwins.kernels.bn_relu_add.launches", reason="Triton exists for Linux")

SITES = [
    Site(residual=residual, fork=fork, order=order, training=training)
    for residual, fork, order, training in itertools.product((True, False), (True, False), ORDERS, (True, False))
]


DTYPES = (torch.bfloat16, torch.float32)


@contextmanager
def watched(activation):
    """Record each launch, with how often it reads and writes each element of activations like this, and of masks."""
    from triton.runtime.interpreter import InterpreterBuilder as Builder  # noqa: PLC0415  Triton is loaded by now

    found, counts = [], []
    call, load, store = launches.Launch.__call__, Builder.create_masked_load, Builder.create_masked_store

    def count(pointers, mask, way):
        addresses = pointers.data[np.broadcast_to(mask.data.astype(bool), pointers.data.shape)].astype(np.int64)
        for tensor, times in counts:
            elements = (addresses - tensor.data_ptr()) // tensor.element_size()
            np.add.at(times[way], elements[(elements >= 0) & (elements < tensor.numel())], 1)

    def called(self):
        size = activation.untyped_storage().nbytes()
        counts.extend(
            (t, {way: np.zeros(t.numel(), dtype=np.int64) for way in ("reads", "writes")})
            for t in self.arguments
            if isinstance(t, torch.Tensor) and (t.untyped_storage().nbytes() == size or t.dtype == torch.uint8)
        )
        call(self)
        found.append((self, list(counts)))
        counts.clear()

    def loaded(self, pointers, mask, *rest):
        count(pointers, mask, "reads")
        return load(self, pointers, mask, *rest)

    def stored(self, pointers, value, mask, *rest):
        count(pointers, mask, "writes")
        return store(self, pointers, value, mask, *rest)

    with (
        mock.patch.object(launches.Launch, "__call__", called),
        mock.patch.object(Builder, "create_masked_load", loaded),
        mock.patch.object(Builder, "create_masked_store", stored),
    ):
        yield found


def passed(case, device):
    """Go forward and backward, and give what each of the two launched and touched."""
    module = case.module("triton", device)
    x, residual, dy, other = case.tensors(device)
    leaves = [t.requires_grad_() for t in (x, residual) if t is not None]
    with watched(x) as forward, torch.set_grad_enabled(case.training):
        uses = module(x, residual, fork=case.fork)
    if not case.training:
        uses = module(x, residual, fork=case.fork)
    with watched(x) as backward:
        torch.autograd.grad(uses, [*leaves, module.weight], [dy, other] if case.fork else dy)
    return forward, backward


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize(
    ("site", "last", "dtype"),
    [tuple(case.values()) for case in pairwise(cross(site=SITES, last=(True, False), dtype=DTYPES))],
    ids=str,
)
def test_the_bytes_stated_are_the_bytes_touched(site, last, dtype, device):
    """Each launch reads and writes as many distinct bytes of activations and mask as stated, and hardly one twice."""
    if device == "cuda":
        pytest.skip("compiled kernels cannot be watched")
    shape = (2, 24, 9, 8) if last else (2, 3, 9, 8)
    case = Case(
        shape, dtype, last=last, residual=site.residual, fork=site.fork, order=site.order, training=site.training
    )
    elements, channels = torch.Size(shape).numel(), shape[1]

    for launched, stated in zip(passed(case, device), (site.forward, site.backward), strict=True):
        assert [launch.kernel.__name__ for launch, _ in launched] == [f"bn_relu_add_{each.kernel}" for each in stated]
        for (launch, counts), each in zip(launched, stated, strict=True):
            moved = {"reads": 0, "writes": 0}
            for tensor, touched in counts:
                for way, times in touched.items():
                    moved[way] += np.count_nonzero(times) * tensor.element_size()
                    if tensor.dtype != torch.uint8:  # of a mask, eight elements read the same byte
                        assert (times - 1).clip(0).sum() <= launch.grid[0] * launch.grid[1] * channels
            bits = each.mask * elements // 8
            assert moved == {
                "reads": each.reads * elements * dtype.itemsize + bits * (each.kernel == "reduce"),
                "writes": each.writes * elements * dtype.itemsize + bits * (each.kernel == "apply"),
            }
            assert sum(moved.values()) == each.bytes(elements, dtype.itemsize)


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.parametrize(
    ("residual", "order", "forward", "backward"),
    [(True, "add-relu", 4, 6), (False, "add-relu", 3, 5), (True, "relu-add", 4, 5)],
)
def test_the_bytes_promised(residual, order, forward, backward, fork):
    """A join moves 4 tensors and a bit an element forward, 6 backward, 1 more for a second gradient; else 3 and 5."""
    site = Site(residual=residual, order=order, fork=fork)
    bits = 1 / 16 if residual and order == "add-relu" else 0  # of a tensor of two bytes per element
    written = fork and not (residual and order == "add-relu")  # the sum of the gradients, once more

    assert len(site.forward) == len(site.backward) == 2
    assert sum(launch.bytes(16, 2) for launch in site.forward) == 32 * (forward + bits)
    assert sum(launch.bytes(16, 2) for launch in site.backward) == 32 * (backward + bits + fork + written)


def test_evaluation_is_one_launch():
    """Evaluation reads x and the residual once, and writes y once, in one launch; without gradients no mask."""
    for residual in (True, False):
        (launch,) = Site(residual=residual, training=False).forward
        assert (launch.reads, launch.writes, launch.mask) == (1 + residual, 1, False)
