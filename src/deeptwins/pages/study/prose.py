"""From findings to words: the answer and the verdict. Plain text: the templates escape it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from deeptwins.findings.derive import Findings
from deeptwins.findings.frames import Frames
from deeptwins.findings.judging import CONTRADICTED, INCONCLUSIVE, MET, UNDECIDED, jointly
from deeptwins.findings.learning import AT_CHANCE, DIVERGED, VOID
from deeptwins.pages.study.comparing import comparisons, lost_seeds
from deeptwins.pages.study.tables import LOST, METRICS, corrected, instead, says
from deeptwins.pages.tables import span
from deeptwins.pages.wording import (
    apart,
    cannot_tell,
    capital,
    count,
    decimals_adding,
    decimals_apart,
    difference,
    listed,
    of_group,
    percent,
    place_of,
    share,
    within,
)
from deeptwins.study import Study
from deeptwins.system.importing import is_own

_AGREEMENTS = {"differ": "differ"} | dict.fromkeys(VOID, "cannot be compared")
_READINGS = {"agree": " agrees", "differ": " differs", INCONCLUSIVE: ", undecided"} | dict.fromkeys(VOID, "")
_STATES = {DIVERGED: "diverged", AT_CHANCE: "at chance"}
_TRENDS = {"rises": "rises with depth", "falls": "falls with depth", "flat": "stays flat"}
_COMPARED = {"above": "is above", "below": "is below", "agree": "agrees with"}
_NUMBERS = 4  # at most, of several families or settings
_NAMED = 3  # claims with one result are named up to this number; of more, the number is given


def evidence(study: Study, frames: Frames, findings: Findings) -> list[str]:
    """Say what the answer rests on.

    That is, where the study claims that twins agree, whether they do; else, where depth varies, what it does to
    errors. Then follows how twins compare: all of them at a single depth, else those of which a claim says how. Where
    no net trained there is no evidence.
    """
    if len(findings.untrained) == len(findings.final):
        return []
    sentences = _agreements(study, findings.agreements, findings.drift)
    trended = bool((findings.trends["depths"] > 1).any()) or findings.comparisons.empty
    if trended and (not sentences or any(claim.trend for claim in study.expect)):
        sentences += _trends(study, frames, findings)
    return [*sentences, *comparisons(study, findings)]


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
    lost, texts = lost_seeds(findings), []
    for group, twin, nets in cells:
        shallowest, deepest = nets.to_dict("records")[0], nets.to_dict("records")[-1]
        states = lost.get((group, twin, deepest["depth"]), {})
        seeds = count(deepest["n"], "seed")
        note = f"{METRICS[metric]} at depth {deepest['depth']}"
        value = _mean(deepest, states)
        for state, number in states.items():
            note += (
                f", in {number} of {seeds}" if value == _STATES[state] else f", {_STATES[state]} in {number} of {seeds}"
            )
        if len(nets) > 1:
            before = lost.get((group, twin, shallowest["depth"]), {})
            note += f"; {_mean(shallowest, before)} at depth {shallowest['depth']}"
        where = place_of(group, groups)
        texts.append((f"{twin}, {where}" if where else twin, value, note))
    return texts


def _mean(net: Mapping[Hashable, Any], states: Mapping[str, int]) -> str:
    """Write the error of a net, or that it diverged in all seeds: the 100 % of these are no measured error."""
    return "diverged" if states.get(DIVERGED) == net["n"] else percent(net["mean"])


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
    what = f"the training error of {subject} is not shown to be better than chance ({chance})"
    if diverged == len(nets):
        what = f"{subject} diverged"
    elif diverged:
        what = f"{diverged} of {len(nets)} nets diverged; the others are not shown to be better than chance ({chance})"
    decide = "its error decides" if len(nets) == 1 else "their errors decide"
    return f"no net trained: {what}. So {decide} nothing."


def answer(study: Study, claims: pd.DataFrame) -> str:
    """Answer the study's question in a sentence or two, from what became of its claims; empty where it has none.

    Where all claims are met, or all are contradicted, and the study words that answer, it is the study's. Else it says
    which claims are met, what was found instead of the contradicted ones, and which cannot be decided, and why.
    """
    results = {*claims["result"]}
    if not results:
        return ""
    if study.answer and len(results) == 1 and results != {UNDECIDED}:
        return study.answer.met if results == {MET} else study.answer.contradicted
    cases = {result: _cases(study, claims, result) for result in (MET, CONTRADICTED, UNDECIDED)}
    total = sum(map(len, cases.values()))
    clauses = []
    if met := cases[MET]:
        clauses.append(_named([says(row) + row["at"] for row in met], "are met", total))
    if contradicted := cases[CONTRADICTED]:
        named = [instead(row, study.flat_within_pct) + row["at"] for row in contradicted]
        text = _named(named, "are contradicted", total)
        clauses.append(text if len(contradicted) > _NAMED or not met else f"not as expected, {text}")
    clauses += _undecided(cases[UNDECIDED], total)
    text = "; ".join(clauses)
    if met and len(results) > 1:
        return f"{'Partly' if study.answer else 'Partly as expected'}. {capital(text)}."
    begin = "As expected: " if met else "Not as expected: " if contradicted else ""
    return f"{capital(begin + text)}."


def found(study: Study, findings: Findings) -> str:
    """Say in a sentence what was found of training error, for a study that claims nothing; empty if no net trained.

    That is how it moves with depth; at a single depth, how twins compare with the first.
    """
    if len(findings.untrained) == len(findings.final):
        return ""
    trends = findings.trends[(findings.trends["metric"] == "train_error_pct") & (findings.trends["depths"] > 1)]
    table = findings.comparisons[findings.comparisons["metric"] == "train_error_pct"]
    first = next(iter(study.twins))
    table, words = table[table["other"] == first], {key: f"{text} that of {first}" for key, text in _COMPARED.items()}
    undecided = f"is above or below that of {first}"
    if len(trends):
        table, words, undecided = trends, _TRENDS, "rises or falls"
    clauses = []
    for verdict in dict.fromkeys(table["verdict"]):
        rows = table[table["verdict"] == verdict]
        twins = listed(f"{row['twin']}{within(row['group'], table['group'])}" for row in rows.to_dict("records"))
        if verdict in words:
            clauses.append(f"training error of {twins} {words[verdict]}")
        elif verdict == INCONCLUSIVE:
            clauses.append(f"whether training error of {twins} {undecided}, {cannot_tell(rows['n'].min())}")
        elif verdict in LOST:
            clauses.append(f"training error of {twins} cannot be judged, as nets {LOST[verdict]}")
    return f"{capital('; '.join(clauses))}." if clauses else ""


def _cases(study: Study, claims: pd.DataFrame, result: str) -> list[dict[Hashable, Any]]:
    """Return the claims that have a result, each once, or once for each family or setting where these differ.

    `at` names the family or setting then, and where the claim is limited to it and does not say so in words of its own.
    """
    cases: list[dict[Hashable, Any]] = []
    for number, rows in claims.groupby("claim", sort=False):
        having = rows[rows["result"] == result].to_dict("records")
        claim = study.expect[int(str(number))]
        limited = not claim.says and bool(claim.family or claim.where)
        if len(having) == len(rows) and rows["verdict"].nunique() == 1 and not limited:
            cases.append(having[0] | {"at": "", "n": rows["n"].min(), "of": rows["of"].max()})
        else:
            places = [*claims["group"], *([""] if limited else [])]  # which are not all of the study's
            cases += [row | {"at": within(row["group"], places)} for row in having]
    return cases


def _named(clauses: Sequence[str], became: str, total: int) -> str:
    """Join what is said of some claims; where they are many, say how many of them there are."""
    return listed(clauses) if len(clauses) <= _NAMED else f"{len(clauses)} of {total} claims {became}"


def _undecided(cases: Sequence[Mapping[Hashable, Any]], total: int) -> list[str]:
    """Say what cannot be told, in a clause for each reason why."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in cases:
        reason = cannot_tell(row["n"]) if row["n"] else "their runs have not finished"
        if row["verdict"] in VOID:
            reason = f"nets {LOST[row['verdict']]}"
        reasons[reason].append(f"whether {says(row)}{row['at']}")
    clauses = []
    for reason, named in reasons.items():
        seeds = reason.endswith("cannot tell")
        if len(named) > _NAMED:
            clauses.append(f"{len(named)} of {total} claims are undecided, as {reason}")
        elif seeds and len(named) == len(cases) == total:
            clauses.append(f"{reason} {', nor '.join(named)}")
        else:
            clauses.append(f"{listed(named)}{', ' if seeds else ' is undecided, as '}{reason}")
    return clauses


def _agreements(study: Study, agreements: pd.DataFrame, drift: pd.DataFrame) -> list[str]:
    """Say in a paragraph per family and pair of twins whether their errors agree, and how far their losses drift."""
    paragraphs = []
    for (group, twin, other), rows in agreements.groupby(["group", "twin", "other"], sort=False):
        metrics = {metric: _agree(cell["verdict"]) for metric, cell in rows.groupby("metric", sort=False)}
        together = _agree(metrics.values())
        agree = f"agree within {count(study.flat_within_pct, 'point')}"
        undecided = f"{cannot_tell(rows['n'].min())} whether the twins {twin} and {other} {agree}"
        decided = f"the twins {twin} and {other} {agree if together == 'agree' else _AGREEMENTS.get(together)}"
        sentences = [undecided if together == INCONCLUSIVE else decided]
        for metric, verdict in metrics.items():
            reading = _READINGS[verdict] if len({*metrics.values()}) > 1 else ""
            errors = _difference(rows[rows["metric"] == metric], verdict)
            sentences.append(f"{capital(METRICS[str(metric)])}{reading}: {errors}")
        traces = drift[(drift["group"] == group) & (drift["twin"] == twin) & (drift["other"] == other)]
        if len(traces):
            sentences.append(f"Loss traces {_drift(traces)}")
        paragraphs.append(of_group(group, agreements["group"], f"{'. '.join(sentences)}."))
    return paragraphs


def _agree(verdicts: Iterable[str]) -> str:
    return jointly(list(verdicts), "agree")


def _difference(depths: pd.DataFrame, verdict: str) -> str:
    """Say how an error of two twins compares: of the depths with the overall verdict, where they lie furthest apart."""
    if verdict in VOID:
        return f"nets {LOST[verdict]}"
    decisive = depths[depths["verdict"] == verdict]
    row = decisive.to_dict("records")[decisive["difference"].abs().to_numpy().argmax()]
    place = f" at depth {row['depth']}, where they differ most" if len(depths) > 1 else ""
    decimals = decimals_adding(row["mean"], row["other_mean"])
    errors = f"{percent(row['mean'], decimals)} against {percent(row['other_mean'], decimals)}{place}"
    return f"{errors} {_evidence(row, row['mean'], row['other_mean'], decimals)}"


def _evidence(row: Mapping[Hashable, Any], value: float, other: float, decimals: int) -> str:
    """Write the difference of two errors, which are written with so many decimals, its interval and its seeds."""
    text = f"{difference(value, other, decimals)} points"
    if row["n"] == 1:
        return f"({text}, 1 seed, which supports no verdict)"
    interval = f"95 % interval {apart(row['low'], row['high'], decimals)}"
    return f"({text}, {interval}, {count(row['n'], 'seed')}{corrected(row)})"


def _drift(traces: pd.DataFrame) -> str:
    """Say how far the losses of two twins lie apart, as the predicate of a clause."""
    furthest = traces.iloc[traces["largest"].to_numpy().argmax()]
    if furthest["largest"] == 0:
        return "are identical to the last bit"
    text = f"drift apart by at most {share(furthest['largest'])} of the loss"
    chance = furthest["between_seeds"]
    return text if pd.isna(chance) else f"{text}, where two seeds of {furthest['other']} differ by {share(chance)}"


def _trends(study: Study, frames: Frames, findings: Findings) -> list[str]:
    """Say in a paragraph per family what training error does with depth, a sentence per twin."""
    names = _by_shortcut(study, frames)
    table = findings.trends[findings.trends["metric"] == "train_error_pct"]
    lost = lost_seeds(findings)
    paragraphs = []
    for group, rows in table.groupby("group", sort=False):
        trend = {row["twin"]: row for row in rows.to_dict("records")}
        sentences: list[str] = []
        for twin in (twin for twin in names if twin in trend):
            row = trend[twin]
            row["lost"] = {depth: counts for (at, name, depth), counts in lost.items() if (at, name) == (group, twin)}
            # Where shortcuts tell twins apart, the first sentence names the error: "with shortcuts it ...".
            subject = "it" if sentences else "training error"
            if not names[twin]:
                subject = f"training error of {twin}"
            course = _course(subject, row, study.flat_within_pct)
            sentence = f"{names[twin]}, {course}." if names[twin] else f"{course}."
            sentences.append(capital(sentence) if sentences else sentence)
        paragraphs.append(of_group(group, table["group"], " ".join(sentences)))
    return paragraphs


def _by_shortcut(study: Study, frames: Frames) -> dict[str, str]:
    """Say of each twin which it is by its shortcuts, where these tell one without from the others; else nothing.

    The twin without shortcuts comes first.
    """
    shortcuts = frames.runs.groupby("twin", sort=False)["shortcut"].agg(lambda names: "/".join(dict.fromkeys(names)))
    without = [twin for twin in study.twins if shortcuts.get(twin) == "none"]
    others = [twin for twin in study.twins if twin not in without]
    own = frames.runs["family"].map(is_own).any()  # whose shortcuts nobody here knows
    if own or len(without) != 1 or not shortcuts[others].is_unique:
        return dict.fromkeys(study.twins, "")
    if len(others) == 1:
        return {without[0]: "without shortcuts", others[0]: "with shortcuts"}
    return {without[0]: "without shortcuts"} | {twin: f"with {shortcuts[twin]} shortcuts" for twin in others}


def _course(error: str, trend: Mapping[Hashable, Any], flat_within_pct: float) -> str:
    """Say how one twin's error moves with depth, or why that cannot be judged.

    Args:
        error: how the sentence calls it.
        trend: of the twin.
        flat_within_pct: the study's margin.
    """
    n, verdict = int(trend["n"]), trend["verdict"]
    shallow, deep = trend["shallowest_mean"], trend["deepest_mean"]
    if verdict in VOID:
        return f"{error} has no trend to judge: {_ends(trend)}"
    if n == 0:
        return f"{error} has no seed that finished at every depth"
    if trend["depths"] == 1:
        return f"{error} is {percent(shallow)} at depth {trend['shallowest']}, the only depth ({count(n, 'seed')})"
    # What rises or falls is not written with equal numbers.
    decimals = decimals_adding(deep, shallow, decimals_apart(shallow, deep) if verdict in {"rises", "falls"} else 1)
    start = f"{percent(shallow, decimals)} at depth {trend['shallowest']}"
    end = f"{percent(deep, decimals)} at depth {trend['deepest']}"
    evidence = _evidence(trend, deep, shallow, decimals)
    if verdict in {"rises", "falls"}:
        return f"{error} {verdict} from {start} to {end} {evidence}"
    if verdict == "flat":
        return f"{error} stays within {count(flat_within_pct, 'point')}: {start}, {end} {evidence}"
    return f"{cannot_tell(n)} whether {error} rises or falls: {start}, {end} {evidence}"


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
