"""Inspection: networks that can be built, layer by layer, part by part, stage by stage."""

import pytest

from deeptwins import nets, study
from deeptwins.errors import InputError
from deeptwins.nets import inspection
from deeptwins.study import networks
from nets_made import smallest, spec
from pairwise import cross, label, singly
from places import ROOT


@pytest.mark.parametrize("name", networks.EXAMPLES)
def test_the_names_that_are_suggested_exist(name):
    """What a refusal tells a user to write is a net."""
    inspection.check_named(name, networks.named(name)[0])


def test_a_depth_of_no_family_is_refused_with_the_rule():
    """A depth that no family has is refused with the depths that the named one has."""
    with pytest.raises(InputError, match=r"cifar has depths 6n\+2 from 8 to 1202$"):
        inspection.check_named("cifar-resnet-21", networks.named("cifar-resnet-21")[0])


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("cifar-resnet-1001", "cifar-bottleneck-resnet-1001"),
        ("plain-56", "cifar-plain-56 and cifar-bottleneck-plain-56"),
        ("cifar-plain-101", "cifar-bottleneck-plain-101 and plain-101"),
    ],
)
def test_a_depth_of_another_family_is_pointed_to(name, others):
    """Who asks for a depth that the family has not is told of the nets that have it."""
    with pytest.raises(InputError, match=f"; there is {others}$"):
        inspection.check_named(name, networks.named(name)[0])


@pytest.mark.parametrize("name", ["resnet-19", "cifar-plain-21"])
def test_networks_that_no_family_has_are_refused(name):
    """A name whose depth no family has is refused."""
    with pytest.raises(InputError, match=f'no network "{name}": '):
        inspection.check_named(name, networks.named(name)[0])


def test_every_net_of_a_study_can_be_shown():
    """Any net that a study in ablations/ names can be built, and is traced: at the least depth, to save time."""
    paths = sorted(ROOT.glob("ablations/*.toml"))
    assert paths
    named = {net for path in paths for run in study.load(path).runs for net in run.twins.values()}
    for net in named:
        nets.check(net)
    of_papers = {
        net.model_copy(update={"depth": smallest(net.family), "grown_from": None}) for net in named if not net.is_own
    }
    for net in of_papers | {net for net in named if net.is_own}:
        assert inspection.parts(net, (1, 32, 32), 10)[-1].output == (10,)


def test_parts_sum_up_layers():
    """The parts of a net have all its layers, each with the output of the last of its own."""
    net = spec(depth=14, block_order="full-pre-activation", shortcut="projections", stem="imagenet")
    layers = inspection.trace(net, (3, 32, 32), 7)

    parts = inspection.parts(net, (3, 32, 32), 7)

    assert [part.name for part in parts] == [
        "stem", "stage 1", "stage 2", "stage 3", "last norm", "average pooling", "flatten", "linear"
    ]  # fmt: skip
    assert [part.output for part in parts] == [
        (4, 8, 8), (4, 8, 8), (8, 4, 4), (16, 2, 2), (16, 2, 2), (16, 1, 1), (16,), (7,)
    ]  # fmt: skip
    assert parts[2].kind == "2 blocks of 2 layers"
    assert parts[0].kind == "Conv2d, BatchNorm, MaxPool2d"
    for what in ("parameters", "flops"):
        assert sum(getattr(part, what) for part in parts) == sum(getattr(layer, what) for layer in layers)


STAGES = singly(
    cross(
        order=("original", "full-pre-activation", "norm-after-addition"),
        shortcut=("none", "zero-pad", "gate", "projections"),
    )
)


@pytest.mark.parametrize("case", STAGES, ids=label)
def test_stages_are_described(case):
    """A run's header tells blocks, layers of a block and output of each stage."""
    fields = {"shortcut": case["shortcut"], "block_order": case["order"]}
    basic, bottleneck = spec(depth=20, **fields), spec("imagenet", 50, **fields)

    assert inspection.stages(basic, (3, 32, 32), 10) == [
        {"blocks": 3, "layers": 2, "output": [4 * 2**i, 32 // 2**i, 32 // 2**i]} for i in range(3)
    ]
    assert inspection.stages(bottleneck, (3, 32, 32), 10) == [
        {"blocks": n, "layers": 3, "output": [16 * 2**i, 32 // 2**i, 32 // 2**i]} for i, n in enumerate((3, 4, 6, 3))
    ]


def test_small_images_are_refused():
    """An image without pixels ends in one line, not in a traceback."""
    net, _, classes = networks.named("resnet-18")

    with pytest.raises(InputError, match="input 3x0x5"):
        inspection.trace(net, (3, 0, 5), classes)


def test_sizes_beyond_any_machine_are_refused():
    """A net too large to lay out is refused in one line."""
    net, image, _ = networks.named("resnet-18")

    with pytest.raises(InputError, match="classes"):
        inspection.trace(net, image, 10**18)
