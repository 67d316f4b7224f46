"""Nets: the papers' counts, and what makes twins twins."""

import pytest
import torch
import torchvision

from deeptwins import nets
from deeptwins.errors import InputError
from deeptwins.kernels import IMPLEMENTATIONS, BNReLUAdd, unavailable
from deeptwins.nets import blocks, inspection
from deeptwins.nets.families import FAMILIES
from deeptwins.nets.initialization import weights_sha256
from deeptwins.nets.shortcuts import SHORTCUTS
from deeptwins.specs import Net

NET = Net(family="cifar", depth=8, width=4)
PAPER = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018}  # parameters, 3 channels, 10 classes, shortcut A


def twins(family="cifar", depth=20, width=16, seed=0, channels=3):
    """Build a plain net and its residual twin."""
    return [
        nets.build(Net(family=family, depth=depth, width=width, shortcut=shortcut), channels, 10, seed)
        for shortcut in ("none", "zero-pad")
    ]


@pytest.mark.parametrize("depth", PAPER)
def test_counts_are_the_paper_s(depth):
    """Plain and residual twins of the CIFAR family have the paper's parameters and equal FLOPs."""
    plain = inspection.size(Net(family="cifar", depth=depth), (3, 32, 32), 10)
    residual = inspection.size(Net(family="cifar", depth=depth, shortcut="zero-pad"), (3, 32, 32), 10)

    assert plain == residual
    assert plain[0] == PAPER[depth]


def test_flops_of_resnet_20_by_hand():
    """The FLOPs of the CIFAR net of depth 20 are two a multiply-add: stem, three stages, linear map."""
    stages = 6 * 1024 * 16 * 16 * 9 + (256 * 16 * 32 + 5 * 256 * 32 * 32) * 9 + (64 * 32 * 64 + 5 * 64 * 64 * 64) * 9

    assert inspection.size(Net(family="cifar", depth=20), (3, 32, 32), 10)[1] == 2 * (1024 * 27 * 16 + stages + 640)


@pytest.mark.parametrize(("family", "depth"), [("cifar", 20), ("cifar", 56), ("imagenet", 18), ("imagenet", 34)])
def test_twins_start_equal(family, depth):
    """Twins have equal state_dicts, bit for bit, and so equal hashes."""
    plain, residual = twins(family, depth, width=4)

    assert plain.state_dict().keys() == residual.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), residual.state_dict().values(), strict=True)
    )
    assert weights_sha256(plain) == weights_sha256(residual)


def test_weights_are_a_function_of_seed_and_name():
    """What a net shares with a deeper one starts bit-identical; another seed, or another name, starts otherwise."""
    shallow, deep = twins(depth=20)[0].state_dict(), twins(depth=56)[0].state_dict()
    other = twins(depth=20, seed=1)[0].state_dict()

    assert all(torch.equal(tensor, deep[name]) for name, tensor in shallow.items())
    assert not torch.equal(shallow["conv.weight"], other["conv.weight"])
    assert not torch.equal(shallow["stages.0.0.conv1.weight"], shallow["stages.0.0.conv2.weight"])


def test_he_initialization_has_its_deviation():
    """A convolution's weights have mean 0 and standard deviation sqrt(2 / fan_in); BN starts as the identity."""
    net = twins(depth=56)[0]
    weight = net.stages[2][1].conv1.weight

    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert abs(weight.mean().item()) < 0.001
    assert torch.equal(net.bn.weight, torch.ones(16))
    assert torch.equal(net.bn.bias, torch.zeros(16))


def test_a_residual_block_adds_its_input():
    """A residual block's output is relu of the plain block's sum before the last ReLU, plus the input."""
    plain, residual = (blocks.BasicBlock(4, 4, 1, shortcut, "auto") for shortcut in ("none", "zero-pad"))
    residual.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    closing = plain.bn2.normalize(plain.conv2(plain.bn1(plain.conv1(x))))

    torch.testing.assert_close(plain((x, x)), (closing.relu(),) * 2)
    torch.testing.assert_close(residual((x, x)), ((closing + x).relu(),) * 2)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_net_is_made_of_the_fused_op_it_names(implementation):
    """All batch normalizations that end a layer are of the implementation that the net's field names."""
    net = nets.build(NET.model_copy(update={"fused_op": implementation}), 3, 10, seed=0)
    ends = [module for module in net.modules() if isinstance(module, BNReLUAdd)]

    assert len(ends) == 7
    assert {module.implementation for module in ends} == {implementation}
    spec = NET.model_copy(update={"fused_op": implementation})
    assert inspection.trace(spec, (3, 8, 8), 10) == inspection.trace(NET, (3, 8, 8), 10)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_the_fused_op_trains_the_same_net(shortcut):
    """With Triton's kernels a net has the gradients, and leaves the running statistics, of the eager one."""
    if reason := unavailable("triton", "cpu"):
        pytest.skip(reason)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    left = []
    for implementation in ("eager", "triton"):
        spec = NET.model_copy(update={"shortcut": shortcut, "fused_op": implementation})
        net = nets.build(spec, 3, 10, seed=0).to(memory_format=torch.channels_last)
        net(x).square().sum().backward()
        left.append({name: p.grad for name, p in net.named_parameters()} | dict(net.named_buffers()))

    eager, fused = left
    assert eager.keys() == fused.keys()
    for name, tensor in eager.items():
        torch.testing.assert_close(fused[name], tensor, rtol=1e-4, atol=1e-4 * tensor.abs().max().item(), msg=name)


def test_zero_pad_subsamples_and_pads():
    """Option A keeps every second pixel and adds channels of zeros at the end."""
    x = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)

    y = SHORTCUTS["zero-pad"](3, 5, 2)(x)

    assert torch.equal(y[:, :3], x[:, :, ::2, ::2])
    assert torch.equal(y[:, 3:], torch.zeros(2, 2, 2, 2))


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize(("family", "depth"), [("cifar", 8), ("imagenet", 18)])
def test_every_shortcut_trains_in_every_family(family, depth, shortcut):
    """Any family with any shortcut maps images to logits and gives every parameter a gradient."""
    net = nets.build(Net(family=family, depth=depth, width=4, shortcut=shortcut), 1, 10, 0)

    net(torch.randn(3, 1, 8, 8)).square().sum().backward()

    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_689_512), (34, 21_797_672)])
def test_resnet_equals_torchvision_s(depth, parameters):
    """The imagenet family computes what torchvision's ResNet computes, given its weights in the same order."""
    net, image, classes = inspection.named(f"resnet-{depth}")
    ours = nets.build(net, 3, classes, 0).eval().double()
    theirs = torchvision.models.get_model(f"resnet{depth}", weights=None).eval().double()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    assert inspection.size(net, image, classes)[0] == parameters
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 21}, r"depth = 21: family cifar has depths 6n\+2"),
        ({"depth": 2}, "depth = 2"),
        ({"family": "imagenet"}, "depth = 20: family imagenet has depths 18, 34"),
        ({"family": "vgg"}, "family = 'vgg': choose from cifar, imagenet"),
        ({"shortcut": "highway"}, "shortcut = 'highway': choose from none, zero-pad, projection"),
        ({"initialization": "zeros"}, "initialization = 'zeros': choose from he"),
    ],
)
def test_impossible_nets_are_refused(fields, message):
    """A net that no family has is refused with the field, the value and what is allowed."""
    with pytest.raises(ValueError, match=message):
        nets.check(Net(**{"family": "cifar", "depth": 20, **fields}))


def test_every_depth_of_the_cifar_family():
    """The CIFAR rule admits the depths 6n+2 and gives them 6n block layers, a stem and a linear map."""
    for depth in range(8, 1203, 6):
        assert 2 * sum(FAMILIES["cifar"](depth)) + 2 == depth


def test_trace_shows_the_classic_shapes():
    """The table of resnet-18 on 224x224 images ends its stages in the classic shapes."""
    layers = inspection.trace(*inspection.named("resnet-18"))
    shapes = list(dict.fromkeys(layer.output for layer in layers))

    assert shapes == [
        (64, 112, 112), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7), (512, 1, 1), (512,), (1000,),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["resnet", "resnet-19", "cifar-plain-21", "vgg-16", "cifar-resnet-99999", ""])
def test_unknown_networks_are_refused(name):
    """A name that means no net is refused."""
    with pytest.raises(InputError, match="no network"):
        inspection.named(name)


def test_small_images_are_refused():
    """An image without pixels ends in one line, not in a traceback."""
    net, _, classes = inspection.named("resnet-18")

    with pytest.raises(InputError, match="input 3x0x5"):
        inspection.trace(net, (3, 0, 5), classes)


def test_sizes_beyond_any_machine_are_refused():
    """A net too large to lay out is refused in one line."""
    net, image, _ = inspection.named("resnet-18")

    with pytest.raises(InputError, match="classes"):
        inspection.trace(net, image, 10**18)
