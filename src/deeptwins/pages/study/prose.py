"""From findings to words: the answer and the verdict. Plain text: the templates escape it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

from deeptwins.findings.derive import Findings
from deeptwins.findings.frames import Frames
from deeptwins.findings.judging import CONTRADICTED, MET, UNDECIDED, jointly
from deeptwins.findings.learning import AT_CHANCE, DIVERGED, UNTRAINED, VOID
from deeptwins.findings.rows import NOT_TESTED
from deeptwins.pages.study.tables import LOST, METRICS, claim, why
from deeptwins.pages.tables import span
from deeptwins.pages.wording import (
    apart,
    count,
    decimals_apart,
    listed,
    of_group,
    percent,
    place_of,
    points,
    share,
    within,
)
from deeptwins.study import Study
from deeptwins.study.claims import FAILS

_AGREEMENTS = {"agree": "agrees with", "differ": "differs from", "inconclusive": "may or may not agree with"}
_AGREEMENTS |= dict.fromkeys(VOID, "cannot be compared with")
_READINGS = {"agree": "agrees", "differ": "differs", "inconclusive": "is open"} | dict.fromkeys(VOID, "is open")
_STATES = {DIVERGED: "diverged", AT_CHANCE: "at chance"}
_NUMBERS = 4  # at most, of several families or settings
_NAMED = 2  # claims with one result are named up to this number; of more, the number is given


def evidence(study: Study, frames: Frames, findings: Findings) -> list[str]:
    """Say what the answer rests on.

    That is, where the study claims that twins agree, whether they do; else, where depth varies, what it does to
    errors. Then follows how twins compare: all of them at a single depth, else those of which a claim says how. Where
    no net trained there is no evidence.
    """
    if len(findings.untrained) == len(findings.final):
        return []
    sentences = _agreements(findings.agreements, findings.drift)
    trended = bool((findings.trends["depths"] > 1).any()) or findings.comparisons.empty
    if trended and (not sentences or any(claim.trend for claim in study.expect)):
        sentences += _trends(study, frames, findings)
    return [*sentences, *_comparisons(study, findings)]


def numbers(study: Study, findings: Findings) -> list[tuple[str, str, str]]:
    """Return for each twin the one number that carries the answer: its name, the number, and what it is.

    That is the error that the first claim is about, of its deepest net; beside it stands that of its shallowest. They
    are of every family and setting where that is a handful of numbers, else of the first.
    """
    table = findings.by_depth
    metric = next((claim.metric for claim in study.expect if not claim.gradients), "train_error_pct")
    table = table[table["metric"] == metric]
    groups = list(dict.fromkeys(table["group"]))
    shown = groups if len(groups) * len(study.twins) <= _NUMBERS else groups[:1]
    cells = [
        (group, twin, nets.sort_values("depth"))
        for group in shown
        for twin in study.twins
        if len(nets := table[(table["group"] == group) & (table["twin"] == twin)])
    ]
    several = len({*table["depth"]}) > 1
    lost, texts = _lost(findings), []
    for group, twin, nets in cells:
        shallowest, deepest = nets.iloc[0], nets.iloc[-1]
        note = METRICS[metric] + (f" at depth {deepest['depth']}" if several else "")
        note += "".join(
            f", {_STATES[state]} in {number} of {count(deepest['n'], 'seed')}"
            for state, number in lost.get((group, twin, deepest["depth"]), {}).items()
        )
        if len(nets) > 1:
            note += f"; {percent(shallowest['mean'])} at depth {shallowest['depth']}"
        where = place_of(group, groups)
        texts.append((f"{twin}, {where}" if where else twin, percent(deepest["mean"]), note))
    return texts


def untrained(findings: Findings) -> list[str]:
    """Say that no net trained, and what that means: of all nets, or of those of a family or setting."""
    groups = findings.final["group"]
    lost = findings.untrained.groupby("group", sort=False)
    if len(findings.untrained) == len(groups):
        return [of_group("", [""], _none_trained(findings.untrained))]
    none = [group for group, nets in lost if len(nets) == (groups == group).sum()]
    return [of_group(group, groups, _none_trained(lost.get_group(group))) for group in none]


def _none_trained(nets: pd.DataFrame) -> str:
    """Say of nets of which none trained how that shows, and why it decides nothing."""
    diverged = int((nets["state"] == DIVERGED).sum())
    subject = "the only net" if len(nets) == 1 else f"all {len(nets)} nets"
    chance = span(nets["chance_pct"], percent)
    what = f"the training error of {subject} is not clearly better than chance ({chance})"
    if diverged == len(nets):
        what = f"{subject} diverged"
    elif diverged:
        what = f"{diverged} of {len(nets)} nets diverged, and the others are not clearly better than chance ({chance})"
    decide = "its error decides" if len(nets) == 1 else "their errors decide"
    return (
        f"no net trained: {what}. So {decide} nothing: nets that learned nothing err alike, whatever they are made of."
    )


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
    sentences = [_with_result(result, claims) for result in (MET, CONTRADICTED, UNDECIDED) if result in results]
    if len(sentences) == 1:
        return f"{sentences[0]}{seeds}"
    return f"{'In part' if MET in results else 'Not as claimed'}. {' '.join(sentences)}{seeds}"


def _with_result(result: str, claims: pd.DataFrame) -> str:
    """Name the claims that have a result, or count them where they are many, as in `Met: 3 of 4 claims`."""
    rows = claims[claims["result"] == result].to_dict("records")
    if len(rows) > _NAMED:
        void = sum(row.get("verdict") in VOID for row in rows)
        of_them = "all" if void == len(rows) else f"{void} of them"
        reason = f", {of_them} since nets did not train" if void else ""
        return f"{result.capitalize()}: {len(rows)} of {len(claims)} claims{reason}."
    doubt = "whether " if result == UNDECIDED else ""
    names = [doubt + claim(row) + within(row["group"], claims["group"]) + why(row) for row in rows]
    return f"{result.capitalize()}: {'; '.join(names)}."


def _agreements(agreements: pd.DataFrame, drift: pd.DataFrame) -> list[str]:
    """Say in a sentence per family and pair of twins whether their errors agree, and how far their losses drift."""
    sentences = []
    for (group, twin, other), rows in agreements.groupby(["group", "twin", "other"], sort=False):
        metrics = {metric: _agree(cell["verdict"]) for metric, cell in rows.groupby("metric", sort=False)}
        mixed = len({*metrics.values()}) > 1
        clauses = []
        for metric, verdict in metrics.items():
            reading = f" {_READINGS[verdict]}," if mixed else ""
            reading = reading.removesuffix(",") if verdict in VOID else reading
            clauses.append(f"{METRICS[str(metric)]}{reading} {_difference(rows[rows['metric'] == metric], verdict)}")
        traces = drift[(drift["group"] == group) & (drift["twin"] == twin) & (drift["other"] == other)]
        if len(traces):
            clauses.append(f"loss traces {_drift(traces)}")
        sentence = f"{twin} {_AGREEMENTS[_agree(metrics.values())]} {other}: {'; '.join(clauses)}."
        # Without a family the sentence begins with the name of a twin, which keeps its case.
        several = agreements["group"].nunique() > 1
        sentences.append(of_group(group, agreements["group"], sentence) if several else sentence)
    return sentences


def _agree(verdicts: Iterable[str]) -> str:
    return jointly(list(verdicts), "agree")


def _difference(depths: pd.DataFrame, verdict: str) -> str:
    """Say how an error of two twins compares: of the depths with the overall verdict, where they lie furthest apart."""
    if verdict in VOID:
        return f"of nets that {LOST[verdict]}"
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


def _trends(study: Study, frames: Frames, findings: Findings) -> list[str]:
    """Say in a sentence per family what training error does with depth, twin by twin."""
    names = _by_shortcut(study, frames)
    table = findings.trends[findings.trends["metric"] == "train_error_pct"]
    lost = _lost(findings)
    sentences = []
    for group, rows in table.groupby("group", sort=False):
        trend = {row["twin"]: row for row in rows.to_dict("records")}
        for twin, row in trend.items():
            row["lost"] = {depth: counts for (at, name, depth), counts in lost.items() if (at, name) == (group, twin)}
        twins = [twin for twin in names if twin in trend]
        first = trend[twins[0]]
        flat = study.flat_within_pct
        # The first twin sets what the others are compared with: "... rises from ...; with them it does not: ...".
        clauses = [f"{names[twins[0]]}, training error {_course(first, flat)}"]
        clauses += [f"{names[twin]} it {_course(trend[twin], flat, first['verdict'])}" for twin in twins[1:]]
        sentence = "; ".join(clauses) + "."
        sentences.append(of_group(group, table["group"], sentence))
    return sentences


def _by_shortcut(study: Study, frames: Frames) -> dict[str, str]:
    """Say of each twin which it is: by its shortcuts, where these tell one without from the others; else by its name.

    The twin without shortcuts comes first.
    """
    shortcuts = frames.runs.groupby("twin", sort=False)["shortcut"].agg(lambda names: "/".join(dict.fromkeys(names)))
    without = [twin for twin in study.twins if shortcuts.get(twin) == "none"]
    others = [twin for twin in study.twins if twin not in without]
    if len(without) != 1 or not shortcuts[others].is_unique:
        return {twin: f"in the {twin} twin" for twin in study.twins}
    if len(others) == 1:
        return {without[0]: "without shortcuts", others[0]: "with them"}
    return {without[0]: "without shortcuts"} | {twin: f"with {shortcuts[twin]} shortcuts" for twin in others}


def _course(trend: Mapping[Hashable, Any], flat_within_pct: float, first: object = None) -> str:
    """Say how one twin's error moves with depth, or why that cannot be judged, as the predicate of a sentence."""
    if trend["verdict"] in VOID:
        return f"has no trend to judge: {_ends(trend)}"
    return _movement(trend, flat_within_pct, first)


def _movement(trend: Mapping[Hashable, Any], flat_within_pct: float, first: object = None) -> str:
    """Say how one twin's error moves with depth, as the predicate of a sentence.

    Args:
        trend: of the twin.
        flat_within_pct: the study's margin.
        first: the verdict on the twin of which the sentence has spoken before, if it has.
    """
    n, verdict = int(trend["n"]), trend["verdict"]
    if n == 0:
        return "has no seed that finished at every depth"
    # What rises or falls is not written with equal numbers.
    moves = verdict in {"rises", "falls"}
    decimals = decimals_apart(trend["shallowest_mean"], trend["deepest_mean"]) if moves else 1
    start = f"{percent(trend['shallowest_mean'], decimals)} at depth {trend['shallowest']}"
    end = f"{percent(trend['deepest_mean'], decimals)} at depth {trend['deepest']}"
    if trend["depths"] == 1:
        return f"is {start}, the only depth ({count(n, 'seed')})"
    if n == 1:
        return f"goes from {start} to {end} in 1 seed, which supports no verdict"
    evidence = f"95 % interval {apart(trend['low'], trend['high'])}, {count(n, 'seed')}"
    evidence = f"{points(trend['difference'], decimals)} points, {evidence}"
    if verdict == "inconclusive":
        return f"shows no clear trend: {start}, {end} ({evidence})"
    # Where the error of the twin before rises and this one's does not, that is said first.
    denial = "does not: it " if first == "rises" and verdict != "rises" else ""
    if verdict == "flat":
        limit = count(flat_within_pct, "point")
        return f"{denial or 'stays flat: it '}changes by less than {limit} ({start}, {end}: {evidence})"
    too = " too," if first == verdict else ""
    return f"{denial}{verdict}{too} from {start} to {end} ({evidence})"


def _lost(findings: Findings) -> dict[Any, dict[str, int]]:
    """Group, twin and depth of nets that did not train -> in how many seeds they diverged, and were at chance."""
    nets = findings.untrained.groupby(["group", "twin", "depth"], sort=False)["state"]
    return {net: {str(state): int(n) for state, n in states.value_counts().items()} for net, states in nets}


def _ends(trend: Mapping[Hashable, Any]) -> str:
    """Say what became of the shallowest and the deepest nets, and of all that diverged."""
    lost, seeds = trend["lost"], count(trend["n"], "seed")
    parts = []
    for end in ("shallowest", "deepest"):
        states = lost.get(depth := trend[end], {})
        if DIVERGED not in states:
            chance = f" (at chance in {states[AT_CHANCE]} of {seeds})" if states else ""
            parts.append(f"{percent(trend[f'{end}_mean'])} at depth {depth}{chance}")
    diverged: dict[int, list[str]] = {}
    for depth in sorted(lost):
        if DIVERGED in lost[depth]:
            diverged.setdefault(lost[depth][DIVERGED], []).append(str(depth))
    return ", ".join(
        [
            *parts,
            *(
                f"diverged at depth{'s' if len(depths) > 1 else ''} {listed(depths)} (in {number} of {seeds})"
                for number, depths in diverged.items()
            ),
        ]
    )


def _comparisons(study: Study, findings: Findings) -> list[str]:
    """Say how twins compare with another, a sentence per family, depth, other twin and error.

    Differences that are not tested are left out, and so are those of twins that a claim says agree: they have sentences
    of their own.
    """
    stated = [claim.metric for claim in study.expect if not claim.trend and not claim.agrees_with]
    table = findings.comparisons[findings.comparisons["metric"].isin(stated or ["train_error_pct"])]
    place, keys = ["group", "depth", "other", "metric"], ("group", "depth", "twin", "metric")
    agreed = pd.MultiIndex.from_frame(findings.agreements[[*place, "twin"]])
    pairs = pd.MultiIndex.from_frame(table[[*place, "twin"]])
    table = table[(table["verdict"] != NOT_TESTED) & ~pairs.isin(agreed)]
    lost = _lost(findings)
    nets = findings.untrained.groupby(["group", "twin", "depth"], sort=False)["seed"]
    seeds = defaultdict(set, {net: {*values} for net, values in nets})  # in which it did not train
    cells = {
        tuple(row[key] for key in keys): row | lost.get((row["group"], row["twin"], row["depth"]), {})
        for row in findings.by_depth.to_dict("records")
    }
    sentences = []
    for (group, depth, other, metric), rows in table.groupby(place, sort=False):
        compared = zip(rows["twin"], rows["depth_twin"], strict=True)
        depth_other = rows["depth_other"].iloc[0]
        baseline, lost_too = cells[group, depth_other, other, metric], seeds[group, other, depth_other]
        outcomes = {
            twin: cells[group, own_depth, twin, metric] | {"neither": len(seeds[group, twin, own_depth] & lost_too)}
            for twin, own_depth in compared
        }
        at = f" at depth {depth}" if table["depth"].nunique() > 1 else ""
        fails = " and which fails to train" if baseline["outcome"] == FAILS else ""
        if DIVERGED in baseline:
            fails = f" in the mean, as it diverges in {baseline[DIVERGED]} of {count(baseline['n'], 'seed')}"
        error = f"whose {METRICS[str(metric)]}{at} is {percent(baseline['mean'])}{fails} ({_seeds(rows['n'])})"
        sentence = f"against {other}, {error}: {_against(rows, outcomes, study.flat_within_pct)}."
        sentences.append(of_group(group, findings.final["group"], sentence))
    return sentences


def _against(rows: pd.DataFrame, outcomes: Mapping[Any, Mapping[Hashable, Any]], margin: float) -> str:
    """Sort twins by how they compare with the other: each with its difference in points and the interval.

    Args:
        rows: their differences from the other.
        outcomes: their errors, by twin, in how many seeds they fail to train, and in how many so does the other.
        margin: the points within which twins agree.
    """
    words = {
        "above": "higher in",
        "below": "lower in",
        "agree": f"within {count(margin, 'point')} in",
        "inconclusive": "not clearly different in",
    }
    void, rows = rows[rows["verdict"].isin(VOID)], rows[~rows["verdict"].isin(VOID)]
    rows = rows.sort_values("verdict", key=lambda verdicts: verdicts.map([*words].index), kind="stable")
    fails = rows["twin"].map(lambda twin: outcomes[twin]["outcome"] == FAILS).astype(bool)
    clauses: list[str] = []
    for verdict, word in words.items():
        twins: list[str] = []
        for row in rows[~fails & (rows["verdict"] == verdict)].to_dict("records"):
            failed = _often(outcomes[row["twin"]]) if outcomes[row["twin"]]["failed"] else ""
            # The first twin of the sentence says what the numbers are.
            evidence = _evidence(row, spelled_out=not clauses and not twins)
            twins.append(f"{row['twin']} ({evidence}{f', fails in {failed}' if failed else ''})")
        if twins:
            clauses.append(f"{word} {listed(twins)}")
    if fails.any():
        clauses.append(_failing({twin: outcomes[twin] for twin in rows.loc[fails, "twin"]}))
    clauses += [_not_judged(row, outcomes[row["twin"]]) for row in void.to_dict("records")]
    return "; ".join(clauses)


def _not_judged(row: Mapping[Hashable, Any], outcome: Mapping[Hashable, Any]) -> str:
    """Say why a twin cannot be compared with the other: it diverged, or the other did, or neither trained."""
    if DIVERGED in outcome:
        return f"{row['twin']} diverges in {outcome[DIVERGED]} of {count(outcome['n'], 'seed')}"
    reason = "cannot be compared with that"
    if row["verdict"] == UNTRAINED:
        often = "" if outcome["neither"] == row["n"] else f" in {outcome['neither']} of {count(row['n'], 'seed')}"
        reason = f"cannot be compared, as neither trained{often}"
    return f"{row['twin']} ({percent(row['mean'])}) {reason}"


def _evidence(row: Mapping[Hashable, Any], *, spelled_out: bool) -> str:
    """Write a difference and its interval, as `+5.0 points, 95 % interval 4.8 to 5.2`, or as `+5.0, 4.8 to 5.2`."""
    decimals = decimals_apart(row["difference"], 0) if row["verdict"] in {"above", "below"} else 1
    text = f"{points(row['difference'], decimals)}{' points' if spelled_out else ''}"
    if row["n"] == 1:
        return text
    return f"{text},{' 95 % interval' if spelled_out else ''} {apart(row['low'], row['high'])}"


def _failing(outcomes: Mapping[Any, Mapping[Hashable, Any]]) -> str:
    """Name the twins that fail to train, and in how many seeds: once, where it is the same number for all."""
    often = {twin: _often(outcome) for twin, outcome in outcomes.items()}
    same = len({*often.values()}) == 1
    twins = [
        f"{twin} ({percent(outcome['mean'])}{'' if same else f', {often[twin]}'})" for twin, outcome in outcomes.items()
    ]
    text = f"{listed(twins)} {'fails' if len(twins) == 1 else 'fail'} to train"
    if not same:
        return text
    return f"{text}{'' if len(twins) == 1 else ', each'} in {next(iter(often.values()))}"


def _often(outcome: Mapping[Hashable, Any]) -> str:
    """Say in how many seeds a twin fails to train."""
    return f"{outcome['failed']} of {count(outcome['n'], 'seed')}"


def _seeds(numbers: pd.Series) -> str:
    least, most = int(numbers.min()), int(numbers.max())
    if most == 1:
        return "1 seed, which supports no verdict"
    return count(most, "seed") if least == most else f"{least} to {most} seeds"
