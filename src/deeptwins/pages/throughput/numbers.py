"""From the timings of `bench/bench_throughput.py` to how fast a study's nets train, by which way, and to targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, model_validator

from deeptwins.findings.rows import grouped
from deeptwins.pages import targets
from deeptwins.records.benchmarks import Benches, Origin, Timing, Timings, Where
from deeptwins.records.fields import FromOne, Measurement, Text

TOGETHER, ALONE, USUAL, COMPILED = WAYS = ("together", "alone", "usual", "compiled")
SHARED = ("device", "torch", "rehearsal", "dataset", "image", "batch", "width", "study_iterations")  # by all cases
ALL = "all"  # twins
# By loop and precision: how many times as fast the trainer is to be, with all nets together.
TIMES_AS_FAST = {(USUAL, "tf32"): 20, (COMPILED, "bf16"): 5}


class GridInfo(Where):
    """The settings of a case, as the benchmark stored them."""

    way: Literal["together", "alone", "usual", "compiled"]
    twin: Text
    depth: Annotated[int, Field(ge=1, le=10_000)] | None
    """None of nets together."""
    nets: FromOne
    precision: Text
    batch: FromOne
    width: FromOne
    image: Text
    """CxHxW."""
    iterations: Measurement
    """Of a round."""
    study_iterations: FromOne
    least_bytes: Measurement
    """Of an iteration of all its nets: a model."""
    copy_gb_per_s: Measurement
    dataset: Text
    rehearsal: bool
    convolutions_in_tf32: bool
    """Whether convolutions in fp32 are allowed to be."""
    workers: FromOne | None = None
    """Processes that prepare a loop's images."""
    backend: str = ""
    """Of torch.compile."""
    evaluation_s: Measurement | None = None
    """Seconds that one evaluation of nets together takes, of as many images as the study has."""
    evaluations: FromOne | None = None
    """How many of them a seed of the study has."""

    @model_validator(mode="after")
    def _has_what_its_way_has(self) -> GridInfo:
        """Refuse a case that is not what its way times: together, all nets and an evaluation; else, one net."""
        if self.way == TOGETHER:
            right = self.depth is None and self.twin == ALL and self.nets > 1
        else:
            right = self.depth is not None and self.twin != ALL and self.nets == 1
        if not right:
            raise ValueError("nets together are several, of all twins and depths; any other case is one net")
        if self.way == TOGETHER and None in {self.evaluation_s, self.evaluations}:
            raise ValueError("nets together lack the time of an evaluation")
        return self


@dataclass(frozen=True)
class Throughput:
    """All that a file of timings says."""

    cases: pd.DataFrame
    """A row per case: what was timed, its time and rates; `percent_of_roofline`, its share of the memory roofline."""
    rates: pd.DataFrame
    """A row per way and precision in which all nets were timed: `net_iterations_per_s`, and projections for a seed.

    `training_minutes` are the iterations of the study over the measured rate; `minutes`, of nets together, add its
    evaluations at the time of one.
    """
    ratios: pd.DataFrame
    """A row per loop that all nets were timed in: `ratio`, how many times as fast the trainer is with all of them."""
    origin: Origin
    rehearsal: bool

    @property
    def alone(self) -> pd.DataFrame:
        """The cases of single nets in the trainer."""
        return self.cases[self.cases["way"] == ALONE]

    @property
    def together(self) -> pd.DataFrame:
        """The rates of all nets together, a row per precision."""
        return self.rates[self.rates["way"] == TOGETHER]

    @property
    def judged(self) -> bool:
        """Whether the targets are for this device."""
        return not self.rehearsal and targets.are_for([self.origin.device])


def derive(timings: Timings) -> Throughput:
    """Compute rates and ratios from the cases.

    Raises:
        InputError: they make no sense, do not compare, or have none of the nets together.
    """
    timed = timings.cases(Timing[GridInfo])
    infos = [case.extra_info for case in timed]
    if not any(info.way == TOGETHER for info in infos):
        raise timings.refused("no timing of all nets together by bench_throughput")
    timings.compare(infos, SHARED)
    cases = pd.DataFrame(map(_row, timed))
    if cases.duplicated(["way", "twin", "depth", "precision"]).any():
        raise timings.refused("a case stands there twice")
    by_way = rates(cases)
    return Throughput(cases, by_way, ratios(by_way), timings.origin(infos), infos[0].rehearsal)


BENCHES = Benches("throughput", ("bench_throughput",), derive)


def _row(case: Timing[GridInfo]) -> dict[str, Any]:
    """Flatten a case, and add what follows from it."""
    info, stats = case.extra_info, case.stats
    iteration_s = stats.median / info.iterations
    roofline_s = info.least_bytes / (info.copy_gb_per_s * 1e9)
    return {
        **info.model_dump(exclude={"machine", "commit"}),
        "rounds": stats.rounds,
        "ms_per_iteration": 1e3 * iteration_s,
        "fastest_ms": 1e3 * stats.min / info.iterations,
        "slowest_ms": 1e3 * stats.max / info.iterations,
        "net_iterations_per_s": info.nets / iteration_s,
        "images_per_s": info.nets * info.batch / iteration_s,
        "roofline_ms": 1e3 * roofline_s,
        "percent_of_roofline": 100 * roofline_s / iteration_s,
    }


def rates(cases: pd.DataFrame) -> pd.DataFrame:
    """Sum up the ways: nets that train one after another take the sum of their times."""
    nets = int(cases.loc[cases["way"] == TOGETHER, "nets"].iloc[0])
    rows: list[dict[str, Any]] = []
    for place, group in grouped(cases, ["way", "precision"]):
        if group["nets"].sum() != nets:
            continue  # some nets were not timed, and the others say nothing about them
        ms, first = group[["ms_per_iteration", "fastest_ms", "slowest_ms", "roofline_ms"]].sum(), group.iloc[0]
        seconds = ms / 1e3
        row = {
            "nets": nets,
            "rounds": group["rounds"].min(),
            "net_iterations_per_s": nets / seconds["ms_per_iteration"],
            "slowest_per_s": nets / seconds["slowest_ms"],
            "fastest_per_s": nets / seconds["fastest_ms"],
            "percent_of_roofline": 100 * ms["roofline_ms"] / ms["ms_per_iteration"],
            "training_minutes": first["study_iterations"] * seconds["ms_per_iteration"] / 60,
        }
        rows.append(place | row | {key: first[key] for key in ("evaluations", "evaluation_s")})
    frame = pd.DataFrame(rows)
    frame = frame.assign(minutes=frame["training_minutes"] + frame["evaluations"] * frame["evaluation_s"] / 60)
    return frame.sort_values("way", key=lambda ways: ways.map(WAYS.index), kind="stable", ignore_index=True)


def ratios(by_way: pd.DataFrame) -> pd.DataFrame:
    """Divide the rate of all nets together by that of each loop in its precision; `target` is the least asked for."""
    rate = by_way.set_index(["way", "precision"])["net_iterations_per_s"].to_dict()
    rows = [
        (loop, precision, rate[TOGETHER, precision] / rate[loop, precision], least)
        for (loop, precision), least in TIMES_AS_FAST.items()
        if (TOGETHER, precision) in rate and (loop, precision) in rate
    ]
    return pd.DataFrame(rows, columns=["loop", "precision", "ratio", "target"])
