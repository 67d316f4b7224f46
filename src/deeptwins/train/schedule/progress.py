"""Show how far a session is: what is done, what runs, and when it will be over."""

from __future__ import annotations

import heapq
import os
import shutil
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TextIO

from deeptwins.errors import escaped

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_EVERY_S = 10.0
NARROWEST = 20  # columns of a display
_WEIGHT_OF_OTHERS_S = 5.0  # once a run has lasted this long, its pace counts as much as that of all runs


@dataclass(frozen=True)
class Effort:
    """Work done, and the time that it kept a worker."""

    flops: float
    seconds: float

    def __add__(self, other: Effort) -> Effort:
        """Both together."""
        return Effort(self.flops + other.flops, self.seconds + other.seconds)


@dataclass(frozen=True)
class Going:
    """A run on a worker. Work in FLOPs, `done` and `seconds` since this session took it up."""

    done: float
    left: float
    seconds: float

    @property
    def effort(self) -> Effort:
        """What was spent on it so far."""
        return Effort(self.done, self.seconds)


class Running(NamedTuple):
    """A run on a worker, as the display shows it."""

    label: str
    iteration: int
    iterations: int
    errors: Mapping[str, float]
    """Training error by twin, percent, as far as it is known."""

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        return f"{self.iteration:,} of {self.iterations:,}" if self.iteration else "starting"

    @property
    def told(self) -> str:
        """The errors, in words; empty where none is known."""
        errors = ", ".join(f"{twin} {error:.1f} %" for twin, error in self.errors.items())
        return errors and f"training error: {errors}"


@dataclass(frozen=True)
class State:
    """Where a session stands; `fraction` is of the work that it began with, `left_s` the seconds still needed."""

    total: int
    done: int
    diverged: int
    failed: int
    running: Sequence[Running]
    elsewhere: int  # runs that another deeptwins trains
    fraction: float
    left_s: float | None

    @property
    def counts(self) -> str:
        """What became of the runs so far, in words."""
        parts = [f"{self.done} of {self.total} runs done"]
        for number, what in (
            (self.diverged, "diverged"),
            (self.failed, "failed"),
            (len(self.running), "running"),
            (self.elsewhere, "elsewhere"),
        ):
            if number:
                parts.append(f"{number} {what}")
        return ", ".join(parts)

    @property
    def left(self) -> str:
        """The time still needed, in words."""
        return "measuring the pace" if self.left_s is None else f"about {duration(self.left_s)} left"


def seconds_left(going: Iterable[Going], waiting: Iterable[float], spent: Effort, workers: int) -> float | None:
    """Estimate when the last worker will be done; None before any work was seen.

    The work still waiting is laid out on the workers in the order in which it will be given out, so that a long last
    run that leaves the other workers idle counts in full.

    Args:
        going: the runs on the workers, no more than there are workers.
        waiting: FLOPs of the runs not begun, in order.
        spent: on the runs finished in this session.
        workers: how many work at once.
    """
    going = list(going)
    total = sum((run.effort for run in going), spent)
    if total.flops <= 0 or total.seconds <= 0:
        return None
    pace = total.flops / total.seconds
    free_at = [0.0] * (workers - len(going))
    for run in going:
        pace_of_run = (run.done + pace * _WEIGHT_OF_OTHERS_S) / (run.seconds + _WEIGHT_OF_OTHERS_S)
        free_at.append(run.left / pace_of_run)
    heapq.heapify(free_at)
    for flops in waiting:
        heapq.heapreplace(free_at, free_at[0] + flops / pace)
    return max(free_at)


def duration(seconds: float) -> str:
    """A duration in words, rounded to within 5 %: `38 s`, `5 min 20 s`, `25 min`, `2 h 10 min`."""
    if round(seconds) < 100:  # noqa: PLR2004  two digits of seconds
        return f"{seconds:.0f} s"
    tens = round(seconds / 10)
    if tens < 60:  # noqa: PLR2004  in whole minutes, 150 s would be a fifth off
        return f"{tens // 6} min {tens % 6}0 s".removesuffix(" 00 s")
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"  # noqa: PLR2004


class Display(Protocol):
    """Shows what a session does while it lasts. Used as a context manager."""

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the screen as it should stay."""

    def say(self, line: str) -> None:
        """Print a line that stays."""

    def update(self, state: State) -> None:
        """Show where the session stands; called several times a second."""

    def settle(self) -> None:
        """Take away what is redrawn, and print only lines from now on: the session is about to stop."""


class Lines(Display):
    """Plain lines, for files and pipes: no control characters, and where things stand every ten seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Print to a stream, on a clock in seconds."""
        self._stream = stream
        self._clock = clock
        self._due = clock() + LINE_EVERY_S

    def __exit__(self, *_error: object) -> None:
        """Leave the lines."""

    def settle(self) -> None:
        """Leave the lines: nothing is redrawn."""

    def say(self, line: str) -> None:
        """Print a line."""
        print(escaped(line), file=self._stream, flush=True)

    def update(self, state: State) -> None:
        """Print where the session stands, when that is due."""
        if self._clock() >= self._due:
            self._due = self._clock() + LINE_EVERY_S
            self.say(f"... {state.counts}; {state.left}")
            for run in state.running:
                self.say(f"      {run.label}: {'; '.join(filter(None, [run.progress, run.told]))}")


class Live(Display):
    """A bar for the session and one for each run on a worker with its errors, redrawn in place on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Draw on a terminal."""
        from rich.console import Console  # noqa: PLC0415  a tenth of a second that other commands need not pay
        from rich.live import Live as Redrawn  # noqa: PLC0415

        self._console = Console(file=stream, markup=False, highlight=False)
        # Without a thread beside the loop that knows when something has changed.
        self._live = Redrawn(console=self._console, auto_refresh=False, transient=True)
        self._settled = False

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove the bars; the lines stay."""
        self.settle()

    def say(self, line: str) -> None:
        """Print a line above the bars, its words whole."""
        for part in textwrap.wrap(escaped(line), self._width(), break_long_words=False, break_on_hyphens=False):
            self._console.print(part, soft_wrap=True)

    def update(self, state: State) -> None:
        """Redraw."""
        if not self._settled:
            # The terminal's size may change; and `^C` must fit behind the last line, or the next would begin too low.
            self._console.width = self._width()
            self._live.update(_drawn(state, self._console.width), refresh=True)

    @staticmethod
    def _width() -> int:
        return max(NARROWEST, shutil.get_terminal_size().columns - len("^C^C "))

    def settle(self) -> None:
        """Remove the bars."""
        if not self._settled:
            self._settled = True
            self._live.update("")
            self._live.stop()


def _drawn(state: State, width: int) -> RenderableType:
    """Draw bars, each with what is said of it below, on so many columns."""
    from rich.console import Group  # noqa: PLC0415
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    rows = [("all runs", state.left, state.counts, state.fraction)]
    rows += [(run.label, run.progress, run.told, run.iteration / run.iterations) for run in state.running]
    widths = min(width // 2, max(len(row[0]) for row in rows)), max(len(row[1]) for row in rows)
    parts: list[RenderableType] = []
    for label, note, below, fraction in rows:
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(width=widths[0], no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(width=widths[1], no_wrap=True)
        bar.add_row(Text(escaped(label)), ProgressBar(total=1.0, completed=fraction), Text(note))
        # Not wrapped by rich, which would part a number from its unit.
        lines = textwrap.wrap(escaped(below).replace(" %", "\N{NO-BREAK SPACE}%"), width - 2, break_on_hyphens=False)
        parts += [bar, *(Text(f"  {line}".replace("\N{NO-BREAK SPACE}", " "), no_wrap=True) for line in lines)]
    return Group(*parts)


def display(stream: TextIO) -> Display:
    """A live display on a terminal, plain lines anywhere else."""
    return Live(stream) if stream.isatty() and os.environ.get("TERM") != "dumb" else Lines(stream)
