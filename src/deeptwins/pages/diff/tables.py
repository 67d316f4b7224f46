"""From two sources to tables of text, a column per side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from deeptwins.findings.contrast import APART, OPEN, SAME, WITHIN, Contrast
from deeptwins.findings.learning import DIVERGED, UNTRAINED, VOID
from deeptwins.pages.diff.facts import SHOWN, DiffFacts, places, spans
from deeptwins.pages.study import prose, provenance
from deeptwins.pages.study import tables as of_study
from deeptwins.pages.study.facts import StudyFacts
from deeptwins.pages.tables import Column, Table, shorten
from deeptwins.pages.wording import apart, count, decimals_adding, difference, number, p_value, place_of, points

NONE = "-"
_OPEN = {DIVERGED: "a net diverged", UNTRAINED: "neither trained"}


class Differing(NamedTuple):
    """A field that the two sides do not share."""

    key: str
    a: str
    b: str


def setting(row: Mapping[Any, Any]) -> str:
    """Name what is varied beside the depth: `warmup 5`, or `A: warmup 5, B: warmup 9`; empty where nothing is."""
    a, b = (str(row[group]).partition(", ")[2] for group in ("group_a", "group_b"))
    return a if a == b else ", ".join(f"{side}: {label}" for side, label in (("A", a), ("B", b)) if label)


def net(row: Mapping[Any, Any]) -> str:
    """Name a net: `plain of cifar 56 (warmup 5)`."""
    return f"{row['twin']} of {row['family']} {row['depth']}" + (f" ({text})" if (text := setting(row)) else "")


def errors(row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """Write both errors and the difference of the numbers as written; a net that did not train has no difference."""
    a, b = row["mean_a"], row["mean_b"]
    decimals = decimals_adding(b, a)
    apart_by = NONE if row["verdict"] in VOID else difference(b, a, decimals)
    return number(a, decimals), number(b, decimals), apart_by


def corrected(row: Mapping[Any, Any]) -> bool:
    """Whether a difference is within seeds only by the correction for many tests: its own interval excludes 0."""
    return row["result"] == WITHIN and bool(of_study.corrected(row))


def spread(row: Mapping[Any, Any]) -> str:
    """Write the interval of a difference in the form of `errors`; none where nets are the same or cannot be judged."""
    decimals = decimals_adding(row["mean_b"], row["mean_a"])
    return NONE if row["result"] in {SAME, OPEN} else apart(row["low"], row["high"], decimals)


def result(row: Mapping[Any, Any], found: Contrast) -> str:
    """Say whether a net is the same on both sides, and by which evidence."""
    text = str(row["result"])
    if row["result"] == OPEN:
        text += f": {why_open(row)}"
    elif row["verdict"] == "agree":
        text += f", less than {count(found.margin, 'point')}"
    elif row["result"] != SAME:
        which = f"B {row['verdict']} A, " if row["result"] == APART else ""
        text += f", {which}corrected p {p_value(row['p_holm'])}"
    if row["same"] and row["result"] != SAME:
        text += f"; {row['same']} of {count(row['n'], 'seed')} the same to the bit"
    return text


def furthest(rows: pd.DataFrame) -> dict[Any, Any]:
    """Return the row whose difference is the largest."""
    return max(rows.to_dict("records"), key=lambda row: abs(row["difference"]))


def why_open(row: Mapping[Any, Any]) -> str:
    """Say why a net cannot be judged."""
    return _OPEN.get(str(row["verdict"]), "one seed")


def nets(found: Contrast, metric: str) -> Table:
    """Tabulate an error of every net on both sides."""
    rows = found.nets[found.nets["metric"] == metric]
    words = (
        Column("twin", "twin"),
        Column("family", "family"),
        Column("depth", "depth"),
        Column("setting", lambda row: setting(row) or NONE),
        Column("result", lambda row: result(row, found)),
    )
    numbers = (
        Column("A (%)", lambda row: errors(row)[0]),
        Column("B (%)", lambda row: errors(row)[1]),
        Column("B - A", lambda row: errors(row)[2]),
        Column("95 % interval", spread),
        of_study.SEEDS,
    )
    name = of_study.METRICS[metric]
    caption = f"{name[0].upper()}{name[1:]}; B - A in points, paired by seed"
    if found.tests:
        caption += f"; p corrected for {count(found.tests, 'test')}"
    return shorten(Table.of(rows, caption, words, numbers))


def unpaired(found: Contrast) -> Table:
    """Tabulate the nets, and seeds of nets, that only one side has."""
    words = (
        Column("only in", "side"),
        Column("family", "group"),
        Column("depth", "depth"),
        Column("twin", "twin"),
        Column("seeds", "seeds", spans),
    )
    caption = "Nets that only one side has, or of which it has more seeds"
    return Table.of(found.unpaired, caption, words, (Column("seeds in both", "in_both"),))


def trends(found: Contrast) -> Table:
    """Tabulate the trends over depth of both sides, with their own seeds and depths."""
    first = (Column("twin", "twin"), Column("family", "family"))
    return _beside(
        found.trends, "From the shallowest net to the deepest, in points, with 95 % intervals", first, _trend
    )


def effects(found: Contrast) -> Table:
    """Tabulate the differences between twins of both sides, with their own seeds."""
    depths = Column("depth", ("depth_twin", "depth_other"), lambda *both: "/".join(map(str, dict.fromkeys(both))))
    first = (Column("twins", ("twin", "other"), "{} - {}".format), Column("family", "family"), depths)
    return _beside(found.effects, "Differences between twins, in points, with 95 % intervals", first, _effect)


def _beside(table: pd.DataFrame, caption: str, first: Sequence[Column], say: Callable[..., str]) -> Table:
    """Tabulate findings, a column per side."""
    rows = table[table["metric"].isin(SHOWN)] if len(table) else table
    words = (
        *first,
        Column("setting", lambda row: setting(row) or NONE),
        Column("metric", "metric", of_study.METRICS.__getitem__),
        *(Column(side, lambda row, side=side: say(row, side.lower())) for side in ("A", "B")),  # type: ignore[misc]
    )
    return shorten(Table.of(rows, caption, words))


def _trend(row: Mapping[Any, Any], side: str) -> str:
    """Say what a trend does, between which depths."""
    if row[f"depths_{side}"] == 1:
        return "one depth"
    return f"{_effect(row, side)}, depth {row[f'shallowest_{side}']} to {row[f'deepest_{side}']}"


def _effect(row: Mapping[Any, Any], side: str) -> str:
    """Write a difference with its interval, its seeds and its verdict."""
    own = {key: row[f"{key}_{side}"] for key in ("difference", "low", "high", "n", "p_holm", "verdict")}
    evidence = f"{apart(own['low'], own['high'])}), {count(own['n'], 'seed')}"
    return f"{points(own['difference'])} ({evidence}: {of_study.verdict(own)}"


def numbers(found: Contrast) -> Table:
    """Tabulate how many nets have each recorded number the same to the bit."""
    words = (Column("record", "kind"), Column("number", "number"))
    some = (Column("nets of all seeds", "nets"), Column("the same to the bit", "same"))
    return Table.of(found.numbers, "Every number that both sides recorded, over all records of a net", words, some)


def answers(facts: DiffFacts) -> Table:
    """Tabulate what both sides answer to their questions."""
    rows = [
        (letter, side.facts.study.question, prose.answer(side.facts.study, side.facts.findings.claims) or NONE)
        for letter, side in facts.sides
    ]
    return Table("What each study asks and answers", ("side", "question", "answer"), [[*row] for row in rows], 3)


def claims(facts: DiffFacts) -> list[tuple[str, str, str]]:
    """List what became of each claim on both sides; a dash where a side does not claim it."""
    results: dict[str, dict[str, list[str]]] = {}
    for letter, side in facts.sides:
        table = side.facts.findings.claims
        for row in table.to_dict("records"):
            several = [group for group in table["group"] if group.split(", ")[0] == row["group"].split(", ")[0]]
            where = place_of(row["group"], several)
            family = row["group"].split(", ")[0]
            text = f"{row['result']}{of_study.why(row)} ({count(row['n'], 'seed')})"
            named = results.setdefault(f"{family}: {of_study.claim(row)}", {"A": [], "B": []})
            named[letter].append(f"{where}: {text}" if where else text)
    return [(claim, "; ".join(some["A"]) or NONE, "; ".join(some["B"]) or NONE) for claim, some in results.items()]


def fields(facts: DiffFacts) -> list[Differing]:
    """List the fields of the studies, of their nets and recipes, that are not the same."""
    sides = [{**_trained(side.facts), **_study(side.facts)} for _, side in facts.sides]
    return [
        Differing(key, *(side.get(key, NONE) for side in sides))
        for key in dict.fromkeys(key for side in sides for key in side)
        if sides[0].get(key) != sides[1].get(key)
    ]


def _study(facts: StudyFacts) -> dict[str, str]:
    """Write what a study says about itself."""
    study = facts.study
    answer = study.answer
    return {
        "question": study.question,
        "source": study.source or NONE,
        "scale": study.scale or NONE,
        "answer.met": answer.met if answer else NONE,
        "answer.contradicted": answer.contradicted if answer else NONE,
        "flat_within_pct": f"{study.flat_within_pct:g}",
        "fails_above_pct": _bound(study.fails_above_pct),
        "published values": str(len(study.paper)),
    }


def _bound(value: float | None) -> str:
    return NONE if value is None else f"{value:g}"


def _trained(facts: StudyFacts) -> dict[str, str]:
    """Write which nets were trained and how, by the keys of a study file."""
    runs = facts.frames.runs
    grid = {
        "twins": ", ".join(dict.fromkeys(runs["twin"])),
        "family and depth": places(runs),
        "seed": spans(runs["seed"]),
        "dataset": ", ".join(dict.fromkeys(runs["dataset"])),
    }
    by_twin = runs.sort_values("twin", kind="stable")  # whichever of them a study names first
    return grid | {row[0]: row[1] for row in provenance.recipe(by_twin).rows}


def origin(facts: DiffFacts) -> Table:
    """Tabulate where the numbers of both sides come from."""
    sides = [{"records": side.where} | dict(provenance.origin(side.facts.frames).rows) for _, side in facts.sides]
    keys = dict.fromkeys(key for side in sides for key in side)
    rows = [[key, *(side.get(key, NONE) for side in sides)] for key in keys]
    return Table("Where the numbers come from", ("what", *(f"{s}: {side.name}" for s, side in facts.sides)), rows, 3)


def two_sided(rows: Sequence[Sequence[str]], caption: str, head: str) -> Table:
    """Tabulate texts, a column per side."""
    return Table(caption, (head, "A", "B"), [[*row] for row in rows], 3)


def frame(rows: Sequence[Sequence[str]], head: str) -> pd.DataFrame:
    """Make a table of texts, a column per side."""
    return pd.DataFrame([*rows], columns=[head, "a", "b"])
