"""How often `deeptwins gate import` is right: false alarms and slowdowns that are found, by simulation.

    python bench/import_rates.py

prints the table of docs/performance.md. The log of a file's median is normal, with the standard deviation in the first
column from file to file. One benchmark is judged, with the gate's least margin of 3 %.
"""

import math

import numpy as np

from deeptwins.gate.formats.imports import halved
from deeptwins.gate.judge.verdict import judge
from deeptwins.gate.runs import DESIGN, Benchmark, TimedBlock

NOISE = (0.01, 0.03)
PAIRS = (6, 10, 20)
SLOWER = (0.0, 0.03, 0.05, 0.1, 0.3)
RUNS = 400


def found(slower, noise, pairs, runs):
    """Count the simulated comparisons that say slower."""
    rng = np.random.default_rng([pairs, round(1e3 * noise), round(1e3 * slower)])
    design = DESIGN.model_copy(update={"pairs": pairs, "blocks": 1})
    number = 0
    for _ in range(runs):
        logs = noise * rng.standard_normal((pairs, 2)) + [0, math.log1p(slower)]
        blocks = [(TimedBlock(order="AB", seconds=tuple(map(float, pair))),) for pair in np.exp(logs)]
        benchmark = Benchmark(id="b", status="ok", pairs=tuple(blocks))
        (judged,) = judge(halved([benchmark], design), design)
        number += judged.verdict == "regressed"
    return number


def main():
    """Print the table."""
    print(
        "| noise of a file | pairs |",
        " | ".join(f"{100 * slower:+g} %" if slower else "same" for slower in SLOWER),
        "|",
    )
    print("|---|---|" + "---|" * len(SLOWER))
    for noise in NOISE:
        for pairs in PAIRS:
            shares = [f"{100 * found(slower, noise, pairs, RUNS) / RUNS:.3g} %" for slower in SLOWER]
            print(f"| {100 * noise:g} % | {pairs} |", " | ".join(shares), "|", flush=True)


if __name__ == "__main__":
    main()
