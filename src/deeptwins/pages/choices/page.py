"""The page of choices, `reports/choices/`: what packing nets and the trainer's own numbers are worth, by timings."""

from __future__ import annotations

from deeptwins.pages.choices import figures, tables
from deeptwins.pages.choices.numbers import BENCHES, CANDIDATE, LAYOUT, LEAST, NETS, SEPARATE, Choices
from deeptwins.pages.page import Commands, PageSpec, Section
from deeptwins.pages.tables import Table
from deeptwins.pages.wording import count

PACKED = f"""
Packed nets lie channel beside channel in one net, so that one call serves all of them: by grouped convolutions
(grouped) or batched matrix products (gemm). A ratio is the median over pairs of steps: the nets one after another, then
packed, so that both see the same noise. Quartiles are in brackets. The variant {SEPARATE} compares the nets one after
another with themselves: its ratio would be 1 without noise. The rule: the trainer packs if {CANDIDATE} is at least
{LEAST:g} times as fast for {count(NETS, "net")} at the depths {tables.RULE_DEPTHS}, in the layout that it trains in,
{LAYOUT}.
"""
CHOSEN = """
Each number that the trainer uses was compared with others: by the time of an iteration of all nets of one seed, or of
one evaluation of the deepest twins. The median of several rounds counts.
"""
BENCHED = ("packing", "choices")  # the tables, each from a bench of its name
REHEARSED = """
The trainer's numbers are chosen for a GPU. Here they were rehearsed on a CPU with tiny nets: these times show that
everything runs, and mean nothing.
"""


def _sections(facts: Choices) -> list[Section]:
    sections = []
    if len(facts.packing):
        picture, table = figures.packing(facts.packing), tables.packing_table(facts.packing)
        sections.append(Section("Packing nets into one", (picture,), (table,), (PACKED,)))
    if len(facts.choices):
        picture, table = figures.choices(facts.choices), tables.choice_table(facts.choices)
        sections.append(Section("Numbers that the trainer chooses", (picture,), (table,), (CHOSEN,)))
    return sections


def _commands(facts: Choices) -> Commands:
    names = [name for name in BENCHED if len(getattr(facts, name))]
    benches = [
        f"python -m pytest --timeout=0 bench/bench_{name}.py --benchmark-json=results/{name}.json" for name in names
    ]
    page = " ".join(f"--timings results/{name}.json" for name in names)
    where = "In a clone of the repository; times hold for this device alone:"
    return Commands(where, (*benches, f"deeptwins profile {page}"))


PAGE = PageSpec(
    load=BENCHES.load,
    name=lambda _: BENCHES.page,
    question=lambda _: "Would many nets on one device train faster in another way?",
    answer=lambda facts: tables.verdict(facts)[0],
    numbers=tables.numbers,
    verdict=lambda facts: tables.verdict(facts)[1:],
    group=lambda _: "Speed",
    remarks=lambda facts: (REHEARSED,) if facts.rehearsal else (),
    sections=_sections,
    origin=lambda facts: (Table.facts(facts.origin.rows),),
    commands=_commands,
    data=lambda facts: {name: getattr(facts, name) for name in BENCHED},
    size=lambda facts: count(len(facts.packing) + len(facts.choices), "case"),
    date=lambda facts: facts.origin.date,
    summary=tables.summary,
    find=BENCHES.find,
)
