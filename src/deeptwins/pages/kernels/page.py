"""The page of the fused kernels, `reports/kernels/`: their metrics once compiled, and timings, if there are any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deeptwins import records
from deeptwins.pages.kernels import figures, tables, timings
from deeptwins.pages.page import Commands, PageSpec, Section
from deeptwins.records import kernels as kernel_records
from deeptwins.records.kernels import FULL_BITS, Compiled

MODEL = "Times of the model are no measurements: nothing has run on a GPU for them."
MEASURED = f"""
Every kernel was compiled offline, as Triton would on that GPU for that launch, and its machine code read. Spills are
loads and stores of local memory. Full accesses move {FULL_BITS} bits per thread; they are counted in PTX, among those
to activations in the loops over tiles, each tensor weighing the same. They are possible where the rows of memory, the
channels where these are last, else the positions of an image, are multiples of {FULL_BITS} bits. Warps held are those
that a multiprocessor has room for, by registers, shared memory and the limits of its architecture; tensors are cut for
two programs of eight warps each, and more than 16 are room to spare. In kernels.csv, equal opcodes_sha256 means the
same sequence of instructions, operands left out.
"""
BYTES = """
Bytes per element count whole activation tensors, and the mask, one bit per element; statistics, parameters and partial
results, a few values per channel, are left out. The result of a join is used twice, so two gradients come back; their
sum is part of the numbers, whoever computes it.
"""
FLOOR = """
The model is the bytes of a site at the peak bandwidth of the GPU's memory. It knows of no launch overhead, and of no
cache, although tensors of the smaller shapes fit into one: there a time may lie below it, and launches may cost more
than bytes.
"""


@dataclass(frozen=True)
class KernelFacts:
    """The metrics of the compiled kernels as tables, and timings, which may have no row."""

    compiled: Compiled
    kernels: pd.DataFrame
    sites: pd.DataFrame
    floors: pd.DataFrame
    times: pd.DataFrame


def load(results: Path) -> KernelFacts:
    """Load what lies in a folder of results.

    Raises:
        InputError: there are no metrics, or a file is damaged.
    """
    compiled = kernel_records.read(kernel_records.path_of(results))
    kept = timings.BENCHES.path_of(results)
    times = timings.BENCHES.load(kept) if kept.exists() else pd.DataFrame()
    return KernelFacts(compiled, tables.kernels(compiled), tables.sites(compiled), tables.floors(compiled), times)


def keep_timings(file: Path, results: Path) -> None:
    """Copy timings to where the page finds them.

    Raises:
        InputError: they cannot be read, or are none of the fused operation's.
        OSError: the folder cannot be written.
    """
    timings.BENCHES.load(file)
    kept = timings.BENCHES.path_of(results)
    kept.parent.mkdir(parents=True, exist_ok=True)
    records.replace(kept, file.read_bytes())


def _sections(facts: KernelFacts) -> list[Section]:
    metrics = [tables.summary(facts.kernels), tables.details(facts.kernels)]
    if facts.kernels["faults"].any():
        metrics.insert(0, tables.faulty(facts.kernels))
    if not facts.kernels["vectors_possible"].all():
        metrics.append(tables.narrow(facts.kernels))
    sections = [
        Section("Registers and instructions", (figures.registers(facts.kernels),), tuple(metrics)),
        Section("Bytes and launches", (figures.traffic(facts.sites),), (tables.traffic(facts.sites),)),
        Section(
            "What these bytes would take (model)",
            (figures.floors(facts.floors, facts.sites),),
            (tables.model(facts.floors, facts.sites),),
        ),
    ]
    if len(facts.times):
        pictures = figures.roofline(facts.times), figures.speedups(facts.times)
        sections.append(Section("Measured times", pictures, timings.tables(facts.times)))
    return sections


def _commands(facts: KernelFacts) -> Commands:
    if facts.times.empty:
        return Commands("With deeptwins installed, and no GPU:", ("deeptwins kernels",))
    where = "In a clone of the repository; the timings need the device that they name, the metrics none:"
    bench = "tox -e bench -- bench/bench_bn_relu_add.py"
    return Commands(where, (bench, "deeptwins kernels --timings results/bench.json"))


def _verdict(facts: KernelFacts) -> list[str]:
    return tables.verdict(facts.kernels, facts.sites)


PAGE = PageSpec(
    load=load,
    name=lambda _: "kernels",
    question=lambda _: "What are the fused BN-ReLU-add kernels made of, and what do they move?",
    answer=lambda facts: _verdict(facts)[0],
    verdict=lambda facts: _verdict(facts)[1:],
    group=lambda _: "Speed",
    remarks=lambda _: (MODEL,),
    sections=_sections,
    origin=lambda facts: tables.provenance(facts.compiled),
    method=lambda _: (MEASURED, BYTES, FLOOR),
    commands=_commands,
    data=lambda facts: {
        "kernels": facts.kernels.drop(columns="faults"),
        "sites": facts.sites,
        "floors": facts.floors,
        "timings": facts.times,
    },
    size=lambda facts: f"{len(facts.kernels)} kernels compiled",
    summary=lambda facts: (tables.console(facts.kernels),),
    lines=lambda facts: (*_verdict(facts), *tables.faults(facts.kernels)),
    find=lambda results: [(results,)] if kernel_records.path_of(results).exists() else [],
)
