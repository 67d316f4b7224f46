"""From timings of throughput to words and tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pandas as pd

from deeptwins.findings.rows import grouped
from deeptwins.pages import targets
from deeptwins.pages.page import Number
from deeptwins.pages.tables import Column, Table
from deeptwins.pages.targets import Target
from deeptwins.pages.throughput.numbers import ALONE, COMPILED, TIMES_AS_FAST, TOGETHER, USUAL, WAYS, Throughput
from deeptwins.pages.wording import count, digits, listed, of_roofline, spread
from deeptwins.records.benchmarks import distinct

NAMES = {
    TOGETHER: "all nets together",
    ALONE: "the trainer, one net at a time",
    USUAL: "the usual loop",
    COMPILED: "the compiled loop",
}
WAY, PRECISION = Column("way", "way", NAMES.__getitem__), Column("precision", "precision")
STUDY_PRECISION = "tf32"
MINUTES = 10  # for one seed of the study


def _of_loop(loop: str, ratios: pd.DataFrame) -> pd.Series:
    return ratios["loop"] == loop


TARGETS = tuple(
    Target(f"{least:g} times as fast as {NAMES[loop]}, both {precision}", "ratio", least, partial(_of_loop, loop))
    for (loop, precision), least in TIMES_AS_FAST.items()
)


def answer(facts: Throughput) -> str:
    """Say how long one seed of the study would take, in its own precision if that was timed."""
    if facts.rehearsal:
        return f"Not known: these timings are a rehearsal on {facts.origin.device}, and mean nothing for a GPU."
    first = _rates(facts)[0]
    return (
        f"One seed in {digits(first['minutes'])} minutes, projected: {count(first['nets'], 'net')} together do"
        f" {digits(first['net_iterations_per_s'])} net-iterations/s in {first['precision']} on {facts.origin.device}."
    )


def verdict(facts: Throughput) -> list[str]:
    """Say in sentences how fast all nets train in other precisions and other ways, and what became of the targets."""
    sentences = [
        f"In {rate['precision']}: {digits(rate['net_iterations_per_s'])} net-iterations/s, and"
        f" {digits(rate['minutes'])} minutes for one seed, projected."
        for rate in _rates(facts)[0 if facts.rehearsal else 1 :]
    ]
    if len(facts.ratios):
        ratios = [
            f"{digits(row['ratio'])} times as fast as {NAMES[row['loop']]} (both {row['precision']})"
            for row in facts.ratios.to_dict("records")
        ]
        sentences.append(f"All nets together train {listed(ratios)}.")
    if facts.judged:
        results = [f"{target}: {result}" for target, _, result in target_table(facts).rows]
        sentences.append(f"Targets: {'; '.join(results)}.")
    else:
        sentences.append(f"No target applies: they are for an {' or '.join(targets.DEVICES)}.")
    return sentences


def numbers(facts: Throughput) -> list[Number]:
    """Return the rate of each way; none for a rehearsal."""
    return (
        []
        if facts.rehearsal
        else [
            Number(
                f"{NAMES[rate['way']]}, {rate['precision']}",
                f"{digits(rate['net_iterations_per_s'])}/s",
                f"net-iterations; {digits(rate['training_minutes'])} min of training for one seed, projected",
            )
            for rate in facts.rates.to_dict("records")
        ]
    )


def cautions(facts: Throughput) -> list[str]:
    """Warn where a time is less than its memory roofline: that roofline is then not a bound."""
    if not (facts.cases["percent_of_roofline"] > 100).any():  # noqa: PLR2004
        return []
    sentence = (
        "Some iterations took less time than the memory roofline allows (> 100 %). The device was busy while its copy"
        " speed was measured, or the data stayed in a cache: these shares say nothing."
    )
    return [sentence]


def _rates(facts: Throughput) -> list[dict[Any, Any]]:
    """Return the rates of all nets together, that in the study's own precision first."""
    in_study = facts.together["precision"] == STUDY_PRECISION
    return [*pd.concat([facts.together[in_study], facts.together[~in_study]]).to_dict("records")]


def summary(facts: Throughput) -> tuple[Table, ...]:
    """Tabulate all nets of one seed: their rates, the projection, and the targets."""
    return rate_table(facts.rates), projection_table(facts.together), target_table(facts)


def target_table(facts: Throughput) -> Table:
    """Set what was measured beside the targets; they are judged on the devices that they are for.

    A projection is not judged: it lies within the target, or beyond it.
    """
    rows = []
    for target in TARGETS:
        ratio = next(iter(target.rows(facts.ratios)["ratio"]), math.nan)
        rows.append(_compared(facts, target.text, ratio, digits(ratio), target.result(ratio)))
    minutes = facts.together.set_index("precision")["minutes"].get(STUDY_PRECISION, math.nan)
    text = f"one seed of the study in {MINUTES} minutes, {STUDY_PRECISION}"
    result = f"{'within' if minutes <= MINUTES else 'beyond'} it, by a projection"
    rows.append(_compared(facts, text, minutes, f"projected: {digits(minutes)} min", result))
    return Table(targets.WHERE, ("target", "measured", "result"), rows, 1)


def _compared(facts: Throughput, target: str, value: float, measured: str, result: str) -> list[str]:
    if math.isnan(value):
        return [target, "-", "not measured"]
    return [target, measured, result if facts.judged else "no target applies"]


def rate_table(rates: pd.DataFrame) -> Table:
    """Tabulate the ways."""
    numbers = (
        Column("net-iterations/s", "net_iterations_per_s", digits),
        Column("slowest to fastest round", ("slowest_per_s", "fastest_per_s", "rounds"), spread),
        Column("% of memory roofline", "percent_of_roofline", lambda share: of_roofline(share / 100)),
        Column("one seed, training only (min, projected)", "training_minutes", digits),
    )
    return Table.of(rates, "All nets of one seed", (WAY, PRECISION), numbers)


def projection_table(together: pd.DataFrame) -> Table:
    """Tabulate what the time of one seed of the study is projected from."""
    numbers = (
        Column("training (min)", "training_minutes", digits),
        Column("evaluations", "evaluations", "{:g}".format),
        Column("each (s)", "evaluation_s", digits),
        Column("one seed (min)", "minutes", digits),
    )
    caption = f"One seed of the study, projected: {NAMES[TOGETHER]}"
    return Table.of(together, caption, (PRECISION,), numbers)


def conditions(cases: pd.DataFrame) -> Table:
    """Tabulate the conditions in which the ways differ, by which a reader judges whether comparing them is fair."""
    groups = sorted(grouped(cases, ["way", "precision"]), key=lambda group: WAYS.index(group[0]["way"]))
    rows = [place | {key: group[key] for key in group if key not in place} for place, group in groups]
    numbers = (
        Column("workers", "workers", _values),
        Column("compiled by", "backend", lambda names: distinct(names) or "-"),
        Column("iterations", "iterations", _values),
        Column("rounds", "rounds", _values),
    )
    caption = "How each way was timed: convolutions in TF32, workers, iterations per round"
    return Table.of(rows, caption, (WAY, PRECISION, Column("TF32", "convolutions_in_tf32", _allowed)), numbers)


def _allowed(cases: pd.Series) -> str:
    return distinct("allowed" if allowed else "no" for allowed in cases)


def _values(cases: pd.Series) -> str:
    """Write the numbers of some cases, each once."""
    return distinct(f"{value:g}" for value in cases.dropna()) or "-"


def case_table(cases: pd.DataFrame) -> Table:
    """Tabulate every net alone, and in the loops."""
    words = Column("way", "way", lambda way: NAMES[way].partition(",")[0]), Column("twin", "twin"), PRECISION
    numbers = (
        Column("depth", "depth", "{:g}".format),
        Column("ms per iteration", "ms_per_iteration", digits),
        Column("fastest to slowest", ("fastest_ms", "slowest_ms", "rounds"), spread),
        Column("images/s", "images_per_s", digits),
        Column("roofline (ms)", "roofline_ms", digits),
        Column("% of roofline", "percent_of_roofline", lambda share: of_roofline(share / 100)),
    )
    caption = "Every net by itself, with its fastest and slowest round"
    return Table.of(cases[cases["way"] != TOGETHER], caption, words, numbers)


def provenance(facts: Throughput) -> Table:
    """Tabulate where the numbers come from."""
    first = facts.cases.iloc[0]
    return Table.facts(
        [
            *facts.origin.rows,
            ("data", f"{first['dataset']}, {first['image']}"),
            ("batch size", f"{first['batch']:g}"),
            ("width", f"{first['width']:g}"),
            ("a copy", f"{digits(first['copy_gb_per_s'])} GB/s"),
        ]
    )
