"""Timings of packing and of the trainer's choices as pytest-benchmark would write them, whose ratios are known."""

import json

H100 = "NVIDIA H100 80GB HBM3, 79 GiB"
WHERE = {
    "device": H100,
    "torch": "2.14.1",
    "machine": {"device": "cuda", "cpu": "Some CPU", "gpu": H100, "driver": "570.1", "torch": "2.14.1"},
    "commit": "0123456789ab",
}


def packed(ratio=2.0, variant="grouped", **changes):
    """A case of packing two nets of depth 20 in bf16: 128 images in 4 ms, so 32,000 images/s."""
    info = WHERE | {
        "nets": 2,
        "depth": 20,
        "width": 16,
        "precision": "bf16",
        "layout": "channels_last",
        "variant": variant,
        "image": "3x32x32",
        "batch": 128,
        "timed": "replay",
        "operators": 480 if variant == "separate" else 248,
        "ratio": ratio,
        "ratio_q1": 0.9 * ratio,
        "ratio_q3": 1.1 * ratio,
    }
    return {
        "fullname": "bench/bench_packing.py::bench_step[...]",
        "stats": {"median": 4e-3, "min": 3e-3, "max": 5e-3, "q1": 4e-3, "q3": 4e-3, "rounds": 30},
        "extra_info": info | changes,
    }


def chosen(value=8, ms=4.0, choice="steps a replay", **changes):
    """A case of a choice: rounds of 200 iterations of so many ms; the fastest took 90 %, the slowest 120 %."""
    info = WHERE | {"choice": choice, "value": value, "chosen": 8, "precision": "tf32", "iterations": 200}
    return {
        "fullname": "bench/bench_choices.py::bench_steps[...]",
        "stats": dict.fromkeys(("median", "q1", "q3"), 0.2 * ms) | {"min": 0.18 * ms, "max": 0.24 * ms, "rounds": 3},
        "extra_info": info | {"rehearsal": False} | changes,
    }


def packings(**ratios):
    """Cases of two and eight nets at depths 20 and 56; the ratio of `grouped` for two nets at depth 20 and 56."""
    of = {20: 2.0, 56: 1.5} | {int(depth.removeprefix("at")): ratio for depth, ratio in ratios.items()}
    return [
        case
        for nets in (2, 8)
        for depth, ratio in of.items()
        for case in (
            packed(1.0, "separate", nets=nets, depth=depth),
            packed(ratio if nets == 2 else 0.5, nets=nets, depth=depth),
        )
    ]


def all_of_them():
    """A whole file: packing pays, four steps a replay are faster than the trainer's eight."""
    return [
        *packings(),
        chosen(8, 4.0),
        chosen(4, 3.0),
        chosen(4, 5.0, "runs in hand", chosen=4),
        chosen(1, 6.0, "runs in hand", chosen=4),
    ]


def written(folder, *benchmarks):
    """A file of them."""
    path = folder / "choices.json"
    path.write_text(json.dumps({"datetime": "2026-02-03T04:05:06", "benchmarks": benchmarks}), encoding="utf-8")
    return path
