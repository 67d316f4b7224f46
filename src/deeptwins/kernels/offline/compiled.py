"""Exact metrics without a GPU: the kernels compiled offline for GPUs that are not there, and read in machine code."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deeptwins import __version__
from deeptwins.errors import InputError
from deeptwins.kernels.bn_relu_add.traffic import Site
from deeptwins.kernels.offline import assembly, floors
from deeptwins.kernels.offline.cases import ITEMSIZE, LAYOUTS, SHAPES, SITES, Shape
from deeptwins.kernels.offline.devices import GPU, GPUS, WARP, occupancy
from deeptwins.kernels.offline.specialization import PREFIX, Specialization, launches, specialize
from deeptwins.records.kernels import Compiled, Device, Kernel

TOOLS = ("ptxas", "ptxas_blackwell", "cuobjdump", "nvdisasm")


@dataclass(frozen=True)
class Planned:
    """A row of the table, to be measured."""

    gpu: GPU
    dtype: str
    layout: str
    shape: Shape
    programs: int
    sites: tuple[str, ...]
    built: Specialization


@dataclass(frozen=True)
class Metrics:
    """What a compiled kernel is made of; the fields are those of `kernel_records.Kernel`."""

    registers: int
    stack_bytes: int
    spill_instructions: int
    shared_bytes: int
    instructions: int
    barriers: int
    tensors_read: int
    tensors_written: int
    vector_share: float
    narrowest_access_bits: int
    opcodes_sha256: str


def unavailable() -> str | None:
    """Say in one line why nothing can be compiled; None if it can."""
    if importlib.util.find_spec("triton") is None:
        return "kernels cannot be compiled here: the package triton is not installed (it exists for Linux)"
    return None


def plan(
    shapes: Mapping[str, Sequence[Shape]] = SHAPES,
    layouts: Sequence[str] = LAYOUTS,
    sites: Mapping[str, Site] = SITES,
    gpus: Sequence[GPU] = GPUS,
) -> list[Planned]:
    """List what is to be compiled; sites that launch the same kernel share a row.

    Args:
        shapes: of the activations, by data type.
        layouts: of the activations.
        sites: by name.
        gpus: to compile for.

    Raises:
        InputError: there is no Triton.
    """
    if reason := unavailable():
        raise InputError(reason)
    rows = []
    for gpu, dtype, layout in ((gpu, dtype, layout) for gpu in gpus for dtype in shapes for layout in layouts):
        for shape in shapes[dtype]:
            users: dict[tuple[Specialization, int], list[str]] = {}
            for name, site in sites.items():
                for launch in launches(site, dtype, layout, shape, gpu.processors):
                    programs = launch.grid[0] * launch.grid[1]
                    users.setdefault((specialize(launch, gpu.capability), programs), []).append(name)
            rows += [
                Planned(gpu, dtype, layout, shape, programs, tuple(names), built)
                for (built, programs), names in users.items()
            ]
    return rows


def compile_all(
    planned: Sequence[Planned], workers: int, told: Callable[[], object] = lambda: None
) -> tuple[Kernel, ...]:
    """Compile, each distinct kernel once, in so many processes; Triton's own cache keeps the binaries.

    Args:
        planned: from `plan`.
        workers: processes.
        told: is called after every row that is done.

    Raises:
        InputError: a process was killed.
    """
    rows = Counter(each.built for each in planned)
    metrics: dict[Specialization, Metrics] = {}
    with ProcessPoolExecutor(
        min(workers, len(rows)),
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),  # at Ctrl-C they end without a word, as their compilers do
    ) as pool:
        try:
            with _uninterpreted():
                waiting = {pool.submit(_measure, built): built for built in rows}
            for future in as_completed(waiting):
                built = waiting[future]
                metrics[built] = future.result()
                for _ in range(rows[built]):
                    told()
        except BrokenProcessPool:
            suspects = [each for each in planned if each.built not in metrics][:workers]  # they are begun in this order
            raise InputError(f"the compiler died, or was killed, at {' or '.join(map(_named, suspects))}") from None
        finally:
            pool.shutdown(cancel_futures=True)
    return tuple(_row(each, metrics[each.built]) for each in planned)


def _named(planned: Planned) -> str:
    shape = "x".join(map(str, planned.shape))
    return (
        f"{planned.built.kernel} ({planned.sites[0]}, {planned.dtype}, {planned.layout}, {shape}, {planned.gpu.arch})"
    )


@contextmanager
def _uninterpreted() -> Iterator[None]:
    """Start processes without `TRITON_INTERPRET`: what is interpreted cannot be compiled.

    Triton reads it when it is imported, which is before a new process could remove it from its own environment.
    """
    interpreted = os.environ.pop("TRITON_INTERPRET", None)
    try:
        yield
    finally:
        if interpreted is not None:
            os.environ["TRITON_INTERPRET"] = interpreted


def _measure(built: Specialization) -> Metrics:
    from deeptwins.kernels.bn_relu_add import kernels as bn_relu_add_triton  # noqa: PLC0415

    return measure(getattr(bn_relu_add_triton, PREFIX + built.kernel), built)


def measure(kernel: Any, built: Specialization) -> Metrics:  # noqa: ANN401  Triton has no types
    """Compile a kernel, a `triton.jit` function that is not interpreted, and read what came of it."""
    import triton  # noqa: PLC0415
    import triton.language as tl  # noqa: PLC0415
    from triton.backends.compiler import GPUTarget  # noqa: PLC0415
    from triton.compiler import ASTSource  # noqa: PLC0415

    types, names = dict(built.signature), kernel.arg_names
    constants = {name: tl.dtype(value) if isinstance(value, str) else value for name, value in built.constants}
    source = ASTSource(
        fn=kernel,
        signature={name: types.get(name, "constexpr") for name in names},
        constexprs=constants,
        attrs={(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name in built.aligned},
    )
    target = GPUTarget("cuda", built.capability, WARP)
    done = triton.compile(source, target=target, options={"num_warps": built.warps})
    usage, disassembly = _read(done.asm["cubin"], triton.knobs.nvidia)
    code = assembly.opcodes(disassembly)
    parameters = [name for name in names if name in types]
    activations = [parameters.index(name) for name in built.activations]
    moved = assembly.traffic(assembly.accesses(done.asm["ptx"]), activations)
    return Metrics(
        registers=usage[0],
        stack_bytes=usage[1],
        spill_instructions=assembly.count(code, "LDL", "STL"),
        shared_bytes=done.metadata.shared,
        instructions=len(code),
        barriers=assembly.count(code, "BAR"),
        tensors_read=len(moved.read),
        tensors_written=len(moved.written),
        vector_share=moved.vector_share,
        narrowest_access_bits=moved.narrowest_bits,
        opcodes_sha256=assembly.sha256(code),
    )


def _read(cubin: bytes, tools: Any) -> tuple[tuple[int, int], str]:  # noqa: ANN401
    """Return a binary's registers and bytes of stack a thread, and its disassembly."""
    with TemporaryDirectory(prefix="deeptwins-") as folder:
        binary = Path(folder, "kernel.cubin")
        binary.write_bytes(cubin)
        usage = _output(tools.cuobjdump.path, "-res-usage", str(binary))
        disassembly = _output(tools.nvdisasm.path, "-c", "-ndf", str(binary))
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise ValueError(f"cuobjdump names no registers: {usage}")
    return (int(found[1]), int(found[2])), disassembly


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  Triton's own tools


def _row(planned: Planned, metrics: Metrics) -> Kernel:
    """Complete a row of the table."""
    gpu, built = planned.gpu, planned.built
    _, channels, height, width = planned.shape
    contiguous = channels if planned.layout == "channels_last" else height * width
    held = occupancy(gpu, metrics.registers, metrics.shared_bytes, built.warps)
    return Kernel.model_validate(
        {
            "kernel": built.kernel,
            "sites": ", ".join(planned.sites),
            "dtype": planned.dtype,
            "layout": planned.layout,
            "shape": "x".join(map(str, planned.shape)),
            "arch": gpu.arch,
            "programs": planned.programs,
            **vars(metrics),
            "vectors_possible": contiguous * ITEMSIZE[planned.dtype] * 8 % assembly.FULL_BITS == 0,
            "resident_warps": held.warps,
            "occupancy_share": held.warps / gpu.warps,
            "occupancy_limit": held.limit,
        }
    )


def record(kernels: tuple[Kernel, ...]) -> Compiled:
    """Put all that there is to say together."""
    import triton  # noqa: PLC0415

    versions = {"deeptwins": __version__, "triton": triton.__version__}
    versions |= {name.replace("_", "-"): getattr(triton.knobs.nvidia, name).version for name in TOOLS}
    sites = floors.sites()
    return Compiled(
        made_with=versions,
        devices=tuple(
            Device(
                device=gpu.name,
                arch=gpu.arch,
                processors=gpu.processors,
                warps_per_processor=gpu.warps,
                bandwidth_bytes_per_s=gpu.bandwidth,
            )
            for gpu in GPUS
        ),
        sites=sites,
        floors=floors.floors(sites),
        kernels=kernels,
    )
