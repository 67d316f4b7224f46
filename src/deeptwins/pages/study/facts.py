"""What the page of a study rests on: the study, its records, and what they show."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deeptwins.errors import InputError
from deeptwins.findings import aside, derive, frames, inside
from deeptwins.findings.derive import Findings
from deeptwins.findings.frames import Frames
from deeptwins.findings.inside import Inside
from deeptwins.findings.judging import CONTRADICTED
from deeptwins.pages.study import commands
from deeptwins.study import Study


@dataclass(frozen=True)
class StudyFacts:
    """A study, the tables of its records, and the findings that follow from them."""

    study: Study
    frames: Frames
    findings: Findings
    inside: Inside

    @property
    def contradicted(self) -> bool:
        """Whether the records contradict a claim."""
        return bool((self.findings.claims["result"] == CONTRADICTED).any())

    @property
    def several_depths(self) -> bool:
        """Whether errors can be drawn against depth."""
        return bool((self.findings.trends["depths"] > 1).any())

    @property
    def compared(self) -> bool:
        """Whether twins are compared that no claim says agree."""
        return bool(_pairs(self.findings.comparisons) - _pairs(self.findings.agreements))


def load(study: Study, results: Path) -> StudyFacts:
    """Load the records of a study, and derive what they show.

    Raises:
        InputError: there are no finished runs, or a record is damaged.
    """
    data = frames.load(study, results)
    if data.epochs.empty:
        again = f"go on with `deeptwins run {commands.words(study)}`"
        others = f"none of the study's runs has finished, but there are {aside.differences(study, data.aside)}"
        what = others if data.aside else "no run has finished yet"
        raise InputError(f"{results / study.name}: {what}; {again}")
    return StudyFacts(study, data, derive.derive(study, data), inside.derive(data))


def _pairs(table: pd.DataFrame) -> set[Hashable]:
    """Collect which twins a table compares and where, in whichever order it names the two."""
    return {(row["group"], row["depth"], frozenset((row["twin"], row["other"]))) for row in table.to_dict("records")}
