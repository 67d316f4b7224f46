"""From findings to the figure of a study of one depth; it computes no number that the text prints."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deeptwins.drawing import INK, TWINS, error_axis, legend, palette, panels, styled

ASIDE = {"train_error_pct": -0.16, "test_error_pct": 0.16}  # of a twin's row, so that intervals do not hide each other
LABELS = {"train_error_pct": "training", "test_error_pct": "test"}


def errors_by_twin(by_depth: pd.DataFrame, final: pd.DataFrame) -> Figure:
    """Draw training and test error: a panel a family, a row a twin, 95 % intervals, seeds as faint dots."""
    table = by_depth[by_depth["metric"].isin(ASIDE)]
    twins = list(dict.fromkeys(table["twin"]))
    with styled():
        figure, axes = panels(table["group"], height=0.42 * len(twins) + 0.75)
        colours = palette(table["twin"], TWINS)
        for group, ax in axes.items():
            for metric, aside in ASIDE.items():
                means = table[(table["group"] == group) & (table["metric"] == metric)]
                for row in means.to_dict("records"):
                    y, colour = twins.index(row["twin"]) + aside, colours[row["twin"]]
                    seeds = final[(final["group"] == group) & (final["twin"] == row["twin"])][metric]
                    ax.hlines(y, row["low"], row["high"], color=colour, linewidth=7, alpha=0.2)
                    ax.scatter(seeds, [y] * len(seeds), s=7, color=colour, alpha=0.6, linewidths=0)
                    ax.plot([row["mean"]], [y], **_marker(metric, colour))
            ax.set_yticks(range(len(twins)), twins)
            ax.set_ylim(len(twins) - 0.5, -0.5)
            ax.grid(axis="x")
            ax.grid(visible=False, axis="y")
        drawn = [*table["mean"], *table["high"].dropna(), *final[[*ASIDE]].to_numpy().flat]
        error_axis(figure, axes, "error", drawn, across=True)
        first = next(iter(axes.values()))
        for metric, label in LABELS.items():
            first.add_line(Line2D([], [], label=label, **_marker(metric, INK)))
        legend(figure, axes)
    return figure


def _marker(metric: str, colour: str) -> dict[str, Any]:
    """Return the style of a mean: training errors are filled, test errors hollow."""
    fill = colour if metric == "train_error_pct" else "none"
    return {"color": colour, "marker": "o", "markersize": 6.5, "markerfacecolor": fill, "linestyle": ""}
