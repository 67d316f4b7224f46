"""From the timings of packing and of the trainer's choices to their page, `reports/choices/`."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from deeptwins.pages import page as pages
from deeptwins.pages.choices import figures, numbers
from deeptwins.pages.choices.numbers import CANDIDATE, DEPTHS, LAYOUT, LEAST, NETS, SEPARATE, Choices
from deeptwins.pages.page import Page, Section, Written, illustrate
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count, digits, listed, spread

NAME = "choices"
QUESTION = "Would many nets on one device train faster in another way?"
_DEPTHS = listed(map(str, DEPTHS))
PACKED = f"""
Packed nets stand channel beside channel in one net, so that one call serves all: with grouped convolutions (grouped)
or batched products (gemm). Each ratio is the median over pairs, a step of the nets one after another and then a packed
one, so that both meet the same noise; quartiles are in brackets. The variant {SEPARATE} sets the nets one after another
against themselves: it should be 1, and tells how much is noise. By its rule the trainer would pack if {CANDIDATE} were
at least {LEAST:g} times as fast for {count(NETS, "net")} in the layout that it trains in, {LAYOUT}, at the depths
{_DEPTHS}.
"""
CHOSEN = """
Each number of the trainer was tried with others in its place: an iteration of all nets of one seed, or one evaluation
of the deepest twins. Of several rounds the median counts.
"""
REHEARSED = """
The trainer's choices are for a GPU. Here they were rehearsed on a CPU, with tiny nets: these times show that everything
runs, and mean nothing.
"""


def write(path: Path, reports: Path) -> Written[None]:
    """Write the page of the timings in a file. Same file, same bytes.

    Raises:
        InputError: the file is not there or damaged, or the folder cannot be written.
    """
    found = numbers.load(path)
    said = verdict(found)
    page = Page(
        name=NAME,
        question=QUESTION,
        source="",
        verdict=said,
        remarks=[REHEARSED] if found.rehearsal else [],
        sections=[
            *([_packing(found)] if len(found.packing) else []),
            *([_choices(found.choices)] if len(found.choices) else []),
            Section(
                "Provenance", tables=(Table("Where the numbers come from", ("what", "value"), found.origin.rows, 2),)
            ),
            _reproduce(found),
        ],
        runs=count(len(found.packing) + len(found.choices), "case"),
        data={"packing": found.packing, "choices": found.choices},
        answer=said[0],
        date=found.origin.date,
    )
    folder = pages.save(page, reports)
    return Written(None, tuple(_tables(found)), tuple(said), folder / "index.html")


def verdict(found: Choices) -> list[str]:
    """Say in sentences whether packing would pay, and whether another value of a choice was faster."""
    said = []
    if len(decisive := found.decisive):
        least, most = decisive["ratio"].min(), decisive["ratio"].max()
        span = f"{least:.2f}" if least == most else f"{least:.2f} to {most:.2f}"
        timed = {*DEPTHS} <= {*decisive["depth"]}
        answer = "would not pay" if least < LEAST else "would pay" if timed else "may pay"
        said.append(
            f"Packing {answer} on {found.origin.device}: {CANDIDATE}, {count(NETS, 'net')} train {span} times as fast"
            f" as one after another in {LAYOUT}; the rule asks for {LEAST:g} at the depths {_DEPTHS}"
            f"{'' if timed else ', which were not all timed'}."
        )
    elif len(found.packing):
        said.append(f"Whether packing pays on {found.origin.device} is open: no setting of the rule was timed.")
    for choice, own in found.choices.groupby("choice", sort=False) if len(found.choices) else ():
        said.append(_chosen(str(choice), own, rehearsal=found.rehearsal))
    return said


def _chosen(choice: str, own: pd.DataFrame, *, rehearsal: bool) -> str:
    """Set the trainer's value beside the fastest one."""
    fastest = own.sort_values("ms", kind="stable").iloc[0]
    trainers = own[own["the_trainers"]]
    text = f"{choice[0].upper()}{choice[1:]}{' (a rehearsal)' if rehearsal else ''}: "
    if trainers.empty:
        return f"{text}the trainer's own, {own['chosen'].iloc[0]:,}, was not timed."
    mine = trainers.iloc[0]
    text += f"the trainer's {mine['value']:,} takes {digits(mine['ms'])} ms"
    if fastest["value"] == mine["value"]:
        return f"{text}, the least of {count(len(own), 'value')}."
    return f"{text}; the least is {digits(fastest['ms'])} ms, with {fastest['value']:,}."


def packing_table(packing: pd.DataFrame) -> Table:
    """Tabulate a setting a row, by what tells it from the others, and a variant a column."""
    variants = list(dict.fromkeys(packing["variant"]))
    told = [key for key in numbers.SETTING if key not in _shared(packing)] or ["nets"]
    rows = []
    for _, own in packing.groupby(numbers.SETTING, sort=False):
        cells = {
            row["variant"]: f"{row['ratio']:.2f} ({row['ratio_q1']:.2f} to {row['ratio_q3']:.2f})"
            for row in own.to_dict("records")
        }
        launched = own.set_index("variant")["operators"].to_dict()
        counts = [f"{launched[name]:,}" if name in launched else "-" for name in (SEPARATE, CANDIDATE)]
        rows.append([*map(str, own.iloc[0][told]), *counts, *(cells.get(variant, "-") for variant in variants)])
    heads = (*told, f"operators, {SEPARATE}", f"operators, {CANDIDATE}", *variants)
    caption = "A step of all nets: PyTorch's operators; how many times as fast as one after another"
    return Table(caption, heads, rows, len(told))


def choice_table(table: pd.DataFrame) -> Table:
    """Tabulate a value a row."""
    rows = [
        [
            row["choice"],
            f"{row['value']:,}",
            "the trainer's" if row["the_trainers"] else "",
            digits(row["ms"]),
            spread(row["fastest_ms"], row["slowest_ms"], row["rounds"]),
            "-" if math.isnan(row["over_trainers"]) else f"{row['over_trainers']:.2f}",
        ]
        for row in table.to_dict("records")
    ]
    heads = ("choice", "value", "chosen", "ms", "fastest to slowest round", "over the trainer's time")
    return Table("The trainer's choices, and others", heads, rows, 3)


def _tables(found: Choices) -> list[Table]:
    tables = [packing_table(found.packing)] if len(found.packing) else []
    return [*tables, choice_table(found.choices)] if len(found.choices) else tables


def _packing(found: Choices) -> Section:
    table = found.packing
    shared = _shared(table)
    names = [_setting(row, shared) for row in table.to_dict("records")]
    best = table.groupby("variant", sort=False)["ratio"].agg(["min", "max"])
    told = ", ".join(f"{name} {row['min']:.2f} to {row['max']:.2f}" for name, row in best.iterrows())
    first = table.iloc[0]
    same = "".join(f", {key.replace('_', ' ')} {first[key]}" for key in shared)
    caption = (
        f"Medians and quartiles; {first['image']} images, batches of {first['batch']}{same}; clock: {first['timed']}."
    )
    figure = figures.packing(table, names, LEAST)
    picture = illustrate("packing", caption, f"Times as fast as one after another, least to most: {told}.", figure)
    return Section("Packing nets into one", (picture,), (packing_table(table),), (PACKED,))


def _shared(packing: pd.DataFrame) -> list[str]:
    """What is the same in all settings."""
    return [key for key in numbers.SETTING if packing[key].nunique() == 1]


def _setting(row: Mapping[Hashable, Any], shared: list[str]) -> str:
    told = {"nets": "{} nets", "depth": "depth {}", "width": "width {}", "precision": "{}", "layout": "{}"}
    return ", ".join(form.format(row[key]) for key, form in told.items() if key not in shared)


def _choices(table: pd.DataFrame) -> Section:
    precision = table["precision"].iloc[0]
    caption = f"In {precision}: from the fastest round to the slowest; dots are medians, the trainer's filled."
    lines = [
        f"{choice}: " + ", ".join(f"{row['value']:,} {digits(row['ms'])} ms" for row in own.to_dict("records"))
        for choice, own in table.groupby("choice", sort=False)
    ]
    picture = illustrate("choices", caption, f"{'; '.join(lines)}.", figures.choices(table))
    return Section("Numbers that the trainer chooses", (picture,), (choice_table(table),), (CHOSEN,))


def _reproduce(found: Choices) -> Section:
    told = "In a clone of the repository; the times are those of this device alone:"
    timed = [(name, len(table)) for name, table in (("packing", found.packing), ("choices", found.choices))]
    files = [name for name, length in timed if length]
    benches = [
        f"python -m pytest --timeout=0 bench/bench_{name}.py --benchmark-json=results/{name}.json" for name in files
    ]
    page = " ".join(f"--timings results/{name}.json" for name in files)
    return Section("How to reproduce", paragraphs=(told,), commands=(*benches, f"deeptwins profile {page}"))
