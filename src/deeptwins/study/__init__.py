"""What is asked: study files, the nets, recipes and runs that they describe, and what they expect."""

from deeptwins.study.files import FOLDER, GROUPS, Study, changed, check_cell, find, load, order

__all__ = ["FOLDER", "GROUPS", "Study", "changed", "check_cell", "find", "load", "order"]
