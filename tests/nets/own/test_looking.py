"""A look inside nets of one's own: all parameters and FLOPs are counted, and every layer and norm is measured."""

import math

import pytest
import torch
import torch.nn.functional as F

import own_nets
from deeptwins import nets
from deeptwins.nets import diagnostics, inspection

IMAGE = (3, 6, 10)


def batches(*sizes):
    """Make batches of images that are the same every time."""
    draw = torch.Generator().manual_seed(0)
    return [(torch.randn(n, *IMAGE, generator=draw), torch.arange(n) % 5) for n in sizes]


def look(net):
    """Look inside a net whose error is of no interest."""
    count = lambda: torch.tensor([8.0, 2.0, 4.0]).double()  # noqa: E731
    return list(diagnostics.look(net, batches(5, 3), batches(8, 8), count))


@pytest.mark.parametrize("name", ["small", "bare", "wrapped"])
def test_every_parameter_is_counted(name):
    """Layers and parts sum up to all parameters of a net, those that lie in no layer too."""
    net = own_nets.spec(name)
    whole = sum(parameter.numel() for parameter in nets.build(net, 3, 5, 0).parameters())

    assert inspection.size(net, IMAGE, 5)[0] == whole
    assert sum(part.parameters for part in inspection.parts(net, IMAGE, 5)) == whole


def test_products_outside_layers_are_counted():
    """FLOPs are those of all products: of linear maps and convolutions, and of attention, which belong to no layer."""
    tokens, width = 15, 8
    maps = 2 * tokens * width * 3 * 2 * 2 + 2 * tokens * width * 4 * width + 2 * width * 5
    products = 2 * 2 * tokens * tokens * width

    assert inspection.size(own_nets.spec("wrapped"), IMAGE, 5)[1] == maps + products
    rows = {layer.name: layer for layer in inspection.trace(own_nets.spec("wrapped"), IMAGE, 5)}
    assert rows["net.attention"].parameters == 4 * width * (width + 1)  # its output map is never called


def test_products_of_a_shared_module_are_its_own():
    """A module inside two others has the FLOPs of all its calls, and these none of them."""
    rows = {layer.name: layer.flops for layer in inspection.trace(own_nets.spec("shared"), IMAGE, 5)}

    assert rows == {"first.0": 2 * 2 * 3 * 3, "second.1": 2 * 3 * 5}


def test_a_net_consists_of_what_is_at_its_top():
    """One module alone is looked into; parts have the order in which they run, and the shape that leaves them last."""
    children = inspection.children(own_nets.spec("wrapped"), IMAGE, 5)
    assert [(child["name"], child["kind"], child["output"]) for child in children] == [
        ("body", "Conv2d, Flatten", [8, 15]),
        ("attention", "MultiheadAttention", [15, 8]),
        ("head", "Linear", [5]),
    ]
    small = [(child["name"], child["kind"]) for child in inspection.children(own_nets.spec(depth=3), IMAGE, 5)]
    assert ("convs", "3 Conv2d") in small
    itself = {"name": "the net itself", "kind": "Table", "output": [5], "parameters": 15}
    assert inspection.children(own_nets.spec("bare"), IMAGE, 5) == [itself]


def test_every_layer_and_norm_is_measured():
    """There is a record of each convolution and linear map: its norm's response where a norm takes its output."""
    net = nets.build(own_nets.spec(), 3, 5, 0)
    rows = look(net)
    layers = {row["name"]: row for row in rows if row["kind"] == "layer"}
    x = torch.cat([x for x, _ in batches(5, 3)])
    with torch.no_grad():
        net.eval()
        stem = net.stem(x)
        y = net.norms[1](net.convs[1](stem * net.gain + net.place))  # the first norm has a gamma of zero

    assert [row["layer"] for row in layers.values()] == [1, 2, 3, 4]
    assert [*layers] == ["stem", "convs.0", "convs.1", "head"]
    assert [row["kernel"] for row in layers.values()] == [3, 3, 3, None]
    assert layers["stem"]["response_std"] == pytest.approx(stem.std(correction=0).item(), rel=1e-3)
    assert layers["convs.0"]["response_std"] == 0
    assert layers["convs.1"]["response_std"] == pytest.approx(y.std(correction=0).item(), rel=1e-3)
    assert layers["convs.1"]["running_mean_error"] > 0
    assert layers["stem"]["running_mean_error"] is None
    assert [row["kind"] for row in rows if row["kind"] != "layer"] == ["precise"]
    assert net.norms[0].training is False


def test_gradients_are_those_of_all_layers_in_order():
    """There is one norm a convolution or linear map; none where a step left no gradient."""
    net = nets.build(own_nets.spec(), 3, 5, 0)
    assert diagnostics.gradient_norms(net) == [None] * 4

    (x, y), *_ = batches(8)
    F.cross_entropy(net(x), y).backward()
    norms = diagnostics.gradient_norms(net)

    assert norms[0] == pytest.approx(net.stem.weight.grad.norm().item(), rel=1e-3)
    assert norms[1] == 0  # behind a gamma of zero
    assert norms[3] == pytest.approx(net.head.weight.grad.norm().item(), rel=1e-3)
    assert all(math.isfinite(norm) for norm in norms)


def test_a_net_without_layers_leaves_nothing_to_measure():
    """Without a convolution, linear map or norm there are no records of what is inside, and no error."""
    net = nets.build(own_nets.spec("bare"), 3, 5, 0)

    assert look(net) == []
    assert diagnostics.gradient_norms(net) == []


def test_a_norm_that_no_layer_feeds_is_measured_too():
    """Its statistics stand with the next layer that has no norm of its own, each norm once."""
    net = nets.build(own_nets.spec("before"), 3, 5, 0)
    with torch.no_grad():
        net[0].running_mean.fill_(9.0)
    first, last = (row for row in look(net) if row["kind"] == "layer")

    assert (first["name"], last["name"]) == ("2", "6")
    assert 0 < first["running_mean_error"] < 2
    assert last["running_mean_error"] > 5
