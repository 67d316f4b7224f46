"""Full disks and poor file systems: one line says so, and elsewhere the same command ends with the same numbers."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import commands
from tally import Tally

ITERATIONS = 40
SIZES_KIB = (8, 16, 32, 64, 96, 128, 192, 256, 320, 384, 448, 512, 640, 768)
# Fills a small file system, in a namespace of its own, and keeps what is left on it.
FILLED = 'mount -t tmpfs -o size="$1"k none "$2" && shift 2 && kept="$1" here="$2" && shift 2 && "$@"; code=$?; \
    cp -a "$here"/. "$kept" && exit $code'
# What a file system lacks, in the words of `lacking`.
POOR = (
    *(f"folders={error}" for error in ("EINVAL", "ENOTSUP", "ENOSYS", "EACCES", "EBADF")),
    *(f"files={error}" for error in ("EINVAL", "ENOTSUP", "EIO")),
    *(f"locks={error}" for error in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "EIO")),
    "folders=EINVAL files=EINVAL locks=ENOLCK",
)


def try_all(tally: Tally, folder: Path, numbers: range, _seed: int, deadline: float) -> None:
    """Train the same study on one poor disk after another."""
    study = commands.study_in(folder, ITERATIONS)
    code, said = commands.run("run", study, "--results", folder / "sound")
    if code:
        raise RuntimeError(f"the undisturbed study ended with {code}: {said}")
    sound = commands.numbers(folder / "sound")
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", folder], check=False).returncode:
        tally.skipped = "no small file systems: this user may not mount one"
    kinds = [*(() if tally.skipped else SIZES_KIB), *POOR]
    tally.begun = time.monotonic()
    for number in numbers:
        if number >= len(kinds) or time.monotonic() > deadline:
            break
        results = folder / "results"
        results.mkdir()
        kind = kinds[number]
        code, said = _filled(study, results, kind, folder) if isinstance(kind, int) else _poor(study, results, kind)
        ending = commands.fault(code, said) or _judged(study, results, code, said, sound)
        tally.book(str(number), ending[0], f"{kind}: {ending[1]}")
        shutil.rmtree(results)


def _filled(study: Path, results: Path, kib: int, folder: Path) -> tuple[int, str]:
    """Train on a file system of some KiB; what is left on it is then in `results`."""
    small = folder / "small"
    small.mkdir(exist_ok=True)
    prefix = ("unshare", "-rm", "sh", "-c", FILLED, "sh", kib, small, results, small)
    return commands.run("run", study, "--workers", 1, "--results", small, prefix=prefix)


def _poor(study: Path, results: Path, lacking: str) -> tuple[int, str]:
    """Train on a file system that lacks something."""
    return commands.run("run", study, "--results", results, lacking=lacking)


def _judged(study: Path, results: Path, code: int, said: str, sound: object) -> tuple[str, str]:
    """How a case ended: what was said, what was left, and what the same command makes of it elsewhere."""
    if code == 0:
        return ("same", "") if commands.numbers(results) == sound else ("silent", "other records")
    if halves := [path.name for path in results.rglob("*.part")]:
        return "silent", f"left behind: {halves}"
    last = said.strip().splitlines()[-1:]
    if not last or not last[0].startswith("deeptwins: "):
        return "silent", f"exit code {code}, and no line says why: {said[-200:]}"
    again, _ = commands.run("run", study, "--results", results)
    if again or commands.numbers(results) != sound:
        return "silent", f"other records elsewhere, exit code {again}"
    return "named", last[0]
