"""A stand-in for CUDA graphs on the CPU: operators are taped once, and played again on the very same memory.

As with a graph, nothing of Python runs when it is played: a number that changed meanwhile is not seen, a tensor that
was put in another's place is not seen either, and what was computed lies where it lay when it was taped. Unlike a
graph, taping computes; what it changed is therefore put back.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten


class Tape(TorchDispatchMode):
    """Tapes what is computed inside."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # by address: what stood there before it was changed
        self.made: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Compute, and note what was called, on what, and what came of it."""
        kwargs = kwargs or {}
        for tensor in self._written(func, args, kwargs):
            address = tensor.untyped_storage().data_ptr()
            if address not in self.made and address not in self.before:
                whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                self.before[address] = whole, whole.clone()
        out = func(*args, **kwargs)
        known = {t.untyped_storage().data_ptr() for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)}
        fresh = [
            t if isinstance(t, Tensor) and t.untyped_storage().data_ptr() not in known else None
            for t in tree_flatten(out)[0]
        ]
        self.made.update(t.untyped_storage().data_ptr() for t in fresh if t is not None)
        self.calls.append((func, *tree_flatten((args, kwargs)), fresh))
        return out

    def put_back(self) -> None:
        """Undo what was computed to what was there before."""
        for whole, content in self.before.values():
            whole.copy_(content)

    @torch.no_grad()
    def play(self) -> None:
        """Compute all of it again, into the same memory."""
        for func, flat, structure, fresh in self.calls:
            args, kwargs = tree_unflatten(flat, structure)
            for there, new in zip(fresh, tree_flatten(func(*args, **kwargs))[0], strict=True):
                if there is not None:
                    there.copy_(new)

    @staticmethod
    def _written(func, args, kwargs):
        arguments = func._schema.arguments
        given = [*zip(arguments, args, strict=False), *((a, kwargs[a.name]) for a in arguments if a.name in kwargs)]
        for argument, value in given:
            if argument.alias_info is not None and argument.alias_info.is_write:
                yield from (t for t in tree_flatten(value)[0] if isinstance(t, Tensor))
        if func is torch.ops.aten.native_batch_norm.default:  # whose schema is silent about its running statistics
            yield from args[3:5]


def captured(played: list) -> Callable:
    """Make a method in the place of `Lane._captured`; each time something is played, the list grows."""

    def capture(lane, work):
        tape, drawn = Tape(), torch.get_rng_state()
        with tape:
            work()
        gradients = [parameter.grad for parameter in lane._parameters]
        tape.put_back()
        torch.set_rng_state(drawn)

        def replay() -> None:
            played.append(lane)
            tape.play()
            for parameter, gradient in zip(lane._parameters, gradients, strict=True):
                parameter.grad = gradient

        return replay

    return capture
