"""From the gate's runs against an anchor to histories: series of log(head/anchor), their steps, what else changed.

In a ratio of two commits that were timed side by side the machine cancels, so runs of all machines form one series.
Where the anchor moves, the series goes on if the new anchor was once measured against the old one; else it begins anew.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from deeptwins.gate.judge.estimates import Estimate, estimate, usable
from deeptwins.gate.judge.metrics import changes
from deeptwins.gate.judge.steps import LEAST, steps
from deeptwins.gate.runs import Run, Value

# Facts of an environment that times and counts depend on. A run with exact metrics has more of them in `toolchain`.
VERSIONS = ("python", "torch", "triton", "numpy")
ADDRESS = re.compile(r"https://[\w.-]+/[\w./-]+")  # of a repository: nothing else becomes a link


class _Point(NamedTuple):
    benchmark: str
    place: int
    """Of the run among all runs that are shown."""
    run: str
    started: str
    commit: str
    machine: str
    anchor: str
    chain: int
    """How often the series has begun anew before."""
    log_ratio: float
    low: float
    high: float
    margin: float
    date: str
    """Of the commit, by its author; where a run does not know it, of the run."""


class _TimeStep(NamedTuple):
    benchmark: str
    chain: int
    place: int
    before: str
    """The last commit that was measured before the step."""
    after: str
    """The first one that was measured behind it."""
    log_size: float
    percent: float
    p: float
    confirmed: bool
    runs_before: int
    runs_after: int
    note: str
    """What else changed there."""


class _Event(NamedTuple):
    place: int
    commit: str
    what: str
    """`toolchain`, `suite` or `anchor`."""
    text: str


class _ExactStep(NamedTuple):
    place: int
    before: str
    after: str
    subject: str
    metric: str
    old: Value
    new: Value
    kind: str
    """`worse`, `better` or `changed`; or `re-baseline`: counted with other tools, so it says nothing of the commit."""


@dataclass(frozen=True)
class History:
    """What the runs against an anchor say, in tables; a row's `place` is that of its run, the oldest run's is 0."""

    runs: int
    points: pd.DataFrame
    changes: pd.DataFrame
    events: pd.DataFrame
    exact: pd.DataFrame
    short: Mapping[str, int]
    """Benchmarks that have too few runs for a step to be found, and the length of their longest series."""
    repository: str
    """Address of the pages on which a code host shows commits; empty where no run knows it."""


def history(runs: Sequence[Run]) -> History:
    """Return the history of runs, which come the oldest first; runs of other kinds than `anchor` are left out.

    Raises:
        InputError: ruptures is not installed, and a series is long enough to look for steps.
    """
    anchored = [run for run in runs if run.kind == "anchor"]
    points = [*_points(anchored)]
    table = pd.DataFrame(points, columns=_Point._fields)
    events = [*_events(anchored, points)]
    time_steps, short = [], {}
    for name, of_benchmark in table.groupby("benchmark", sort=False):
        chains = of_benchmark.groupby("chain")
        time_steps += [step for _, series in chains for step in _time_steps(series, events)]
        if (longest := int(chains.size().max())) < LEAST:
            short[str(name)] = longest
    return History(
        runs=len(anchored),
        points=table,
        changes=pd.DataFrame(time_steps, columns=_TimeStep._fields),
        events=pd.DataFrame(events, columns=_Event._fields),
        exact=pd.DataFrame(_exact_steps(anchored), columns=_ExactStep._fields, dtype=object),  # keeps counts whole
        short=short,
        repository=next((address for run in reversed(anchored) if (address := _repository(run))), ""),
    )


def _repository(run: Run) -> str:
    address = str(run.environment.facts.get("repository") or "")
    return address if ADDRESS.fullmatch(address) else ""


def _points(runs: Sequence[Run]) -> Iterator[_Point]:
    # The estimates of each benchmark, in the order of runs.
    measured: dict[str, list[tuple[int, Run, float | None, Estimate]]] = {}
    for place, run in enumerate(runs):
        for benchmark in run.benchmarks:
            if benchmark.status == "ok" and (pairs := usable(benchmark.pairs)):
                row = place, run, benchmark.margin, estimate(pairs)
                measured.setdefault(benchmark.id, []).append(row)

    # Each against the first anchor of its chain.
    for name in sorted(measured):
        rows = measured[name]
        shifts = _shifts([(run.git.head, run.git.base, value.log_ratio) for _, run, _, value in rows])
        for place, run, margin, value in rows:
            chain, shift = shifts[run.git.base]
            yield _Point(
                benchmark=name,
                place=place,
                run=run.id,
                started=run.started,
                commit=_commit(run),
                machine=run.environment.machine,
                anchor=_anchor(run),
                chain=chain,
                log_ratio=value.log_ratio + shift,
                low=value.low + shift,
                high=value.high + shift,
                margin=math.log1p(margin or run.design.least_margin),
                date=str(run.environment.facts.get("authored") or run.started)[:10],
            )


def _shifts(measured: Sequence[tuple[str, str, float]]) -> dict[str, tuple[int, float]]:
    """Return each anchor's chain, by number, and the anchor's log ratio to the first anchor of that chain.

    What was measured is head, anchor and log(head/anchor), the oldest first.
    """
    shifts: dict[str, tuple[int, float]] = {}
    for anchor in dict.fromkeys(base for _, base, _ in measured):
        links = [(base, ratio) for head, base, ratio in measured if head == anchor and base in shifts]
        if links:
            previous = links[-1][0]
            chain, shift = shifts[previous]
            ratio = float(np.median([ratio for base, ratio in links if base == previous]))
            shifts[anchor] = chain, shift + ratio
        else:
            shifts[anchor] = max((chain for chain, _ in shifts.values()), default=-1) + 1, 0.0
    return shifts


def _time_steps(series: pd.DataFrame, events: Sequence[_Event]) -> Iterator[_TimeStep]:
    # The standard error of a value, by the usual width of the 95 % intervals.
    half = (series["high"] - series["low"]).to_numpy(float) / (2 * stats.norm.ppf(0.975))
    error = float(np.median(half[np.isfinite(half)])) if np.isfinite(half).any() else 0.0

    rows = series.to_dict("records")
    for step in steps(series["log_ratio"].to_numpy(float), float(series["margin"].iloc[-1]), error):
        before, after = rows[step.at - 1], rows[step.at]
        notes = [event.text for event in events if before["place"] < event.place <= after["place"]]
        if before["machine"] != after["machine"]:
            notes.append("measured on another machine")
        if before["commit"] == after["commit"]:
            notes.append("the same commit on both sides: not the code")
        yield _TimeStep(
            benchmark=after["benchmark"],
            chain=after["chain"],
            place=after["place"],
            before=before["commit"],
            after=after["commit"],
            log_size=step.size,
            percent=100 * math.expm1(step.size),
            p=step.p,
            confirmed=step.confirmed,
            runs_before=step.before,
            runs_after=step.after,
            note="; ".join(notes),
        )


def _events(runs: Sequence[Run], points: Sequence[_Point]) -> Iterator[_Event]:
    """Say what changed between runs, other than the code that is measured."""
    for place, (before, after) in enumerate(pairwise(runs), 1):
        # A version that only one of the two runs has is no difference.
        old, new = _tools(before), _tools(after)
        versions = [f"{key} {old[key]} to {new[key]}" for key in old if key in new and old[key] != new[key]]
        if versions:
            yield _Event(place, _commit(after), "toolchain", ", ".join(versions))
        if before.git.suite != after.git.suite:
            yield _Event(place, _commit(after), "suite", "definitions of benchmarks changed")
        if before.git.base != after.git.base:
            chains = {point.benchmark: point.chain for point in points if point.place == place}
            earlier = {point.benchmark: point.chain for point in points if point.place < place}
            anew = [name for name, chain in chains.items() if name in earlier and earlier[name] != chain]
            text = f"anchor {_anchor(before)} to {_anchor(after)}"
            if anew:
                text += f", not measured against each other: begins anew ({len(anew)} of {len(chains)} benchmarks)"
            yield _Event(place, _commit(after), "anchor", text)


def _tools(run: Run) -> dict[str, str]:
    """Return the versions that times and counts depend on."""
    facts = {key: str(run.environment.facts[key]) for key in VERSIONS if run.environment.facts.get(key) is not None}
    return {**facts, **run.toolchain}


def _exact_steps(runs: Sequence[Run]) -> Iterator[_ExactStep]:
    """Compare each run's exact metrics with the last ones that the same tools counted, else with the last of all."""
    by_tools: dict[tuple[tuple[str, str], ...], dict[tuple[str, str], tuple[Value, str]]] = {}
    last: dict[tuple[str, str], tuple[Value, str]] = {}
    for place, run in enumerate(runs):
        same_tools = by_tools.setdefault(tuple(sorted(run.toolchain.items())), {})
        values = {(subject, metric): pair[1] for subject, pairs in run.exact.items() for metric, pair in pairs.items()}
        for (subject, metric), value in values.items():
            old, commit = same_tools.get((subject, metric)) or last.get((subject, metric), (value, ""))
            if old != value:
                (change,) = changes({subject: {metric: (old, value)}})
                kind = {True: "worse", False: "better", None: "changed"}[change.worse]
                kind = kind if (subject, metric) in same_tools else "re-baseline"
                yield _ExactStep(place, commit, _commit(run), subject, metric, old, value, kind)
        counted = {key: (value, _commit(run)) for key, value in values.items()}
        same_tools |= counted
        last |= counted


def _commit(run: Run) -> str:
    return run.git.head[:12] + (" with changes" if run.git.dirty else "")


def _anchor(run: Run) -> str:
    return run.git.anchor or run.git.base[:12]
