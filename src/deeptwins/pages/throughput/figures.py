"""From timings of throughput to figures; none computes a number that the text prints."""

from __future__ import annotations

from typing import Any

import pandas as pd

from deeptwins.pages import colours, drawing, marks
from deeptwins.pages.colours import DASHED
from deeptwins.pages.drawing import Picture
from deeptwins.pages.throughput.tables import NAMES
from deeptwins.pages.wording import digits

COLUMNS = 2  # panels side by side
HEIGHT = 2.6  # inches, of a panel


def by_depth(alone: pd.DataFrame) -> Picture:
    """Draw the time of an iteration by depth: a panel per precision, a colour per twin; dashed, the memory roofline."""
    with drawing.styled():
        figure, axes = drawing.panels(alone["precision"], COLUMNS, HEIGHT)
        hues, shapes = colours.of_twins(alone["twin"]), colours.markers(alone["twin"])
        for ax, panel in drawing.by_panel(axes, alone, "precision"):
            for twin, nets in panel.groupby("twin", sort=False):
                line = nets.sort_values("depth")
                style: dict[str, Any] = {"color": hues[twin], "marker": shapes[twin], "markersize": 4}
                ax.plot(line["depth"], line["ms_per_iteration"], label=f"{twin}", **style)
                ax.plot(line["depth"], line["roofline_ms"], label=f"{twin}: memory roofline", linestyle=DASHED, **style)
                for key, what in (("ms_per_iteration", ""), ("roofline_ms", "memory roofline ")):
                    words = [
                        f"{twin}, depth {row['depth']:g}, {row['precision']}: {what}{digits(row[key])} ms per iteration"
                        for row in line.to_dict("records")
                    ]
                    marks.tell(ax, line["depth"], line[key], words)
            ax.set_xlabel("depth")
            ax.set_xticks(sorted({int(depth) for depth in alone["depth"]}))
            ax.set_ylim(0, 1.08 * alone["ms_per_iteration"].max())
        figure.supylabel("milliseconds per iteration")
        drawing.legend(figure, axes)
    caption = "Each net alone in the trainer. Dashed: the time that its least bytes take at the speed of a memory copy."
    alt = f"Milliseconds per iteration by depth. {drawing.read_out(alone, ['twin', 'precision'], _ends_in_words)}"
    return Picture("by-depth", caption, alt, figure, ("cases",))


def ways(rates: pd.DataFrame) -> Picture:
    """Draw a bar per way: how many iterations of a net it does per second."""
    names = [f"{NAMES[way]}, {precision}" for way, precision in zip(rates["way"], rates["precision"], strict=True)]
    values = rates["net_iterations_per_s"]
    with drawing.styled():
        figure = drawing.canvas(0.36 * len(rates) + 0.8)
        ax = figure.subplots()
        ax.grid(visible=False)
        hues = colours.of_kinds(rates["precision"])
        ax.barh(names, values, height=0.62, color=[hues[precision] for precision in rates["precision"]])
        for i, (name, value) in enumerate(zip(names, values, strict=True)):
            marks.tell_bar(ax, (0, value), (i - 0.31, i + 0.31), f"{name}: {value:,.1f} net-iterations per second")
            ax.annotate(f"{value:,.0f}", (value, i), (5, 0), textcoords="offset points", va="center", fontsize=9)
        ax.set_xlim(0, 1.14 * values.max())
        ax.invert_yaxis()
        ax.tick_params(left=False)
        ax.set_xlabel("net-iterations per second")
    caption = "Iterations per second, summed over all nets of one seed. Each way trains the same nets."
    bars = ", ".join(f"{name} {digits(value)}" for name, value in zip(names, values, strict=True))
    return Picture("ways", caption, f"Net-iterations per second: {bars}.", figure, ("ways",))


def _ends_in_words(nets: pd.DataFrame) -> str:
    """Describe a line by its ends."""
    ends = [nets.sort_values("depth").iloc[i] for i in (0, -1)]
    times = " to ".join(f"{digits(end['ms_per_iteration'])} at depth {end['depth']:g}" for end in ends)
    return f"{times}, roofline {' to '.join(digits(end['roofline_ms']) for end in ends)}"
