"""The command `deeptwins kernels`: what the fused kernels are compiled to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from deeptwins.cli.console import REPORTS, RESULTS, beginning, stoppable
from deeptwins.cli.options import Reports, results_option
from deeptwins.cli.pages import publish

MetricsFolder = Annotated[Path, results_option("Where the metrics go.")]
KernelTimings = Annotated[
    Path | None, typer.Option("--timings", metavar="FILE", help="Show these, too: pytest-benchmark's JSON.")
]
Compiling = Annotated[
    bool, typer.Option("--compile/--no-compile", help="Compile, or only write the page of what lies in --results.")
]


def kernels(
    *,
    results: MetricsFolder = RESULTS,
    reports: Reports = REPORTS,
    timings: KernelTimings = None,
    compiling: Compiling = True,
) -> None:
    """Compile the fused kernels for A100, H100 and B200, without a GPU.

    Registers, spills and widths of memory accesses go to results/kernels/compiled.json and
    onto a page, reports/kernels/index.html. Takes minutes, and less the next time.

    \b
    Examples:
      deeptwins kernels
      deeptwins kernels --no-compile --timings timings.json
    """  # noqa: D301
    beginning("loading PyTorch and Triton" if compiling else f"reading {results}/")
    if timings is not None:
        from deeptwins.pages.kernels.page import keep_timings

        keep_timings(timings, results)
    if compiling:
        _compile(results)
    publish("kernels", reports, (results,))


def _compile(results: Path) -> None:
    """Compile all kernels, with progress on stderr, and write their metrics."""
    from deeptwins.kernels.offline import compiled
    from deeptwins.records import host, tables
    from deeptwins.records import kernels as kernel_records

    planned, path = compiled.plan(), kernel_records.path_of(results)
    tables.check_writable(path)  # refuses a folder that cannot be written before minutes of compiling
    with (
        stoppable("interrupted; what has been compiled is in Triton's cache: the same command goes on from there"),
        typer.progressbar(length=len(planned), label="compiling", file=sys.stderr) as bar,
    ):
        kernels = compiled.compile_all(planned, host.cores(), lambda: bar.update(1))
    tables.write(path, compiled.record(kernels))
