"""The command `deeptwins gate`, and what belongs to it: page, import, export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from deeptwins.cli.console import (
    BAD_INPUT,
    REPORTS,
    RESULTS,
    Teller,
    beginning,
    failing_with,
    read_duration,
    refuse,
    say,
    stoppable,
    tell,
    wrap,
)
from deeptwins.cli.options import AsJson, Reports, results_option
from deeptwins.cli.pages import print_index, print_page, publish, spec_of
from deeptwins.errors import InputError, naming
from deeptwins.pages.wording import count
from deeptwins.system.invocation import lacking
from deeptwins.system.signals import INTERRUPTED

if TYPE_CHECKING:
    from deeptwins.gate.arms.commits import Commits
    from deeptwins.gate.arms.worktrees import Suite
    from deeptwins.gate.compare.comparison import Request
    from deeptwins.gate.page.facts import JudgedRun
    from deeptwins.gate.runs import Run

OTHERS = 4  # exit code: the benchmarks are not those that are expected, or nothing was measured
SKIP, ABORT = 125, 128  # exit codes for `git bisect run`: this commit cannot be judged; no commit can
TRIALS = 1000  # more is a slip
MEANINGS = {
    0: "no slowdown",
    1: "a confirmed slowdown",
    2: "the run broke off",
    3: "inconclusive",
    4: "benchmarks are missing, or not in the suite's list, or nothing was measured",
    INTERRUPTED: "interrupted",
}
"""By exit code, but for --bisect."""

app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

GateRuns = Annotated[Path, results_option("Where the runs of the gate lie.")]
Base = Annotated[
    str | None, typer.Option(metavar="REF", help="Compare with the commit where HEAD left REF. [default: main]")
]
Anchor = Annotated[
    str | None, typer.Option(metavar="REF", help="Compare with REF itself, for the history; gives no verdict.")
]
Head = Annotated[
    str | None, typer.Option(metavar="REF", help="The commit to judge. [default: HEAD with uncommitted changes]")
]
SuitePath = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Benchmarks of pytest-benchmark. [default: from pyproject.toml]")
]
SuiteFrom = Annotated[
    str | None, typer.Option(metavar="REF", help="The commit whose benchmarks both run. [default: head]")
]
Install = Annotated[
    str | None,
    typer.Option(metavar="CMD", help="Install each commit by CMD, such as 'pip install .'. [default: neither]"),
]
Only = Annotated[
    list[str] | None, typer.Option(metavar="WORD", help="Run benchmarks whose names contain WORD. Can be given again.")
]
TierChoice = Annotated[
    Literal["all", "exact", "paired"], typer.Option(help="exact: counts alone, in a few minutes. paired: times alone.")
]
Limit = Annotated[str, typer.Option(metavar="TIME", help="End after TIME: 90s, 9m.")]
Bisect = Annotated[bool, typer.Option("--bisect", help="Exit codes for `git bisect run`: 0 good, 1 bad, 125 skip.")]
SelfTesting = Annotated[
    bool,
    typer.Option("--self-test", help="Test the gate: compare HEAD with itself, unchanged and slowed. Takes hours."),
]
Trials = Annotated[
    int | None, typer.Option(min=1, max=TRIALS, metavar="N", help="Runs of each kind in the self-test. [default: 20]")
]
WriteList = Annotated[
    bool, typer.Option("--write-list", help="Write the names of all that was measured to the suite's list, gate.txt.")
]
Summary = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the result to FILE, in Markdown.")]


@app.callback(invoke_without_command=True)
def gate(  # noqa: PLR0913  every option is a parameter
    context: typer.Context,
    *,
    base: Base = None,
    anchor: Anchor = None,
    head: Head = None,
    suite: SuitePath = None,
    suite_from: SuiteFrom = None,
    install: Install = None,
    only: Only = None,
    tier: TierChoice = "all",
    time_limit: Limit = "10m",
    bisect: Bisect = False,
    self_test: SelfTesting = False,
    trials: Trials = None,
    write_list: WriteList = False,
    summary: Summary = None,
    as_json: AsJson = False,  # noqa: ARG001  see `tell`
    results: GateRuns = RESULTS,
    reports: Reports = REPORTS,
) -> None:
    """Tell whether this commit is slower than its base.

    What can be counted is counted, the rest is timed. The base is where the commit left main. Both are checked out
    side by side and run the same benchmarks, taking turns in pairs of fresh processes on one core. A slowdown counts
    only if a second, independent batch confirms it. A run is a file in results/gate/; the page is
    reports/performance/index.html. `--base HEAD` compares HEAD with itself, to measure the noise.

    Exit codes: 0 no slowdown; 1 a confirmed slowdown; 2 wrong usage, nothing to compare, or the run broke off;
    3 inconclusive; 4 benchmarks are missing, or not in the suite's list, or nothing was measured.

    \b
    Examples:
      deeptwins gate
      deeptwins gate --base HEAD~1
      deeptwins gate --base HEAD~5 --only bench_step
      deeptwins gate --suite tests/benchmarks
      git bisect run deeptwins gate --bisect --base GOOD --suite-from BAD --only bench_append
    """  # noqa: D301
    if context.invoked_subcommand is not None:
        return
    from deeptwins.gate.arms.commits import unchanged

    # Find out what to compare, before anything is loaded that takes long.
    with _explained(summary, bisect=bisect, base=base):
        if [base is not None, anchor is not None, self_test].count(True) > 1:
            raise InputError("--base, --anchor and --self-test: one at a time")
        if trials is not None and not self_test:
            raise InputError("--trials: with --self-test only")
        if write_list and (only or tier != "all"):
            raise InputError("--write-list: needs the whole suite, and so goes with neither --only nor --tier")
        limit = read_duration(time_limit)
        alone = self_test or write_list  # what differs is not the question then
        given = head or "HEAD" if self_test else base
        root, commits, parts = _chosen(given, anchor, head, suite, suite_from, alone=alone)
        parts = parts if install is None else parts.installed_by(install)
        if reason := "" if alone else unchanged(root, commits, parts):
            _end(summary, "No slowdown.", reason, 0)
            return
        _check_installed(tier)
    # Compare, and turn the verdict into an exit code.
    with failing_with(SKIP if bisect else BAD_INPUT), stoppable():
        from deeptwins.gate.compare.comparison import TIERS, Request

        asked = Request(
            root,
            **vars(commits),
            suite=parts,
            anchor=anchor,
            tiers=TIERS if tier == "all" else (tier,),
            only=tuple(only or ()),
            limit_s=limit,
        )
        if self_test:
            _test_itself(asked, trials, results, reports)
            return
        code = _judge(asked, results, reports, summary, write_list=write_list)
    if bisect:
        code = code if code in {0, 1, INTERRUPTED} else SKIP
    if code:
        raise typer.Exit(code)


@app.command()
def page(results: GateRuns = RESULTS, reports: Reports = REPORTS) -> None:
    """Write the page from the stored runs, without measuring."""
    beginning(f"reading {results}/")
    publish("performance", reports, (results,))


@app.command()
def summary(file: Annotated[Path, typer.Argument(help="A run, or what the gate printed with --json.")]) -> None:
    """Print in Markdown what was found, for a job's summary or the comment on a pull request."""
    from deeptwins.gate.page.summary import told

    for text in told(file).splitlines():
        say(text)


@app.command("import")
def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="BASE HEAD ...", help="JSON of `pytest --benchmark-json`, in pairs.")
    ],
    summary: Summary = None,
    *,
    as_json: AsJson = False,  # noqa: ARG001  see `tell`
    results: GateRuns = RESULTS,
    reports: Reports = REPORTS,
) -> None:
    """Judge files of pytest-benchmark, of any project.

    Each pair of files, base and head, counts as a pair of processes. A slowdown takes six pairs or more, measured in
    turn: one half shows it, the other confirms it. Exit codes are those of the gate.

    \b
    Example:
      deeptwins gate import base1.json head1.json base2.json head2.json ... base6.json head6.json
    """  # noqa: D301
    if len(files) % 2:
        raise InputError(f"{count(len(files), 'file')}: base and head must come in pairs")
    beginning("reading the files")
    with failing_with(BAD_INPUT):
        from deeptwins.gate.formats.imports import imported

        if code := _conclude(imported(files[::2], files[1::2]), results, reports, summary):
            raise typer.Exit(code)


@app.command()
def export(
    to: Annotated[Literal["pytest-benchmark", "csv", "asv", "github-action-benchmark"], typer.Option(help="The tool.")],
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run's file. [default: the newest]")] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path("export"),
    results: GateRuns = RESULTS,
) -> None:
    """Write a run in another tool's format.

    \b
    Example:
      deeptwins gate export --to asv --output asv
    """  # noqa: D301
    from deeptwins.gate import runs
    from deeptwins.gate.formats import exchange

    stored = [runs.read(run)] if run is not None else runs.load(results)
    if not stored:
        raise InputError(f"{runs.path_of(results)}: no run of the gate")
    for name, content in exchange.export(stored[-1], to).items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path):
            path.write_text(content, encoding="utf-8", newline="")
        say(path)


@contextmanager
def _explained(summary: Path | None, *, bisect: bool, base: str | None) -> Iterator[None]:
    """Say in the summary, too, why nothing is compared.

    A bisection passes over a commit that is a part of its base. Whatever else is wrong is wrong for all: it stops.
    """
    from deeptwins.gate.arms.commits import NothingToCompareError

    try:
        yield
    except InputError as error:
        _sum_up(summary, "Nothing was compared.", str(error))
        if not bisect:
            raise
        refuse(error)
        raise typer.Exit(SKIP if base and isinstance(error, NothingToCompareError) else ABORT) from None


def _check_installed(tier: str) -> None:
    if tier != "exact" and not find_spec("pytest_benchmark"):
        raise InputError(lacking("pytest-benchmark", "gate"))


def _chosen(  # noqa: PLR0913
    base: str | None, anchor: str | None, head: str | None, suite: Path | None, suite_from: str | None, *, alone: bool
) -> tuple[Path, Commits, Suite]:
    """Find the repository, the commits and the benchmarks that are meant."""
    from deeptwins.gate.arms import commits, worktrees

    place = Path.cwd() if suite is None else suite.resolve()
    root = worktrees.root_of(place if place.is_dir() else place.parent)
    chosen = commits.choose(root, base, anchor=anchor, head=head, itself=alone)
    source = chosen.head if suite_from is None else worktrees.resolve(root, suite_from)
    return root, chosen, worktrees.suite(root, source, None if suite is None else place.relative_to(root))


def _judge(asked: Request, results: Path, reports: Path, summary: Path | None, *, write_list: bool) -> int:
    """Compare two commits; returns the exit code."""
    from deeptwins.gate.arms import worktrees
    from deeptwins.gate.compare import comparison
    from deeptwins.records import tables

    changes = " with uncommitted changes" if asked.dirty else ""
    other = "itself, to measure the noise" if asked.kind == "aa" else asked.base[:12]
    say(f"comparing {asked.head[:12]}{changes} with {other}", err=True)
    for place in (results / "gate" / "runs", reports / "performance"):  # now, before minutes of measuring
        tables.check_writable(place / "any")
    _write_summary(summary, "")
    try:
        run = comparison.compare(asked, results, Teller())
    except comparison.NothingMeasuredError as error:
        return _end(summary, "No verdict.", f"Nothing was measured: {error}.", OTHERS)
    code = _conclude(run, results, reports, summary)
    if write_list and run.failure is None:
        path = asked.repository / worktrees.list_of(asked.repository, asked.suite)
        with naming(path):
            before = path.read_text(encoding="utf-8") if path.is_file() else ""
            path.write_text(comparison.listing(run, asked.suite.path, before), encoding="utf-8")
        say(f"written: {path}", err=True)
    return code


def _conclude(run: Run, results: Path, reports: Path, summary: Path | None) -> int:
    """Keep a run, write the page, print what was found; returns the exit code."""
    from deeptwins.gate import runs
    from deeptwins.gate.page.facts import judge_run
    from deeptwins.gate.page.summary import summary as summarize
    from deeptwins.gate.page.tables import compared
    from deeptwins.pages.page import write

    judged = judge_run(run)
    _write_summary(summary, summarize(judged))
    conclusion = judged.conclusion
    code = 0 if run.kind == "anchor" and conclusion.code in {1, 3} else conclusion.code
    code = INTERRUPTED if run.failure == "interrupted" else code
    if not run.holds_measurements:  # neither a run to keep nor a page to show
        for sentence in (conclusion.answer, *conclusion.details):
            wrap(sentence)
        tell(lambda: _told(judged, code))
        return code
    path = runs.write(results, run)
    say(f"run stored: {path}")
    written = write(spec_of("performance"), reports, results)
    print_page(replace(written, tables=compared(judged), lines=(conclusion.answer, *conclusion.details)))
    index = print_index(reports)
    tell(lambda: _told(judged, code) | {"run": path, "page": written.page, "index": index})
    return code


def _told(judged: JudgedRun, code: int) -> dict[str, Any]:
    """Tell of a run what a program may want to know."""
    conclusion, run = judged.conclusion, judged.run
    return {
        "verdict": conclusion.answer,
        "lines": [conclusion.answer, *conclusion.details],
        "exit_code": code,
        "meaning": MEANINGS[code],
        "kind": run.kind,
        "base": run.git.base,
        "head": run.git.head,
        "benchmarks": judged.ratios.to_dict("records"),
        "exact": judged.exact.to_dict("records"),
    }


def _test_itself(asked: Request, trials: int | None, results: Path, reports: Path) -> None:
    """Go on with the self-test from where it broke off, if it did."""
    from deeptwins.gate.arms import worktrees
    from deeptwins.gate.compare import selftest

    if asked.dirty:
        raise InputError("the self-test compares HEAD with itself: commit your changes, or name a commit with --head")
    listed = worktrees.expected(asked.repository, asked.suite) or ()
    benchmarks = [name for name in listed if "::" in name]
    if not benchmarks:
        raise InputError(f"the self-test needs the suite's list, {worktrees.LIST}: --write-list writes it")
    planned = selftest.plan(benchmarks, selftest.TRIALS if trials is None else trials)
    if failure := selftest.run(asked, planned, results, Teller):
        say(f"broke off: {failure}; the same command goes on", err=True)
        raise typer.Exit(INTERRUPTED if failure == "interrupted" else BAD_INPUT)
    publish("performance", reports, (results,))


def _end(summary: Path | None, verdict: str, reason: str, code: int) -> int:
    """Say why there is no run; returns the exit code."""
    wrap(reason)
    tell(lambda: {"verdict": reason, "exit_code": code, "meaning": MEANINGS[code]})
    _sum_up(summary, verdict, reason)
    return code


def _sum_up(path: Path | None, verdict: str, reason: str) -> None:
    """Write the summary of a comparison for which nothing was measured."""
    if path is not None:
        from deeptwins.gate.page.summary import uncompared

        _write_summary(path, uncompared(verdict, reason))


def _write_summary(path: Path | None, text: str) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path):
            path.write_text(text, encoding="utf-8")
