"""From timings of packing and of the trainer's choices to figures; none computes a number that the text prints."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from deeptwins.pages import drawing
from deeptwins.pages.drawing import DASHED, HUES, INK, WIDTH

TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20)
APART = 0.22  # of a line, between variants


def packing(table: pd.DataFrame, names: list[str], least: float) -> Figure:
    """Draw how many times as fast each variant is: a line a setting, by its name, with quartiles; dashed, `least`."""
    lines = {name: i for i, name in enumerate(dict.fromkeys(names))}
    colours = drawing.palette(table["variant"], HUES)
    with drawing.styled():
        size = WIDTH, 0.34 * len(lines) + 1.1
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.06))
        ax = figure.subplots()
        ax.axvline(1, color=INK, linewidth=0.8)
        ax.axvline(least, color=INK, linewidth=0.8, linestyle=DASHED)
        middle = (len(colours) - 1) / 2
        for i, (variant, own) in enumerate(
            table.assign(line=[lines[name] for name in names]).groupby("variant", sort=False)
        ):
            y = own["line"] + APART * (i - middle)
            ax.hlines(y, own["ratio_q1"], own["ratio_q3"], color=colours[variant], linewidth=2)
            ax.scatter(own["ratio"], y, color=colours[variant], s=30, zorder=3)
        ax.set_xscale("log")
        low, high = 0.93 * min(1, table["ratio_q1"].min()), 1.07 * max(least, table["ratio_q3"].max())
        ax.set(xlim=(low, high), ylim=(len(lines) - 0.4, -0.6), xlabel="times as fast as one after another")
        ax.set_xticks([tick for tick in TICKS if low <= tick <= high])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_yticks([*lines.values()], [*lines])
        marks = [Line2D([], [], marker="o", color=colour, label=name, linewidth=2) for name, colour in colours.items()]
        marks.append(Line2D([], [], color=INK, linewidth=0.8, linestyle=DASHED, label=f"would pay: {least:g}"))
        figure.legend(handles=marks, loc="outside upper left", ncols=len(marks))
    return figure


def choices(table: pd.DataFrame) -> Figure:
    """Draw the time of each value, fastest round to slowest: a panel a choice, the trainer's value filled."""
    kinds = list(dict.fromkeys(table["choice"]))
    with drawing.styled():
        figure = Figure(figsize=(WIDTH, 2.9), layout=ConstrainedLayoutEngine(h_pad=0.06))
        for kind, ax in zip(kinds, figure.subplots(1, len(kinds), squeeze=False).flatten(), strict=True):
            own = table[table["choice"] == kind].sort_values("value")
            x = range(len(own))
            ax.vlines(x, own["fastest_ms"], own["slowest_ms"], color=HUES[1], linewidth=2)
            ax.plot(x, own["ms"], color=HUES[1], linewidth=0.8, linestyle=DASHED)
            filled = [HUES[1] if trainers else "none" for trainers in own["the_trainers"]]
            ax.scatter(x, own["ms"], s=48, color=filled, edgecolor=HUES[1], linewidth=1.6, zorder=3)
            ax.set_title(kind)
            ax.set_xticks(x, [f"{value:,}" for value in own["value"]])
            ax.set_ylim(0, 1.1 * own["slowest_ms"].max())
            ax.margins(x=0.15)
        figure.supylabel("milliseconds")
        marks = [
            Line2D([], [], marker="o", linestyle="", color=HUES[1], markerfacecolor=face, label=label)
            for face, label in ((HUES[1], "the trainer's"), ("none", "tried"))
        ]
        figure.legend(handles=marks, loc="outside upper left", ncols=2)
    return figure
