"""From findings to words: the answer and the verdict. Plain text: the templates escape it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

from deeptwins.findings.derive import Findings
from deeptwins.findings.frames import Frames
from deeptwins.findings.judging import CONTRADICTED, MET, UNDECIDED, jointly
from deeptwins.findings.rows import NOT_TESTED
from deeptwins.pages.study.tables import METRICS, claim
from deeptwins.pages.wording import apart, count, listed, of_group, percent, points, share, within
from deeptwins.study import Study
from deeptwins.study.claims import FAILS

_AGREEMENTS = {"agree": "agrees with", "differ": "differs from", "inconclusive": "may or may not agree with"}
_READINGS = {"agree": "agrees", "differ": "differs", "inconclusive": "is open"}
_NAMED = 2  # claims of a kind that an answer names, at most


def verdicts(study: Study, frames: Frames, found: Findings) -> list[str]:
    """Say what was found: the answer, if the study words one, and then the evidence.

    That is which twins agree, where the study claims that some do; else what depth does to errors, where depth varies,
    and how twins compare, at a single depth or where a claim says that they do.
    """
    evidence = _agreements(found.agreements, found.drift)
    trended = bool((found.trends["depths"] > 1).any()) or found.comparisons.empty
    if trended and (not evidence or any(claim.trend for claim in study.expect)):
        evidence += _trends(study, frames, found)
    answered = [answer(study, found.claims)] if study.answer and len(found.claims) else []
    return [*answered, *evidence, *_comparisons(study, found)]


def answer(study: Study, claims: pd.DataFrame) -> str:
    """Answer the study's question in a sentence, from what became of its claims; empty where it has none."""
    results = list(claims["result"])
    if not results:
        return ""
    if study.answer and {*results} == {MET}:
        return study.answer.met
    if study.answer and {*results} == {CONTRADICTED}:
        return study.answer.contradicted
    seeds = " One seed supports no verdict." if UNDECIDED in results and claims["n"].max() == 1 else ""
    told = [_told(result, claims) for result in (MET, CONTRADICTED, UNDECIDED) if result in results]
    if len(told) == 1:
        return f"{told[0]}{seeds}"
    return f"{'In part' if MET in results else 'Not as claimed'}. {' '.join(told)}{seeds}"


def _told(result: str, claims: pd.DataFrame) -> str:
    """Name the claims of which a result is true, or count them where they are many."""
    rows = claims[claims["result"] == result].to_dict("records")
    doubt = "whether " if result == UNDECIDED else ""
    named = "; ".join(doubt + claim(row) + within(row["group"], claims["group"]) for row in rows)
    return f"{result.capitalize()}: {named if len(rows) <= _NAMED else f'{len(rows)} of {len(claims)} claims'}."


def _agreements(agreements: pd.DataFrame, drift: pd.DataFrame) -> list[str]:
    """Say in one sentence a family and pair of twins whether their errors agree, and how far their losses drift."""
    sentences = []
    for (group, twin, other), rows in agreements.groupby(["group", "twin", "other"], sort=False):
        metrics = {metric: _agree(cell["verdict"]) for metric, cell in rows.groupby("metric", sort=False)}
        mixed = len({*metrics.values()}) > 1
        clauses = []
        for metric, verdict in metrics.items():
            reading = f" {_READINGS[verdict]}," if mixed else ""
            clauses.append(f"{METRICS[str(metric)]}{reading} {_difference(rows[rows['metric'] == metric], verdict)}")
        traces = drift[(drift["group"] == group) & (drift["twin"] == twin) & (drift["other"] == other)]
        if len(traces):
            clauses.append(f"loss traces {_drift(traces)}")
        sentence = f"{twin} {_AGREEMENTS[_agree(metrics.values())]} {other}: {'; '.join(clauses)}."
        several = agreements["group"].nunique() > 1  # else the sentence begins with a name, as it is written
        sentences.append(of_group(group, agreements["group"], sentence) if several else sentence)
    return sentences


def _agree(verdicts: Iterable[str]) -> str:
    return jointly(list(verdicts), "agree")


def _difference(depths: pd.DataFrame, verdict: str) -> str:
    """Say how an error of a twin compares with that of the other: of the depths that decide, where it does worst."""
    decisive = depths[depths["verdict"] == verdict]
    row = decisive.iloc[decisive["difference"].abs().to_numpy().argmax()]
    place = f" at depth {row['depth']}, the worst of {len(depths)} depths" if len(depths) > 1 else ""
    seeds = count(row["n"], "seed")
    evidence = f"95 % interval {apart(row['low'], row['high'])}, {seeds}"
    if row["n"] == 1:
        evidence = f"{seeds}, which supports no verdict"
    errors = f"{percent(row['mean'])} against {percent(row['other_mean'])}{place}"
    return f"{errors}, difference {points(row['difference'])} points ({evidence})"


def _drift(traces: pd.DataFrame) -> str:
    """Say how far the losses of two twins lie apart, as the predicate of a clause."""
    furthest = traces.iloc[traces["largest"].to_numpy().argmax()]
    if furthest["largest"] == 0:
        return "are identical to the last bit"
    text = f"drift apart by at most {share(furthest['largest'])} of the loss"
    chance = furthest["between_seeds"]
    return text if pd.isna(chance) else f"{text}, where two seeds of {furthest['other']} differ by {share(chance)}"


def _trends(study: Study, frames: Frames, found: Findings) -> list[str]:
    """Say in one sentence a family what training error does with depth, twin by twin."""
    shortcuts = frames.runs.groupby("twin", sort=False)["shortcut"].agg(lambda names: "/".join(dict.fromkeys(names)))
    bare = [twin for twin in study.twins if shortcuts.get(twin) == "none"]
    others = [twin for twin in study.twins if twin not in bare]
    names = {twin: f"in the {twin} twin" for twin in study.twins}
    if len(bare) == 1 and shortcuts[others].is_unique:
        names = {bare[0]: "without shortcuts"} | {twin: f"with {shortcuts[twin]} shortcuts" for twin in others}
        if len(others) == 1:
            names[others[0]] = "with them"
    table = found.trends[found.trends["metric"] == "train_error_pct"]
    diverged = found.final[found.final["train_loss"].isna()].groupby(["group", "twin", "depth"]).size()
    sentences = []
    for group, rows in table.groupby("group", sort=False):
        trend = {row["twin"]: row for row in rows.to_dict("records")}
        for twin, row in trend.items():
            row["diverged"] = int(diverged.get((group, twin, row["deepest"]), 0))
        twins = [twin for twin in names if twin in trend]
        first = trend[twins[0]]
        flat = study.flat_within_pct
        clauses = [f"{names[twins[0]]}, training error {_movement(first, flat)}"]
        clauses += [f"{names[twin]} it {_movement(trend[twin], flat, first['verdict'])}" for twin in twins[1:]]
        sentence = "; ".join(clauses) + "."
        sentences.append(of_group(group, table["group"], sentence))
    return sentences


def _movement(trend: Mapping[Hashable, Any], flat_within_pct: float, first: object = None) -> str:
    """Say how one twin's error moves with depth, as the predicate of a sentence."""
    n, verdict = int(trend["n"]), trend["verdict"]
    if n == 0:
        return "has no seed that finished at every depth"
    start = f"{percent(trend['shallowest_mean'])} at depth {trend['shallowest']}"
    end = f"{percent(trend['deepest_mean'])} at depth {trend['deepest']}"
    if trend["depths"] == 1:
        return f"is {start}, the only depth ({count(n, 'seed')})"
    if n == 1:
        return f"goes from {start} to {end} in 1 seed, which supports no verdict"
    if trend["diverged"]:
        end += f" (where {trend['diverged']} of {count(n, 'seed')} diverge)"
    evidence = f"95 % interval {apart(trend['low'], trend['high'])}, {count(n, 'seed')}"
    evidence = f"{points(trend['difference'])} points, {evidence}"
    if verdict == "inconclusive":
        return f"shows no clear trend: {start}, {end} ({evidence})"
    denial = "does not: it " if first == "rises" != verdict else ""
    if verdict == "flat":
        limit = count(flat_within_pct, "point")
        return f"{denial or 'stays flat: it '}changes by less than {limit} ({start}, {end}: {evidence})"
    return f"{denial}{verdict}{' too,' if first == verdict else ''} from {start} to {end} ({evidence})"


def _comparisons(study: Study, found: Findings) -> list[str]:
    """Say how twins compare with another, a sentence for each place: which have higher errors, lower, or alike ones."""
    stated = [claim.metric for claim in study.expect if not claim.trend and not claim.agrees_with]
    table = found.comparisons[found.comparisons["metric"].isin(stated or ["train_error_pct"])]
    place, keys = ["group", "depth", "other", "metric"], ("group", "depth", "twin", "metric")
    told = {*found.agreements[[*place, "twin"]].itertuples(index=False, name=None)}
    new = [key not in told for key in table[[*place, "twin"]].itertuples(index=False, name=None)]
    table = table[(table["verdict"] != NOT_TESTED) & pd.Series(new, table.index, dtype=bool)]
    cells = {tuple(row[key] for key in keys): row for row in found.by_depth.to_dict("records")}
    sentences = []
    for (group, depth, other, metric), rows in table.groupby(place, sort=False):
        outcomes = {
            row["twin"]: cells[group, row["depth_twin"], row["twin"], metric] for row in rows.to_dict("records")
        }
        baseline = cells[group, rows["depth_other"].iloc[0], other, metric]
        at = f" at depth {depth}" if table["depth"].nunique() > 1 else ""
        fails = " and which fails to train" if baseline["outcome"] == FAILS else ""
        error = f"whose {METRICS[str(metric)]}{at} is {percent(baseline['mean'])}{fails} ({_seeds(rows['n'])})"
        sentence = f"against {other}, {error}: {_against(rows, outcomes, study.flat_within_pct)}."
        sentences.append(of_group(group, found.final["group"], sentence))
    return sentences


def _against(rows: pd.DataFrame, outcomes: Mapping[Any, Mapping[Hashable, Any]], margin: float) -> str:
    """Sort twins by how they compare with the other: each with its difference in points and the interval."""
    kinds: dict[str, list[str]] = {"above": [], "below": [], "agree": [], "inconclusive": [], FAILS: []}
    failed = {twin: f"{ours['failed']} of {count(ours['n'], 'seed')}" for twin, ours in outcomes.items()}
    seeds = {failed[twin] for twin, ours in outcomes.items() if ours["outcome"] == FAILS}
    for row in sorted(rows.to_dict("records"), key=lambda row: list(kinds).index(row["verdict"])):
        ours = outcomes[row["twin"]]
        if ours["outcome"] == FAILS:
            often = f", {failed[row['twin']]}" if len(seeds) > 1 else ""  # else it is said once for all
            kinds[FAILS].append(f"{row['twin']} ({percent(ours['mean'])}{often})")
            continue
        first = not any(named for kind, named in kinds.items() if kind != FAILS)  # it says what the numbers are
        evidence = points(row["difference"]) + (" points" if first else "")
        if row["n"] > 1:
            evidence += f",{' 95 % interval' if first else ''} {apart(row['low'], row['high'])}"
        evidence += f", fails in {failed[row['twin']]}" if ours["failed"] else ""
        kinds[row["verdict"]].append(f"{row['twin']} ({evidence})")
    words = {"above": "higher in ", "below": "lower in ", "agree": f"within {count(margin, 'point')} in "}
    words["inconclusive"] = "not clearly different in "
    clauses = [f"{word}{listed(kinds[kind])}" for kind, word in words.items() if kinds[kind]]
    if failing := kinds[FAILS]:
        often = f"{'' if len(failing) == 1 else ', each'} in {seeds.pop()}" if len(seeds) == 1 else ""
        clauses.append(f"{listed(failing)} {'fails' if len(failing) == 1 else 'fail'} to train{often}")
    return "; ".join(clauses)


def _seeds(numbers: pd.Series) -> str:
    least, most = int(numbers.min()), int(numbers.max())
    if most == 1:
        return "1 seed, which supports no verdict"
    return count(most, "seed") if least == most else f"{least} to {most} seeds"
