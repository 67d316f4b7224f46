"""From many runs of the gate to tables of text: their history, and what the gate says where the truth is known."""

from __future__ import annotations

import math

import pandas as pd

from deeptwins.gate.page.tables import begin_with, metric_name, shown, value, without
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import digits, p_value


def steps(table: pd.DataFrame, prefix: str) -> Table:
    """Tabulate the steps of histories."""
    rows = [
        [
            without(row["benchmark"], prefix),
            "step" if row["confirmed"] else "suspected",
            shown(f"{row['before']} to {row['after']}"),
            shown(row["note"], 200) or "-",
            f"{row['percent']:+.1f}",
            f"{row['runs_before']} / {row['runs_after']}",
            p_value(row["p"]),
        ]
        for row in table.to_dict("records")
    ]
    heads = ("benchmark", "state", "between commits", "what else changed", "size (%)", "runs before / after", "p")
    return Table(begin_with("Steps: the last commit before and the first after", prefix), heads, rows, 4)


def events(table: pd.DataFrame) -> Table:
    """Tabulate what changed between runs other than the code."""
    rows = [[f"{row['place']}", shown(row["commit"]), shown(row["text"], 300)] for row in table.to_dict("records")]
    return Table("Other changes: dotted in the figure", ("before run", "commit", "what"), rows, 3)


def exact_steps(table: pd.DataFrame) -> Table:
    """Tabulate when exact metrics changed: of each metric the first, and how many more did so there."""
    rows = []
    for _, alike in table.groupby(["place", "before", "after", "metric", "kind"], sort=False):
        row = alike.iloc[0]
        rows.append(
            [
                shown(row["subject"]),
                f"{len(alike) - 1}" if len(alike) > 1 else "-",
                metric_name(row["metric"]),
                "new tools: a re-baseline" if row["kind"] == "re-baseline" else row["kind"],
                shown(f"{row['before']} to {row['after']}"),
                value(row["old"]),
                value(row["new"]),
            ]
        )
    heads = ("of", "and more", "metric", "change", "between commits", "before", "after")
    return Table("When exact metrics changed", heads, rows, 5)


def detection(table: pd.DataFrame) -> Table:
    """Tabulate what the gate said of runs whose truth is known; columns of what never happened are left out."""
    seen = [key for key in ("not_measured", "others", "said_faster") if table[key].any()]
    rows = [
        [
            shown(row["treatment"]),
            *(f"{row[key]}" for key in ("runs", "found", "inconclusive", "fine")),
            "-" if math.isnan(row["rate"]) else f"{100 * row['rate']:.0f}",
            "-" if math.isnan(row["rate"]) else f"{100 * row['low']:.0f} to {100 * row['high']:.0f}",
            f"{row['against']}" if row["kind"] == "slower" else "-",
            *(f"{row[key]}" for key in seen),
            digits(row["median_s"]),
        ]
        for row in table.to_dict("records")
    ]
    words = {
        "not_measured": "not measured",
        "others": "another benchmark said to be slower",
        "said_faster": "a benchmark said to be faster",
    }
    heads = ("made worse by", "runs", "alarms", "inconclusive", "fine", "alarms (%)", "95 % interval")
    caption = (
        "What the gate said of runs whose truth is known; alarms in A/A runs are false. Wrongly fine: runs in which"
        " the benchmark that was slowed is called no worse by an interval that excludes what was added"
    )
    return Table(
        caption,
        (*heads, "wrongly fine", *(words[key] for key in seen), "median seconds"),
        rows,
        1,
    )


def sensitivities(table: pd.DataFrame, found: pd.DataFrame, prefix: str) -> Table:
    """Tabulate how small a slowdown is found, by benchmark, and how often those that were tried were."""
    several = table["machine"].nunique() > 1
    tried = list(dict.fromkeys(found["treatment"]))
    counted = {(row["benchmark"], row["treatment"]): row for row in found.to_dict("records")}
    rows = []
    for row in table.to_dict("records"):
        cells = [counted.get((row["benchmark"], treatment)) for treatment in tried]
        rows.append(
            [
                without(row["benchmark"], prefix),
                *([shown(row["machine"], 60)] if several else []),
                f"{row['aa_runs']}",
                *(f"{100 * row[key]:.1f}" for key in ("noise", "half_width", "margin", "smallest")),
                *("-" if cell is None else f"{cell['found']} of {cell['measured']}" for cell in cells),
            ]
        )
    heads = ("benchmark", *(["machine"] if several else []))
    numbers = ("A/A runs", "noise (%)", "half an interval (%)", "margin (%)", "smallest found (%)")
    where = "" if several else f" on {shown(table['machine'].iloc[0], 60)}"
    caption = f"Noise{where}: 99th percentile of A/A ratios; smallest slowdown found in 80 %, by the formula below"
    return Table(
        begin_with(caption, prefix), (*heads, *numbers, *(f"{shown(name)}: found" for name in tried)), rows, len(heads)
    )
