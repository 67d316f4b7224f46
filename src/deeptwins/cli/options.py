"""Options that several commands have. Where their explanations differ, a command gives the text of the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from deeptwins.cli.console import ABLATIONS, answer_programs

SEEDS = 100_000  # more is a slip


def complete_study(incomplete: str) -> list[str]:
    """List the studies whose names begin so, for a shell; it completes paths itself."""
    from deeptwins.study import known

    return [name for name in known(ABLATIONS) if name.startswith(incomplete)]


def complete_network(incomplete: str) -> list[str]:
    """Name the networks of the papers that begin so."""
    from deeptwins.study.networks import NAMES

    return [name for name in NAMES if name.startswith(incomplete)]


def complete_shown(incomplete: str) -> list[str]:
    """Name the studies and the networks that begin so."""
    return complete_study(incomplete) + complete_network(incomplete)


Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", envvar="DEEPTWINS_DATA", help="Where datasets lie. Digits and synthetic need none."
    ),
]
DeviceName = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to train; auto takes a GPU if there is one.")
]

AsJson = Annotated[
    bool,
    typer.Option(
        "--json", callback=answer_programs, is_eager=True, help="Print one JSON object for programs, and nothing else."
    ),
]
"""A command that has it calls `tell`; what it prints besides goes nowhere."""


def results_option(what: str) -> Any:  # noqa: ANN401  as typer's own
    """`--results`, the folder of results."""
    return typer.Option("--results", metavar="DIR", help=what)


def reports_option(what: str) -> Any:  # noqa: ANN401
    """`--reports`, the folder of pages."""
    return typer.Option("--reports", metavar="DIR", help=what)


def settings_option(metavar: str, what: str) -> Any:  # noqa: ANN401
    """`--set`, which changes one key, and can be given again."""
    return typer.Option("--set", metavar=metavar, help=what)


def seeds_option(what: str) -> Any:  # noqa: ANN401
    """`--seeds`, how many seeds."""
    return typer.Option("--seeds", min=1, max=SEEDS, metavar="N", help=what)


def image_option(what: str) -> Any:  # noqa: ANN401
    """`--input`, the shape of an image."""
    return typer.Option("--input", metavar="CxHxW", help=what)


Reports = Annotated[Path, reports_option("Where the page goes.")]
