"""What became of the cases of one part of the torture, and how it is printed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import typer

# How a case may end. `named`: one line says what is wrong. `same`: nothing is lost or changed.
# `other`: it is another input, and sound: a study that asks something else, or a run that is shown as unfinished.
FINE = ("named", "same", "other")
# `silent`: other numbers, and nobody was told. `crash`: a signal ended the process. `noise`: a library wrote to stderr.
DEFECTS = ("silent", "traceback", "hang", "crash", "noise")


@dataclass
class Tally:
    """The cases of one part."""

    part: str
    ended: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    """One line per defect: which case, and what was seen."""
    peak_mib: float = 0.0
    """The largest resident memory of a process."""
    skipped: str = ""
    """Why there are no cases on this machine."""
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def book(self, case: str, ending: str, seen: str = "") -> None:
        """Count a case; keep and print what was seen where it is a defect."""
        if ending not in (*FINE, *DEFECTS):
            raise ValueError(ending)
        self.ended[ending] += 1
        self.seconds = time.monotonic() - self.begun
        if ending in DEFECTS:
            self.defects.append(f"{self.part}:{case}: {ending}: {seen}")
            typer.echo(self.defects[-1])

    @property
    def row(self) -> list[str]:
        """Its row of the table."""
        counts = [str(self.ended[ending]) for ending in (*FINE, *DEFECTS)]
        peak = f"{self.peak_mib:.0f}" if self.peak_mib else "-"  # of commands it is not measured
        return [self.part, str(self.ended.total()), *counts, peak, f"{self.seconds:.0f}"]


def table(tallies: list[Tally]) -> list[str]:
    """The lines of a Markdown table of all parts."""
    rows = [["part", "cases", *FINE, *DEFECTS, "peak MiB", "seconds"], *(tally.row for tally in tallies)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * (widths[0]), *("-" * (width - 1) + ":" for width in widths[1:])])
    return [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows]
