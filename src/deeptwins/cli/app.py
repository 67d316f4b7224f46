"""The command line: every command is here by a line, and in a file of its own by its function."""

from __future__ import annotations

import io
import sys

import typer

from deeptwins.cli import doctor, gate, kernels, nets, profile, studies
from deeptwins.cli.console import refuse
from deeptwins.errors import InputError

# Plain help: rich would take two of the three tenths of a second that `deeptwins --help` may last.
app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
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
        typer.echo(context.get_help())


app.command("list")(studies.list_)
app.command()(studies.run)
app.command()(studies.report)
app.command()(nets.show)
app.command()(profile.profile)
app.command()(kernels.kernels)
app.command()(doctor.doctor)
app.add_typer(gate.app, name="gate")


def main() -> None:
    """Run the command line. What a user can mend is one line on stderr and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # better a question mark than a traceback where it is not UTF-8
    try:
        code = app(prog_name="deeptwins", standalone_mode=False)
    except InputError as error:
        code = refuse(error)
    except OSError as error:
        code = refuse(f"{error.filename}: {error.strerror}" if error.filename else error)
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's usage errors: click's class or its own copy, by version
            raise
        context = getattr(error, "ctx", None)
        code = refuse(
            f"{error.format_message().rstrip('.')}; see {context.command_path if context else 'deeptwins'} --help"
        )
    sys.exit(code)
