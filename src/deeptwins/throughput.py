"""From the timings of `bench/bench_throughput.py` to how fast a study's nets train, by which way, and to targets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deeptwins import records
from deeptwins.errors import InputError, line

BENCH = "bench_throughput.py::"
AGAIN = "write it with `bench/gpu.sh throughput`"
TOGETHER, ALONE, USUAL, COMPILED = WAYS = ("together", "alone", "usual", "compiled")
WORDS = ("twin", "precision", "image", "dataset", "device", "torch")
NUMBERS = ("nets", "batch", "width", "iterations", "study_iterations", "least_bytes", "copy_gb_per_s")
TARGETS_ARE_FOR = ("H100", "H200")
MINUTES = 10
_DAMAGED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Pair:
    """The trainer against a loop, in one precision: how many times as fast it is to be."""

    loop: str
    precision: str
    least: float


PAIRS = (Pair(USUAL, "fp32", 20), Pair(COMPILED, "bf16", 5))


@dataclass(frozen=True)
class Throughput:
    """All that a file of timings says."""

    cases: pd.DataFrame
    """A row a case: what was timed, its time, its rates, and its share of the memory floor, `percent_of_floor`."""
    rates: pd.DataFrame
    """A row a way and precision in which all nets were timed: `net_iterations_per_s`, `minutes` for the study's seed.

    The minutes are a projection: iterations of the study over the measured rate, and no evaluation.
    """
    ratios: pd.DataFrame
    """A row a loop that all nets were timed in: `ratio`, how many times as fast the trainer is with all of them."""
    date: str
    device: str
    rehearsal: bool

    @property
    def judged(self) -> bool:
        """Whether the targets are for this device."""
        return not self.rehearsal and any(name in self.device for name in TARGETS_ARE_FOR)


def path_of(results: Path) -> Path:
    """Where the timings lie: JSON of pytest-benchmark."""
    return results / "throughput" / "timings.json"


def keep(files: Sequence[Path], results: Path) -> Path:
    """Copy timings to where the page finds them, those of several files as one; returns the copy.

    Raises:
        InputError: they cannot be read, do not compare, or have none of the nets together.
        OSError: the folder cannot be written.
    """
    contents = [_content(file) for file in files]
    merged = contents[0] | {"benchmarks": [each for content in contents for each in content["benchmarks"]]}
    _found(merged, ", ".join(map(str, files)))
    kept = path_of(results)
    kept.parent.mkdir(parents=True, exist_ok=True)
    records.replace(kept, json.dumps(merged, indent=4).encode())
    return kept


def load(path: Path) -> Throughput:
    """Read what pytest-benchmark wrote.

    Raises:
        InputError: the file cannot be read, is damaged, mixes devices, or has no timing of the nets together.
    """
    return _found(_content(path), str(path))


def _content(path: Path) -> dict[str, Any]:
    """Read a file; that it has a list of benchmarks is checked, and no more."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content | {"benchmarks": [*content["benchmarks"]]}
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {AGAIN}") from None
    except _DAMAGED as error:
        raise _damaged(str(path), error) from None


def _found(content: Mapping[str, Any], path: str) -> Throughput:
    """Make sense of what a file, or several, say."""
    try:
        date = str(content.get("datetime", ""))[:10]
        found = [_row(benchmark) for benchmark in content["benchmarks"] if BENCH in benchmark["fullname"]]
    except _DAMAGED as error:
        raise _damaged(path, error) from None
    cases = pd.DataFrame(found)
    if cases.empty or not (cases["way"] == TOGETHER).any():
        raise InputError(f"{path}: no timing of all nets together by bench_throughput; {AGAIN}")
    if len(cases[["device", "torch", "rehearsal"]].drop_duplicates()) > 1:
        raise InputError(f"{path}: timings of several devices or versions, which do not compare; {AGAIN}")
    if cases.duplicated(["way", "twin", "depth", "precision"]).any():
        raise InputError(f"{path}: a case stands there twice; {AGAIN}")
    by_way = rates(cases)
    first = cases.iloc[0]
    return Throughput(cases, by_way, ratios(by_way), date, str(first["device"]), bool(first["rehearsal"]))


def _damaged(path: str, error: Exception) -> InputError:
    return InputError(f"{path}: damaged, or not pytest-benchmark's ({line(repr(error))}); {AGAIN}")


def _row(benchmark: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """Flatten a case; what is missing or makes no sense raises."""
    info, stats = benchmark["extra_info"], benchmark["stats"]
    words = {key: str(info[key]) for key in ("way", *WORDS)}
    numbers = {key: float(info[key]) for key in NUMBERS} | {"seconds": float(stats["median"])}
    if wrong := [key for key, value in numbers.items() if not 0 < value < math.inf]:
        raise ValueError(f"{wrong[0]} = {numbers[wrong[0]]}")
    if words["way"] not in WAYS:
        raise ValueError(f"way = {words['way']}")
    nets, iteration_s = numbers["nets"], numbers["seconds"] / numbers["iterations"]
    floor_s = numbers["least_bytes"] / (numbers["copy_gb_per_s"] * 1e9)
    return {
        **words,
        "depth": math.nan if info["depth"] is None else float(info["depth"]),
        **numbers,
        "rehearsal": bool(info["rehearsal"]),
        "backend": str(info.get("backend", "")),
        "ms_per_iteration": 1e3 * iteration_s,
        "net_iterations_per_s": nets / iteration_s,
        "images_per_s": nets * numbers["batch"] / iteration_s,
        "floor_ms": 1e3 * floor_s,
        "percent_of_floor": 100 * floor_s / iteration_s,
    }


def rates(cases: pd.DataFrame) -> pd.DataFrame:
    """Sum up the ways: nets that train one after another take the sum of their times."""
    nets = cases.loc[cases["way"] == TOGETHER, "nets"].iloc[0]
    rows = []
    for (way, precision), own in cases.groupby(["way", "precision"], sort=False):
        if own["nets"].sum() != nets:
            continue  # some nets were not timed, and the others say nothing about them
        rate = nets / (own["ms_per_iteration"].sum() / 1e3)
        minutes = nets * own["study_iterations"].iloc[0] / rate / 60
        floor = 100 * own["floor_ms"].sum() / own["ms_per_iteration"].sum()
        rows.append((way, precision, nets, rate, minutes, floor))
    columns = ["way", "precision", "nets", "net_iterations_per_s", "minutes", "percent_of_floor"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values("way", key=lambda ways: ways.map(WAYS.index), kind="stable", ignore_index=True)


def ratios(by_way: pd.DataFrame) -> pd.DataFrame:
    """Divide the rate of all nets together by that of each loop in its precision."""
    rate = {(way, precision): value for way, precision, value in _rated(by_way)}
    rows = [
        (pair.loop, pair.precision, rate[TOGETHER, pair.precision] / rate[pair.loop, pair.precision], pair.least)
        for pair in PAIRS
        if {(TOGETHER, pair.precision), (pair.loop, pair.precision)} <= rate.keys()
    ]
    return pd.DataFrame(rows, columns=["loop", "precision", "ratio", "target"])


def _rated(by_way: pd.DataFrame) -> list[tuple[str, str, float]]:
    columns = by_way["way"], by_way["precision"], by_way["net_iterations_per_s"]
    return [(str(way), str(precision), float(value)) for way, precision, value in zip(*columns, strict=True)]
