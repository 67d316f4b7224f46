"""The command `deeptwins export`: the numbers of a study as tables, or as runs of a tracker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptwins.cli.console import ABLATIONS, RESULTS, beginning, refuse, say, wrap
from deeptwins.cli.options import complete_study, results_option, seeds_option, settings_option
from deeptwins.cli.pages import say_edited
from deeptwins.errors import InputError
from deeptwins.pages.wording import count
from deeptwins.system import signals

if TYPE_CHECKING:
    from deeptwins.export.targets import Opened
    from deeptwins.study import Study


SAME = "the same"


class To(StrEnum):
    """Where numbers go."""

    csv = "csv"
    parquet = "parquet"
    jsonl = "jsonl"
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    trackio = "trackio"
    wandb = "wandb"


ExportedStudy = Annotated[
    str, typer.Argument(metavar="STUDY", help="A name or a .toml file.", autocompletion=complete_study)
]
Destination = Annotated[
    To, typer.Option("--to", metavar="FORM", help="csv, parquet, jsonl, tensorboard, mlflow, trackio or wandb.")
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="DIR", help="Where it goes; for mlflow also a tracking URI. [default: exports/FORM]"),
]
Follow = Annotated[bool, typer.Option("--follow", help="Go on until the study is done, or Ctrl-C.")]
ExportedRecords = Annotated[Path, results_option("Where the records of runs lie.")]
ExportedSettings = Annotated[
    list[str] | None,
    settings_option("recipe.KEY=VALUE", "The runs that were trained with this. Can be given again."),
]
ExportedSeeds = Annotated[int | None, seeds_option("As in the run: --follow waits for seeds 0 to N-1.")]


def export(  # noqa: PLR0913  every option is a parameter
    study: ExportedStudy,
    *,
    to: Destination,
    out: Out = None,
    settings: ExportedSettings = None,
    seeds: ExportedSeeds = None,
    results: ExportedRecords = RESULTS,
    follow: Follow = False,
) -> None:
    """Write a study's numbers as tables, or to a tracker.

    A tracker gets a run per net of each run: settings, errors and losses by iteration, final errors, seed, commit.
    Done again, only what has changed is written. Unfinished runs go as far as they are. With --follow, it goes on
    while the study trains, here or on another machine that writes to the same folder of results.

    \b
    Examples:
      deeptwins export depth --to csv
      deeptwins export depth --to tensorboard --follow
      deeptwins export depth --to mlflow --out http://127.0.0.1:5000
    """  # noqa: D301
    from deeptwins import study as studies
    from deeptwins.export import targets
    from deeptwins.findings import aside
    from deeptwins.findings.following import Watched
    from deeptwins.findings.following import follow as following

    beginning(f"reading {results}/")
    chosen = studies.load(studies.find(study, ABLATIONS), settings or [], seeds)
    folder, watched = results / chosen.name, Watched(chosen, results)
    changed = [] if follow else watched.look()
    if watched.damaged:
        raise next(iter(watched.damaged.values()))
    if not follow and not changed:
        raise InputError(f"{folder}: no records; `deeptwins run {study}` makes some, and --follow waits for them")
    place = targets.place(to.value, out, results, chosen)
    told: dict[str, str] = {}

    def take(study: Study, paths: Sequence[Path]) -> None:
        for name, what in place.target.take(study, results, paths).items():
            if told.get(name, SAME) == SAME:  # else it stays what it has become in this session
                told[name] = what

    interrupted = False
    try:
        with signals.interruptible():
            try:
                if follow:
                    wrap(f"following {folder}, into {place.where}; Ctrl-C ends it")
                    following([(watched, take)], refuse, say_edited)
                else:
                    take(watched.study, changed)
            finally:
                place.target.close()
    except KeyboardInterrupt:
        interrupted = True
    _conclude(place, told, interrupted=interrupted)
    if interrupted:
        raise typer.Exit(signals.INTERRUPTED)
    if text := aside.told(watched.study, results):
        wrap(text)


def _conclude(place: Opened, told: Mapping[str, str], *, interrupted: bool) -> None:
    """Say in a line what was written, and in another what shows it."""
    became = ", ".join(f"{number} {what}" for what, number in sorted(Counter(told.values()).items()))
    text = f"{place.where}: {count(len(told), place.what)}{became and f', {became}'}"
    wrap(f"interrupted; {text}; the same command goes on" if interrupted else text)
    if place.shown_by and told and not interrupted:
        say(f"  {place.shown_by}")
