"""The sentences that a verdict is told in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from deeptwins.gate.judge.estimates import Estimate
from deeptwins.gate.judge.metrics import METRICS, Change
from deeptwins.gate.runs import Value
from deeptwins.pages.wording import apart, count, listed, number, percent

NAMED = 8  # things in a sentence; of more it tells how many


def change(log_ratio: float) -> str:
    """Tell how much slower or faster head is."""
    share = 100 * math.expm1(log_ratio)
    return f"{percent(abs(share))} {'slower' if share >= 0 else 'faster'}"


def span(found: Estimate, sign: int = 1) -> str:
    """Tell the interval of a slowdown, or with sign -1 of a speed-up, as shares of base's time."""
    low, high = sorted(sign * 100 * math.expm1(end) for end in (found.low, found.high))
    return f"{apart(low, high)} %" if math.isfinite(low) else "no interval"


def confirmed(name: str, found: Estimate, again: Estimate) -> str:
    """Tell a change that two batches show."""
    sign = 1 if found.log_ratio > 0 else -1
    first, second = (percent(sign * 100 * math.expm1(each.log_ratio)) for each in (found, again))
    told = f"by {first} ({span(found, sign)}), confirmed by a second batch ({second})"
    return f"{'Slower' if sign > 0 else 'Faster'}: {name} {told}."


def doubtful(name: str, found: Estimate | None, reason: str) -> str:
    """Tell what may be a change or none."""
    told = f"{change(found.log_ratio)} ({span(found)}); " if found else ""
    return f"Inconclusive: {name}: {told}{reason}."


def no_slower(margins: Sequence[float]) -> str:
    """Tell how many benchmarks are within their margins, given as shares."""
    ends = [number(100 * end) for end in (min(margins), max(margins))]
    width = f"{ends[0]} %" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]} %"
    return f"{count(len(margins), 'benchmark')} within {'the margin' if len(margins) == 1 else 'margins'} of {width}"


def exact(changed: Iterable[Change]) -> list[str]:
    """Tell the exact values that are better, then how many are neither."""
    found = [*changed]
    lines = differing("Better", [each for each in found if each.worse is False])
    news, gone = ([each for each in found if getattr(each, arm) is None] for arm in ("base", "head"))
    others = [each for each in found if each.worse is None and each not in (*news, *gone)]
    for arm, own in (("head", news), ("base", gone)):
        lines += [f"Only {arm} has {names([f'{each.subject}: {_words(each)}' for each in own])}."] if own else []
    if others:
        lines.append(f"Different, neither better nor worse: {count(len(others), 'exact value')}.")
    return lines


def differing(how: str, found: Iterable[Change]) -> list[str]:
    """Tell exact values in both arms: of each metric the first, and how many more there are.

    What a change of code does to one net it does to most of them.
    """
    alike: dict[str, list[Change]] = {}
    for each in found:
        alike.setdefault(each.metric, []).append(each)
    lines = []
    for first, *more in alike.values():
        others = f"; {count(len(more), 'more value')} of this metric" if more else ""
        lines.append(f"{how}: {_differs(first)}{others}.")
    return lines


def _differs(found: Change) -> str:
    metric = METRICS.get(found.metric)
    unit = f" {metric.unit}" if metric and metric.unit else ""
    return f"{found.subject}: {_words(found)}: {_value(found.base)} before, {_value(found.head)} now{unit}"


def names(found: Sequence[str]) -> str:
    """Name several things, or the first of many."""
    more = len(found) - NAMED
    return listed([*found[:NAMED], f"{more} more"] if more > 1 else found)


def _words(found: Change) -> str:
    return METRICS[found.metric].words if found.metric in METRICS else found.metric


def _value(value: Value) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}" if isinstance(value, float) else str(value)
