"""The command `deeptwins gate`, and what belongs to it: page, import, export."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from deeptwins.cli.console import BAD_INPUT, REPORTS, RESULTS, read_duration, refuse, say, tell
from deeptwins.cli.options import AsJson, Reports, results_option
from deeptwins.cli.pages import print_index, print_page, publish, spec_of
from deeptwins.errors import InputError, naming
from deeptwins.pages.wording import count
from deeptwins.system.signals import INTERRUPTED, interruptible

if TYPE_CHECKING:
    from deeptwins.gate.compare.comparison import Request
    from deeptwins.gate.page.facts import JudgedRun
    from deeptwins.gate.runs import Run

MAIN = ("origin/main", "main", "origin/master", "master")  # a commit is compared with the first of them that exists
SKIP, ABORT = 125, 128  # exit codes for `git bisect run`: this commit cannot be judged; no commit can
TRIALS = 1000  # more is a slip
MEANINGS = {
    0: "nothing is worse",
    1: "something is worse, confirmed",
    2: "the run broke off",
    3: "it cannot be told",
    4: "the benchmarks are not those of the suite's list, or nothing was measured",
    INTERRUPTED: "interrupted",
}
"""By exit code, but for --bisect."""

app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

GateRuns = Annotated[Path, results_option("Where the runs of the gate lie.")]
Base = Annotated[str | None, typer.Option(metavar="REF", help="Compare with where HEAD left this. [default: main]")]
Anchor = Annotated[
    str | None, typer.Option(metavar="REF", help="Compare with this very commit, for the history; judges nothing.")
]
Head = Annotated[
    str | None, typer.Option(metavar="REF", help="What is judged. [default: HEAD with what is not committed]")
]
SuitePath = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Benchmarks of pytest-benchmark. [default: of pyproject.toml]")
]
SuiteFrom = Annotated[
    str | None, typer.Option(metavar="REF", help="Whose benchmarks both commits run. [default: head's]")
]
Only = Annotated[
    list[str] | None, typer.Option(metavar="WORD", help="Benchmarks whose names hold it. Can be given again.")
]
TierChoice = Annotated[
    Literal["all", "exact", "paired"], typer.Option(help="exact counts, paired times; a minute, and minutes.")
]
Limit = Annotated[str, typer.Option(metavar="TIME", help="Begin nothing new after it: 90s, 9m.")]
Bisect = Annotated[bool, typer.Option("--bisect", help="Exit as `git bisect run` wants it: 0 good, 1 bad, 125 skip.")]
SelfTesting = Annotated[
    bool, typer.Option("--self-test", help="Compare HEAD with itself, unchanged and made slower: takes hours.")
]
Trials = Annotated[
    int | None, typer.Option(min=1, max=TRIALS, metavar="N", help="Of each kind in the self-test. [default: 20]")
]
WriteList = Annotated[bool, typer.Option("--write-list", help="Write what was measured to the suite's list, gate.txt.")]
Summary = Annotated[Path | None, typer.Option(metavar="FILE", help="Write what was found there, too, in Markdown.")]


@app.callback(invoke_without_command=True)
def gate(  # noqa: PLR0913  every option is a parameter
    context: typer.Context,
    *,
    base: Base = None,
    anchor: Anchor = None,
    head: Head = None,
    suite: SuitePath = None,
    suite_from: SuiteFrom = None,
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
    """Tell whether this commit is slower than its base, by counts and by times.

    Both are checked out side by side and run the same benchmarks in turn, in pairs of fresh processes on one core. What
    looks slower is measured once more. A run is a file in results/gate/; the page is reports/performance/index.html.

    Exit codes: 0 nothing is worse; 1 something is, confirmed; 2 wrong usage, or the run broke off; 3 it cannot be
    told; 4 the benchmarks are not those of the suite's list, or nothing was measured.

    \b
    Examples:
      deeptwins gate
      deeptwins gate --base v0.1.0 --only bench_step
      deeptwins gate --suite tests/benchmarks
      git bisect run deeptwins gate --bisect --base GOOD --suite-from BAD --only bench_append
    """  # noqa: D301
    if context.invoked_subcommand is not None:
        return
    # Refuse options that do not go together.
    if [base is not None, anchor is not None, self_test].count(True) > 1:
        raise InputError("--base, --anchor and --self-test: one at a time")
    if trials is not None and not self_test:
        raise InputError("--trials: with --self-test only")
    if write_list and (only or tier != "all"):
        raise InputError("--write-list: names all that is measured, and so goes with neither --only nor --tier")
    # Find out what to compare. `git bisect` must stop where that is not clear: no commit can be judged then.
    limit = read_duration(time_limit)
    from deeptwins.gate.compare.comparison import TIERS

    tiers = TIERS if tier == "all" else (tier,)
    try:
        _check_installed(tiers)
        asked = replace(
            _asked(base, anchor, head, suite, suite_from), only=tuple(only or ()), tiers=tiers, limit_s=limit
        )
    except InputError as error:
        if not bisect:
            raise
        refuse(error)
        raise typer.Exit(ABORT) from None
    # Compare, and turn the verdict into an exit code.
    with interruptible():
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
    """Write the page of the runs that are there, without measuring."""
    publish("performance", reports, (results,))


@app.command("import")
def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="BASE HEAD ...", help="JSON of `pytest --benchmark-json`, in pairs.")
    ],
    summary: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what was found there, too.")] = None,
    *,
    as_json: AsJson = False,  # noqa: ARG001  see `tell`
    results: GateRuns = RESULTS,
    reports: Reports = REPORTS,
) -> None:
    """Judge files of pytest-benchmark, of whatever project.

    Each pair of files is a pair of processes, base and head. One pair has no interval, and so no verdict: give several,
    measured by turns. Exit codes are those of the gate.

    \b
    Example:
      deeptwins gate import base1.json head1.json base2.json head2.json base3.json head3.json
    """  # noqa: D301
    if len(files) % 2:
        raise InputError(f"{count(len(files), 'file')}: base and head must come in pairs")
    from deeptwins.gate.formats.imports import imported

    if code := _conclude(imported(files[::2], files[1::2]), results, reports, summary):
        raise typer.Exit(code)


@app.command()
def export(
    to: Annotated[
        Literal["pytest-benchmark", "csv", "asv", "github-action-benchmark"], typer.Option(help="Whose format.")
    ],
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run's file. [default: the newest]")] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path("export"),
    results: GateRuns = RESULTS,
) -> None:
    """Write a run in the format of another tool.

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


def _check_installed(tiers: Sequence[str]) -> None:
    if "paired" in tiers and not find_spec("pytest_benchmark"):
        raise InputError('pytest-benchmark is not installed, and times need it: pip install "deeptwins[gate]"')


def _asked(
    base: str | None, anchor: str | None, head: str | None, suite: Path | None, suite_from: str | None
) -> Request:
    """Find out which commits and which benchmarks are meant."""
    from deeptwins.gate.compare import worktrees
    from deeptwins.gate.compare.comparison import Request

    place = Path.cwd() if suite is None else suite.resolve()
    root = worktrees.root_of(place if place.is_dir() else place.parent)
    commit, dirty = worktrees.snapshot(root) if head is None else (worktrees.resolve(root, head), False)
    if anchor is not None:
        other = worktrees.resolve(root, anchor)
    else:
        other = worktrees.merge_base(root, base or worktrees.first(root, MAIN), commit)
    source = commit if suite_from is None else worktrees.resolve(root, suite_from)
    return Request(
        repository=root,
        base=other,
        head=commit,
        suite=worktrees.suite(root, source, None if suite is None else place.relative_to(root)),
        kind="anchor" if anchor is not None else "aa" if other == commit else "paired",
        anchor=anchor,
        dirty=dirty,
    )


def _judge(asked: Request, results: Path, reports: Path, summary: Path | None, *, write_list: bool) -> int:
    """Compare two commits; returns the exit code."""
    from deeptwins.gate.compare import comparison, worktrees
    from deeptwins.records import tables

    if asked.kind == "paired" and worktrees.only_prose(asked.repository, asked.base, asked.head, asked.suite.parts):
        sentence = f"Only prose differs between {asked.base[:12]} and {asked.head[:12]}: nothing to measure."
        say(sentence)
        tell(lambda: {"verdict": sentence, "exit_code": 0, "meaning": MEANINGS[0]})
        _write_summary(summary, f"{sentence}\n")
        return 0
    other = "itself" if asked.base == asked.head else asked.base[:12]
    changes = " (with changes)" if asked.dirty else ""
    say(f"{asked.head[:12]}{changes} against {other}", err=True)
    for place in (results / "gate" / "runs", reports / "performance"):
        tables.prepare(place / "any")  # now, before minutes of measuring
    run = comparison.compare(asked, results, Teller())
    code = _conclude(run, results, reports, summary)
    if write_list and run.failure is None:
        path = asked.repository / worktrees.list_of(asked.repository, asked.suite)
        with naming(path):
            path.write_text(comparison.listing(run), encoding="utf-8")
        say(f"written: {path}", err=True)
    return code


def _conclude(run: Run, results: Path, reports: Path, summary: Path | None) -> int:
    """Keep a run, write the page, print what was found; returns the exit code."""
    from deeptwins.gate import runs
    from deeptwins.gate.page.facts import judge_run
    from deeptwins.gate.page.summary import summary as summarize
    from deeptwins.gate.page.tables import compared
    from deeptwins.pages.page import write

    path = runs.write(results, run)
    say(f"this run: {path}")
    judged = judge_run(run)
    _write_summary(summary, summarize(judged))
    written, conclusion = write(spec_of("performance"), reports, results), judged.conclusion
    print_page(replace(written, tables=compared(judged), lines=conclusion.lines))
    index = print_index(reports)
    code = 0 if run.kind == "anchor" and conclusion.code in {1, 3} else conclusion.code
    code = INTERRUPTED if run.failure == "interrupted" else code
    tell(lambda: _told(judged, code) | {"run": path, "page": written.page, "index": index})
    return code


def _told(judged: JudgedRun, code: int) -> dict[str, Any]:
    """Tell of a run what a program may want to know."""
    lines, run = judged.conclusion.lines, judged.run
    return {
        "verdict": lines[0],
        "lines": lines,
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
    from deeptwins.gate.compare import selftest, worktrees

    if asked.dirty:
        raise InputError("the self-test compares HEAD with itself: commit what differs, or name a commit with --head")
    listed = worktrees.expected(asked.repository, asked.suite) or ()
    benchmarks = [name for name in listed if "::" in name]
    if not benchmarks:
        raise InputError(f"the self-test needs the suite's list, {worktrees.LIST}: --write-list writes it")
    planned = selftest.plan(benchmarks, selftest.TRIALS if trials is None else trials)
    if failure := selftest.run(asked, planned, results, Teller):
        say(f"broke off: {failure}; the same command goes on", err=True)
        raise typer.Exit(INTERRUPTED if failure == "interrupted" else BAD_INPUT)
    publish("performance", reports, (results,))


def _write_summary(path: Path | None, text: str) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path):
            path.write_text(text, encoding="utf-8")


class Teller:
    """Prints on stderr what happens, and after how long."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, what: str) -> None:
        """Print a line."""
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        say(f"{minutes:3}:{seconds:02} {what}", err=True)
