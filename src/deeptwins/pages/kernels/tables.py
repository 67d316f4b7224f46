"""From the metrics of compiled kernels to words and tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import math

import pandas as pd

from deeptwins.findings.rows import grouped
from deeptwins.pages.tables import Column, Table, span
from deeptwins.pages.wording import share
from deeptwins.records.kernels import FULL_BITS, Compiled

LAYOUT_NAMES = {"channels_last": "channels last", "contiguous": "channels first"}
FAULTY = ("kernel", "sites", "dtype", "layout", "shape", "arch")  # identify a kernel
SHARED = "shared memory (bytes)"
OURS = "triton"  # what the fused kernels are called
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
    return table[table["site"].isin(table.loc[table["implementation"] != OURS, "site"])]


def totals(sites: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Sum what is moved forward and backward, in bytes per element, where implementations are compared.

    Returns:
        By site, by implementation, ours first.
    """
    table = compared(sites)
    moved = table["bytes_per_element_forward"] + table["bytes_per_element_backward"]
    by_site: dict[str, dict[str, float]] = {}
    for site, name, number in zip(table["site"], table["implementation"], moved, strict=True):
        by_site.setdefault(site, {OURS: math.nan})[name] = float(number)
    return by_site


def modelled(floors: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    """Model the time of every implementation where they are compared: by their bytes, at the same bandwidth.

    Returns:
        A row per site, shape and GPU of the model of the fused operation, with the microseconds that each
        implementation takes in a column of its name; NaN where its bytes are not known.
    """
    moved = totals(sites)
    table = floors[(floors["dtype"] == COMPARED) & floors["site"].isin(moved)]
    slower = [{name: number / moved[site][OURS] for name, number in moved[site].items()} for site in table["site"]]
    return table.assign(**pd.DataFrame(slower, table.index).mul(table["total_us"], axis="index"))


def summary(kernels: pd.DataFrame) -> Table:
    """Tabulate what a kernel is made of, by architecture."""
    return _metrics("What the kernels are made of: ranges over sites, types, layouts and shapes", kernels, "arch")


def details(kernels: pd.DataFrame) -> Table:
    """Tabulate what a kernel is made of, by the sites that launch it."""
    return _metrics("The same by the sites that launch them", kernels, "sites")


def _metrics(caption: str, kernels: pd.DataFrame, by: str) -> Table:
    keys = ["kernel", by]
    # Each key in the order in which its values come first.
    ordered = kernels.sort_values(keys, key=_ordered)
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
    return Table.of(rows, f"Where rows are not multiples of {FULL_BITS} bits", words, numbers)


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
    """Tabulate the model: what each implementation takes, and what the fused operation saves."""
    table = modelled(floors, sites)
    names = dict.fromkeys(name for by_name in totals(sites).values() for name in by_name)
    words = Column("GPU", "device"), Column("site", "site"), Column("shape", "shape")
    numbers = [Column(name, name, _microseconds) for name in names]
    saved = [Column(f"saved of {name}", (name, OURS), _saved) for name in names if name != OURS]
    caption = f"Model, no measurement: microseconds, forward and backward, {COMPARED}"
    return Table.of(table.sort_values("device", key=_ordered, kind="stable"), caption, words, [*numbers, *saved])


def _saved(theirs: float, ours: float) -> str:
    return _microseconds(theirs - ours)


def _microseconds(time: float) -> str:
    return "-" if math.isnan(time) else f"{time:,.1f}"


def _ordered(values: pd.Series) -> pd.Series:
    """Return the places of values in the order in which they come first."""
    return values.map([*values.unique()].index)


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
