"""Profiles: what a name means, which nets a study has, and what is measured of a step."""

import pytest
import torch

import made
import tiny
from deeptwins.errors import InputError
from deeptwins.nets import inspection
from deeptwins.profile import measure, roofline
from deeptwins.profile.plans import ProfileOptions, plans
from deeptwins.records.profiles import Rate
from deeptwins.study.networks import named
from deeptwins.train import lanes

STUDY = """
question = "Does it work?"

[twins]
plain = { shortcut = "none" }
residual = { shortcut = "zero-pad" }

[[vary]]
family = "cifar"
depth = [8, 14]
seed = [0, 1, 2]

[recipe]
dataset = "synthetic"
width = 4
iterations = 10
batch_size = 16
learning_rate = 0.1
"""


PLAIN = "cifar-plain-8"


@pytest.fixture
def folder(tmp_path):
    """A folder with the study `tiny`."""
    made.load(tmp_path, STUDY, "tiny")
    return tmp_path


@pytest.fixture
def rates(monkeypatch):
    """Stand-in for the device's rates: a byte or a FLOP a nanosecond; remembers the precisions asked for."""
    asked = []

    def measured(_device, precision):
        asked.append(precision)
        return Rate(precision=precision, copy_bytes_per_s=1e9, flops_per_s=1e9)

    monkeypatch.setattr(roofline, "measure", measured)
    return asked


def only(planned):
    """Take the only plan there is."""
    (plan,) = planned
    return plan


def test_a_network_is_profiled_as_the_paper_trains_it(folder):
    """A name means the net that `show` shows, in batches of 128 with SGD and momentum, on images of its usual size."""
    plan = only(plans(["cifar-plain-56"], ProfileOptions(), folder))

    (subject,) = plan.subjects
    assert (plan.name, plan.command) == ("cifar-plain-56", "deeptwins profile cifar-plain-56")
    assert (subject.net, subject.image, subject.classes) == named("cifar-plain-56")
    recipe = subject.run.recipe
    assert (recipe.batch_size, recipe.optimizer, recipe.momentum, recipe.precision) == (128, "sgd", 0.9, "fp32")


def test_networks_share_a_page(folder):
    """Networks stand side by side, each once, with what was set for all; a study has a page of its own."""
    asked = ProfileOptions(("width=4", "recipe.precision=bf16"), 16, (1, 8, 8), ("--set", "width=4", "--batch", "16"))
    study, networks = plans(
        ["cifar-plain-8", str(folder / "tiny.toml"), "cifar-resnet-8", "cifar-plain-8"],
        ProfileOptions(("recipe.precision=bf16",)), folder,
    )  # fmt: skip

    assert (study.name, networks.name) == ("tiny", "cifar-plain-8-cifar-resnet-8")
    assert study.command == "deeptwins profile tiny.toml"
    plan = only(plans(["cifar-plain-8", "cifar-resnet-8"], asked, folder))
    assert plan.command == "deeptwins profile cifar-plain-8 cifar-resnet-8 --set width=4 --batch 16"
    for subject in plan.subjects:
        recipe = subject.run.recipe
        assert (subject.net.width, subject.image, recipe.batch_size, recipe.precision) == (4, (1, 8, 8), 16, "bf16")


def test_a_study_has_each_net_once(folder):
    """Nets are named by family, depth and twin, whatever the seeds, with the study's recipe."""
    plan = only(plans(["tiny"], ProfileOptions(batch=8), folder))

    assert [subject.label for subject in plan.subjects] == [
        f"cifar-{depth} {twin}" for depth in (8, 14) for twin in ("plain", "residual")
    ]
    assert all(subject.run.recipe.batch_size == 8 and subject.net.width == 4 for subject in plan.subjects)


def test_what_tells_nets_apart_is_said(folder):
    """Where family, depth and twin do not tell nets apart, the field that differs does; a learning rate is no net."""
    text = STUDY.replace("seed =", "precision = ['fp32', 'bf16']\nlearning_rate = [0.1, 0.2]\nseed =")
    made.load(folder, text.replace("\nlearning_rate = 0.1\n", "\n"), "varied")

    labels = [subject.label for subject in only(plans(["varied"], ProfileOptions(), folder)).subjects]

    assert labels[:2] == ["cifar-8 plain, precision fp32", "cifar-8 residual, precision fp32"]
    assert len(labels) == len({*labels}) == 8


@pytest.mark.parametrize(
    ("name", "settings", "label"),
    [
        ("cifar-plain-8", ("width=4",), "cifar-plain-8, width 4"),
        ("cifar-plain-8", ("recipe.shift=2", "shortcut=gate"), "cifar-plain-8, shortcut gate, shift 2"),
        ("cifar-plain-8", ("recipe.precision=bf16", "recipe.learning_rate=0.2"), "cifar-plain-8"),
        ("tiny", ("recipe.width=8",), "cifar-8 plain, width 8"),
    ],
)
def test_a_changed_net_is_told_from_the_usual_one(folder, name, settings, label):
    """What was set of the net, or of its step, stands in its name, unless the page says it of every net."""
    assert only(plans([name], ProfileOptions(settings), folder)).subjects[0].label == label


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ("tinny", ProfileOptions(), 'no study and no network "tinny": did you mean tiny?'),
        ("cifar-plane-56", ProfileOptions(), "did you mean cifar-plain-56?"),
        ("cifar-plain-57", ProfileOptions(), "depth = 57: family cifar has depths"),
        (PLAIN, ProfileOptions(("recipe.dataset=digits",)), "networks are profiled on random images"),
        (PLAIN, ProfileOptions(("recipe.bach_size=8",)), "recipe.bach_size: unknown key; did you mean batch_size"),
        (PLAIN, ProfileOptions(("norm_batch=3",)), f"{PLAIN}.norm_batch = 3: must divide batch_size = 128"),
        (
            PLAIN,
            ProfileOptions(("fused_op=compiled",)),
            f"{PLAIN}, fused_op compiled: fused_op = 'compiled': what torch.compile",
        ),
        (PLAIN, ProfileOptions(batch=1, image=(3, 1, 1)), f"{PLAIN}: recipe.batch_size = 1: the last stage"),
        ("tiny", ProfileOptions(image=(3, 8, 8)), "--input: the images of a study are its dataset's"),
        (
            "tiny",
            ProfileOptions(("recipe.shift=8",)),
            "cifar-8 plain, shift 8: recipe.shift = 8: must be less than the images are",
        ),
        (
            " ".join(f"cifar-plain-{8 + 6 * i}" for i in range(7)),
            ProfileOptions(),
            "7 networks: at most 6 stand on one page",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_profiled_is_refused(folder, rates, names, options, message):
    """What a user got wrong, what torch.compile leaves no ops of, what a run refuses: a line, and nothing measured."""

    def profile():
        plan = only(plans(names.split(), options, folder))
        plan.check(tiny.CPU)
        measure.profile(plan, tiny.CPU, 1)

    with pytest.raises(InputError) as error:
        profile()

    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not rates


def test_a_profile_is_of_the_trainers_step(folder, rates):
    """A profile has every net with its whole step, ops and kernels, on one thread, and rooflines at the rates."""
    threads, done, counted = torch.get_num_threads(), [], []
    plan = only(plans(["tiny"], ProfileOptions(), folder))

    profile = measure.profile(plan, tiny.CPU, 2, None, lambda: done.append(torch.get_num_threads()))

    assert rates == ["fp32"] * 5
    assert done == [1] * 4
    assert torch.get_num_threads() == threads
    assert [step.net for step in profile.nets] == [subject.label for subject in plan.subjects]
    for step, subject in zip(profile.nets, plan.subjects, strict=True):
        assert step.issued_us is None
        ops = [op for op in profile.ops if op.net == step.net]
        layers = inspection.trace(subject.net, (3, 8, 8), 10)
        counted.append(sum(layer.flops * (2 if layer.name == "conv" else 3) for layer in layers) * 16)
        assert sum(op.flops for op in ops) == counted[-1]
        for op in ops:
            assert 1e-3 * max(op.bytes, op.flops) <= op.roofline_us + 0.01 <= 1e-3 * (op.bytes + op.flops) + 0.02
        assert step.fastest_us <= step.step_us <= step.slowest_us
        assert (step.image, step.dataset, step.batch_size) == ("3x8x8", "synthetic", 16)
        assert step.parameters == sum(layer.parameters for layer in layers)
        assert step.least_bytes == roofline.least_bytes(subject.net, (3, 8, 8), 16, 4)
        kernels = [kernel for kernel in profile.kernels if kernel.net == step.net]
        assert sum(kernel.time_us for kernel in kernels) == pytest.approx(
            sum(op.time_us for op in ops), rel=0.01
        )  # 2 steps: means


def test_the_roofline_is_the_best_of_the_measurements(folder, monkeypatch):
    """A machine that is busy before the first net, and free later, has the roofline of the free one."""
    speeds = iter([1e6, 1e9, 1e6, 1e6, 1e6])
    monkeypatch.setattr(
        roofline, "measure", lambda _, name: Rate(precision=name, copy_bytes_per_s=(s := next(speeds)), flops_per_s=s)
    )
    monkeypatch.setattr("deeptwins.records.host.load", lambda: 1.25)

    profile = measure.profile(only(plans(["tiny"], ProfileOptions(), folder)), tiny.CPU, 1)

    assert profile.rates == (Rate(precision="fp32", copy_bytes_per_s=1e9, flops_per_s=1e9),)
    assert all(op.roofline_us <= 1e-3 * (op.bytes + op.flops) + 0.02 for op in profile.ops)
    assert profile.machine["load"] == 1.25


def test_a_network_sees_images_of_its_size(folder, rates):
    """Random images of the shape that was asked for stand in for a dataset; bf16 halves the activations' bytes."""
    asked = ProfileOptions(("width=4", "recipe.precision=bf16"), 4, (1, 12, 12))
    plan = only(plans(["cifar-plain-8"], asked, folder))

    profile = measure.profile(plan, tiny.CPU, 1)

    (step,) = profile.nets
    assert (rates, step.image, step.dataset) == (["bf16", "bf16"], "1x12x12", "random images")
    assert step.least_bytes == roofline.least_bytes(plan.subjects[0].net, (1, 12, 12), 4, 2)


def test_a_net_that_grows_is_profiled_grown(folder, rates):
    """What is profiled of a net that will be grown is the deep one."""
    grown = STUDY.replace('plain = { shortcut = "none" }', 'plain = { shortcut = "none", grown_from = 8 }')
    made.load(folder, grown.replace("[8, 14]", "14").replace("width", "grow_at = 5\nwidth"), "growing")

    profile = measure.profile(only(plans(["growing"], ProfileOptions(), folder)), tiny.CPU, 1)

    layers = {step.net: {op.layer for op in profile.ops if op.net == step.net} for step in profile.nets}
    assert "stages.2.1.conv2" in layers["cifar-14 plain"]


def test_a_step_that_is_replayed_is_timed_too(folder, dataset, monkeypatch):
    """On a GPU the step by the clock is an equal share of a replay, which here is a loop."""
    monkeypatch.setitem(lanes.STEPS, "cpu", 4)
    (subject,) = plans(["tiny"], ProfileOptions(), folder)[0].subjects[:1]
    spans = []
    monkeypatch.setattr(measure.clock, "timed", lambda step, _: spans.append(step()) or 4e-3)

    assert measure._replayed(subject, dataset, tiny.CPU, 3) == pytest.approx([1000.0] * 3)
    assert len(spans) == 3


@pytest.mark.gpu
def test_a_replayed_step_is_not_the_one_that_is_profiled(folder, rates):
    """On a GPU both are timed, and one that is issued kernel by kernel takes longer."""
    profile = measure.profile(only(plans(["cifar-plain-20"], ProfileOptions(), folder)), torch.device("cuda"), 3)

    (step,) = profile.nets
    assert step.fastest_us <= step.step_us <= step.slowest_us
    assert step.step_us < step.issued_us


CPU_FULL = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
GPU_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
FAULT = RuntimeError("CUDA error: an illegal memory access was encountered")


FULL = "cifar-plain-8: does not fit into memory; a smaller --batch may"


@pytest.mark.usefixtures("rates")
@pytest.mark.parametrize(
    ("raised", "refusal"),
    [(CPU_FULL, (InputError, FULL)), (GPU_FULL, (InputError, FULL)), (FAULT, (RuntimeError, "illegal memory access"))],
)
def test_a_full_memory_is_one_line(folder, monkeypatch, raised, refusal):
    """What does not fit into memory is told with what may help; a fault of memory is none that a user can mend."""

    def fails(*_, **__):
        raise raised

    monkeypatch.setattr(measure.training, "Training", fails)

    with pytest.raises(refusal[0], match=refusal[1]):
        measure.profile(only(plans(["cifar-plain-8"], ProfileOptions(batch=1), folder)), tiny.CPU, 1)


@pytest.mark.gpu
def test_a_net_is_profiled_on_a_gpu():
    """On a device a profile has its rates, what its kernels took, and steps that take longer than the least."""
    (plan,) = plans(["cifar-resnet-8"], ProfileOptions(batch=32))

    profile = measure.profile(plan, torch.device("cuda"), steps=2)

    (step,), (rate,) = profile.nets, profile.rates
    assert profile.kernels
    assert sum(kernel.time_us for kernel in profile.kernels) > 1e6 * step.least_bytes / rate.copy_bytes_per_s / 10
    assert step.step_us > 0
