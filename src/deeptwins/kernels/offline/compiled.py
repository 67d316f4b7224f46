"""Exact metrics without a GPU: the kernels are compiled for GPUs that are not there, and their machine code is read."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deeptwins import __version__
from deeptwins.errors import InputError, naming
from deeptwins.kernels.bn_relu_add.traffic import Site
from deeptwins.kernels.formats import DTYPES, LAYOUTS
from deeptwins.kernels.offline import assembly, floors
from deeptwins.kernels.offline.cases import SHAPES, SITES, Shape
from deeptwins.kernels.offline.devices import GPU, GPUS, WARP, occupancy
from deeptwins.kernels.offline.specialization import PREFIX, Specialization, launches, specialize
from deeptwins.records.kernels import FULL_BITS, Compiled, Device, Kernel

TOOLS = ("ptxas", "ptxas_blackwell", "cuobjdump", "nvdisasm")


@dataclass(frozen=True)
class Planned:
    """A row of the table that is to be measured."""

    gpu: GPU
    dtype: str
    layout: str
    shape: Shape
    programs: int
    sites: tuple[str, ...]
    built: Specialization


@dataclass(frozen=True)
class Metrics:
    """What a compiled kernel is made of; the fields are also those of `records.kernels.Kernel`."""

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
    layouts: Iterable[str] = LAYOUTS,
    sites: Mapping[str, Site] = SITES,
    gpus: Sequence[GPU] = GPUS,
) -> list[Planned]:
    """List the rows that are to be measured; sites that launch the same kernel share a row.

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
    for gpu, dtype, layout in product(gpus, shapes, layouts):
        for shape in shapes[dtype]:
            # The sites that use each specialization, in as many programs.
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
    planned: Sequence[Planned], workers: int, measured: Callable[[], object] = lambda: None
) -> tuple[Kernel, ...]:
    """Compile every distinct kernel once, in several processes; Triton's own cache keeps the binaries.

    Args:
        planned: from `plan`.
        workers: how many processes.
        measured: called after every row that has been measured.

    Raises:
        InputError: a process was killed.
    """
    rows = Counter(row.built for row in planned)
    metrics: dict[Specialization, Metrics] = {}
    with ProcessPoolExecutor(
        min(workers, len(rows)),
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),  # at Ctrl-C they end without a traceback, as their compilers do
    ) as pool:
        try:
            with _uninterpreted():
                waiting = {pool.submit(_measure, built): built for built in rows}
            for future in as_completed(waiting):
                built = waiting[future]
                metrics[built] = future.result()
                for _ in range(rows[built]):
                    measured()
        except BrokenProcessPool:
            # Kernels are begun in the order of the plan, so that it died at one of the first that are not done.
            suspects = [row for row in planned if row.built not in metrics][:workers]
            raise InputError(f"the compiler died, or was killed, at {' or '.join(map(_named, suspects))}") from None
        finally:
            pool.shutdown(cancel_futures=True)
    return tuple(_row(row, metrics[row.built]) for row in planned)


def _named(planned: Planned) -> str:
    shape = "x".join(map(str, planned.shape))
    return (
        f"{planned.built.kernel} ({planned.sites[0]}, {planned.dtype}, {planned.layout}, {shape}, {planned.gpu.arch})"
    )


@contextmanager
def _uninterpreted() -> Iterator[None]:
    """Start processes without `TRITON_INTERPRET`: a kernel that is interpreted cannot be compiled.

    Triton reads the variable when it is imported, before a new process could remove it from its own environment.
    """
    interpreted = os.environ.pop("TRITON_INTERPRET", None)
    try:
        yield
    finally:
        if interpreted is not None:
            os.environ["TRITON_INTERPRET"] = interpreted


def _measure(built: Specialization) -> Metrics:
    from deeptwins.kernels.bn_relu_add import kernels  # noqa: PLC0415

    return measure(getattr(kernels, PREFIX + built.kernel), built)


def measure(kernel: Any, built: Specialization) -> Metrics:  # noqa: ANN401  Triton has no types
    """Compile a kernel, a `triton.jit` function that is not interpreted, and read the binary."""
    import triton  # noqa: PLC0415
    import triton.language as tl  # noqa: PLC0415
    from triton.backends.compiler import GPUTarget  # noqa: PLC0415
    from triton.compiler import ASTSource  # noqa: PLC0415

    # Compile, as Triton's just-in-time compiler would for such a launch.
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
    # Read the machine code, and in PTX how the activations are accessed.
    binary = _read(done.asm["cubin"], triton.knobs.nvidia)
    code = assembly.opcodes(binary.disassembly)
    parameters = [name for name in names if name in types]
    activations = [parameters.index(name) for name in built.activations]
    moved = assembly.traffic(assembly.accesses(done.asm["ptx"]), activations)
    return Metrics(
        registers=binary.registers,
        stack_bytes=binary.stack_bytes,
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


@dataclass(frozen=True)
class Binary:
    """What NVIDIA's tools print of a compiled kernel."""

    registers: int
    """Per thread."""
    stack_bytes: int
    """Per thread."""
    disassembly: str


def _read(cubin: bytes, tools: Any) -> Binary:  # noqa: ANN401
    with TemporaryDirectory(prefix="deeptwins-") as folder:
        file = Path(folder, "kernel.cubin")
        with naming(file):
            file.write_bytes(cubin)
        usage = _output(tools.cuobjdump.path, "-res-usage", str(file))
        disassembly = _output(tools.nvdisasm.path, "-c", "-ndf", str(file))
    match = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if match is None:
        raise ValueError(f"cuobjdump names no registers: {usage}")
    return Binary(int(match[1]), int(match[2]), disassembly)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  Triton's own tools


def _row(planned: Planned, metrics: Metrics) -> Kernel:
    """Complete a row of the table."""
    gpu, built = planned.gpu, planned.built
    _, channels, height, width = planned.shape
    row_bits = 8 * DTYPES[planned.dtype].itemsize * (channels if planned.layout == "channels_last" else height * width)
    resident = occupancy(gpu, metrics.registers, metrics.shared_bytes, built.warps)
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
            "vectors_possible": row_bits % FULL_BITS == 0,
            "resident_warps": resident.warps,
            "occupancy_share": resident.warps / gpu.warps,
            "occupancy_limit": resident.limit,
        }
    )


def record(kernels: tuple[Kernel, ...]) -> Compiled:
    """Put the kernels together with the devices, the sites, the model of their times, and the versions of all tools."""
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
