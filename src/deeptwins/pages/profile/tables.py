"""From a profile to words and tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pandas as pd

from deeptwins.pages.page import Number
from deeptwins.pages.profile import frames
from deeptwins.pages.tables import Column, Table, span
from deeptwins.pages.wording import code, count, of_roofline
from deeptwins.records import host
from deeptwins.records.profiles import Profile

LEAST = 0.001  # what is less is not worth its digits
MS, MB, GFLOP = 1e3, 1e6, 1e9  # of microseconds, bytes and FLOPs
TOP = 12  # rows of a table of layers or kernels
NAMED = 2  # kinds of work in the answer
NUMBERED = 4  # nets whose time stands beside the answer
MACHINE = ("device", "cpu", "cores", "memory_gib", "gpu", "driver", "os", "load")
ISSUED = "kernel by kernel (ms)"
PROFILED = "with profiler (ms)"
LAUNCHES = Column("launches", "launches", "{:,.0f}".format)
VERSIONS = ("deeptwins", "torch", "triton", "numpy", "python", "cuda", "cudnn")


def answer(steps: pd.DataFrame, kinds: pd.DataFrame) -> str:
    """Say which kinds of work take most of the time of the slowest step."""
    net = _slowest(steps)["net"]
    first, *others = kinds[kinds["net"] == net].head(NAMED).to_dict("records")
    then = "".join(f", then {other['kind']} with {percent(other['share'])}" for other in others)
    return f"Mostly into {first['kind']}: {percent(first['share'])} of the operations' time in {net}{then}."


def verdict(profile: Profile, steps: pd.DataFrame) -> list[str]:
    """Say in sentences how long the slowest step takes beside its roofline, and how far several nets are apart."""
    slow = _slowest(steps)
    sentence = (
        f"A step of {slow['net']} ({count(slow['batch_size'], 'image')} of {slow['image']}, {slow['precision']}) takes"
        f" {ms(slow['step_us'])} on {device(profile)}."
    )
    if (share := of_roofline(slow["of_roofline"])) != "-":
        sentence += f" Its roofline is {ms(slow['roofline_us'])}: it reaches {share} of the roofline."
    sentences = [sentence]
    if len(steps) > NUMBERED:
        fast = steps.nsmallest(1, "step_us").iloc[0]
        sentences.append(
            f"The steps of {len(steps)} nets take {ms(fast['step_us'])} ({fast['net']}) to {ms(slow['step_us'])}"
            f" ({slow['net']})."
        )
    return sentences


def numbers(steps: pd.DataFrame) -> list[Number]:
    """Give the time of a step of each net, the slowest first: of the first few."""
    rows = steps.sort_values("step_us", ascending=False, kind="stable").head(NUMBERED).to_dict("records")
    shares = [of_roofline(row["of_roofline"]) for row in rows]
    return [
        Number(row["net"], ms(row["step_us"]), "per step" if share == "-" else f"per step, {share} of the roofline")
        for row, share in zip(rows, shares, strict=True)
    ]


def cautions(profile: Profile) -> list[str]:
    """Warn of a busy machine, and of steps that were faster than their roofline."""
    machine, sentences = profile.machine, []
    load, cores = machine.get("load"), machine.get("cores")
    if (
        machine.get("device") == "cpu"
        and isinstance(load, int | float)
        and isinstance(cores, int | float)
        and load > host.BUSY * cores
    ):
        sentences.append(f"This machine was busy (load {load} on {count(cores, 'core')}): times may be too long.")
    steps = {step.net: step for step in profile.nets}
    for net, roofline_us in [*frames.beyond(profile).items()][:1]:
        sentences.append(
            f"The roofline is left out: a step of {net} took {ms(steps[net].step_us)}, less than its roofline of"
            f" {ms(roofline_us)}, which no step can. The machine was busy while the roofline was measured, or the data"
            " stayed in a cache. Profile again on an idle machine."
        )
    return sentences


def remarks(profile: Profile, steps: pd.DataFrame) -> list[str]:
    """Say what a roofline is, and how much of a step its ops account for."""
    rates = "; ".join(
        f"{rate.copy_bytes_per_s / 1e9:,.1f} GB/s and {amount(rate.flops_per_s / 1e9)} GFLOP/s in {rate.precision}"
        for rate in profile.rates
    )
    busy = span(steps["in_ops"], percent)
    if profile.machine.get("device") == "cuda":
        rest = (
            "A step is captured and replayed, as in training. Its kernels, profiled where they are launched one by"
            f" one, add up to {busy} of it. Less than 100 %: the GPU idles between kernels. More: kernels overlap, or"
            " the profiler slows them."
        )
    else:
        rest = (
            f"Operations add up to {busy} of a step. Less than 100 %: the rest is Python and autograd. More: the"
            " profiler slows operations, or other work on this machine does."
        )
    roofline = (
        "The roofline of an operation is the least time that the hardware allows: its bytes at the speed of a memory"
        " copy, or its FLOPs at the speed of a matrix product, whichever takes longer. That of a step is the sum over"
        f" its operations. Measured here: {rates}."
    )
    return [roofline, rest]


def step_table(steps: pd.DataFrame) -> Table:
    """Tabulate how long whole steps take; those issued kernel by kernel, too, where that is another time."""
    issued = [Column(ISSUED, "issued_us", _in(MS))] if steps["issued_us"].notna().all() else []
    numbers = (
        Column("step (ms)", "step_us", _in(MS)),
        Column("fastest to slowest", ("fastest_us", "slowest_us"), lambda *ends: " to ".join(map(_in(MS), ends))),
        *issued,
        Column(PROFILED, "profiled_us", _in(MS)),
        Column("sum of operations (ms)", "ops_us", _in(MS)),
        *_roofline(steps, "step_us"),
    )
    caption = "Time of a step by the clock, and the sum of its operations; medians"
    return Table.of(steps, caption, [Column("net", "net")], numbers)


def work_table(steps: pd.DataFrame) -> Table:
    """Tabulate what whole steps launch, move and compute."""
    numbers = (
        LAUNCHES,
        Column("MB moved by operations", "bytes", _in(MB)),
        Column("least MB (modelled)", "least_bytes", _modelled(MB)),
        *([Column("least MB at copy speed (ms)", "least_us", _modelled(MS))] if _known(steps) else []),
        Column("GFLOP", "flops", _in(GFLOP)),
    )
    return Table.of(steps, "What a step launches, moves and computes", [Column("net", "net")], numbers)


def kind_table(net: str, kinds: pd.DataFrame) -> Table:
    """Tabulate a net's time by kind of work."""
    rows = kinds[kinds["net"] == net]
    caption = f"{net}, by kind of work{_beyond(rows)}"
    return Table.of(rows, caption, [Column("kind", "kind")], _numbers(rows))


def layer_table(net: str, layers: pd.DataFrame) -> Table:
    """Tabulate the layers of a net that take longest, and the parts of its step that are no layer."""
    rows = layers[layers["net"] == net]
    longest = rows[~rows["part"]]["time_us"].nlargest(TOP).index
    shown = rows.index.isin(longest) | rows["part"]
    hidden = int((~shown).sum())
    rest = f"; {count(hidden, 'shorter layer')} in layers.csv" if hidden else ""
    ways = [
        Column(f"{way} (ms)", f"{way}_us", lambda time: amount(time / MS) if time else "-")
        for way in ("forward", "backward")
    ]
    caption = f"{net}, by layer, in order{rest}{_beyond(rows[shown])}"
    return Table.of(rows[shown], caption, [Column("layer", "place")], (*ways, *_numbers(rows)))


def kernel_table(net: str, kernels: pd.DataFrame) -> Table:
    """Tabulate the kernels of a net that take longest."""
    rows = kernels[kernels["net"] == net]
    hidden = max(0, len(rows) - TOP)
    rest = f"; {count(hidden, 'shorter one')} in kernels.csv" if hidden else ""
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
            ("CPU threads", str(profile.threads)),
            ("versions", ", ".join(versions)),
            ("commit", profile.commit or "not known"),
            *((f"code of {name}", code(vars(part)) or "not known") for name, part in profile.parts.items()),
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


def _modelled(unit: float) -> Callable[[float], str]:
    """Write amounts of such a unit that a model gives; it gives none for nets of one's own."""
    return lambda value: amount(value / unit) if value else "-"


def _numbers(rows: pd.DataFrame) -> Sequence[Column]:
    """Make the columns of what a kind of work or a layer takes."""
    return (
        Column("time (ms)", "time_us", _in(MS)),
        Column("share", "share", percent),
        LAUNCHES,
        Column("MB", "bytes", _in(MB)),
        Column("GFLOP", "flops", _in(GFLOP)),
        *_roofline(rows, "time_us"),
    )


def _roofline(rows: pd.DataFrame, time: str) -> Sequence[Column]:
    """Make the columns of the roofline, and of how far it is reached; none where the roofline is none."""
    if not _known(rows):
        return ()
    share = Column("% of roofline", ("roofline_us", time), lambda least, took: of_roofline(least / took if took else 0))
    return Column("roofline (ms)", "roofline_us", _in(MS)), share


def _beyond(rows: pd.DataFrame) -> str:
    """Say what a share of more than all of the roofline means, where there is one."""
    seen = (rows["roofline_us"] > rows["time_us"]).any()
    return "; > 100 %: data in a cache, or a roofline measured too low" if seen else ""


def _known(rows: pd.DataFrame) -> bool:
    return bool(rows["roofline_us"].notna().all())


def _slowest(steps: pd.DataFrame) -> pd.Series:
    return steps.nlargest(1, "step_us").iloc[0]
