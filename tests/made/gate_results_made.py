"""Runs of the gate as they lie in a folder of results: all kinds of runs, of verdicts and of exact differences."""

import gate_made as made
from deeptwins.gate import runs
from deeptwins.gate.runs import Environment, Git

PREFIX = "bench/bench_gate.py::bench_"
SLOW, SAME, FAST, BROKEN = (f"{PREFIX}{name}" for name in ("step[cifar-56-residual]", "frames", "append", "report"))
TOOLS = {"triton": "3.9.0"}


def timed(name, log_ratio=0.0, **changes):
    """A benchmark of four pairs of two blocks each."""
    return made.benchmark(name, log_ratio, **{"pairs": 4, "blocks": 2, "noise": 0.004} | changes)


def comparison(**changes):
    """A comparison: slower, faster, the same, failed, missing, rejected; exact differences of each kind."""
    failed = {"status": "failed", "reason": "RuntimeError: boom", "pairs": ()}
    benchmarks = (
        timed(SLOW, 0.1, confirmation=0.11, changes={"margin": 0.04, "controls": 20}),
        timed(FAST, -0.2, confirmation=-0.2),
        timed(SAME, rejected=1),
        timed(BROKEN, changes=failed),
    )
    exact = {
        "kernel[sm_80]": {"vector_share": (1.0, 0.75), "registers": (40, 32), "barriers": (1, 1)},
        "kernel[sm_90]": {"opcodes_sha256": ("a" * 64, "b" * 64), "stack_bytes": (0, 0)},
    }
    fields = {"toolchain": TOOLS, "exact": exact, "unavailable": {"compiled": "torch.compile needs a C++ compiler"}}
    fields["expected"] = (SLOW, FAST, SAME, BROKEN, f"{PREFIX}gone", *exact)
    return made.run(*benchmarks, **fields | changes)


def stored(results, kind, *benchmarks, at=0, **changes):
    """Store a run that was the `at`-th."""
    runs.write(results, made.run(*benchmarks, kind=kind, **numbered(at), **changes))


def numbered(at):
    """What tells the `at`-th run from others."""
    return {"id": f"{at:08x}", "started": f"2026-01-01T{at:02d}:00:00Z"}


def every_kind(folder):
    """Store runs of every kind: nine against an anchor, a self-test, an import, a comparison."""
    for i in range(9):
        git = Git(head=f"{i:02x}" * 20, base="e" * 40, anchor="v1.0", suite="c" * 64)
        facts = {"torch": "2.13" if i < 7 else "2.14", "authored": f"2025-12-{i + 1:02d}T00:30:00+01:00"}
        facts["repository"] = "https://code.example/o/r" if i == 7 else "javascript:alert(1)"
        environment = Environment(machine=made.MACHINE, facts=facts)
        benchmark = timed(SLOW, 0.1 if i >= 5 else 0.0, seed=i)
        exact = {"kernel": {"registers": (32, 32 if i < 3 else 64)}}
        stored(folder, "anchor", benchmark, at=i, git=git, environment=environment, exact=exact, toolchain=TOOLS)
    for i in range(3):
        stored(folder, "aa", timed(SLOW, seed=30 + i), timed(SAME, seed=30 + i), at=10 + i)
    stored(folder, "slower", timed(SLOW, 0.095, confirmation=0.095), timed(SAME, 0.0), at=14, added={SLOW: 0.1})
    missed = timed(SLOW, 0.0), timed(SAME, 0.0)
    stored(folder, "slower", *missed, at=15, added={SAME: 0.1})
    stored(
        folder, "mutant", at=15, injected="a lost vector load", exact={"k": {"vector_share": (1.0, 0.5)}}, seconds=12.0
    )
    stored(folder, "mutant", at=16, injected="one extra kernel", exact={"k": {"launches_forward": (1, 1)}})
    stored(folder, "imported", timed("other"), at=17)
    runs.write(folder, comparison(**numbered(20)))
