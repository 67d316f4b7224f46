"""What `bench/` rests on: the sites of the nets, what is timed where, and the clock that reads a device's events."""

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice
from unittest.mock import MagicMock

import pytest
import torch
import torchvision
from torch import nn

import handwritten
import sites
import training_time
from deeptwins import data, nets
from deeptwins.kernels.offline import cases
from deeptwins.profile import clock
from deeptwins.study.specs import Net, Recipe
from places import ROOT

NEEDS_BENCHMARK = pytest.mark.skipif(
    importlib.util.find_spec("pytest_benchmark") is None, reason="needs pytest-benchmark: dependency group bench"
)


def python(folder, *arguments, **environment):
    """Run Python in a process of its own, which finds the package and the benches; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), str(ROOT / "bench"), kept.get("PYTHONPATH")]))
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": path} | environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pytest_without_gpu(folder, *arguments):
    """Run pytest, whatever the machine, as on one without a GPU."""
    return python(
        folder, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments, CUDA_VISIBLE_DEVICES=""
    )


@pytest.mark.parametrize(
    ("net", "join", "relu", "bare"), [("resnet-50", 16, 33, 4), ("resnet-18", 8, 9, 3), ("cifar-resnet-20", 9, 10, 0)]
)
def test_every_layer_of_a_net_is_a_site(net, join, relu, bare):
    """He et al. 2015, table 1: a normalization a layer; a join a block; bare ones in projections."""
    assert Counter(layer.kind for layer in sites.NETS[net]) == Counter(join=join, relu=relu, bare=bare)


@pytest.mark.parametrize("depth", [18, 50])
def test_shapes_are_torchvisions(depth):
    """The shapes derived for a net are those that torchvision's net of this depth normalizes."""
    with torch.device("meta"):
        net, image = torchvision.models.get_model(f"resnet{depth}"), torch.empty(1, 3, 224, 224)
    seen = []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _module, _inputs, y: seen.append(tuple(y.shape[1:])))
    net(image)

    derived = [(layer.channels, layer.size, layer.size) for layer in sites.NETS[f"resnet-{depth}"]]
    assert Counter(seen) == Counter(derived)


def test_equal_shapes_are_one_site():
    """A shape is timed once, for all nets that have it, at a join and elsewhere apart."""
    found = sites.sites()

    assert len({(site.join, site.shape) for site in found}) == len(found)
    assert [site.nets for site in found if site.shape == (256, 128, 28, 28)] == [
        ("resnet-50", "resnet-18"),
        ("resnet-18",),
    ]


def test_kernels_are_compiled_for_shapes_of_nets():
    """Every shape that kernels are compiled for offline is a site of some net, but for the odd one."""
    compiled = {shape for shapes in cases.SHAPES.values() for shape in shapes}

    assert compiled - {site.shape for site in sites.sites()} == {cases.ODD}


def test_every_site_is_timed_on_a_gpu():
    """The usual choice on a GPU has every site in bf16 and channels_last, and some in every other combination."""
    chosen = sites.settings("cuda")

    assert {setting.site for setting in chosen if str(setting).endswith("bf16-channels_last")} == {*sites.sites()}
    assert len({(setting.dtype, setting.layout) for setting in chosen}) == 6
    assert {*chosen} < {*sites.settings("cuda", full=True)}


REHEARSED = (
    "throughput.py::bench_together[fp32]", "throughput.py::bench_alone[fp32-plain-20]",
    "throughput.py::bench_loop[usual-plain-20]", "choices.py::bench_together[4]", "choices.py::bench_evaluation[2500]",
    "packing.py::bench_step[2nets-depth20-width8-fp32-channels_last-grouped]",
)  # fmt: skip
REHEARSAL = """
import sys
from pathlib import Path

import pytest

file, cases, *arguments = sys.argv[1:]


class Chosen:
    def pytest_collection_modifyitems(self, items):
        Path(file).write_text("\\n".join(item.nodeid for item in items), encoding="utf-8")
        items[:] = [item for item in items if item.nodeid in cases.split()]


sys.exit(pytest.main(arguments, plugins=[Chosen()]))
"""


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """The folder of a run of benches on a machine without a GPU: what they collect, and timings of a few cases."""
    folder = tmp_path_factory.mktemp("rehearsal")
    cases = " ".join(f"bench/bench_{case}" for case in REHEARSED)
    files = [f"bench/bench_{name}.py" for name in ("bn_relu_add", "throughput", "choices", "packing")]
    options = (f"--benchmark-json={folder / 'timed.json'}", "-p", "no:cacheprovider", "-p", "no:xdist")
    python(ROOT, "-c", REHEARSAL, str(folder / "collected"), cases, *options, *files, CUDA_VISIBLE_DEVICES="")
    return folder


@pytest.fixture(scope="module")
def collected(rehearsal):
    """The cases of each bench that was collected, by file."""
    lines = rehearsal.joinpath("collected").read_text(encoding="utf-8").splitlines()
    pairs = [re.fullmatch(r"bench/bench_(\w+)\.py::(.*)", line).groups() for line in lines]
    return {file: [case for of, case in pairs if of == file] for file, _ in pairs}


@pytest.fixture(scope="module")
def rehearsed(rehearsal):
    """Timings of a few cases of each bench that has a page, on a CPU."""
    return rehearsal / "timed.json"


@NEEDS_BENCHMARK
@pytest.mark.slow
def test_a_cpu_times_the_cifar_net(collected):
    """Without a GPU the bench collects the CIFAR net's six shapes, by implementation and direction."""
    tests = collected["bn_relu_add"]

    assert {line.split("[")[1].split("-fp32-channels_last-")[0] for line in tests} == {
        f"cifar-resnet-20-{kind}-128x{shape}"
        for kind in ("relu", "join")
        for shape in ("16x32x32", "32x16x16", "64x8x8")
    }
    assert sum("-eager-forward]" in line for line in tests) == sum("-eager-forward+backward]" in line for line in tests)


class FakeEvent:
    """An event of a device whose clock advances by 1/8 s an event; it must be waited for before it is read."""

    now = 0

    def __init__(self, *, enable_timing):
        assert enable_timing
        self.at = self.waited = None

    def record(self):
        """Take the time."""
        FakeEvent.now += 1
        self.at = FakeEvent.now

    def synchronize(self):
        """Wait."""
        self.waited = True

    def elapsed_time(self, end):
        """Return milliseconds."""
        assert end.waited
        return (end.at - self.at) * 125.0


def test_the_clock_reads_the_time_between_two_events():
    """Readings come in pairs, 0 and what elapsed between the events, pair by pair."""
    timer = clock.EventTimer(FakeEvent)

    assert [timer(), timer(), timer(), timer()] == [0, 0.125, 0, 0.125]


TIMED = f"""
import pytest
from deeptwins.profile import clock

{inspect.getsource(FakeEvent)}

@pytest.fixture(autouse=True)
def timer(request):
    request.applymarker(pytest.mark.benchmark(timer=clock.EventTimer(FakeEvent)))

def test_timed(benchmark):
    benchmark.pedantic(FakeEvent(enable_timing=True).record, warmup_rounds=2, rounds=3)
"""


@NEEDS_BENCHMARK
def test_pytest_benchmark_records_what_the_clock_reads(tmp_path):
    """With one event between the two of the clock a round takes two ticks: no calibration, and nothing is added."""
    (tmp_path / "test_timed.py").write_text(TIMED, encoding="utf-8")

    pytest_without_gpu(tmp_path, "--rootdir=.", "--benchmark-json=timed.json", "test_timed.py")

    (timed,) = json.loads((tmp_path / "timed.json").read_text(encoding="utf-8"))["benchmarks"]
    assert timed["stats"]["data"] == [0.25, 0.25, 0.25]


@pytest.mark.parametrize(("refused", "timed"), [(None, "graph"), (RuntimeError("not permitted"), "events")])
def test_work_is_captured_once_it_is_warm(monkeypatch, refused, timed):
    """Work runs a few times on the stream that captures it; what cannot be captured is handed back as it is."""
    cuda, calls = MagicMock(), []
    monkeypatch.setattr(torch, "cuda", cuda)
    cuda.graph.side_effect = refused and [refused]

    def work():
        calls.append(cuda.graph.called)

    assert clock.replay(work) == (work if refused else cuda.CUDAGraph().replay, timed)
    assert calls == [False] * clock.WARMUP + ([] if refused else [True])
    cuda.graph.assert_called_once_with(cuda.CUDAGraph(), stream=cuda.Stream())


@pytest.mark.gpu
def test_a_replay_does_the_work_again():
    """A graph on a device computes from what its tensors hold when it is replayed."""
    x, y = torch.zeros(8, device="cuda"), torch.zeros(8, device="cuda")
    replayed, timed = clock.replay(lambda: torch.add(x, 1, out=y))
    x.fill_(1)

    replayed()

    assert timed == "graph"
    assert y.tolist() == [2.0] * 8


REFUSED = """
import torch
from deeptwins.profile import clock

x, stream = torch.ones(8, device="cuda"), torch.cuda.current_stream()
work, timed = clock.replay(lambda: x.sum().item())
assert timed == "events"
assert work() == 8
assert torch.cuda.current_stream() == stream
assert clock.replay(x.sum)[1] == "graph"
"""


@pytest.mark.gpu
def test_a_refused_capture_leaves_the_device_usable():
    """Work that waits for the device cannot be captured; what comes after it runs where it did, and can be captured."""
    assert "not captured, but timed by events" in python(ROOT, "-c", REFUSED)


RECIPE = Recipe(dataset="synthetic", iterations=10, batch_size=16, learning_rate=0.1, momentum=0.9, shift=1, flip=True)


def test_the_loader_of_pictures_augments_and_normalizes(dataset):
    """Batches have one size, each channel has mean 0 and deviation 1 but for the black border, and images move."""
    torch.manual_seed(0)
    loader = handwritten.pictures(dataset, RECIPE, workers=0)
    still = handwritten.pictures(dataset, RECIPE.model_copy(update={"shift": 0}), workers=0)
    drawn = {loader.dataset[0][0].numpy().tobytes() for _ in range(20)}
    x = torch.cat([x for x, _ in still])

    assert [len(y) for _, y in loader] == [16] * 32
    assert x.mean((0, 2, 3)).abs().max() < 1e-3
    assert (x.std((0, 2, 3)) - 1).abs().max() < 1e-3
    assert 2 < len(drawn) <= 18  # nine places, and their mirror images


@pytest.mark.parametrize("way", handwritten.LOOPS)
def test_a_loop_trains_as_it_says(monkeypatch, way):
    """Its images have its layout and precision, its optimizer moves the weights, and it goes on beyond an epoch."""
    loop, seen, compiled = handwritten.LOOPS[way], [], []
    monkeypatch.setattr(torch, "compile", lambda model, backend: compiled.append(backend) or model)
    net = nets.build(Net(family="cifar", depth=8, width=4, fused_op="eager"), 3, 10, seed=0)
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(
        lambda _module, inputs, y: seen.append((inputs[0].is_contiguous(memory_format=loop.layout), y.dtype))
    )
    before = first.weight.detach().clone()
    batch = torch.randn(16, 3, 8, 8), torch.arange(16) % 10

    found = list(islice(loop.steps(net, RECIPE, [batch, batch], "some"), 3))

    assert seen == [(True, {"tf32": torch.float32, "bf16": torch.bfloat16}[loop.precision])] * 3
    assert compiled == (["some"] if way == "compiled" else [])
    assert found[0][0] != found[2][0]
    assert all(isinstance(loss, float) and isinstance(wrong, int) for loss, wrong in found)
    assert not torch.equal(before, first.weight)


@NEEDS_BENCHMARK
def test_throughput_is_timed_for_every_net_in_every_way(collected):
    """Eight nets alone in three precisions, all together in three, and eight in each of two loops."""
    cases = Counter(line.split("[")[0] for line in collected["throughput"])

    assert cases == {"bench_alone": 24, "bench_together": 3, "bench_loop": 16}
    assert "bench_loop[compiled-residual-56]" in collected["throughput"]


@NEEDS_BENCHMARK
@pytest.mark.slow
def test_a_throughput_of_the_trainer_can_be_rehearsed(rehearsed):
    """On a CPU a case is timed at a tiny size, says so, and can be read by the page's side."""
    from deeptwins.pages.throughput import numbers  # noqa: PLC0415  loads pandas

    found = numbers.BENCHES.load(rehearsed)

    assert sorted(found.cases["way"]) == ["alone", "together", "usual"]
    assert found.rehearsal
    assert not found.judged
    assert found.cases.set_index("way")["nets"].to_dict() == {"alone": 1, "together": 8, "usual": 1}
    assert set(found.cases["study_iterations"]) == {64_000}


@NEEDS_BENCHMARK
@pytest.mark.slow
def test_what_packing_and_choices_time_can_be_read(rehearsed):
    """Cases of both benches are what the page's side expects."""
    from deeptwins.pages.choices import numbers  # noqa: PLC0415  loads pandas

    found = numbers.BENCHES.load(rehearsed)

    assert found.packing[["nets", "depth", "variant"]].to_numpy().tolist() == [[2, 20, "grouped"]]
    assert found.choices[["choice", "value", "the_trainers"]].to_numpy().tolist() == [
        ["runs in hand", 4, True], ["images an evaluation", 2500, False],
    ]  # fmt: skip
    assert found.rehearsal


def test_images_are_repeated_with_their_labels(dataset):
    """Repeated images keep their labels, and there are at least so many."""
    many = training_time.repeated(dataset, 600)

    assert len(many.train) == len(many.train.images) == 1024
    assert torch.equal(many.train.images.pixels[512:], dataset.train.images.pixels)
    assert torch.equal(many.train.labels[512:], dataset.train.labels)
    assert isinstance(many, data.Dataset)


STUB = """#!/usr/bin/env bash
[[ $* != - ]] || exit "${LACKS:-0}"
echo "$*" >> "$CALLS"
[[ $CODE == 4 ]] || for word; do case $word in --benchmark-json=*) echo '{}' > "${word#*=}" ;; esac; done
case "$*" in
    *"$FAILS"*) printf '%b' "${SAYS-}"; exit "$CODE" ;;
    *"${FAILS_TOO-nothing of this}"*) exit 2 ;;
esac
"""


@pytest.fixture
def gpu(tmp_path):
    """Call bench/gpu.sh with a stand-in for Python; returns exit code, what was called, and what was printed."""
    stub, calls = tmp_path / "python", tmp_path / "calls"
    stub.write_text(STUB, encoding="utf-8")
    stub.chmod(0o755)

    def call(*steps, fails="nothing of this", code=0, **environment):
        calls.write_text("", encoding="utf-8")
        kept = {
            key: value
            for key, value in os.environ.items()
            if key not in {"ARCHIVE", "DEEPTWINS_DATA", "DEVICE", "LIMIT"}
        }
        given = {"PYTHON": str(stub), "FOLDER": str(tmp_path / "out"), "CALLS": str(calls)}
        done = subprocess.run(  # noqa: S603 - our own
            ["/usr/bin/env", "bash", ROOT / "bench" / "gpu.sh", *steps],
            env=kept | given | {"FAILS": fails, "CODE": str(code)} | environment,
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, calls.read_text(encoding="utf-8").splitlines(), done.stdout + done.stderr

    return call


def test_gpu_sh_runs_all_steps_in_order(gpu):
    """Smoke first, then what matters most: tests, benches, with data the long study, each with its page."""
    code, calls, printed = gpu(DEEPTWINS_DATA="somewhere")

    marks = ("run smoke", "-m gpu", "bn_relu_add.py", "kernels --no-compile", "-k not compiled", "profile --timings",
             "-k compiled", "profile --timings", "run depth-cifar10", "report depth-cifar10", "packing.py",
             "profile --timings", "profile cifar-plain-56 cifar-resnet-56", "choices.py", "profile --timings",
             "run kernel", "report kernel")  # fmt: skip
    assert code == 0
    assert len(calls) == len(marks)
    assert all(mark in call for mark, call in zip(marks, calls, strict=True))
    assert [call.count("--timings") for call in calls if "profile --timings" in call] == [1, 2, 1, 2]
    assert "--time-limit 480s" in calls[8]
    assert "--data somewhere" in calls[8]
    assert [i for i, call in enumerate(calls) if "--session-timeout=480" in call] == [1, 2, 4, 6, 10, 13]
    assert "-k bf16 and channels_last and not gemm" in calls[10]
    assert "rehearsal" not in printed
    assert "\nno step failed; what they wrote lies in " in printed


def test_gpu_sh_ends_at_once_without_a_device(gpu):
    """When smoke is refused, nothing else is tried."""
    code, calls, _ = gpu(fails="run smoke", code=2)

    assert code == 2
    assert len(calls) == 1


def test_gpu_sh_refuses_a_step_that_it_does_not_have(gpu):
    """A slip in a name is one line that names the steps, before anything runs."""
    code, calls, printed = gpu("tests", "throughputt")

    assert (code, calls) == (2, [])
    assert len(printed.splitlines()) == 1
    assert "no step 'throughputt'; there are tests kernel" in printed


def test_gpu_sh_runs_nothing_where_packages_are_missing(gpu):
    """A Python that lacks some ends it at once."""
    assert gpu(LACKS="1")[:2] == (2, [])


def test_gpu_sh_names_the_packages_that_are_missing(gpu, tmp_path):
    """They are named on one line: here a Python that has none at all."""
    bare = tmp_path / "bare"
    bare.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" -S -E "$@"\n', encoding="utf-8")
    bare.chmod(0o755)

    code, calls, printed = gpu(PYTHON=str(bare))

    assert (code, calls) == (2, [])
    assert len(printed.splitlines()) == 1
    for name in ("torch", "pydantic", "typer", "pytest-benchmark", "pytest-timeout"):
        assert re.search(rf" {name}[,;]", printed)


@pytest.mark.parametrize(("code", "ends", "reported"), [(0, 0, True), (3, 0, True), (1, 1, False), (2, 1, False)])
def test_gpu_sh_reports_a_study_that_ran_out_of_time(gpu, code, ends, reported):
    """Exit code 3 of the long study is no failure; its page is written of what there is."""
    done, calls, printed = gpu("depth", fails="run depth-cifar10", code=code, DEEPTWINS_DATA="d", LIMIT="90")

    assert done == ends
    assert "--time-limit 90s" in calls[1]
    assert any("report depth-cifar10" in call for call in calls) is reported
    assert ("failed: depth" in printed) is not reported
    assert ("unfinished: depth (ended by LIMIT=90)" in printed) is (code == 3)


@pytest.mark.parametrize(("code", "ends"), [(3, 0), (0, 1)])
def test_gpu_sh_waits_for_a_page_until_a_run_has_finished(gpu, code, ends):
    """Where time ran out before any run was finished there is no page yet, and that is no failure."""
    done, _, printed = gpu(
        "depth", fails="run depth-cifar10", code=code, DEEPTWINS_DATA="d", FAILS_TOO="report depth-cifar10"
    )

    assert done == ends
    assert ("no page yet" in printed) is (code == 3)
    assert ("failed: depth" in printed) is (code == 0)


def test_gpu_sh_leaves_the_long_study_out_without_data(gpu):
    """Nothing is downloaded: its last line says what is missing, and that is no failure."""
    code, calls, printed = gpu("depth")

    assert code == 0
    assert len(calls) == 1
    assert "unfinished: depth (no CIFAR-10: DEEPTWINS_DATA" in printed.splitlines()[-1]


def test_gpu_sh_writes_the_page_of_a_bench_that_failed_in_part(gpu):
    """What has been timed is shown, and the step has failed."""
    code, calls, printed = gpu("throughput", fails="bench_throughput.py", code=1)

    assert code == 1
    assert "profile --timings" in calls[2]
    assert "failed: throughput" in printed


@pytest.mark.parametrize(
    ("last", "ends"), [("3 passed in 9s", 0), ("1 failed, 2 passed in 9s", 1), ("1 error in 9s", 1)]
)
def test_gpu_sh_tells_time_that_is_up_from_a_failure(gpu, last, ends):
    """A session that LIMIT ended is no failure, unless something failed before; the last line names it."""
    says = f"!!! session-timeout: 7.0 sec exceeded !!!\\n{last}\\n"
    code, calls, printed = gpu("kernel", fails="bn_relu_add.py", code=1, LIMIT="7", SAYS=says)

    assert code == ends
    assert "--session-timeout=7" in calls[1]
    assert "kernels --no-compile" in calls[2]
    assert "unfinished: kernel (ended by LIMIT=7)" in printed.splitlines()[-1]
    assert ("failed: kernel" in printed) is bool(ends)


def test_gpu_sh_shows_no_times_of_an_earlier_call(gpu, tmp_path):
    """Where a bench breaks down before it writes, there is no page of the file that an earlier call wrote."""
    assert gpu("throughput")[0] == 0

    code, calls, _ = gpu("throughput", fails="bench_throughput.py", code=4)

    assert code == 1
    assert not any("--timings" in call for call in calls)
    assert not (tmp_path / "out" / "throughput.json").exists()


def test_gpu_sh_goes_on_from_an_archive(gpu, tmp_path):
    """What one call packed the next unpacks, in pieces where it is large, and packs with what it adds."""
    archive, out = tmp_path / "packed.tar.gz", tmp_path / "out"
    (out / "results").mkdir(parents=True)
    (out / "results" / "checkpoint").write_bytes(os.urandom(16 * 2**20))

    assert gpu("kernel", ARCHIVE=str(archive))[0] == 0
    there = tmp_path / "there"
    assert gpu("throughput", ARCHIVE=str(archive), FOLDER=str(there))[0] == 0

    assert sorted(path.name for path in tmp_path.glob("packed*")) == ["packed.tar.gz.00", "packed.tar.gz.01"]
    assert (there / "results" / "checkpoint").read_bytes() == (out / "results" / "checkpoint").read_bytes()
    assert {"kernel.json", "throughput.json", "log.txt"} <= {path.name for path in there.iterdir()}


def test_gpu_sh_rehearses_at_a_tiny_size(gpu):
    """On a CPU studies are cut short and need no data; the last line says what the numbers are worth."""
    code, calls, printed = gpu(DEVICE="cpu", LIMIT="7")

    long = next(call for call in calls if "run depth-cifar10" in call)
    assert code == 0
    assert "--device cpu" in long
    assert "recipe.dataset=synthetic" in long
    for verb in ("run", "report"):
        assert "recipe.iterations=4" in next(call for call in calls if f"{verb} kernel" in call)
    assert len([call for call in calls if "--session-timeout=7" in call]) == 6
    assert printed.splitlines()[-1].startswith("a rehearsal, whose numbers mean nothing: no step failed; ")
