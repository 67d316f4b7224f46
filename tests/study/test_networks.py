"""Networks by name: the nets that names mean, and the settings that change them."""

import pytest

from deeptwins.errors import InputError
from deeptwins.study import networks


@pytest.mark.parametrize(
    ("name", "fields", "usual"),
    [
        ("resnet-18", ("imagenet", 18, 64, "imagenet", "projection"), ((3, 224, 224), 1000)),
        ("plain-34", ("imagenet", 34, 64, "imagenet", "none"), ((3, 224, 224), 1000)),
        ("cifar-resnet-164", ("cifar", 164, 16, "cifar", "zero-pad"), ((3, 32, 32), 10)),
        ("cifar-plain-1202", ("cifar", 1202, 16, "cifar", "none"), ((3, 32, 32), 10)),
        ("cifar-bottleneck-resnet-164", ("cifar-bottleneck", 164, 16, "cifar", "zero-pad"), ((3, 32, 32), 10)),
        ("cifar-bottleneck-plain-1001", ("cifar-bottleneck", 1001, 16, "cifar", "none"), ((3, 32, 32), 10)),
    ],
)
def test_names_mean_the_papers_nets(name, fields, usual):
    """A name says family and depth, and means the papers' width, stem, shortcut, image and classes."""
    net, *rest = networks.named(name)

    assert (net.family, net.depth, net.width, net.stem, net.shortcut) == fields
    assert tuple(rest) == usual


@pytest.mark.parametrize("name", ["resnet", "vgg-16", "cifar-resnet-99999", ""])
def test_unknown_networks_are_refused(name):
    """A name of another form means no net, and is refused with names that do."""
    with pytest.raises(InputError, match=r"no network .*: write resnet-18, "):
        networks.named(name)


def test_settings_are_fields_of_a_net():
    """Every field can be set, with the types that a study file has; what is not set stays."""
    settings = ("shortcut=gate", "gate_bias=-6.0", "norm_batch=32", 'stem="imagenet"', "survival=0.5")
    net, _, _ = networks.named("cifar-resnet-20", settings)

    assert (net.shortcut, net.gate_bias, net.norm_batch, net.stem, net.survival) == ("gate", -6.0, 32, "imagenet", 0.5)
    assert (net.family, net.depth, net.width) == ("cifar", 20, 16)
