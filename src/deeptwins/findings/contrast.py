"""What sets the results of two sources apart: A and B, each a study with its records.

Errors are in percent, differences of a net are B minus A in points and paired by seed, intervals 95 % over seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from deeptwins.findings import comparisons, derive, learning
from deeptwins.findings.frames import KEYS, Frames
from deeptwins.findings.rows import Difference, ErrorSummary, Trend
from deeptwins.study import Study
from deeptwins.study.claims import Expect
from deeptwins.study.specs import Net, Recipe

SAME, WITHIN, APART, OPEN = RESULTS = ("same to the bit", "within seeds", "apart", "not judged")
"""Of a net. The same to the bit: in every seed all its errors and losses are equal, at every evaluation. Apart: B is
above or below A by more than seeds explain. Within seeds: they are not told apart, or the whole interval lies within
the margin. Not judged: a net diverged, neither trained, or there is one seed."""
SIDES = ("A", "B")
RECORDED = ("epochs", "gradients", "layers", "blocks", "precise", "growth")  # tables of `Frames`
AT = ("iteration", "layer", "block")  # tell the numbers of a net apart
NO_RESULT = {*KEYS, *AT, "epoch", "kernel", "learning_rate"}  # columns that say what was done
RESULT = ("_error_pct", "_loss")  # ends of the names of what must be the same to the bit: diagnostics need not be

Cell = tuple[str, str, int, str]
"""A net whatever its seed: family, group, depth, twin."""


@dataclass(frozen=True)
class Contrast:
    """All that is set side by side."""

    nets: pd.DataFrame
    """A row per net and metric: the means of both over the seeds that both have, their difference, the number of seeds
    that are the `same` to the bit, and the `result`, one of `RESULTS`."""
    numbers: pd.DataFrame
    """A row per number that both recorded: its `kind` of record and name, how many `nets` of all seeds have it, and how
    many have it the `same` to the bit in all their records."""
    errors: pd.DataFrame
    """A row per net, metric and `side`: the mean over the seeds that both have, with its interval."""
    unpaired: pd.DataFrame
    """A row per side and net with seeds that the other side lacks: these `seeds`, and how many are `in_both`."""
    trends: pd.DataFrame
    """A row per trend over depth that both have: their own, in columns that end in `_a` and `_b`."""
    effects: pd.DataFrame
    """The same of the differences between two twins."""
    margin: float
    """Points that count as agreement: the lesser of the two studies'."""
    tests: int
    """The number of tests that p values are corrected for."""


@dataclass(frozen=True)
class _Place:
    """A net of A and the net of B that it is compared with."""

    a: Cell
    b: Cell

    @property
    def named(self) -> dict[str, Any]:
        """The columns that name it."""
        family, group, depth, twin = self.a
        return {"family": family, "group_a": group, "group_b": self.b[1], "depth": depth, "twin": twin}


def contrast(a: tuple[Study, Frames], b: tuple[Study, Frames]) -> Contrast:
    """Set two sources side by side.

    Two nets are compared if they have the same name as twins, family and depth, seed by seed. Where a study varies
    other fields, too, two nets are compared if each is the one that shares most of these fields with the other.

    Args:
        a: a study and its records.
        b: the other.
    """
    last = [learning.assess(derive.latest(frames), study.flat_within_pct) for study, frames in (a, b)]
    nets = [derive.final(table) for table in last]
    cells = [_cells(table, frames) for table, (_, frames) in zip(nets, (a, b), strict=True)]
    places = [place for place in _nearest(*cells) if _seeds(nets[0], place.a) & _seeds(nets[1], place.b)]
    paired = _side_by_side(places, nets)
    study = min(a[0], b[0], key=lambda study: study.flat_within_pct)
    numbers = _numbers(paired, a[1], b[1]) if places else pd.DataFrame()
    judged, same = _judged(study, [*a[0].expect, *b[0].expect], paired, numbers)
    errors = derive.by_depth(paired, study.fails_above_pct) if places else []
    found = [comparisons.judge(study, table) for (study, _), table in zip((a, b), last, strict=True)]
    return Contrast(
        nets=_table([_net(row, places[int(row.group)], same[row.group]) for row in judged]),
        numbers=_shares(numbers),
        errors=_table([_error(row, places[int(row.group)]) for row in errors]),
        unpaired=_table(_unpaired(nets, cells, places)),
        trends=_table(_trends(places, *(trends for trends, _ in found))),
        effects=_table(_effects(places, *(differences for _, differences in found))),
        margin=study.flat_within_pct,
        tests=sum(row.weight > 0 for row in judged),
    )


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Make a table; without a row it has no columns."""
    return pd.DataFrame([*rows])


def _cells(nets: pd.DataFrame, frames: Frames) -> dict[Cell, dict[str, str]]:
    """Return the nets that have finished, whatever their seed, with all fields of net and recipe as text."""
    runs = {(row["run"], row["twin"]): row for row in frames.runs.to_dict("records")}
    fields = [key for key in (*Net.model_fields, *Recipe.model_fields) if key not in {"family", "depth"}]
    cells: dict[Cell, dict[str, str]] = {}
    for net in nets.to_dict("records"):
        run = runs[net["run"], net["twin"]]
        cells.setdefault(_cell(net), {key: str(run[key]) for key in fields})
    return cells


def _cell(net: Any) -> Cell:  # noqa: ANN401  a row, whose keys may be anything
    return net["family"], net["group"], net["depth"], net["twin"]


def _nearest(a: dict[Cell, dict[str, str]], b: dict[Cell, dict[str, str]]) -> list[_Place]:
    """Pair nets of the same twin, family and depth that are nearest to one another, in the order of A."""
    varied = _varied(a) | _varied(b)
    shared = {
        (one, other): sum(a[one][key] == b[other][key] for key in varied)
        for one in a
        for other in b
        if (one[0], *one[2:]) == (other[0], *other[2:])
    }
    best: dict[tuple[int, Cell], int] = {}
    for pair, number in shared.items():
        for key in enumerate(pair):
            best[key] = max(best.get(key, 0), number)
    return [_Place(*pair) for pair, number in shared.items() if all(best[key] == number for key in enumerate(pair))]


def _varied(cells: dict[Cell, dict[str, str]]) -> set[str]:
    """Return what varies among the nets of any twin, family and depth."""
    values: dict[Any, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for (family, _, depth, twin), fields in cells.items():
        for key, value in fields.items():
            values[family, depth, twin][key].add(value)
    return {key for fields in values.values() for key, some in fields.items() if len(some) > 1}


def _of(nets: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Return the rows of a net, one per seed."""
    _, group, depth, twin = cell
    return nets[(nets["group"] == group) & (nets["depth"] == depth) & (nets["twin"] == twin)]


def _seeds(nets: pd.DataFrame, cell: Cell) -> set[int]:
    return {*_of(nets, cell)["seed"]}


def _side_by_side(places: Sequence[_Place], nets: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Make A and B the twins of one run per place and seed, so that they are compared as twins are.

    The group of a row is the number of its place; `net` and `of` are the twin and run that it has in its own source.
    """
    tables = []
    for number, place in enumerate(places):
        seeds = _seeds(nets[0], place.a) & _seeds(nets[1], place.b)
        for side, table, cell in zip(SIDES, nets, (place.a, place.b), strict=True):
            rows = _of(table, cell)
            rows = rows[rows["seed"].isin(seeds)].sort_values("seed")
            kept = rows[["family", "depth", "seed", "test_images", "state", *comparisons.measured(rows)]]
            runs = [f"{number} {seed}" for seed in rows["seed"]]
            tables.append(kept.assign(group=str(number), run=runs, of=rows["run"], net=rows["twin"], twin=side))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["group", "seed"])


def _judged(
    study: Study, claimed: Sequence[Expect], paired: pd.DataFrame, numbers: pd.DataFrame
) -> tuple[list[Difference], dict[str, int]]:
    """Judge how B differs from A, as twins are judged; of what is the same to the bit there is nothing to test.

    Args:
        study: whose margin counts.
        claimed: the claims of both studies: their metrics weigh most in the correction.
        paired: of `_side_by_side`.
        numbers: of `_numbers`.

    Returns:
        The differences in the order of places, and by place in how many seeds all errors and losses are the same.
    """
    if paired.empty:
        return [], {}
    results = numbers[numbers["number"].str.endswith(RESULT)]
    same = results.groupby(["group", "seed"])["same"].all().groupby(level=0)
    counts = {str(place): int(number) for place, number in same.sum().items()}
    whole = {str(place) for place, all_same in same.all().items() if all_same}
    compared = comparisons.comparisons(paired, [("B", "A")], study.flat_within_pct)
    named = [(claim, frozenset[tuple[str, int]]()) for claim in claimed]
    _, tested = comparisons.verdicts(study, named, [], [row for row in compared if row.group not in whole])
    rows = [*tested, *(replace(row, verdict=SAME) for row in compared if row.group in whole)]
    return sorted(rows, key=lambda row: int(row.group)), counts


def _numbers(paired: pd.DataFrame, a: Frames, b: Frames) -> pd.DataFrame:
    """Say of each number that both sources recorded whether a net of a seed has it the same to the bit, everywhere.

    Returns:
        A row per `kind` of record, `number`, `group` and `seed`, with `same`.
    """
    index = ["group", "seed"]
    keys = [
        paired.loc[paired["twin"] == side, [*index, "of", "net"]].rename(columns={"of": "run", "net": "twin"})
        for side in SIDES
    ]
    rows = []
    for kind in RECORDED:
        left, right = (
            key.merge(table.drop(columns=[*{*KEYS} - {"run", "twin"}]), on=["run", "twin"])
            for key, table in zip(keys, (getattr(a, kind), getattr(b, kind)), strict=True)
        )
        at = [*index, *(column for column in AT if column in left and column in right)]
        both = left.merge(right, on=at, how="outer", suffixes=("_a", "_b"), indicator="found")
        for number in left.columns.intersection(right.columns).drop([*at, *NO_RESULT], errors="ignore"):
            # Older records lack some numbers: only what both have is compared.
            if not all(is_numeric_dtype(table[number]) and table[number].notna().any() for table in (left, right)):
                continue
            one, other = both[f"{number}_a"], both[f"{number}_b"]
            alike = (both["found"] == "both") & ((one == other) | (one.isna() & other.isna()))
            same = alike.groupby([both["group"], both["seed"]]).all().rename("same").reset_index()
            rows.append(same.assign(kind=kind, number=number))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=[*index, "same", "kind", "number"])


def _shares(numbers: pd.DataFrame) -> pd.DataFrame:
    """Count, for each number, the nets of all seeds, and those that have it the same to the bit."""
    if numbers.empty:
        return numbers
    return numbers.groupby(["kind", "number"], sort=False)["same"].agg(nets="count", same="sum").reset_index()


def _net(row: Difference, place: _Place, same: int) -> dict[str, Any]:
    """Say how a metric of a net differs."""
    over_seeds = row.over_seeds
    result = WITHIN
    if row.verdict == SAME:
        result = SAME
    elif row.verdict in learning.VOID or over_seeds.n == 1:
        result = OPEN
    elif row.verdict in {"above", "below"}:
        result = APART
    return place.named | {
        "metric": row.metric,
        "n": over_seeds.n,
        "mean_a": row.other_mean,
        "mean_b": row.mean,
        "difference": over_seeds.difference,
        "low": over_seeds.low,
        "high": over_seeds.high,
        "p": over_seeds.p,
        "p_holm": row.p_holm,
        "same": same,
        "verdict": row.verdict,
        "result": result,
    }


def _error(row: ErrorSummary, place: _Place) -> dict[str, Any]:
    """Say what a metric of a net is in one of the sources."""
    numbers = {"n": row.n, "mean": row.mean, "low": row.low, "high": row.high}
    return place.named | {"metric": row.metric, "side": row.twin} | numbers


def _unpaired(
    nets: Sequence[pd.DataFrame], cells: Sequence[Iterable[Cell]], places: Sequence[_Place]
) -> list[dict[str, Any]]:
    """List the seeds of nets that only one of the sources has."""
    rows = []
    for side, table, own, other in zip(SIDES, nets, cells, reversed(nets), strict=True):
        for cell in own:
            pairs = [(place.a, place.b) if side == "A" else (place.b, place.a) for place in places]
            common = {seed for mine, theirs in pairs if mine == cell for seed in _seeds(other, theirs)}
            seeds = _seeds(table, cell)
            if seeds - common:
                family, group, depth, twin = cell
                net = {"side": side, "family": family, "group": group, "depth": depth, "twin": twin}
                rows.append(net | {"seeds": sorted(map(int, seeds - common)), "in_both": len(seeds & common)})
    return rows


def _trends(places: Sequence[_Place], a: Sequence[Trend], b: Sequence[Trend]) -> list[dict[str, Any]]:
    """Set the trends of a twin side by side."""
    rows = []
    of_b = {(row.group, row.twin, row.metric): row for row in b}
    groups = {(place.a[1], place.a[3]): place.b[1] for place in places}
    for one in a:
        other = of_b.get((groups.get((one.group, one.twin), ""), one.twin, one.metric))
        if other and max(one.depths, other.depths) > 1:
            names = {"family": one.family, "group_a": one.group, "group_b": other.group, "twin": one.twin}
            rows.append(names | {"metric": one.metric} | _sides(one, other, "depths", "shallowest", "deepest"))
    return rows


def _effects(places: Sequence[_Place], a: Sequence[Difference], b: Sequence[Difference]) -> list[dict[str, Any]]:
    """Set the differences between two twins side by side, where both sources compare the two."""
    paired = {(place.a, place.b) for place in places}
    rows = []
    for one in a:
        for other in comparisons.between(b, one.twin, one.other):
            nets = [(row.depth_twin, row.depth_other, row.metric) for row in (one, other)]
            cells = [
                (
                    (row.family, row.group, row.depth_twin, row.twin),
                    (row.family_other, row.group_other, row.depth_other, row.other),
                )
                for row in (one, other)
            ]
            if nets[0] == nets[1] and {*zip(*cells, strict=True)} <= paired:
                names = {"family": one.family, "group_a": one.group, "group_b": other.group, "depth": one.depth}
                names |= {"depth_twin": one.depth_twin, "depth_other": one.depth_other}
                rows.append(names | {"twin": one.twin, "other": one.other, "metric": one.metric} | _sides(one, other))
    return rows


def _sides(a: Trend | Difference, b: Trend | Difference, *more: str) -> dict[str, Any]:
    """Name the numbers of both by their side."""
    row: dict[str, Any] = {}
    for side, one in (("a", a), ("b", b)):
        numbers = {key: getattr(one.over_seeds, key) for key in ("n", "difference", "low", "high")}
        numbers |= {key: getattr(one, key) for key in ("p_holm", "verdict", *more)}
        row |= {f"{key}_{side}": value for key, value in numbers.items()}
    return row
