"""A training step, op by op: which layer calls it, in which direction, what it moves and computes, how long it takes.

The step is the trainer's own. A dispatch mode sees every op below autograd, notes its arguments, and calls it inside a
labelled range; by the label it finds the op's times in the profiler's events. Forward, a stack of hooks knows the
layer. Backward, the autograd node that runs tells it: a node gets its number while its layer runs forward.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.optim import optimizer as optimizers
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from deeptwins.profile.clock import timed
from deeptwins.profile.work import kind_of, moved
from deeptwins.records.profiles import BATCH, LOSS, OPTIMIZER

RANGE = "deeptwins::op "
ENDING = "ending"  # what belongs to no module inside the net

Place = tuple[str, str]
"""A layer, or another part of the step, and the direction."""


@dataclass(frozen=True)
class Call:
    """An op as it was called: where, and what it must do."""

    layer: str
    direction: str
    op: str
    moved: int
    """Bytes."""
    flops: int

    @property
    def kind(self) -> str:
        """What kind of work it is."""
        return kind_of(self.op, self.layer, self.moved)


@dataclass(frozen=True)
class Spent:
    """What an op's range cost: microseconds, launches, and the microseconds of each kernel."""

    time_us: float
    launches: int
    kernels: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Profiled:
    """A step under the profiler: how long it took by the clock, and its ops in order, each with its cost."""

    seconds: float
    ops: list[tuple[Call, Spent]]


@dataclass
class Sum:
    """All calls of an op in a layer and direction, in one step."""

    calls: float = 0
    launches: float = 0
    time_us: float = 0
    bytes: float = 0
    """Read and written."""
    flops: float = 0
    roofline_us: float = 0


Key = tuple[str, ...]


class Watch(TorchDispatchMode):
    """Notes the calls of a net's training step. It is entered anew for every step, with `calls` emptied."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self._parameters = {
            id(parameter): name.rpartition(".")[0] or ENDING for name, parameter in net.named_parameters()
        }
        self._running: list[str] = []  # layers, the innermost last
        self._optimizing = False
        self._forwarded = False  # whether the net has run in this step
        self._of_node: dict[int, str] = {}  # the layer of an autograd node, by its sequence number
        self._nodes = 0
        self._last = BATCH

    @contextmanager
    def step(self, net: nn.Module) -> Iterator[list[Call]]:
        """Watch one step of the net; gives the list to which its calls are added."""
        self.calls, self._forwarded, self._of_node = [], False, {}
        self._nodes = torch._C._autograd._get_sequence_nr()  # noqa: SLF001  private, and used by PyTorch's own modes
        handles: list[Any] = []
        for name, module in net.named_modules():
            handles += [
                module.register_forward_pre_hook(partial(self._enter, name or ENDING)),
                module.register_forward_hook(self._leave, always_call=True),
            ]
        handles += [
            optimizers.register_optimizer_step_pre_hook(partial(self._optimize, True)),  # noqa: FBT003
            optimizers.register_optimizer_step_post_hook(partial(self._optimize, False)),  # noqa: FBT003
        ]
        try:
            with self:
                yield self.calls
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(  # types as PyTorch's own modes have them: none
        self,
        func: Any,  # noqa: ANN401
        _types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an op inside its range, and note it."""
        kwargs = kwargs or {}
        if func.namespace == "profiler":
            return func(*args, **kwargs)
        layer, direction = self._place()
        number = len(self.calls)
        with record_function(f"{RANGE}{number}"):
            out = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)  # noqa: SLF001
        flops = int(count(*args, **kwargs, out_val=out)) if count else 0
        name = func._schema.name.split("::")[1]  # noqa: SLF001
        self.calls.append(Call(layer, direction, name, moved(func, args, kwargs, out), flops))
        return out

    def _place(self) -> Place:
        if torch._C._current_graph_task_id() != -1:  # noqa: SLF001
            node: Any = torch._C._current_autograd_node()  # noqa: SLF001
            variable = getattr(node, "variable", None)
            if variable is not None:  # a gradient on its way into a parameter
                self._last = self._parameters.get(id(variable), self._last)
            elif node is not None:
                self._last = self._of_node.get(node._sequence_nr(), self._last)  # noqa: SLF001
            return self._last, "backward"
        if self._optimizing:
            return OPTIMIZER, "optimizer"
        if self._running:
            self._last = self._running[-1]
        else:
            self._last = LOSS if self._forwarded else BATCH
        nodes = torch._C._autograd._get_sequence_nr()  # noqa: SLF001
        self._of_node |= dict.fromkeys(range(self._nodes, nodes), self._last)
        self._nodes = nodes
        return self._last, "forward"

    def _enter(self, name: str, _module: nn.Module, _inputs: Any) -> None:  # noqa: ANN401
        self._forwarded = True
        self._running.append(name)

    def _leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:  # noqa: ANN401
        self._running.pop()

    def _optimize(self, now: bool, *_: Any) -> None:  # noqa: ANN401, FBT001
        self._optimizing = now


def profiled(step: Callable[[], None], net: nn.Module, device: torch.device) -> Profiled:
    """Run one step of the net under the profiler."""
    watch = Watch(net)
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # keeps the profiler's messages out of our output
    # acc_events: without it PyTorch 2.11 warns that it drops the events of earlier cycles, though there is one here.
    with profile(activities=activities, acc_events=True) as profiler, watch.step(net) as calls:
        seconds = timed(step, device)
    spent: dict[int, Spent] = {}
    for event in profiler.events() or ():
        if event.name.startswith(RANGE) and event.device_type.name == "CPU":
            number = int(event.name.removeprefix(RANGE))
            spent[number] = _spent(event, calls[number], device)
    return Profiled(seconds, [(call, spent[number]) for number, call in enumerate(calls)])


def _spent(event: FunctionEvent, call: Call, device: torch.device) -> Spent:
    """Sum up a range: on a GPU the kernels that were launched in it, on a CPU the ops, by their own time."""
    kernels: list[tuple[str, float]] = []
    if device.type == "cuda":
        launched = (kernel for part in _within(event) for kernel in part.kernels)
        kernels += [(kernel.name, kernel.duration) for kernel in launched if not kernel.name.startswith(RANGE)]
        launches = len(kernels)
    else:
        ops = (part for part in _within(event) if part is not event)
        kernels += [(op.name.removeprefix("aten::"), op.self_cpu_time_total) for op in ops]
        launches = 1 if call.moved else 0
    return Spent(sum(time for _, time in kernels), launches, tuple(kernels))


def _within(event: FunctionEvent) -> Iterator[FunctionEvent]:
    """An event, and all events inside it."""
    yield event
    for child in event.cpu_children:
        yield from _within(child)


def sums(steps: list[Profiled], roofline_s: Callable[[int, int], float]) -> tuple[dict[Key, Sum], dict[Key, Sum]]:
    """Sum up every step by op and by kernel, and take the median over steps.

    Args:
        steps: the result of `profiled` for each step.
        roofline_s: the least seconds for a number of bytes and of FLOPs.

    Returns:
        Sums by (layer, direction, kind, op), and by (kind, kernel); the latter have `calls` and `time_us` alone.
    """
    by_op: list[dict[Key, Sum]] = []
    by_kernel: list[dict[Key, Sum]] = []
    for step in steps:
        ops: dict[Key, Sum] = defaultdict(Sum)
        kernels: dict[Key, Sum] = defaultdict(Sum)
        for call, spent in step.ops:
            row = ops[call.layer, call.direction, call.kind, call.op]
            row.calls += 1
            row.launches += spent.launches
            row.time_us += spent.time_us
            row.bytes += call.moved
            row.flops += call.flops
            row.roofline_us += 1e6 * roofline_s(call.moved, call.flops)
            for name, time_us in spent.kernels:
                kernels[call.kind, name].calls += 1
                kernels[call.kind, name].time_us += time_us
        by_op.append(ops)
        by_kernel.append(kernels)
    return _medians(by_op), _medians(by_kernel)


def _medians(steps: list[dict[Key, Sum]]) -> dict[Key, Sum]:
    """Take the median over steps, field by field; a key that a step lacks (it dropped a block) counts as 0 there.

    Times are rounded to nanoseconds; all else is whole, or half.
    """
    nothing = Sum()
    medians = {}
    for key in dict.fromkeys(key for step in steps for key in step):
        rows = [vars(step.get(key, nothing)) for step in steps]
        medians[key] = Sum(**{name: round(median(row[name] for row in rows), 3) for name in vars(nothing)})
    return medians
