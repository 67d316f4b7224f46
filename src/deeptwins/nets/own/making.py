"""Make a net of one's own: call the function that `family` names, and refuse what is no net."""

from __future__ import annotations

import hashlib
import inspect
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from deeptwins.errors import InputError, SpecError, choices
from deeptwins.study.specs import OF_OWN_NETS, Net
from deeptwins.system.importing import attribute, check_call, is_own, telling

IMAGES = 2  # that a net is tried on: what it returns must tell them apart
CALLED = ("channels", "classes", "depth", "width")
"""What the function is called with besides the options: two by place, two by name."""


def check(net: Net) -> None:
    """Check all of a net of one's own that can be told without making it.

    Raises:
        InputError: the function cannot be imported.
        SpecError: a field is of no use with it, or the function does not take an option.
    """
    for key, field in Net.model_fields.items():
        if key not in OF_OWN_NETS and (value := getattr(net, key)) != field.default:
            raise SpecError(f"{key} = {value!r}: of no use with a net of your own, family = {net.family!r}")
    if net.initialization != "he" and not is_own(net.initialization):
        raise SpecError(
            f"initialization = {net.initialization!r}: of no use with a net of your own, whose blocks are not known;"
            " leave it out, or name a function of your own"
        )
    _check_call(net, attribute(net.family))


def _check_call(net: Net, function: Callable[..., Any]) -> None:
    """Refuse what cannot be called, or not like this."""
    options = dict(net.options)
    if twice := [name for name in options if name in CALLED]:
        raise SpecError(f"options.{twice[0]}: given to every net of your own; use the field of a net, or another name")
    parameters: Mapping[str, inspect.Parameter] = {}
    with suppress(TypeError, ValueError):  # no function, or written in C
        parameters = inspect.signature(function).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {name for name, parameter in parameters.items() if parameter.kind in by_name} - {*CALLED}
    for name in options if parameters and inspect.Parameter.VAR_KEYWORD not in kinds else ():
        if name not in names:
            known = choices(names, name) if names else "it has none"
            raise SpecError(f"options.{name}: {net.family} has no such option; {known}")
    check_call(f"family = {net.family}", function, CALLED[:2], *CALLED[2:], *options)


def make(net: Net, channels: int, classes: int, seed: str) -> nn.Module:
    """Make a net of one's own on the CPU. Its draws depend on the seed alone, and advance no generator outside.

    Args:
        net: what it is.
        channels: of the input images.
        classes: how many outputs it has.
        seed: any text.

    Raises:
        InputError: the function fails, or what it returns cannot be trained.
    """
    function = attribute(net.family)
    with telling(net.family), _drawn_from(seed), _nan_in_new_memory():
        model = function(channels, classes, depth=net.depth, width=net.width, **_options(net))
        if isinstance(model, nn.Module):
            model.cpu()
    if not isinstance(model, nn.Module):
        raise InputError(f"{net.family}: returns {type(model).__name__}, and must return a torch.nn.Module")
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise InputError(
                f"{net.family}: the parameter {name} has no shape yet: give its layer the size of its input"
            )
        if parameter.dtype != torch.float32:
            raise InputError(f"{net.family}: the parameter {name} is of {parameter.dtype}; nets are trained in float32")
        if parameter.isnan().any():
            raise InputError(f"{net.family}: the parameter {name} has no values yet: fill it, as torch.nn.init does")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(f"{net.family}: has no parameter that can be trained")
    return model


def run(model: nn.Module, net: Net, image: tuple[int, int, int], classes: int, images: int = IMAGES) -> None:
    """Run a net of one's own on images (C, H, W) of noise; random generators outside are not advanced.

    Raises:
        InputError: it fails, or returns no logits.
    """
    with telling(net.family), _drawn_from("images"), layer_by_layer():
        logits = model(torch.randn(images, *image))
    returned, wanted = type(logits).__name__, (images, classes)
    if isinstance(logits, Tensor):
        returned = f"a tensor of {logits.dtype} of the shape {tuple(logits.shape)}"
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted or not logits.is_floating_point():
        mode = " in training mode" if model.training else ""
        raise InputError(
            f"{net.family}: for {images} images of {'x'.join(map(str, image))} its net{mode} returns {returned}, and"
            f" must return a tensor of the shape {wanted}, a number for each class"
        )


@lru_cache(maxsize=1024)
def check_training(net: Net, image: tuple[int, int, int], classes: int, images: int) -> None:
    """Run a net of one's own in training mode on so many images (C, H, W).

    Raises:
        InputError: it fails, or returns no logits.
    """
    run(make(net, image[0], classes, seed="one").train(), net, image, classes, images)


def _options(net: Net) -> dict[str, Any]:
    """Return the options as the study file has them."""
    return {name: [*value] if isinstance(value, tuple) else value for name, value in net.options}


@contextmanager
def _drawn_from(seed: str) -> Iterator[None]:
    """Let what is drawn inside depend on a seed alone, and all generators be afterwards as they were.

    What PyTorch draws depends on the operation, its arguments, and how often it was called with these, but not on what
    else was drawn: a layer that only one of two nets has does not change the draws of the others.
    """
    number = _digest(seed)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002  somebody may use it
    try:
        random.seed(number)
        np.random.seed(number % 2**32)  # noqa: NPY002
        with _Draws(seed):
            yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])  # noqa: NPY002


@contextmanager
def _nan_in_new_memory() -> Iterator[None]:
    """Fill what `torch.empty` gives with NaN: then it is no accident what a parameter holds that nobody has filled."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Compute attention by its layers and products instead of a fused kernel, so that these are seen and counted."""
    before = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _digest(text: str) -> int:
    """Make a number of 63 bits of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class _Draws(TorchDispatchMode):
    """Seeds PyTorch's generator anew before everything that is drawn."""

    def __init__(self, seed: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seed = seed
        self._drawn = Counter[str]()

    def __torch_dispatch__(  # types as PyTorch's own modes have them: none
        self,
        func: Any,  # noqa: ANN401
        _types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operation; one that draws first gets a seed of its own."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            shapes = [tuple(arg.shape) if isinstance(arg, Tensor) else arg for arg in args]
            what = f"{self._seed}/{func}/{shapes}"
            self._drawn[what] += 1
            torch.default_generator.manual_seed(_digest(f"{what}/{self._drawn[what]}"))
        return func(*args, **(kwargs or {}))
