"""From the metrics of compiled kernels to words and tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import pandas as pd

from deeptwins.findings.rows import grouped
from deeptwins.pages.tables import Column, Table, span
from deeptwins.pages.wording import count, listed, share
from deeptwins.records.kernels import FULL_BITS, Compiled

LAYOUT_NAMES = {"channels_last": "channels last", "contiguous": "channels first"}
FAULTY = ("kernel", "sites", "dtype", "layout", "shape", "arch")  # identify a kernel
SHARED = "shared memory (bytes)"
COMPARED = "bf16"  # the data type in which implementations are compared, and of all figures


def kernels(compiled: Compiled) -> pd.DataFrame:
    """Tabulate the compiled kernels, a row per kernel, with what is wrong with it."""
    return pd.DataFrame([row.model_dump() | {"faults": "; ".join(row.faults)} for row in compiled.kernels])


def sites(compiled: Compiled) -> pd.DataFrame:
    """Tabulate what sites move and launch, a row per site, implementation and data type."""
    return pd.DataFrame([row.model_dump() for row in compiled.sites]).astype(
        {"launches_forward": "Int64", "launches_backward": "Int64"}
    )


def floors(compiled: Compiled) -> pd.DataFrame:
    """Tabulate the model, a row per site, data type, shape and GPU; `total_us` is forward and backward together."""
    table = pd.DataFrame([row.model_dump() for row in compiled.floors])
    return table.assign(total_us=(table["forward_us"] + table["backward_us"]).round(3))


def compared(sites: pd.DataFrame) -> pd.DataFrame:
    """Choose the sites at which the traffic of other implementations is known, too."""
    table = sites[sites["dtype"] == COMPARED]
    return table[table["site"].isin(table.loc[table["implementation"] != "triton", "site"])]


def modelled(floors: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    """Choose the rows of the model that are compared, by site and data type."""
    return floors[(floors["dtype"] == COMPARED) & floors["site"].isin(compared(sites)["site"])]


def verdict(kernels: pd.DataFrame, sites: pd.DataFrame) -> list[str]:
    """Say in sentences how many kernels spill, how many have full accesses, and what sites move."""
    total, spilled = len(kernels), int((kernels[["stack_bytes", "spill_instructions"]] > 0).any(axis=1).sum())
    archs = listed(dict.fromkeys(kernels["arch"]))
    none, verb = str(spilled or "None"), "spill" if spilled > 1 else "spills"
    registers = f"they take {span(kernels['registers'])} registers per thread"
    possible = kernels[kernels["vectors_possible"]]
    full = int((possible["vector_share"] >= 1).sum())
    wide = "all bytes of activations move" if full == len(possible) else f"in {full} of them all bytes move"
    sentences = [
        f"{none} of {count(total, 'kernel')} compiled for {archs} {verb} a register; {registers}.",
        f"In the {len(possible)} whose rows of memory are multiples of {FULL_BITS} bits, {wide} by full accesses.",
    ]
    table = compared(sites)
    total_bytes = table["bytes_per_element_forward"] + table["bytes_per_element_backward"]
    for site, group in table.assign(total=total_bytes).groupby("site", sort=False):
        totals = dict(zip(group["implementation"], group["total"], strict=True))
        others = listed(f"{number:g} by {name}" for name, number in totals.items() if name != "triton")
        what = f"with a residual to add ({site!s})" if site == "join" else f"without a residual ({site!s})"
        sentences.append(f"Forward and backward, {what}, {COMPARED}: {totals['triton']:g} bytes per element; {others}.")
    return sentences


def summary(kernels: pd.DataFrame) -> Table:
    """Tabulate what a kernel is made of, by architecture."""
    return _metrics("What the kernels are made of: ranges over sites, types, layouts and shapes", kernels, "arch")


def details(kernels: pd.DataFrame) -> Table:
    """Tabulate what a kernel is made of, by the sites that launch it."""
    return _metrics("The same by the sites that launch them", kernels, "sites")


def _metrics(caption: str, kernels: pd.DataFrame, by: str) -> Table:
    keys = ["kernel", by]
    # Each key in the order in which its values come first.
    ordered = kernels.sort_values(keys, key=lambda values: values.map([*values.unique()].index))
    rows = [place | {"group": group} for place, group in grouped(ordered, keys)]
    numbers = (
        Column("compiled", "group", lambda group: str(len(group))),
        Column("registers", "group", lambda group: span(group["registers"])),
        Column("spills", "group", lambda group: str(group["spill_instructions"].sum())),
        Column(SHARED, "group", lambda group: span(group["shared_bytes"])),
        Column("instructions", "group", lambda group: span(group["instructions"])),
        Column("barriers", "group", lambda group: span(group["barriers"])),
        Column("full accesses", "group", _full),
        Column("warps held", "group", lambda group: span(group["resident_warps"])),
    )
    return Table.of(rows, caption, [Column(key, key) for key in keys], numbers)


def _full(kernels: pd.DataFrame) -> str:
    possible = kernels[kernels["vectors_possible"]]
    return f"{(possible['vector_share'] >= 1).sum()} of {len(possible)}"


def faulty(kernels: pd.DataFrame) -> Table:
    """Tabulate what is wrong, a row per kernel that something is wrong with."""
    numbers = (
        Column("spill instructions", "spill_instructions"),
        Column("stack (bytes)", "stack_bytes"),
        Column(f"bytes moved by {FULL_BITS} bits", "vector_share", share),
    )
    wrong = kernels[kernels["faults"].astype(bool)]
    return Table.of(wrong, "What is wrong", [Column(key, key) for key in FAULTY], numbers)


def faults(kernels: pd.DataFrame) -> list[str]:
    """Say what is wrong, a line per kernel that something is wrong with."""
    wrong = kernels[kernels["faults"].astype(bool)].to_dict("records")
    return [f"{', '.join(row[key] for key in FAULTY)}: {row['faults']}" for row in wrong]


def narrow(kernels: pd.DataFrame) -> Table:
    """Tabulate the shapes whose rows allow no full accesses."""
    keys = ["shape", "dtype", "layout"]
    groups = grouped(kernels[~kernels["vectors_possible"]], keys)
    rows = [place | {"group": group} for place, group in groups]
    words = (
        Column("shape", "shape"),
        Column("dtype", "dtype"),
        Column("layout", "layout", LAYOUT_NAMES.__getitem__),
    )
    numbers = (
        Column("narrowest access (bits)", "group", lambda group: span(group["narrowest_access_bits"])),
        Column(f"bytes moved by {FULL_BITS} bits", "group", lambda group: span(group["vector_share"], share)),
    )
    return Table.of(rows, f"Where rows are no multiples of {FULL_BITS} bits", words, numbers)


def traffic(sites: pd.DataFrame) -> Table:
    """Tabulate launches and bytes per element."""
    caption = "Launches and bytes per element; in evaluation there is no backward pass"
    words = Column("site", "site"), Column("implementation", "implementation"), Column("dtype", "dtype")
    numbers = (
        Column("launches, forward", "launches_forward", _launches),
        Column("backward", "launches_backward", _launches),
        Column("bytes per element, forward", "bytes_per_element_forward", "{:g}".format),
        Column("backward", "bytes_per_element_backward", "{:g}".format),
    )
    return Table.of(sites, caption, words, numbers)


def _launches(number: float | None) -> str:
    return "-" if pd.isna(number) else str(number)


def model(floors: pd.DataFrame, sites: pd.DataFrame) -> Table:
    """Tabulate the model."""
    table = modelled(floors, sites)
    ways = {"forward": "forward_us", "backward": "backward_us"}
    rows = []
    for (site, shape), group in table.groupby(["site", "shape"], sort=False):
        times = {f"{row['device']}, {way}": row[key] for row in group.to_dict("records") for way, key in ways.items()}
        rows.append({"site": site, "shape": shape, **times})
    heads = [f"{device}, {way}" for device in dict.fromkeys(table["device"]) for way in ways]
    numbers = [Column(head, head, "{:,.1f}".format) for head in heads]
    caption = f"Model, no measurement: microseconds, {COMPARED}"
    return Table.of(rows, caption, (Column("site", "site"), Column("shape", "shape")), numbers)


def provenance(compiled: Compiled) -> tuple[Table, ...]:
    """Tabulate the tools, the GPUs, and where others' traffic was counted."""
    sources = dict.fromkeys((site.implementation, site.source) for site in compiled.sites)
    return (
        Table("Compiled and read with", ("tool", "version"), [[*item] for item in compiled.made_with.items()], 2),
        Table.of(
            [device.model_dump() for device in compiled.devices],
            "GPUs, by their data sheets",
            (Column("GPU", "device"), Column("architecture", "arch")),
            (
                Column("multiprocessors", "processors"),
                Column("warps each", "warps_per_processor"),
                Column("memory (TB/s)", "bandwidth_bytes_per_s", lambda rate: f"{rate / 1e12:g}"),
            ),
        ),
        Table("Bytes per element", ("implementation", "source"), [[*source] for source in sources], 2),
    )


def console(kernels: pd.DataFrame) -> Table:
    """Tabulate `summary` for a terminal; what is widest is left to the page."""
    return summary(kernels).without(SHARED, "barriers")
