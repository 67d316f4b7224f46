"""From a profile to tables of numbers: ops, kernels, whole steps, and sums by kind of work and by layer."""

from __future__ import annotations

import math
import re
from collections import defaultdict

import pandas as pd

from deeptwins.records.profiles import PARTS, Profile

DETAILED = 2  # nets whose layers and kernels are on the page; all are in the data
LAYER = re.compile(r"stages\.(?P<block>\d+\.\d+)(?:\.(?:conv|bn)(?P<layer>\d+)$)?")
ENDS = {"conv": "stem", "bn": "stem", "pool": "stem"} | dict.fromkeys(("average", "flatten", "linear"), "linear map")
ORDER = ("stem", "stages", "ending", "linear map", *PARTS)  # of places; inside the stages, of their numbers
SUMMED = ["time_us", "launches", "bytes", "flops", "roofline_us"]


def ops(profile: Profile) -> pd.DataFrame:
    """Tabulate the ops, a row per net, layer, direction and op; `place` is the layer with weights they belong to.

    Where a whole step was faster than its roofline, that was measured too low: `roofline_us` is NaN then.
    """
    table = pd.DataFrame([op.model_dump() for op in profile.ops]).assign(place=_places(profile))
    return table.assign(roofline_us=math.nan) if beyond(profile) else table


def beyond(profile: Profile) -> dict[str, float]:
    """Return the rooflines, in microseconds, of steps that were faster, by net."""
    sums: defaultdict[str, float] = defaultdict(float)
    for op in profile.ops:
        sums[op.net] += op.roofline_us
    return {step.net: sums[step.net] for step in profile.nets if sums[step.net] > step.step_us}


def kernels(profile: Profile) -> pd.DataFrame:
    """Tabulate the kernels, the longest of each net first, as a share of its time."""
    keys = ["net", "kernel", "kind", "calls", "time_us"]
    table = pd.DataFrame([kernel.model_dump() for kernel in profile.kernels], columns=keys)
    table = table.sort_values("time_us", ascending=False, kind="stable")
    whole = table.groupby("net", sort=False)["time_us"].transform("sum")
    return table.assign(share=table["time_us"] / whole.where(whole > 0, 1))


def steps(profile: Profile, ops: pd.DataFrame) -> pd.DataFrame:
    """Tabulate whole steps, a row per net: by the clock, and what their ops sum up to."""
    table = pd.DataFrame([step.model_dump() for step in profile.nets])
    sums = ops.groupby("net")[SUMMED].sum(min_count=1).rename(columns={"time_us": "ops_us"})
    speeds = table["precision"].map({rate.precision: rate.copy_bytes_per_s for rate in profile.rates})
    table = table.join(sums, on="net").assign(least_us=1e6 * table["least_bytes"] / speeds)
    return table.assign(of_roofline=table["roofline_us"] / table["step_us"], in_ops=table["ops_us"] / table["step_us"])


def kinds(ops: pd.DataFrame) -> pd.DataFrame:
    """Sum up by kind of work, the longest of each net first."""
    return _summed(ops, "kind").sort_values("time_us", ascending=False, kind="stable", ignore_index=True)


def layers(ops: pd.DataFrame) -> pd.DataFrame:
    """Sum up by layer, in order, with the time of both directions; the parts of a step that are no layer come last."""
    table = _summed(ops, "place")
    for way in ("forward", "backward"):
        times = ops[ops["direction"] == way].groupby(["net", "place"])["time_us"].sum().rename(f"{way}_us")
        table = table.join(times, on=["net", "place"])
    table = table.fillna({"forward_us": 0.0, "backward_us": 0.0})
    nets = list(dict.fromkeys(ops["net"]))
    table = table.assign(part=table["place"].isin(PARTS), net_=table["net"].map(nets.index))
    table = table.assign(order_=table["place"].map(_order)).sort_values(["net_", "order_"], kind="stable")
    return table.drop(columns=["net_", "order_"]).reset_index(drop=True)


def slowest(steps: pd.DataFrame) -> list[str]:
    """Name the nets whose steps take longest, in the order of the profile."""
    return list(steps.loc[sorted(steps["step_us"].nlargest(DETAILED).index), "net"])


def _summed(ops: pd.DataFrame, key: str) -> pd.DataFrame:
    table = ops.groupby(["net", key], sort=False)[SUMMED].sum(min_count=1).reset_index()
    return table.assign(share=table["time_us"] / table.groupby("net")["time_us"].transform("sum"))


def _order(place: str) -> tuple[int, ...]:
    """Sort layers as they are stacked; a shortcut, which runs before its block, counts at the block's end.

    Those of nets of one's own stay in the order in which they run.
    """
    if place in ORDER:
        return (ORDER.index(place),)
    stacked = re.fullmatch(r"stage (\d+), block (\d+), layer (\d+)", place)
    return (ORDER.index("stages"), *map(int, stacked.groups() if stacked else ()))


def _places(profile: Profile) -> list[str]:
    """Name, for each op, the layer with weights that it belongs to: a convolution with its norm, or an end of a net."""
    matches = [LAYER.match(op.layer) for op in profile.ops]
    last: dict[tuple[str, str], int] = {}  # the number of layers, by net and block
    for op, match in zip(profile.ops, matches, strict=True):
        if match and match["layer"]:
            block = op.net, match["block"]
            last[block] = max(last.get(block, 0), int(match["layer"]))
    places = []
    for op, match in zip(profile.ops, matches, strict=True):
        if match is None:
            places.append(ENDS.get(op.layer, op.layer))
            continue
        stage, block_number = (int(number) + 1 for number in match["block"].split("."))
        number = match["layer"] or last.get((op.net, match["block"]), 1)
        places.append(f"stage {stage}, block {block_number}, layer {number}")
    return places
