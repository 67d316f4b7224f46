"""What is asked: study files, the nets, recipes and runs that they describe, and what they expect."""

from deeptwins.study.files import FIRST, FOLDER, GROUPS, Study, changed, check_cell, find, load

__all__ = ["FIRST", "FOLDER", "GROUPS", "Study", "changed", "check_cell", "find", "load"]
