"""The commands about studies: list, run, report, schema."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptwins.cli.console import (
    ABLATIONS,
    BAD_INPUT,
    CONTRADICTED,
    REPORTS,
    RESULTS,
    as_typed,
    conclude,
    print_table,
    read_duration,
    refuse,
    say,
)
from deeptwins.cli.options import Data, DeviceName, reports_option, results_option, seeds_option, settings_option
from deeptwins.cli.pages import publish, sources
from deeptwins.errors import InputError, one_line
from deeptwins.system import signals

if TYPE_CHECKING:
    from deeptwins.cli.pages import Source
    from deeptwins.study import Study

WORKERS = 4096  # more is a slip

Records = Annotated[Path, results_option("Where the records of runs lie.")]
Settings = Annotated[
    list[str] | None,
    settings_option("recipe.KEY=VALUE", "Change one key of the study's recipe. Can be given again."),
]

# Of `run`.
Studies = Annotated[list[str], typer.Argument(metavar="STUDY", help="Names from `deeptwins list`, or .toml files.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=WORKERS, metavar="N", help="Processes that train. [default: one a core; one on a GPU]"),
]
Together = Annotated[
    int | None,
    typer.Option(min=1, max=WORKERS, metavar="N", help="Runs that each trains at once. [default: 1; 4 on a GPU]"),
]
TimeLimit = Annotated[
    str | None, typer.Option(metavar="TIME", help="Save what is unfinished and end in time: 90s, 9m, 1h30m.")
]
Seeds = Annotated[int | None, seeds_option("Train seeds 0 to N-1 instead of the study's.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what these runs have left behind, and start over.")]
Pages = Annotated[bool, typer.Option("--report", help=f"Then write the studies' pages too, into {REPORTS}/.")]

# Of `report`.
ReportedStudies = Annotated[
    list[str] | None,
    typer.Argument(metavar="STUDY", help="Names or .toml files; by default all that has results."),
]
ReportedSeeds = Annotated[int | None, seeds_option("As in the run: seeds 0 to N-1.")]
ReportedTo = Annotated[Path, reports_option("Where the pages go.")]
StrictExit = Annotated[bool, typer.Option("--strict", help="Exit with 3 when the records contradict a claim.")]

# Of `schema`.
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print a page with all keys, for people.")]


def list_(results: Records = RESULTS) -> None:
    """List the studies: question, cost, how many runs are done."""
    from deeptwins import records, study
    from deeptwins.findings import aside
    from deeptwins.records import RunFiles

    if not ABLATIONS.is_dir():
        raise InputError(f"no folder {ABLATIONS}/ here: go to the repository's root")
    rows, broken, others = [("STUDY", "RUNS DONE", "COST", "QUESTION")], False, []
    for path in sorted(ABLATIONS.glob("*.toml"), key=lambda path: path.stem):
        try:
            listed = study.load(path)
            statuses = [records.status(records.read(RunFiles.of(results, run).records)) for run in listed.runs]
            done = sum(status in ("done", "diverged") for status in statuses)
            others.append(aside.told(listed, results))
            rows.append((listed.name, f"{done} of {len(statuses)}", listed.cost or "-", one_line(listed.question)))
        except InputError as error:
            broken = True
            rows.append((path.stem, "-", "-", f"cannot be read: {one_line(error)}"))
    print_table(rows)
    for text in filter(None, others):
        say(text)
    if broken:
        raise typer.Exit(BAD_INPUT)


def run(  # noqa: PLR0913  every option is a parameter
    studies: Studies,
    *,
    device: DeviceName = "auto",
    workers: Workers = None,
    together: Together = None,
    time_limit: TimeLimit = None,
    seeds: Seeds = None,
    settings: Settings = None,
    results: Records = RESULTS,
    data: Data = None,
    fresh: Fresh = False,
    pages: Pages = False,
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
    # Read and check all that needs no torch, which takes a second to load.
    begun = time.monotonic()
    limit = math.inf if time_limit is None else read_duration(time_limit)
    chosen = _load(dict.fromkeys(studies), settings, seeds)
    _tell_others(chosen, results)
    # Train every run once, though two of the studies may have it.
    from deeptwins.train.schedule import forking

    forking.start()
    from deeptwins.train.schedule import progress, scheduling

    _check(chosen, device)
    with signals.interruptible():
        outcome = scheduling.train_all(
            list({(run.study, run.id): run for study in chosen for run in study.runs}.values()),
            device=device,
            results=results,
            display=progress.display(sys.stdout),
            data_folder=data,
            workers=workers,
            together=together,
            deadline=begun + limit,
            fresh=fresh,
        )
    # Say which command comes next: the same again, or `report`.
    machine = as_typed(
        device=None if device == "auto" else device,
        workers=workers,
        together=together,
        data=data,
        time_limit=time_limit,
    )
    same = as_typed(settings, seeds=seeds, results=None if results == RESULTS else results)
    code = conclude(outcome, [*studies, *machine, *same], None if pages else [*studies, *same])
    # Write the pages, if they were asked for.
    if pages and not outcome.interrupted:
        try:
            _write_pages(chosen, results, REPORTS)
        except typer.Exit:
            if not code:
                raise  # else runs failed before anything could be shown: their exit code stays
    if code:
        raise typer.Exit(code)


def report(  # noqa: PLR0913  as above
    studies: ReportedStudies = None,
    *,
    settings: Settings = None,
    seeds: ReportedSeeds = None,
    results: Records = RESULTS,
    reports: ReportedTo = REPORTS,
    strict: StrictExit = False,
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
    names = list(dict.fromkeys(studies)) if studies else _with_results(results)
    if not names and not others:
        raise InputError(f"{results}: no results of a study in {ABLATIONS}/; `deeptwins run depth` makes some")
    chosen: list[Study] = []
    for name in names:
        try:
            chosen += _load([name], settings, seeds)
        except InputError as error:
            refuse(error)  # and write the pages of the others
    contradicted = _write_pages(chosen, results, reports, others) if chosen or others else False
    if len(chosen) < len(names):
        raise typer.Exit(BAD_INPUT)
    if strict and contradicted:
        raise typer.Exit(CONTRADICTED)


def schema(*, markdown: AsMarkdown = False) -> None:
    """Print the JSON schema of study files, or a page of all their keys.

    An editor completes and checks the keys of a study whose first line is `#:schema ./study.schema.json`.

    \b
    Examples:
      deeptwins schema > ablations/study.schema.json
      deeptwins schema --markdown > docs/keys.md
    """  # noqa: D301
    from deeptwins.nets.building import NAMES
    from deeptwins.study import reference
    from deeptwins.study import schema as schemas
    from deeptwins.train.optimization import OPTIMIZERS

    content = schemas.schema({**NAMES, "optimizer": OPTIMIZERS})
    text = reference.markdown(content) if markdown else json.dumps(content, indent=2)
    for text_line in text.splitlines():
        say(text_line)


def _load(names: Iterable[str], settings: Sequence[str] | None, seeds: int | None) -> list[Study]:
    """Read the studies."""
    from deeptwins import study

    return [study.load(study.find(name, ABLATIONS), settings or [], seeds) for name in names]


def _tell_others(studies: Iterable[Study], results: Path) -> None:
    """Say which runs lie beside those of the studies, with other settings: they stay, and are no part of the pages."""
    from deeptwins.findings import aside

    for study in studies:
        try:
            text = aside.told(study, results)
        except InputError as error:
            refuse(error)  # of a file that is none of this command's: `report` will not go on without it, training does
            continue
        if text:
            say(text)


def _check(studies: Iterable[Study], device: str) -> None:
    """Check all that can be checked without data."""
    from deeptwins.train import checks
    from deeptwins.train import device as devices

    accelerator = devices.device(device)
    for study in studies:
        try:
            for run in study.runs:
                checks.check(run, accelerator)
        except ValueError as error:
            raise InputError(f"{study.path}: {error}") from None


def _write_pages(studies: Iterable[Study], results: Path, reports: Path, others: Sequence[Source] = ()) -> bool:
    """Write and print the page of each study, and write others; says whether the records contradict a claim."""
    pages = publish("study", reports, *((study, results) for study in studies), others=others)
    return any(page.facts.contradicted for page in pages)


def _with_results(results: Path) -> list[str]:
    """Name the studies that have results, but for those that are not in `ablations/`: they are said to be left out."""
    known = [path.stem for path in sorted(ABLATIONS.glob("*.toml")) if any((results / path.stem).glob("*.jsonl"))]
    for name in sorted({path.parent.name for path in results.glob("*/*.jsonl")} - {*known}):
        say(f"{name}: left out, its study is not in {ABLATIONS}/; name its .toml file", err=True)
    return known
