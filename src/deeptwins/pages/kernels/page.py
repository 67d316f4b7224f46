"""From the metrics of the compiled kernels to their page, `reports/kernels/`; with timings, if there are any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deeptwins import records
from deeptwins.pages import page as pages
from deeptwins.pages.kernels import figures, timings
from deeptwins.pages.kernels import tables as kernel_tables
from deeptwins.pages.page import Page, Section, illustrate
from deeptwins.records import kernels as kernel_records
from deeptwins.records.kernels import FULL_BITS

NAME = "kernels"
QUESTION = "What are the fused BN-ReLU-add kernels made of, and what do they move?"
MODEL = "Times of the model are no measurements: nothing has run on a GPU for them."
MEASURED = f"""
Every kernel was compiled offline, as Triton would on that GPU for that launch, and its machine code read. Spills are
loads and stores of local memory. Full accesses move {FULL_BITS} bits a thread; they are counted in PTX, among those to
activations in the loops over tiles, each tensor weighing the same. They are possible where the rows of memory, the
channels where these are last, else the positions of an image, are multiples of {FULL_BITS} bits. Warps held are those
that a multiprocessor has room for, by registers, shared memory and the limits of its architecture; tensors are cut for
two programs of eight warps each, and more than 16 are room to spare. In kernels.csv, equal opcodes_sha256 means the
same sequence of instructions, operands left out.
"""
BYTES = """
Bytes an element count whole activation tensors, and the mask, a bit an element; statistics, parameters and partial
results, a few values a channel, are left out. The result of a join is used twice, so two gradients come back; their sum
is part of the numbers, whoever computes it.
"""
FLOOR = """
The model is the bytes of a site at the peak bandwidth of the GPU's memory. It knows of no launch overhead, and of no
cache, although tensors of the smaller shapes fit into one: there a time may lie below it, and launches may cost more
than bytes.
"""


@dataclass(frozen=True)
class Written:
    """What a command has to say about the page that it wrote."""

    verdict: tuple[str, ...]
    faults: tuple[str, ...]
    """A line each kernel that has some."""
    table: tuple[tuple[str, ...], ...]
    """A summary for a terminal, heads first."""
    page: Path


def keep_timings(file: Path, results: Path) -> None:
    """Copy timings to where the page finds them.

    Raises:
        InputError: they cannot be read, or are none of the fused operation's.
        OSError: the folder cannot be written.
    """
    timings.load(file)
    kept = kernel_records.timings_of(results)
    kept.parent.mkdir(parents=True, exist_ok=True)
    records.replace(kept, file.read_bytes())


def write(results: Path, reports: Path) -> Written:
    """Write the page from what lies in `results`. Same files, same bytes.

    Raises:
        InputError: there are no metrics, a file is damaged, or the folder cannot be written.
    """
    compiled = kernel_records.read(kernel_records.path_of(results))
    measured = kernel_records.timings_of(results)
    times = timings.load(measured) if measured.exists() else pd.DataFrame()
    kernels, sites = kernel_tables.kernels(compiled), kernel_tables.sites(compiled)
    floors = kernel_tables.floors(compiled)
    sections = [
        _made(kernels),
        _moved(sites),
        _modelled(floors, sites),
        *([_measured(times)] if len(times) else []),
        Section("Provenance", tables=kernel_tables.provenance(compiled), paragraphs=(MEASURED, BYTES, FLOOR)),
        _reproduce(measured=len(times) > 0),
    ]
    verdict = kernel_tables.verdict(kernels, sites)
    behind = {"kernels": kernels.drop(columns="faults"), "sites": sites, "floors": floors, "timings": times}
    page = Page(
        name=NAME,
        question=QUESTION,
        source="",
        verdict=verdict,
        remarks=[MODEL],
        sections=sections,
        runs=f"{len(kernels)} kernels compiled",
        data=behind,
        answer=verdict[0],
    )
    folder = pages.write(page, reports)
    faults = tuple(kernel_tables.faults(kernels))
    return Written(tuple(verdict), faults, tuple(kernel_tables.console(kernels)), folder / "index.html")


def _made(kernels: pd.DataFrame) -> Section:
    caption = "Dots are compiled kernels. At the left, for how many warps the registers of a multiprocessor are enough."
    picture = illustrate("registers", caption, kernel_tables.alt_registers(kernels), figures.registers(kernels))
    tables = [kernel_tables.summary(kernels), kernel_tables.details(kernels)]
    if kernels["faults"].any():
        tables.insert(0, kernel_tables.faulty(kernels))
    if not kernels["vectors_possible"].all():
        tables.append(kernel_tables.narrow(kernels))
    return Section("Registers and instructions", (picture,), tuple(tables))


def _moved(sites: pd.DataFrame) -> Section:
    compared = kernel_tables.compared(sites)
    caption = f"Counted, not measured; {kernel_tables.COMPARED}. Sources are under Provenance."
    picture = illustrate("traffic", caption, kernel_tables.alt_traffic(compared), figures.traffic(compared))
    return Section("Bytes and launches", (picture,), (kernel_tables.traffic(sites),))


def _modelled(floors: pd.DataFrame, sites: pd.DataFrame) -> Section:
    modelled = kernel_tables.modelled(floors, sites)
    caption = f"Model, no measurement: bytes at peak bandwidth; {kernel_tables.COMPARED}."
    picture = illustrate("floors", caption, kernel_tables.alt_floors(modelled), figures.floors(modelled))
    return Section("What these bytes would take (model)", (picture,), (kernel_tables.model(floors, sites),))


def _reproduce(*, measured: bool) -> Section:
    if not measured:
        told = "With deeptwins installed, and no GPU:"
        return Section("How to reproduce", paragraphs=(told,), commands=("deeptwins kernels",))
    told = "In a clone of the repository; the timings need the device that they name, the metrics none:"
    commands = ("tox -e bench -- bench/bench_bn_relu_add.py", "deeptwins kernels --timings results/bench.json")
    return Section("How to reproduce", paragraphs=(told,), commands=commands)


def _measured(times: pd.DataFrame) -> Section:
    best = times.groupby("implementation", sort=False)["percent_of_copy"].max()
    reached = ", ".join(f"{name} {percent:.0f} %" for name, percent in best.items())
    middle = times[times["implementation"] != "eager"].groupby("implementation", sort=False)["over_eager"].median()
    faster = ", ".join(f"{name} {ratio:.2f}" for name, ratio in middle.items())
    pictures = (
        illustrate(
            "roofline",
            "Each dot is a timing; the line is the bandwidth of a copy.",
            f"Effective bandwidth against bytes moved. At most, as a share of a copy's: {reached}.",
            figures.roofline(times),
        ),
        illustrate(
            "speedups",
            "Each dot is a timing, relative to eager at the same setting.",
            f"Times as fast as eager, by site, data type and layout. Median: {faster}.",
            figures.speedups(times),
        ),
    )
    return Section("Measured times", pictures, timings.tables(times))
