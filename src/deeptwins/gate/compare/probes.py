"""The exact tier: what is counted, not timed, and so needs no repetition.

A probe, `bench/exact_metrics.py`, counts in each arm. This module runs it and puts both arms' counts together.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from deeptwins.errors import InputError
from deeptwins.gate.arms import scratch
from deeptwins.gate.arms.processes import end
from deeptwins.gate.arms.worktrees import Arm
from deeptwins.gate.judge.metrics import ExactValues
from deeptwins.gate.runs import Value
from deeptwins.records.fields import Row

PROBE, PACKAGE = Path("bench", "exact_metrics.py"), Path("src", "deeptwins", "__init__.py")
GROUPS = ("imports", "kernels", "operator", "nets", "compiled")
LIMIT_S = 600.0
OUTPUT = "counts.json"
POLL_S = 0.05


class ComparedCounts(NamedTuple):
    """The counts of both arms; the fields are those of `runs.Run`."""

    toolchain: Mapping[str, str]
    exact: ExactValues
    unavailable: Mapping[str, str]


def measure(head: Arm, base: Arm, groups: Sequence[str] = GROUPS, limit_s: float = LIMIT_S) -> ComparedCounts:
    """Count in both arms at the same time, by head's probe.

    Args:
        head: whose probe it is.
        base: what it is compared with.
        groups: of metrics, some of `GROUPS`.
        limit_s: seconds that both may take.

    Raises:
        InputError: a probe died, ran out of time or is not there, or the arms differ in more than their source.
    """
    script = head.root / PROBE
    # Without a package of its own an arm would count the one that is installed.
    for file in (script, head.root / PACKAGE, base.root / PACKAGE):
        if not file.is_file():
            raise InputError(f"{file}: not there; exact metrics need it")
    with ExitStack() as stack:
        probes = [
            stack.enter_context(_running(name, script, arm.root, groups))
            for name, arm in (("base", base), ("head", head))
        ]
        deadline = time.monotonic() + limit_s
        while running := [probe.arm for probe in probes if probe.process.poll() is None]:
            if failed := [probe for probe in probes if probe.process.poll()]:
                raise failed[0].failure()
            if time.monotonic() > deadline:
                raise InputError(f"exact metrics of {' and '.join(running)}: not counted after {limit_s:.0f} s")
            time.sleep(POLL_S)
        base_counts, head_counts = [probe.counts() for probe in probes]
    return merge(base_counts, head_counts)


class Counts(Row):
    """What the probe writes of one arm."""

    toolchain: Mapping[str, str]
    exact: Mapping[str, Mapping[str, Value]]
    unavailable: Mapping[str, str]


def merge(base: Counts, head: Counts) -> ComparedCounts:
    """Put the counts of both arms together.

    Raises:
        InputError: they were counted with different tools.
    """
    # The same tools.
    tools = {**base.toolchain, **head.toolchain}
    pairs = {tool: (base.toolchain.get(tool, "none"), head.toolchain.get(tool, "none")) for tool in tools}
    if different := [f"{tool} {before} and {after}" for tool, (before, after) in pairs.items() if before != after]:
        raise InputError(f"exact metrics cannot be compared: base and head were counted with {', '.join(different)}")

    # Each value beside that of the other arm.
    exact: dict[str, dict[str, tuple[Value, Value]]] = {}
    for subject in {**head.exact, **base.exact}:
        before, after = base.exact.get(subject, {}), head.exact.get(subject, {})
        exact[subject] = {metric: (before.get(metric), after.get(metric)) for metric in {**after, **before}}

    # A reason that both arms give stands once.
    unavailable: dict[str, str] = {}
    for subject in {**head.unavailable, **base.unavailable}:
        reasons = {"base": base.unavailable.get(subject), "head": head.unavailable.get(subject)}
        if reasons["base"] == reasons["head"]:
            unavailable[subject] = head.unavailable[subject]
        else:
            unavailable |= {f"{subject} ({arm})": why for arm, why in reasons.items() if why is not None}
    return ComparedCounts(head.toolchain, exact, unavailable)


@dataclass(frozen=True)
class _Probe:
    arm: str
    folder: Path
    process: subprocess.Popen[bytes]

    def failure(self) -> InputError:
        """Say why it died."""
        lines = (self.folder / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        code = self.process.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return InputError(f"exact metrics of {self.arm}: {lines[-1] if lines else 'not a word'} ({how})")

    def counts(self) -> Counts:
        """Read what it wrote.

        Raises:
            InputError: it died, or wrote something else.
        """
        if self.process.returncode:
            raise self.failure()
        try:
            return Counts.model_validate_json((self.folder / OUTPUT).read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(
                f"exact metrics of {self.arm}: the probe left no answer ({type(error).__name__})"
            ) from None


@contextmanager
def _running(arm: str, script: Path, root: Path, groups: Sequence[str]) -> Iterator[_Probe]:
    """Run the probe on an arm's package, in a folder of its own; at the end nothing of it runs or lies about."""
    with scratch.folder() as folder, ExitStack() as files:
        process = subprocess.Popen(  # noqa: S603  our own
            [sys.executable, str(script.resolve()), "--output", str(folder / OUTPUT), "--only", *groups],
            cwd=folder,
            env=_environment(root, folder),
            stdin=subprocess.DEVNULL,
            stdout=files.enter_context((folder / "stdout").open("wb")),
            stderr=files.enter_context((folder / "stderr").open("wb")),
            start_new_session=True,  # so that its own processes end with it
        )
        try:
            yield _Probe(arm, folder, process)
        finally:
            end(process)


def _environment(root: Path, folder: Path) -> dict[str, str]:
    """Make what enters the counts the same everywhere: one thread, no GPU, empty caches.

    Matplotlib's folder is one of the caches: where it finds no list of fonts there, it loads one module more.
    """
    left_out = {"TRITON_INTERPRET", "PYTHONSAFEPATH"}
    return {name: value for name, value in os.environ.items() if name not in left_out} | {
        "PYTHONPATH": str((root / "src").resolve()),
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
    }
