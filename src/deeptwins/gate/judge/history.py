"""From the gate's runs against an anchor to histories: series of log(head/anchor), their steps, what else changed.

A ratio of two commits that were timed side by side has lost the machine, so runs of all machines form one series. Where
the anchor moves, the series goes on if the new anchor was once measured against the old one; else it begins anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from deeptwins.gate.judge.estimates import Estimate, estimate, usable
from deeptwins.gate.judge.metrics import changes
from deeptwins.gate.judge.steps import LEAST, steps
from deeptwins.gate.runs import Run, Value

# Facts of an environment that times and counts depend on: `toolchain` holds them where exact metrics were taken.
VERSIONS = ("python", "torch", "triton", "numpy")


@dataclass(frozen=True)
class _Point:
    benchmark: str
    place: int
    """Of the run among all runs that are shown."""
    run: str
    started: str
    commit: str
    machine: str
    anchor: str
    chain: int
    """Counts how often the series began anew."""
    log_ratio: float
    low: float
    high: float
    margin: float


@dataclass(frozen=True)
class _Change:
    benchmark: str
    chain: int
    place: int
    before: str
    """Commit: the last one that was measured before the step."""
    after: str
    """The first behind it."""
    log_size: float
    percent: float
    p: float
    confirmed: bool
    runs_before: int
    runs_after: int
    note: str
    """What else changed there."""


@dataclass(frozen=True)
class _Event:
    place: int
    commit: str
    what: str
    """`toolchain`, `suite` or `anchor`."""
    text: str


@dataclass(frozen=True)
class _ExactStep:
    place: int
    before: str
    after: str
    subject: str
    metric: str
    old: Value
    new: Value
    kind: str
    """`worse`, `better`, `changed`; `re-baseline`: measured with other tools, so it says nothing of the commit."""


@dataclass(frozen=True)
class History:
    """All that the runs against an anchor tell, in tables; a row's `place` counts runs from 0, the oldest first."""

    runs: int
    points: pd.DataFrame
    changes: pd.DataFrame
    events: pd.DataFrame
    exact: pd.DataFrame
    short: Mapping[str, int]
    """Benchmarks that have too few runs for a step to be found, with their longest series."""


def history(runs: Sequence[Run]) -> History:
    """Tell the history of runs, the oldest first; runs of other kinds than `anchor` are left out.

    Raises:
        InputError: ruptures is not installed, and a series is long enough to look for steps.
    """
    shown = [run for run in runs if run.kind == "anchor"]
    points = [*_points(shown)]
    table = _table(_Point, points)
    events = [*_events(shown, points)]
    found, short = [], {}
    for name, own in table.groupby("benchmark", sort=False):
        found += [change for _, series in own.groupby("chain") for change in _changes(series, events)]
        if (longest := int(own.groupby("chain").size().max())) < LEAST:
            short[str(name)] = longest
    return History(
        len(shown),
        table,
        _table(_Change, found),
        _table(_Event, events),
        _table(_ExactStep, [*_exact_steps(shown)]),
        short,
    )


def _points(runs: Sequence[Run]) -> Iterator[_Point]:
    measured: dict[str, list[tuple[int, Run, float | None, Estimate]]] = {}
    for place, run in enumerate(runs):
        for benchmark in run.benchmarks:
            if benchmark.status == "ok" and (pairs := usable(benchmark.pairs)):
                row = place, run, benchmark.margin, estimate(pairs)
                measured.setdefault(benchmark.id, []).append(row)
    for name in sorted(measured):
        rows = measured[name]
        shifts = _shifts([(run.git.head, run.git.base, found.log_ratio) for _, run, _, found in rows])
        for place, run, margin, found in rows:
            chain, shift = shifts[run.git.base]
            yield _Point(
                benchmark=name,
                place=place,
                run=run.id,
                started=run.started,
                commit=_commit(run),
                machine=run.environment.machine,
                anchor=run.git.anchor or run.git.base[:12],
                chain=chain,
                log_ratio=found.log_ratio + shift,
                low=found.low + shift,
                high=found.high + shift,
                margin=math.log1p(margin or run.design.least_margin),
            )


def _shifts(measured: Sequence[tuple[str, str, float]]) -> dict[str, tuple[int, float]]:
    """Give each anchor the number of its chain, and its log ratio to that chain's first anchor.

    Args:
        measured: head, anchor and log(head/anchor), the oldest first.
    """
    shifts: dict[str, tuple[int, float]] = {}
    for anchor in dict.fromkeys(base for _, base, _ in measured):
        links = [(base, ratio) for head, base, ratio in measured if head == anchor and base in shifts]
        if links:
            last = links[-1][0]  # the anchor that it followed
            chain, shift = shifts[last]
            ratio = float(np.median([ratio for base, ratio in links if base == last]))
            shifts[anchor] = chain, shift + ratio
        else:
            shifts[anchor] = max((chain for chain, _ in shifts.values()), default=-1) + 1, 0.0
    return shifts


def _changes(series: pd.DataFrame, events: Sequence[_Event]) -> Iterator[_Change]:
    half = (series["high"] - series["low"]).to_numpy(float) / (2 * stats.norm.ppf(0.975))
    error = float(np.median(half[np.isfinite(half)])) if np.isfinite(half).any() else 0.0
    rows = series.to_dict("records")
    for step in steps(series["log_ratio"].to_numpy(float), float(series["margin"].iloc[-1]), error):
        before, after = rows[step.at - 1], rows[step.at]
        told = [event.text for event in events if before["place"] < event.place <= after["place"]]
        if before["machine"] != after["machine"]:
            told.append("measured on another machine")
        if before["commit"] == after["commit"]:
            told.append("the same commit on both sides: not the code")
        yield _Change(
            after["benchmark"],
            after["chain"],
            after["place"],
            before["commit"],
            after["commit"],
            step.size,
            100 * math.expm1(step.size),
            step.p,
            step.confirmed,
            step.before,
            step.after,
            "; ".join(told),
        )


def _events(runs: Sequence[Run], points: Sequence[_Point]) -> Iterator[_Event]:
    """Tell what changed between runs, other than the code that is measured."""
    for place in range(1, len(runs)):
        before, after = runs[place - 1], runs[place]
        if moved := _moved(_tools(before), _tools(after)):
            yield _Event(place, _commit(after), "toolchain", moved)
        if before.git.suite != after.git.suite:
            yield _Event(place, _commit(after), "suite", "definitions of benchmarks changed")
        if before.git.base != after.git.base:
            own = {point.benchmark: point.chain for point in points if point.place == place}
            old = {point.benchmark: point.chain for point in points if point.place < place}
            anew = sorted(name for name, chain in own.items() if name in old and old[name] != chain)
            names = [run.git.anchor or run.git.base[:12] for run in (before, after)]
            text = f"anchor {names[0]} to {names[1]}"
            if anew:
                text += f", not measured against each other: begins anew ({len(anew)} of {len(own)} benchmarks)"
            yield _Event(place, _commit(after), "anchor", text)


def _tools(run: Run) -> dict[str, str]:
    """Return the versions that what is measured depends on."""
    facts = {key: str(run.environment.facts[key]) for key in VERSIONS if run.environment.facts.get(key) is not None}
    return {**facts, **run.toolchain}


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Name the versions that differ; what only one of both tells is no difference."""
    keys = [key for key in before if key in after and before[key] != after[key]]
    return ", ".join(f"{key} {before[key]} to {after[key]}" for key in keys)


def _exact_steps(runs: Sequence[Run]) -> Iterator[_ExactStep]:
    """Compare the exact metrics of each run with the last ones taken with the same tools, else with the last of all."""
    by_tools: dict[tuple[tuple[str, str], ...], dict[tuple[str, str], tuple[Value, str]]] = {}
    last: dict[tuple[str, str], tuple[Value, str]] = {}
    for place, run in enumerate(runs):
        own = by_tools.setdefault(tuple(sorted(run.toolchain.items())), {})
        heads = {(subject, metric): pair[1] for subject, of in run.exact.items() for metric, pair in of.items()}
        for key, value in heads.items():
            known, kind = (own[key], "") if key in own else (last.get(key, (value, "")), "re-baseline")
            if known[0] != value:
                yield _ExactStep(
                    place, known[1], _commit(run), *key, known[0], value, kind or _kind(*key, known[0], value)
                )
        own |= {key: (value, _commit(run)) for key, value in heads.items()}
        last |= {key: own[key] for key in heads}


def _kind(subject: str, metric: str, old: Value, new: Value) -> str:
    (change,) = changes({subject: {metric: (old, new)}})
    return {True: "worse", False: "better", None: "changed"}[change.worse]


def _commit(run: Run) -> str:
    return run.git.head[:12] + (" with changes" if run.git.dirty else "")


def _table(kind: type[Any], rows: Sequence[Any]) -> pd.DataFrame:
    """Make a table that has its columns without a row, too."""
    return pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(kind)])
