"""From timings of packing and of choices to words and tables of text. Plain text: the templates escape it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from deeptwins.pages.choices.numbers import CANDIDATE, DEPTHS, LAYOUT, LEAST, NETS, SEPARATE, SETTING, Choices
from deeptwins.pages.page import Number
from deeptwins.pages.tables import Column, Table, span
from deeptwins.pages.wording import count, digits, listed, spread

RULE_DEPTHS = listed(map(str, DEPTHS))
LABELS = {"nets": "{} nets", "depth": "depth {}", "width": "width {}", "precision": "{}", "layout": "{}"}


def verdict(facts: Choices) -> list[str]:
    """Say in sentences whether packing would pay, and whether another value of a choice was faster."""
    sentences = []
    if len(facts.decisive):
        sentences.append(_packing_verdict(facts))
    elif len(facts.packing):
        sentences.append(f"Not known: what decides whether packing pays was not timed on {facts.origin.device}.")
    if len(facts.choices):
        for choice, values in facts.choices.groupby("choice", sort=False):
            sentences.append(_choice_verdict(str(choice), values, rehearsal=facts.rehearsal))
    return sentences


def numbers(facts: Choices) -> list[Number]:
    """Give how many times as fast each way of packing is in the settings that decide, and how large the noise is."""
    if facts.packing.empty:
        return []
    decisive = (facts.packing["layout"] == LAYOUT) & (facts.packing["nets"] == NETS)
    rows = facts.packing[decisive].groupby("variant", sort=False)["ratio"]
    notes = {SEPARATE: "one after another, against themselves: the noise"}
    packed = f"times as fast as one after another, {count(NETS, 'net')} packed, {LAYOUT}"
    numbers = [Number(str(variant), _range(ratios), notes.get(str(variant), packed)) for variant, ratios in rows]
    return sorted(numbers, key=lambda number: number.label == SEPARATE)


def _range(ratios: pd.Series) -> str:
    return span(ratios, "{:.2f}".format)


def _packing_verdict(facts: Choices) -> str:
    """Say what packing is worth by its rule: the depth that gains least decides, and only all depths can say yes."""
    complete = {*DEPTHS} <= {*facts.decisive["depth"]}
    answer = "Yes" if complete else f"Not known, as not both depths {RULE_DEPTHS} were timed"
    if facts.decisive["ratio"].min() < LEAST:
        answer = "No"
    return (
        f"{answer}: on {facts.origin.device}, {count(NETS, 'net')} packed into one train"
        f" {_range(facts.decisive['ratio'])} times as fast as one after another in the trainer's layout, {LAYOUT};"
        f" packing pays from {LEAST:g} on."
    )


def _choice_verdict(choice: str, values: pd.DataFrame, *, rehearsal: bool) -> str:
    """Set the trainer's value beside the fastest one."""
    fastest = values.sort_values("ms", kind="stable").iloc[0]
    trainers = values[values["the_trainers"]]
    text = f"{choice[0].upper()}{choice[1:]}{' (a rehearsal)' if rehearsal else ''}: "
    if trainers.empty:
        return f"{text}the trainer's value, {values['chosen'].iloc[0]:,}, was not timed."
    mine = trainers.iloc[0]
    text += f"the trainer's value, {mine['value']:,}, takes {digits(mine['ms'])} ms"
    if fastest["value"] == mine["value"]:
        return f"{text}, the fastest of {len(values)}."
    return f"{text}; {fastest['value']:,} is fastest, with {digits(fastest['ms'])} ms."


def summary(facts: Choices) -> list[Table]:
    """Tabulate what each bench that was run has timed."""
    tables = [packing_table(facts.packing)] if len(facts.packing) else []
    if len(facts.choices):
        tables.append(choice_table(facts.choices))
    return tables


def packing_table(packing: pd.DataFrame) -> Table:
    """Tabulate a row per setting, named by the fields that differ, and a column per variant."""
    shared, variants = shared_keys(packing), list(dict.fromkeys(packing["variant"]))
    keys = [key for key in SETTING if key not in shared] or ["nets"]
    rows = []
    for _, group in packing.groupby(SETTING, sort=False):
        cases = {case["variant"]: case for case in group.to_dict("records")}
        row = {key: group[key].iloc[0] for key in keys}
        rows.append(row | {variant: cases.get(variant) for variant in (*variants, SEPARATE, CANDIDATE)})
    numbers = (
        *(Column(f"operators, {variant}", variant, _operators) for variant in (SEPARATE, CANDIDATE)),
        *(Column(variant, variant, _ratio) for variant in variants),
    )
    caption = "A step of all nets: number of PyTorch operators, and how many times as fast as one after another"
    return Table.of(rows, caption, [Column(key, key) for key in keys], numbers)


def _operators(case: Mapping[str, Any] | None) -> str:
    return "-" if case is None else f"{case['operators']:,}"


def _ratio(case: Mapping[str, Any] | None) -> str:
    """Write the median of a case's pairs, and its quartiles."""
    if case is None:
        return "-"
    return f"{case['ratio']:.2f} ({case['ratio_q1']:.2f} to {case['ratio_q3']:.2f})"


def choice_table(choices: pd.DataFrame) -> Table:
    """Tabulate a value per row."""
    words = (
        Column("choice", "choice"),
        Column("value", "value", "{:,}".format),
        Column("chosen", "the_trainers", lambda trainers: "the trainer's" if trainers else ""),
    )
    numbers = (
        Column("ms", "ms", digits),
        Column("fastest to slowest round", ("fastest_ms", "slowest_ms", "rounds"), spread),
        Column(
            "relative to the trainer's", "over_trainers", lambda ratio: "-" if math.isnan(ratio) else f"{ratio:.2f}"
        ),
    )
    return Table.of(choices, "Values that the trainer uses, and others", words, numbers)


def shared_keys(packing: pd.DataFrame) -> list[str]:
    """Name what is the same in all settings."""
    return [key for key in SETTING if packing[key].nunique() == 1]


def setting_names(packing: pd.DataFrame) -> list[str]:
    """Name the setting of each row by the fields that differ between rows."""
    shared = shared_keys(packing)
    forms = {key: form for key, form in LABELS.items() if key not in shared}
    return [", ".join(form.format(row[key]) for key, form in forms.items()) for row in packing.to_dict("records")]
