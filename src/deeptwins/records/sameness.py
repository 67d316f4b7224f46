"""Whether the runs of a study saw the same images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class Seen(NamedTuple):
    """What a run was trained on, or will be."""

    dataset: str
    image_size: int | None
    """Pixels that images were scaled to; None: not scaled."""
    checksum: str


def mixed(runs: Iterable[Seen]) -> list[str]:
    """Say in a sentence per dataset that runs saw different images of it; nothing where all saw the same.

    Args:
        runs: of one study.
    """
    checksums: dict[tuple[str, int | None], Counter[str]] = {}
    for run in runs:
        checksums.setdefault(run[:2], Counter())[run.checksum] += 1
    return [
        f"Not all runs were trained on the same data, so that their errors do not compare: {dataset} has"
        f" {len(counts)} checksums ({', '.join(f'{number} of {text[:15]}' for text, number in counts.items())})."
        for (dataset, _), counts in checksums.items()
        if len(counts) > 1
    ]
