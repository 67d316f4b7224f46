"""The commands about studies: list, run, report."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deeptwins.cli.console import (
    ABLATIONS,
    BAD_INPUT,
    CONTRADICTED,
    REPORTS,
    RESULTS,
    Data,
    conclude,
    one_line,
    options,
    print_table,
    read_duration,
    refuse,
)
from deeptwins.cli.pages import publish, sources, spec_of
from deeptwins.errors import InputError

if TYPE_CHECKING:
    from deeptwins.cli.pages import Source
    from deeptwins.study import Study

SEEDS, WORKERS = 100_000, 4096  # more is a slip

Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where the records of runs lie.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="recipe.KEY=VALUE", help="Change one key of the study's recipe. Can be given again."),
]


def list_(results: Results = RESULTS) -> None:
    """List the studies: question, cost, how many runs are done."""
    from deeptwins import records, study

    if not ABLATIONS.is_dir():
        raise InputError(f"no folder {ABLATIONS}/ here: go to the repository's root")
    rows, broken = [("STUDY", "RUNS DONE", "COST", "QUESTION")], False
    for path in sorted(ABLATIONS.glob("*.toml"), key=lambda path: path.stem):
        try:
            found = study.load(path)
            done = sum(
                records.status(records.read(records.path_of(results, run.study, run.id))) in ("done", "diverged")
                for run in found.runs
            )
            rows.append((found.name, f"{done} of {len(found.runs)}", found.cost or "-", one_line(found.question)))
        except InputError as error:
            broken = True
            rows.append((path.stem, "-", "-", f"cannot be read: {one_line(error)}"))
    print_table(rows)
    if broken:
        raise typer.Exit(BAD_INPUT)


def run(  # noqa: PLR0913, PLR0917  every option is a parameter
    studies: Annotated[list[str], typer.Argument(metavar="STUDY", help="Names from `deeptwins list`, or .toml files.")],
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to train; auto takes a GPU if there is one.")
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=WORKERS, metavar="N", help="Processes that train. [default: one a core; one on a GPU]"),
    ] = None,
    together: Annotated[
        int | None,
        typer.Option(min=1, max=WORKERS, metavar="N", help="Runs that each trains at once. [default: 1; 4 on a GPU]"),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Save what is unfinished and end in time: 90s, 9m, 1h30m."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=SEEDS, metavar="N", help="Train seeds 0 to N-1 instead of the study's.")
    ] = None,
    settings: Settings = None,
    results: Results = RESULTS,
    data: Data = None,
    fresh: Annotated[  # noqa: FBT002
        bool, typer.Option("--fresh", help="Delete what these runs have left behind, and start over.")
    ] = False,
    pages: Annotated[  # noqa: FBT002
        bool, typer.Option("--report", help=f"Then write the studies' pages too, into {REPORTS}/.")
    ] = False,
) -> None:
    """Train the runs of a study, or of several; leave records.

    Runs that are finished are skipped, and unfinished ones go on where they stopped: after Ctrl-C, a crash or a
    power cut, give the same command again; where a time limit ended it (exit code 3), too, on this machine or, given
    the folder of results, on another like it. Given twice at the same time, the two share the work.

    \b
    Examples:
      deeptwins run depth
      deeptwins run depth --seeds 5 --workers 4
      deeptwins run depth --set recipe.iterations=500 --results /tmp/try
      deeptwins run depth-cifar10 --device cuda --data ~/datasets --time-limit 9m
    """  # noqa: D301
    begun = time.monotonic()
    limit = math.inf if time_limit is None else read_duration("time-limit", time_limit)
    chosen = _load(studies, settings or [], seeds)  # a slip in a name is told before torch has been loaded
    from deeptwins.train import progress, scheduling

    _check(chosen, device)
    outcome = scheduling.train_all(
        list({(each.study, each.id): each for study in chosen for each in study.runs}.values()),
        device=device,
        results=results,
        display=progress.display(sys.stdout),
        data_folder=data,
        workers=workers,
        together=together,
        deadline=begun + limit,
        fresh=fresh,
    )
    on = options(device=None if device == "auto" else device, workers=workers, together=together, data=data)
    on += [] if time_limit is None else ["--time-limit", time_limit]
    same = [part for setting in settings or [] for part in ("--set", setting)]
    same += options(seeds=seeds, results=None if results == RESULTS else results)
    code = conclude(outcome, [*studies, *on, *same], None if pages else [*studies, *same])
    if pages and not outcome.interrupted:
        try:
            _write_pages(chosen, results, REPORTS)
        except InputError as error:
            if not code:
                raise
            refuse(error)  # no run has come far enough for a page: what matters has been told
    if code:
        raise typer.Exit(code)


def report(  # noqa: PLR0913, PLR0917
    studies: Annotated[
        list[str] | None,
        typer.Argument(metavar="STUDY", help="Names or .toml files; by default all that has results."),
    ] = None,
    settings: Settings = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=SEEDS, metavar="N", help="As in the run: seeds 0 to N-1.")
    ] = None,
    results: Results = RESULTS,
    reports: Annotated[Path, typer.Option("--reports", metavar="DIR", help="Where the pages go.")] = REPORTS,
    strict: Annotated[  # noqa: FBT002
        bool, typer.Option("--strict", help="Exit with 3 when the records contradict a claim.")
    ] = False,
) -> None:
    """Turn the records of each study into a page.

    It opens with the verdict; figures, tables, and how to reproduce them follow. Without STUDY, all other results
    become pages, too: profiles, timings, compiled kernels, runs of the gate.

    \b
    Examples:
      deeptwins report
      deeptwins report depth --reports /tmp/pages
    """  # noqa: D301
    others = [] if studies else sources(results, "study")
    names = studies or _with_results(results)
    if not names and not others:
        raise InputError(f"{results}: no results of a study in {ABLATIONS}/; `deeptwins run depth` makes some")
    contradicted = _write_pages(_load(names, settings or [], seeds), results, reports, others)
    if strict and contradicted:
        raise typer.Exit(CONTRADICTED)


def _load(names: Iterable[str], settings: Sequence[str], seeds: int | None) -> list[Study]:
    from deeptwins import study

    return [study.load(study.find(name, ABLATIONS), settings, seeds) for name in dict.fromkeys(names)]


def _check(studies: Iterable[Study], device: str) -> None:
    """Check all that can be checked without data."""
    from deeptwins.train import device as devices
    from deeptwins.train import training

    accelerator = devices.device(device)
    for study in studies:
        try:
            for run in study.runs:
                training.check(run, accelerator)
        except ValueError as error:
            raise InputError(f"{study.path}: {error}") from None


def _write_pages(studies: Iterable[Study], results: Path, reports: Path, others: Sequence[Source] = ()) -> bool:
    """Write and print the page of each study, and write others; says whether the records contradict a claim."""
    pages = publish("study", reports, *((study, results) for study in studies), others=others)
    return any(page.facts.contradicted for page in pages)


def _with_results(results: Path) -> list[str]:
    """Name the studies that have results, but for those that are not in `ablations/`: they are said to be left out."""
    known = [study.name for study, _ in spec_of("study").find(results)]
    for name in sorted({path.parent.name for path in results.glob("*/*.jsonl")} - {*known}):
        typer.echo(f"{name}: left out, its study is not in {ABLATIONS}/; name its .toml file", err=True)
    return known
