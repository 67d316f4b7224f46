"""From a profile to figures; none computes a number that the text prints."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from deeptwins.pages import drawing
from deeptwins.pages.drawing import HUES, INK, WIDTH

WAYS = {"forward": "#2580c8", "backward": "#d55e00"}
REST = "the rest"
BETWEEN = "between ops"
WHOLE = 100  # milliseconds: beyond it no decimals
COLUMNS = 2  # panels side by side


def kinds(steps: pd.DataFrame, kinds: pd.DataFrame) -> Figure:
    """Draw a step as a bar a net, stacked by kind of work, with its floor.

    A bar is as long as the step by the clock. Where the ops that were profiled sum up to more, which is the profiler's
    doing, they share it in proportion.
    """
    named = list(kinds.groupby("kind", sort=False)["time_us"].sum().nlargest(len(HUES) - 1).index)
    nets = list(steps["net"])
    shown = kinds.assign(kind=kinds["kind"].where(kinds["kind"].isin(named), REST))
    wide = shown.pivot_table(index="net", columns="kind", values="time_us", aggfunc="sum", fill_value=0.0)
    wide = wide.reindex(index=nets, columns=[*named, *([REST] if REST in wide else [])]) / 1e3
    ends = steps.set_index("net")["step_us"] / 1e3
    wide = wide.mul((ends / wide.sum(axis="columns")).clip(upper=1), axis="index")
    between = (ends - wide.sum(axis="columns")).clip(lower=0)  # rounding
    with drawing.styled():
        figure = Figure(figsize=(WIDTH, 0.36 * len(nets) + 1.2), layout=ConstrainedLayoutEngine(h_pad=0.06))
        ax = figure.subplots()
        ax.grid(visible=False)
        left = between * 0
        for name, colour in zip(wide.columns, HUES, strict=False):
            ax.barh(nets, wide[name], left=left, height=0.62, color=colour, label=name)
            left = left + wide[name]
        ax.barh(nets, between, left=left, height=0.62, color=INK, alpha=0.12, label=BETWEEN)
        for i, end in enumerate(ends):
            at: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 9}
            ax.annotate(f"{end:,.0f}" if end >= WHOLE else f"{end:,.1f}", (end, i), (5, 0), **at)
        floors = steps["floor_us"] / 1e3
        ax.scatter(floors, range(len(nets)), marker="|", s=260, color=INK, linewidths=2, label="floor of the step")
        ax.set_xlim(0, 1.1 * max(ends.max(), floors.max()))
        ax.invert_yaxis()
        ax.tick_params(left=False)
        ax.set_xlabel("milliseconds")
        drawing.legend(figure, {"": ax})
    return figure


def layers(layers: pd.DataFrame) -> Figure:
    """Draw the time of every layer, in order: a panel a net, forward and backward stacked, with the layer's floor."""
    table = layers[~layers["part"]]
    with drawing.styled():
        figure, axes = drawing.panels(table["net"], COLUMNS)
        for net, ax in axes.items():
            own = table[table["net"] == net]
            x, bottom = range(1, len(own) + 1), own["time_us"].to_numpy() * 0
            for way, colour in WAYS.items():
                heights = own[f"{way}_us"].to_numpy() / 1e3
                ax.bar(x, heights, bottom=bottom, width=0.86, color=colour, label=way)
                bottom = bottom + heights
            ax.plot(x, own["floor_us"] / 1e3, color=INK, linewidth=1.2, drawstyle="steps-mid", label="floor")
            ax.set_xlim(0.3, len(own) + 0.7)
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            ax.set_xlabel("layer, in order")
        figure.supylabel("milliseconds")
        drawing.legend(figure, axes)
    return figure
