"""From a profile to words and tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pandas as pd

from deeptwins.pages.tables import Column, Table, span
from deeptwins.pages.wording import count
from deeptwins.records.profiles import Profile

LEAST = 0.001  # what is less is not worth its digits
MS, MB, GFLOP = 1e3, 1e6, 1e9  # of microseconds, bytes and FLOPs
TOP = 12  # rows of a table of layers or kernels
NAMED = 2  # kinds of work in the verdict
MACHINE = ("device", "cpu", "cores", "memory_gib", "gpu", "driver", "os")
ISSUED = "kernel by kernel (ms)"
PROFILED = "with profiler (ms)"
LAUNCHES = Column("launches", "launches", "{:,.0f}".format)
VERSIONS = ("deeptwins", "torch", "triton", "numpy", "python", "cuda", "cudnn")


def verdict(profile: Profile, steps: pd.DataFrame, kinds: pd.DataFrame) -> list[str]:
    """Say in sentences what takes the time of the slowest step, and how far the steps of several nets are apart."""
    slow = steps.nlargest(1, "step_us").iloc[0]
    largest = kinds[kinds["net"] == slow["net"]].head(NAMED)
    first, *others = [(row["kind"], percent(row["share"])) for row in largest.to_dict("records")]
    taking = "".join(
        [f"{first[0]} is {first[1]} of the time of its ops", *(f", {kind} {part}" for kind, part in others)]
    )
    sentence = (
        f"A step of {slow['net']} ({count(slow['batch_size'], 'image')} of {slow['image']}, {slow['precision']}) takes"
        f" {ms(slow['step_us'])} on {device(profile)}; {taking}."
        f" Its floor, {ms(slow['floor_us'])}, is {percent(slow['of_floor'])} of the step."
    )
    sentences = [sentence]
    if len(steps) > 1:
        fast = steps.nsmallest(1, "step_us").iloc[0]
        sentences.append(
            f"The steps of {len(steps)} nets take {ms(fast['step_us'])} ({fast['net']}) to {ms(slow['step_us'])}"
            f" ({slow['net']}), of which their floors are {span(steps['of_floor'], percent)}."
        )
    return sentences


def remarks(profile: Profile, steps: pd.DataFrame) -> list[str]:
    """Say what a floor is, and how much of a step its ops account for."""
    rates = "; ".join(
        f"{rate.copy_bytes_per_s / 1e9:,.1f} GB/s and {amount(rate.flops_per_s / 1e9)} GFLOP/s in {rate.precision}"
        for rate in profile.rates
    )
    busy = span(steps["in_ops"], percent)
    if profile.machine.get("device") == "cuda":
        rest = (
            "A step is captured and replayed, as in training. Its kernels, profiled where they are issued one by one,"
            f" sum up to {busy} of it: for the rest the GPU idles between kernels; what is too much is kernels that"
            " overlap, or that the profiler slows."
        )
    else:
        rest = (
            f"Ops sum up to {busy} of a step: what is missing is Python and autograd between them; what is too much is"
            " the profiler's own time, or other work on this machine."
        )
    floors = (
        "The floor of an op is the longer of its bytes at the speed of a copy and its FLOPs at that of a product of"
        f" matrices, measured just before: {rates}. That of a step is the sum over its ops."
    )
    return [floors, rest]


def step_table(steps: pd.DataFrame) -> Table:
    """Tabulate how long whole steps take; those issued kernel by kernel, too, where that is another time."""
    issued = [Column(ISSUED, "issued_us", _in(MS))] if steps["issued_us"].notna().all() else []
    numbers = (
        Column("step (ms)", "step_us", _in(MS)),
        Column("fastest to slowest", ("fastest_us", "slowest_us"), lambda *ends: " to ".join(map(_in(MS), ends))),
        *issued,
        Column(PROFILED, "profiled_us", _in(MS)),
        Column("sum of ops (ms)", "ops_us", _in(MS)),
        Column("floor (ms)", "floor_us", _in(MS)),
        Column("% of floor", "of_floor", percent),
    )
    caption = "Steps by the clock, and what their ops sum up to; medians"
    return Table.of(steps, caption, [Column("net", "net")], numbers)


def work_table(steps: pd.DataFrame) -> Table:
    """Tabulate what whole steps launch, move and compute."""
    numbers = (
        LAUNCHES,
        Column("MB moved by ops", "bytes", _in(MB)),
        Column("MB at least (model)", "least_bytes", _in(MB)),
        Column("these at a copy's speed (ms)", "least_us", _in(MS)),
        Column("GFLOP", "flops", _in(GFLOP)),
    )
    return Table.of(steps, "What a step launches, moves and computes", [Column("net", "net")], numbers)


def kind_table(net: str, kinds: pd.DataFrame) -> Table:
    """Tabulate a net's time by kind of work."""
    return Table.of(kinds[kinds["net"] == net], f"{net}, by kind of work", [Column("kind", "kind")], NUMBERS)


def layer_table(net: str, layers: pd.DataFrame) -> Table:
    """Tabulate the layers of a net that take longest, and the parts of its step that are no layer."""
    rows = layers[layers["net"] == net]
    longest = rows[~rows["part"]]["time_us"].nlargest(TOP).index
    shown = rows.index.isin(longest) | rows["part"]
    hidden = int((~shown).sum())
    rest = f"; {count(hidden, 'layer')} that take less are in layers.csv" if hidden else ""
    ways = [
        Column(f"{way} (ms)", f"{way}_us", lambda time: amount(time / MS) if time else "-")
        for way in ("forward", "backward")
    ]
    caption = f"{net}, by layer, in order{rest}"
    return Table.of(rows[shown], caption, [Column("layer", "place")], (*ways, *NUMBERS))


def kernel_table(net: str, kernels: pd.DataFrame) -> Table:
    """Tabulate the kernels of a net that take longest."""
    rows = kernels[kernels["net"] == net]
    hidden = max(0, len(rows) - TOP)
    rest = f"; {hidden} that take less are in kernels.csv" if hidden else ""
    words = Column("kernel", "kernel", kernel_name), Column("kind", "kind")
    numbers = (
        Column("calls", "calls", "{:,.0f}".format),
        Column("time (ms)", "time_us", _in(MS)),
        Column("share", "share", percent),
    )
    return Table.of(rows.head(TOP), f"{net}, by kernel{rest}", words, numbers)


def provenance(profile: Profile) -> Table:
    """Tabulate where the numbers come from."""
    machine = profile.machine
    versions = [f"{key} {machine[key]}" for key in VERSIONS if machine.get(key) is not None]
    nets = {
        "data": {f"{step.dataset}, {step.image}" for step in profile.nets},
        "batch size": {str(step.batch_size) for step in profile.nets},
        "precision": {step.precision for step in profile.nets},
        "optimizer": {step.optimizer for step in profile.nets},
    }
    return Table.facts(
        [
            *((key.replace("_gib", " (GiB)"), str(machine[key])) for key in MACHINE if machine.get(key) is not None),
            ("threads of the processor", str(profile.threads)),
            ("versions", ", ".join(versions)),
            ("commit", profile.commit or "not known"),
            ("date", profile.date),
            *((key, "; ".join(sorted(values))) for key, values in nets.items()),
            ("steps", f"{profile.steps} timed and {profile.steps} profiled, after a warm-up"),
        ]
    )


def console(steps: pd.DataFrame, kinds: pd.DataFrame, layers: pd.DataFrame, nets: Sequence[str]) -> list[Table]:
    """Return the tables of a terminal: whole steps, then for some nets kinds of work and layers."""
    return [
        step_table(steps).without("fastest to slowest", ISSUED, PROFILED),
        work_table(steps),
        *(table for net in nets for table in (kind_table(net, kinds), layer_table(net, layers))),
    ]


def device(profile: Profile) -> str:
    """Name what the nets were trained on."""
    if profile.machine.get("gpu"):
        return str(profile.machine["gpu"])
    return f"{profile.machine.get('cpu')} ({count(profile.threads, 'thread')})"


def ms(microseconds: float) -> str:
    """Return a time as text."""
    return f"{amount(microseconds / 1e3)} ms"


def amount(value: float) -> str:
    """Return a number as text, with three digits or a little more."""
    if 0 < value < LEAST:
        return f"<{LEAST}"
    for least, decimals in ((100, 0), (10, 1), (1, 2)):
        if value >= least:
            return f"{value:,.{decimals}f}"
    return f"{value:.2g}"


def percent(value: float) -> str:
    """Return a part of a whole as text, in whole percent."""
    return "<1 %" if 0 < value < 0.01 else f"{100 * value:,.0f} %"  # noqa: PLR2004


def kernel_name(name: str) -> str:
    """Shorten the name of a C++ kernel: without what stands in angle brackets and behind the name."""
    short = name.removeprefix("void ")
    while re.search(r"<[^<>]*>", short):
        short = re.sub(r"<[^<>]*>", "", short)
    return re.sub(r"\(.*", "", short).strip() or name


def _in(unit: float) -> Callable[[float], str]:
    """Write amounts of such a unit."""
    return lambda value: amount(value / unit)


NUMBERS = (
    Column("time (ms)", "time_us", _in(MS)),
    Column("share", "share", percent),
    LAUNCHES,
    Column("MB", "bytes", _in(MB)),
    Column("GFLOP", "flops", _in(GFLOP)),
    Column("floor (ms)", "floor_us", _in(MS)),
    Column("% of floor", ("floor_us", "time_us"), lambda floor, time: percent(floor / time) if floor and time else "-"),
)
"""What a kind of work or a layer takes."""
