"""The page of throughput, `reports/throughput/`: how fast many nets train, by the timings of a bench."""

from __future__ import annotations

from deeptwins.pages.page import Commands, PageSpec, Section
from deeptwins.pages.throughput import figures, tables
from deeptwins.pages.throughput.numbers import BENCHES, Throughput
from deeptwins.pages.wording import count
from deeptwins.records.profiles import LEAST_BYTES

TIMINGS = "results/gpu/throughput.json"
COMMANDS = Commands(
    "In a clone of the repository; times hold for this device alone:",
    (
        f"python -m pytest --timeout=0 bench/bench_throughput.py --benchmark-json={TIMINGS}",
        f"deeptwins profile --timings {TIMINGS}",
    ),
)
PROJECTED = """
Minutes are projected, not measured: all iterations of one seed of the study at the measured rate and, for the nets
together, its evaluations at the time of one. Diagnostics, checkpoints and start-up are left out. How long a seed really
takes is in the records of a finished study.
"""
REHEARSED = """
This is a rehearsal on a CPU with tiny nets and images. It shows that everything runs; its numbers mean nothing for a
GPU, nor for the study.
"""
MEASURED = """
Captures, compilation and warm-up are over before the clock starts. Then a fixed number of iterations is timed, waiting
for the device once, at their end. The median of several such rounds counts. The nets together are the runs of one seed;
they take turns, as in a study, and share their batches. A rate counts iterations of one net: eight nets that advance by
one iteration are eight.
"""
LOOPS = """
The usual loop is that of tutorials: one net after another, PIL images transformed one by one in workers (RandomCrop,
RandomHorizontalFlip, ToTensor, Normalize), contiguous fp32 images, `.item()` in every iteration, and PyTorch's default
settings, which on a GPU allow convolutions in TF32. The compiled loop is the same with channels_last, autocast to bf16
and torch.compile. The trainer computes in the precision that is named and repeats bit for bit.
"""
ROOFLINE = f"""
{LEAST_BYTES} The memory roofline is the time that these bytes take at the measured speed of a memory copy. Data that
stays in a cache can be faster: the share is then given as > 100 %, without a number.
"""


def _sections(facts: Throughput) -> list[Section]:
    sections = [Section("By way of training", (figures.ways(facts.rates),), tables.summary(facts))]
    if len(facts.alone):
        sections.append(Section("By depth", (figures.by_depth(facts.alone),)))
        sections.append(Section("Every net in numbers", tables=(tables.case_table(facts.cases),), folded=True))
    return sections


PAGE = PageSpec(
    load=BENCHES.load,
    name=lambda _: BENCHES.page,
    question=lambda _: "How fast does the paper's CIFAR-10 grid train?",
    answer=tables.answer,
    numbers=tables.numbers,
    verdict=tables.verdict,
    cautions=tables.cautions,
    lines=lambda facts: [*tables.cautions(facts), tables.answer(facts), *tables.verdict(facts)],
    group=lambda _: "Speed",
    remarks=lambda facts: (REHEARSED, PROJECTED) if facts.rehearsal else (PROJECTED,),
    sections=_sections,
    origin=lambda facts: (tables.provenance(facts), tables.conditions(facts.cases)),
    method=lambda _: (MEASURED, LOOPS, ROOFLINE),
    commands=lambda _: COMMANDS,
    data=lambda facts: {"cases": facts.cases, "ways": facts.rates, "ratios": facts.ratios},
    size=lambda facts: count(len(facts.cases), "case"),
    date=lambda facts: facts.origin.date,
    summary=tables.summary,
    find=BENCHES.find,
)
