"""From timings of packing and of the trainer's choices to figures; none computes a number that the text prints."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from deeptwins.pages import colours, drawing, marks
from deeptwins.pages.choices import tables
from deeptwins.pages.choices.numbers import LEAST
from deeptwins.pages.colours import DASHED, INK, KINDS
from deeptwins.pages.drawing import Picture
from deeptwins.pages.wording import digits

TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20)
HUE = KINDS[0]
APART = 0.22  # between variants on a line, where lines are 1 apart


def packing(table: pd.DataFrame) -> Picture:
    """Draw how many times as fast each variant is: a line per setting, with quartiles; dashed, what the rule asks."""
    names = tables.setting_names(table)
    lines = {name: i for i, name in enumerate(dict.fromkeys(names))}
    hues = colours.of_kinds(table["variant"])
    with drawing.styled():
        figure = drawing.canvas(0.34 * len(lines) + 1.1)
        ax = figure.subplots()
        ax.axvline(1, color=INK, linewidth=0.8)
        ax.axvline(LEAST, color=INK, linewidth=0.8, linestyle=DASHED)
        middle = (len(hues) - 1) / 2
        placed = table.assign(setting=names, line=[lines[name] for name in names])
        for i, (variant, cases) in enumerate(placed.groupby("variant", sort=False)):
            y = cases["line"] + APART * (i - middle)
            ax.hlines(y, cases["ratio_q1"], cases["ratio_q3"], color=hues[variant], linewidth=2)
            ax.scatter(cases["ratio"], y, color=hues[variant], s=30, zorder=3)
            told = cases.apply(_packed_in_words, axis="columns")
            for at, low, high, words in zip(y, cases["ratio_q1"], cases["ratio_q3"], told, strict=True):
                marks.tell_line(ax, [low, high], [at, at], words)
            marks.tell(ax, cases["ratio"], y, told)
        ax.set_xscale("log")
        low, high = 0.93 * min(1, table["ratio_q1"].min()), 1.07 * max(LEAST, table["ratio_q3"].max())
        ax.set(xlim=(low, high), ylim=(len(lines) - 0.4, -0.6), xlabel="times as fast as one after another")
        ax.set_xticks([tick for tick in TICKS if low <= tick <= high])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_yticks([*lines.values()], [*lines])
        handles = [Line2D([], [], marker="o", color=colour, label=name, linewidth=2) for name, colour in hues.items()]
        handles.append(Line2D([], [], color=INK, linewidth=0.8, linestyle=DASHED, label=f"packing pays from {LEAST:g}"))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    first = table.iloc[0]
    same = "".join(f", {key.replace('_', ' ')} {first[key]}" for key in tables.shared_keys(table))
    caption = (
        f"Medians and quartiles. {first['image']} images, batches of {first['batch']}{same}; clock: {first['timed']}."
    )
    ranges = table.groupby("variant", sort=False)["ratio"].agg(["min", "max"])
    variants = ", ".join(f"{name} {row['min']:.2f} to {row['max']:.2f}" for name, row in ranges.iterrows())
    alt = f"Times as fast as one after another, least to most: {variants}."
    return Picture("packing", caption, alt, figure, ("packing",))


def choices(table: pd.DataFrame) -> Picture:
    """Draw the time of each value, fastest round to slowest: a panel per choice, the trainer's value filled."""
    kinds = list(dict.fromkeys(table["choice"]))
    with drawing.styled():
        figure = drawing.canvas(2.9)
        for kind, ax in zip(kinds, figure.subplots(1, len(kinds), squeeze=False).flatten(), strict=True):
            values = table[table["choice"] == kind].sort_values("value")
            x = range(len(values))
            ax.vlines(x, values["fastest_ms"], values["slowest_ms"], color=HUE, linewidth=2)
            ax.plot(x, values["ms"], color=HUE, linewidth=0.8, linestyle=DASHED)
            filled = [HUE if trainers else "none" for trainers in values["the_trainers"]]
            ax.scatter(x, values["ms"], s=48, color=filled, edgecolor=HUE, linewidth=1.6, zorder=3)
            marks.tell(ax, x, values["ms"], [_choice_in_words(row) for row in values.to_dict("records")])
            ax.set_title(kind)
            ax.set_xticks(x, [f"{value:,}" for value in values["value"]])
            ax.set_ylim(0, 1.1 * values["slowest_ms"].max())
            ax.margins(x=0.15)
        figure.supylabel("milliseconds")
        handles = [
            Line2D([], [], marker="o", linestyle="", color=HUE, markerfacecolor=face, label=label)
            for face, label in ((HUE, "the trainer's value"), ("none", "tried instead"))
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
    precision = table["precision"].iloc[0]
    caption = f"In {precision}: fastest to slowest round. Dots are medians; the trainer's value is filled."
    return Picture("choices", caption, drawing.read_out(table, ["choice"], _times_in_words), figure, ("choices",))


def _packed_in_words(case: pd.Series) -> str:
    quartiles = f"{case['ratio_q1']:.2f} to {case['ratio_q3']:.2f}"
    return f"{case['variant']}, {case['setting']}: {case['ratio']:.2f} times as fast, quartiles {quartiles}"


def _choice_in_words(row: Mapping[Hashable, Any]) -> str:
    rounds = f"from {digits(row['fastest_ms'])} to {digits(row['slowest_ms'])}"
    trainers = ", the trainer's value" if row["the_trainers"] else ""
    return f"{row['choice']} {row['value']:,}{trainers}: {digits(row['ms'])} ms, rounds {rounds}"


def _times_in_words(values: pd.DataFrame) -> str:
    return ", ".join(f"{row['value']:,} {digits(row['ms'])} ms" for row in values.to_dict("records"))
