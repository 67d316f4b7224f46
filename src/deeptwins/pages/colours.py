"""Colours, lines and markers of figures: which of them mean a twin, a depth or a time, and which mean none of these.

`plain` and `residual` have a hue each, the same on every page, and nothing else ever has it. Depth and time are
ordered: they are shades of the page's own ink.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from deeptwins.study.networks import NAME

Shade = tuple[float, float, float, float]  # red, green, blue, opacity

INK = "#000000"  # stands for the page's own text colour, which an SVG calls currentColor; on paper it is black
PLAIN, RESIDUAL = "#d55e00", "#2580c8"
OWN = {"plain": PLAIN, "residual": RESIDUAL}
# Of four neighbours no two, and none and the two above, look alike to the colour-blind. All have a contrast of at least
# 3:1 with white and with GitHub's dark page.
OTHERS = ("#00a870", "#d070a8", "#7b24ff", "#9b4b6b")
CHANCE = "#8a8a8a"  # what chance alone makes, and the rest
KINDS = (*OTHERS, CHANCE)  # of what is no twin: kinds of work, implementations, devices
PASSES = {"forward": KINDS[0], "backward": KINDS[1]}
WORSE = "#d0435b"
DASHED = (0, (3, 1.5))
LINES = ("-", DASHED, (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
FAINTEST = 0.5  # opacity of ink: from there on its contrast is 3:1 on both pages


def of_twins(names: Iterable[Any]) -> dict[Any, str]:
    """Give each twin its hue: plain and residual theirs, the others the remaining ones in turn."""
    return {twin: style["color"] for twin, style in styles(names).items()}


def styles(names: Iterable[Any]) -> dict[Any, dict[str, Any]]:
    """Give each twin its hue and its line, which differs where a hue comes again."""
    return {
        twin: {"color": OTHERS[place % len(OTHERS)], "linestyle": LINES[place // len(OTHERS) % len(LINES)]}
        if place is not None
        else {"color": OWN[twin], "linestyle": LINES[0]}
        for twin, place in _others(names).items()
    }


def markers(names: Iterable[Any]) -> dict[Any, str]:
    """Give each twin its marker: plain and residual theirs, the others the remaining ones in turn."""
    own, rest = dict(zip(OWN, MARKERS, strict=False)), MARKERS[len(OWN) :]
    places = _others(names).items()
    return {twin: own[twin] if place is None else rest[place % len(rest)] for twin, place in places}


def _others(names: Iterable[Any]) -> dict[Any, int | None]:
    """Number the twins but plain and residual, which have None."""
    numbers = itertools.count()
    return {twin: None if twin in OWN else next(numbers) for twin in dict.fromkeys(names)}


def of_net(label: str) -> str | None:
    """Return the hue of a net in a profile: `cifar-plain-56`, or a study's `cifar-56 plain`; None of other twins."""
    name = label.partition(", ")[0].rpartition(" ")[2]
    network = NAME.fullmatch(name)
    return OWN.get({"plain": "plain", "resnet": "residual"}[network[2]] if network else name)


def of_kinds(names: Iterable[Any]) -> dict[Any, str]:
    """Give a colour to each of several things that are no twins, in order, over and over."""
    return {name: KINDS[i % len(KINDS)] for i, name in enumerate(dict.fromkeys(names))}


def ramp(values: Iterable[Any]) -> dict[Any, Shade]:
    """Give each depth or time, in order, a shade of ink: the first is the faintest."""
    ordered = list(dict.fromkeys(values))
    opacities = np.linspace(FAINTEST, 1.0, len(ordered)) if len(ordered) > 1 else [1.0]
    return {value: (0.0, 0.0, 0.0, round(float(a), 3)) for value, a in zip(ordered, opacities, strict=True)}
