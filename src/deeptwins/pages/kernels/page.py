"""The page of the fused kernels, `reports/kernels/`: what they save, what they are compiled to, and any timings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deeptwins import records
from deeptwins.pages.kernels import answer, figures, tables, timings
from deeptwins.pages.page import Commands, PageSpec, Section
from deeptwins.records import kernels as kernel_records
from deeptwins.records.benchmarks import distinct
from deeptwins.records.kernels import FULL_BITS, Compiled

MEASURED = f"""
Every kernel was compiled offline, as Triton would on that GPU for that launch, and its machine code read. Spills are
loads and stores of local memory. Full accesses move {FULL_BITS} bits per thread. Their share is counted in PTX, among
the accesses to activations in the loops over tiles; each tensor has the same weight. They are possible where a row of
memory is a multiple of {FULL_BITS} bits. A row is all channels of a position where channels are last, else all
positions of a channel. Warps held are those that a multiprocessor has room for, by registers, shared memory and the
limits of its architecture. More than 16 are not needed: tensors are cut for two programs of eight warps each. In
kernels.csv, equal opcodes_sha256 means the same sequence of instructions, operands left out.
"""
BYTES = """
Bytes per element count whole activation tensors, and the mask, one bit per element; statistics, parameters and partial
results, a few values per channel, are left out. The result of a join is used twice, so two gradients come back. The
numbers include their sum, whichever operation computes it.
"""
FLOOR = """
Not measured: the bytes of a site divided by the peak bandwidth of the GPU's memory. The model ignores the cost of a
launch, and caches. Small tensors fit into a cache, where a call may take less, and launches may cost more than bytes.
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
    measured = []
    if len(facts.times):
        pictures = figures.roofline(facts.times), figures.speedups(facts.times)
        heading = f"Measured on {distinct(facts.times['device'])}"
        ours = (facts.times["implementation"] == tables.OURS).any()
        measured.append(Section(heading, pictures, timings.tables(facts.times), folded=not ours))
    return [
        Section("Bytes moved (counted)", (figures.traffic(facts.sites),)),
        Section(
            "Time that these bytes take (model)",
            (figures.floors(facts.floors, facts.sites),),
            paragraphs=(FLOOR,),
        ),
        *measured,
        Section("Registers and instructions", (figures.registers(facts.kernels),), tuple(metrics), folded=True),
        Section("The model by GPU and shape", tables=(tables.model(facts.floors, facts.sites),), folded=True),
        Section("Launches and bytes of every site", tables=(tables.traffic(facts.sites),), folded=True),
    ]


def _commands(facts: KernelFacts) -> Commands:
    if facts.times.empty:
        return Commands("With deeptwins installed, and no GPU:", ("deeptwins kernels",))
    where = "In a clone of the repository; timings need the device that they name, metrics need no GPU:"
    bench = "tox -e bench -- bench/bench_bn_relu_add.py"
    return Commands(where, (bench, "deeptwins kernels --timings results/bench.json"))


def _answer(facts: KernelFacts) -> str:
    return answer.answer(facts.sites, facts.floors, facts.times)


def _evidence(facts: KernelFacts) -> list[str]:
    return answer.evidence(facts.kernels, facts.sites, facts.floors, facts.times)


PAGE = PageSpec(
    load=load,
    name=lambda _: "kernels",
    question=lambda _: "What does the fused BN-ReLU-add save, and on what?",
    answer=_answer,
    numbers=lambda facts: answer.numbers(facts.sites),
    verdict=_evidence,
    group=lambda _: "Speed",
    sections=_sections,
    origin=lambda facts: tables.provenance(facts.compiled),
    method=lambda _: (MEASURED, BYTES),
    commands=_commands,
    data=lambda facts: {
        "kernels": facts.kernels.drop(columns="faults"),
        "sites": facts.sites,
        "floors": facts.floors,
        "timings": facts.times,
    },
    size=lambda facts: f"{len(facts.kernels)} kernels compiled",
    summary=lambda facts: (tables.console(facts.kernels),),
    lines=lambda facts: (_answer(facts), *_evidence(facts), *tables.faults(facts.kernels)),
    find=lambda results: [(results,)] if kernel_records.path_of(results).exists() else [],
)
