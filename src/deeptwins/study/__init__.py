"""What is asked: study files, the nets, recipes and runs that they describe, and what they expect."""

from deeptwins.study.files import GROUPS, Study, changed, check_cell, copied, load, order, written
from deeptwins.study.places import FOLDER, find, hides, known, ships, where

__all__ = [
    "FOLDER",
    "GROUPS",
    "Study",
    "changed",
    "check_cell",
    "copied",
    "find",
    "hides",
    "known",
    "load",
    "order",
    "ships",
    "where",
    "written",
]
