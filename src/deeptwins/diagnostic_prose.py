"""What was found inside the nets, in words and rows: whether gradients vanish, figures, precise statistics."""

from __future__ import annotations

import pandas as pd

from deeptwins.descriptions import described
from deeptwins.tables import FLOWS, Table
from deeptwins.wording import count, interval, listed, of_group, points

_VERDICTS = {
    "vanish": FLOWS["vanish"],
    "explode": FLOWS["explode"],
    "inconclusive": "may or may not vanish or explode",
    "healthy": FLOWS["healthy"],
}
_NAMED = 2  # twins of which there is nothing special to say, at most


def flow(gradient_flow: pd.DataFrame) -> list[str]:
    """Say in one sentence a family whether the gradients of its deepest nets reach their first layers."""
    sentences = []
    for group, nets in gradient_flow.groupby("group", sort=False):
        clauses: list[str] = []
        for verdict, words in _VERDICTS.items():
            rows = nets[nets["verdict"] == verdict]
            if rows.empty:
                continue
            twins = listed(list(rows["twin"]))
            if verdict == "healthy" and len(rows) > _NAMED:
                twins = f"{'all' if len(rows) == len(nets) else 'the other'} {count(len(rows), 'twin')}"
            sizes = " to ".join(dict.fromkeys(f"{ratio:.2g}" for ratio in (rows["ratio"].min(), rows["ratio"].max())))
            of = "" if clauses else " times as large in the first tenth of the layers as in the last"
            clauses.append(f"{words} in {twins} ({sizes}{of})")
        sentences.append(of_group(group, gradient_flow["group"], f"gradients {'; they '.join(clauses)}."))
    return sentences


def flows(gradient_flow: pd.DataFrame) -> Table:
    """Tabulate what the sentences on gradients rest on."""
    rows = [
        [
            row["group"],
            str(row["depth"]),
            row["twin"],
            _VERDICTS[row["verdict"]],
            f"{row['ratio']:.2g}",
            f"{row['low']:.2g} to {row['high']:.2g}" if row["n"] > 1 else "-",
            f"{row['lowest']:.2g} to {row['highest']:.2g}",
            f"{row['least']:.2g}",
            f"{row['least_at']:,}",
            str(row["n"]),
        ]
        for row in gradient_flow.to_dict("records")
    ]
    heads = ("family", "depth", "twin", "gradients", "ratio", "95 % interval", "of single seeds", "least")
    caption = "Gradient norms of the deepest nets: the ratio of the first tenth of the layers to the last"
    return Table(caption, (*heads, "at iteration", "seeds"), rows, 4)


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
