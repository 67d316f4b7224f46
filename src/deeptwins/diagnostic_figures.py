"""From what was found inside the nets to figures; none computes a number that the text prints."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deeptwins.diagnostic_findings import EVALUATIONS
from deeptwins.drawing import (
    COLUMNS,
    DASHED,
    DEPTHS,
    INK,
    TWINS,
    End,
    Panels,
    label_ends,
    legend,
    palette,
    panels,
    share_axis,
    styled,
)

ORDERS = {"in order": "layer", "ranked": "rank"}


def layer_responses(responses: pd.DataFrame) -> Figure:
    """Draw the response of each 3x3 layer, in order and ranked: two panels a family, a line a net."""
    tables = [
        responses.assign(panel=responses["group"] + ": " + name, place=responses[key]) for name, key in ORDERS.items()
    ]
    titles = [f"{group}: {name}" for group in dict.fromkeys(responses["group"]) for name in ORDERS]
    with styled():
        figure, axes = panels(pd.Series(titles), columns=len(ORDERS), height=2.4)
        _draw_nets(figure, axes, pd.concat(tables), "response_std")
        _number(axes, "layer")
        figure.supylabel("standard deviation")
    return figure


def branches(branches: pd.DataFrame) -> Figure:
    """Draw the share of each block's branch: a panel a family, a line a net."""
    with styled():
        figure, axes = panels(branches["group"])
        _draw_nets(figure, axes, branches.assign(panel=branches["group"], place=branches["block"]), "branch_share")
        _number(axes, "block")
        figure.supylabel("||F(x)|| / ||x||")
    return figure


def gradients(gradients: pd.DataFrame) -> Figure:
    """Draw the gradient norm of each layer of the deepest nets: a panel a family and twin, a line an evaluation."""
    names = gradients["group"] + " " + gradients["depth"].astype(str) + ": " + gradients["twin"]
    table = gradients.assign(panel=names)
    shown = [name for name in EVALUATIONS if name in set(table["evaluation"])]
    with styled():
        figure, axes = panels(table["panel"], columns=min(table["twin"].nunique(), COLUMNS))
        colours = palette(pd.Series(shown), sns.blend_palette(DEPTHS, len(shown)))
        for title, ax in axes.items():
            panel = table[table["panel"] == title]
            for name, colour in colours.items():
                line = panel[panel["evaluation"] == name]
                ax.plot(line["layer"], line["norm"], color=colour, linewidth=1.6, label=name)
        _number(axes, "layer")
        share_axis(axes, table["norm"].to_numpy(float))
        figure.supylabel("L2 norm of the gradient")
        legend(figure, axes)
    return figure


def running_statistics(statistics: pd.DataFrame) -> Figure:
    """Draw how far running statistics lie from precise ones by layer, in the deepest nets: a panel a family."""
    deepest = statistics.groupby(["group", "twin"])["depth"].transform("max")
    table = statistics[statistics["depth"] == deepest]
    styles: dict[str, Any] = {"running_mean_error": "-", "running_std_error": DASHED}
    with styled():
        figure, axes = panels(table["group"])
        twins = palette(table["twin"], TWINS)
        for group, ax in axes.items():
            for twin, colour in twins.items():
                line = table[(table["group"] == group) & (table["twin"] == twin)]
                for (key, style), label in zip(styles.items(), (twin, None), strict=True):
                    ax.plot(line["layer"], line[key], color=colour, linewidth=1.6, linestyle=style, label=label)
        _number(axes, "layer")
        share_axis(axes, table[[*styles]].to_numpy(float))
        first = next(iter(axes.values()))
        for label, style in zip(("mean", "standard deviation"), styles.values(), strict=True):
            first.plot([], [], color=INK, linewidth=1.6, linestyle=style, label=label)
        figure.supylabel("error of running statistics")
        legend(figure, axes)
    return figure


def _draw_nets(figure: Figure, axes: Panels, table: pd.DataFrame, value: str) -> None:
    """Draw a line a net, in its twin's colour, the deeper the thicker, with its depth at its end.

    The table's column `panel` says where it belongs, `place` how far to the right.
    """
    twins = palette(table["twin"], TWINS)
    ends: list[End] = []
    for title, ax in axes.items():
        panel = table[table["panel"] == title].sort_values("place", kind="stable")
        for depth in sorted(panel["depth"].unique()):
            for twin, colour in twins.items():
                net = panel[(panel["depth"] == depth) & (panel["twin"] == twin)]
                width = 0.8 + 1.1 * (depth / table["depth"].max()) ** 2
                end: dict[str, Any] = {"marker": "o", "markersize": 3, "markevery": [-1]}
                label = twin if depth == panel["depth"].max() else None
                ax.plot(net["place"], net[value], color=colour, linewidth=width, label=label, **end)
                last = zip(net["place"].tail(1), net[value].tail(1), strict=True)
                ends += [(title, x, y, str(depth), colour) for x, y in last]
    next(iter(axes.values())).set_ylim(0, None)
    label_ends(figure, axes, ends)
    legend(figure, axes, "the number at a line's end is its depth")


def _number(axes: Panels, what: str) -> None:
    """Count layers or blocks from the first."""
    for title, ax in axes.items():
        ax.set_xlabel(f"{what}, the largest first" if title.endswith(": ranked") else what)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
