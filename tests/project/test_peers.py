"""What other libraries are timed beside the fused operation, and how they are called."""

import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import peers
from deeptwins.kernels import BNReLUAdd
from sites import Setting, Site


class BatchNorm2dNHWC(nn.BatchNorm2d):
    """Stands in for apex's class: the arguments that we give, and the memory layout, of apex's source; on a CPU."""

    def __init__(self, num_features, fuse_relu=False):  # noqa: FBT002  as in apex
        super().__init__(num_features)
        self.fuse_relu = fuse_relu

    def forward(self, x, z=None):
        """Take (N, H, W, C), contiguous, as its kernels do, also of gradients."""
        for tensor in (x, z):
            assert tensor is None or tensor.is_contiguous()
        y = super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()
        y.register_hook(self.check)
        if z is not None:
            assert self.fuse_relu
            y = y + z
        return F.relu(y) if self.fuse_relu else y

    def check(self, gradient):
        """See what comes back."""
        assert gradient.is_contiguous()


@pytest.fixture
def apex(monkeypatch):
    """apex, as if its groupbn were installed."""
    names = "apex", "apex.contrib", "apex.contrib.groupbn"
    modules = {name: ModuleType(name) for name in names}
    modules[names[-1]].BatchNorm2d_NHWC = BatchNorm2dNHWC
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


def setting(dtype="fp16", layout="channels_last", channels=64):
    """Make a setting of the bench."""
    return Setting(Site(("resnet-50",), True, (2, channels, 4, 4)), dtype, layout)  # noqa: FBT003  a join


@pytest.mark.parametrize("join", [False, True])
def test_apex_is_called_as_its_source_has_it(apex, join):
    """Activations and gradients reach it as (N, H, W, C), contiguous; what comes back is that of our operation."""
    torch.manual_seed(0)
    x, residual, *directions = (torch.randn(2, 4, 5, 3).contiguous(memory_format=torch.channels_last) for _ in range(4))
    inputs = [x.requires_grad_(), *([residual.requires_grad_()] if join else [])]
    found, expected = (
        [*outputs, *torch.autograd.grad(outputs, [*inputs, *module.parameters()], directions)]
        for module in (peers.Apex(4, "cpu"), BNReLUAdd(4, implementation="eager"))
        for outputs in [module(*inputs, fork=True)]
    )

    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"dtype": "bf16"}, "fp16 in channels last alone"),
        ({"layout": "contiguous"}, "fp16 in channels last alone"),
        ({"channels": 16}, "beyond the end of its mask"),
        ({"channels": 34}, "multiple of 4"),
    ],
)
def test_apex_is_timed_where_it_works(apex, changes, reason):
    """It is left out, with a reason, in other types and layouts, and where it would write out of bounds."""
    found = peers.without_apex(setting(**changes), "cuda")

    assert found is None if reason is None else reason in found


def test_apex_is_left_out_where_it_is_missing(monkeypatch):
    """Without a GPU, or without its extension, the reason says which."""
    monkeypatch.setitem(sys.modules, "apex", None)

    assert "needs a CUDA device" in peers.without_apex(setting(), "cpu")
    assert "not installed" in peers.without_apex(setting(), "cuda")


def test_pytorch_has_no_such_operation_of_its_own():
    """No operator of PyTorch's normalizes and rectifies floating point, as docs/kernels.md says."""
    names = [name for name in torch._C._dispatch_get_all_op_names() if "norm" in name.lower() or "bn_" in name.lower()]

    assert "aten::cudnn_batch_norm" in names
    assert not [
        name for name in names if "relu" in name.lower() and not name.startswith(("quantized::", "deeptwins::"))
    ]
    (schema,) = [s for s in torch._C._jit_get_schemas_for_operator("aten::cudnn_batch_norm") if not s.overload_name]
    assert [argument.name for argument in schema.arguments] == [
        "input", "weight", "bias", "running_mean", "running_var", "training", "exponential_average_factor", "epsilon",
    ]  # fmt: skip
