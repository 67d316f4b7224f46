"""How long a user waits for the help, and for a report from a thousand finished runs."""

import subprocess
import sys

import made

MEASURED = """
import resource, sys
from pathlib import Path
from deeptwins import study
from deeptwins.pages.study import page
page.write(study.load(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "torch" in sys.modules)
"""


def bench_help(benchmark):
    """`deeptwins --help`, a fresh process each: at most 0.3 s."""
    command = [sys.executable, "-m", "deeptwins", "--help"]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=10, warmup_rounds=1)


def bench_report_of_1000_runs(benchmark, tmp_path):
    """A report from 1,002 finished runs, in a fresh process: at most 10 s and 1,000 MiB (`peak_mib`), without torch."""
    study = made.load(tmp_path, made.TOML.replace("seed = [0, 1, 2]", f"seed = {list(range(167))}"))
    results = made.results(tmp_path, study)
    command = [sys.executable, "-c", MEASURED, study.path, results, tmp_path / "reports"]

    done = benchmark.pedantic(
        subprocess.run, (command,), {"check": True, "capture_output": True, "text": True}, rounds=3
    )

    mebibytes, torch_loaded = done.stdout.split()
    benchmark.extra_info.update(runs=len(study.runs), peak_mib=int(mebibytes), torch_loaded=torch_loaded == "True")
    print(f"\n{len(study.runs)} runs: peak {mebibytes} MiB, torch loaded: {torch_loaded}")
