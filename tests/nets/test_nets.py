"""Nets: what holds for every line of their tables, and for the worked examples of parts of one's own."""

import sys
from contextlib import nullcontext

import pytest
import torch

import fused
import made
from deeptwins import nets, study
from deeptwins.cli import app
from deeptwins.errors import InputError, SpecError
from deeptwins.kernels import IMPLEMENTATIONS, BNReLUAdd, unavailable
from deeptwins.nets import inspection
from deeptwins.nets.families import FAMILIES
from deeptwins.nets.initialization import weights_sha256
from deeptwins.study.specs import Net
from deeptwins.train import checks
from nets_made import EXAMPLES, LINES, NAMES, TABLES, build, images, possible, spec
from pairwise import label, pairwise, singly

NET = Net(family="cifar", depth=8, width=4)


every_line = pytest.mark.parametrize(("field", "name"), [*LINES, *EXAMPLES])
BUILT = list(possible(lambda case: spec(**case), family=FAMILIES, **NAMES))
every_line_once = pytest.mark.parametrize("fields", singly(BUILT), ids=label)
every_two_lines = pytest.mark.parametrize("fields", pairwise(BUILT), ids=label)


def test_the_documents_have_worked_examples():
    """The page on parts of one's own shows one of every kind that a net has."""
    assert {field for field, _ in EXAMPLES} == {*TABLES}


def test_every_line_is_in_a_net():
    """The nets that are built below have every family, every line of every table, and every worked example."""
    for field, names in {"family": FAMILIES, **NAMES}.items():
        assert {fields[field] for fields in BUILT} == {*names}


@every_two_lines
def test_shapes(fields):
    """Any family with any two lines of tables maps images of any channels to logits, in training and in evaluation."""
    net = build(spec(**fields), channels=2, classes=7)
    for training_mode in (True, False):
        logits = net.train(training_mode)(images(3, channels=2, size=9))

        assert logits.shape == (3, 7)
        assert logits.isfinite().all()


@every_line
def test_twins_start_equal(field, name):
    """What twins share starts bit-identical: across shortcuts, and with the plain twin but for the branches."""
    fields = {field: name}
    one = build(spec(**fields))
    twins = [build(spec(**{**fields, "shortcut": shortcut})) for shortcut in ("none", "zero-pad", "projections")]
    branches = {key for key, _ in one.named_parameters() if key.startswith("stages")}
    for twin in twins:
        plain = not twin.blocks[0][0].residual
        apart = branches if plain and field == "initialization" else set()
        others = twin.state_dict()
        shared = one.state_dict().keys() & others.keys()

        assert {"conv.weight", "linear.weight", "stages.0.0.conv1.weight"} <= shared
        assert [key for key in shared - apart if not torch.equal(one.state_dict()[key], others[key])] == []


def unreached(net):
    """Train a net for some steps; returns the names of the parameters that no gradient has reached."""
    reached = set()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)  # small: without norms some nets diverge
    for step in range(4):
        torch.manual_seed(step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(images()), torch.arange(8)).backward()
        optimizer.step()
        gradients = {key: p.grad for key, p in net.named_parameters() if p.grad is not None}
        assert all(gradient.isfinite().all() for gradient in gradients.values())
        reached |= {key for key, gradient in gradients.items() if gradient.any()}
    return {key for key, _ in net.named_parameters()} - reached


# Of small images all values are dropped before the end of eight blocks that each drop half of them.
LEARNING = [fields for fields in BUILT if (fields["family"], fields["shortcut"]) != ("imagenet", "dropout")]


@pytest.mark.parametrize("fields", pairwise(LEARNING), ids=label)
def test_a_gradient_reaches_every_parameter(fields):
    """In the first steps every parameter is moved; where branches start at 0, not all are in the first one."""
    assert unreached(build(spec(**fields))) == set()


@every_line_once
def test_every_parameter_is_counted(fields):
    """The number of parameters that is shown and recorded is that of the net."""
    net = spec(**fields)

    assert inspection.size(net, (3, 8, 8), 10)[0] == sum(p.numel() for p in build(net).parameters())


@every_line_once
def test_show(fields, monkeypatch, capsys):
    """`deeptwins show` shows every line of every table."""
    net = spec(**fields)
    changed = [f"--set={key}={value}" for key, value in net.model_dump(exclude_unset=True).items()]
    monkeypatch.setattr(sys, "argv", ["deeptwins", "show", "cifar-resnet-8", *changed])

    with pytest.raises(SystemExit) as end:
        app.main()

    assert end.value.code is None
    assert capsys.readouterr().out.splitlines()[-1].split()[1] == f"{sum(p.numel() for p in build(net).parameters()):,}"


def load(folder, fields):
    """Load a study whose only twin has these fields, as if it were to be run."""
    twin = ", ".join(f'{key} = "{value}"' for key, value in fields.items())
    grid = '[[vary]]\nfamily = "cifar"\ndepth = 8\nseed = 0\n'
    loaded = made.small(folder, twins=f"twin = {{ {twin} }}", grid=grid)
    for run in loaded.runs:
        checks.check(run, torch.device("cpu"))
    return loaded


@every_line
def test_a_study_may_name_it(tmp_path, field, name):
    """A study file that names it is accepted; one that misspells it is refused, and told what there is."""
    fields = {
        key: value for key, value in spec(**{field: name}).model_dump(exclude_unset=True).items() if key in TABLES
    }

    assert isinstance(load(tmp_path, fields), study.Study)
    ships = (field, name) in LINES
    error, told = (
        (SpecError, f"'{name}x': choose from .*{name}") if ships else (InputError, f".*mean {name.split(':')[1]}")
    )
    with pytest.raises(error, match=f"{field} = {told}"):
        load(tmp_path, {**fields, field: f"{name}x"})


def test_weights_are_a_function_of_seed_and_name():
    """What a net shares with a deeper one starts bit-identical; another seed, or another name, starts otherwise."""
    shallow, deep = (build(spec(depth=depth)).state_dict() for depth in (20, 56))
    other = build(spec(depth=20), seed=1).state_dict()

    assert all(torch.equal(tensor, deep[name]) for name, tensor in shallow.items())
    assert not torch.equal(shallow["conv.weight"], other["conv.weight"])
    assert not torch.equal(shallow["stages.0.0.conv1.weight"], shallow["stages.0.0.conv2.weight"])


@pytest.mark.parametrize(("family", "depth"), [("cifar", 20), ("cifar", 56), ("imagenet", 18), ("imagenet", 34)])
def test_plain_and_residual_twins_have_equal_hashes(family, depth):
    """With the parameter-free shortcut, twins have the same names, and so equal hashes."""
    plain, residual = (build(spec(family, depth, shortcut=shortcut)) for shortcut in ("none", "zero-pad"))

    assert weights_sha256(plain) == weights_sha256(residual)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_net_is_made_of_the_fused_op_it_names(implementation):
    """All batch normalizations that end a layer are of the implementation that the net's field names."""
    net = build(NET.model_copy(update={"fused_op": implementation}))
    ends = [module for module in net.modules() if isinstance(module, BNReLUAdd)]

    assert len(ends) == 7
    assert {module.implementation for module in ends} == {implementation}
    named = NET.model_copy(update={"fused_op": implementation})
    assert inspection.trace(named, (3, 8, 8), 10) == inspection.trace(NET, (3, 8, 8), 10)


FUSED = dict.fromkeys(spec(**{field: name}) for field, name in LINES if field in {"shortcut", "block_order"})


@pytest.mark.parametrize("described", FUSED, ids=lambda net: f"{net.shortcut}-{net.block_order}")
def test_the_fused_op_trains_the_same_net(described):
    """With Triton's kernels a net has the gradients, and leaves the running statistics, of the eager one."""
    if reason := unavailable("triton", "cpu"):
        pytest.skip(reason)
    x = images(3, size=5).to(memory_format=torch.channels_last)
    left = []
    for implementation in ("eager", "triton"):
        net = build(described.model_copy(update={"fused_op": implementation})).to(memory_format=torch.channels_last)
        torch.manual_seed(0)  # for dropout
        with fused.interpreted() if implementation == "triton" else nullcontext():
            net(x).square().sum().backward()
        left.append({name: p.grad for name, p in net.named_parameters()} | dict(net.named_buffers()))

    eager, by_triton = left
    assert eager.keys() == by_triton.keys()
    for key, tensor in eager.items():
        torch.testing.assert_close(by_triton[key], tensor, rtol=1e-4, atol=1e-4 * tensor.abs().max().item(), msg=key)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 21}, r"depth = 21: family cifar has depths 6n\+2 from 8 to 1202"),
        ({"depth": 2}, "depth = 2"),
        ({"depth": 1208}, "depth = 1208"),
        (
            {"family": "cifar-bottleneck", "depth": 8},
            r"depth = 8: family cifar-bottleneck has depths 9n\+2 from 11 to 1199",
        ),
        ({"family": "imagenet"}, "depth = 20: family imagenet has depths 18, 34, 50, 101, 152"),
        ({"family": "vgg"}, "family = 'vgg': choose from cifar, cifar-bottleneck, imagenet"),
        ({"shortcut": "highway"}, "shortcut = 'highway': choose from none, zero-pad, projection"),
        ({"block_order": "post"}, "block_order = 'post': choose from original, norm-after-addition"),
        ({"norm": "layer"}, "norm = 'layer': choose from batch, none, scalar"),
        ({"initialization": "zeros"}, "initialization = 'zeros': choose from he, zero-gamma"),
        ({"fused_op": "frob"}, "fused_op = 'frob': choose from auto, eager"),
        ({"initialization": "fixup"}, "initialization = 'fixup': needs norm = 'scalar'"),
        ({"initialization": "skipinit"}, "initialization = 'skipinit': needs norm = 'none' or 'scalar'"),
        (
            {"shortcut": "zero-pad", "block_order": "relu-before-addition", "initialization": "zero-gamma"},
            "initialization = 'zero-gamma': no block of the order 'relu-before-addition' learns",
        ),
        ({"survival": 0.5}, "survival = 0.5: without shortcuts"),
        ({"norm": "none", "norm_batch": 8}, "norm_batch = 8: needs norm = 'batch'"),
    ],
)
def test_impossible_nets_are_refused(fields, message):
    """A net that cannot be built is refused with the field, the value and what is allowed, in one line."""
    net = Net(**{"family": "cifar", "depth": 20, **fields})
    with pytest.raises(ValueError, match=message) as refused:
        nets.check(net)

    assert "\n" not in str(refused.value)
