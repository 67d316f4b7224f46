"""From the timings of throughput to their page, `reports/throughput/`."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from deeptwins.pages import page as pages
from deeptwins.pages.page import Page, Section, Written, illustrate
from deeptwins.pages.tables import Table
from deeptwins.pages.throughput import figures, numbers
from deeptwins.pages.throughput.numbers import ALONE, COMPILED, MINUTES, TARGETS_ARE_FOR, TOGETHER, USUAL, Throughput
from deeptwins.pages.wording import count, digits, listed, spread
from deeptwins.records.profiles import LEAST_BYTES

NAME = "throughput"
QUESTION = "How fast does the paper's CIFAR-10 grid train?"
NAMES = {
    TOGETHER: "all nets together",
    ALONE: "the trainer, a net after another",
    USUAL: "the usual loop",
    COMPILED: "the compiled loop",
}
STUDY_PRECISION = "tf32"
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


def write(path: Path, reports: Path) -> Written[None]:
    """Write the page of the timings in a file. Same file, same bytes.

    Raises:
        InputError: the file is not there or damaged, or the folder cannot be written.
    """
    found = numbers.load(path)
    alone = found.cases[found.cases["way"] == ALONE]
    said = verdict(found)
    page = Page(
        name=NAME,
        question=QUESTION,
        source="",
        verdict=said,
        remarks=[PROJECTED, *([REHEARSED] if found.rehearsal else [])],
        sections=[
            _by_way(found),
            *([_by_depth(found, alone)] if len(alone) else []),
            Section(
                "Provenance", tables=(provenance(found), conditions(found.cases)), paragraphs=(MEASURED, LOOPS, FLOOR)
            ),
            _reproduce(),
        ],
        runs=count(len(found.cases), "case"),
        data={"cases": found.cases, "ways": found.rates, "ratios": found.ratios},
        answer=said[0],
        date=found.origin.date,
    )
    folder = pages.save(page, reports)
    return Written(None, _summary(found), tuple(said), folder / "index.html")


def _summary(found: Throughput) -> tuple[Table, ...]:
    return rate_table(found.rates), projection_table(found.rates), target_table(found)


def verdict(found: Throughput) -> list[str]:
    """Say in sentences what was found: the study's own precision first."""
    together = found.rates[found.rates["way"] == TOGETHER]
    own = together["precision"] == STUDY_PRECISION
    said: list[str] = []
    for rate in pd.concat([together[own], together[~own]]).to_dict("records"):
        where = f" on {found.origin.device}" if not said else ""
        rehearsed = "In a rehearsal, all" if found.rehearsal and not said else "All"
        said.append(
            f"{rehearsed} {rate['nets']:g} nets together do {digits(rate['net_iterations_per_s'])} net-iterations/s in"
            f" {rate['precision']}{where}. Projected: {digits(rate['minutes'])} minutes for one seed of the study, its"
            " evaluations included."
        )
    if len(found.ratios):
        parts = [
            f"{digits(row['ratio'])} times as fast as {NAMES[row['loop']]} (both {row['precision']})"
            for row in found.ratios.to_dict("records")
        ]
        said.append(f"That is {listed(parts)}.")
    marks = [(row[0], row[-1]) for row in target_table(found).rows]
    if found.judged:
        said.append(f"Targets: {'; '.join(f'{name}: {mark}' for name, mark in marks)}.")
    else:
        said.append(f"No target applies: they are for an {' or '.join(TARGETS_ARE_FOR)}.")
    return said


def target_table(found: Throughput) -> Table:
    """Set what was measured beside the targets; they are judged on the devices that they are for.

    A projection is not judged: it lies within the target, or beyond it.
    """
    ratio = {row["loop"]: row["ratio"] for row in found.ratios.to_dict("records")}
    rows = []
    for pair in numbers.PAIRS:
        text = f"{pair.least:g} times as fast as {NAMES[pair.loop]}, both {pair.precision}"
        value = ratio.get(pair.loop, math.nan)
        rows.append(_compared(found, text, value, digits(value), "✓ met" if value >= pair.least else "✗ missed"))
    together = found.rates[found.rates["way"] == TOGETHER].set_index("precision")["minutes"]
    minutes = together.get(STUDY_PRECISION, math.nan)
    text = f"one seed of the study in {MINUTES} minutes, {STUDY_PRECISION}"
    mark = f"{'within' if minutes <= MINUTES else 'beyond'} it, by a projection"
    rows.append(_compared(found, text, minutes, f"projected: {digits(minutes)} min", mark))
    caption = f"Targets for an {' or '.join(TARGETS_ARE_FOR)}"
    return Table(caption, ("target", "measured", "result"), rows, 1)


def _compared(found: Throughput, text: str, value: float, shown: str, mark: str) -> list[str]:
    if math.isnan(value):
        return [text, "-", "not measured"]
    return [text, shown, mark if found.judged else "no target applies"]


def rate_table(rates: pd.DataFrame) -> Table:
    """Tabulate the ways."""
    rows = [
        [
            NAMES[row["way"]],
            row["precision"],
            digits(row["net_iterations_per_s"]),
            spread(row["slowest_per_s"], row["fastest_per_s"], row["rounds"]),
            digits(row["percent_of_floor"]),
            digits(row["training_minutes"]),
        ]
        for row in rates.to_dict("records")
    ]
    heads = ("way", "precision", "net-iterations/s", "slowest to fastest round", "% of the memory floor")
    return Table("All nets of one seed", (*heads, "training of one seed, projected (min)"), rows, 2)


def projection_table(rates: pd.DataFrame) -> Table:
    """Tabulate what the time of one seed of the study is projected from."""
    rows = [
        [
            row["precision"],
            digits(row["training_minutes"]),
            f"{row['evaluations']:g}",
            digits(row["evaluation_s"]),
            digits(row["minutes"]),
        ]
        for row in rates[rates["way"] == TOGETHER].to_dict("records")
    ]
    heads = ("precision", "training (min)", "evaluations", "each (s)", "one seed (min)")
    return Table(f"One seed of the study, projected: {NAMES[TOGETHER]}", heads, rows, 1)


def conditions(cases: pd.DataFrame) -> Table:
    """Tabulate what is not the same for all ways, and so decides how fair it is to compare them."""
    rows = [
        [
            NAMES[str(way)],
            str(precision),
            _distinct(own["convolutions_in_tf32"].map({True: "allowed", False: "no"})),
            *(_distinct(own[key].dropna()) or "-" for key in ("workers", "backend", "iterations", "rounds")),
        ]
        for (way, precision), own in sorted(
            cases.groupby(["way", "precision"], sort=False), key=lambda item: numbers.WAYS.index(item[0][0])
        )
    ]
    heads = ("way", "precision", "TF32", "workers", "compiled by", "iterations", "rounds")
    return Table("How each way was timed: convolutions in TF32, workers, iterations a round", heads, rows, 3)


def case_table(cases: pd.DataFrame) -> Table:
    """Tabulate every net alone, and in the loops."""
    rows = [
        [
            NAMES[row["way"]].partition(",")[0],
            row["twin"],
            row["precision"],
            f"{row['depth']:g}",
            digits(row["ms_per_iteration"]),
            spread(row["fastest_ms"], row["slowest_ms"], row["rounds"]),
            *(digits(row[key]) for key in ("images_per_s", "floor_ms", "percent_of_floor")),
        ]
        for row in cases[cases["way"] != TOGETHER].to_dict("records")
    ]
    heads = ("way", "twin", "precision", "depth", "ms an iteration", "fastest to slowest", "images/s", "floor (ms)")
    return Table("Every net by itself; the fastest and the slowest round", (*heads, "% of floor"), rows, 3)


def provenance(found: Throughput) -> Table:
    """Tabulate where the numbers come from."""
    first = found.cases.iloc[0]
    rows = found.origin.rows
    rows += [["data", f"{first['dataset']}, {first['image']}"]]
    rows += [["batch size", f"{first['batch']:g}"], ["width", f"{first['width']:g}"]]
    rows += [["a copy", f"{digits(first['copy_gb_per_s'])} GB/s"]]
    return Table("Where the numbers come from", ("what", "value"), rows, 2)


def _distinct(values: pd.Series) -> str:
    """Write each value once."""
    texts = (value if isinstance(value, str) else f"{value:g}" for value in values)
    return "; ".join(text for text in dict.fromkeys(texts) if text)


def _by_way(found: Throughput) -> Section:
    names = [f"{NAMES[row['way']]}, {row['precision']}" for row in found.rates.to_dict("records")]
    told = zip(names, found.rates["net_iterations_per_s"], strict=True)
    alt = f"Net-iterations a second: {', '.join(f'{name} {digits(value)}' for name, value in told)}."
    caption = "Iterations a second, summed over the nets, of all nets of one seed; each way trains the same nets."
    picture = illustrate("ways", caption, alt, figures.ways(found.rates, names))
    return Section("By way", (picture,), _summary(found))


def _by_depth(found: Throughput, alone: pd.DataFrame) -> Section:
    lines = []
    for (precision, twin), own in alone.groupby(["precision", "twin"], sort=False):
        ends = [own.sort_values("depth").iloc[i] for i in (0, -1)]
        times = " to ".join(f"{digits(end['ms_per_iteration'])} at depth {end['depth']:g}" for end in ends)
        floors = " to ".join(digits(end["floor_ms"]) for end in ends)
        lines.append(f"{twin}, {precision}: {times}, floor {floors}")
    alt = f"Milliseconds an iteration by depth. {'; '.join(lines)}."
    caption = "Each net alone in the trainer; dashed, what its bytes take at least at the bandwidth of a copy."
    picture = illustrate("by-depth", caption, alt, figures.by_depth(alone))
    return Section("By depth", (picture,), (case_table(found.cases),))


def _reproduce() -> Section:
    told = "In a clone of the repository; the times are those of this device alone:"
    timings = "results/gpu/throughput.json"
    bench = f"python -m pytest --timeout=0 bench/bench_throughput.py --benchmark-json={timings}"
    return Section("How to reproduce", paragraphs=(told,), commands=(bench, f"deeptwins profile --timings {timings}"))
