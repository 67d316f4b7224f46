"""What runs, profiles and compiled kernels leave behind: formats, reading, writing, locks."""

from deeptwins.records.course import evaluations
from deeptwins.records.files import RunFiles
from deeptwins.records.runs import (
    PLACES,
    REMEDY,
    SCHEMA,
    Record,
    append,
    hashes,
    keep,
    last_hash,
    read,
    status,
)
from deeptwins.system.disk import part_of, replace

__all__ = [
    "PLACES",
    "REMEDY",
    "SCHEMA",
    "Record",
    "RunFiles",
    "append",
    "evaluations",
    "hashes",
    "keep",
    "last_hash",
    "part_of",
    "read",
    "replace",
    "status",
]
