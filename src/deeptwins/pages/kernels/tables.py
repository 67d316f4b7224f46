"""From the metrics of compiled kernels to words and tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import pandas as pd

from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count, listed, share
from deeptwins.records.kernels import FULL_BITS, Compiled

NAMES = {"channels_last": "channels last", "contiguous": "channels first"}
FAULTY = ("kernel", "sites", "dtype", "layout", "shape", "arch")  # say which kernel it is
SHARED = "shared memory (bytes)"
COMPARED = "bf16"  # the type of the pictures, of the table of models, and of what has been counted of others


def kernels(compiled: Compiled) -> pd.DataFrame:
    """Tabulate the compiled kernels, a row each, with what is wrong with them."""
    return pd.DataFrame([row.model_dump() | {"faults": "; ".join(row.faults)} for row in compiled.kernels])


def sites(compiled: Compiled) -> pd.DataFrame:
    """Tabulate what sites move and launch, a row an implementation and data type."""
    return pd.DataFrame([row.model_dump() for row in compiled.sites]).astype(
        {"launches_forward": "Int64", "launches_backward": "Int64"}
    )


def floors(compiled: Compiled) -> pd.DataFrame:
    """Tabulate the model, a row a site, data type, shape and GPU; `total_us` is forward and backward together."""
    table = pd.DataFrame([row.model_dump() for row in compiled.floors])
    return table.assign(total_us=(table["forward_us"] + table["backward_us"]).round(3))


def compared(sites: pd.DataFrame) -> pd.DataFrame:
    """Leave the sites at which the traffic of others is known, too."""
    table = sites[sites["dtype"] == COMPARED]
    return table[table["site"].isin(table.loc[table["implementation"] != "triton", "site"])]


def modelled(floors: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    """Leave those sites of the model that are compared, and the data type."""
    return floors[(floors["dtype"] == COMPARED) & floors["site"].isin(compared(sites)["site"])]


def verdict(kernels: pd.DataFrame, sites: pd.DataFrame) -> list[str]:
    """Say in sentences what was found."""
    total, spilled = len(kernels), int((kernels[["stack_bytes", "spill_instructions"]] > 0).any(axis=1).sum())
    archs = listed(dict.fromkeys(kernels["arch"]))
    none, verb = str(spilled or "None"), "spill" if spilled > 1 else "spills"
    registers = f"they take {_range(kernels['registers'])} registers a thread"
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
        of = dict(zip(group["implementation"], group["total"], strict=True))
        others = listed(f"{number:g} by {name}" for name, number in of.items() if name != "triton")
        what = f"with a residual to add ({site!s})" if site == "join" else f"without a residual ({site!s})"
        sentences.append(f"Forward and backward, {what}, {COMPARED}: {of['triton']:g} bytes an element; {others}.")
    return sentences


def summary(kernels: pd.DataFrame) -> Table:
    """Tabulate what a kernel is made of, by architecture."""
    return _metrics(
        "What the kernels are made of: ranges over sites, types, layouts and shapes", kernels, ["kernel", "arch"]
    )


def details(kernels: pd.DataFrame) -> Table:
    """Tabulate it by the sites that launch it."""
    return _metrics("The same by the sites that launch them", kernels, ["kernel", "sites"])


def _metrics(caption: str, kernels: pd.DataFrame, keys: list[str]) -> Table:
    rows = []
    places = [{value: i for i, value in enumerate(dict.fromkeys(kernels[key]))} for key in keys]
    groups = sorted(
        kernels.groupby(keys), key=lambda pair: [at[name] for at, name in zip(places, pair[0], strict=True)]
    )
    for values, group in groups:
        possible = group[group["vectors_possible"]]
        full = f"{(possible['vector_share'] >= 1).sum()} of {len(possible)}"
        numbers = (
            _range(group["registers"]),
            str(group["spill_instructions"].sum()),
            _range(group["shared_bytes"]),
            _range(group["instructions"]),
            _range(group["barriers"]),
            full,
            _range(group["resident_warps"]),
        )
        rows.append([*map(str, values), str(len(group)), *numbers])
    heads = ("compiled", "registers", "spills", SHARED, "instructions", "barriers", "full accesses", "warps held")
    return Table(caption, (*keys, *heads), rows, len(keys))


def faulty(kernels: pd.DataFrame) -> Table:
    """Tabulate what is wrong, a row a kernel that something is wrong with."""
    wrong = kernels[kernels["faults"].astype(bool)]
    rows = [
        [*(str(row[key]) for key in (*FAULTY, "spill_instructions", "stack_bytes")), share(row["vector_share"])]
        for row in wrong.to_dict("records")
    ]
    numbers = ("spill instructions", "stack (bytes)", f"bytes moved by {FULL_BITS} bits")
    return Table("What is wrong", (*FAULTY, *numbers), rows, len(FAULTY))


def faults(kernels: pd.DataFrame) -> list[str]:
    """Say what is wrong, a line a kernel that something is wrong with."""
    wrong = kernels[kernels["faults"].astype(bool)].to_dict("records")
    return [f"{', '.join(row[key] for key in FAULTY)}: {row['faults']}" for row in wrong]


def narrow(kernels: pd.DataFrame) -> Table:
    """Tabulate the shapes whose rows allow no full accesses."""
    keys = ["shape", "dtype", "layout"]
    rows = [
        [
            str(shape),
            str(dtype),
            NAMES[str(layout)],
            _range(group["narrowest_access_bits"]),
            _shares(group["vector_share"]),
        ]
        for (shape, dtype, layout), group in kernels[~kernels["vectors_possible"]].groupby(keys, sort=False)
    ]
    caption = f"Where rows are no multiples of {FULL_BITS} bits"
    return Table(caption, (*keys, "narrowest access (bits)", f"bytes moved by {FULL_BITS} bits"), rows, 3)


def traffic(sites: pd.DataFrame) -> Table:
    """Tabulate launches and bytes an element."""
    rows = [
        [
            row["site"],
            row["implementation"],
            row["dtype"],
            *("-" if pd.isna(row[key]) else str(row[key]) for key in ("launches_forward", "launches_backward")),
            *(f"{row[key]:g}" for key in ("bytes_per_element_forward", "bytes_per_element_backward")),
        ]
        for row in sites.to_dict("records")
    ]
    heads = (
        "site",
        "implementation",
        "dtype",
        "launches, forward",
        "backward",
        "bytes an element, forward",
        "backward",
    )
    return Table("Launches and bytes an element; in evaluation there is no backward pass", heads, rows, 3)


def model(floors: pd.DataFrame, sites: pd.DataFrame) -> Table:
    """Tabulate the model."""
    table = modelled(floors, sites)
    devices = list(dict.fromkeys(table["device"]))
    rows = []
    for (site, shape), group in table.groupby(["site", "shape"], sort=False):
        times = {row["device"]: (row["forward_us"], row["backward_us"]) for row in group.to_dict("records")}
        rows.append([str(site), str(shape), *(f"{time:,.1f}" for device in devices for time in times[device])])
    heads = (f"{device}, {way}" for device in devices for way in ("forward", "backward"))
    return Table(f"Model, no measurement: microseconds, {COMPARED}", ("site", "shape", *heads), rows, 2)


def provenance(compiled: Compiled) -> tuple[Table, ...]:
    """Tabulate the tools, the GPUs, and where others' traffic was counted."""
    tools = [[name, version] for name, version in compiled.made_with.items()]
    devices = [
        [
            each.device,
            each.arch,
            str(each.processors),
            str(each.warps_per_processor),
            f"{each.bandwidth_bytes_per_s / 1e12:g}",
        ]
        for each in compiled.devices
    ]
    heads = ("GPU", "architecture", "multiprocessors", "warps each", "memory (TB/s)")
    sources = dict.fromkeys((each.implementation, each.source) for each in compiled.sites)
    return (
        Table("Compiled and read with", ("tool", "version"), tools, 2),
        Table("GPUs, by their data sheets", heads, devices, 2),
        Table("Bytes an element", ("implementation", "source"), [[*each] for each in sources], 2),
    )


def alt_registers(kernels: pd.DataFrame) -> str:
    """Describe the figure."""
    parts = []
    for (kernel, layout), group in kernels.groupby(["kernel", "layout"], sort=False):
        ranges = listed(f"{_range(cell['registers'])} on {arch}" for arch, cell in group.groupby("arch", sort=False))
        parts.append(f"{kernel}, {NAMES[str(layout)]}: {ranges}")
    return f"Registers a thread. {'; '.join(parts)}."


def alt_traffic(table: pd.DataFrame) -> str:
    """Describe the figure."""
    parts = [
        f"{row['site']}, {row['implementation']}: {row['bytes_per_element_forward']:g} forward,"
        f" {row['bytes_per_element_backward']:g} backward"
        for row in table.to_dict("records")
    ]
    return f"Bytes an element in {COMPARED}. {'; '.join(parts)}."


def alt_floors(table: pd.DataFrame) -> str:
    """Describe the figure."""
    parts = []
    for (site, shape), group in table.groupby(["site", "shape"], sort=False):
        times = listed(f"{row['total_us']:,.1f} on {row['device']}" for row in group.to_dict("records"))
        parts.append(f"{site}, {shape}: {times}")
    return f"Model of the time in microseconds, forward and backward, {COMPARED}. {'; '.join(parts)}."


def console(kernels: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return `summary` for a terminal, heads first; what is widest is left to the page."""
    table = summary(kernels)
    shown = [i for i, head in enumerate(table.columns) if head not in {SHARED, "barriers"}]
    return [tuple(row[i] for i in shown) for row in ([head.upper() for head in table.columns], *table.rows)]


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low} to {high}"


def _shares(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return share(low) if low == high else f"{share(low)} to {share(high)}"
