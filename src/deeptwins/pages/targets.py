"""Targets: how fast something has to be on some devices, stated beforehand, and whether it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

DEVICES = ("H100", "H200")
WHERE = f"Targets for an {' or '.join(DEVICES)}"


@dataclass(frozen=True)
class Target:
    """A target: in each row that it is about, the value of a column must be at least a given one."""

    text: str
    column: str
    least: float
    about: Callable[[pd.DataFrame], pd.Series]
    """Says of each row of a table whether the target is about it."""

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Choose the rows that it is about and that were measured, the worst first."""
        return table[self.about(table)].dropna(subset=self.column).sort_values(self.column, kind="stable")

    def result(self, value: float) -> str:
        """Say whether a value meets it."""
        return "✓ met" if value >= self.least else "✗ missed"


def are_for(devices: Iterable[str]) -> bool:
    """Whether targets are for all of these devices; on others they are not judged."""
    return all(any(name in device for name in DEVICES) for device in devices)
