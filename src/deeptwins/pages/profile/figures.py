"""From a profile to figures; none computes a number that the text prints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from deeptwins.pages import colours, drawing, marks
from deeptwins.pages.colours import INK, KINDS, PASSES
from deeptwins.pages.drawing import Picture
from deeptwins.pages.profile.tables import ms

REST = "the rest"
TWINS = "Plain nets have an orange rule, residual ones a blue one."
BETWEEN = "between operations"
WHOLE = 100  # milliseconds: beyond it no decimals
COLUMNS = 2  # panels side by side


def kinds(steps: pd.DataFrame, kinds: pd.DataFrame) -> Picture:
    """Draw a bar per net, its step, stacked by kind of work, with its roofline.

    A bar is as long as the step by the clock. Where the profiled ops add up to more, because the profiler slows them,
    they are scaled down to the step's time.
    """
    named = list(kinds.groupby("kind", sort=False)["time_us"].sum().nlargest(len(KINDS) - 1).index)
    nets = list(steps["net"])
    shown = kinds.assign(kind=kinds["kind"].where(kinds["kind"].isin(named), REST))
    wide = shown.pivot_table(index="net", columns="kind", values="time_us", aggfunc="sum", fill_value=0.0)
    profiled = wide.reindex(index=nets, columns=[*named, *([REST] if REST in wide else [])]) / 1e3
    ends = steps.set_index("net")["step_us"] / 1e3
    wide = profiled.mul((ends / profiled.sum(axis="columns")).clip(upper=1), axis="index")
    between = (ends - wide.sum(axis="columns")).clip(lower=0)  # rounding
    with drawing.styled():
        figure = drawing.canvas(0.36 * len(nets) + 1.2)
        ax = figure.subplots()
        ax.grid(visible=False)
        left, hues = between * 0, colours.of_kinds(named) | {REST: KINDS[-1], BETWEEN: INK}
        for name, widths in wide.assign(**{BETWEEN: between}).items():
            alpha = 0.12 if name == BETWEEN else 1.0
            ax.barh(nets, widths, left=left, height=0.62, color=hues[name], alpha=alpha, label=name)
            times = widths if name == BETWEEN else profiled[name]
            for i, net in enumerate(nets):
                words = f"{net}, {name}: {ms(1e3 * times[net])}; whole step {ms(1e3 * ends[net])}"
                if widths[net]:
                    marks.tell_bar(ax, (left[net], left[net] + widths[net]), (i - 0.31, i + 0.31), words)
            left = left + widths
        for i, end in enumerate(ends):
            beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 9}
            ax.annotate(f"{end:,.0f}" if end >= WHOLE else f"{end:,.1f}", (end, i), (5, 0), **beside)
        if steps["roofline_us"].notna().all():
            least = steps["roofline_us"] / 1e3
            ax.scatter(least, range(len(nets)), marker="|", s=260, color=INK, linewidths=2, label="roofline")
            told = [f"{step['net']}{_roofline(step)}" for step in steps.to_dict("records")]
            marks.tell(ax, least, range(len(nets)), told)
        _twins(ax, nets)
        ax.set_xlim(0, 1.1 * ends.max())
        ax.invert_yaxis()
        ax.tick_params(left=False, pad=10)
        ax.set_xlabel("milliseconds")
        drawing.legend(figure, {"": ax})
    caption = (
        "The number is the whole step by the clock, in milliseconds. In colour: its operations, by the profiler, scaled"
        f" down where they add up to more than the step. Grey: time between operations. {TWINS}"
    )
    return Picture("kinds", caption, _kinds_in_words(steps, kinds), figure, ("kinds",))


def layers(layers: pd.DataFrame) -> Picture:
    """Draw the time of every layer, in order: a panel per net, forward and backward stacked, and the roofline."""
    table = layers[~layers["part"]]
    with drawing.styled():
        figure, axes = drawing.panels(table["net"], COLUMNS)
        for ax, rows in drawing.by_panel(axes, table, "net"):
            x, bottom = range(1, len(rows) + 1), rows["time_us"].to_numpy() * 0
            for way, colour in PASSES.items():
                heights = rows[f"{way}_us"].to_numpy() / 1e3
                ax.bar(x, heights, bottom=bottom, width=0.86, color=colour, label=way)
                bottom = bottom + heights
            if rows["roofline_us"].notna().all():
                line = rows["roofline_us"] / 1e3
                ax.plot(x, line, color=INK, linewidth=1.2, drawstyle="steps-mid", label="roofline")
            for at, top, row in zip(x, bottom, rows.to_dict("records"), strict=True):
                times = ", ".join(f"{way} {ms(row[f'{way}_us'])}" for way in PASSES)
                words = f"{row['net']}, layer {at}, {row['place']}: {times}{_roofline(row)}"
                marks.tell_bar(ax, (at - 0.5, at + 0.5), (0, top), words)
            if hue := colours.of_net(rows["net"].iloc[0]):
                ax.spines.bottom.set(color=hue, linewidth=2.5)
            ax.set_xlim(0.3, len(rows) + 0.7)
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            ax.set_xlabel("layer, in order")
        figure.supylabel("milliseconds")
        drawing.legend(figure, axes)
    caption = f"Layers in order, from the stem to the linear map, of the nets whose steps take longest. {TWINS}"
    return Picture("layers", caption, _layers_in_words(table), figure, ("layers",))


def _twins(ax: Axes, nets: Sequence[str]) -> None:
    """Mark each net's row, left of its bar, in the hue of its twin."""
    for i, net in enumerate(nets):
        if hue := colours.of_net(net):
            at = ax.get_yaxis_transform()
            ax.vlines(-0.007, i - 0.31, i + 0.31, color=hue, linewidth=4, transform=at, clip_on=False)


def _kinds_in_words(steps: pd.DataFrame, kinds: pd.DataFrame) -> str:
    """Describe the figure."""
    sentences = []
    for step in steps.to_dict("records"):
        rows = kinds[kinds["net"] == step["net"]].to_dict("records")
        times = ", ".join(f"{row['kind']} {ms(row['time_us'])}" for row in rows)
        sentences.append(f"{step['net']}: {times}; step {ms(step['step_us'])}{_roofline(step)}")
    return f"Time of a step by kind of work. {'. '.join(sentences)}."


def _roofline(step: Mapping[Any, Any]) -> str:
    return "" if math.isnan(step["roofline_us"]) else f", roofline {ms(step['roofline_us'])}"


def _layers_in_words(table: pd.DataFrame) -> str:
    """Describe the figure."""
    sentences = []
    for net, rows in table.groupby("net", sort=False):
        longest = rows.nlargest(1, "time_us").iloc[0]
        sums = " and ".join(f"{way} {ms(rows[f'{way}_us'].sum())}" for way in PASSES)
        sentences.append(f"{net}: {sums}, the longest {longest['place']} with {ms(longest['time_us'])}")
    return f"Time of each layer, forward and backward. {'. '.join(sentences)}."
