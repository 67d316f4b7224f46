"""Families: the papers' and torchvision's nets, by count and by output."""

import pytest
import torch
import torchvision

from deeptwins.nets import inspection
from deeptwins.nets.families import FAMILIES, ResNet
from deeptwins.study.networks import named
from deeptwins.study.specs import Net
from nets_made import build, images, shaken, spec

# Parameters with 3 channels, 10 classes and parameter-free shortcuts; in millions as the papers print them.
CIFAR = {20: (269_722, 0.27), 32: (464_154, 0.46), 44: (658_586, 0.66), 56: (853_018, 0.85), 110: (1_727_962, 1.7)}
CIFAR |= {1202: (19_421_274, 19.4)}
BOTTLENECK = {164: (1_661_274, 1.7), 1001: (10_285_722, 10.2)}
TORCHVISION = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


def size(family, depth, **fields):
    """Parameters and FLOPs on 32x32 images."""
    return inspection.size(Net(family=family, depth=depth, **fields), (3, 32, 32), 10)


def parameters(family, depth, **fields):
    """Count the parameters of a net that has no memory."""
    with torch.device("meta"):
        net = ResNet(Net(family=family, depth=depth, **fields), 3, 10)
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("depth", CIFAR)
def test_counts_are_the_paper_s(depth):
    """The CIFAR family has the parameters of He et al. 2015, table 6."""
    exact, millions = CIFAR[depth]

    assert parameters("cifar", depth) == exact
    assert exact / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize("depth", [20, 56])
def test_twins_cost_the_same(depth):
    """Plain and residual twins of the CIFAR family have equal parameters and FLOPs."""
    plain = size("cifar", depth)

    assert plain == size("cifar", depth, shortcut="zero-pad")
    assert plain[0] == CIFAR[depth][0]


@pytest.mark.parametrize("depth", BOTTLENECK)
def test_bottleneck_counts_are_the_paper_s(depth):
    """Bottlenecks have the parameters of He et al. 2016, which prints 10.2 million where its own code makes 10.3."""
    exact, millions = BOTTLENECK[depth]

    for order in ("original", "full-pre-activation"):
        count = parameters("cifar-bottleneck", depth, shortcut="zero-pad", block_order=order)
        assert count == pytest.approx(exact, abs=600)  # the last norm's width is the last block's
        assert count / 1e6 == pytest.approx(millions, rel=0.025)


def test_parameters_of_resnet_164_by_hand():
    """Stem, three stages of 18 bottlenecks (1x1, 3x3, 1x1, each with its norm) and the linear map add up."""

    def bottleneck(channels_in, inner):
        return channels_in * inner + 9 * inner**2 + 4 * inner**2 + 2 * (inner + inner + 4 * inner)

    stages = sum(bottleneck(a, b) + 17 * bottleneck(4 * b, b) for a, b in ((16, 16), (64, 32), (128, 64)))

    assert parameters("cifar-bottleneck", 164, shortcut="zero-pad") == 27 * 16 + 32 + stages + 256 * 10 + 10


def test_flops_of_resnet_20_by_hand():
    """The FLOPs of the CIFAR net of depth 20 are two a multiply-add: stem, three stages, linear map."""
    stages = 6 * 1024 * 16 * 16 * 9 + (256 * 16 * 32 + 5 * 256 * 32 * 32) * 9 + (64 * 32 * 64 + 5 * 64 * 64 * 64) * 9

    assert size("cifar", 20)[1] == 2 * (1024 * 27 * 16 + stages + 640)


def test_every_depth_of_the_cifar_families():
    """The rules admit the depths 6n+2 from 8 to 1202, and 9n+2, and no others; all layers are in blocks but two."""
    for family, layers in (("cifar", 2), ("cifar-bottleneck", 3)):
        admitted = []
        for depth in range(1, 1300):
            try:
                layout = FAMILIES[family](depth)
            except ValueError:
                continue
            admitted.append(depth)
            assert layers * sum(layout.blocks) + 2 == depth
            assert layout.bottleneck == (layers == 3)
            assert len(set(layout.blocks)) == 1

        assert admitted == list(range(3 * layers + 2, 1203, 3 * layers))


def theirs_by_our_names(state):
    """Rename the entries of a torchvision ResNet's state_dict."""

    def name(key):
        first, *rest = key.split(".")
        if first.startswith("layer"):
            return ".".join(["stages", str(int(first[5:]) - 1), *rest]).replace("downsample", "shortcut")
        return ".".join([{"conv1": "conv", "bn1": "bn", "fc": "linear"}[first], *rest])

    return {name(key): value for key, value in state.items()}


@pytest.mark.parametrize("depth", TORCHVISION)
def test_resnets_have_torchvision_s_layers(depth):
    """A net has torchvision's parameters and running statistics, in its order, and so many parameters as it has."""
    net, image, classes = named(f"resnet-{depth}")
    with torch.device("meta"):
        ours, theirs = ResNet(net, image[0], classes), torchvision.models.get_model(f"resnet{depth}", weights=None)
    shapes = {key: tensor.shape for key, tensor in ours.state_dict().items()}

    assert shapes == {key: tensor.shape for key, tensor in theirs_by_our_names(theirs.state_dict()).items()}
    assert inspection.size(net, image, classes)[0] == TORCHVISION[depth]


@pytest.mark.parametrize("depth", [18, 50])  # what is deeper has no other layers
def test_resnets_are_torchvision_s(depth):
    """With torchvision's weights a net has its outputs, in evaluation and in training, and its gradients."""
    theirs = shaken(torchvision.models.get_model(f"resnet{depth}", weights=None, num_classes=5)).double()
    with torch.device("meta"):
        ours = ResNet(named(f"resnet-{depth}")[0], 3, 5)
    weights = {key: tensor.clone() for key, tensor in theirs_by_our_names(theirs.state_dict()).items()}
    ours.load_state_dict(weights, assign=True)
    x = images(2, size=40).double()

    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    y, expected = ours.train()(x), theirs.train()(x)
    torch.testing.assert_close(y, expected)
    for logits in (y, expected):
        (logits / logits.detach().norm()).square().sum().backward()
    gradients = theirs_by_our_names({name: p.grad for name, p in theirs.named_parameters()})
    torch.testing.assert_close({name: p.grad for name, p in ours.named_parameters()}, gradients)
    torch.testing.assert_close(ours.state_dict(), theirs_by_our_names(theirs.state_dict()))


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("family", FAMILIES)
def test_any_stem_channels_and_classes(family, stem):
    """Every family has both stems, and takes any number of channels and classes."""
    net = build(spec(family, stem=stem), channels=5, classes=3)

    assert net(images(2, channels=5, size=33)).shape == (2, 3)
    assert (net.conv.kernel_size, net.conv.stride) == (((3, 3), (1, 1)) if stem == "cifar" else ((7, 7), (2, 2)))
    assert (net.pool is None) == (stem == "cifar")
