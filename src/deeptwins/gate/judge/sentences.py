"""The sentences that say a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from deeptwins.gate.judge.estimates import Estimate
from deeptwins.gate.judge.metrics import Change, metric_of
from deeptwins.gate.runs import Value
from deeptwins.pages.wording import apart, count, listed, percent

LONGEST = 160  # characters of a name in a sentence
NAMED = 8  # names in a sentence; of the others it says how many there are


def speed(log_ratio: float) -> str:
    """Say how much slower or faster head is."""
    share = 100 * math.expm1(log_ratio)
    return f"{percent(abs(share))} {'slower' if share >= 0 else 'faster'}"


def span(estimate: Estimate, sign: int = 1) -> str:
    """Give the interval of a slowdown, or with sign -1 of a speed-up, in percent of base's time."""
    low, high = sorted(sign * 100 * math.expm1(end) for end in (estimate.low, estimate.high))
    return f"{apart(low, high)} %" if math.isfinite(low) else "no interval"


def confirmed(name: str, first: Estimate, second: Estimate) -> str:
    """State a change that two batches show."""
    sign = 1 if first.log_ratio > 0 else -1
    sizes = [percent(sign * 100 * math.expm1(estimate.log_ratio)) for estimate in (first, second)]
    size = f"by {sizes[0]} ({span(first, sign)}), confirmed by a second batch ({sizes[1]})"
    return f"{'Slower' if sign > 0 else 'Faster'}: {brief(name)} {size}."


def doubtful(name: str, estimate: Estimate | None, reason: str) -> str:
    """State what may be a change or none, and why it is not decided."""
    size = f"{speed(estimate.log_ratio)} ({span(estimate)}); " if estimate else ""
    return f"Inconclusive: {brief(name)}: {size}{reason}."


def several(slower: Sequence[tuple[str, Estimate]], worse: int) -> str:
    """State how many changes for the worse there are, and which benchmark is slowed most."""
    parts = []
    if slower:
        name, most = max(slower, key=lambda one: one[1].log_ratio)
        name = brief(name)
        which = name if len(slower) == 1 else f"{name} most,"
        parts.append(f"{which} by {percent(100 * math.expm1(most.log_ratio))}")
        parts[0] = f"{count(len(slower), 'benchmark')}, {parts[0]}" if len(slower) > 1 else parts[0]
    parts += [f"{count(worse, 'exact value')} worse"] if worse else []
    return f"{'Slower' if slower else 'Worse'}: {'; '.join(parts)}."


def no_slower(margins: Sequence[float]) -> str:
    """Say how many benchmarks are within their margins, which are given as shares."""
    ends = dict.fromkeys(f"{100 * margin:.3g}" for margin in (min(margins), max(margins)))
    return f"{count(len(margins), 'benchmark')} within {' to '.join(ends)} %"


def exact(changes: Sequence[Change]) -> list[str]:
    """State the exact values that are better, those that one arm alone has, and how many others differ."""
    lines = differing("Better", [change for change in changes if change.worse is False])
    only_head = [change for change in changes if change.base is None]
    only_base = [change for change in changes if change.head is None]
    for arm, alone in (("head", only_head), ("base", only_base)):
        if alone:
            things = [f"{change.subject}: {metric_of(change.metric).words}" for change in alone]
            lines.append(f"Only {arm} has {names(things)}.")
    both = [change for change in changes if change.base is not None and change.head is not None]
    if neutral := [change for change in both if change.worse is None]:
        lines.append(f"Changed, neither better nor worse: {count(len(neutral), 'exact value')}.")
    return lines


def differing(how: str, changes: Iterable[Change]) -> list[str]:
    """State exact values that differ: of each metric the first, and how many more there are.

    A change of code that affects one net affects most of them.
    """
    by_metric: dict[str, list[Change]] = {}
    for change in changes:
        by_metric.setdefault(change.metric, []).append(change)
    lines = []
    for first, *more in by_metric.values():
        others = f"; {count(len(more), 'more value')} of this metric" if more else ""
        lines.append(f"{how}: {_difference(first)}{others}.")
    return lines


def _difference(change: Change) -> str:
    metric = metric_of(change.metric)
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{change.subject}: {metric.words}: {_value(change.base)}{unit} before, {_value(change.head)} now"


def names(things: Sequence[str]) -> str:
    """Name several things, or the first of many."""
    more = len(things) - NAMED
    named = [brief(thing) for thing in things]
    return listed([*named[:NAMED], f"{more} more"] if more > 1 else named)


def brief(name: str, longest: int = LONGEST) -> str:
    """Cut the middle out of a name that is too long, such as one that would fill a sentence: tables have it whole."""
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def reasoned(reasons: Mapping[str, str]) -> str:
    """Name things with their reasons; a reason that several have stands once."""
    groups: dict[str, list[str]] = {}
    for thing, reason in reasons.items():
        groups.setdefault(reason, []).append(thing)
    return names([f"{names(group)} ({reason})" for reason, group in groups.items()])


def _value(value: Value) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
