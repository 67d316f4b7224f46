"""`convert`: which parts of a model become the fused operation, and that the model stays the same one."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torchvision import models
from torchvision.models import quantization, resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, Bottleneck

from deeptwins.kernels import BNReLUAdd, convert

BOUND = 1e-5  # of errors, as a share of the largest value: what docs/kernels.md states of the Triton kernels in fp32


def small(number=4, channels=3, size=32, dtype=torch.float32, device="cpu"):
    """Draw a few images."""
    generator = torch.Generator().manual_seed(number)
    images = torch.randn(number, channels, size, size, generator=generator, dtype=torch.float64)
    return images.to(device, dtype, memory_format=torch.channels_last)


def seeded(make, *arguments, **options):
    """Make a model with the same weights every time; its norms' are no ones and zeros, nor their statistics."""
    torch.manual_seed(0)
    model = make(*arguments, **options).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                    tensor.copy_(torch.rand_like(tensor) + 0.5)
    return model


def stage(make, channels, out):
    """Two thin blocks, as torchvision's ResNets have them: the first halves the image and has a projection."""
    wide = out * make.expansion
    projection = nn.Sequential(nn.Conv2d(channels, wide, 1, 2, bias=False), nn.BatchNorm2d(wide))
    return nn.Sequential(make(channels, out, 2, projection), make(wide, out))


def step(model, x):
    """Run a step: outputs, the gradients of x and of all parameters, and then all buffers."""
    model.zero_grad()
    x = x.clone().requires_grad_()
    y = model(x)
    direction = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(y.shape).to(y.device, y.dtype)
    y.backward(direction)
    gradients = {f"d {name}": parameter.grad for name, parameter in model.named_parameters()}
    return {"y": y.detach(), "dx": x.grad, **gradients, **dict(model.named_buffers())}


def errors(found, expected):
    """How far each tensor is from the expected one, as a share of its largest value."""
    return {name: ((found[name] - value).abs().max() / value.abs().max()).item() for name, value in expected.items()}


def count(model):
    """Count the fused operations of a model."""
    return sum(isinstance(module, BNReLUAdd) for module in model.modules())


def same(found, expected):
    """Whether all is equal to the last bit."""
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sites"), [("resnet18", 17), ("resnet50", 49)])
def test_a_resnet_stays_the_same_net(device, name, sites):
    """Outputs, gradients and running statistics remain: to the bit on a CPU, on a GPU as near to fp64 as before."""
    before = seeded(models.get_model, name, num_classes=5).to(device)
    converted = [convert(copy.deepcopy(before), fork=fork) for fork in (False, True)]
    assert [count(model) for model in converted] == [sites, sites]

    x = small(2) if device == "cpu" else small(8, size=64, device=device)
    for training in (True, False):
        if device == "cpu":
            expected = step(before.train(training), x)
            assert all(same(step(after.train(training), x), expected) for after in converted)
            continue
        exact = step(copy.deepcopy(before).double().train(training), x.double())
        eager, *fused = (errors(step(model.train(training), x), exact) for model in (before, *converted))
        assert max(error for found in fused for error in found.values()) < 4 * max(eager.values())


@pytest.mark.parametrize(("training", "fork"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize("make", [BasicBlock, Bottleneck])
def test_the_triton_kernels_compute_the_same_blocks(triton, device, make, training, fork):
    """With the kernels, outputs, gradients and running statistics are as near to fp64 as `BOUND` says."""
    before = seeded(stage, make, 8, 4).train(training).to(device)
    x = small(channels=8, size=8, device=device)
    expected = step(copy.deepcopy(before).double(), x.double())

    fused = step(convert(copy.deepcopy(before), fork=fork, implementation=triton), x)

    assert max(errors(fused, expected).values()) < BOUND


def test_state_dicts_fit_both_ways():
    """Keys and their order are those of before, and the tensors are the same objects: an optimizer goes on."""
    model = seeded(models.resnet18, num_classes=5)
    before, parameters = copy.deepcopy(model), [*model.parameters()]
    tensors = [*model.parameters(), *model.buffers()]

    assert convert(model) is model

    assert all(a is b for a, b in zip(tensors, [*model.parameters(), *model.buffers()], strict=True))
    assert [*model.state_dict()] == [*before.state_dict()]
    fresh = convert(models.resnet18(num_classes=5))
    fresh.load_state_dict(before.state_dict())
    before.load_state_dict(fresh.state_dict())
    optimizer = torch.optim.SGD(parameters, 0.1)
    step(model, small())
    optimizer.step()
    assert not torch.equal(model.layer1[0].bn1.weight, before.layer1[0].bn1.weight)


@pytest.mark.parametrize(
    ("make", "options", "sites"),
    [
        (models.resnext50_32x4d, {}, 49),
        (models.wide_resnet50_2, {"zero_init_residual": True}, 49),
        (models.resnet50, {"replace_stride_with_dilation": [False, True, True]}, 49),
        (lambda **options: IntermediateLayerGetter(models.resnet18(**options), {"layer4": "out"}), {}, 16),
    ],
)
def test_what_torchvision_makes_of_its_blocks_is_converted(make, options, sites):
    """Wide, grouped and dilated ones are, and blocks in other models, whose stem may be used in any way."""
    with torch.device("meta"):
        model = make(num_classes=5, **options)

    assert count(convert(model)) == sites


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_options_of_a_norm_are_kept(training):
    """So are frozen parameters, and a norm without weights, statistics or with a mean over all batches."""
    block = BasicBlock(4, 4, norm_layer=lambda n: nn.BatchNorm2d(n, 0.1, None, affine=False, track_running_stats=False))
    block.bn1 = nn.BatchNorm2d(4, momentum=None).train(training)
    block.bn1.weight.requires_grad_(requires_grad=False)
    before = copy.deepcopy(block)

    convert(block)

    x = small(channels=4)
    assert torch.equal(block(x), before(x))
    assert [block.bn1.training, block.bn1.momentum, block.bn1.weight.requires_grad] == [training, None, False]
    assert same(dict(block.named_buffers()), dict(before.named_buffers()))


def subclass(parent):
    """Derive a class from one of torchvision's without a forward of its own."""
    return type("Mine", (parent,), {})


def with_silu():
    """Make a block with another activation."""
    block = BasicBlock(4, 4)
    block.relu = nn.SiLU()
    return block


def patched(part=""):
    """Make a block whose own forward, or that of a part, was replaced."""
    block = BasicBlock(4, 4)
    block.get_submodule(part).forward = lambda x: x
    return block


REFUSED = {
    "no ResNet": (lambda: nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), "none of torchvision's ResNets in it"),
    "quantizable": (quantization.resnet18, "QuantizableResNet is not torchvision's own class"),
    "subclass": (lambda: subclass(BasicBlock)(4, 4), "Mine: Mine is not torchvision's own class"),
    "forward": (patched, "its forward is not torchvision's own"),
    "a norm's forward": (lambda: patched("bn2"), "the forward of its bn2 was replaced"),
    "norm": (lambda: Bottleneck(8, 2, norm_layer=nn.SyncBatchNorm), "its bn1 is SyncBatchNorm, .*BatchNorm2d"),
    "activation": (with_silu, "its relu is SiLU, and not PyTorch's ReLU"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_without_a_place_for_it_is_refused(name):
    """The message says what the first part that looks like one lacks."""
    make, message = REFUSED[name]
    with torch.device("meta"):
        model = make()
    parts = [*model.modules()]

    with pytest.raises(ValueError, match=f"has nothing to convert: .*{message}"):
        convert(model)

    assert [*model.modules()] == parts


def test_a_class_that_somebody_patched_is_refused(monkeypatch):
    """A forward that was put into torchvision's class is not torchvision's."""
    monkeypatch.setattr(BasicBlock, "forward", lambda self, x: x)

    with pytest.raises(ValueError, match="its forward is not torchvision's own"):
        convert(BasicBlock(4, 4))


def test_a_part_that_is_somebodys_own_stays_as_it_is():
    """A subclass of ResNet keeps its stem, and a block of its own class keeps all; the others are converted."""
    model = subclass(resnet.ResNet)(BasicBlock, [1, 1, 1, 1], num_classes=5)
    model.layer2[0] = subclass(BasicBlock)(64, 128, 2, model.layer2[0].downsample)
    before = copy.deepcopy(model)

    convert(model)

    assert count(model) == 6
    assert type(model.bn1) is nn.BatchNorm2d
    assert type(model.relu) is nn.ReLU
    assert type(model.layer2[0]).__name__ == "Mine"
    assert same(step(model, small()), step(before, small()))


@pytest.mark.parametrize("part", ["bn1", "relu", "layer2.0.bn2", "layer2.1.relu"])
@pytest.mark.parametrize("hook", ["register_forward_hook", "register_full_backward_hook", "_register_state_dict_hook"])
def test_a_hook_is_never_lost(part, hook):
    """A module that would go and has a hook is named, and nothing is converted; on other modules hooks stay."""
    with torch.device("meta"):
        model = models.resnet18()
    handle = getattr(model.get_submodule(part), hook)(lambda *arguments: None)

    with pytest.raises(ValueError, match=rf"ResNet\.{part} has a hook, which would be lost"):
        convert(model)
    assert count(model) == 0

    handle.remove()
    model.layer2[0].register_forward_hook(lambda *arguments: None)
    assert count(convert(model)) == 17
    assert len(model.layer2[0]._forward_hooks) == 1
    with pytest.raises(ValueError, match=r"layer2\.0 or the block behind it has a hook, which would see a pair"):
        convert(model, fork=True)


def test_what_somebody_put_into_a_part_is_kept():
    """Attributes, buffers and modules of one's own on a norm or a ReLU are there after the conversion."""
    model = BasicBlock(4, 4)
    mine = nn.Linear(1, 1)
    for part in (model.bn1, model.bn2, model.relu):
        part.note = "mine"
        part.head = mine
        part.register_buffer("seen", torch.ones(1), persistent=False)
    names = model.state_dict().keys()

    convert(model)

    for part in (model.bn1, model.bn2, model.relu):
        assert part.note == "mine"
        assert part.head is mine
        assert part.seen.item() == 1
    assert model.state_dict().keys() == names


def test_pairs_stay_inside_of_a_stage():
    """With `fork` a block hands on two outputs, a stage one; without it no block does, also after it was set."""
    model = convert(models.resnet18().eval(), fork=True)
    x = torch.zeros(1, 64, 8, 8)

    assert isinstance(model.layer1[0](x), tuple)
    assert isinstance(model.layer1(x), torch.Tensor)
    assert isinstance(convert(model).layer1[0](x), torch.Tensor)


def test_a_module_that_is_used_twice_gets_no_pair():
    """One object at two places of a stage stands between different modules."""
    block, drop = BasicBlock(4, 4), nn.Dropout()

    for stage in (nn.Sequential(block, block), nn.Sequential(drop, BasicBlock(4, 4), drop, BasicBlock(4, 4))):
        assert isinstance(convert(stage, fork=True)(small(channels=4)), torch.Tensor)


def test_twice_is_as_good_as_once():
    """A converted model is left as it is; of one that is converted in part, the rest is."""
    model = convert(models.resnet18())
    norms = [module for module in model.modules() if isinstance(module, BNReLUAdd)]

    assert all(a is b for a, b in zip(norms, [m for m in convert(model).modules() if m in norms], strict=True))
    model.layer4[1] = BasicBlock(512, 512)
    assert count(convert(model)) == 17


def test_an_unknown_implementation_changes_nothing():
    """It is refused by name before a part is replaced."""
    model = BasicBlock(4, 4)

    with pytest.raises(ValueError, match="implementation = 'cudnn': choose from auto, eager"):
        convert(model, implementation="cudnn")

    assert type(model) is BasicBlock
    assert count(model) == 0


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("fork", [False, True])
def test_a_converted_model_can_be_copied_saved_and_traced(fork):
    """Copies, pickles, and the graph of torch.fx compute the same; of a graph the operation is a node."""
    model = convert(seeded(stage, Bottleneck, 8, 4), fork=fork).eval()
    x = small(channels=8, size=8)
    expected = model(x)
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)

    copies = [
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),  # noqa: S301 - our own
        torch.load(saved, weights_only=False),
        torch.jit.trace(model, x[:2]),
        fx.symbolic_trace(model),
    ]

    assert all(torch.equal(other(x), expected) for other in copies)
    assert count(copies[-1]) == 6
    with pytest.raises(TypeError, match=r"torch\.jit\.script cannot compile BNReLUAdd: use torch\.compile"):
        torch.jit.script(model)


@pytest.mark.slow
def test_a_converted_model_is_one_graph_for_torch_compile():
    """Its forward is traced without a break, and gives the same."""
    model = convert(seeded(stage, BasicBlock, 8, 4), fork=True)
    compiled = torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)

    found, expected = step(compiled, small(channels=8, size=8)), step(model, small(channels=8, size=8))

    prefix = "_orig_mod."
    found = {name.replace(prefix, ""): value for name, value in found.items()}
    torch.testing.assert_close(found, expected)


def test_autocast_is_kept():
    """Under autocast the residual has the type of the layers, and the result is that of before."""
    before = seeded(stage, BasicBlock, 8, 4)
    after = convert(copy.deepcopy(before))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [model(small(channels=8, size=8)) for model in (before, after)]

    assert outputs[1].dtype == outputs[0].dtype
    torch.testing.assert_close(*outputs)
    assert F.mse_loss(*outputs) < 1e-3
