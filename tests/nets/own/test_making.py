"""Making nets of one's own: each slip is one line that says what is wrong, before anything is trained."""

import pytest

import own_nets
from deeptwins import nets
from deeptwins.errors import InputError, SpecError
from deeptwins.nets import inspection
from deeptwins.nets.own import making
from deeptwins.study.specs import OF_OWN_NETS, Net

OTHERS = {
    "stem": "imagenet", "shortcut": "zero-pad", "gate_bias": -1.0, "block_order": "full-pre-activation",
    "norm": "none", "norm_batch": 4, "survival": 0.5, "grown_from": 1, "grown_with": "zero-pad", "fused_op": "eager",
}  # fmt: skip


@pytest.mark.parametrize("field", sorted(Net.model_fields.keys() - {*OF_OWN_NETS}))
def test_fields_of_the_nets_that_ship_are_refused(field):
    """A field that means nothing for a net of one's own is refused, whichever it is."""
    with pytest.raises(SpecError, match=f"^{field} = .*: of no use with a net of your own, family = 'own_nets:small'$"):
        nets.check(own_nets.spec(**{field: OTHERS[field]}))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (own_nets.spec(options={"skpi": True}), r"skpi: own_nets:small has no such option; did you mean skip\?$"),
        (own_nets.spec("bare", options={"skip": True}), "options.skip: own_nets:bare has no such option; it has none"),
        (own_nets.spec(options={"width": 3}), "options.width: given to every net of your own"),
        (own_nets.spec("one_digit"), r"called with \(channels, classes, depth=, width=\): .* \(.*own_nets.py:\d+\)$"),
        (own_nets.spec("__doc__"), "of the type str; it must be a function"),
        (own_nets.spec("smal"), "nothing of the name 'smal' in own_nets; did you mean small?"),
        (own_nets.spec(initialization="zero-gamma"), "initialization = 'zero-gamma': of no use with a net of your own"),
        (Net(family="cifar", depth=8, options={"skip": True}), "options: of no use with family = 'cifar'"),
    ],
)  # fmt: skip
def test_what_cannot_be_called_is_refused(net, message):
    """Unknown options, other parameters, and what is no function are told before anything is made."""
    with pytest.raises((SpecError, InputError), match=message) as caught:
        nets.check(net)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("make", r"own_nets:fails: KeyError: 2 \(.*own_nets.py:\d+\)"),
        ("exit", "own_nets:fails: ends Python"),
        ("dict", "own_nets:fails: returns dict, and must return a torch.nn.Module"),
        ("lazy", "the parameter linear.weight has no shape yet"),
        ("double", "the parameter linear.weight is of torch.float64"),
        ("unfilled", "the parameter scale has no values yet"),
        ("frozen", "has no parameter that can be trained"),
        ("another", r"makes another net each time: linear.weight is not the same"),
    ],
)
def test_what_is_no_net_is_refused(how, message):
    """What fails, or makes something that cannot be trained, is told in one line with the name of the function."""
    with pytest.raises(InputError, match=message) as caught:
        nets.build(own_nets.spec("fails", options={"how": how}), 3, 10, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("what", "returned"),
    [
        ("tuple", "tuple"),
        ("shape", r"a tensor of torch.float32 of the shape \(2, 9\)"),
        ("one", r"a tensor of torch.float32 of the shape \(1, 10\)"),
        ("int", r"a tensor of torch.int64 of the shape \(2, 10\)"),
    ],
)
def test_what_returns_no_logits_is_refused(what, returned, training):
    """A net must return a tensor of numbers, a row an image, in both modes; else what it returns is told."""
    net = own_nets.spec("returns", options={"what": what, "training": training})
    mode = " in training mode" if training else ""
    with pytest.raises(InputError, match=f"for 2 images of 3x6x10 its net{mode} returns {returned}, and must return"):
        making.check_training(net, (3, 6, 10), 10, 2) if training else inspection.trace(net, (3, 6, 10), 10)


def test_where_a_net_fails_is_told():
    """An error in its forward pass names the user's file and line."""
    with pytest.raises(InputError, match=r"^own_nets:fails: AttributeError: .*no_such_thing.* \(.*own_nets.py:\d+\)$"):
        inspection.trace(own_nets.spec("fails", options={"how": "run"}), (3, 6, 10), 10)
