"""The command line: parse, call, print. A side (torch, pandas) is imported only inside the command that needs it."""

from deeptwins.cli.app import main

__all__ = ["main"]
