"""From what was measured inside the nets to findings: medians over seeds, and whether gradients vanish.

Medians are taken because a net that does not train may have numbers of any size, also 0: a single seed would decide a
mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deeptwins.findings.comparisons import CELL
from deeptwins.findings.frames import Frames
from deeptwins.findings.rows import grouped
from deeptwins.findings.statistics import SEEDS_FOR_INTERVAL, t_interval
from deeptwins.system.importing import is_own

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

    @property
    def twins(self) -> list[str]:
        """All twins, in the study's order: every net has gradients, and a table of something else may lack some."""
        return list(pd.concat([self.gradients["twin"], self.responses["twin"], self.branches["twin"]]).unique())


def derive(frames: Frames) -> Inside:
    """Compute all tables; a table has no row where the records lack its numbers."""
    return Inside(
        responses=responses(frames.layers),
        gradients=gradients(frames.gradients),
        gradient_flow=gradient_flow(frames.gradients),
        branches=_medians(frames.blocks, "block", "branch_share"),
        running_statistics=_medians(frames.layers, "layer", "running_mean_error", "running_std_error"),
        precise=precise(frames.precise, frames.epochs),
    )


def responses(layers: pd.DataFrame) -> pd.DataFrame:
    """Take the response of each 3x3 layer, the median over seeds; `rank` 1 is the largest of its net.

    Of nets of one's own, it is the response of every layer.
    """
    own = layers["family"].map(is_own).astype(bool)
    table = _medians(layers[own | (layers["kernel"] == PAPER_KERNEL)], "layer", "response_std")
    ranks = table.groupby(CELL, sort=False)["response_std"].rank(ascending=False, method="first")
    return table.assign(rank=ranks.astype(int))


def gradients(gradients: pd.DataFrame) -> pd.DataFrame:
    """Take the gradient norms of the deepest nets, medians over seeds, at five evaluations from the first to the last.

    A norm is 0 where it is exactly 0 in most seeds.
    """
    # Of few evaluations one may be nearest to two parts of the training: the first and the last keep their names.
    ends_last = sorted(EVALUATIONS.items(), key=lambda item: item[1] in (0, 1))
    tables = [pd.DataFrame(columns=[*CELL, "evaluation", "iteration", "layer", "norm"])]
    for net, cell in grouped(_deepest(gradients), CELL):
        iterations = np.unique(cell["iteration"])
        nearest = {iterations[np.abs(iterations - part * iterations[-1]).argmin()]: name for name, part in ends_last}
        for iteration, name in sorted(nearest.items()):
            norms = cell[cell["iteration"] == iteration].groupby("layer")["norm"].median()
            columns = {"evaluation": name, "iteration": iteration, "layer": norms.index, "norm": norms.to_numpy()}
            tables.append(pd.DataFrame(net | columns))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def gradient_flow(gradients: pd.DataFrame) -> pd.DataFrame:
    """Compare gradient norms in the first tenth of the layers of the deepest nets with those in the last tenth.

    Each seed gives a ratio, first / last. Both are medians over the layers of a tenth, and of each layer its median
    over all evaluations counts. The ratio is 0 where the first tenth's median is exactly 0, in `zeros` of the `n`
    seeds; a seed in which the last tenth's alone is 0 has no ratio. Over seeds, `ratio` is the geometric mean, between
    `lowest` and `highest`; `low` to `high` is the t interval of the logarithm, NaN where a seed's ratio is 0;
    `first_tenth` and `last_tenth` are medians. `least` is the smallest ratio that a single evaluation has, in medians
    over seeds, and `least_at` is that evaluation's iteration.

    Gradients `vanish` where the whole interval lies below 1/10, or where they are exactly 0 in every seed. They
    `explode` where it lies above 10, and are `healthy` where it lies between. Otherwise the verdict is `inconclusive`,
    as it always is with one seed and of nets that were `grown`; `may_vanish` and `may_explode` say what the interval
    does not exclude.
    """
    rows = []
    for net, cell in grouped(_deepest(gradients), CELL):
        seeds, evaluations = _tenths(cell, "seed"), _tenths(cell, "iteration")["ratio"]
        seeds = seeds[np.isfinite(seeds["ratio"])]
        if seeds.empty or evaluations.empty:
            continue
        grown = bool(cell["grown"].any())
        row = net | _flow(seeds["ratio"], grown=grown) | {"grown": grown}
        row |= {"first_tenth": float(seeds["first"].median()), "last_tenth": float(seeds["last"].median())}
        rows.append(row | {"least": float(evaluations.min()), "least_at": evaluations.idxmin()})
    verdict = ["verdict", "may_vanish", "may_explode", "grown", "n", "zeros"]
    numbers = ["ratio", "low", "high", "lowest", "highest", "first_tenth", "last_tenth", "least", "least_at"]
    return pd.DataFrame(rows, columns=[*CELL, *verdict, *numbers])


def _flow(ratios: pd.Series, *, grown: bool) -> dict[str, Any]:
    """Judge the ratios of all seeds, each finite."""
    zeros = int((ratios == 0).sum())
    with np.errstate(divide="ignore"):
        logs = np.log(ratios.to_numpy(float))
    low, high = (np.nan, np.nan) if zeros else np.exp(t_interval(logs))
    flow: dict[str, Any]
    # An interval of NaN excludes nothing: both comparisons with it are false.
    flow = {"may_vanish": not low >= 1 / TENFOLD, "may_explode": not high <= TENFOLD}
    flow |= {"verdict": "inconclusive", "n": len(ratios), "zeros": zeros, "ratio": float(np.exp(logs.mean()))}
    flow |= {"low": float(low), "high": float(high), "lowest": float(ratios.min()), "highest": float(ratios.max())}
    if grown:
        return flow
    if high < 1 / TENFOLD or zeros == len(ratios) >= SEEDS_FOR_INTERVAL:
        return flow | {"verdict": "vanish"}
    if low > TENFOLD:
        return flow | {"verdict": "explode"}
    return flow if flow["may_vanish"] or flow["may_explode"] else flow | {"verdict": "healthy"}


def precise(precise: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Set test errors with precise statistics beside those with running ones, paired by seed, in points."""
    columns = [*CELL, "n", "running_pct", "precise_pct", "difference", "low", "high"]
    last = epochs.groupby(["run", "twin"], sort=False).tail(1)[["run", "twin", "test_error_pct"]]
    if precise.empty:
        return pd.DataFrame(columns=columns)
    both = precise.merge(last.rename(columns={"test_error_pct": "running_pct"}), on=["run", "twin"])
    rows = []
    for net, cell in grouped(both.drop_duplicates([*CELL, "seed"]), CELL):
        differences = (cell["test_error_pct"] - cell["running_pct"]).to_numpy(float)
        row = net | {"n": len(cell), "running_pct": cell["running_pct"].mean()}
        row |= {"precise_pct": cell["test_error_pct"].mean(), "difference": differences.mean()}
        rows.append(row | dict(zip(("low", "high"), t_interval(differences), strict=True)))
    return pd.DataFrame(rows, columns=columns)


def _medians(table: pd.DataFrame, place: str, *values: str) -> pd.DataFrame:
    """Take medians over seeds, by net and layer or block; a place without any value is left out."""
    if table.empty:
        return pd.DataFrame(columns=[*CELL, place, *values])
    numbers = table.astype(dict.fromkeys(values, float))
    return numbers.groupby([*CELL, place], sort=False)[[*values]].median().dropna(how="all").reset_index()


def _deepest(gradients: pd.DataFrame) -> pd.DataFrame:
    """Return the gradients of the deepest net of each family and twin, as deep as it became, and if it was `grown`."""
    if gradients.empty:
        return gradients
    table = gradients[gradients["depth"] == gradients.groupby(["group", "twin"])["depth"].transform("max")]
    sizes = table.groupby(["run", "twin", "iteration"])["layer"].transform("max")
    of_net = sizes.groupby([table["run"], table["twin"]])
    # A net is evaluated right before it is grown: one that was has had fewer layers.
    table = table.assign(grown=of_net.transform("min") < of_net.transform("max"))
    return table[sizes == of_net.transform("max")].astype({"norm": float}).dropna(subset="norm")


def _tenths(cell: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return, for each of `by`, the median norm over the `first` and the `last` tenth of the layers, and their `ratio`.

    The ratio is 0 where the first median is 0, whatever the last, and infinite where the last alone is 0.
    """
    norms = cell.pivot_table(index=by, columns="layer", values="norm", aggfunc="median")
    tenth = max(1, norms.shape[1] // 10)
    first, last = norms.iloc[:, :tenth].median(axis=1), norms.iloc[:, -tenth:].median(axis=1)
    ratio = (first / last).mask(first == 0, 0.0)
    return pd.DataFrame({"first": first, "last": last, "ratio": ratio}).dropna()
