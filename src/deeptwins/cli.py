"""The command line: parse, call, print. A side (torch, pandas) is imported only inside the command that needs it."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from deeptwins.cli_gate import app as gate
from deeptwins.cli_profile import profile
from deeptwins.console import (
    ABLATIONS,
    BAD_INPUT,
    CONTRADICTED,
    INTERRUPTED,
    REPORTS,
    RESULTS,
    Data,
    conclude,
    one_line,
    options,
    print_layers,
    print_table,
    read_duration,
    read_shape,
    refuse,
)
from deeptwins.errors import InputError

if TYPE_CHECKING:
    from deeptwins.study import Study
    from deeptwins.study.specs import Net

CLASSES, SEEDS, WIDTH, WORKERS = 1_000_000, 100_000, 4096, 4096  # more is a slip

# Plain help: rich would take two of the three tenths of a second that `deeptwins --help` may last.
app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where the records of runs lie.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="recipe.KEY=VALUE", help="Change one key of the study's recipe. Can be given again."),
]


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


@app.command("list")
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


@app.command()
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


@app.command()
def report(  # noqa: PLR0913, PLR0917
    studies: Annotated[
        list[str] | None,
        typer.Argument(metavar="STUDY", help="Names or .toml files; by default every study that has results."),
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

    It opens with the verdict; figures, tables, and how to reproduce them follow.

    \b
    Examples:
      deeptwins report
      deeptwins report depth --reports /tmp/pages
    """  # noqa: D301
    chosen = _load(studies or _with_results(results), settings or [], seeds)
    contradicted = _write_pages(chosen, results, reports)
    if strict and contradicted:
        raise typer.Exit(CONTRADICTED)


@app.command()
def show(  # noqa: PLR0913, PLR0917
    networks: Annotated[
        list[str], typer.Argument(metavar="NETWORK", help="resnet-18, plain-34, cifar-plain-56 or the like.")
    ],
    image: Annotated[str | None, typer.Option("--input", metavar="CxHxW", help="The image, e.g. 1x28x28.")] = None,
    classes: Annotated[int | None, typer.Option(min=1, max=CLASSES, metavar="N", help="Outputs.")] = None,
    width: Annotated[
        int | None, typer.Option(min=1, max=WIDTH, metavar="N", help="Channels of the first stage.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one field of the network. Can be given again."),
    ] = None,
    layers: Annotated[  # noqa: FBT002
        bool, typer.Option("--layers", help="Layer by layer, not stage by stage.")
    ] = False,
    diagram: Annotated[
        Path | None, typer.Option("--diagram", metavar="FILE", help="Draw the networks' blocks, too: an SVG file.")
    ] = None,
) -> None:
    """Show networks stage by stage: shapes, parameters, FLOPs.

    The names: resnet-N and plain-N, N from 18, 34, 50, 101, 152; cifar-resnet-N and cifar-plain-N, N = 6n+2, two
    layers a block; cifar-bottleneck-resnet-N and cifar-bottleneck-plain-N, N = 9n+2, like the literature's ResNet-164.
    Any other network is one of these with --set, whose keys are those of a study file.

    FLOPs are those of one image forward, two a multiply-add.

    \b
    Examples:
      deeptwins show resnet-18 --input 1x224x224 --classes 10
      deeptwins show cifar-plain-56 cifar-resnet-56 --diagram nets.svg
      deeptwins show cifar-resnet-110 --set shortcut=shortcut-gate --set gate_bias=-6 --layers
    """  # noqa: D301
    from deeptwins.nets import inspection

    if width is not None:
        settings = [*(settings or []), f"width={width}"]
    traced, drawn = {}, {}
    for network in networks:
        net, usual, outputs = inspection.named(network, settings or [])
        shape, outputs = usual if image is None else read_shape(image), outputs if classes is None else classes
        traced[network] = inspection.trace(net, shape, outputs)
        drawn[network] = net, inspection.stages(net, shape, outputs)
    if diagram is not None:
        _draw(drawn, diagram)
    for i, (network, found) in enumerate(traced.items()):
        if len(traced) > 1:
            typer.echo(f"\n{network}" if i else network)
        print_layers("LAYER" if layers else "STAGE", found if layers else inspection.parts(found))


app.command()(profile)
app.add_typer(gate, name="gate")


@app.command()
def kernels(
    results: Annotated[Path, typer.Option("--results", metavar="DIR", help="Where the metrics go.")] = RESULTS,
    reports: Annotated[Path, typer.Option("--reports", metavar="DIR", help="Where the page goes.")] = REPORTS,
    timings: Annotated[
        Path | None, typer.Option("--timings", metavar="FILE", help="Show these, too: pytest-benchmark's JSON.")
    ] = None,
    compiling: Annotated[  # noqa: FBT002
        bool, typer.Option("--compile/--no-compile", help="Compile, or only write the page of what lies in --results.")
    ] = True,
) -> None:
    """Compile the fused kernels for A100, H100 and B200, without a GPU.

    What they are made of, registers, spills, widths of memory accesses, goes to results/kernels/compiled.json and
    onto a page, reports/kernels/index.html. Takes minutes, and less the next time.

    \b
    Examples:
      deeptwins kernels
      deeptwins kernels --no-compile --timings timings.json
    """  # noqa: D301
    from deeptwins.pages import page as pages
    from deeptwins.pages.kernels import page

    if timings is not None:
        page.keep_timings(timings, results)
    if compiling:
        _compile(results)
    written = page.write(results, reports)
    print_table(written.table, right=range(2, len(written.table[0])))
    for line in (*written.verdict, *written.faults, written.page):
        typer.echo(line)
    typer.echo(f"all reports: {pages.write_index(reports)}")


@app.command()
def doctor(data: Data = None) -> None:
    """Tell what is on this machine, and so what can run."""
    from deeptwins import data as datasets
    from deeptwins.kernels import IMPLEMENTATIONS, unavailable
    from deeptwins.records import host
    from deeptwins.train import device as devices

    device = devices.device("auto").type
    rows = [(key, "none" if value is None else str(value)) for key, value in devices.describe(device).items()]
    rows += [("commit", devices.commit() or "none")]
    rows += [("workers", f"{host.cores()} by default" if device == "cpu" else "1 by default")]
    rows += [(f"fused op {name}", unavailable(name, device) or "can run") for name in IMPLEMENTATIONS]
    rows += [(f"dataset {name}", where) for name, where in datasets.available(data)]
    names = sorted(path.stem for path in ABLATIONS.glob("*.toml"))
    rows += [("studies", ", ".join(names) or f"none: no folder {ABLATIONS}/ here; go to the repository's root")]
    print_table(rows)


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


def _write_pages(studies: Iterable[Study], results: Path, reports: Path) -> bool:
    """Write and print the report of each study; says whether the records contradict a claim."""
    from deeptwins.pages import page as pages
    from deeptwins.pages.study import page as study_page

    contradicted = False
    for study in studies:
        written = study_page.write(study, results, reports)
        typer.echo(f"{study.name}: {written.verdict}")
        for line in (*written.claims, written.page):
            typer.echo(f"  {line}")
        contradicted |= written.contradicted
    typer.echo(f"all reports: {pages.write_index(reports)}")
    return contradicted


def _compile(results: Path) -> None:
    """Compile all kernels, with progress on stderr, and write what they are made of."""
    from deeptwins.kernels.offline import compiled
    from deeptwins.records import host, tables
    from deeptwins.records import kernels as kernel_records

    planned, path = compiled.plan(), kernel_records.path_of(results)
    tables.prepare(path)  # what cannot be written is told before the minutes that it takes
    try:
        with typer.progressbar(length=len(planned), label="compiling", file=sys.stderr) as bar:
            made = compiled.compile_all(planned, host.cores(), lambda: bar.update(1))
    except KeyboardInterrupt:
        typer.echo("interrupted; what has been compiled is in Triton's cache: the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    kernel_records.write(path, compiled.record(made))


def _with_results(results: Path) -> list[str]:
    """Name the studies that have results."""
    names = sorted({path.parent.name for path in results.glob("*/*.jsonl")})
    known = [name for name in names if (ABLATIONS / f"{name}.toml").is_file()]
    for name in sorted({*names} - {*known}):
        typer.echo(f"{name}: left out, its study is not in {ABLATIONS}/; name its .toml file", err=True)
    if not known:
        raise InputError(f"{results}: no results of a study in {ABLATIONS}/; `deeptwins run depth` makes some")
    return known


def _draw(nets: Mapping[str, tuple[Net, list[dict[str, Any]]]], path: Path) -> None:
    """Write a diagram of nets, with their stages, to an SVG file."""
    from deeptwins.pages import drawing
    from deeptwins.pages.study import diagram

    drawn = [diagram.Drawn(name, net, stages) for name, (net, stages) in nets.items()]
    path.write_text(drawing.svg(diagram.draw(drawn), "nets", diagram.alt(drawn)), encoding="utf-8")
