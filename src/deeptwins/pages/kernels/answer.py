"""What the fused operation saves, in words: of bytes, which are counted, and of time, which is measured or modelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deeptwins.pages import targets
from deeptwins.pages.kernels.tables import COMPARED, OURS, modelled, totals
from deeptwins.pages.kernels.timings import DIRECTIONS, over
from deeptwins.pages.page import Number
from deeptwins.pages.tables import span
from deeptwins.pages.wording import count, listed, share
from deeptwins.records.benchmarks import distinct
from deeptwins.records.kernels import FULL_BITS

# In words; figures and tables have the names of the implementations.
NAMES = {"compiled": "torch.compile", OURS: "fused"}
PLACES = {"join": "at a join", "no join": "without a residual"}


def answer(sites: pd.DataFrame, floors: pd.DataFrame, times: pd.DataFrame) -> str:
    """Say in one line what it saves of bytes and of time, and whether a time was measured."""
    site, moved = next(iter(totals(sites).items()))
    first, *more = (f"{_fewer(moved, name)} than {_name(name)}" for name in _others(moved))
    saved = listed([first.replace(" than", " bytes than"), *more])
    return f"{_place(site).capitalize()} it moves {saved}. {_time(sites, floors, times)}"


def evidence(kernels: pd.DataFrame, sites: pd.DataFrame, floors: pd.DataFrame, times: pd.DataFrame) -> list[str]:
    """Say what the answer rests on: the bytes, the model, what was timed, and what the kernels were compiled to."""
    timed = [] if times.empty else [_timed(times)]
    return [_bytes(sites), _model(sites, floors), *timed, _compiled(kernels)]


def numbers(sites: pd.DataFrame) -> list[Number]:
    """Give what each implementation moves at the first site, and at the others in the note."""
    (site, moved), *others = totals(sites).items()
    return [
        Number(
            _name(name) + (f" ({name})" if name in NAMES else ""),
            f"{number:g} B",
            "; ".join([f"per element {_place(site)}", *(f"{row[name]:g} B {_place(other)}" for other, row in others)]),
        )
        for name, number in moved.items()
    ]


def _name(implementation: str) -> str:
    return NAMES.get(implementation, implementation)


def _place(site: str) -> str:
    return PLACES.get(site, f"at a site {site}")


def _others(moved: Mapping[str, float]) -> list[str]:
    """Name the implementations, but for ours."""
    return [name for name in moved if name != OURS]


def _fewer(moved: Mapping[str, float], name: str) -> str:
    """Compare our bytes with those of another implementation: `41 % fewer`."""
    ratio = moved[OURS] / moved[name]
    return f"{share(abs(1 - ratio))} {'fewer' if ratio <= 1 else 'more'}"


def _bytes(sites: pd.DataFrame) -> str:
    parts = [
        f"{_place(site)} {moved[OURS]:g}, "
        + listed(f"{_fewer(moved, name)} than {_name(name)} ({moved[name]:g})" for name in _others(moved))
        for site, moved in totals(sites).items()
    ]
    return (
        f"Bytes are counted, not measured. Per element, forward and backward, in {COMPARED}: {'; '.join(parts)}. The"
        " result of a join is used twice, so two gradients come back, and summing them counts."
    )


def _largest(sites: pd.DataFrame, floors: pd.DataFrame) -> list[dict[str, Any]]:
    """Choose the model of the first site at its largest shape: a row per GPU."""
    table = modelled(floors, sites)
    first = table[table["site"] == next(iter(totals(sites)))]
    shape = first.sort_values("total_us")["shape"].iloc[-1]
    rows: list[Any] = first[first["shape"] == shape].to_dict("records")
    return rows


def _time(sites: pd.DataFrame, floors: pd.DataFrame, times: pd.DataFrame) -> str:
    """Say what it saves of time: measured, if the fused kernels were timed, else by the model."""
    ours = times if times.empty else times[times["implementation"] == OURS]
    if len(ours):
        return f"On {distinct(ours['device'])} it is {_ratios(ours)}."
    rows = _largest(sites, floors)
    row = next((row for row in rows if targets.are_for([row["device"]])), rows[0])
    others = listed(f"{_name(name)} {_ms(row[name])}" for name in _others(totals(sites)[row["site"]]))
    return f"Not yet timed on a GPU: by a model it takes {_ms(row[OURS])} ms on {row['device']}, {others}."


def _ratios(ours: pd.DataFrame) -> str:
    """Say how many times as fast as the others the fused kernels are, in training if that was timed."""
    step = ours[ours["direction"] == DIRECTIONS[-1]]
    ours = step if len(step) else ours
    phrases = []
    for column in over(ours):
        ratios = ours[column].dropna()
        if len(ratios):
            some = "" if len(ratios) == len(ours) else f" in {len(ratios)} of them"
            phrases.append(f"{ratios.median():.2f} times as fast as {_name(column.removeprefix('over_'))}{some}")
    what = f"({distinct(ours['direction'])}, median of {count(len(ours), 'setting')})"
    return f"{listed(phrases)} {what}" if phrases else f"timed, but nothing beside it {what}"


def _model(sites: pd.DataFrame, floors: pd.DataFrame) -> str:
    rows = _largest(sites, floors)
    names = _others(totals(sites)[rows[0]["site"]])
    devices = []
    for row in rows:
        others = ", ".join(f"{_name(name)} {_ms(row[name])}" for name in names)
        devices.append(f"{_ms(row[OURS])} ms on {row['device']} ({others})")
    return (
        "The model of the time is these bytes at the peak bandwidth of the GPU's memory. Forward and backward"
        f" {_place(rows[0]['site'])} of {rows[0]['shape']}, the largest shape: {listed(devices)}."
    )


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1e3:,.2f}"


def _timed(times: pd.DataFrame) -> str:
    """Say what was timed, and that the fused kernels were not where they were not."""
    names = listed(dict.fromkeys(map(_name, times["implementation"])))
    missing = "" if (times["implementation"] == OURS).any() else "; the fused kernels were not, as they need a GPU"
    return f"Timed on {distinct(times['device'])}: {names}{missing}."


def _compiled(kernels: pd.DataFrame) -> str:
    """Say how many kernels spill, and how many have full accesses."""
    spilled = int((kernels[["stack_bytes", "spill_instructions"]] > 0).any(axis=1).sum())
    none, verb = str(spilled or "none"), "spill" if spilled > 1 else "spills"
    possible = kernels[kernels["vectors_possible"]]
    full = int((possible["vector_share"] >= 1).sum())
    wide = "all bytes of activations move" if full == len(possible) else f"in {full} of them all bytes move"
    archs = listed(dict.fromkeys(kernels["arch"]))
    return (
        f"Of {count(len(kernels), 'kernel')} compiled for {archs} {none} {verb} a register; they take"
        f" {span(kernels['registers'])} registers per thread. In the {len(possible)} whose rows of memory are multiples"
        f" of {FULL_BITS} bits, {wide} by full accesses."
    )
