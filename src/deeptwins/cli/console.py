"""What commands share: printing, reading what the user types, exit codes, and where things lie."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

import typer

from deeptwins.errors import InputError, line, one_line
from deeptwins.system.invocation import here, hint, lacking
from deeptwins.system.signals import INTERRUPTED, interruptible

if TYPE_CHECKING:
    from deeptwins.nets.inspection import Layer
    from deeptwins.train.schedule.scheduling import Outcome

ABLATIONS, RESULTS, REPORTS = map(Path, ("ablations", "results", "reports"))  # unless an option says otherwise
FAILED, BAD_INPUT, CONTRADICTED, UNFINISHED = 1, 2, 3, 3  # exit codes, beside `INTERRUPTED`
LONGEST, LONGEST_CELL = 10_000, 500  # characters of a line, and of a cell of a table
TRAINING = "torch", "torchvision", "triton", "sklearn"  # modules of the extra deeptwins[train] (pyproject.toml)
MOMENT_SECONDS = 0.5  # that nobody minds to wait
PIPED, NARROWEST = 80, 20  # columns that text is wrapped at: where there is no terminal, and at least


def refuse(what: object) -> int:
    """Say in one line on stderr what a user can mend; returns the exit code."""
    written = one_line(hint(str(what)))
    _Output.refusals.append(written)
    with suppress(OSError):  # nowhere to say it
        say(f"deeptwins: {written}", err=True)
    return BAD_INPUT


@contextmanager
def stoppable(what: str = "interrupted") -> Iterator[None]:
    """Let a signal end a command, once what it has begun is cleaned up: with a line, and exit code 130.

    Raises:
        typer.Exit: a signal came.
    """
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        refuse(what)
        raise typer.Exit(INTERRUPTED) from None


def needs_training() -> None:
    """Refuse a command that trains where what that takes is not installed.

    Raises:
        ModuleNotFoundError: a module is missing; the command line says what to install.
    """
    for name in TRAINING:
        if name != "triton" and find_spec(name) is None:  # which is not there for every system
            raise ModuleNotFoundError(name=name)


def missing(module: str) -> str:
    """Say that a module of the extra is missing, and what installs it."""
    return lacking(module, "train")


def say(text: object = "", *, err: bool = False, longest: int = LONGEST) -> None:
    """Print a line, as commands print everything: what a terminal would obey is escaped, and what is long is cut."""
    if err or not _Output.for_programs:
        typer.echo(line(text, longest), err=err)


def beginning(what: str) -> None:
    """Say what a command does in its first seconds, where somebody watches a terminal and has nothing to read yet."""
    if sys.stderr.isatty():
        say(f"{what} ...", err=True)


@contextmanager
def lasting(what: str) -> Iterator[None]:
    """Say what a command does, as `beginning` does, but only if it takes longer than a moment."""
    timer = Timer(MOMENT_SECONDS, beginning, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def width() -> int:
    """Count the columns that text has."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else PIPED


def wrap(text: object, *, hanging: int | None = None) -> None:
    """Print a paragraph, its lines no wider than the terminal. Words stay whole, so that a path can be copied.

    Args:
        text: what is printed.
        hanging: how far the lines after the first are indented; by default as far as the first.
    """
    written = line(text, LONGEST)
    indent = " " * (len(written) - len(written.lstrip()) if hanging is None else hanging)
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    for part in textwrap.wrap(written, width(), subsequent_indent=indent, **options) or [""]:
        say(part)


def answer_programs(asked: bool) -> bool:  # noqa: FBT001  as typer calls it
    """Choose whether standard output is for programs: nothing but what `tell` prints, or for people."""
    _Output.for_programs, _Output.refusals = asked, []
    if asked and not _Output.stream:  # what anything else prints, a block of one's own say, goes where people see it
        _Output.stream, sys.stdout = sys.stdout, sys.stderr
    elif _Output.stream and not asked:
        _Output.stream, sys.stdout = None, _Output.stream
    return asked


def tell(content: Callable[[], Mapping[str, object]]) -> None:
    """Print what a command found as one JSON object, if that was asked for; else it is not even put together."""
    if _Output.for_programs:
        text = json.dumps(_plain(content()), indent=1, allow_nan=False)
        _Output.refusals = []  # what is told has them
        typer.echo(text, file=_Output.stream)


def tell_refusals() -> None:
    """Print for programs why a command has printed no result, if it has not."""
    if _Output.refusals:
        tell(lambda: {"error": "; ".join(_Output.refusals)})


class _Output:
    for_programs = False
    stream: TextIO | None = None
    """Standard output, while it is for programs."""
    refusals: ClassVar[list[str]] = []
    """What was refused while nothing was told."""


def _plain(value: object) -> object:
    """Return a value as JSON has it: a number that is not finite is null, what is no number, list or table is text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_plain, value)]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)


def conclude(outcome: Outcome, again: list[str], following: list[str] | None) -> int:
    """Say what became of the runs, and the command that comes next.

    Args:
        outcome: of the session.
        again: the words after `run` that go on with it.
        following: the words after `report`; None when the pages are written anyway.

    Returns:
        The exit code.
    """
    if outcome.interrupted:
        command = ["deeptwins", "run", *(["--report"] if following is None else []), *again]
        finished = outcome.done + outcome.diverged
        over = "the time is over: " if outcome.out_of_time else ""
        wrap(f"{over}{finished} of {outcome.total} runs are finished, and nothing is lost. To go on:")
        say("  " + here(shlex.join(command)))
        return UNFINISHED if outcome.out_of_time else INTERRUPTED
    if outcome.failed:
        wrap(f"{outcome.failed} of {outcome.total} runs failed; the same command tries them again")
        return FAILED
    after = "" if following is None else "; next: " + here(shlex.join(["deeptwins", "report", *following]))
    say(f"{'1 run is' if outcome.total == 1 else f'{outcome.total} runs are'} finished{after}")
    return 0


def as_typed(settings: Sequence[str] | None = None, **options: object) -> list[str]:
    """Write `--set` and other options as a user types them, but for those that are None."""
    pairs = [*(("set", setting) for setting in settings or []), *options.items()]
    return [word for name, value in pairs if value is not None for word in (f"--{name.replace('_', '-')}", str(value))]


def print_layers(title: str, layers: Sequence[Layer]) -> None:
    """Print layers or stages, and what they sum up to."""
    rows = [(title, "KIND", "OUTPUT", "PARAMETERS", "FLOPS")]
    rows += [
        (layer.name, layer.kind, "x".join(map(str, layer.output)), f"{layer.parameters:,}", f"{layer.flops:,}")
        for layer in layers
    ]
    parameters, flops = sum(layer.parameters for layer in layers), sum(layer.flops for layer in layers)
    print_table([*rows, ("total", "", "", f"{parameters:,}", f"{flops:,}")], right=(2, 3, 4))


def read_duration(text: str) -> float:
    """Read a duration like 90s, 9m or 1h30m, in seconds.

    Raises:
        InputError: it is no duration, or one of 0.
    """
    match = re.fullmatch("(?:([0-9]{1,4})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?", text)
    hours, minutes, seconds = (int(part or 0) for part in (match.groups() if match else ("0",) * 3))
    if total := 3600 * hours + 60 * minutes + seconds:
        return float(total)
    raise InputError(f"--time-limit {text}: write a time like 90s, 9m or 1h30m")


def read_shape(text: str) -> tuple[int, int, int]:
    """Read CxHxW."""
    match = re.fullmatch("([1-9][0-9]{0,5})x([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if match is None:
        raise InputError(f"--input {text}: write CxHxW, channels, height and width, like 3x32x32")
    return int(match[1]), int(match[2]), int(match[3])


def print_table(rows: Sequence[tuple[str, ...]], right: Sequence[int] = ()) -> None:
    """Print rows in columns, those of numbers flush right; the first has the headings.

    On a terminal that is too narrow, each row becomes a paragraph, its cells beside their headings.
    """
    rows = [tuple(line(cell, LONGEST_CELL) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sys.stdout.isatty() and sum(widths) + 2 * len(widths) - 2 > width():
        for row in rows[1:]:
            cells = [f"{head} {cell}" for head, cell in zip(rows[0][1:], row[1:], strict=True) if cell]
            wrap(f"{row[0]}: {'; '.join(cells)}", hanging=2)
        return
    for row in rows:
        cells = [f"{cell:{'>' if i in right else '<'}{widths[i]}}" for i, cell in enumerate(row)]
        say("  ".join(cells).rstrip())


class FailingError(Exception):
    """An error that ends with an exit code of its own; its cause says what it is."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@contextmanager
def failing_with(code: int) -> Iterator[None]:
    """Let every error end with an exit code, where another one would say what nobody has found."""
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        raise FailingError(code) from error


class Teller:
    """Prints on stderr what happens, and after how long."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, what: str) -> None:
        """Print a line."""
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        say(f"{minutes:3}:{seconds:02} {what}", err=True)
