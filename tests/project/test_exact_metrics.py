"""The probe of the exact tier: what it counts on tensors of a few bytes, and what it leaves behind."""

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import counting
import exact_metrics
from deeptwins import study
from deeptwins.gate.compare import probes
from deeptwins.gate.judge import metrics
from places import ROOT


def metered(work, *arguments):
    """Run something under a meter; return the meter, with the result still held."""
    with exact_metrics.uncollected(), counting.Meter() as meter:
        meter.result = work(*arguments)
    return meter


def test_a_sum_is_one_operator():
    """It reads both terms, writes and allocates its result; a product of matrices has FLOPs, too."""
    a, b = torch.ones(4, 8), torch.ones(4, 8)

    meter = metered(torch.add, a, b)

    assert (meter.operators, meter.allocations, meter.peak_bytes) == (1, 1, 4 * 8 * 4)
    assert (meter.bytes_read, meter.bytes_written, meter.flops) == (2 * 128, 128, 0)
    assert metered(torch.mm, a, b.T).flops == 2 * 4 * 8 * 4


def test_views_cost_nothing():
    """What looks at a tensor in another way is no operator, allocates nothing and moves nothing."""
    meter = metered(lambda x: x.view(8, 4).T[2:].expand(2, 2, 8).detach(), torch.ones(32))

    assert (meter.operators, meter.allocations, meter.bytes_read, meter.bytes_written) == (0, 0, 0, 0)


def test_what_changes_in_place_allocates_nothing():
    """It reads and writes the tensor; room that is only made is no traffic."""
    meter = metered(torch.ones(6).add_, 1)
    assert (meter.operators, meter.allocations, meter.bytes_read, meter.bytes_written) == (1, 0, 24, 24)

    meter = metered(torch.empty, 6)
    assert (meter.operators, meter.allocations, meter.bytes_read, meter.bytes_written) == (1, 1, 0, 0)


def test_the_peak_is_what_lives_at_the_same_time():
    """Memory that is given back is there for the next tensor."""

    def chain(x):
        for _ in range(5):
            x = x + 1
        return x

    meter = metered(chain, torch.ones(100))

    assert (meter.allocations, meter.peak_bytes, meter.live_bytes) == (5, 800, 400)
    del meter.result
    assert meter.live_bytes == 0


def test_expanded_tensors_count_by_their_memory():
    """A bias that is read for every row is read once."""
    assert metered(torch.ones(1).expand(100).sum).bytes_read == 4
    same = torch.ones(10)
    assert metered(torch.add, same, same).bytes_read == 40


def test_a_backward_pass_is_counted():
    """What autograd calls counts as what the user calls: two products for the gradients of one."""
    weight, x = torch.ones(3, 5, requires_grad=True), torch.ones(2, 3, requires_grad=True)

    meter = metered(lambda: (x @ weight).sum().backward())

    assert meter.flops == 3 * 2 * 2 * 3 * 5


@pytest.fixture(scope="module")
def run():
    """A run of the study that is counted, with a small net."""
    run = study.load(ROOT / "ablations" / "depth.toml").runs[0]
    recipe = run.recipe.model_copy(update={"dataset": "synthetic", "batch_size": 4})
    twins = {"residual": run.twins["residual"].model_copy(update={"depth": 8})}
    return run.model_copy(update={"recipe": recipe, "twins": twins})


@pytest.fixture(scope="module")
def before(run, dataset):
    """What a step of it counts."""
    return exact_metrics.step(run, dataset)


def test_a_training_step_counts_the_same_every_time(run, dataset, before):
    """Nothing in it depends on chance, on time or on what ran before."""
    assert exact_metrics.step(run, dataset) == exact_metrics.step(run, dataset) == before
    assert {*before} <= {*metrics.METRICS}
    assert min(before.values()) > 0


def test_more_work_in_a_step_is_more_of_everything(run, dataset, before, monkeypatch):
    """A net that computes and keeps one tensor more shows in each count of work."""
    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: forward(self, x) + forward(self, x.sin()))

    after = exact_metrics.step(run, dataset)

    assert all(after[metric] > before[metric] for metric in before if metric != "peak_bytes")


@pytest.fixture
def found():
    """What a group finds."""
    pytest.importorskip("triton", reason="Triton exists for Linux")
    return exact_metrics.Counts()


def test_a_call_of_the_fused_operation_is_what_it_launches(found):
    """Two launches each way; bytes are those promised, and a few a channel and split."""
    exact_metrics.operator(found)

    assert not found.unavailable
    join, alone = (
        found.exact["fused op, join, bfloat16, channels_last"],
        found.exact["fused op, no join, float32, channels_last"],
    )
    assert all(each[f"launches_{way}"] == 2 for each in found.exact.values() for way in ("forward", "backward"))
    assert {*join} == {*alone} <= {*metrics.METRICS}
    promised = (4 * 2 + 1 / 8, 7 * 2 + 1 / 8, 3 * 4, 5 * 4)
    counted = [each[f"bytes_per_element_{way}"] for each in (join, alone) for way in ("forward", "backward")]
    assert all(stated <= moved < stated + 0.1 for stated, moved in zip(promised, counted, strict=True))


def test_another_launch_shows(found, monkeypatch):
    """What is counted is what the operator hands to the device, and not what a table says."""
    from deeptwins.kernels.bn_relu_add import launches  # noqa: PLC0415  Triton is there

    prepare = launches.forward
    monkeypatch.setattr(launches, "forward", lambda *arguments: [*prepare(*arguments), prepare(*arguments)[0]])

    counted = exact_metrics.calls("bfloat16", "join")

    assert counted["launches_forward"] == 3
    assert counted["bytes_per_element_forward"] > 10
    assert counted["operators"] > 10  # the partial results of each


def test_kernels_are_read_in_machine_code(found, monkeypatch):
    """A row each of the four, by the name of the site that launches them."""
    monkeypatch.setattr(exact_metrics, "KERNELS", [("bf16", "contiguous", "CIFAR", "no join", (80,))])

    exact_metrics.kernels(found)

    ending = ", no join, bf16, contiguous, 128x16x32x32, sm_80"
    assert {*found.exact} == {f"kernel {name}{ending}" for name in ("statistics", "apply", "reduce", "gradient")}
    for counted in found.exact.values():
        assert {*counted} == {*exact_metrics.OF_KERNEL} <= {*metrics.METRICS}
        assert (counted["vector_share"], counted["spill_instructions"]) == (1, 0)


class Small(nn.Module):
    """A net that may break its graph in the middle."""

    def __init__(self, breaks):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.breaks = breaks

    def forward(self, x):
        """Two kernels, or more."""
        x = torch.relu(self.linear(x))
        if self.breaks:
            torch._dynamo.graph_break()
        return torch.sin(self.linear(x))


def compiled(net):
    """Train a compiled net for a step, as far as code goes."""
    with counting.Inductor() as inductor:
        F.mse_loss(torch.compile(net)(torch.ones(2, 4)), torch.ones(2, 4)).backward()
        return inductor.counted() | {"launches": inductor.launches}


INDUCTOR = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor",  # Dynamo looks at it behind a break
    "ignore:.torch.jit.script_method. is deprecated",  # Inductor of PyTorch 2.11 is loaded with it
)


@INDUCTOR
def test_graph_breaks_and_kernels_are_counted_without_a_compiler(monkeypatch):
    """One graph and no break, or two and one; code is generated, and no program called to compile it."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "/nonexistent")

    whole, broken = compiled(Small(breaks=False)), compiled(Small(breaks=True))

    assert {*whole} - {"launches"} <= {*metrics.METRICS}
    assert (whole["graphs"], whole["graph_breaks"]) == (1, 0)
    assert (broken["graphs"], broken["graph_breaks"]) == (2, 1)
    assert whole["kernels"] >= 2
    assert whole["launches"] >= 2
    assert min(broken["bytes_moved"], whole["bytes_moved"]) > 0


@INDUCTOR
def test_code_that_is_generated_elsewhere_is_not_counted_as_none():
    """Where nothing is generated, as with another PyTorch, that is said."""
    with counting.Inductor() as inductor, pytest.raises(RuntimeError, match="generated no kernel"):
        inductor.counted()


def probed(folder, *arguments):
    """Run the probe as the gate does; return what it wrote."""
    command = [sys.executable, ROOT / "bench" / "exact_metrics.py", "--output", folder / "found.json", *arguments]
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(  # noqa: S603 - our own
        command, env=kept | {"PYTHONPATH": str(ROOT / "src")}, cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text(encoding="utf-8"))


def test_the_probe_end_to_end(tmp_path):
    """Commands are counted in fresh processes, without torch; the file is one that the gate reads."""
    told = probed(tmp_path, "--only", "imports")

    found = probes.Counts.model_validate(told)
    assert not found.unavailable
    assert found.toolchain["torch"] == importlib.metadata.version("torch")
    help_, report = found.exact["imports of deeptwins --help"], found.exact["imports of a report"]
    assert {*help_} == {*report} <= {*metrics.METRICS}
    assert help_["torch"] == report["torch"] == 0
    assert 0 < help_["modules"] < report["modules"]
    assert 0 < help_["own_modules"] < report["own_modules"]


def test_modules_of_a_process_are_told_apart():
    """One of the standard library, one of another package, and what each brings; torch is named."""
    before = exact_metrics.modules("import json")

    assert exact_metrics.modules("import json, this")["modules"] == before["modules"] + 1
    assert (before["packages"], before["torch"], before["own_modules"]) == (
        exact_metrics.modules("")["packages"], 0, 0,
    )  # fmt: skip
    after = exact_metrics.modules("import json, jinja2, deeptwins")
    assert after["packages"] > before["packages"]
    assert after["own_modules"] == 1
    assert exact_metrics.modules("import sys; sys.modules['torch.nn'] = sys")["torch"] == 1


def test_what_cannot_be_counted_says_why(tmp_path, monkeypatch):
    """A subject that fails, and a group that does, leave their reasons in the file; the rest is counted."""

    def one(found):
        found.count("fine", lambda: {"flops": 1})
        found.count("a report", exact_metrics.modules, "raise ValueError('older')")

    def other(_found):
        raise ImportError(f"no module named\nthat ({tmp_path / 'arm' / 'src' / 'deeptwins'})")

    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "arm" / "src"))
    monkeypatch.setattr(exact_metrics, "GROUPS", {"one": one, "other": other})
    monkeypatch.setattr(sys, "argv", ["probe", "--output", str(tmp_path / "found.json")])

    exact_metrics.main()

    told = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert told["exact"] == {"fine": {"flops": 1}}
    assert told["unavailable"] == {
        "a report": "RuntimeError: ValueError: older",
        "other": "ImportError: no module named that (deeptwins)",  # wherever it lies
    }


def test_groups_are_those_that_the_gate_knows():
    """Each can be asked for."""
    assert tuple(exact_metrics.GROUPS) == probes.GROUPS
