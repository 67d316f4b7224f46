"""From timings of throughput to figures; none computes a number that the text prints."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from deeptwins.pages import drawing
from deeptwins.pages.drawing import DASHED, HUES, WIDTH

COLUMNS = 2  # panels side by side
HEIGHT = 2.6  # inches, of a panel


def by_depth(alone: pd.DataFrame) -> Figure:
    """Draw the time of an iteration against depth: a panel a precision, a colour a twin, the memory floor dashed."""
    with drawing.styled():
        figure, axes = drawing.panels(alone["precision"], COLUMNS, HEIGHT)
        colours = drawing.palette(alone["twin"], HUES)
        for precision, ax in axes.items():
            for twin, own in alone[alone["precision"] == precision].groupby("twin", sort=False):
                line = own.sort_values("depth")
                at = {"color": colours[twin], "marker": "o", "markersize": 4}
                ax.plot(line["depth"], line["ms_per_iteration"], label=f"{twin}", **at)
                ax.plot(line["depth"], line["floor_ms"], label=f"{twin}: memory floor", linestyle=DASHED, **at)
            ax.set_xlabel("depth")
            ax.set_xticks(sorted({int(depth) for depth in alone["depth"]}))
            ax.set_ylim(0, 1.08 * alone["ms_per_iteration"].max())
        figure.supylabel("milliseconds an iteration")
        drawing.legend(figure, axes)
    return figure


def ways(rates: pd.DataFrame, names: list[str]) -> Figure:
    """Draw how many iterations of a net each way does a second: a bar a way, named by `names`."""
    values = rates["net_iterations_per_s"]
    with drawing.styled():
        figure = Figure(figsize=(WIDTH, 0.36 * len(rates) + 0.8), layout=ConstrainedLayoutEngine(h_pad=0.06))
        ax = figure.subplots()
        ax.grid(visible=False)
        colours = drawing.palette(rates["precision"], HUES)
        ax.barh(names, values, height=0.62, color=[colours[precision] for precision in rates["precision"]])
        for i, value in enumerate(values):
            ax.annotate(f"{value:,.0f}", (value, i), (5, 0), textcoords="offset points", va="center", fontsize=9)
        ax.set_xlim(0, 1.14 * values.max())
        ax.invert_yaxis()
        ax.tick_params(left=False)
        ax.set_xlabel("net-iterations a second")
    return figure
