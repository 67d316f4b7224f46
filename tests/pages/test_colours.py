"""Colours: what each means, that it means nothing else, and that everyone can tell them apart."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins.pages import colours

WHITE, DARK = "#ffffff", "#0d1117"
HUES = sorted({colours.PLAIN, colours.RESIDUAL, *colours.KINDS, colours.WORSE})
# How linear RGB looks to who lacks one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1).
BLIND = {
    "protan": [(0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)],
    "deutan": [(0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)],
}
XYZ = [(0.4339, 0.3762, 0.1899), (0.2127, 0.7152, 0.0722), (0.0178, 0.1095, 0.8727)]  # of linear RGB, white at 1
APART = 18  # in CIELAB: eight times what can just be seen
names = st.lists(st.sampled_from(["plain", "residual", *"abcdefghijkl"]), unique=True)


def linear(colour):
    """Linear RGB of a colour."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """The contrast of two colours as WCAG 2 defines it."""
    low, high = sorted(float(linear(colour) @ XYZ[1]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    """CIELAB of linear RGB."""
    xyz = np.array(XYZ) @ np.clip(rgb, 0, 1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(one, other, seen):
    """How far apart two colours look."""
    return float(np.linalg.norm(lab(seen @ linear(one)) - lab(seen @ linear(other))))


@given(names)
def test_plain_and_residual_look_the_same_everywhere(twins):
    """Whatever stands beside them and in whatever order: their hue, line and marker are theirs, and of no other."""
    hues, looks, markers = colours.of_twins(twins), colours.styles(twins), colours.markers(twins)
    own = {"plain": (colours.PLAIN, "-", "o"), "residual": (colours.RESIDUAL, "-", "s")}

    assert [*hues] == [*looks] == [*markers] == twins
    for twin in twins:
        look = (hues[twin], looks[twin]["linestyle"], markers[twin])
        if twin in own:
            assert look == own[twin]
        else:
            assert hues[twin] not in {colours.PLAIN, colours.RESIDUAL}
            assert markers[twin] not in {"o", "s"}
        assert looks[twin]["color"] == hues[twin]


@given(names)
def test_no_two_twins_look_alike(twins):
    """Of fourteen twins no two have the same hue and line; their markers differ where hues come again."""
    looks, markers = colours.styles(twins), colours.markers(twins)

    assert len({(look["color"], look["linestyle"]) for look in looks.values()}) == len(twins)
    assert len({(looks[twin]["color"], markers[twin]) for twin in twins}) == len(twins)


@pytest.mark.parametrize("blind", BLIND)
def test_the_colour_blind_tell_lines_apart(blind):
    """Of twelve twins beside plain and residual, lines that are not dashed differently differ in what is seen."""
    looks = colours.styles(["plain", "residual", *"abcdefghijkl"]).values()

    for one, other in combinations(looks, 2):
        if one["linestyle"] == other["linestyle"]:
            assert apart(one["color"], other["color"], np.array(BLIND[blind])) > APART


@pytest.mark.parametrize("colour", HUES)
def test_colours_stand_out_on_white_and_on_dark(colour):
    """Every line has a contrast of at least 3:1 (WCAG's bound for graphics) on a white and on a dark page."""
    assert contrast(colour, WHITE) >= 3
    assert contrast(colour, DARK) >= 3


@pytest.mark.parametrize(("page", "ink"), [(WHITE, "#1f2328"), (DARK, "#e6edf3"), (WHITE, "#000000")])
@pytest.mark.parametrize("number", [1, 2, 5, 30])
def test_depth_and_time_are_shades_of_ink(page, ink, number):
    """The later, the stronger, and never a hue; the faintest stands out from the page, the strongest is ink itself."""
    shades = [*colours.ramp(range(number)).values()]

    assert all(shade[:3] == (0, 0, 0) for shade in shades)
    assert all(one[3] < other[3] for one, other in pairwise(shades))
    assert shades[-1][3] == 1
    parts = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (ink, page)]
    faint = np.round(shades[0][3] * np.array(parts[0]) + (1 - shades[0][3]) * np.array(parts[1])).astype(int)
    assert contrast("#" + bytes(faint.tolist()).hex(), page) >= 3


def test_what_is_no_twin_never_has_a_twin_s_hue():
    """Kinds of work, passes, verdicts: none has that of plain or residual."""
    others = {*colours.KINDS, *colours.PASSES.values(), colours.CHANCE, colours.WORSE, colours.INK}

    assert not others & {colours.PLAIN, colours.RESIDUAL}


@pytest.mark.parametrize(
    ("net", "hue"),
    [
        ("cifar-plain-56", colours.PLAIN),
        ("cifar-bottleneck-resnet-164", colours.RESIDUAL),
        ("resnet-18", colours.RESIDUAL),
        ("plain-34, precision bf16", colours.PLAIN),
        ("cifar-56 residual", colours.RESIDUAL),
        ("cifar-56 plain, width 8", colours.PLAIN),
        ("cifar-56 plain-unnormalized", None),
        ("cifar-56 half", None),
    ],
)
def test_a_net_s_name_says_its_twin(net, hue):
    """Of a network by name, and of a twin by its own; other twins have no hue of their own."""
    assert colours.of_net(net) == hue
