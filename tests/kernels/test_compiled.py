"""Kernels compiled without a GPU: what is compiled is what would be launched, and the check of it can fail."""

import dataclasses
import importlib.util
import inspect
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from deeptwins.cli import app
from deeptwins.errors import InputError
from deeptwins.kernels.bn_relu_add.inputs import Inputs
from deeptwins.kernels.formats import DTYPES, LAYOUTS
from deeptwins.kernels.offline import compiled, floors, specialization
from deeptwins.kernels.offline.cases import CIFAR, ODD, SHAPES, SITES
from deeptwins.kernels.offline.devices import GPUS
from deeptwins.records import kernels

A100, H100, B200 = GPUS
SHAPE = (2, 16, 8, 16)
JOIN, NO_JOIN = ({name: SITES[name]} for name in ("join", "no join"))

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton exists for Linux only")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """Compile anew, and leave Triton's cache alone."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def recorded(monkeypatch):
    """Run the operator at a site; returns what it would have launched, specialized."""
    from deeptwins.kernels.bn_relu_add import launches, operator  # noqa: PLC0415  load Triton

    launched = []

    def record(launch):
        launched.append(launch)

    monkeypatch.setattr(launches.Launch, "__call__", record)
    monkeypatch.setattr(operator, "INTERPRETED", True)

    def run(site, dtype, layout):
        launched.clear()
        x, residual = (
            torch.zeros(SHAPE, dtype=DTYPES[dtype])
            .contiguous(memory_format=LAYOUTS[layout])
            .requires_grad_(site.training)
            for _ in range(2)
        )
        parameters = [torch.ones(16, requires_grad=site.training) for _ in range(2)]
        running = torch.zeros(16), torch.ones(16), torch.tensor(0) if site.training else None
        inputs = Inputs(
            x, residual if site.residual else None, *parameters, *running, site.training, 0.1, 1e-5,
            site.order == "relu-add", site.fork,
        )  # fmt: skip
        y = operator.bn_relu_add(inputs)
        uses = y if site.fork else (y,)
        if site.training:
            torch.autograd.backward(uses, [torch.ones_like(x) for _ in uses])
        return [specialization.specialize(launch, 90) for launch in launched]

    return run


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("name", SITES)
def test_what_is_compiled_is_what_is_launched(recorded, name, dtype, layout):
    """Constants, types, alignments and absent arguments are those of the operator's own launches."""
    from deeptwins.kernels.bn_relu_add.operator import INTERPRETED_PROCESSORS  # noqa: PLC0415

    site = SITES[name]

    prepared = specialization.launches(site, dtype, layout, SHAPE, INTERPRETED_PROCESSORS)

    assert [specialization.specialize(launch, 90) for launch in prepared] == recorded(site, dtype, layout)
    expected = [launch.kernel for launch in (*site.forward, *(site.backward if site.training else ()))]
    assert [launch.kernel.__name__ for launch in prepared] == [f"bn_relu_add_{kernel}" for kernel in expected]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SITES)
def test_specialization_is_tritons(name, layout):
    """Of what is launched, Triton's own just-in-time compiler would see the same types, constants and alignments."""
    from triton.backends.compiler import GPUTarget  # noqa: PLC0415
    from triton.compiler import make_backend  # noqa: PLC0415
    from triton.runtime.jit import KernelParam, create_function_from_signature  # noqa: PLC0415

    for launch in specialization.launches(SITES[name], "bf16", layout, (48, 16, 1, 2), 2):
        signature = inspect.signature(launch.kernel.fn)
        excepted = vars(launch.kernel).get("kwargs", vars(launch.kernel))["do_not_specialize"]
        parameters = [
            KernelParam(i, parameter, parameter.name in excepted, do_not_specialize_on_alignment=False)
            for i, parameter in enumerate(signature.parameters.values())
        ]
        bind = create_function_from_signature(signature, parameters, make_backend(GPUTarget("cuda", 90, 32)))

        bound, found, _ = bind(*launch.arguments, **launch.constants)

        built = specialization.specialize(launch, 90)
        seen = dict(zip(signature.parameters, found, strict=True))
        assert dict(built.signature) == {key: kind for key, (kind, _) in seen.items() if kind != "constexpr"}
        assert {key: str(value) for key, value in built.constants} == {
            key: str(bound[key]) for key, (kind, _) in seen.items() if kind == "constexpr"
        }
        assert {*built.aligned} == {key for key, (kind, extra) in seen.items() if kind != "constexpr" and extra == "D"}


def test_ones_are_constants():
    """Unless a kernel excepts them, an argument of 1 is a constant, and a multiple of 16 known as such."""
    launches = specialization.launches(SITES["no join in evaluation"], "bf16", "contiguous", (48, 16, 1, 2), 2)
    [apply] = launches
    plain = SimpleNamespace(__name__="apply", arg_names=apply.kernel.arg_names, fn=apply.kernel.fn)

    usual = specialization.specialize(apply, 80)
    built = specialization.specialize(dataclasses.replace(apply, kernel=plain), 80)

    assert dict(built.constants)["splits"] == 1
    assert "splits" not in dict(usual.constants)
    assert "N" in {*built.aligned} - {*usual.aligned}
    assert built.activations == usual.activations == ("x", "y")


def test_the_plan():
    """Every kernel, site, type, layout and GPU is there, and each kernel once; sites that launch the same share it."""
    planned = compiled.plan()

    assert len({each.built for each in planned}) == len(planned)
    for site in SITES:
        for dtype, shapes in SHAPES.items():
            cells = {
                (each.gpu, each.layout, each.shape) for each in planned if site in each.sites and each.dtype == dtype
            }
            assert len(cells) == len(GPUS) * len(LAYOUTS) * len(shapes)
    [statistics] = {each.sites for each in planned if each.built.kernel == "statistics"}
    assert statistics == ("join", "unforked join", "relu-add join", "no join")


def test_no_triton(monkeypatch):
    """Where there is no Triton one line says so."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(InputError, match=r"package triton is not installed"):
        compiled.plan()


@pytest.fixture(scope="module")
def commanded(tmp_path_factory):
    """Kernels of every type, layout, GPU and shape that `deeptwins kernels` compiled: the plan, its folder, its output.

    As on a machine where Triton is to interpret.
    """
    folder = tmp_path_factory.mktemp("commanded")
    planned = [
        *compiled.plan({"bf16": [CIFAR]}, ["channels_last"], JOIN, [B200]),
        *compiled.plan({"fp32": [CIFAR]}, ["contiguous"], NO_JOIN, [H100]),  # at which Triton 3.8 has crashed
        *compiled.plan({"bf16": [ODD]}, ["channels_last"], NO_JOIN, [A100]),
        *(
            each  # which touches all activations that there are
            for each in (
                *compiled.plan({"bf16": [CIFAR]}, ["contiguous"], JOIN, [H100]),
                *compiled.plan({"fp32": [ODD]}, ["channels_last"], NO_JOIN, [H100]),
            )
            if each.built.kernel == "apply"
        ),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(folder / "cache"))
        patch.setenv("TRITON_INTERPRET", "1")
        patch.setattr(compiled, "plan", lambda: planned)
        return SimpleNamespace(planned=planned, folder=folder, printed=called(patch, folder))


@pytest.mark.slow
def test_compiled_kernels_are_sound(commanded):
    """No kernel spills; all bytes of activations move by full accesses where rows allow it; traffic is as counted."""
    rows = kernels.read(kernels.path_of(commanded.folder / "results")).kernels

    assert [row.faults for row in rows] == [()] * len(rows)
    for row, each in zip(rows, commanded.planned, strict=True):
        site = SITES[each.sites[0]]
        [launch] = [launch for launch in (*site.forward, *site.backward) if launch.kernel == row.kernel]
        assert (row.tensors_read, row.tensors_written) == (launch.reads, launch.writes)
        assert row.vectors_possible == (row.dtype == "fp32" or row.shape != "128x20x32x32")
        assert (row.vector_share == 1) == row.vectors_possible
        assert row.narrowest_access_bits == (128 if row.vectors_possible else 64)
        assert 0 < row.registers <= 255
        assert row.resident_warps >= 16
        assert row.instructions > 100
    assert len({row.opcodes_sha256 for row in rows}) == len(rows)


MUTANTS = {  # what is changed in the source, in the constants, and what the check then says
    "an offset that is not aligned": (
        "at = offsets(m, c, C, HW, LAST)",
        "at = offsets(m, c, C, HW, LAST) + 1",
        {},
        "only 0%",
    ),
    "one tensor of three": ("tl.load(residual + at,", "tl.load(residual + 1 + at,", {}, "only 67%"),
    "a tile of too many elements": ("", "", {"BM": 4096}, "spill instructions"),
}
COMPILE = """
import dataclasses, importlib, json, pickle, sys
from deeptwins.kernels.offline import compiled
for number, built in enumerate(pickle.loads(bytes.fromhex(sys.argv[1]))):
    kernel = importlib.import_module(f"mutant{number}").bn_relu_add_apply
    print(json.dumps(dataclasses.asdict(compiled.measure(kernel, built))))
"""


@pytest.mark.slow
def test_the_check_can_fail(tmp_path, monkeypatch):
    """A kernel that loses its vector loads, to one tensor even, or that spills, fails the check that ours pass."""
    source = Path(compiled.__file__).parents[1].joinpath("bn_relu_add", "kernels.py").read_text(encoding="utf-8")
    planned = compiled.plan({"bf16": [CIFAR]}, ["channels_last"], {"join": SITES["unforked join"]}, [H100])
    [apply] = [each for each in planned if each.built.kernel == "apply"]
    builds = []
    for number, (old, new, constants, _) in enumerate(MUTANTS.values()):
        assert old in source
        (tmp_path / f"mutant{number}.py").write_text(source.replace(old, new) if old else source, encoding="utf-8")
        changed = tuple({**dict(apply.built.constants), **constants}.items())
        builds.append(dataclasses.replace(apply.built, constants=changed))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))

    command = [sys.executable, "-c", COMPILE, pickle.dumps(builds).hex()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603

    rows = [compiled._row(apply, compiled.Metrics(**json.loads(line))) for line in done.stdout.splitlines()]
    for name, row in zip(MUTANTS, rows, strict=True):
        [fault] = row.faults  # each mutant lacks the faults of the others
        assert MUTANTS[name][-1] in fault


def test_traffic_of_a_site():
    """Bytes per element: of a join two tensors less forward than eager, by hand from the passes."""
    rows = {(row.site, row.implementation, row.dtype): row for row in floors.sites()}

    join = rows["join", "triton", "bf16"]
    assert (join.launches_forward, join.launches_backward) == (2, 2)
    assert (join.bytes_per_element_forward, join.bytes_per_element_backward) == (8.125, 14.125)
    eager = rows["join", "eager", "bf16"]
    assert (eager.bytes_per_element_forward, eager.bytes_per_element_backward) == (16, 22)
    assert rows["join", "compiled", "bf16"].bytes_per_element_backward == 18
    assert rows["no join", "triton", "fp32"].bytes_per_element_backward == 20


def test_the_model():
    """The floor of a site is its bytes over the bandwidth: 8.125 B x 205,520,896 elements at 3.35 TB/s are 498.5 us."""
    found = {(row.site, row.dtype, row.shape, row.device): row for row in floors.floors(floors.sites())}

    assert found["join", "bf16", "256x256x56x56", "H100 SXM"].forward_us == pytest.approx(498.5, abs=0.05)


def called(patch, folder, *arguments):
    """Call `deeptwins kernels` with folders of a test; returns exit code, stdout and stderr."""
    folders = ("--results", str(folder / "results"), "--reports", str(folder / "reports"))
    patch.setattr(sys, "argv", ["deeptwins", "kernels", *folders, *arguments])
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err, pytest.raises(SystemExit) as end:
        app.main()
    return end.value.code or 0, out.getvalue(), err.getvalue()


@pytest.mark.slow
def test_the_command(commanded, monkeypatch):
    """Where Triton is to interpret, kernels are compiled all the same; a table, the file and the page are left."""
    code, out, err = commanded.printed

    assert code == 0
    assert err.startswith("compiling")
    assert os.environ["TRITON_INTERPRET"] == "1"
    lines = out.splitlines()
    assert lines[1].split()[:3] == ["KERNEL", "ARCH", "COMPILED"]
    applied = [line.split()[1:3] for line in lines if line.startswith("apply ")]
    assert applied == [[gpu.arch, number] for gpu, number in ((B200, "1"), (H100, "3"), (A100, "1"))]
    assert max(map(len, lines[:15])) <= 100
    found = kernels.read(kernels.path_of(commanded.folder / "results"))
    assert [(row.kernel, row.arch) for row in found.kernels] == [
        (each.built.kernel, each.gpu.arch) for each in commanded.planned
    ]
    assert {"triton", "ptxas", "ptxas-blackwell"} <= {*found.made_with}
    before = (commanded.folder / "reports" / "kernels" / "index.html").read_bytes()

    code, out, _ = called(monkeypatch, commanded.folder, "--no-compile")

    assert code == 0
    assert out.splitlines() == lines
    assert (commanded.folder / "reports" / "kernels" / "index.html").read_bytes() == before


def test_the_command_without_triton(tmp_path, monkeypatch):
    """It is one line, and exit code 2."""
    monkeypatch.setattr(compiled, "unavailable", lambda: "no Triton here")

    assert called(monkeypatch, tmp_path) == (2, "", "deeptwins: no Triton here\n")


def test_folders_that_cannot_be_written(tmp_path, monkeypatch):
    """It is told before anything is compiled."""
    (tmp_path / "results").write_text("", encoding="utf-8")

    code, out, err = called(monkeypatch, tmp_path)

    assert (code, out) == (2, "")
    assert str(tmp_path / "results") in err
    assert len(err.splitlines()) == 1


def test_a_compiler_that_dies_is_named(monkeypatch):
    """Where a process crashes the error says at which kernel."""

    class Pool(nullcontext):
        def submit(self, *_):
            future = Future()
            future.set_exception(BrokenProcessPool())
            return future

        def shutdown(self, **_):
            pass

    planned = compiled.plan({"bf16": [CIFAR]}, ["contiguous"], NO_JOIN, [H100])
    monkeypatch.setattr(compiled, "ProcessPoolExecutor", lambda *_, **__: Pool(Pool()))

    with pytest.raises(InputError, match=r"statistics \(no join, bf16, contiguous, 128x16x32x32, sm_90\)"):
        compiled.compile_all(planned, workers=1)
