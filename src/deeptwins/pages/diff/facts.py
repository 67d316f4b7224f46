"""What a diff rests on: two sources, and what sets them apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from deeptwins.errors import InputError, line
from deeptwins.findings import contrast
from deeptwins.findings.comparisons import HEADLINE
from deeptwins.findings.contrast import APART, RESULTS, Contrast
from deeptwins.pages.diff import sources
from deeptwins.pages.diff.sources import DiffSide
from deeptwins.pages.study.facts import StudyFacts
from deeptwins.pages.study.tables import METRICS

SHOWN = [metric for metric in METRICS if metric != "running_error_pct"]  # the others are in the data


@dataclass(frozen=True)
class DiffFacts:
    """Both sides, and all that is set side by side."""

    a: DiffSide
    b: DiffSide
    found: Contrast
    results: Path
    """The folder of results of sources that name none."""

    @property
    def sides(self) -> tuple[tuple[str, DiffSide], tuple[str, DiffSide]]:
        """Both, by their letters."""
        return ("A", self.a), ("B", self.b)

    @cached_property
    def headline(self) -> pd.DataFrame:
        """The nets, by their training error."""
        return self.found.nets[self.found.nets["metric"] == HEADLINE]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many nets have each result, by their training error."""
        return {result: int((self.headline["result"] == result).sum()) for result in RESULTS}

    @property
    def apart(self) -> bool:
        """Whether a training, validation or test error of any net is apart."""
        nets = self.found.nets
        return bool(((nets["result"] == APART) & nets["metric"].isin(SHOWN)).any())


def load(a: str, b: str, results: Path) -> DiffFacts:
    """Read two sources, and set them side by side.

    Args:
        a: STUDY[@WHERE][+recipe.KEY=VALUE...].
        b: the other.
        results: where the records of a source lie that does not say so.

    Raises:
        InputError: a source cannot be read, or the two have no net in common.
    """
    one, other = sources.read(a, results), sources.read(b, results)
    found = contrast.contrast((one.facts.study, one.facts.frames), (other.facts.study, other.facts.frames))
    if found.nets.empty:
        raise InputError(
            f"{line(one.name)} and {line(other.name)}: no net of both with the same twin, family, depth and seed;"
            f" A has {_held(one.facts)}, B has {_held(other.facts)}"
        )
    return DiffFacts(one, other, found, results)


def _held(facts: StudyFacts) -> str:
    """Say which nets a side has."""
    nets = facts.findings.final
    twins = line(", ".join(dict.fromkeys(nets["twin"])))
    return f"{twins} of {places(nets)}, seeds {spans(nets['seed'])}"


def places(nets: pd.DataFrame) -> str:
    """Name families and depths: `cifar 20, 56; imagenet 18`."""
    depths = {str(family): sorted({*rows["depth"]}) for family, rows in nets.groupby("family", sort=False)}
    return "; ".join(f"{family} {', '.join(map(str, some))}" for family, some in depths.items())


def spans(seeds: pd.Series | list[int]) -> str:
    """Name seeds: `0 to 4`, or `0, 2` where some between are missing."""
    each = sorted({int(seed) for seed in seeds})
    whole = len(each) > 2 and each == [*range(each[0], each[-1] + 1)]  # noqa: PLR2004  two are listed
    return f"{each[0]} to {each[-1]}" if whole else ", ".join(map(str, each))
