"""The nets of docs/nets.md: what the document shows works, as it stands there."""

import re
import sys

import pytest
import torch
import torch.nn.functional as F

from deeptwins import nets, study
from deeptwins.nets import diagnostics, inspection
from deeptwins.nets.own import making
from deeptwins.study.specs import Net
from places import ROOT

TEXT = ROOT.joinpath("docs/nets.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """Write the document's modules and studies into a folder, and work there."""
    for name, code in re.findall(r"In the module `mynets\.(\w+)`.*?```python\n(.*?)```", TEXT, re.DOTALL):
        path = tmp_path / "mynets" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    for name, text in re.findall(r"`([\w-]+\.toml)`.*?```toml\n(.*?)```", TEXT, re.DOTALL):
        tmp_path.joinpath(name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for module in [module for module in sys.modules if module.split(".")[0] == "mynets"]:
        del sys.modules[module]


def net(module, depth, **options):
    """Describe a net of the document."""
    return Net(family=f"mynets.{module}:make", depth=depth, width=32, options=options)


def stepped(model, image, classes=10):
    """Take a step's gradients."""
    x = torch.randn(4, *image, generator=torch.Generator().manual_seed(0))
    loss = F.cross_entropy(model.train()(x), torch.arange(4) % classes)
    loss.backward()
    return loss.item(), diagnostics.gradient_norms(model)


def shared(one, other):
    """The parameters and buffers that two nets share by name and shape; they must be equal."""
    both = {
        k for k, v in one.state_dict().items() if k in other.state_dict() and v.shape == other.state_dict()[k].shape
    }
    assert all(torch.equal(one.state_dict()[key], other.state_dict()[key]) for key in both)
    return both


def test_the_transformer_has_twins(package):
    """The study of the document is read, its nets are checked and run, and its twins start equal in every parameter."""
    runs = study.load(package / "residual-path.toml").runs
    plain, residual = (runs[0].twins[name] for name in ("plain", "residual"))
    for twin in (plain, residual):
        nets.check(twin)
        making.check_training(twin, (1, 8, 8), 10, 2)
        assert [child["name"] for child in inspection.children(twin, (1, 8, 8), 10)] == [
            "patch",
            "blocks",
            "norm",
            "head",
        ]
    one, other = nets.build(plain, 1, 10, 0), nets.build(residual, 1, 10, 0)

    assert shared(one, other) == one.state_dict().keys() == other.state_dict().keys()
    assert stepped(one, (1, 8, 8))[0] != stepped(other, (1, 8, 8))[0]


def test_torchvisions_net_has_a_twin_without_shortcuts():
    """ResNet-18 and the same net without its shortcuts share all but the projections, and compute something else."""
    one, other = (nets.build(net("vision", 18, skip=skip), 1, 10, 0) for skip in (True, False))
    both = shared(one, other)

    assert {key.split(".")[2] for key in one.state_dict().keys() - both} == {"downsample"}
    assert both == other.state_dict().keys()
    losses, norms = zip(*(stepped(model, (1, 8, 8)) for model in (one, other)), strict=True)
    assert losses[0] != losses[1]
    assert [len(some) for some in norms] == [21, 18]
    assert None not in norms[0] + norms[1]


def test_timms_net_has_a_twin_with_squeeze_and_excitation():
    """A net of timm and the same with SE share all that both have; zero gammas are left as timm made them."""
    pytest.importorskip("timm", reason="needs timm")
    one, other = (nets.build(net("timms", 10, **options), 1, 10, 0) for options in ({}, {"attention": "se"}))
    both = shared(one, other)

    assert both == one.state_dict().keys()
    assert {key.split(".")[2] for key in other.state_dict().keys() - both} == {"se"}
    assert any(not norm.weight.any() for norm in diagnostics.batch_norms(one).values())
    losses, norms = zip(*(stepped(model, (1, 32, 32)) for model in (one, other)), strict=True)
    assert losses[0] == losses[1]  # as all branches start at zero
    assert len(norms[0]) < len(norms[1])
