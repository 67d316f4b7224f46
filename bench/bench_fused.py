"""The fused operation as a CPU trains with it, forward and backward; `bench_bn_relu_add.py` has all the others."""

import pytest
import torch

from deeptwins.kernels import BNReLUAdd

SHAPE = 128, 16, 8, 8  # of the first stage of a CIFAR net on digits, which the study `depth` trains


@pytest.mark.gate
@pytest.mark.parametrize("join", [False, True], ids=["relu", "join"])
def bench_fused(benchmark, join):
    """One call in training, with the implementation that `auto` takes: at a join with a residual and two uses."""
    torch.manual_seed(0)
    draw = [torch.randn(SHAPE).contiguous(memory_format=torch.channels_last) for _ in range(4)]
    x, residual = draw[0].requires_grad_(), draw[1].requires_grad_() if join else None
    module = BNReLUAdd(SHAPE[1])
    inputs = [x, *([] if residual is None else [residual]), *module.parameters()]
    benchmark(lambda: torch.autograd.grad(module(x, residual, fork=join), inputs, draw[2 : 3 + join]))
