"""The times and numbers of an arm, as other tools take them: not by pairs and blocks, and the smaller the better."""

from __future__ import annotations

from collections.abc import Mapping

from deeptwins.gate.judge.metrics import metric_of
from deeptwins.gate.runs import Benchmark, Run, Side

ARMS: tuple[Side, Side] = ("base", "head")
LETTERS: dict[Side, str] = {"base": "A", "head": "B"}


def segments(benchmark: Benchmark, arm: Side) -> list[float]:
    """Return the seconds per call of all segments of an arm that count, in the order in which they were measured."""
    return [
        seconds
        for pair in (*benchmark.pairs, *benchmark.confirmation)
        for block in pair
        if block.rejected is None
        for seconds in block.of(LETTERS[arm])
    ]


def measured(run: Run) -> list[Benchmark]:
    """Return the benchmarks that were measured to the end, and have times that count."""
    return [benchmark for benchmark in run.benchmarks if benchmark.status == "ok" and segments(benchmark, "head")]


def numbers(run: Run) -> Mapping[tuple[str, str], Mapping[Side, float]]:
    """Return the numbers of the exact tier that are better when smaller, by subject and metric."""
    by_metric = {
        (subject, metric): {
            arm: value for arm, value in zip(ARMS, values, strict=True) if isinstance(value, int | float)
        }
        for subject, metrics in run.exact.items()
        for metric, values in metrics.items()
        if metric_of(metric).better == "lower"
    }
    return {key: values for key, values in by_metric.items() if values}
