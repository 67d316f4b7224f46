"""The command line. A command is one file beside this one, and one line of `COMMANDS`."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import typer

from deeptwins.cli.console import refuse, say
from deeptwins.errors import InputError

COMMANDS = {
    # What the user types: "file:function", or the typer.Typer of a command that has commands of its own.
    "list": "studies:list_",
    "run": "studies:run",
    "report": "studies:report",
    "show": "nets:show",
    "profile": "profile:profile",
    "kernels": "kernels:kernels",
    "doctor": "doctor:doctor",
    "schema": "studies:schema",
    "gate": "gate:app",
}


def deeptwins(context: typer.Context) -> None:
    """Train plain and residual networks side by side, and see what depth does to them.

    A study is a question in one file, ablations/STUDY.toml. `run` trains its networks and leaves records in
    results/; `report` turns the records into a page in reports/.

    \b
    Begin with:
      deeptwins list               which studies there are
      deeptwins run smoke          try it, in seconds
      deeptwins run depth          the main study, in minutes
      deeptwins report depth       its page: reports/depth/index.html
    """  # noqa: D301  \b keeps the lines of the example apart
    if context.invoked_subcommand is None:
        for text in context.get_help().splitlines():
            say(text)


def build() -> typer.Typer:
    """Make the command line of all commands."""
    # Plain help: rich would take two of the three tenths of a second that `deeptwins --help` may last.
    app = typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback(invoke_without_command=True)(deeptwins)
    for name, place in COMMANDS.items():
        file, member = place.split(":")
        command = getattr(import_module(f"deeptwins.cli.{file}"), member)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main() -> None:
    """Run the command line. What a user can mend is one line on stderr and exit code 2."""
    try:
        code = build()(prog_name="deeptwins", standalone_mode=False)
    except InputError as error:
        code = refuse(error)
    except OSError as error:
        name = error.filename or ("standard output" if _output_fails() else None)
        code = refuse(f"{name}: {error.strerror}" if name else error)
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's usage errors: click's class or its own copy, by version
            raise
        context = getattr(error, "ctx", None)
        code = refuse(
            f"{error.format_message().rstrip('.')}; see {context.command_path if context else 'deeptwins'} --help"
        )
    _output_fails()
    sys.exit(code)


def _output_fails() -> bool:
    """Tell whether the output takes no more, e.g. on a full disk; then drop it, or it would fail when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
