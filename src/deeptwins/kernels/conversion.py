"""`convert`: batch normalization, addition and ReLU of torchvision's ResNets become the fused operation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, TypeVar

from torch import nn
from torchvision.models import resnet
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from deeptwins.kernels.bn_relu_add.definition import BNReLUAdd

Model = TypeVar("Model", bound=nn.Module)


class Fused(nn.Module):
    """The forward of a block whose norms are `BNReLUAdd`."""

    depth: ClassVar[int]
    """Its convolutions, each with its norm."""
    downsample: nn.Module | None
    pair_in = False
    """Whether x comes twice, for its two uses here, from the block before."""
    pair_out = False
    """Whether y leaves twice."""

    def forward(self, x: Any) -> Any:  # noqa: ANN401 - a tensor, a pair of them, or what torch.fx traces
        """Compute the block: x (N, C_in, H, W) -> y (N, C_out, H / stride, W / stride)."""
        out, again = x if self.pair_in else (x, x)
        for i in range(1, self.depth):
            out = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(out))
        out = getattr(self, f"conv{self.depth}")(out)
        identity = again if self.downsample is None else self.downsample(again)
        return getattr(self, f"bn{self.depth}")(out, identity, fork=self.pair_out)


class FusedBasicBlock(Fused, BasicBlock):  # type: ignore[misc]  # torchvision has no types
    """torchvision's `BasicBlock`, fused."""

    depth = 2


class FusedBottleneck(Fused, Bottleneck):  # type: ignore[misc]
    """torchvision's `Bottleneck`, fused."""

    depth = 3


FUSED: dict[type[nn.Module], type[Fused]] = {BasicBlock: FusedBasicBlock, Bottleneck: FusedBottleneck}
"""By torchvision's class."""


@dataclass(frozen=True)
class Candidate:
    """A module in which norms are followed by ReLUs: a block, or a net, for its stem."""

    name: str
    module: nn.Module

    @property
    def norms(self) -> list[str]:
        """The names of its norms."""
        depth = FUSED[type(self.module)].depth if type(self.module) in FUSED else 1
        return [f"bn{i}" for i in range(1, depth + 1)]

    @property
    def obstacle(self) -> str | None:
        """Why it cannot be converted; None if it can."""
        own = type(self.module)
        if own not in (*FUSED, ResNet):
            return f"{own.__name__} is not torchvision's own class"
        methods = [method for method in ("forward", "_forward_impl") if hasattr(own, method)]
        replaced = not vars(self.module).keys().isdisjoint(methods)
        if replaced or any(getattr(own, method).__globals__ is not vars(resnet) for method in methods):
            return "its forward is not torchvision's own"
        for name, expected in {**dict.fromkeys(self.norms, nn.BatchNorm2d), "relu": nn.ReLU}.items():
            part = getattr(self.module, name)
            if "forward" in vars(part):
                return f"the forward of its {name} was replaced"
            if type(part) is not expected:
                return f"its {name} is {type(part).__name__}, and not PyTorch's {expected.__name__}"
        return None

    def check_hooks(self) -> None:
        """Refuse to drop what somebody hung on a norm or a ReLU.

        Raises:
            ValueError: a module that would go has a hook.
        """
        for name in (*self.norms, "relu"):
            if _hooked(getattr(self.module, name)):
                raise ValueError(f"{self.name}.{name} has a hook, which would be lost: remove it, then convert")

    def fused(self, implementation: str) -> dict[str, nn.Module]:
        """Make what takes the place of its parts, by their names."""
        return {name: _fused(getattr(self.module, name), implementation) for name in self.norms} | {
            "relu": _with_all_of(self.module.get_submodule("relu"), nn.Identity())
        }


def convert(model: Model, *, fork: bool = False, implementation: str = "auto") -> Model:
    """Put the fused operation into every ResNet of torchvision's that a model has. The model is changed in place.

    Converted are `BasicBlock`, `Bottleneck` and the stem of `ResNet`, where they are torchvision's own classes with
    `nn.BatchNorm2d` and `nn.ReLU`: all of ResNet, ResNeXt and Wide ResNet, and the blocks in models of detection and
    segmentation. All else is left as it is: subclasses, which may use their parts in another way, replaced forwards,
    other norms and activations, quantizable blocks. Parameters, buffers and attributes of your own remain the same
    objects under the same names, so state_dicts fit both ways and an optimizer goes on. The ReLUs, which have nothing
    left to do, become `nn.Identity`. In a model that was converted before, only `fork` is set anew.

    Outputs, gradients and running statistics remain the same: to the bit with the implementation `eager`, else to
    within rounding; docs/kernels.md has the bound. Convert before `torch.compile`, DDP or tracing.

    Args:
        model: the model, or a block of one.
        fork: let a block hand its output on twice inside of a stage, where its backward kernel then sums both
            gradients, at a third of the cost of autograd's own sum. Such a block returns a pair: hooks and feature
            extractors between the blocks of a stage see it. Stages return tensors, as before.
        implementation: a name from `deeptwins.kernels.IMPLEMENTATIONS`, or `auto`.

    Returns:
        The model itself.

    Raises:
        ValueError: there is nothing to convert, somebody's hook would be lost or see a pair, or the implementation
            does not exist. The model is then as it was.
    """
    root = type(model).__name__
    found = [
        Candidate(f"{root}.{name}" if name else root, module)
        for name, module in model.named_modules()
        if isinstance(module, (ResNet, BasicBlock, Bottleneck)) and not _converted(module)
    ]
    chosen = [candidate for candidate in found if candidate.obstacle is None]
    fused = [module for module in model.modules() if isinstance(module, Fused)]
    if not chosen and not fused:
        why = f"{found[0].name}: {found[0].obstacle}" if found else "there is none of torchvision's ResNets in it"
        raise ValueError(f"{root} has nothing to convert: {why}")
    for candidate in chosen:
        candidate.check_hooks()
    pairs = _pairs(model, {*(candidate.module for candidate in chosen), *fused}) if fork else []
    parts = [(candidate.module, candidate.fused(implementation)) for candidate in chosen]
    # All is checked: from here on nothing fails.
    for module, replacements in parts:
        for name, replacement in replacements.items():
            setattr(module, name, replacement)
        module.__class__ = FUSED.get(type(module), type(module))
    for module in model.modules():
        if isinstance(module, Fused):
            module.pair_in = module.pair_out = False
    for giver, taker in pairs:
        giver.pair_out = taker.pair_in = True
    return model


def _converted(module: nn.Module) -> bool:
    return isinstance(module, Fused) or isinstance(getattr(module, "bn1", None), BNReLUAdd)


def _fused(norm: nn.BatchNorm2d, implementation: str) -> BNReLUAdd:
    """Make the operation of a norm, from the same parameters and buffers."""
    fused = BNReLUAdd(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, "meta",
        implementation=implementation,
    )  # fmt: skip
    return _with_all_of(norm, fused)


def _with_all_of(old: nn.Module, new: Model) -> Model:
    """Hand on what a module holds: parameters and buffers, also those that are None, and what somebody put into it."""
    for name, value in vars(old).items():
        if isinstance(value, (dict, set)) and name in vars(new):
            vars(new)[name].update(value)
        elif name not in {"eps", "inplace"}:  # `BNReLUAdd` has the first as its epsilon; nothing is left of a ReLU
            vars(new)[name] = value
    return new


def _hooked(module: nn.Module) -> bool:
    return any(hooks for name, hooks in vars(module).items() if name.endswith("_hooks"))


def _pairs(model: nn.Module, blocks: set[nn.Module]) -> list[tuple[Any, Any]]:
    """List which block may hand its output twice to which: its only use is then by that block.

    Raises:
        ValueError: somebody's hook would see a pair.
    """
    uses = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    pairs = []
    for name, stage in model.named_modules():
        if type(stage) is nn.Sequential and "forward" not in vars(stage):
            pairs += [
                (f"{name}.{i}".lstrip("."), giver, taker)
                for (i, giver), (_, taker) in pairwise(enumerate(stage))
                if {giver, taker} <= blocks and uses[id(giver)] == uses[id(taker)] == 1
            ]
    for name, *both in pairs:
        if any(map(_hooked, both)):
            raise ValueError(f"{name} or the block behind it has a hook, which would see a pair: leave out fork=True")
    return [(giver, taker) for _, giver, taker in pairs]
