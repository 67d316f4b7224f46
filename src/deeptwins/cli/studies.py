"""The commands about studies: list, run, report."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptwins.cli.console import (
    ABLATIONS,
    BAD_INPUT,
    CONTRADICTED,
    REPORTS,
    RESULTS,
    as_typed,
    beginning,
    conclude,
    lasting,
    needs_training,
    read_duration,
    refuse,
    say,
    stoppable,
    tell,
    wrap,
)
from deeptwins.cli.options import (
    AsJson,
    Data,
    DeviceName,
    complete_study,
    reports_option,
    results_option,
    seeds_option,
    settings_option,
)
from deeptwins.cli.pages import publish, sources, watch_pages, with_results
from deeptwins.errors import InputError, SpecError, noting, one_line
from deeptwins.pages.wording import count
from deeptwins.system.invocation import here
from deeptwins.system.spoken import heard

if TYPE_CHECKING:
    from deeptwins.cli.pages import Source
    from deeptwins.study import Study

WORKERS = 4096  # more is a slip
FULL = "-cifar10"  # ends the names of studies with the paper's recipe
STATES = ("done", "diverged", "failed", "unfinished")
TWINS = 5  # named at most
DEVICES = {"auto": "a GPU if there is one, or else on the CPU", "cpu": "the CPU", "cuda": "a GPU"}
COST = 25  # columns of a cost; a longer one has a line of its own

Records = Annotated[Path, results_option("Where the records of runs lie.")]
Settings = Annotated[
    list[str] | None,
    settings_option("recipe.KEY=VALUE", "Change one key of the study's recipe. Can be given again."),
]

Everything = Annotated[bool, typer.Option("--all", help=f"With the `{FULL}` versions.")]

# Of `run`.
Studies = Annotated[
    list[str],
    typer.Argument(metavar="STUDY", help="Names from `deeptwins list`, or .toml files.", autocompletion=complete_study),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=WORKERS, metavar="N", help="Processes that train. [default: one per core; one on a GPU]"),
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
    typer.Argument(
        metavar="STUDY", help="Names or .toml files; by default all that has results.", autocompletion=complete_study
    ),
]
ReportedSeeds = Annotated[int | None, seeds_option("As in the run: seeds 0 to N-1.")]
ReportedTo = Annotated[Path, reports_option("Where the pages go.")]


class Form(StrEnum):
    """Of a figure in a paper."""

    pdf = "pdf"
    png = "png"
    svg = "svg"


PaperFigures = Annotated[
    list[Form] | None,
    typer.Option(
        "--figures",
        metavar="pdf|png|svg",
        help="For a paper: also figures like this, and tables as LaTeX. Can be given again.",
    ),
]
WatchPages = Annotated[
    bool, typer.Option("--watch", help="Write the pages again as records come, until all is trained, or Ctrl-C.")
]
StrictExit = Annotated[bool, typer.Option("--strict", help="Exit with 3 when the records contradict a claim.")]


def list_(
    results: Records = RESULTS,
    *,
    everything: Everything = False,
    as_json: AsJson = False,  # noqa: ARG001  see `tell`
) -> None:
    """List the studies by subject: cost, state, question.

    The `-cifar10` versions, with the recipes of the papers, are left out unless they are begun, or --all is given.
    """
    from deeptwins.study import hides, known, order

    files = known(ABLATIONS)
    with lasting(f"reading {results}/" if results.exists() else "reading the studies"):
        rows = [_listed(path, results) for path in files.values()]
    broken = [row for row in rows if row["error"]]
    shown = [row for row in rows if everything or row in broken or _begun(row) or not row["name"].endswith(FULL)]
    read = sorted((row for row in shown if row not in broken), key=lambda row: order(row["group"], row["name"]))
    for group, its in groupby([*read, *broken], itemgetter("group")):
        _print_group(group, [*its], shown)
    if hidden := len(rows) - len(shown):
        has, need = ("has its paper's recipe", "needs") if hidden == 1 else ("have the papers' recipes", "need")
        wrap(f"{hidden} more {has} on CIFAR-10, and {need} a GPU. To list all:")
        say(f"  {here('deeptwins list --all')}")
    for row in filter(lambda row: row["aside"], rows):
        wrap(row["aside"])
    for path in filter(hides, files.values()):
        wrap(f"{path.stem}: that of {path.parent}/, not the study of this name that ships")
    tell(lambda: {"studies": rows})
    if broken:
        raise typer.Exit(BAD_INPUT)


def _listed(path: Path, results: Path) -> dict[str, Any]:
    """Tell what `list` says of a study; of a file that cannot be read, why. The keys are those of its JSON."""
    from deeptwins import records, study
    from deeptwins.findings import aside
    from deeptwins.records import RunFiles

    row: dict[str, Any] = dict.fromkeys(("group", "question", "cost", "runs", *STATES, "aside", "error"))
    row = {"name": path.stem, "path": str(path)} | row
    try:
        listed = study.load(path)
        row |= {"group": listed.group, "question": one_line(listed.question), "cost": listed.cost or None}
        found = [records.read(RunFiles.of(results, run).records) for run in listed.runs]
        states = Counter(records.status(lines) or "unfinished" for lines in found if lines)
        row |= {"runs": len(listed.runs), **{state: states[state] for state in STATES}}
        row["aside"] = aside.told(listed, results) or None
    except InputError as error:
        row["error"] = one_line(error)
    return row


def _begun(row: Mapping[str, Any]) -> bool:
    return any(row[state] for state in STATES)


def _print_group(group: str | None, rows: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]]) -> None:
    """Print the studies of a group, each with its question below; None: those that cannot be read."""
    say(group or "Cannot be read")
    names, costs = (max(len(row[key] or "-") for row in shown) for key in ("name", "cost"))
    for row in rows:
        if row["error"]:
            wrap(f"  {row['name']}: {row['error']}", hanging=6)
            continue
        cost = row["cost"] or "-"
        beside, below = ("", [cost]) if len(cost) > COST else (cost, [])
        wrap(f"  {row['name']:{names}}  {beside:{min(costs, COST)}}  {_state(row)}", hanging=names + 4)
        for text in (*below, row["question"]):
            wrap(f"      {text}")
    say()


def _state(row: Mapping[str, Any]) -> str:
    """Say how far a study is."""
    if not _begun(row):
        return f"{count(row['runs'], 'run')} to do"
    words = {"diverged": "diverged", "failed": "failed", "unfinished": "half done"}
    others = [f"{row[state]} {word}" for state, word in words.items() if row[state]]
    return ", ".join([f"{row['done'] + row['diverged']} of {row['runs']} runs done", *others])


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
    needs_training()
    for study in chosen:
        for text in _announced(study):
            wrap(text)
    _tell_others(chosen, results)
    wrap(f"loading PyTorch, to train on {DEVICES[device]}")
    # Train every run once, though two of the studies may have it.
    from deeptwins.train.schedule import forking

    forking.start()
    from deeptwins.train.schedule import progress, scheduling

    _check(chosen, device)
    with stoppable():
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
    figures: PaperFigures = None,
    watch: WatchPages = False,
    strict: StrictExit = False,
    as_json: AsJson = False,  # noqa: ARG001  see `tell`
) -> None:
    """Turn the records of each study into a page.

    It opens with the verdict; figures, tables, and how to reproduce them follow. Without STUDY, all other results
    become pages, too: profiles, timings, compiled kernels, runs of the gate. With --watch, a browser that shows a page
    shows it anew while its study trains, here or on another machine.

    \b
    Examples:
      deeptwins report
      deeptwins report depth --reports /tmp/pages
      deeptwins report depth --figures pdf
      deeptwins report depth --watch
    """  # noqa: D301
    from deeptwins.study import where

    beginning(f"reading {results}/")
    others = [] if studies else sources(results, "study")
    names = list(dict.fromkeys(studies)) if studies else with_results(results)
    if not names and not others:
        raise InputError(f"{results}: no results of a study in {where(ABLATIONS)}; `deeptwins run depth` makes some")
    chosen: list[Study] = []
    for name in names:
        try:
            chosen += _load([name], settings, seeds)
        except InputError as error:
            refuse(error)  # and write the pages of the others
    if watch and chosen:
        chosen = watch_pages(chosen, results, reports)
    contradicted = _write_pages(chosen, results, reports, others, figures or ()) if chosen or others else False
    if len(chosen) < len(names):
        raise typer.Exit(BAD_INPUT)
    if strict and contradicted:
        raise typer.Exit(CONTRADICTED)


def _load(names: Iterable[str], settings: Sequence[str] | None, seeds: int | None) -> list[Study]:
    """Read the studies."""
    from deeptwins import study

    return [study.load(study.find(name, ABLATIONS), settings or [], seeds) for name in names]


def _announced(study: Study) -> list[str]:
    """Say what will be trained: the question, then how much of what."""
    nets = [net for run in study.runs for net in run.twins.values()]
    twins = [*dict.fromkeys(twin for run in study.runs for twin in run.twins)]
    depths, seeds = sorted({net.depth for net in nets}), {run.seed for run in study.runs}
    iterations, sets = ({getattr(run.recipe, key) for run in study.runs} for key in ("iterations", "dataset"))
    named = ", ".join(twins) if len(twins) <= TWINS else f"{', '.join(twins[:TWINS])} and {len(twins) - TWINS} more"
    parts = [
        f"{count(len(study.runs), 'run')} with {count(len(nets), 'net')}: {named}",
        f"depth {depths[0]}" if len(depths) == 1 else f"depths {depths[0]} to {depths[-1]}",
        count(len(seeds), "seed"),
        f"{' or '.join(f'{number:,}' for number in sorted(iterations))} iterations on {', '.join(sorted(sets))}",
    ]
    cost = f"; takes {study.cost}" if study.cost and not study.settings and study.seeds is None else ""
    return [f"{study.name}: {one_line(study.question)}", f"  {'; '.join(parts)}{cost}"]


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
            wrap(text)


def _check(studies: Iterable[Study], device: str) -> None:
    """Check all that can be checked without data."""
    from deeptwins.nets import check_names
    from deeptwins.train import checks, provenance
    from deeptwins.train import device as devices

    accelerator = devices.device(device)
    for study in studies:
        if own := sorted({name for run in study.runs for name in provenance.named(run)}):
            wrap(f"{study.name}: trying parts of your own: {', '.join(own)}")  # the last word if one ends the process
        try:
            with heard(say), noting(f"study {study.name}"):
                check_names(study.recipe)  # also of what every twin has its own of
                for run in study.runs:
                    checks.check(run, accelerator)
        except SpecError as error:
            raise InputError(f"{study.path}: {error}") from None


def _write_pages(
    studies: Iterable[Study],
    results: Path,
    reports: Path,
    others: Sequence[Source] = (),
    forms: Sequence[str] = (),
) -> bool:
    """Write and print the page of each study, and write others; says whether the records contradict a claim."""
    pages = publish("study", reports, *((study, results) for study in studies), others=others, forms=forms)
    return any(page.facts.contradicted for page in pages)
