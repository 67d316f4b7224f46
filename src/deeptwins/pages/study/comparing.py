"""From differences between twins to sentences. Plain text: the templates escape it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from deeptwins.findings.derive import Findings
from deeptwins.findings.learning import DIVERGED, UNTRAINED, VOID
from deeptwins.findings.rows import NOT_TESTED
from deeptwins.pages.study.tables import METRICS, corrected
from deeptwins.pages.wording import apart, capital, count, decimals_apart, of_group, percent, place_of, points, within
from deeptwins.study import Study
from deeptwins.study.claims import FAILS


def comparisons(study: Study, findings: Findings) -> list[str]:
    """Say how twins compare with another, in a paragraph per family, depth, other twin and error.

    Differences that are not tested are left out, and so are those of twins that a claim says agree: they have sentences
    of their own.
    """
    stated = [claim.metric for claim in study.expect if not claim.trend and not claim.agrees_with]
    table = findings.comparisons[findings.comparisons["metric"].isin(stated or ["train_error_pct"])]
    place, keys = ["group", "group_other", "depth", "other", "metric"], ("group", "depth", "twin", "metric")
    agreed = pd.MultiIndex.from_frame(findings.agreements[[*place, "twin"]])
    pairs = pd.MultiIndex.from_frame(table[[*place, "twin"]])
    table = table[(table["verdict"] != NOT_TESTED) & ~pairs.isin(agreed)]
    lost = lost_seeds(findings)
    nets = findings.untrained.groupby(["group", "twin", "depth"], sort=False)["seed"]
    seeds = defaultdict(set, {net: {*values} for net, values in nets})  # in which it did not train
    cells = {
        tuple(row[key] for key in keys): row | lost.get((row["group"], row["twin"], row["depth"]), {})
        for row in findings.by_depth.to_dict("records")
    }
    paragraphs = []
    for (group, group_other, depth, other, metric), rows in table.groupby(place, sort=False):
        compared = zip(rows["twin"], rows["depth_twin"], strict=True)
        depth_other = rows["depth_other"].iloc[0]
        baseline, lost_too = cells[group_other, depth_other, other, metric], seeds[group_other, other, depth_other]
        outcomes = {
            twin: cells[group, own_depth, twin, metric] | {"neither": len(seeds[group, twin, own_depth] & lost_too)}
            for twin, own_depth in compared
        }
        at = f" at depth {depth}" if table["depth"].nunique() > 1 else ""
        fails = f": it {_failing(study)}" if baseline["outcome"] == FAILS else ""
        if DIVERGED in baseline:
            fails = f" in the mean, as it diverged in {baseline[DIVERGED]} of {count(baseline['n'], 'seed')}"
        groups, alike = findings.final["group"], group_other == group
        of = other if alike else f"{other}{within(group_other, groups)}"
        error = f"{METRICS[str(metric)]} of {of}{at} is {percent(baseline['mean'])}{fails} ({_seeds(rows['n'])})"
        text = ". ".join([error, *_against(study, rows, outcomes)])
        whose = of_group(group, groups, f"{text}.")
        paragraphs.append(whose if alike else f"Twins of the {place_of(group, groups)}: {text}.")
    return paragraphs


def lost_seeds(findings: Findings) -> dict[Any, dict[str, int]]:
    """Group, twin and depth of nets that did not train -> in how many seeds they diverged, and were at chance."""
    nets = findings.untrained.groupby(["group", "twin", "depth"], sort=False)["state"]
    return {net: {str(state): int(n) for state, n in states.value_counts().items()} for net, states in nets}


def _against(study: Study, rows: pd.DataFrame, outcomes: Mapping[Any, Mapping[Hashable, Any]]) -> list[str]:
    """Sort twins by how they compare with the other: each with its difference in points and the interval.

    Args:
        study: its margin, and whether it says when a net fails.
        rows: their differences from the other.
        outcomes: their errors, by twin, in how many seeds they fail to train, and in how many so does the other.
    """
    words = {
        "above": "higher",
        "below": "lower",
        "agree": f"within {count(study.flat_within_pct, 'point')}",
        "inconclusive": "undecided",
    }
    void, rows = rows[rows["verdict"].isin(VOID)], rows[~rows["verdict"].isin(VOID)]
    fails = rows["twin"].map(lambda twin: outcomes[twin]["outcome"] == FAILS).astype(bool)
    lists: list[str] = []
    for verdict, word in words.items():
        twins: list[str] = []
        for row in rows[~fails & (rows["verdict"] == verdict)].to_dict("records"):
            outcome = outcomes[row["twin"]]
            failed = f", {_failing(study)} in {_often(outcome)}" if outcome["failed"] else ""
            # The first twin of the paragraph says what the numbers are.
            twins.append(f"{row['twin']} ({_numbers(row, spelled_out=not lists and not twins)}{failed})")
        if twins:
            lists.append(f"{capital(word)}: {', '.join(twins)}")
    if fails.any():
        failing = {twin: outcomes[twin] for twin in rows.loc[fails, "twin"]}
        often = {twin: _often(outcome) for twin, outcome in failing.items()}
        same = f" in {often[next(iter(often))]}" if len({*often.values()}) == 1 else ""
        twins = [
            f"{twin} ({percent(outcome['mean'])}{'' if same else f', {often[twin]}'})"
            for twin, outcome in failing.items()
        ]
        lists.append(f"{capital(_failing(study))}{same}: {', '.join(twins)}")
    if len(void):
        reasons = [_not_compared(row, outcomes[row["twin"]]) for row in void.to_dict("records")]
        lists.append(f"Not compared: {'; '.join(reasons)}")
    return lists


def _failing(study: Study) -> str:
    """Say that a net fails to train: where the study says when it does; else that it learned nothing."""
    return "did not train" if study.fails_above_pct is None else "fails to train"


def _not_compared(row: Mapping[Hashable, Any], outcome: Mapping[Hashable, Any]) -> str:
    """Say why a twin cannot be compared with the other: it diverged, or the other did, or neither trained."""
    if DIVERGED in outcome:
        return f"{row['twin']}, which diverged in {outcome[DIVERGED]} of {count(outcome['n'], 'seed')}"
    reason = "as that diverged"
    if row["verdict"] == UNTRAINED:
        often = "" if outcome["neither"] == row["n"] else f" in {outcome['neither']} of {count(row['n'], 'seed')}"
        reason = f"as neither trained{often}"
    return f"{row['twin']} ({percent(row['mean'])}), {reason}"


def _numbers(row: Mapping[Hashable, Any], *, spelled_out: bool) -> str:
    """Write a difference and its interval, as `+5.0 points, 95 % interval 4.8 to 5.2`, or as `+5.0, 4.8 to 5.2`."""
    decimals = decimals_apart(row["difference"], 0) if row["verdict"] in {"above", "below"} else 1
    text = f"{points(row['difference'], decimals)}{' points' if spelled_out else ''}"
    if row["n"] == 1:
        return text
    return f"{text},{' 95 % interval' if spelled_out else ''} {apart(row['low'], row['high'])}{corrected(row)}"


def _often(outcome: Mapping[Hashable, Any]) -> str:
    """Say in how many seeds a twin fails to train."""
    return f"{outcome['failed']} of {count(outcome['n'], 'seed')}"


def _seeds(numbers: pd.Series) -> str:
    least, most = int(numbers.min()), int(numbers.max())
    if most == 1:
        return "1 seed, which supports no verdict"
    return count(most, "seed") if least == most else f"{least} to {most} seeds"
