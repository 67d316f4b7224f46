"""What was found inside the nets, in words and rows: whether gradients vanish, figures, precise statistics."""

from __future__ import annotations

import pandas as pd

from deeptwins.descriptions import described
from deeptwins.tables import FLOWS, Table, count, interval, points

_VERDICTS = FLOWS | {"inconclusive": "may or may not vanish or explode"}


def flow(gradient_flow: pd.DataFrame) -> list[str]:
    """Say in one sentence a family and verdict whether the gradients of its deepest nets reach their first layers."""
    sentences = []
    for (group, verdict), rows in gradient_flow.groupby(["group", "verdict"], sort=False):
        nets = []
        for row in rows.to_dict("records"):
            spread = f" between {row['lowest']:.2g} and {row['highest']:.2g}" if row["n"] > 1 else ""
            evidence = f"{count(row['n'], 'seed')}{spread}; at the least {row['least']:.2g}"
            where = f"in {row['twin']} at depth {row['depth']}"
            nets.append(f"{row['ratio']:.2g} times as large {where} ({evidence}, at iteration {row['least_at']:,})")
        told = f"Family {group}: gradients {_VERDICTS[str(verdict)]}"
        sentences.append(f"{told}. In the first third of the layers, against the last, they are {', '.join(nets)}.")
    return sentences


def precise(precise: pd.DataFrame) -> Table:
    """Tabulate test errors with running and with precise statistics."""
    rows = [
        [
            row["group"],
            str(row["depth"]),
            row["twin"],
            *(f"{row[key]:.1f}" for key in ("running_pct", "precise_pct")),
            points(row["difference"]),
            interval(row["low"], row["high"]),
            str(row["n"]),
        ]
        for row in precise.to_dict("records")
    ]
    heads = ("family", "depth", "twin", "running (%)", "precise (%)", "difference (points)", "95 % interval", "seeds")
    return Table("Test error with running and with precise statistics, paired by seed", heads, rows, 3)


def responses(responses: pd.DataFrame) -> str:
    """Describe the figure of the layer responses."""
    means = responses.groupby(["group", "twin", "depth"], sort=False)["response_std"].mean().reset_index()
    numbers = described(means, "response_std", "{:.2f}".format)
    return f"Standard deviation of each layer's response, in order and ranked; mean over layers: {numbers}"


def branches(branches: pd.DataFrame) -> str:
    """Describe the figure of the branches' shares."""
    means = branches.groupby(["group", "twin", "depth"], sort=False)["branch_share"].mean().reset_index()
    numbers = described(means, "branch_share", "{:.2f}".format)
    return f"Norm of each block's branch as a share of its input's; mean over blocks: {numbers}"


def gradients(gradients: pd.DataFrame) -> str:
    """Describe the figure of the gradients."""
    lines = []
    for (group, twin, depth), cell in gradients.groupby(["group", "twin", "depth"], sort=False):
        last = cell[cell["iteration"] == cell["iteration"].max()]
        first, *_, end = last.sort_values("layer")["norm"]
        lines.append(f"{group}, {twin}, depth {depth}: {first:.2g} in its first layer, {end:.2g} in its last")
    text = "L2 norm of the gradient of each layer at some evaluations, on a log scale; at the last evaluation: "
    return f"{text}{'; '.join(lines)}."


def running_statistics(statistics: pd.DataFrame) -> str:
    """Describe the figure of running statistics against precise ones."""
    deepest = statistics[statistics["depth"] == statistics.groupby(["group", "twin"])["depth"].transform("max")]
    means = deepest.groupby(["group", "twin", "depth"], sort=False)["running_mean_error"].mean().reset_index()
    numbers = described(means, "running_mean_error", "{:.2g}".format)
    return f"Error of running means and standard deviations by layer; of means, averaged over layers: {numbers}"
