"""A comparison of two commits that has a benchmark for each verdict and an exact metric for each kind of difference."""

import gate_made

PREFIX = "bench/bench_gate.py::bench_"
SLOW, SAME, FAST, BROKEN = (f"{PREFIX}{name}" for name in ("step[cifar-56-residual]", "frames", "append", "report"))
TOOLS = {"triton": "3.9.0"}


def timed(name, log_ratio=0.0, **changes):
    """A benchmark of four pairs of two blocks each."""
    return gate_made.benchmark(name, log_ratio, **{"pairs": 4, "blocks": 2, "noise": 0.004} | changes)


def run(**changes):
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
    return gate_made.run(*benchmarks, **fields | changes)
