"""What code asks of PyTorch, counted at its dispatcher, and what torch.compile makes of it: the same on any machine.

This is the yardstick of `exact_metrics.py`, and so stays out of the package: the gate measures both commits by head's.
The package counts bytes by itself for profiles, in `deeptwins.profile.work`.
"""

import logging
import sys
import weakref
from contextlib import ExitStack
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

UNWRITTEN = ("empty", "new_empty")  # operators whose names begin so allocate memory and write nothing


class Counter(TorchDispatchMode):
    """Count the operators that compute something; views are not counted."""

    def __init__(self):
        super().__init__()
        self.operators = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count a call."""
        self.operators += not looks(func)
        return func(*args, **(kwargs or {}))


class Meter(Counter):
    """Count also what operators move and compute, and the memory that they take.

    The bytes of a tensor are those of its elements, or of its memory where expanded elements share it. Memory that an
    operator allocates and gives back before it returns is not seen.
    """

    def __init__(self, namespace=""):
        """Begin at 0. Of operators of `namespace`, what they call on a CPU is counted, and not they themselves."""
        super().__init__()
        self.namespace = namespace
        self.allocations = self.live_bytes = self.peak_bytes = 0
        self.bytes_read = self.bytes_written = self.flops = 0
        self._held = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count a call."""
        kwargs = kwargs or {}
        if self.namespace and func.namespace == self.namespace:
            with self:
                return func._op_dk(torch.DispatchKey.CPU, *args, **kwargs)
        out = super().__torch_dispatch__(func, types, args, kwargs)
        inputs, outputs = tensors((args, kwargs)), tensors(out)
        before = {storage_of(tensor) for tensor in inputs}
        fresh = [tensor for tensor in outputs if storage_of(tensor) not in before]
        for tensor in fresh:
            self._allocated(tensor.untyped_storage())
        if not looks(func) and not name_of(func).startswith(UNWRITTEN):
            written = distinct([*fresh, *changed(func, args, kwargs)])
            self.bytes_written += sum(map(bytes_of, written))
            if written or not outputs:  # else it returns its inputs as they are
                self.bytes_read += sum(map(bytes_of, distinct(inputs)))
        if count := flop_registry.get(func.overloadpacket):
            self.flops += count(*args, **kwargs, out_val=out)
        return out

    def _allocated(self, storage):
        """Count memory until it is given back."""
        key, size = storage._cdata, storage.nbytes()
        if not size or key in self._held:
            return

        def freed(_reference):
            del self._held[key]
            self.live_bytes -= size

        self._held[key] = weakref.ref(storage, freed)
        self.allocations += 1
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def looks(func):
    """Whether an operator computes nothing, and only returns views of its inputs."""
    returned = [argument.alias_info for argument in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in returned)


def name_of(func):
    """Return an operator's name."""
    return func._schema.name.split("::")[1]


def tensors(tree):
    """List the tensors in arguments or results."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def changed(func, args, kwargs):
    """List the arguments that an operator changes in place."""
    arguments = func._schema.arguments
    values = [args[i] if i < len(args) else kwargs.get(argument.name) for i, argument in enumerate(arguments)]
    aliases = [argument.alias_info for argument in arguments]
    return tensors(
        [value for value, alias in zip(values, aliases, strict=True) if alias is not None and alias.is_write]
    )


def storage_of(tensor):
    """Return a key for the memory of a tensor, unique among all memory in use."""
    return tensor.untyped_storage()._cdata


def distinct(some):
    """Leave out tensors that consist of the very same elements as another."""
    return {(storage_of(t), t.storage_offset(), tuple(t.shape), t.stride()): t for t in some}.values()


def bytes_of(tensor):
    """Count the bytes of a tensor."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


class Inductor:
    """Inductor generating code for a CPU, of which nothing is compiled. Its private parts are used here only."""

    def __init__(self):
        self.kernels = self.launches = 0
        self._patches = ExitStack()

    def __enter__(self):
        """Begin at 0, with no cache that could spare Inductor the work."""
        import torch._functorch.config  # noqa: PLC0415  all of this takes seconds to load
        from torch._dynamo.utils import counters  # noqa: PLC0415
        from torch._inductor import async_compile, compile_fx, config, metrics  # noqa: PLC0415

        torch.compiler.reset()
        counters.clear()
        metrics.reset()
        self._counters, self._metrics, log = counters, metrics, compile_fx.inductor_metrics_log
        # Code as for a processor without vector instructions, whichever this one is. The compiler is never called, so
        # that any program with the option --version can stand in for it.
        same = {"cpp.vec_isa_ok": False, "cpp.threads": 1, "cpp.cxx": (None, sys.executable)}
        caches = {"fx_graph_cache": False, "compile_threads": 1}
        enter = self._patches.enter_context
        enter(config.patch({**same, **caches}))
        enter(torch._functorch.config.patch({"enable_autograd_cache": False}))
        enter(mock.patch.object(async_compile.AsyncCompile, "cpp_pybinding", self._compile))
        enter(mock.patch.object(log, "isEnabledFor", lambda level: level >= logging.INFO))  # bytes, for its own log
        enter(mock.patch.object(log, "info"))
        return self

    def __exit__(self, *raised):
        """Put back what was replaced."""
        self._patches.close()

    def _compile(self, *_source):
        """Stand in for the compiler of C++: a kernel that does nothing."""
        self.kernels += 1
        return self._launch

    def _launch(self, *_arguments):
        self.launches += 1

    def counted(self):
        """Return what was generated.

        Raises:
            RuntimeError: nothing was. This PyTorch generates code in another way.
        """
        if not self.kernels:
            raise RuntimeError("torch.compile generated no kernel where it is looked for")
        return {
            "graphs": self._counters["stats"]["unique_graphs"],
            "graph_breaks": sum(self._counters["graph_break"].values()),
            "kernels": self.kernels,
            "bytes_moved": self._metrics.num_bytes_accessed,
        }
