"""Initial weights of nets of one's own: what is drawn at random is drawn anew, as a function of (seed, name).

A net is made twice, with different draws. Values on which both agree are left as its author made them; the others are
those that were drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from deeptwins.errors import InputError
from deeptwins.nets.initialization import INITIALIZATIONS, generator, he_normal
from deeptwins.nets.own.making import make
from deeptwins.study.specs import Net
from deeptwins.system.importing import is_own, telling

_REDRAWN = WeakKeyDictionary[nn.Module, tuple[str, ...]]()


def redrawn(model: nn.Module) -> tuple[str, ...]:
    """Name the parameters and buffers of a net of one's own whose values were drawn anew."""
    return _REDRAWN.get(model, ())


@torch.no_grad()
def build(net: Net, channels: int, classes: int, seed: int) -> nn.Module:
    """Make a net of one's own on the CPU, with the initial weights of this seed.

    Parameters that two nets share by name and shape start equal to the last bit, if their authors draw them alike. The
    net gets its input in PyTorch's usual order of memory (contiguous), also where batches are channels_last.

    Raises:
        InputError: the net cannot be made, or is another one each time.
    """
    one, other = (make(net, channels, classes, seed=text) for text in ("one", "other"))
    forms = [[(name, value.shape, value.dtype) for name, value in _values(model).items()] for model in (one, other)]
    if forms[0] != forms[1]:
        odd = next(form for form in [*forms[0], *forms[1]] if (form in forms[0]) != (form in forms[1]))
        raise InputError(f"{net.family}: makes another net each time: {odd[0]} is not the same; draw no shapes")
    names = _redraw_parameters(one, dict(other.named_parameters()), seed)
    drawn = [name for name, buffer in one.named_buffers() if not _same(buffer, other.get_buffer(name))]
    if drawn:
        third = make(net, channels, classes, seed=f"run {seed}")
        for name in drawn:
            one.get_buffer(name).copy_(third.get_buffer(name))
    if is_own(net.initialization):
        change: Callable[..., object] = INITIALIZATIONS[net.initialization].change
        with telling(net.initialization):
            change(one, seed)
    one.register_forward_pre_hook(_in_usual_order)
    _REDRAWN[one] = (*names, *drawn)
    return one


def _values(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _same(one: Tensor, other: Tensor) -> bool:
    """Tell whether two buffers have the same values; NaN is the same as NaN."""
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _redraw_parameters(model: nn.Module, others: dict[str, Tensor], seed: int) -> list[str]:
    """Draw the values anew that differ from those of another construction; name the parameters that have any."""
    names = []
    for name, parameter in model.named_parameters():
        drawn = parameter != others[name]
        if drawn.any():
            prefix, _, leaf = name.rpartition(".")
            fresh = torch.zeros(parameter.shape)  # which a bias stays
            if isinstance(model.get_submodule(prefix), nn.Conv2d | nn.Linear) and leaf == "weight":
                he_normal(fresh, generator(seed, name))
            elif leaf != "bias":
                fresh.normal_(*_drawn_like(parameter[drawn], others[name][drawn]), generator=generator(seed, name))
            parameter.copy_(torch.where(drawn, fresh, parameter))
            names.append(name)
    return names


def _drawn_like(*values: Tensor) -> tuple[float, float]:
    """Take mean and standard deviation of values that were drawn, to one digit; the mean is 0 unless it is large."""
    both = torch.std_mean(torch.cat(values).double(), correction=0)
    deviation, mean = (float(f"{value.item():.0e}") for value in both)
    return mean if abs(mean) > deviation / 2 else 0.0, deviation  # a scale that is drawn about 1 stays about 1


def _in_usual_order(_model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Put images into the order that `view` needs: those of batches lie channel by channel of each pixel."""
    return tuple(tensor.contiguous() for tensor in inputs)
