"""Runs of the gate with made-up times, from seeds: what they hold is known, and no clock is read."""

from zlib import crc32

import numpy as np

from deeptwins.gate import runs
from deeptwins.gate.runs import Benchmark, Design, Environment, Git, Pair, Run, TimedBlock

MACHINE = "made-up, 2 cores, Python 3.11, PyTorch 2.11"
STEP = "step[cifar-56-plain]"
SECONDS = 0.05  # of a call
DESIGN = Design(pairs=5, blocks=4, segment_s=0.05, seed=7, least_margin=0.03, alpha=0.05)
SIGNS = {"ABBA": (0, 1, 1, 0), "BAAB": (1, 0, 0, 1)}  # which segments are of head


def batch(  # noqa: PLR0913
    log_ratio: float = 0.0,
    *,
    pairs: int = 5,
    blocks: int = 4,
    noise: float = 0.01,
    layout: float = 0.0,
    drift: float = 0.0,
    rejected: int = 0,
    seed: int | list[int] = 0,
) -> tuple[Pair, ...]:
    """Make up pairs of processes.

    Args:
        log_ratio: log time of head minus that of base.
        pairs: how many.
        blocks: in each.
        noise: standard deviation of the log time of a segment, with the heavy tails of Student's t of 3.
        layout: standard deviation of the log ratio from pair to pair, normal.
        drift: log time that each segment is slower than the one before.
        rejected: blocks that are, the first of all.
        seed: of it all.
    """
    rng = np.random.default_rng(seed)
    made = []
    for pair in range(pairs):
        own = log_ratio + layout * rng.standard_normal()
        made.append([])
        for block in range(blocks):
            order = ("ABBA", "BAAB")[rng.integers(2)]
            logs = noise / 3**0.5 * rng.standard_t(3, 4) + own * np.array(SIGNS[order]) + drift * np.arange(4)
            seconds = tuple(runs.rounded(SECONDS * float(np.exp(log))) for log in logs)
            why = "steal time" if pair * blocks + block < rejected else None
            made[-1].append(TimedBlock(order=order, seconds=seconds, rejected=why))
    return tuple(map(tuple, made))


def benchmark(
    id: str = STEP,  # noqa: A002
    log_ratio: float = 0.0,
    *,
    confirmation: float | None = None,
    seed: int = 0,
    changes: dict | None = None,
    **sample,
) -> Benchmark:
    """Make up a benchmark.

    Args:
        id: its name.
        log_ratio: that its first batch is made with.
        confirmation: the one that its second batch is made with; None: there is none.
        seed: of its times, with its name: equal seeds of two benchmarks give them different times.
        changes: other fields.
        **sample: `pairs`, `blocks`, `noise` and the other arguments of `batch`.
    """
    first, second = ([seed, crc32(id.encode()), part] for part in (0, 1))
    fields = {
        "status": "ok",
        "calls": 3,
        "pairs": batch(log_ratio, seed=first, **sample),
        "confirmation": () if confirmation is None else batch(confirmation, seed=second, **sample),
    }
    return Benchmark(id=id, **fields | (changes or {}))


def run(*benchmarks: Benchmark, kind: runs.Kind = "paired", **changes) -> Run:
    """Make up a run of some benchmarks, with other fields changed; `machine` and `margin` may be given, too."""
    machine, margin = changes.pop("machine", MACHINE), changes.pop("margin", DESIGN.least_margin)
    same = kind in {"aa", "slower", "mutant"}
    fields = {
        "id": "0123abcd",
        "started": "2026-01-02T03:04:05Z",
        "seconds": 100.0,
        "git": Git(head="b" * 40, base=("b" if same else "a") * 40, suite="c" * 64),
        "environment": Environment(machine=machine, facts={"cores": 2}),
        "design": DESIGN.model_copy(update={"least_margin": margin}),
        "benchmarks": benchmarks,
    }
    return Run(kind=kind, **fields | changes)
