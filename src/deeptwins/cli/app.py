"""The command line. A command is one file beside this one, and one line of `COMMANDS`."""

from __future__ import annotations

import faulthandler
import inspect
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperArgument

from deeptwins import __version__
from deeptwins.cli.console import FAILED, TRAINING, FailingError, answer_programs, missing, refuse, say, tell_refusals
from deeptwins.errors import InputError, keep, notes, of_a_part, told
from deeptwins.system.importing import exits_raised
from deeptwins.system.invocation import program

T = TypeVar("T")

LOG = Path("deeptwins-error.log")

COMMANDS = {
    # What the user types: "file:function", or the typer.Typer of a command that has commands of its own.
    "list": "studies:list_",
    "new": "nets:new",
    "run": "studies:run",
    "report": "studies:report",
    "diff": "diff:diff",
    "export": "export:export",
    "show": "nets:show",
    "profile": "profile:profile",
    "kernels": "kernels:kernels",
    "doctor": "doctor:doctor",
    "schema": "nets:schema",
    "gate": "gate:app",
}


def _version(asked: bool) -> None:  # noqa: FBT001  as typer calls it
    """Print the version, and leave."""
    if asked:
        say(f"deeptwins {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version, and leave.")
]


def deeptwins(context: typer.Context, *, version: Version = False) -> None:  # noqa: ARG001  `_version` has it
    """Train plain and residual networks side by side, and see what depth does to them.

    A study is a question in one file: yours in ablations/, and those that ship. `run` trains its networks and
    leaves records in results/; `report` turns the records into a page in reports/.

    \b
    Begin with:
      deeptwins list               which studies there are
      deeptwins run smoke          try it, in seconds
      deeptwins run depth          the main study, in minutes
      deeptwins report depth       its page: reports/depth/index.html
      deeptwins new my-study       begin a study of your own
    """  # noqa: D301  \b keeps the lines of the example apart
    if context.invoked_subcommand is None:
        for text in context.get_help().splitlines():
            say(text)


def build() -> typer.Typer:
    """Make the command line of all commands."""
    # An argument has a name and a sentence: Python's type of it, list[str], tells people nothing.
    TyperArgument.display_type_rich = lambda *_, **__: None  # type: ignore[method-assign]
    # Plain help: rich would take two of the three tenths of a second that `deeptwins --help` may last.
    app = typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback(invoke_without_command=True, help=_help(deeptwins))(deeptwins)
    for name, place in COMMANDS.items():
        file, member = place.split(":")
        command = getattr(import_module(f"deeptwins.cli.{file}"), member)
        if isinstance(command, typer.Typer):
            for part in (command.registered_callback, *command.registered_commands):
                if part is not None and part.callback is not None:
                    part.help = _help(part.callback)
            app.add_typer(command, name=name)
        else:
            app.command(name, help=_help(command))(command)
    return app


def _help(command: Callable[..., Any]) -> str:
    """Return the help of a command, its examples as they are typed here."""
    text = inspect.getdoc(command) or ""
    return re.sub("^  (.*run )?deeptwins (?=[a-z])", rf"  \1{program()} ", text, flags=re.MULTILINE)


def main() -> None:
    """Run the command line. What a user can mend is one line on stderr and exit code 2."""
    answer_programs(asked=False)
    if sys.__stderr__ and not faulthandler.is_enabled():
        faulthandler.enable(sys.__stderr__)  # where a part of one's own crashes Python, its line is printed
    try:
        with exits_raised():
            code = build()(prog_name="deeptwins", standalone_mode=False)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is, its traceback is kept
        if isinstance(error, SystemExit) and _raised_by(error).is_relative_to(Path(typer.__file__).parent):
            raise  # how typer ends once a shell is answered, or its completion installed
        code = _answer(error.__cause__ or error if isinstance(error, FailingError) else error)
        code = error.code if isinstance(error, FailingError) else code
    finally:
        with suppress(OSError):  # told below
            tell_refusals()
        answer_programs(asked=False)
    _output_fails()
    sys.exit(code)


def _raised_by(error: BaseException) -> Path:
    """Return the file that raised an error."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return Path(frame.f_code.co_filename)


def _answer(error: BaseException) -> int:
    """Say what went wrong; returns the exit code."""
    if of_a_part(error):
        return refuse(_unforeseen(error))
    if isinstance(error, InputError):
        text = ", ".join([*notes(error), str(error)])
        if error.__cause__ is not None:  # what a module raised when it was imported
            with suppress(OSError):
                text += f"; the whole traceback: {_logged(partial(keep, error.__cause__))[1]}"
        return refuse(text)
    if isinstance(error, OSError):
        name = error.filename or ("standard output" if _output_fails() else None)
        return refuse(f"{name}: {error.strerror}" if name else error)
    if hasattr(error, "format_message"):  # typer's usage errors: click's class or its own copy, by version
        if "--json" in sys.argv[1:]:
            answer_programs(asked=True)  # as the option itself does, which a wrong word may have kept from being read
        context = getattr(error, "ctx", None)
        command = f"{context.command_path if context else 'deeptwins'} --help"
        return refuse(f"{error.format_message().rstrip('.')}; see `{command}`")
    if isinstance(error, ModuleNotFoundError) and error.name in TRAINING:
        return refuse(missing(error.name))
    refuse(_unforeseen(error))
    return FAILED


def _unforeseen(error: BaseException) -> str:
    """Say what went wrong in a part of one's own, or in deeptwins itself, and keep the whole traceback in a file."""
    try:
        text, log = _logged(partial(told, error))
    except OSError:
        raise error from None
    return f"{text}; the whole traceback: {log}"


def _logged(write: Callable[[Path], T]) -> tuple[T, Path]:
    """Write a log here, or where it can be written.

    Raises:
        OSError: nothing can be written.
    """
    from tempfile import gettempdir

    try:
        return write(LOG), LOG
    except OSError:
        log = Path(gettempdir(), LOG)
        return write(log), log


def _output_fails() -> bool:
    """Tell whether the output takes no more, e.g. on a full disk; then drop it, or it would fail when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
