"""The gate's probe: it counts what needs no clock, in kernels as compiled, training steps, compiled steps, imports.

    PYTHONPATH=<checkout>/src python bench/exact_metrics.py --output FILE [--only GROUP ...]

counts in the package that Python finds. `deeptwins gate` finds this file by its path and runs head's on the packages of
both commits, so that it must also understand older packages. It needs neither a GPU nor a C++ compiler. FILE has the
versions of the tools that the numbers depend on, the numbers by subject and metric (`METRICS` in
`deeptwins.gate.judge.metrics` says what they mean), and why others could not be counted.
"""

import argparse
import gc
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

ROOT = Path(__file__).parents[1]
PACKAGES = (  # the numbers depend on their versions, and on those of Triton's tools
    "torch", "triton", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "seaborn", "pillow", "pydantic", "jinja2",
    "typer",
)  # fmt: skip
KERNELS = (  # data type, layout, shape and site as named in `kernels/offline/cases.py`; compute capabilities times ten
    ("bf16", "channels_last", "JOIN", "join", (80, 90, 100)),
    ("fp32", "channels_last", "CIFAR", "join", (80,)),
    ("bf16", "contiguous", "JOIN", "join", (90,)),
    ("bf16", "channels_last", "JOIN", "no join", (100,)),
)
"""All that `deeptwins kernels` compiles would take more than a minute. These are the join of a ResNet on every GPU, and
on one GPU each: fp32, in which CIFAR nets are trained; the other layout; layers without a join."""
OF_KERNEL = (
    "registers", "stack_bytes", "spill_instructions", "shared_bytes", "barriers", "tensors_read", "tensors_written",
    "vector_share", "narrowest_access_bits", "resident_warps", "instructions", "opcodes_sha256",
)  # fmt: skip
OPERATOR = tuple((dtype, site) for dtype in ("bfloat16", "float32") for site in ("join", "no join"))
PROCESSORS = 132  # multiprocessors of the GPU that launches are prepared for: an H100
BATCH = 32  # images per counted step
COMPILED = {  # fused_op, and whether the whole net is compiled, or else the operation alone, at each site
    "compiled net": ("auto", True),
    "compiled net with the fused op": ("triton", True),
    "net with the compiled op": ("compiled", False),
}
PRINT_MODULES = "\nimport sys\nprint(*sys.modules)"
HELP = """
import sys
sys.argv = ["deeptwins", "--help"]
from deeptwins.cli import main
try:
    main()
except SystemExit:
    pass
"""
REPORT = """
import sys
from pathlib import Path
from deeptwins import study
from deeptwins.pages.page import write
from deeptwins.pages.study.page import PAGE
write(PAGE, Path(sys.argv[3]), study.load(Path(sys.argv[1])), Path(sys.argv[2]))
"""


class Counts:
    """What was counted, and why other subjects could not be."""

    def __init__(self):
        self.exact, self.unavailable = {}, {}

    def count(self, subject, measured, *arguments):
        """Count a subject, or say why that is not possible: an older package may lack something."""
        try:
            self.exact[subject] = measured(*arguments)
        except Exception as error:  # noqa: BLE001  the other subjects are to be counted all the same
            self.unavailable[subject] = reason(error)


def reason(error):
    """Say in one line what went wrong, without the paths of the checkouts."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
    for place in (*os.environ.get("PYTHONPATH", "").split(os.pathsep), str(ROOT)):
        text = text.replace(place + os.sep, "") if place else text
    return text[:300]


# --- Kernels ---------------------------------------------------------------------------------------------------------


def kernels(counts):
    """Compile kernels for GPUs that are not there, and read the machine code."""
    from deeptwins.kernels.offline import cases, compiled  # noqa: PLC0415  a group loads what it needs

    planned, sites = [], []
    for dtype, layout, shape, site, capabilities in KERNELS:
        gpus = [gpu for gpu in compiled.GPUS if gpu.capability in capabilities]
        added = compiled.plan({dtype: (getattr(cases, shape),)}, (layout,), {site: cases.SITES[site]}, gpus)
        planned += added
        sites += [site] * len(added)
    seen: Counter[str] = Counter()
    for site, row in zip(sites, compiled.compile_all(planned, workers=1), strict=True):
        subject = f"kernel {row.kernel}, {site}, {row.dtype}, {row.layout}, {row.shape}, {row.arch}"
        seen[subject] += 1
        subject += f", launch {seen[subject]}" if seen[subject] > 1 else ""
        counts.exact[subject] = {metric: getattr(row, metric) for metric in OF_KERNEL if hasattr(row, metric)}


@contextmanager
def launched():
    """Let the fused operation prepare its launches on the CPU, and collect them in place of launching them."""
    from deeptwins.kernels.bn_relu_add import launches, operator  # noqa: PLC0415

    collected = []
    with (
        mock.patch.multiple(operator, INTERPRETED=True, INTERPRETED_PROCESSORS=PROCESSORS),
        mock.patch.object(launches.Launch, "__call__", lambda launch: collected.append(launch)),  # noqa: PLW0108  it is bound
    ):
        yield collected


def operator(counts):
    """Call the fused operation as a net does, and count what it launches and asks of PyTorch."""
    for dtype, site in OPERATOR:
        counts.count(f"fused op, {site}, {dtype}, channels_last", calls, dtype, site)


def calls(dtype, site):
    """Count one call forward and one backward."""
    import torch  # noqa: PLC0415

    import counting  # noqa: PLC0415
    from deeptwins.kernels import BNReLUAdd  # noqa: PLC0415
    from deeptwins.kernels.offline import cases  # noqa: PLC0415

    like = torch.zeros(cases.CIFAR, dtype=getattr(torch, dtype)).to(memory_format=torch.channels_last)
    x, added, *gradients = (like.clone() for _ in range(4))
    join = cases.SITES[site].residual
    module = BNReLUAdd(x.shape[1], implementation="triton")
    inputs = [t.requires_grad_() for t in ((x, added) if join else (x,))]
    meter = counting.Meter(namespace="deeptwins")
    with launched() as launches, meter:
        y = module(*inputs, fork=join)
        forward, launches[:] = list(launches), []
        torch.autograd.grad(y, [*inputs, *module.parameters()], gradients if join else gradients[0])
    counted = {"operators": meter.operators, "allocations": meter.allocations}
    for way, some in (("forward", forward), ("backward", launches)):
        tensors = [t for launch in some for t in counting.distinct(counting.tensors(launch.arguments))]
        moved = sum(map(counting.bytes_of, tensors))
        counted |= {f"launches_{way}": len(some), f"bytes_per_element_{way}": round(moved / x.numel(), 4)}
    return counted


# --- Training steps --------------------------------------------------------------------------------------------------


def nets(counts):
    """Train each net of the study `depth` for a step, and count what that asks of PyTorch."""
    from deeptwins import data, study  # noqa: PLC0415

    dataset, subjects = data.load("synthetic"), set()
    for run in study.load(ROOT / "ablations" / "depth.toml").runs:
        for twin, net in run.twins.items():
            subject = f"training step, {twin} {net.family} {net.depth}"
            if subject not in subjects:
                subjects.add(subject)
                recipe = run.recipe.model_copy(update={"dataset": "synthetic", "batch_size": BATCH})
                counts.count(subject, step, run.model_copy(update={"recipe": recipe, "twins": {twin: net}}), dataset)


def step(run, dataset):
    """Count the second step: the first also allocates what all others use."""
    import torch  # noqa: PLC0415

    import counting  # noqa: PLC0415
    from deeptwins.train import training  # noqa: PLC0415

    trained = training.Training(run, dataset, torch.device("cpu"))
    trained.step()
    with uncollected(), counting.Meter() as meter:
        trained.step()
    metrics = ("operators", "allocations", "peak_bytes", "bytes_read", "bytes_written", "flops")
    return {metric: getattr(meter, metric) for metric in metrics}


@contextmanager
def uncollected():
    """Let memory be given back as soon as nothing refers to it, and not whenever Python next looks for cycles."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# --- Compiled steps --------------------------------------------------------------------------------------------------


def compiled(counts):
    """Count what torch.compile makes of a small net's step."""
    for name, (fused_op, whole) in COMPILED.items():
        counts.count(f"{name}, residual cifar 8", compiled_step, fused_op, whole)


def compiled_step(fused_op, whole):
    """Count graphs and generated kernels of a first step, launches of a second."""
    import torch  # noqa: PLC0415
    import torch.nn.functional as F  # noqa: PLC0415

    import counting  # noqa: PLC0415
    from deeptwins import nets  # noqa: PLC0415
    from deeptwins.study.specs import Net  # noqa: PLC0415

    net = nets.build(Net(family="cifar", depth=8, width=16, shortcut="zero-pad", fused_op=fused_op), 3, 10, 0)
    net = net.to(memory_format=torch.channels_last).train()
    images = torch.zeros(BATCH, 3, 8, 8).to(memory_format=torch.channels_last)
    labels = torch.zeros(BATCH, dtype=torch.int64)
    with ExitStack() as inside:
        if fused_op == "triton":
            inside.enter_context(launched())
        inductor = inside.enter_context(counting.Inductor())
        forward = torch.compile(net) if whole else net
        for _ in range(2):
            inductor.launches = 0
            net.zero_grad()
            loss = F.cross_entropy(forward(images), labels)
            launches_forward, inductor.launches = inductor.launches, 0
            loss.backward()
        return inductor.counted() | {
            "launches_forward": launches_forward,
            "launches_backward": inductor.launches,
        }


# --- Imports ---------------------------------------------------------------------------------------------------------


def imports(counts):
    """Count the modules that commands load, in new processes."""
    counts.count("imports of deeptwins --help", modules, HELP)
    with TemporaryDirectory() as folder:
        counts.count("imports of a report", report_modules, Path(folder))


def report_modules(folder):
    """Write a report of made-up records."""
    with mock.patch.object(sys, "path", [*sys.path, str(ROOT / "tests" / "made")]):
        import made  # noqa: PLC0415

    study = made.small(folder)
    return modules(REPORT, study.path, made.results(folder, study), folder / "reports")


def modules(code, *arguments):
    """Run code in a new process, and count the modules loaded at its end: the package's own, and all others."""
    command = [sys.executable, "-c", code + PRINT_MODULES, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    names = {*done.stdout.splitlines()[-1].split()} - {"__main__"}
    packages = {name.partition(".")[0] for name in names}
    own = sum(name.partition(".")[0] == "deeptwins" for name in names)
    return {
        "modules": len(names) - own,
        "packages": len(packages - sys.stdlib_module_names - {"deeptwins"}),
        "torch": int("torch" in packages),
        "own_modules": own,
    }


# ---------------------------------------------------------------------------------------------------------------------

GROUPS = {"imports": imports, "kernels": kernels, "operator": operator, "nets": nets, "compiled": compiled}


def toolchain():
    """Return the versions of everything that the numbers depend on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "none"
    if importlib.util.find_spec("triton"):
        import triton  # noqa: PLC0415

        for tool in ("ptxas", "ptxas_blackwell", "cuobjdump", "nvdisasm"):
            known = getattr(triton.knobs.nvidia, tool, None)
            versions[tool.replace("_", "-")] = known.version if known else "none"
    return versions


def main():
    """Count, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP")
    chosen = parser.parse_args()
    counts = Counts()
    for group in chosen.only:
        try:
            GROUPS[group](counts)
        except Exception as error:  # noqa: BLE001  as in `Counts.count`
            counts.unavailable[group] = reason(error)
    content = {"toolchain": toolchain(), "exact": counts.exact, "unavailable": counts.unavailable}
    chosen.output.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # With several threads such small steps are ten times as slow on a busy machine. Counts do not depend on them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
