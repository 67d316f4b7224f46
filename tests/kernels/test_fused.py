"""The oracle that the fused operation is measured by, against PyTorch."""

import numpy as np
import pytest
import torch

import fused
from deeptwins.kernels.bn_relu_add.definition import ORDERS
from fused import Case


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("order", ORDERS)
def test_the_reference_agrees_with_pytorch_s_own_decomposition(order, training):
    """The formulas that all is measured by give the gradients of PyTorch's decomposition of batch norm's backward."""
    case = Case(dtype=torch.float64, order=order, training=training)
    module = case.module("eager", "cpu")
    x, residual, dy, _ = case.tensors()
    expected = {name: value for name, (value, _) in fused.reference(module, x, residual, dy).items()}
    g = expected["dr"] if order == "add-relu" else torch.where(module.normalize(x) <= 0, 0, dy)

    backward = torch._decomp.decomposition_table[torch.ops.aten.native_batch_norm_backward.default]
    gradients = backward(
        g, x, module.weight, module.running_mean, module.running_var, x.mean(fused.DIMS),
        (x.var(fused.DIMS, correction=0) + module.epsilon).rsqrt(), training, module.epsilon, [True] * 3,
    )  # fmt: skip

    for name, gradient in zip(("dx", "dw", "db"), gradients, strict=True):
        torch.testing.assert_close(expected[name], gradient, rtol=1e-12, atol=1e-12)


def test_bfloat16_rounds_as_in_pytorch():
    """What stands in for the interpreter's conversion rounds all that there is to round as PyTorch does."""
    every = np.arange(2**16, dtype=np.uint16)
    wide = fused.convert(every, "bf16", "fp32", None, otherwise=None)
    expected = torch.from_numpy(every.view(np.int16)).view(torch.bfloat16)
    assert np.array_equal(wide, expected.float().numpy(), equal_nan=True)

    bits = np.random.default_rng(0).integers(0, 2**32, 2**16, dtype=np.uint32)
    ties = wide.view(np.uint32)[:, None] + np.array([0, 0x7FFF, 0x8000, 0x8001, 1], dtype=np.uint32)
    single = np.concatenate([bits, ties.flatten()]).view(np.float32)
    found = torch.from_numpy(fused.convert(single, "fp32", "bf16", None, otherwise=None).view(np.int16))
    expected = torch.from_numpy(single).bfloat16()
    assert torch.equal(found.view(torch.bfloat16).isnan(), expected.isnan())
    assert torch.equal(found.view(torch.bfloat16).nan_to_num(0), expected.nan_to_num(0))
