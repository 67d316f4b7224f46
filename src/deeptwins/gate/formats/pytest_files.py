"""A run of the gate as files of pytest-benchmark, one per arm, which its own tools compare."""

from __future__ import annotations

import json
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deeptwins.gate.judge.samples import ARMS, measured, segments
from deeptwins.gate.runs import Benchmark, Run, Side

VERSION = "5.3.1"  # of pytest-benchmark, whose format and quartiles these are


def files(run: Run) -> Mapping[str, str]:
    """Return `base.json` and `head.json`; nothing where nothing was measured to the end."""
    if not measured(run):
        return {}
    return {f"{arm}.json": json.dumps(_content(run, arm), indent=4, ensure_ascii=False) + "\n" for arm in ARMS}


def _content(run: Run, arm: Side) -> dict[str, Any]:
    commit = run.git.head if arm == "head" else run.git.base
    return {
        "machine_info": _machine(run),
        "commit_info": {
            "id": commit,
            "time": None,
            "author_time": None,
            "dirty": run.git.dirty and arm == "head",
            "project": "(unknown)",
            "branch": "(unknown)",
        },
        "benchmarks": [_benchmark(run, arm, benchmark) for benchmark in measured(run)],
        "datetime": run.started.replace("Z", "+00:00"),
        "version": VERSION,
    }


def _machine(run: Run) -> dict[str, Any]:
    """Describe the machine in pytest-benchmark's fields, as far as it is known; `environment` has the run's facts."""
    facts = run.environment.facts
    system, _, release = str(facts.get("os") or "").partition(" ")
    return {
        "node": facts.get("node"),
        "system": system or None,
        "release": release or None,
        "python_version": facts.get("python"),
        "cpu": {"brand_raw": facts.get("cpu"), "count": facts.get("cores")},
        "environment": {"machine": run.environment.machine, **facts},
    }


def _benchmark(run: Run, arm: Side, benchmark: Benchmark) -> dict[str, Any]:
    name = benchmark.id.rsplit("::", 1)[-1]
    _, bracket, param = name.partition("[")
    return {
        "group": None,
        "name": name,
        "fullname": benchmark.id,
        "params": None,
        "param": param.removesuffix("]") if bracket else None,
        "extra_info": {"arm": arm, "run": run.id, "kind": run.kind},
        "options": {},
        "stats": {**stats(segments(benchmark, arm)), "iterations": max(benchmark.calls, 1)},
    }


def stats(data: Sequence[float]) -> dict[str, Any]:
    """Compute the statistics of rounds, at least one, by pytest-benchmark's definitions."""
    ordered, n = sorted(data), len(data)
    mean = statistics.mean(data)
    deviation = statistics.stdev(data) if n > 1 else 0.0
    # Hazen's quartiles: of an even number of values the medians of its halves, as pytest-benchmark has them.
    q1, q3 = map(float, np.quantile(ordered, (0.25, 0.75), method="hazen"))
    fences = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond = sum(not mean - deviation <= seconds <= mean + deviation for seconds in data)
    outliers = sum(not fences[0] <= seconds <= fences[1] for seconds in data)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": n,
        "median": statistics.median(data),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outliers,
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{outliers}",
        "ld15iqr": ordered[0] if n == 1 else ordered[bisect_left(ordered, fences[0])],
        "hd15iqr": ordered[bisect_right(ordered, fences[1]) - 1],
        "ops": n / sum(data),
        "total": sum(data),
        "data": list(data),
    }
