"""The page of throughput, `reports/throughput/`: how fast many nets train, by the timings of a bench."""

from __future__ import annotations

from deeptwins.pages.page import Commands, PageSpec, Section
from deeptwins.pages.throughput import figures, tables
from deeptwins.pages.throughput.numbers import BENCHES, Throughput
from deeptwins.pages.wording import count
from deeptwins.records.profiles import LEAST_BYTES

TIMINGS = "results/gpu/throughput.json"
COMMANDS = Commands(
    "In a clone of the repository; the times are those of this device alone:",
    (
        f"python -m pytest --timeout=0 bench/bench_throughput.py --benchmark-json={TIMINGS}",
        f"deeptwins profile --timings {TIMINGS}",
    ),
)
PROJECTED = """
The minutes are projections, no measurements: all iterations of one seed of the study at the measured rate and, of the
nets together, its evaluations at the time of one. Diagnostics, checkpoints and start-up are left out. Whether a seed
takes no longer than its target is known from the records of a finished study alone.
"""
REHEARSED = """
This is a rehearsal on a CPU, of tiny nets and images: its numbers show that everything runs, and mean nothing for a
GPU, nor for the study.
"""
MEASURED = """
Captures, compilation and warm-up are over before the clock starts; then a fixed number of iterations is timed, and the
device waited for once, at their end. Of several such rounds the median counts. The nets together are the runs of one
seed, which take turns as a study trains them and share their batches. A rate counts iterations of one net: eight nets
that advance by one are eight.
"""
LOOPS = """
The usual loop is the one of tutorials: PIL images, transformed one by one in workers (RandomCrop, RandomHorizontalFlip,
ToTensor, Normalize), contiguous fp32 images, `.item()` in every iteration, a net after another, with PyTorch's own
settings: on a GPU these allow convolutions in TF32. The compiled loop is the same with channels_last, autocast to bf16
and torch.compile. The trainer computes in the precision that is named and repeats bit for bit.
"""
FLOOR = f"""
{LEAST_BYTES} The memory floor is what they take at the measured bandwidth of a copy; a cache may beat it.
"""


def _sections(facts: Throughput) -> list[Section]:
    sections = [Section("By way", (figures.ways(facts.rates),), tables.summary(facts))]
    if len(facts.alone):
        sections.append(Section("By depth", (figures.by_depth(facts.alone),), (tables.case_table(facts.cases),)))
    return sections


PAGE = PageSpec(
    load=BENCHES.load,
    name=lambda _: BENCHES.page,
    question=lambda _: "How fast does the paper's CIFAR-10 grid train?",
    answer=lambda facts: tables.verdict(facts)[0],
    verdict=lambda facts: tables.verdict(facts)[1:],
    group=lambda _: "Speed",
    remarks=lambda facts: (PROJECTED, REHEARSED) if facts.rehearsal else (PROJECTED,),
    sections=_sections,
    origin=lambda facts: (tables.provenance(facts), tables.conditions(facts.cases)),
    method=lambda _: (MEASURED, LOOPS, FLOOR),
    commands=lambda _: COMMANDS,
    data=lambda facts: {"cases": facts.cases, "ways": facts.rates, "ratios": facts.ratios},
    size=lambda facts: count(len(facts.cases), "case"),
    date=lambda facts: facts.origin.date,
    summary=tables.summary,
    find=BENCHES.find,
)
