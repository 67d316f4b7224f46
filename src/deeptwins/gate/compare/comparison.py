"""A run of the gate, from two commits to its document: the exact tier, then the paired one, in worktrees of both."""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from deeptwins.errors import InputError
from deeptwins.gate import runs
from deeptwins.gate.arms import commits, lists, worktrees
from deeptwins.gate.arms.processes import ArmError, ArmProcess, LateError, Task, folder_for_files
from deeptwins.gate.arms.worktrees import Arm, Suite
from deeptwins.gate.compare import disturbances, mutations, probes
from deeptwins.gate.compare.paired import PairedMeasurement
from deeptwins.gate.judge import metrics, noise
from deeptwins.gate.runs import DESIGN, Environment, Git, Kind, Run, Value
from deeptwins.records import host

LIMIT_S = 600.0
PACKAGES = ("torch", "triton", "numpy", "pandas", "matplotlib", "pytest", "pytest-benchmark")
REFERENCE = "reference"  # folder of committed results: their A/A runs count, too, on a machine of the same kind
SEEDS = 4_000_000  # a run's seed is drawn from so many

Tier = Literal["exact", "paired"]
TIERS: tuple[Tier, ...] = ("exact", "paired")


class NothingMeasuredError(InputError):
    """There is no benchmark that could be measured; it says why."""


@dataclass(frozen=True)
class Request:
    """What is to be compared."""

    repository: Path
    """Root of a checkout."""
    base: str
    """Commit."""
    head: str
    """Commit."""
    suite: Suite
    kind: Kind = "paired"
    anchor: str | None = None
    """What the user called base, such as a tag; of the kind `anchor` only."""
    dirty: bool = False
    """Whether head holds changes that are not committed: it is a snapshot of the checkout."""
    tiers: Sequence[Tier] = TIERS
    only: Sequence[str] = ()
    """Words: a benchmark is measured if its name holds one of them. Empty: all are."""
    added: Mapping[str, float] = field(default_factory=dict)
    """Work that is added in head: by benchmark, as a share of a call."""
    mutation: mutations.Mutation | None = None
    """What is made worse in head's source."""
    seed: int | None = None
    """None: drawn at random."""
    limit_s: float = LIMIT_S
    """Seconds after which nothing new is begun."""


def compare(request: Request, results: Path, tell: Callable[[str], object]) -> Run:
    """Compare two commits.

    Args:
        request: what is to be compared.
        results: where earlier runs lie, from which margins come.
        tell: is called with what happens now, for the user.

    Returns:
        What was measured; `failure` says what ended it early.

    Raises:
        NothingMeasuredError: there is no benchmark.
        InputError: git cannot make the worktrees, or an earlier run is damaged.
    """
    begun, started = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # Fix the design, and look up what is tolerated on this machine, before anything is measured.
    seed = secrets.randbelow(SEEDS) if request.seed is None else request.seed
    design = DESIGN.model_copy(update={"seed": seed})
    machine, core = environment(), disturbances.free_core()
    earlier = [*runs.load(results / REFERENCE), *runs.load(results)]
    margins = noise.margins(earlier, machine.machine, design.least_margin)

    told = {**machine.facts, **commits.facts(request.repository, request.head)}

    measurements: dict[str, Any] = {}
    with (
        worktrees.worktrees(request.repository, request.base, request.head) as bare,
        worktrees.installed(request.repository, bare, request.suite, tell) as arms,
    ):
        # What was installed takes nothing from the time to measure.
        request = replace(request, limit_s=request.limit_s + time.monotonic() - begun)

        # Read which benchmarks there should be; base's own suite is asked before head's takes its place.
        deadline = begun + request.limit_s
        task = Task(arms, request.suite, design, core, request.repository, request.added, deadline)
        # Of the whole suite a missing benchmark means that it was removed.
        whole = not request.only and {*request.tiers} == {*TIERS}
        expected = worktrees.expected(request.repository, request.suite) if whole else None
        base_names = _names_of_base(task) if whole and expected is None else None

        # Give both arms the same benchmarks, and make head worse where that is asked for.
        for arm in arms:
            worktrees.bring(request.repository, arm, request.suite)
        if request.mutation:
            mutations.apply(request.mutation, arms[1].root)
        suite_sha = worktrees.fingerprint(arms[1], request.suite)

        # Count, then time; a failure of the first ends the run.
        if "exact" in request.tiers and (arms[1].root / probes.PROBE).is_file():
            tell("counting exact values")
            measurements = _count(arms, deadline - time.monotonic())
        if "paired" in request.tiers and "failure" not in measurements:
            changed = worktrees.changed(request.repository, request.base, request.head)
            measurement = PairedMeasurement(task, tell, margins, changed)
            measurement.run(request.only)
            if measurement.nothing and not measurements.get("exact"):
                raise NothingMeasuredError(measurement.nothing)
            measurements |= {"benchmarks": measurement.benchmarks(), "failure": measurement.failure}

    # Without a list head must have every benchmark of base, and may have new ones.
    if base_names is not None:
        head_names = [benchmark.id for benchmark in measurements.get("benchmarks", ())]
        expected = tuple(sorted({*base_names, *head_names, *measurements.get("exact", ())}))

    return Run(
        id=secrets.token_hex(4),
        kind=request.kind,
        started=started,
        seconds=round(time.monotonic() - begun, 1),
        git=Git(head=request.head, base=request.base, anchor=request.anchor, dirty=request.dirty, suite=suite_sha),
        environment=machine.model_copy(update={"facts": told}),
        design=design,
        injected=request.mutation.name if request.mutation else None,
        added=request.added,
        expected=expected,
        **measurements,
    )


def listing(run: Run, suite: Path, before: str = "") -> str:
    """Return the text of the suite's list: all that a run measured in head, had no time for, or could not run here.

    Args:
        run: of the whole suite.
        suite: its path, relative to the root of the repository.
        before: the list as it was: what other suites have in it stays.
    """
    listed = {"ok", "new", "unfinished", "skipped in both"}
    others = [name for name in lists.parse(before) if not lists.within(name, suite)]
    names = sorted([*others, *(benchmark.id for benchmark in run.benchmarks if benchmark.status in listed)])
    subjects = [subject for subject in run.exact if subject not in metrics.lost(run.exact)]
    return lists.render([*names, *sorted(subjects)])


def _names_of_base(task: Task) -> list[str] | None:
    """Return the names of the benchmarks in base's own suite; None where it has none that can be collected.

    Raises:
        InputError: the time was up, as an import hangs.
    """
    base = task.arms[0]
    if not (base.root / task.suite.path).exists():
        return None
    try:
        with (
            folder_for_files() as scratch,
            closing(ArmProcess(task, base, None, scratch, 0, only_collect=True)) as process,
        ):
            names: list[str] = process.read()["collected"]
    except LateError as error:
        raise InputError(str(error)) from None
    except ArmError:
        return None
    return names


def _count(arms: tuple[Arm, Arm], left_s: float) -> dict[str, Any]:
    """Return the exact metrics of both arms as fields of a run, or why there are none as its `failure`."""
    try:
        return probes.measure(arms[1], arms[0], limit_s=min(left_s, probes.LIMIT_S))._asdict()
    except InputError as error:
        return {"failure": str(error)}
    except KeyboardInterrupt:
        return {"failure": "interrupted"}


def environment() -> Environment:
    """Describe this machine."""
    versions = {name: version for name in PACKAGES if (version := host.version(name))}
    python = ".".join(platform.python_version_tuple()[:2])
    parts = [host.processor(), f"{host.cores()} cores", f"Python {python}"]
    parts += [f"PyTorch {versions['torch']}"] if "torch" in versions else []
    core = disturbances.free_core()
    facts: dict[str, Value] = {
        "os": f"{platform.system()} {platform.release()}",
        "core": core,
        "governor": _governor(core),
        "load": host.load(),
        "memory_gib": host.memory_gib(),
        "python": platform.python_version(),
        **versions,
    }
    return Environment(machine=", ".join(parts), facts=facts)


def _governor(core: int | None) -> str | None:
    """Return how the frequency of the core is chosen; None where the system does not say."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor").read_text(encoding="ascii").strip()
    except OSError:
        return None
