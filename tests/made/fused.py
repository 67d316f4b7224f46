"""What the fused operation must give: the formulas, in double precision, and how far an implementation is from them."""

import math
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch

from deeptwins.kernels import BNReLUAdd

DIMS = (0, 2, 3)
FORMATS = {True: torch.channels_last, False: torch.contiguous_format}


@dataclass(frozen=True)
class Case:
    """A call of the operation, forward and backward."""

    shape: tuple[int, int, int, int] = (3, 5, 4, 3)
    dtype: torch.dtype = torch.float32
    parameters: torch.dtype | None = None  # of weight, bias and running statistics: float32 if x is of 16 bits
    last: bool = True  # channels, in memory
    residual: bool = True
    order: str = "add-relu"
    fork: bool = False
    training: bool = True
    weight: bool = True
    bias: bool = True
    momentum: float | None = 0.1
    eps: float = 1e-5
    offset: float = 1.0
    scale: float = 2.0
    seed: int = 0

    def module(self, implementation, device):
        """Make the module, with the case's weight, bias and running statistics."""
        dtype = self.parameters or (self.dtype if self.dtype.itemsize > 2 else torch.float32)
        module = BNReLUAdd(
            self.shape[1], self.eps, self.momentum, affine=self.weight, bias=self.bias, order=self.order,
            implementation=implementation, device=device, dtype=dtype,
        )  # fmt: skip
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for name, tensor in sorted(module.state_dict().items()):
                if tensor.is_floating_point():
                    drawn = torch.rand(self.shape[1], generator=generator, dtype=torch.float64)
                    tensor.copy_(drawn + 0.5 if name in {"weight", "running_var"} else 2 * drawn - 1)
        return module.train(self.training)

    def activation(self, number, offset=0.0, scale=1.0, device="cpu"):
        """Draw one of the case's tensors of x's shape."""
        generator = torch.Generator().manual_seed(1000 * (self.seed + 1) + number)
        drawn = torch.randn(self.shape, generator=generator, dtype=torch.float64) * scale + offset
        return drawn.to(device, self.dtype).contiguous(memory_format=FORMATS[self.last])

    def tensors(self, device="cpu"):
        """Draw x, the residual, and the gradients of y and of its second use; None where there is none."""
        return (
            self.activation(0, self.offset, self.scale, device),
            self.activation(1, device=device) if self.residual else None,
            self.activation(2, device=device),
            self.activation(3, device=device) if self.fork else None,
        )


def run(module, x, residual, dy, other=None):
    """Run forward and backward: y, the gradients, the running statistics afterwards. The inputs stay as they are."""
    inputs = [tensor for tensor in (x, residual, dy, other) if tensor is not None]
    before = [tensor.clone() for tensor in inputs]
    x = x.detach().requires_grad_()
    residual = residual if residual is None else residual.detach().requires_grad_()
    uses = [module(x, residual)] if other is None else list(module(x, residual, fork=True))
    torch.autograd.backward(uses, [dy, other][: len(uses)])
    for tensor, copy in zip(inputs, before, strict=True):
        torch.testing.assert_close(tensor, copy, rtol=0, atol=0, equal_nan=True)
    found = {
        "y": uses[0].detach(), "dx": x.grad, "dr": None if residual is None else residual.grad,
        "dw": None if module.weight is None else module.weight.grad,
        "db": None if module.bias is None else module.bias.grad,
        "running_mean": module.running_mean, "running_var": module.running_var,
    }  # fmt: skip
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def reference(module, x, residual, dy, other=None):
    """Evaluate the formulas in float64: the values of `run`, and for each what an error is measured by.

    mean = sum(x) / M, var = sum((x - mean)^2) / M, xhat = (x - mean) / sqrt(var + eps), z = w * xhat + b (+ r);
    dx = w / sqrt(var + eps) * (g - sum(g) / M - xhat * sum(g * xhat) / M), where g is what passed ReLU. The measure is
    the largest value, or the largest that sums of as large terms at random have, since what cancels cannot be exact.
    """
    if other is not None:
        dy = dy + other  # rounded, as autograd's own sum
    x, dy = x.double(), dy.double()
    r = 0 if residual is None else residual.double()
    w = torch.ones(()) if module.weight is None else module.weight.detach().double().view(1, -1, 1, 1)
    b = torch.zeros(()) if module.bias is None else module.bias.detach().double().view(1, -1, 1, 1)
    count = x.numel() // x.shape[1]
    mean, var = x.mean(DIMS), x.var(DIMS, correction=0)
    found, measures = {}, {}
    if module.running_mean is not None:
        rate = 1 / (1 + int(module.num_batches_tracked)) if module.momentum is None else module.momentum
        old, old_var = module.running_mean.double(), module.running_var.double()
        if module.training:
            found["running_mean"] = (1 - rate) * old + rate * mean
            found["running_var"] = (1 - rate) * old_var + rate * var * count / (count - 1)
            measures["running_mean"] = max(found["running_mean"].abs().max(), rate * var.max().sqrt())
        else:
            found["running_mean"], found["running_var"] = mean, var = old, old_var
    root = (var + module.epsilon).rsqrt().view(1, -1, 1, 1)
    xhat = (x - mean.view(1, -1, 1, 1)) * root
    z = w * xhat + b
    first = module.order == "relu-add"
    rectified = z if first else z + r
    keep = ~(rectified <= 0)
    found["y"] = torch.where(keep, rectified, 0) + (r if first else 0)
    measures["y"] = ((w * xhat).square() + b.square() + torch.as_tensor(r).square()).max().sqrt()
    g = torch.where(keep, dy, 0)
    for name, terms in (("db", g), ("dw", g * xhat)):
        found[name] = terms.sum(DIMS)
        measures[name] = torch.maximum(found[name].abs(), terms.square().sum(DIMS).sqrt()).max()
    gradient = g
    if module.training:
        gradient = g - (found["db"].view(1, -1, 1, 1) + xhat * found["dw"].view(1, -1, 1, 1)) / count
    found["dx"] = w * root * gradient
    measures["dx"] = (w * root * g).abs().max()
    found["dr"] = dy if first else g
    return {name: (value, measures.get(name, value.abs().max())) for name, value in found.items()}


def error(found, expected, measure):
    """Give the largest error, in units of the measure."""
    farthest = (found.double() - expected).abs().max().item() / max(measure.item(), 1e-300)
    return math.inf if math.isnan(farthest) else farthest


def floor(dtype):
    """Give the error that any implementation may have: half a unit in the last place stored, and that of the sums."""
    return {torch.float64: 1e-13, torch.float32: 1e-6}.get(dtype, torch.finfo(dtype).eps / 2 + 1e-6)


def errors(case, implementation, device="cpu"):
    """Give each result's error and floor."""
    module = case.module(implementation, device)
    tensors = case.tensors(device)
    expected = reference(module, *tensors)
    results = run(module, *tensors)
    assert module.num_batches_tracked.item() == case.training
    return {name: (error(found, *expected[name]), floor(found.dtype)) for name, found in results.items()}


def assert_as_exact_as_eager(case, device="cpu", implementation="triton"):
    """Assert the rule of errors: of no result is the error larger than eager's, or else than the floor."""
    eager = errors(case, "eager", device)
    found = errors(case, implementation, device)
    worse = {name: (e, eager[name][0]) for name, (e, least) in found.items() if not e <= max(eager[name][0], least)}
    assert not worse, f"{case}: errors (of {implementation}, of eager): {worse}"


# --- Triton's interpreter ---------------------------------------------------------------------------------------------


def convert(data, source, target, mode, *, otherwise):
    """Convert between float32 and bfloat16 as hardware does: to the nearest, ties to even; NaN stays NaN."""
    if (str(source), str(target)) == ("bf16", "fp32"):
        return (data.astype(np.uint32) << 16).view(np.float32)
    if (str(source), str(target)) != ("fp32", "bf16"):
        return otherwise(data, source, target, mode)
    bits = np.ascontiguousarray(data).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    quiet = bits >> 16 | 0x40
    return np.where(np.isnan(data), quiet, rounded).astype(np.uint16)


def extent(tensor):
    """Give where a tensor begins and ends in memory."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    span = 1 + sum((size - 1) * stride for size, stride in steps) if tensor.numel() else 0
    return tensor.data_ptr(), tensor.data_ptr() + span * tensor.element_size()


@contextmanager
def interpreted():
    """Let Triton's interpreter round, and count beyond 2^31, as compiled kernels do, in half the time.

    What kernels read and write must lie in the tensors they are given.
    """
    import triton.language as tl  # noqa: PLC0415  once it is known how Triton is to run
    from triton.runtime import interpreter  # noqa: PLC0415

    convert_float, patch_core = interpreter._convert_float, interpreter._patch_lang_core
    builder, launch = interpreter.InterpreterBuilder, interpreter.GridExecutor.__call__
    load, store = builder.create_masked_load, builder.create_masked_store
    patched, extents = set(), []

    def checked(access):
        def call(self, pointers, *rest):
            mask = rest[0 if access is load else 1]
            addresses = pointers.data[np.broadcast_to(mask.data.astype(bool), pointers.data.shape)]
            if addresses.size:
                low, high = int(addresses.min()), int(addresses.max())
                assert any(begin <= low and high < end for begin, end in extents), "outside the tensors"
            return access(self, pointers, *rest)

        return call

    def wide(number):
        return tl.tensor(interpreter.TensorHandle(np.array([number], dtype=np.int64), tl.int64), tl.int64)

    def core_patched(lang, scope):
        patch_core(lang, scope)
        plain = lang.range

        def counted(*ends, **options):  # in the type that the ends have together, not Python's
            numbers = plain(*ends, **options)
            return map(wide, numbers) if any(getattr(end, "dtype", None) == tl.int64 for end in ends) else numbers

        scope.set_attr(lang, "range", counted)

    def launched(self, *args, **kwargs):
        patched.clear()
        extents[:] = [extent(arg) for arg in args if isinstance(arg, torch.Tensor)]
        return launch(self, *args, **kwargs)

    def called(self, *args, **kwargs):
        if id(self.fn.__globals__) not in patched:  # the interpreter itself patches Triton at every call
            patched.add(id(self.fn.__globals__))
            interpreter._patch_lang(self.fn)
        return self.rewrite()(*args, **kwargs)

    with (
        mock.patch.object(interpreter, "_convert_float", lambda *a: convert(*a, otherwise=convert_float)),
        mock.patch.object(interpreter, "_patch_lang_core", core_patched),
        mock.patch.object(builder, "create_masked_load", checked(load)),
        mock.patch.object(builder, "create_masked_store", checked(store)),
        mock.patch.object(interpreter.GridExecutor, "__call__", launched),
        mock.patch.object(interpreter.InterpretedFunction, "__call__", called),
        np.errstate(all="ignore"),
    ):
        yield
