"""From a profile to words and tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from deeptwins.pages.profile import frames
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count
from deeptwins.records.profiles import Profile

LEAST = 0.001  # what is less is not worth its digits
TOP = 12  # rows of a table of layers or kernels
NAMED = 2  # kinds of work in the verdict
MACHINE = ("device", "cpu", "cores", "memory_gib", "gpu", "driver", "os")
ISSUED = "kernel by kernel (ms)"
PROFILED = "with profiler (ms)"
VERSIONS = ("deeptwins", "torch", "triton", "numpy", "python", "cuda", "cudnn")


def verdict(profile: Profile, steps: pd.DataFrame, kinds: pd.DataFrame) -> list[str]:
    """Say in sentences what was found."""
    slow = steps.nlargest(1, "step_us").iloc[0]
    parts = kinds[kinds["net"] == slow["net"]].head(NAMED)
    first, *others = [(row["kind"], percent(row["share"])) for row in parts.to_dict("records")]
    taking = "".join(
        [f"{first[0]} is {first[1]} of the time of its ops", *(f", {kind} {part}" for kind, part in others)]
    )
    sentence = (
        f"A step of {slow['net']} ({count(slow['batch_size'], 'image')} of {slow['image']}, {slow['precision']}) takes"
        f" {ms(slow['step_us'])} on {device(profile)}; {taking}."
        f" Its floor, {ms(slow['floor_us'])}, is {percent(slow['of_floor'])} of the step."
    )
    found = [sentence]
    if len(steps) > 1:
        fast = steps.nsmallest(1, "step_us").iloc[0]
        found.append(
            f"The steps of {len(steps)} nets take {ms(fast['step_us'])} ({fast['net']}) to {ms(slow['step_us'])}"
            f" ({slow['net']}), of which their floors are {_shares(steps['of_floor'])}."
        )
    return found


def remarks(profile: Profile, steps: pd.DataFrame) -> list[str]:
    """Say what a floor is, and how much of a step its ops account for."""
    rates = "; ".join(
        f"{rate.copy_bytes_per_s / 1e9:,.1f} GB/s and {amount(rate.flops_per_s / 1e9)} GFLOP/s in {rate.precision}"
        for rate in profile.rates
    )
    busy = _shares(steps["in_ops"])
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
    issued = {"issued_us": ISSUED} if steps["issued_us"].notna().all() else {}
    rows = [
        [
            row["net"],
            amount(row["step_us"] / 1e3),
            f"{amount(row['fastest_us'] / 1e3)} to {amount(row['slowest_us'] / 1e3)}",
            *(amount(row[key] / 1e3) for key in (*issued, "profiled_us", "ops_us", "floor_us")),
            percent(row["of_floor"]),
        ]
        for row in steps.to_dict("records")
    ]
    heads = ("net", "step (ms)", "fastest to slowest", *issued.values(), PROFILED, "sum of ops (ms)", "floor (ms)")
    return Table("Steps by the clock, and what their ops sum up to; medians", (*heads, "% of floor"), rows, 1)


def work_table(steps: pd.DataFrame) -> Table:
    """Tabulate what whole steps launch, move and compute."""
    rows = [
        [
            row["net"],
            f"{row['launches']:,.0f}",
            *(amount(row[key] / 1e6) for key in ("bytes", "least_bytes")),
            amount(row["least_us"] / 1e3),
            amount(row["flops"] / 1e9),
        ]
        for row in steps.to_dict("records")
    ]
    heads = ("net", "launches", "MB moved by ops", "MB at least (model)", "these at a copy's speed (ms)", "GFLOP")
    return Table("What a step launches, moves and computes", heads, rows, 1)


def kind_table(net: str, kinds: pd.DataFrame) -> Table:
    """Tabulate a net's time by kind of work."""
    rows = [[row["kind"], *_numbers(row)] for row in kinds[kinds["net"] == net].to_dict("records")]
    heads = ("kind", "time (ms)", "share", "launches", "MB", "GFLOP", "floor (ms)", "% of floor")
    return Table(f"{net}, by kind of work", heads, rows, 1)


def layer_table(net: str, layers: pd.DataFrame) -> Table:
    """Tabulate the layers of a net that take longest, and the parts of its step that are no layer."""
    own = layers[layers["net"] == net]
    chosen = own.index.isin(own[~own["part"]]["time_us"].nlargest(TOP).index) | own["part"]
    rows = [
        [
            row["place"],
            *(amount(row[key] / 1e3) if row[key] else "-" for key in ("forward_us", "backward_us")),
            *_numbers(row),
        ]
        for row in own[chosen].to_dict("records")
    ]
    hidden = int((~chosen).sum())
    told = f"; {count(hidden, 'layer')} that take less are in layers.csv" if hidden else ""
    heads = ("layer", "forward (ms)", "backward (ms)", "time (ms)", "share", "launches", "MB", "GFLOP")
    return Table(f"{net}, by layer, in order{told}", (*heads, "floor (ms)", "% of floor"), rows, 1)


def kernel_table(net: str, kernels: pd.DataFrame) -> Table:
    """Tabulate the kernels of a net that take longest."""
    own = kernels[kernels["net"] == net]
    rows = [
        [
            kernel_name(row["kernel"]),
            row["kind"],
            f"{row['calls']:,.0f}",
            amount(row["time_us"] / 1e3),
            percent(row["share"]),
        ]
        for row in own.head(TOP).to_dict("records")
    ]
    hidden = len(own) - len(rows)
    told = f"; {hidden} that take less are in kernels.csv" if hidden else ""
    return Table(f"{net}, by kernel{told}", ("kernel", "kind", "calls", "time (ms)", "share"), rows, 2)


def provenance(profile: Profile) -> Table:
    """Tabulate where the numbers come from."""
    machine = profile.machine
    told = {key: machine[key] for key in MACHINE if machine.get(key) is not None}
    versions = [f"{key} {machine[key]}" for key in VERSIONS if machine.get(key) is not None]
    nets = {
        "data": {f"{step.dataset}, {step.image}" for step in profile.nets},
        "batch size": {str(step.batch_size) for step in profile.nets},
        "precision": {step.precision for step in profile.nets},
        "optimizer": {step.optimizer for step in profile.nets},
    }
    rows = [[key.replace("_gib", " (GiB)"), str(value)] for key, value in told.items()]
    rows += [["threads of the processor", str(profile.threads)], ["versions", ", ".join(versions)]]
    rows += [["commit", profile.commit or "not known"], ["date", profile.date]]
    rows += [[key, "; ".join(sorted(values))] for key, values in nets.items()]
    rows += [["steps", f"{profile.steps} timed and {profile.steps} profiled, after a warm-up"]]
    return Table("Where the numbers come from", ("what", "value"), rows, 2)


def alt_kinds(steps: pd.DataFrame, kinds: pd.DataFrame) -> str:
    """Describe the figure."""
    parts = []
    for step in steps.to_dict("records"):
        own = kinds[kinds["net"] == step["net"]].to_dict("records")
        times = ", ".join(f"{row['kind']} {ms(row['time_us'])}" for row in own)
        parts.append(f"{step['net']}: {times}; step {ms(step['step_us'])}, floor {ms(step['floor_us'])}")
    return f"Time of a step by kind of work. {'. '.join(parts)}."


def alt_layers(layers: pd.DataFrame) -> str:
    """Describe the figure."""
    parts = []
    for net, own in layers[~layers["part"]].groupby("net", sort=False):
        longest = own.nlargest(1, "time_us").iloc[0]
        sums = " and ".join(f"{way} {ms(own[f'{way}_us'].sum())}" for way in ("forward", "backward"))
        parts.append(f"{net}: {sums}, the longest {longest['place']} with {ms(longest['time_us'])}")
    return f"Time of each layer, forward and backward. {'. '.join(parts)}."


def console(steps: pd.DataFrame, kinds: pd.DataFrame, layers: pd.DataFrame) -> list[Table]:
    """Return the tables of a terminal: whole steps, then for the slowest nets kinds of work and layers."""
    table = step_table(steps)
    told = [i for i, head in enumerate(table.columns) if head not in {"fastest to slowest", ISSUED, PROFILED}]
    rows = [[row[i] for i in told] for row in table.rows]
    shown = [Table(table.caption, tuple(table.columns[i] for i in told), rows, table.words), work_table(steps)]
    nets = frames.detailed(steps)
    for net in nets:
        shown += [kind_table(net, kinds), layer_table(net, layers)]
    return shown


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


def _numbers(row: Mapping[Hashable, Any]) -> list[str]:
    floor = row["floor_us"]
    return [
        amount(row["time_us"] / 1e3),
        percent(row["share"]),
        f"{row['launches']:,.0f}",
        amount(row["bytes"] / 1e6),
        amount(row["flops"] / 1e9),
        amount(floor / 1e3),
        percent(floor / row["time_us"]) if floor and row["time_us"] else "-",
    ]


def _shares(values: pd.Series) -> str:
    low, high = percent(values.min()), percent(values.max())
    return low if low == high else f"{low} to {high}"
