"""From the timings of `bench_packing.py` and `bench_choices.py` to what other ways of training many nets are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from deeptwins.records.benchmarks import Benches, Origin, Timing, Timings, Where
from deeptwins.records.fields import FromOne, Measurement, Text

PACKING, CHOICES = ("bench_packing", "bench_choices")
SHARED = ("device", "torch")  # by all cases
SEPARATE = "separate"  # nets one after another, which the others are compared with
SETTING = ["nets", "depth", "width", "precision", "layout"]
# What would have the trainer pack (docs/packing.md): a gain for two nets, at both depths, in the layout that it has.
CANDIDATE, LAYOUT, NETS, DEPTHS, LEAST = "grouped", "channels_last", 2, (20, 56), 1.3


class PackingInfo(Where):
    """The settings of a case of packing, as the bench stored them."""

    nets: FromOne
    depth: Annotated[int, Field(ge=1, le=10_000)]
    width: FromOne
    precision: Text
    layout: Text
    variant: Literal["separate", "grouped", "gemm"]
    image: Text
    """CxHxW."""
    batch: FromOne
    timed: Text
    """By which clock."""
    operators: FromOne
    """Of PyTorch, in a step of all nets."""
    ratio: Measurement
    """How many times as fast as the separate nets: median of pairs; its quartiles are `ratio_q1` and `ratio_q3`."""
    ratio_q1: Measurement
    ratio_q3: Measurement


class ChoiceInfo(Where):
    """The settings of a case of the trainer's choices, as the bench stored them."""

    choice: Text
    value: FromOne
    chosen: FromOne
    """What the trainer takes."""
    precision: Text
    iterations: Measurement
    """Of a round."""
    rehearsal: bool


@dataclass(frozen=True)
class Choices:
    """All that the timings say; the table of a bench that was not run is empty."""

    packing: pd.DataFrame
    """A row per setting and variant: `ratio`, how many times as fast as the separate nets, and its quartiles."""
    choices: pd.DataFrame
    """A row per choice and value: `ms`, of an iteration or an evaluation, and whether it is `the_trainers`.

    `over_trainers` is its time over that of the trainer's value; NaN where that was not timed.
    """
    origin: Origin
    rehearsal: bool
    """Whether the choices were timed on a CPU, where they mean nothing."""

    @property
    def decisive(self) -> pd.DataFrame:
        """The rows that decide whether packing would pay."""
        if self.packing.empty:
            return self.packing
        return self.packing.query("variant == @CANDIDATE and layout == @LAYOUT and nets == @NETS")


def derive(timings: Timings) -> Choices:
    """Compute from the cases how fast each variant and each value is, beside what the trainer does.

    Raises:
        InputError: there is none, they make no sense, or do not compare.
    """
    packed = timings.of(PACKING).cases(Timing[PackingInfo])
    chosen = timings.of(CHOICES).cases(Timing[ChoiceInfo])
    infos: list[Where] = [*(case.extra_info for case in packed), *(case.extra_info for case in chosen)]
    if not infos:
        raise timings.refused("no timing by bench_packing or bench_choices")
    timings.compare(infos, SHARED)
    packing, choices = pd.DataFrame(map(_packing_row, packed)), pd.DataFrame(map(_choice_row, chosen))
    for frame, key in ((packing, [*SETTING, "variant"]), (choices, ["choice", "value"])):
        if len(frame) and frame.duplicated(key).any():
            raise timings.refused("a case stands there twice")
    if len(choices):
        trainers = choices[choices["the_trainers"]].set_index("choice")["ms"]
        choices["over_trainers"] = choices["ms"] / choices["choice"].map(trainers)
    return Choices(packing, choices, timings.origin(infos), any(case.extra_info.rehearsal for case in chosen))


BENCHES = Benches("choices", (PACKING, CHOICES), derive)


def _packing_row(case: Timing[PackingInfo]) -> dict[str, Any]:
    """Flatten a case of packing, and add its rate."""
    info, step_s = case.extra_info, case.stats.median
    return {
        **info.model_dump(exclude={"machine", "commit"}),
        "rounds": case.stats.rounds,
        "ms": 1e3 * step_s,
        "images_per_s_per_net": info.batch / step_s,
    }


def _choice_row(case: Timing[ChoiceInfo]) -> dict[str, Any]:
    """Flatten a case of a choice; times are those of one iteration."""
    info, stats = case.extra_info, case.stats
    scale = 1e3 / info.iterations
    return {
        **info.model_dump(exclude={"machine", "commit"}),
        "the_trainers": info.value == info.chosen,
        "rounds": stats.rounds,
        "ms": scale * stats.median,
        "fastest_ms": scale * stats.min,
        "slowest_ms": scale * stats.max,
    }
