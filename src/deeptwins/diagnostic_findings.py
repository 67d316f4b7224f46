"""From what was measured inside the nets to findings: means over seeds, and whether gradients vanish."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from deeptwins.frames import Frames
from deeptwins.statistics import t_interval

CELL = ["family", "group", "depth", "twin"]
PAPER_KERNEL = 3  # pixels: figure 7 of the paper is of 3x3 layers
TENFOLD = 10.0  # a norm that shrinks by so much from the last layers to the first vanishes; one that grows so explodes
EVALUATIONS = {"first": 0.0, "at 1/4 of training": 0.25, "at 1/2": 0.5, "at 3/4": 0.75, "last": 1.0}


@dataclass(frozen=True)
class Inside:
    """Every table about the inside of nets; the functions of the same names say what is in them."""

    responses: pd.DataFrame
    gradients: pd.DataFrame
    gradient_flow: pd.DataFrame
    branches: pd.DataFrame
    running_statistics: pd.DataFrame
    precise: pd.DataFrame


def derive(frames: Frames) -> Inside:
    """Compute them all; what the records do not say gives tables without a row."""
    return Inside(
        responses=responses(frames.layers),
        gradients=gradients(frames.gradients),
        gradient_flow=gradient_flow(frames.gradients),
        branches=_means(frames.blocks, "block", "branch_share"),
        running_statistics=_means(frames.layers, "layer", "running_mean_error", "running_std_error"),
        precise=precise(frames.precise, frames.epochs),
    )


def responses(layers: pd.DataFrame) -> pd.DataFrame:
    """Average the response of each 3x3 layer over seeds; `rank` 1 is the largest of its net."""
    table = _means(layers[layers["kernel"] == PAPER_KERNEL], "layer", "response_std")
    ranks = table.groupby(CELL, sort=False)["response_std"].rank(ascending=False, method="first")
    return table.assign(rank=ranks.astype(int))


def gradients(gradients: pd.DataFrame) -> pd.DataFrame:
    """Average the gradient norms of the deepest nets over seeds, at the first, the last and three evaluations between.

    The mean is geometric; norms of 0 have no place in it.
    """
    ends_last = sorted(EVALUATIONS.items(), key=lambda item: item[1] in (0, 1))  # where they coincide, they prevail
    tables = [pd.DataFrame(columns=[*CELL, "evaluation", "iteration", "layer", "norm"])]
    for keys, cell in _deepest(gradients).groupby(CELL, sort=False):
        iterations = np.unique(cell["iteration"])
        nearest = {iterations[np.abs(iterations - part * iterations[-1]).argmin()]: name for name, part in ends_last}
        for iteration, name in sorted(nearest.items()):
            logs = cell[cell["iteration"] == iteration].groupby("layer")["log_norm"].mean()
            place = dict(zip(CELL, keys, strict=True)) | {"evaluation": name, "iteration": iteration}
            tables.append(pd.DataFrame(place | {"layer": logs.index, "norm": np.exp(logs.to_numpy())}))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def gradient_flow(gradients: pd.DataFrame) -> pd.DataFrame:
    """Compare gradient norms in the first tenth of the layers of the deepest nets with those in the last tenth.

    Each seed gives two numbers: medians over the layers of a tenth, of a layer's geometric mean over all evaluations.
    `ratio` is the geometric mean of first / last over seeds, between `lowest` and `highest`; `low` to `high` is the t
    interval of its logarithm. Gradients `vanish` where all of that lies below 1/10, `explode` where it lies above 10,
    and are `healthy` where it lies between; else, and always with one seed, it is `inconclusive`. `least` is the ratio
    of the evaluation, at `least_at`, where it is smallest.
    """
    rows = []
    for keys, cell in _deepest(gradients).groupby(CELL, sort=False):
        first, last = _tenths(cell, "seed")
        ratios = np.exp(first - last)
        ratio = float(np.exp((first - last).mean()))
        low, high = np.exp(t_interval((first - last).to_numpy()))
        row = dict(zip(CELL, keys, strict=True)) | {"verdict": _flow(low, high), "n": len(first), "ratio": ratio}
        row |= {"low": float(low), "high": float(high)}
        row |= {"lowest": float(ratios.min()), "highest": float(ratios.max())}
        row |= {"first_tenth": float(np.exp(first.mean())), "last_tenth": float(np.exp(last.mean()))}
        early, late = _tenths(cell, "iteration")
        apart = early - late
        rows.append(row | {"least": float(np.exp(apart.min())), "least_at": apart.idxmin()})
    columns = [
        *CELL,
        "verdict",
        "n",
        "ratio",
        "low",
        "high",
        "lowest",
        "highest",
        "first_tenth",
        "last_tenth",
        "least",
        "least_at",
    ]
    return pd.DataFrame(rows, columns=columns)


def _flow(low: float, high: float) -> str:
    if high < 1 / TENFOLD:
        return "vanish"
    if low > TENFOLD:
        return "explode"
    return "healthy" if low >= 1 / TENFOLD and high <= TENFOLD else "inconclusive"


def precise(precise: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Set test errors with precise statistics beside those with running ones, paired by seed, in points."""
    columns = [*CELL, "n", "running_pct", "precise_pct", "difference", "low", "high"]
    last = epochs.groupby(["run", "twin"], sort=False).tail(1)[["run", "twin", "test_error_pct"]]
    if precise.empty:
        return pd.DataFrame(columns=columns)
    both = precise.merge(last.rename(columns={"test_error_pct": "running_pct"}), on=["run", "twin"])
    rows = []
    for keys, cell in both.drop_duplicates([*CELL, "seed"]).groupby(CELL, sort=False):
        apart = (cell["test_error_pct"] - cell["running_pct"]).to_numpy(float)
        row = dict(zip(CELL, keys, strict=True)) | {"n": len(cell), "running_pct": cell["running_pct"].mean()}
        row |= {"precise_pct": cell["test_error_pct"].mean(), "difference": apart.mean()}
        rows.append(row | dict(zip(("low", "high"), t_interval(apart), strict=True)))
    return pd.DataFrame(rows, columns=columns)


def _means(table: pd.DataFrame, place: str, *values: str) -> pd.DataFrame:
    """Average over seeds, by net and layer or block; a place without any value is left out."""
    if table.empty:
        return pd.DataFrame(columns=[*CELL, place, *values])
    numbers = table.astype(dict.fromkeys(values, float))
    return numbers.groupby([*CELL, place], sort=False)[[*values]].mean().dropna(how="all").reset_index()


def _deepest(gradients: pd.DataFrame) -> pd.DataFrame:
    """Return the gradients of the deepest net of each family and twin, as deep as it became, with `log_norm`."""
    if gradients.empty:
        return gradients
    table = gradients[gradients["depth"] == gradients.groupby(["group", "twin"])["depth"].transform("max")]
    sizes = table.groupby(["run", "twin", "iteration"])["layer"].transform("max")
    table = table[sizes == sizes.groupby([table["run"], table["twin"]]).transform("max")]
    norms = table["norm"].astype(float)
    return table.assign(log_norm=np.log(norms.where(norms > 0))).dropna(subset="log_norm")


def _tenths(cell: pd.DataFrame, by: str) -> tuple[pd.Series, pd.Series]:
    """Return the median logarithm of the norm over the first and the last tenth of the layers, for each of `by`."""
    logs = cell.pivot_table(index=by, columns="layer", values="log_norm")
    tenth = max(1, logs.shape[1] // 10)
    return logs.iloc[:, :tenth].median(axis=1), logs.iloc[:, -tenth:].median(axis=1)
