"""Errors that a person can mend."""


class InputError(Exception):
    """Something the user gave is wrong: one line that names it and says what would be right; exit code 2."""
