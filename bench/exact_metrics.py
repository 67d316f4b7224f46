"""What can be counted without a clock: kernels as they are compiled, training steps, compiled steps, imports.

    PYTHONPATH=<checkout>/src python bench/exact_metrics.py --output FILE [--only GROUP ...]

counts in whichever checkout's package Python finds; `deeptwins gate` does so in two of them. It needs neither a GPU nor
a C++ compiler. The file says which tools the numbers depend on, the numbers by subject and metric
(`deeptwins.gate.compare.probes.METRICS` says what they mean), and what could not be counted, and why.
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
PACKAGES = (  # on whose versions the numbers depend, beside those of Triton's tools
    "torch", "triton", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "seaborn", "pillow", "pydantic", "jinja2",
    "typer",
)  # fmt: skip
KERNELS = (  # data type, layout, shape and site by their names in `kernels/cases.py`, compute capabilities times ten
    ("bf16", "channels_last", "JOIN", "join", (80, 90, 100)),
    ("fp32", "channels_last", "CIFAR", "join", (80,)),
    ("bf16", "contiguous", "JOIN", "join", (90,)),
    ("bf16", "channels_last", "JOIN", "no join", (100,)),
)
"""A minute has no room for all that `deeptwins kernels` compiles: the join of a ResNet on every GPU, and on one each
fp32, as CIFAR nets are trained, the other layout, and layers without a join."""
OF_KERNEL = (
    "registers", "stack_bytes", "spill_instructions", "shared_bytes", "barriers", "tensors_read", "tensors_written",
    "vector_share", "narrowest_access_bits", "resident_warps", "instructions", "opcodes_sha256",
)  # fmt: skip
OPERATOR = tuple((dtype, site) for dtype in ("bfloat16", "float32") for site in ("join", "no join"))
PROCESSORS = 132  # of the GPU that launches are prepared for, where there is none
BATCH = 32  # images of a counted step; what is not a multiple of the batch does not grow with it
COMPILED = {  # nets by how torch.compile comes into them: whole, or in the operation that is then compiled at each site
    "compiled net": ("auto", True),
    "compiled net with the fused op": ("triton", True),
    "net with the compiled op": ("compiled", False),
}
TOLD = "\nimport sys\nprint(*sys.modules)"
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
from deeptwins import report, study
report.write(study.load(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
"""


class Found:
    """What was counted, and what could not be."""

    def __init__(self):
        self.exact, self.unavailable = {}, {}

    def count(self, subject, measured, *arguments):
        """Count a subject, or say why that is not possible: an older package may lack what a newer one has."""
        try:
            self.exact[subject] = measured(*arguments)
        except Exception as error:  # noqa: BLE001  whatever it is, the other subjects are counted
            self.unavailable[subject] = reason(error)


def reason(error):
    """Say in one line what went wrong, wherever the checkouts lie."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
    for place in (*os.environ.get("PYTHONPATH", "").split(os.pathsep), str(ROOT)):
        text = text.replace(place + os.sep, "") if place else text
    return text[:300]


# --- Kernels ---------------------------------------------------------------------------------------------------------


def kernels(found):
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
        found.exact[subject] = {metric: getattr(row, metric) for metric in OF_KERNEL if hasattr(row, metric)}


@contextmanager
def launched():
    """Let the fused operation prepare its launches on the CPU, and keep them, where it would launch them."""
    from deeptwins.kernels.bn_relu_add import launches, operator  # noqa: PLC0415

    kept = []
    with (
        mock.patch.multiple(operator, INTERPRETED=True, INTERPRETED_PROCESSORS=PROCESSORS),
        mock.patch.object(launches.Launch, "__call__", lambda launch: kept.append(launch)),  # noqa: PLW0108  it is bound
    ):
        yield kept


def operator(found):
    """Call the fused operation as a net does, and count what it launches and asks of PyTorch."""
    for dtype, site in OPERATOR:
        found.count(f"fused op, {site}, {dtype}, channels_last", calls, dtype, site)


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
        moved = sum(counting.bytes_of(t) for each in some for t in counting.distinct(counting.tensors(each.arguments)))
        counted |= {f"launches_{way}": len(some), f"bytes_per_element_{way}": round(moved / x.numel(), 4)}
    return counted


# --- Training steps --------------------------------------------------------------------------------------------------


def nets(found):
    """Train each net of the study `depth` for a step, and count what that asks of PyTorch."""
    from deeptwins import data, study  # noqa: PLC0415

    dataset, done = data.load("synthetic"), set()
    for run in study.load(ROOT / "ablations" / "depth.toml").runs:
        for twin, net in run.twins.items():
            subject = f"training step, {twin} {net.family} {net.depth}"
            if subject not in done:
                done.add(subject)
                recipe = run.recipe.model_copy(update={"dataset": "synthetic", "batch_size": BATCH})
                found.count(subject, step, run.model_copy(update={"recipe": recipe, "twins": {twin: net}}), dataset)


def step(run, dataset):
    """Count the second step: the first makes what stays."""
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
    """Let memory be given back where nothing refers to it any more, and not when Python next looks for cycles."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# --- Compiled steps --------------------------------------------------------------------------------------------------


def compiled(found):
    """Count what torch.compile makes of a small net's step."""
    for name, (fused_op, whole) in COMPILED.items():
        found.count(f"{name}, residual cifar 8", compiled_step, fused_op, whole)


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


def imports(found):
    """Count the modules that commands load, in processes of their own."""
    found.count("imports of deeptwins --help", modules, HELP)
    with TemporaryDirectory() as folder:
        found.count("imports of a report", report_modules, Path(folder))


def report_modules(folder):
    """Write a report of made-up records."""
    with mock.patch.object(sys, "path", [*sys.path, str(ROOT / "tests" / "made")]):
        import made  # noqa: PLC0415

    study = made.small(folder)
    return modules(REPORT, study.path, made.results(folder, study), folder / "reports")


def modules(code, *arguments):
    """Run code and count the modules that are loaded after it, those of the package itself apart."""
    command = [sys.executable, "-c", code + TOLD, *map(str, arguments)]
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
    """Return the versions of what the numbers depend on."""
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
    found = Found()
    for group in chosen.only:
        try:
            GROUPS[group](found)
        except Exception as error:  # noqa: BLE001  as in `Found.count`
            found.unavailable[group] = reason(error)
    told = {"toolchain": toolchain(), "exact": found.exact, "unavailable": found.unavailable}
    chosen.output.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # Steps so small are ten times as slow where threads wait for each other on a busy machine; counts do not change.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
