"""What runs, profiles and compiled kernels leave behind: formats, reading, writing, locks."""

from deeptwins.records.runs import PLACES, SCHEMA, Record, append, keep, part_of, path_of, read, replace, status

__all__ = [
    "PLACES",
    "SCHEMA",
    "Record",
    "append",
    "keep",
    "part_of",
    "path_of",
    "read",
    "replace",
    "status",
]
