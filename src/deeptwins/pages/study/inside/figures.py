"""From what was found inside the nets to figures; none computes a number that the text prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from deeptwins.findings.inside import EVALUATIONS
from deeptwins.pages.drawing import (
    HUES,
    Panels,
    headings,
    legend,
    name_x_once,
    one_depth,
    palette,
    panels,
    share_axis,
    styled,
    styles,
)

RESPONSES = {"in order": ("layer", "response_std"), "ranked": ("rank", "response_std")}
# From blue by grey to orange, which the colour-blind see, too; and the later the evaluation, the longer the dashes.
TIMES = (HUES[1], HUES[4], HUES[0])
DASHES: tuple[Any, ...] = ((0, (1, 1)), (0, (2.5, 1.2)), (0, (5, 1.2)), (0, (9, 1.2)), "-")
LENGTH_NOTE = "the deeper a net, the longer and thicker its line"
SPREAD = 30.0  # largest by least value, from which on a linear axis would lay the least on the floor
STATISTICS = {"mean": ("layer", "running_mean_error"), "standard deviation": ("layer", "running_std_error")}


def layer_responses(responses: pd.DataFrame) -> Figure:
    """Draw the response of each 3x3 layer, in order and ranked: two panels a family, a line a net."""
    table = _sides(responses, RESPONSES)
    with styled():
        figure, axes = panels(table["panel"], columns=len(RESPONSES), height=2.4)
        _value_axis(axes, table["value"].to_numpy(float))
        _draw_nets(figure, axes, table)
        _number(axes, "layer")
        figure.supylabel("standard deviation")
    return figure


def branches(branches: pd.DataFrame) -> Figure:
    """Draw the share of each block's branch: a panel a family, a line a net."""
    table = branches.assign(panel=branches["group"], place=branches["block"], value=branches["branch_share"])
    with styled():
        figure, axes = panels(table["panel"])
        _value_axis(axes, table["value"].to_numpy(float))
        _draw_nets(figure, axes, table)
        _number(axes, "block")
        figure.supylabel("||F(x)|| / ||x||")
    return figure


def gradients(gradients: pd.DataFrame) -> Figure:
    """Draw the gradient norm of each layer of the deepest nets: a panel a family and twin, a line an evaluation."""
    table = gradients.assign(panel=headings(gradients, "group", "depth", "twin"))
    shown = [name for name in EVALUATIONS if name in set(table["evaluation"])]
    with styled():
        figure, axes = panels(table["panel"], columns=table["twin"].nunique())
        colours = palette(pd.Series(shown), sns.blend_palette(TIMES, len(shown)))
        dashes = dict(zip(shown, DASHES[-len(shown) :], strict=True))
        for title, ax in axes.items():
            panel = table[table["panel"] == title]
            for name, colour in colours.items():
                line = panel[panel["evaluation"] == name]
                style: dict[str, Any] = {"color": colour, "linestyle": dashes[name], "linewidth": 1.6}
                ax.plot(line["layer"], line["norm"], label=name, **style)
        _number(axes, "layer")
        share_axis(axes, table["norm"].to_numpy(float))
        figure.supylabel("L2 norm of the gradient")
        legend(figure, axes)
    return figure


def running_statistics(statistics: pd.DataFrame) -> Figure:
    """Draw how far running statistics lie from precise ones by layer, in the deepest nets: two panels a family."""
    deepest = statistics.groupby(["group", "twin"])["depth"].transform("max")
    table = _sides(statistics[statistics["depth"] == deepest], STATISTICS)
    with styled():
        figure, axes = panels(table["panel"], columns=len(STATISTICS), height=2.4)
        share_axis(axes, table["value"].to_numpy(float))
        _draw_nets(figure, axes, table)
        _number(axes, "layer")
        figure.supylabel("error of running statistics")
    return figure


def _sides(table: pd.DataFrame, sides: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Lay out what is drawn side by side in each family: under each name, what goes to the right, and what up."""
    groups = [group for _, group in table.groupby("group", sort=False)]
    parts = [
        group.assign(side=side, place=group[place], value=group[value])
        for group in groups
        for side, (place, value) in sides.items()
    ]
    both = pd.concat(parts)
    return both.assign(panel=headings(both, "group", "side"))


def _draw_nets(figure: Figure, axes: Panels, table: pd.DataFrame) -> None:
    """Draw a line a net, in its twin's colour, the deeper the thicker, with a dot at its end if twins have several.

    The table's columns say what is drawn: in which `panel`, at which `place` to the right, which `value` above.
    """
    twins = styles(table["twin"])
    depths = table.groupby("twin")["depth"].agg(lambda depths: "/".join(map(str, dict.fromkeys(depths))))
    alone, apart = one_depth(table), depths.nunique() > 1
    for title, ax in axes.items():
        panel = table[table["panel"] == title].sort_values("place", kind="stable")
        for depth in sorted(panel["depth"].unique()):
            for twin, style in twins.items():
                net = panel[(panel["depth"] == depth) & (panel["twin"] == twin)]
                width = 0.8 + 1.1 * (depth / table["depth"].max()) ** 2
                end: dict[str, Any] = {} if alone else {"marker": "o", "markersize": 3, "markevery": [-1]}
                name = f"{twin}, depth {depths[twin]}" if alone and apart else twin
                label = name if depth == panel["depth"].max() else None
                ax.plot(net["place"], net["value"], linewidth=width, label=label, **style, **end)
    first = next(iter(axes.values()))
    if first.get_yscale() == "linear":
        first.set_ylim(0, None)
    legend(figure, axes, "" if alone else LENGTH_NOTE)


def _value_axis(axes: Panels, values: NDArray[np.float64]) -> None:
    """Scale by powers of ten where the values differ so much that the least could not be told from 0."""
    if values.max() > SPREAD * values.min():
        share_axis(axes, values)


def _number(axes: Panels, what: str) -> None:
    """Count layers or blocks from the first."""
    for title, ax in axes.items():
        ax.set_xlabel(f"{what}, the largest first" if title.endswith("ranked") else what)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    name_x_once(axes)
