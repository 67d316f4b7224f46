"""The command line: parse, call, print. A command that needs torch or pandas imports it only inside its function."""

from deeptwins.system import signals


def main() -> None:
    """Be the process of a command: a signal ends it quietly, also while it is imported, and no reader that leaves."""
    signals.handle(signals.leave)
    from deeptwins.cli import app
    from deeptwins.system import output

    output.prepare()
    app.main()
