"""What runs, profiles and compiled kernels leave behind: formats, reading, writing, locks."""

from deeptwins.records.files import RunFiles
from deeptwins.records.runs import PLACES, SCHEMA, Record, append, keep, part_of, read, replace, status

__all__ = ["PLACES", "SCHEMA", "Record", "RunFiles", "append", "keep", "part_of", "read", "replace", "status"]
