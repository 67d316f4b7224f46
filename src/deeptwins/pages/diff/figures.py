"""The figures of a diff: hues are twins, A is filled and solid, B hollow and dashed."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from deeptwins.findings.comparisons import HEADLINE
from deeptwins.findings.contrast import Contrast
from deeptwins.pages import colours, drawing, marks, scales
from deeptwins.pages.colours import DASHED, INK
from deeptwins.pages.diff import tables
from deeptwins.pages.drawing import Picture
from deeptwins.pages.marks import Canvas
from deeptwins.pages.wording import count, interval, percent

LINES = {"A": "-", "B": DASHED}
ROW = 0.27  # inches
ASIDE = {"A": -0.16, "B": 0.16}  # of a net's row, so that intervals do not hide each other
STEP = 0.05  # a row's part of the depths


def errors(found: Contrast) -> Picture:
    """Draw the training error of every net on both sides: a line per twin and side over depth, or dots in rows."""
    rows = found.errors[found.errors["metric"] == HEADLINE]
    settings = [tables.setting(row) for row in rows.to_dict("records")]
    rows = rows.assign(panel=[", ".join(filter(None, place)) for place in zip(rows["family"], settings, strict=True)])
    few = len(LINES) * rows["twin"].nunique() <= drawing.MOST_TWINS
    several = few and rows.groupby(["panel", "twin"])["depth"].nunique().max() > 1
    figure = _against_depth(rows) if several else _in_rows(rows)
    caption = "Training error of A (filled, solid) and B (hollow, dashed): mean over the seeds of both, 95 % intervals."
    told = drawing.read_out(rows, ["panel", "twin"], _read)
    return Picture("errors", caption, f"Training error on both sides. {told}", figure, ("errors",))


def _read(rows: pd.DataFrame) -> str:
    """Read out a twin's errors."""
    return ", ".join(f"{row['side']} {percent(row['mean'])} at depth {row['depth']}" for row in rows.to_dict("records"))


def _words(rows: pd.DataFrame) -> list[str]:
    """Say what each mean is, for a pointer."""
    return [
        f"{row['side']}, {tables.net(row)}: {percent(row['mean'])},"
        f" 95 % interval {interval(row['low'], row['high'])}, {count(row['n'], 'seed')}"
        for row in rows.to_dict("records")
    ]


def _marker(side: str, colour: str, marker: str) -> dict[str, Any]:
    fill = colour if side == "A" else "none"
    return {"marker": marker, "markersize": 6, "color": colour, "markerfacecolor": fill}


def _against_depth(rows: pd.DataFrame) -> Canvas:
    """Draw lines over depth, a panel per family and setting."""
    with drawing.styled():
        figure, axes = drawing.panels(rows["panel"])
        hues, markers = colours.of_twins(rows["twin"]), colours.markers(rows["twin"])
        for ax, panel in drawing.by_panel(axes, rows, "panel"):
            step = STEP * (panel["depth"].max() - panel["depth"].min())
            for twin, colour in hues.items():
                for side, dashes in LINES.items():
                    line = panel[(panel["twin"] == twin) & (panel["side"] == side)]
                    x = line["depth"] + step * ASIDE[side]
                    style = _marker(side, colour, markers[twin]) | {"linestyle": dashes, "linewidth": 1.6}
                    ax.vlines(x, line["low"], line["high"], color=colour, linewidth=7, alpha=0.15)
                    ax.plot(x, line["mean"], label=f"{twin}, {side}", **style)
                    marks.tell(ax, x, line["mean"], _words(line))
            scales.depth_axis(ax, panel["depth"])
        scales.error_axis(figure, axes, "training error", [*rows["mean"], *rows["high"].dropna()])
        drawing.legend(figure, axes)
    return figure


def _in_rows(rows: pd.DataFrame) -> Canvas:
    """Draw a row per net, with a dot per side."""
    nets = [tables.net(row) for row in rows.to_dict("records")]
    names = list(dict.fromkeys(nets))
    with drawing.styled():
        figure, ax = drawing.rows(names, "", 0.8 + 1.4 * ROW * len(names))
        hues, markers = colours.of_twins(rows["twin"]), colours.markers(rows["twin"])
        at = [names.index(net) + ASIDE[side] for net, side in zip(nets, rows["side"], strict=True)]
        for y, row in zip(at, rows.to_dict("records"), strict=True):
            colour = hues[row["twin"]]
            ax.hlines(y, row["low"], row["high"], color=colour, linewidth=7, alpha=0.2)
            ax.plot([row["mean"]], [y], linestyle="", **_marker(row["side"], colour, markers[row["twin"]]))
        marks.tell(ax, rows["mean"], at, _words(rows))
        _upright(ax)
        scales.error_axis(figure, {"": ax}, "training error", [*rows["mean"], *rows["high"].dropna()], across=True)
        for side in LINES:
            ax.add_line(Line2D([], [], label=side, linestyle="", **_marker(side, INK, "o")))
        drawing.legend(figure, {"": ax})
    return figure


def differences(found: Contrast) -> Picture:
    """Draw how B differs from A, a row per net, with its interval."""
    rows = found.nets[found.nets["metric"] == HEADLINE]
    names = [tables.net(row) for row in rows.to_dict("records")]
    words = [
        f"{name}: B - A {tables.errors(row)[2]} points, 95 % interval {tables.spread(row)}: {tables.result(row, found)}"
        for name, row in zip(names, rows.to_dict("records"), strict=True)
    ]
    with drawing.styled():
        figure, ax = drawing.rows(names, "B - A, training error (points)", 0.7 + ROW * len(names))
        hues, markers = colours.of_twins(rows["twin"]), colours.markers(rows["twin"])
        for y, row in enumerate(rows.to_dict("records")):
            colour = hues[row["twin"]]
            ax.hlines(y, row["low"], row["high"], color=colour, linewidth=7, alpha=0.25)
            ax.plot([row["difference"]], [y], marker=markers[row["twin"]], markersize=5, color=colour, linestyle="")
        marks.tell(ax, rows["difference"], range(len(rows)), words)
        ax.axvline(0, color=INK, linewidth=0.8)
        _upright(ax)
    caption = "B minus A, mean over seeds; bars are 95 % intervals, not corrected for the number of nets."
    told = f"Training error of B minus that of A, net by net. {'; '.join(words)}."
    return Picture("differences", caption, told, figure, ("nets",))


def _upright(ax: Any) -> None:  # noqa: ANN401  matplotlib's
    """Let the grid follow the only axis of numbers."""
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
