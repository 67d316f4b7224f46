"""The command line: parse, call, print. A command that needs torch or pandas imports it only inside its function."""

from deeptwins.cli.app import main

__all__ = ["main"]
