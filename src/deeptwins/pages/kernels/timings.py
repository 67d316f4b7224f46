"""From the timings of `bench/bench_bn_relu_add.py` to tables, and what became of the targets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from deeptwins.errors import line
from deeptwins.pages.tables import Column, Table
from deeptwins.records import benchmarks

BENCH = "bench_bn_relu_add"
AGAIN = "write it with `tox -e bench -- bench/bench_bn_relu_add.py`"
DIRECTIONS = ("forward", "forward+backward")
WORDS = ("dtype", "layout", "direction", "implementation", "timed", "device", "torch")
NUMBERS = ("bytes", "tensor_bytes", "copy_gb_per_s")
SETTING = ["nets", "site", "shape", "dtype", "layout", "direction"]  # timings are compared within one

SITES = ("join", "no join")


@dataclass(frozen=True)
class Target:
    """At least so much in a column, in each of those rows of the Triton kernels that it is about."""

    text: str
    column: str
    least: float
    about: str
    """A query to the rows."""


TARGETS_ARE_FOR = ("H100", "H200")
_OF_RESNET_50 = "nets.str.contains('(?:^|, )resnet-50(?:,|$)') and dtype == 'bf16' and direction == 'forward+backward'"
TARGETS = (
    Target(
        "at least 90 % of a copy's bandwidth, tensors that exceed the L2 cache",
        "percent_of_copy",
        90,
        "tensor_bytes > l2_bytes",
    ),
    *(
        Target(
            f"at least {least} times as fast as {baseline}, ResNet-50's {places} in bf16, forward+backward",
            f"over_{baseline}",
            least,
            f"site == '{site}' and {_OF_RESNET_50}",
        )
        for places, site, baseline, least in (
            ("joins", "join", "compiled", 1.15),
            ("joins", "join", "eager", 1.6),
            ("other sites", "no join", "compiled", 1.2),
            ("other sites", "no join", "eager", 1.5),
        )
    ),
    Target("never slower than eager", "over_eager", 1, "over_eager > 0"),
)


def load(path: Path) -> pd.DataFrame:
    """Read what pytest-benchmark wrote: a row a timing, with the effective bandwidth and the speed-ups that it means.

    `gb_per_s` counts the bytes that the fused operation must move, whatever the implementation moves. `over_eager` and
    `over_compiled` are their times divided by this one, in the same setting; NaN where they were not timed.

    Raises:
        InputError: the file cannot be read, is damaged, or has no timing of the fused operation.
    """
    timings = benchmarks.read([path], AGAIN).of(BENCH)
    try:
        frame = pd.DataFrame(map(_row, timings.content["benchmarks"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise timings.refused(f"damaged, or not pytest-benchmark's ({line(repr(error))})") from None
    if frame.empty:
        raise timings.refused(f"no timing of {BENCH}")
    frame["gb_per_s"] = frame["bytes"] / frame["median_s"] / 1e9
    frame["percent_of_copy"] = 100 * frame["gb_per_s"] / frame["copy_gb_per_s"]
    for baseline in ("eager", "compiled"):
        times = frame[frame["implementation"] == baseline].drop_duplicates(SETTING).set_index(SETTING)["median_s"]
        frame[f"over_{baseline}"] = frame.join(times.rename("baseline_s"), on=SETTING)["baseline_s"] / frame["median_s"]
    return frame


def _row(benchmark: Mapping[str, Any]) -> dict[str, str | float]:
    """Flatten a timing; what is missing or makes no sense raises."""
    info, stats = benchmark["extra_info"], benchmark["stats"]
    words = {key: str(info[key]) for key in WORDS}
    numbers = {key: float(info[key]) for key in NUMBERS}
    numbers |= {f"{key}_s": float(stats[key]) for key in ("median", "q1", "q3")}
    if wrong := [key for key, value in numbers.items() if not 0 < value < math.inf]:
        raise ValueError(f"{wrong[0]} = {numbers[wrong[0]]}")
    if words["direction"] not in DIRECTIONS:
        raise ValueError(f"direction = {words['direction']}")
    return {
        "nets": ", ".join(info["nets"]),
        "site": SITES[0] if info["join"] else SITES[1],
        "shape": "x".join(str(int(size)) for size in info["shape"]),
        "l2_bytes": math.nan if info["l2_bytes"] is None else float(info["l2_bytes"]),  # a CPU's is not known
        **words,
        **numbers,
    }


def tables(frame: pd.DataFrame) -> tuple[Table, ...]:
    """Tabulate the targets, the speed-ups, the times, and what they were measured on."""
    return _targets(frame), _speedups(frame), _times(frame), _machine(frame)


def _targets(frame: pd.DataFrame) -> Table:
    """Check each target on each row it is about: the worst one decides."""
    here = frame["device"].str.contains("|".join(TARGETS_ARE_FOR)).all()
    triton = frame[frame["implementation"] == "triton"]
    rows = []
    for target in TARGETS:
        found = triton.query(target.about, engine="python").dropna(subset=target.column)
        found = found.sort_values(target.column, kind="stable")
        if not here or found.empty:
            rows.append([target.text, "-", "-", "-", "not measured here"])
            continue
        worst, values = found.iloc[0], found[target.column]
        place = ", ".join(worst[["site", "shape", "dtype", "layout", "direction"]])
        mark = "✓ met" if values.iloc[0] >= target.least else "✗ missed"
        met = f"{(values >= target.least).sum()} of {len(values)}"
        rows.append([target.text, f"{values.iloc[0]:.2f} ({place})", f"{values.median():.2f}", met, mark])
    heads = ("target of the Triton kernels", "least", "median", "settings that meet it", "result")
    return Table(f"Targets for an {' or '.join(TARGETS_ARE_FOR)}; each setting must meet them", heads, rows, 5)


def _speedups(frame: pd.DataFrame) -> Table:
    columns = {
        f"{name}, times as fast as {baseline}": (name, f"over_{baseline}", "{:.2f}")
        for baseline in ("eager", "compiled")
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
    """Tabulate settings; a column, by its head, is a value of an implementation and how to write it."""
    rows = []
    for setting, group in frame.groupby(SETTING, sort=False):
        of = {row["implementation"]: row for row in group.to_dict("records")}
        values = {head: of.get(name, {}).get(key) for head, (name, key, _) in columns.items()}
        rows.append({**dict(zip(SETTING, setting, strict=True)), **values})
    numbers = [Column(head, head, partial(_cell, form)) for head, (_, _, form) in columns.items()]
    return Table.of(rows, caption, [Column(key, key) for key in SETTING], numbers)


def _cell(form: str, value: float | str | None) -> str:
    return "-" if pd.isna(value) else form.format(value)


def _machine(frame: pd.DataFrame) -> Table:
    speeds = (f"{speed:,.0f} GB/s" for speed in frame["copy_gb_per_s"])
    values = {"device": frame["device"], "torch": frame["torch"], "timed by": frame["timed"], "a copy": speeds}
    rows = [(what, "; ".join(dict.fromkeys(texts))) for what, texts in values.items()]
    return Table.facts(rows, "What the timings were measured on")
