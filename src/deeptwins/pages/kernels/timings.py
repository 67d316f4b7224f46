"""From the timings of `bench/bench_bn_relu_add.py` to tables, and what became of the targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import pandas as pd

from deeptwins.pages import targets
from deeptwins.pages.tables import Column, Table
from deeptwins.pages.targets import Target
from deeptwins.records.benchmarks import Benches, Timing, Timings, distinct
from deeptwins.records.fields import FromOne, Measurement, Strict, Text

BENCH = "bench_bn_relu_add"
AGAIN = "write it with `tox -e bench -- bench/bench_bn_relu_add.py`"
DIRECTIONS = ("forward", "forward+backward")
JOIN, NO_JOIN = ("join", "no join")
PEERS = ("apex",)  # that fuse the same, and are timed where they are installed
SETTING = ["nets", "site", "shape", "dtype", "layout", "direction"]  # timings are compared within one


class FusedInfo(Strict):
    """The settings of a case of the fused operation, as the bench stored them."""

    nets: Sequence[str]
    """Those that have the operation at this shape."""
    join: bool
    """Whether a residual is added."""
    shape: Sequence[FromOne]
    l2_bytes: Measurement | None
    """Of the device's cache; that of a CPU is not known."""
    dtype: Text
    layout: Text
    direction: Literal["forward", "forward+backward"]
    implementation: Text
    timed: Text
    """By which clock."""
    device: Text
    torch: Text
    bytes: Measurement
    """That the operation must move."""
    tensor_bytes: Measurement
    """Of one activation."""
    copy_gb_per_s: Measurement


def _in_resnet_50(site: str, frame: pd.DataFrame) -> pd.Series:
    """Mark the rows of ResNet-50's training step in bf16 at one kind of site."""
    nets = frame["nets"].str.contains("(?:^|, )resnet-50(?:,|$)")
    step = (frame["dtype"] == "bf16") & (frame["direction"] == "forward+backward")
    return nets & step & (frame["site"] == site)


TARGETS = (
    Target(
        "at least 90 % of a copy's bandwidth, tensors that exceed the L2 cache",
        "percent_of_copy",
        90,
        lambda frame: frame["tensor_bytes"] > frame["l2_bytes"],
    ),
    *(
        Target(
            f"at least {least} times as fast as {baseline}, ResNet-50's {places} in bf16, forward+backward",
            f"over_{baseline}",
            least,
            partial(_in_resnet_50, site),
        )
        for places, site, baseline, least in (
            ("joins", JOIN, "compiled", 1.15),
            ("joins", JOIN, "eager", 1.6),
            ("other sites", NO_JOIN, "compiled", 1.2),
            ("other sites", NO_JOIN, "eager", 1.5),
        )
    ),
    Target("never slower than eager", "over_eager", 1, lambda frame: frame["over_eager"] > 0),
)


def derive(timings: Timings) -> pd.DataFrame:
    """Tabulate the timings, a row per case, with the effective bandwidth and the speed-ups that they mean.

    `gb_per_s` counts the bytes that the fused operation must move, whatever the implementation moves. `over_eager` and
    `over_compiled` are their times divided by this one, in the same setting, NaN where they were not timed, and so is
    the column of a peer that was timed in any.

    Raises:
        InputError: a case makes no sense, or there is none of the fused operation.
    """
    frame = pd.DataFrame(map(_row, timings.cases(Timing[FusedInfo], "damaged: ")))
    if frame.empty:
        raise timings.refused(f"no timing of {BENCH}")
    frame["gb_per_s"] = frame["bytes"] / frame["median_s"] / 1e9
    frame["percent_of_copy"] = 100 * frame["gb_per_s"] / frame["copy_gb_per_s"]
    for baseline in ("eager", "compiled", *PEERS):
        times = frame[frame["implementation"] == baseline].drop_duplicates(SETTING).set_index(SETTING)["median_s"]
        if baseline in PEERS and times.empty:
            continue
        frame[f"over_{baseline}"] = frame.join(times.rename("baseline_s"), on=SETTING)["baseline_s"] / frame["median_s"]
    return frame


def over(frame: pd.DataFrame) -> list[str]:
    """Name the columns of speed-ups."""
    return [column for column in map(str, frame) if column.startswith("over_")]


BENCHES = Benches("kernels", (BENCH,), derive, AGAIN)


def _row(case: Timing[FusedInfo]) -> dict[str, str | float]:
    """Flatten a case."""
    info, stats = case.extra_info, case.stats
    return {
        "nets": ", ".join(info.nets),
        "site": JOIN if info.join else NO_JOIN,
        "shape": "x".join(map(str, info.shape)),
        "l2_bytes": math.nan if info.l2_bytes is None else info.l2_bytes,
        **info.model_dump(exclude={"nets", "join", "shape", "l2_bytes"}),
        **{f"{key}_s": getattr(stats, key) for key in ("median", "q1", "q3")},
    }


def tables(frame: pd.DataFrame) -> tuple[Table, ...]:
    """Tabulate the targets, the speed-ups, the times, and what they were measured on: only what was measured."""
    every = _targets(frame), _speedups(frame), _times(frame), _machine(frame)
    return tuple(table for table in every if table.rows)


def _targets(frame: pd.DataFrame) -> Table:
    """Check each target on each row it is about: the worst one decides. One that nothing was measured for is no row."""
    triton = frame[(frame["implementation"] == "triton") & targets.are_for(frame["device"])]
    rows = []
    for target in TARGETS:
        measured = target.rows(triton)
        if measured.empty:
            continue
        worst, values = measured.iloc[0], measured[target.column]
        least = worst[target.column]
        place = ", ".join(worst[["site", "shape", "dtype", "layout", "direction"]])
        met = f"{(values >= target.least).sum()} of {len(values)}"
        rows.append([target.text, target.result(least), place, f"{least:.2f}", f"{values.median():.2f}", met])
    heads = ("target of the Triton kernels", "result", "worst setting", "least", "median", "settings that meet it")
    return Table(f"{targets.WHERE}; each setting must meet them", heads, rows, 3)


def _speedups(frame: pd.DataFrame) -> Table:
    columns = {
        f"{name}, times as fast as {baseline}": (name, f"over_{baseline}", "{:.2f}")
        for baseline in (column.removeprefix("over_") for column in over(frame))
        for name in dict.fromkeys(frame["implementation"])
        if name not in {"eager", baseline}
    }
    columns |= {
        f"{name}, % of a copy's bandwidth": (name, "percent_of_copy", "{:.0f}")
        for name in dict.fromkeys(frame["implementation"])
    }
    return _table("Speed-ups, and effective bandwidth beside that of a copy", frame, columns)


def _times(frame: pd.DataFrame) -> Table:
    microseconds = frame[["median_s", "q1_s", "q3_s"]] * 1e6
    cells = [f"{median:,.1f} ({q1:,.1f} to {q3:,.1f})" for median, q1, q3 in microseconds.to_numpy()]
    columns = {f"{name} (µs)": (name, "cell", "{}") for name in dict.fromkeys(frame["implementation"])}
    return _table("Times of a call: median, first and third quartile", frame.assign(cell=cells), columns)


def _table(caption: str, frame: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]]) -> Table:
    """Tabulate settings, a row per setting. Columns without a measurement are left out.

    What all settings share is told in the caption.

    Args:
        caption: of the table.
        frame: the timings.
        columns: by head: whose value, under which key, and how to write it.
    """
    rows = []
    for setting, group in frame.groupby(SETTING, sort=False):
        timings = {row["implementation"]: row for row in group.to_dict("records")}
        values = {head: timings.get(name, {}).get(key) for head, (name, key, _) in columns.items()}
        rows.append({**dict(zip(SETTING, setting, strict=True)), **values})
    table = pd.DataFrame(rows)
    measured = table[list(columns)].dropna(axis="columns", how="all")
    numbers = [Column(head, head, partial(_cell, columns[head][2])) for head in map(str, measured)]
    shared = [key for key in SETTING if len(table) > 1 and table[key].nunique() == 1]
    if shared:
        caption = f"{caption}. All rows: {', '.join(table[shared].iloc[0])}"
    return Table.of(table, caption, [Column(key, key) for key in SETTING if key not in shared], numbers)


def _cell(form: str, value: float | str | None) -> str:
    return "-" if pd.isna(value) else form.format(value)


def _machine(frame: pd.DataFrame) -> Table:
    speeds = (f"{speed:,.0f} GB/s" for speed in frame["copy_gb_per_s"])
    values = {"device": frame["device"], "torch": frame["torch"], "timed by": frame["timed"], "a copy": speeds}
    rows = [(what, distinct(texts)) for what, texts in values.items()]
    return Table.facts(rows, "What the timings were measured on")
