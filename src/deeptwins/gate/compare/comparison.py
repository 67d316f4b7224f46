"""A run of the gate, from two commits to its document: the exact tier, then the paired one, in worktrees of both."""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from deeptwins.errors import InputError
from deeptwins.gate import runs
from deeptwins.gate.compare import disturbances, mutations, probes, worktrees
from deeptwins.gate.compare.paired import Measurement
from deeptwins.gate.compare.processes import ArmError, Task, folder_for_files, names
from deeptwins.gate.compare.worktrees import Arm, Suite
from deeptwins.gate.judge import metrics, noise
from deeptwins.gate.runs import DESIGN, Environment, Git, Kind, Run, Value
from deeptwins.records import host

LIMIT_S = 600.0
PACKAGES = ("torch", "triton", "numpy", "pandas", "matplotlib", "pytest", "pytest-benchmark")
REFERENCE = "reference"  # folder of committed results, whose A/A runs count where the machine is of their kind
SEEDS = 4_000_000  # of which each run takes one

Tier = Literal["exact", "paired"]
TIERS: tuple[Tier, ...] = ("exact", "paired")


@dataclass(frozen=True)
class Asked:
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
    """The name by which base was given, of the kind `anchor`."""
    dirty: bool = False
    """Whether head is a commit of what is not committed."""
    tiers: Sequence[Tier] = TIERS
    only: Sequence[str] = ()
    """Words that names of benchmarks hold, one of them; none: all."""
    added: Mapping[str, float] = field(default_factory=dict)
    """Work that is added in head: by benchmark, as a share of a call."""
    mutation: mutations.Mutation | None = None
    """What is made worse in head's source."""
    seed: int | None = None
    """None: drawn at random."""
    limit_s: float = LIMIT_S
    """Seconds after which nothing new is begun."""


def compare(asked: Asked, results: Path, told: Callable[[str], object]) -> Run:
    """Compare two commits.

    Args:
        asked: what is to be compared.
        results: where earlier runs lie, from which margins come.
        told: is called with what happens now, for the user.

    Returns:
        What was measured; `failure` says what ended it early.

    Raises:
        InputError: git cannot make the worktrees, or an earlier run is damaged.
    """
    begun, started = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    seed = secrets.randbelow(SEEDS) if asked.seed is None else asked.seed
    design = DESIGN.model_copy(update={"seed": seed})
    here, core = environment(), disturbances.free_core()
    controls = [run for place in (results / REFERENCE, results) for run in runs.load(place, ["aa"])]
    margins = noise.margins(controls, here.machine, design.least_margin)
    fields: dict[str, Any] = {}
    with worktrees.worktrees(asked.repository, asked.base, asked.head) as arms:
        task = Task(arms, asked.suite, design, core, asked.repository, asked.added)
        expected = worktrees.expected(asked.repository, asked.suite) if _whole(asked) else None
        own = _own(task) if _whole(asked) and expected is None else None
        for arm in arms:
            worktrees.bring(arm, asked.suite)
        if asked.mutation:
            mutations.apply(asked.mutation, arms[1].root)
        suite_sha = worktrees.fingerprint(arms[1], asked.suite)
        if "exact" in asked.tiers and (arms[1].root / probes.PROBE).is_file():
            told("counting")
            fields = _counted(arms)
        if "paired" in asked.tiers and "failure" not in fields:
            measurement = Measurement(task, told, begun + asked.limit_s, margins)
            measurement.run(asked.only)
            fields |= {"benchmarks": measurement.benchmarks(), "failure": measurement.failure}
    if own is not None:  # without a list nothing that base has may be lost, and what is new is welcome
        here_too = (*(one.id for one in fields.get("benchmarks", ())), *fields.get("exact", ()))
        expected = tuple(sorted({*own, *here_too}))
    return Run(
        id=secrets.token_hex(4),
        kind=asked.kind,
        started=started,
        seconds=round(time.monotonic() - begun, 1),
        git=Git(head=asked.head, base=asked.base, anchor=asked.anchor, dirty=asked.dirty, suite=suite_sha),
        environment=here,
        design=design,
        injected=asked.mutation.name if asked.mutation else None,
        added=asked.added,
        expected=expected,
        **fields,
    )


def listing(run: Run) -> str:
    """Return the suite's list: the names of all that a run measured in head, or had no time for."""
    benchmarks = [one.id for one in run.benchmarks if one.status in {"ok", "new", "unfinished"}]
    counted = [name for name in run.exact if name not in metrics.lost(run.exact)]
    head = "# What `deeptwins gate` must measure; it writes this list with --write-list. Exit code 4: not the same.\n"
    return head + "".join(f"{name}\n" for name in (*sorted(benchmarks), *sorted(counted)))


def _whole(asked: Asked) -> bool:
    """Whether all of the suite is measured, so that what lacks has gone."""
    return not asked.only and {*asked.tiers} == {*TIERS}


def _own(task: Task) -> list[str] | None:
    """Return the names of the benchmarks in base's own suite; None where it has none that runs."""
    base = task.arms[0]
    if not (base.root / task.suite.path).exists():
        return None
    try:
        with folder_for_files() as scratch:
            return names(task, base, scratch)
    except ArmError:
        return None


def _counted(arms: tuple[Arm, Arm]) -> dict[str, Any]:
    """Count both arms; a failure is a part of what is found."""
    try:
        found = probes.measure(arms[1], arms[0])
    except InputError as error:
        return {"failure": str(error)}
    except KeyboardInterrupt:
        return {"failure": "interrupted"}
    return {"toolchain": found.toolchain, "exact": found.exact, "unavailable": found.unavailable}


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
        "load": round(os.getloadavg()[0], 2),
        "memory_gib": host.memory_gib(),
        "python": platform.python_version(),
        **versions,
    }
    return Environment(machine=", ".join(parts), facts=facts)


def _governor(core: int | None) -> str | None:
    """Return how the core's frequency is chosen; None where that is not told."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor").read_text(encoding="ascii").strip()
    except OSError:
        return None
