"""A run of the gate as results of airspeed velocity: each arm at its commit, for `asv publish`, `show` and `compare`.

Times are of type `time`, numbers of the exact tier of type `track`. Numbers that are better when larger are left out:
asv would take them for worse. asv files results by commit, so an arm without a commit, or with changes that are not
committed, cannot be exported. A result has the date of its run: a run does not know when a commit was made.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from statistics import median
from typing import Any

import numpy as np
from scipy import stats

from deeptwins.errors import InputError
from deeptwins.gate.judge.metrics import METRICS
from deeptwins.gate.judge.samples import ARMS, measured, numbers, segments
from deeptwins.gate.runs import COMMIT, Benchmark, Run, Side

COLUMNS = (
    *("result", "params", "version", "started_at", "duration"),
    *("stats_ci_99_a", "stats_ci_99_b", "stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples"),
)
RESULTS, BENCHMARKS, MACHINE = 2, 2, 1  # versions of asv's three formats
CONFIDENCE = 0.99  # of asv's intervals


def files(run: Run) -> Mapping[str, str]:
    """Return the files of asv's folder of results; nothing where there is neither a time nor a number.

    Raises:
        InputError: an arm is not what its commit holds.
    """
    described = {one["name"]: one for one, _ in _series(run)}
    if not described:
        return {}
    _check(run)
    machine = _slug(run.environment.machine)
    facts = run.environment.facts
    machine_facts = {
        "machine": machine,
        "os": str(facts.get("os") or ""),
        "arch": str(facts.get("arch") or ""),
        "cpu": str(facts.get("cpu") or ""),
        "num_cpu": str(facts.get("cores") or ""),
        "ram": str(facts.get("memory_gib") or ""),
    }
    written: dict[str, Any] = {
        "results/benchmarks.json": {**described, "version": BENCHMARKS},
        f"results/{machine}/machine.json": {**machine_facts, "version": MACHINE},
    }
    # Where a commit is set against itself, both arms would have the same file: head's is written.
    arms: dict[str, Side] = {run.git.base: "base", run.git.head: "head"}
    params = {**machine_facts, "python": str(facts.get("python") or "unknown")}
    for commit, arm in arms.items():
        content = _results(run, arm, commit, params)
        written[f"results/{machine}/{commit[:8]}-{content['env_name']}.json"] = content
    return {name: json.dumps(content, indent=1) + "\n" for name, content in written.items()}


def _check(run: Run) -> None:
    """Refuse an arm whose code is not exactly its commit's."""
    reason = "asv files results by commit"
    for arm, name in (("base", run.git.base), ("head", run.git.head)):
        if not COMMIT.fullmatch(name):
            raise InputError(f"run {run.id}: its {arm} is of no commit, {name}; {reason}")
    if run.git.dirty:
        raise InputError(f"run {run.id}: its head has changes that are not committed; {reason}")
    if run.injected is not None or run.added:
        raise InputError(f"run {run.id}: its head was made worse on purpose; {reason}")


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "unknown"


def _series(run: Run) -> Iterator[tuple[dict[str, Any], Mapping[Side, Mapping[str, Any]]]]:
    """Describe each benchmark and number as asv does, by a function that begins with its type; and give its columns."""
    for benchmark in measured(run):
        module, colons, function = benchmark.id.rpartition("::")
        name = f"{module.removesuffix('.py')}.time_{function}" if colons else f"time_{function}"
        rows = {arm: _time_row(benchmark, arm) for arm in ARMS}
        yield _described(name, "time", "seconds", run.git.suite or "1"), rows
    for (subject, metric), values in numbers(run).items():
        rows = {arm: {"result": [value]} for arm, value in values.items()}
        yield _described(f"{subject}.track_{metric}", "track", METRICS[metric].unit, "1"), rows


def _described(name: str, kind: str, unit: str, version: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "unit": unit, "params": [], "param_names": [], "version": version, "code": ""}


def _results(run: Run, arm: Side, commit: str, params: Mapping[str, str]) -> dict[str, Any]:
    at = int(1e3 * datetime.fromisoformat(run.started).timestamp())
    rows = {
        described["name"]: {**by_arm[arm], "params": [], "started_at": at, "version": described["version"]}
        for described, by_arm in _series(run)
        if arm in by_arm
    }
    return {
        "commit_hash": commit,
        "env_name": f"deeptwins-py{_slug(params['python'])}",
        "date": at,
        "params": params,
        "python": params["python"],
        "requirements": {},
        "env_vars": {},
        "result_columns": COLUMNS,
        "results": {name: [row.get(column) for column in COLUMNS] for name, row in rows.items()},
        "durations": {},
        "version": RESULTS,
    }


def _time_row(benchmark: Benchmark, arm: Side) -> dict[str, Any]:
    data = segments(benchmark, arm)
    interval: Any = stats.quantile_test(data, p=0.5).confidence_interval(CONFIDENCE)
    low, high = interval
    q_25, q_75 = np.quantile(data, (0.25, 0.75))
    return {
        "result": [median(data)],
        # Too few values have no interval: asv writes infinite ends then, and reads them again.
        "stats_ci_99_a": [-math.inf if math.isnan(low) else float(low)],
        "stats_ci_99_b": [math.inf if math.isnan(high) else float(high)],
        "stats_q_25": [float(q_25)],
        "stats_q_75": [float(q_75)],
        "stats_number": [max(benchmark.calls, 1)],
        "stats_repeat": [len(data)],
        "samples": [data],
    }
