"""Timings of throughput as pytest-benchmark would write them, whose rates are known."""

import json

H100 = "NVIDIA H100 80GB HBM3, 79 GiB"
NETS = [(twin, depth) for depth in (20, 56) for twin in ("plain", "residual")]


def case(way="alone", ms=10.0, twin="plain", depth=20, precision="tf32", **changes):
    """One case: 100 iterations of so many ms, which move 1/4 of what a copy could in 10 ms, and in bf16 1/8."""
    info = {
        "way": way,
        "twin": twin,
        "depth": depth,
        "nets": 1,
        "precision": precision,
        "batch": 128,
        "width": 16,
        "image": "3x32x32",
        "iterations": 100,
        "study_iterations": 64_000,
        "least_bytes": 2.5e-3 * 2000e9 / (2 if precision == "bf16" else 1),
        "copy_gb_per_s": 2000.0,
        "dataset": "cifar10",
        "device": H100,
        "torch": "2.14.1",
        "machine": {"device": "cuda", "cpu": "Some CPU", "gpu": H100, "driver": "570.1", "torch": "2.14.1"},
        "commit": "0123456789ab",
        "rehearsal": False,
        "convolutions_in_tf32": False,
    } | changes
    extremes = {"min": 80 * ms / 1e3, "max": 125 * ms / 1e3}
    return {
        "fullname": f"bench/bench_throughput.py::bench_{way}[...]",
        "stats": dict.fromkeys(("median", "q1", "q3"), 100 * ms / 1e3) | extremes | {"rounds": 3},
        "extra_info": info,
    }


def together(ms=4.0, precision="tf32", **changes):
    """The case of four nets together, whose iteration takes so many ms, and each of 41 evaluations 1.5 s."""
    usual = {"nets": len(NETS), "evaluations": 41, "evaluation_s": 1.5}
    return case("together", ms, "all", None, precision, **usual | changes)


def each(way, ms, precision, **changes):
    """The cases of the same nets one after another."""
    return [case(way, ms, twin, depth, precision, **changes) for twin, depth in NETS]


def grid(**changes):
    """A whole file: together 1,000 net-iterations/s in fp32 and 2,000 in bf16; usual loop 40, compiled one 500."""
    return [
        *each("alone", 5.0, "tf32", **changes),
        *each("alone", 2.5, "bf16", **changes),
        together(4.0, **changes),
        together(2.0, "bf16", **changes),
        *each("usual", 25.0, "tf32", workers=4, convolutions_in_tf32=True, **changes),
        *each("compiled", 2.0, "bf16", workers=4, convolutions_in_tf32=True, backend="inductor", **changes),
    ]


def written(folder, *benchmarks, date="2026-02-03T04:05:06.7+00:00"):
    """A file of them."""
    path = folder / "throughput.json"
    path.write_text(json.dumps({"datetime": date, "benchmarks": benchmarks}), encoding="utf-8")
    return path
