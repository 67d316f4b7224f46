"""Figures in words, for those who cannot see them: the numbers that they show."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from deeptwins.pages.wording import percent, points, share


def drift(drift: pd.DataFrame) -> str:
    """Describe the figure of the drift: each line by its ends."""
    lines = []
    for (group, depth, twin, other), cell in drift.groupby(["group", "depth", "twin", "other"], sort=False):
        ends = [
            f"{share(row['median'])} at iteration {row['iteration']:,}"
            for row in cell.iloc[[0, -1]].drop_duplicates().to_dict("records")
        ]
        seeds = cell["between_seeds"].iloc[-1]
        chance = "" if pd.isna(seeds) else f"; two seeds of {other} {share(seeds)} there"
        lines.append(f"{group}, depth {depth}, {twin} and {other}: {', '.join(ends)}{chance}")
    text = "Difference of the loss traces of two twins, as a share of the loss, against iterations, on a log scale. "
    return f"{text}{'. '.join(lines)}."


def errors(by_depth: pd.DataFrame) -> str:
    """Describe the first figure to someone who cannot see it."""
    table = by_depth[by_depth["metric"] == "train_error_pct"]
    return "Training error against depth. " + described(table, "mean", percent)


def curves(curves: pd.DataFrame) -> str:
    """Describe the learning curves."""
    last = curves.groupby(["group", "twin", "depth"], sort=False).tail(1)
    numbers = described(last, "test_error_pct", percent)
    return "Training and test error against iterations; test error at the end: " + numbers


def gaps(comparisons: pd.DataFrame) -> str:
    """Describe the figure of the differences between twins by depth."""
    table = comparisons[comparisons["metric"] == "train_error_pct"]
    table = table.assign(twin=table["twin"] + " minus " + table["other"])
    return "Difference in training error against depth, in points. " + described(table, "difference", points)


def comparison(by_depth: pd.DataFrame) -> str:
    """Describe the figure of the twins of a single depth."""
    lines = []
    for (group, twin), cell in by_depth.groupby(["group", "twin"], sort=False):
        means = cell.set_index("metric")["mean"]
        numbers = f"{percent(means['train_error_pct'])} in training, {percent(means['test_error_pct'])} in test"
        lines.append(f"{group}, {twin}: {numbers}")
    return f"Training and test error of each twin. {'; '.join(lines)}."


def described(table: pd.DataFrame, value: str, written: Callable[[float], str]) -> str:
    """Read a figure's numbers out, line by line."""
    lines = []
    for (group, name), cell in table.groupby(["group", "twin"], sort=False):
        numbers = [f"{written(y)} at depth {depth}" for depth, y in zip(cell["depth"], cell[value], strict=True)]
        lines.append(f"{group}, {name}: {', '.join(numbers)}")
    return "; ".join(lines) + "."
