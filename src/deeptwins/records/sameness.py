"""Whether the runs of a study saw the same images, and were made by the same code of one's own parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

UNKNOWN = "unknown code"
DIGITS = 7  # of a hash, as git shows


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


def code(parts: Mapping[str, Any] | None) -> dict[str, str]:
    """Name the code of each package that parts of one's own lie in: the first digits of its hash.

    Args:
        parts: of a run's first record.
    """
    return {origin["package"]: (origin["sha256"] or UNKNOWN)[:DIGITS] for origin in (parts or {}).values()}


def other_code(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    """Say of each package whose code has changed from one to the other, as `mypkg (1a2b3c4 -> 5d6e7f8)`.

    Args:
        before: the parts of a run's first record.
        now: the parts that the same run would have now.
    """
    had, has = code(before), code(now)
    changed = {package: (had.get(package, UNKNOWN), digits) for package, digits in has.items()}
    return [f"{package} ({old} -> {new})" for package, (old, new) in changed.items() if old != new]


def mixed_code(runs: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """Say in a sentence per package that runs were made by different code; nothing where all were by the same.

    Args:
        runs: the parts of the first record of each run of one study.
    """
    counts: dict[str, Counter[str]] = {}
    for parts in runs:
        for package, digits in code(parts).items():
            counts.setdefault(package, Counter())[digits] += 1
    return [
        f"Not all runs were made by the same code, so that their errors may not compare: {package} was changed between"
        f" runs ({', '.join(f'{number} by {digits}' for digits, number in versions.items())})."
        for package, versions in counts.items()
        if len(versions) > 1
    ]
