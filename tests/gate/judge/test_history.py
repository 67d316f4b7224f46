"""Histories of the gate: steps where there are some, none where there are none, whatever machine and anchor."""

import math
import sys

import numpy as np
import pytest

import gate_made as made
from deeptwins.errors import InputError
from deeptwins.gate.judge.history import history
from deeptwins.gate.judge.steps import LEAST, noise, steps
from deeptwins.gate.page import tables
from deeptwins.gate.runs import Environment, Git

MARGIN = math.log1p(0.03)
ANCHOR = "e" * 40


def commit(i):
    """The i-th commit."""
    return f"{i:02x}" * 20


def anchored(i, log_ratio=0.0, *, base=ANCHOR, machine=made.MACHINE, torch="2.13", **changes):
    """The i-th run against an anchor, of one benchmark; a machine has two cores."""
    facts = {"torch": torch, "python": "3.11.2"}
    fields = {
        "id": f"{i:08x}",
        "started": f"2026-01-{1 + i // 24:02d}T{i % 24:02d}:00:00Z",
        "git": Git(head=commit(i), base=base, anchor="v1" if base == ANCHOR else "v2", suite="c" * 64),
        "environment": Environment(machine=machine, facts=facts),
    }
    benchmark = made.benchmark(log_ratio=log_ratio, seed=i, pairs=3, blocks=2, noise=0.005)
    return made.run(benchmark, kind="anchor", **fields | changes)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "heavy"])
def test_noise_has_no_steps(law):
    """A series without a step has one in at most 2 of 100, even where no margin hides it."""
    false = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = 0.01 * (rng.standard_normal(30) if law == "normal" else rng.standard_t(3, 30) / math.sqrt(3))
        false += bool(steps(values, margin=0.0))

    assert false <= 2


def test_the_margin_drops_what_is_too_small():
    """Noise of a third of the margin never looks like a step; nor does a step by less than the margin."""
    for seed in range(12):
        values = 0.01 * np.random.default_rng(seed).standard_normal(30)
        assert steps(values, MARGIN) == []
        assert steps(values + np.where(np.arange(30) < 15, 0, 0.015), MARGIN) == []


def test_a_step_is_found_at_its_place():
    """A step by 5 % in noise of 1 % is found in either direction, rarely a value off, and nearly never another."""
    off = []
    for seed in range(60):
        size, at = ((0.05, -0.05)[seed % 2], (6, 15, 24)[seed % 3])
        values = 0.01 * np.random.default_rng(seed).standard_normal(30)
        values[at:] += math.log1p(size)
        points = steps(values, MARGIN)
        if len(points) == 1:
            (step,) = points
            assert step.confirmed
            assert step.size == pytest.approx(math.log1p(size), abs=0.025)
            assert (step.before, step.after) == (step.at, 30 - step.at)
            off.append(abs(step.at - at))

    assert len(off) >= 58
    assert np.mean(np.array(off) == 0) > 0.85
    assert max(off) <= 2


def test_a_stretch_between_two_steps():
    """What gets slower and then fast again makes two steps."""
    values = 0.005 * np.random.default_rng(0).standard_normal(40)
    values[12:25] += 0.08

    assert [(step.at, step.size > 0) for step in steps(values, MARGIN)] == [(12, True), (25, False)]


def test_a_lone_outlier_is_no_step():
    """One run that strays far makes none, wherever it is."""
    for at in (0, 1, 10, 28, 29):
        values = 0.005 * np.random.default_rng(1).standard_normal(30)
        values[at] += 0.3
        assert steps(values, MARGIN) == []


def test_a_step_that_no_test_could_confirm_is_suspected():
    """With three values behind it the rank test cannot tell among few runs; among many it can."""
    for before, confirmed in ((6, False), (17, True)):
        values = 0.005 * np.random.default_rng(2).standard_normal(before + 3)
        values[before:] += 0.1
        (step,) = steps(values, MARGIN)
        assert (step.at, step.confirmed) == (before, confirmed)


def test_the_error_of_a_value_is_noise_too():
    """Values that happen to differ less than they are known do not make steps of small differences."""
    values = np.repeat([0.0, 0.04], 5)

    assert [step.at for step in steps(values, MARGIN)] == [5]
    assert steps(values, MARGIN, error=0.1) == []


def test_too_few_values_have_no_steps():
    """Neither nothing nor one value less than are needed fails."""
    for n in range(LEAST):
        assert steps(np.arange(float(n)), MARGIN) == []


def test_steps_hardly_count_as_noise():
    """The noise of a series with a step is about that without it."""
    values = 0.01 * np.random.default_rng(3).standard_normal(200)
    assert noise(values) == pytest.approx(0.01, rel=0.2)
    assert noise(values + np.where(np.arange(200) < 77, 0, 1)) == pytest.approx(noise(values), rel=0.05)


def test_a_step_names_its_commits():
    """The last commit measured before and the first after, though runs between them are missing."""
    past = history([anchored(i, 0.08 if i >= 11 else 0.0) for i in range(22) if i not in {5, 10, 11}])

    (change,) = past.changes.to_dict("records")
    assert (change["before"], change["after"]) == (commit(9)[:12], commit(12)[:12])
    assert change["percent"] == pytest.approx(100 * math.expm1(0.08), abs=1)
    assert change["confirmed"]
    assert not past.short


def test_a_benchmark_that_is_missing_in_some_runs():
    """Its series has the runs in which it was measured, and places of all; a run without blocks that count is none."""
    runs = [anchored(i, 0.08 if i >= 12 else 0.0) for i in range(24)]
    failed = made.benchmark(changes={"status": "failed", "reason": "boom", "pairs": ()})
    rejected = made.benchmark(pairs=2, blocks=2, rejected=4)
    runs[3] = anchored(3, benchmarks=(failed,))
    runs[4] = anchored(4, benchmarks=(rejected,))
    past = history(runs)

    assert list(past.points["place"]) == [i for i in range(24) if i not in {3, 4}]
    assert list(past.changes["place"]) == [12]
    assert past.runs == 24


def test_only_runs_against_an_anchor_count():
    """Other kinds have no history."""
    past = history([made.run(made.benchmark())])

    assert past.runs == len(past.points) == len(past.changes) == len(past.events) == len(past.exact) == 0


def test_machines_cancel_and_are_shown():
    """Runs of two machines form one series; a step where the machine changed, too, says so."""
    past = history([anchored(i, 0.08 if i >= 12 else 0, machine="old" if i < 12 else "new") for i in range(24)])

    assert list(past.points["machine"].unique()) == ["old", "new"]
    assert past.points["chain"].nunique() == 1
    assert "another machine" in past.changes["note"].iloc[0]


def test_too_few_runs_are_told():
    """Which benchmarks have too few, and how many they have."""
    assert history([anchored(i) for i in range(LEAST - 1)]).short == {made.STEP: LEAST - 1}


def moved(*, linked):
    """Runs whose anchor moves to commit 12, which is 8 % slower than the first; with or without a run that links."""
    before = [anchored(i, 0.08 if i >= 6 else 0.0) for i in range(12 + linked)]
    return before + [anchored(i, 0.0, base=commit(12)) for i in range(13, 24)]


def test_a_linked_anchor_goes_on():
    """Where the new anchor was measured against the old one, values go on at its level, without a step."""
    past = history(moved(linked=True))

    assert set(past.points["chain"]) == {0}
    assert list(past.changes["place"]) == [6]
    assert past.points["log_ratio"].iloc[-8:].median() == pytest.approx(0.08, abs=0.01)
    last = past.points.iloc[-1]
    assert last["low"] < last["log_ratio"] < last["high"]
    assert list(past.events["text"]) == ["anchor v1 to v2"]


def test_an_anchor_without_a_link_begins_anew():
    """Without such a run the series begins anew at 0, which is told, and no step is made of it."""
    past = history(moved(linked=False))

    assert list(past.points.groupby("chain").size()) == [12, 11]
    assert past.points["log_ratio"].iloc[-8:].median() == pytest.approx(0.0, abs=0.01)
    assert list(past.changes["place"]) == [6]
    assert "begins anew (1 of 1" in past.events["text"].iloc[0]


def test_links_chain():
    """Three anchors, each measured against the one before, add up."""
    runs = [anchored(i, 0.0) for i in range(4)] + [anchored(4, 0.1)]
    runs += [anchored(5, 0.0, base=commit(4)), anchored(6, 0.2, base=commit(4))]
    runs += [anchored(7, 0.05, base=commit(6))]

    assert list(history(runs).points["log_ratio"]) == pytest.approx([0, 0, 0, 0, 0.1, 0.1, 0.3, 0.35], abs=0.02)


def test_a_change_of_tools_is_marked():
    """What changed is named, where; a step there says that it may be the cause."""
    past = history([anchored(i, 0.08 if i >= 12 else 0.0, torch="2.13" if i < 12 else "2.14") for i in range(24)])

    (event,) = past.events.to_dict("records")
    assert (event["place"], event["what"], event["text"]) == (12, "toolchain", "torch 2.13 to 2.14")
    assert past.changes["note"].iloc[0] == "torch 2.13 to 2.14"


def test_other_definitions_of_benchmarks_are_marked():
    """A ratio of other benchmarks is another ratio."""
    runs = [anchored(0), anchored(1, git=Git(head=commit(1), base=ANCHOR, anchor="v1", suite="d" * 64))]

    assert list(history(runs).events["what"]) == ["suite"]


def test_the_code_is_not_blamed_for_a_step_within_a_commit():
    """Where the same commit lies on both sides, the step says so."""
    same = Git(head=commit(1), base=ANCHOR, anchor="v1", suite="c" * 64)
    past = history([anchored(i, 0.08 if i >= 10 else 0.0, git=same) for i in range(20)])

    assert "not the code" in past.changes["note"].iloc[0]


def counted(i, registers, triton="3.9.0", **changes):
    """A run that counted the registers of a kernel in head, and its hash."""
    exact = {"kernel": {"registers": (32, registers), "opcodes_sha256": ("a", str(registers))}}
    return anchored(i, toolchain={"triton": triton}, benchmarks=(), **{"exact": exact} | changes)


def test_exact_metrics_step_at_their_commit():
    """Any difference is one, in both directions, attributed to the commits on its sides."""
    past = history([counted(0, 32), counted(1, 32), counted(2, 64), counted(3, 64), counted(4, 32)])
    registers = past.exact[past.exact["metric"] == "registers"]

    assert list(registers["kind"]) == ["worse", "better"]
    assert list(zip(registers["before"], registers["after"], registers["old"], registers["new"], strict=True)) == [
        (commit(1)[:12], commit(2)[:12], 32, 64),
        (commit(3)[:12], commit(4)[:12], 64, 32),
    ]
    assert set(past.exact.loc[past.exact["metric"] == "opcodes_sha256", "kind"]) == {"changed"}


def test_many_nets_that_change_at_once_are_one_row():
    """It names the first and how many more; the same metric at another commit has a row of its own."""
    runs = [
        anchored(i, benchmarks=(), exact={f"net {n}": {"operators": (9, i // 2)} for n in range(12)}) for i in (1, 2, 4)
    ]

    table = tables.exact_steps(history(runs).exact)

    assert [row[:2] + row[-2:] for row in table.rows] == [["net 0", "11", "0", "1"], ["net 0", "11", "1", "2"]]


def test_counts_that_change_are_told_in_full():
    """Bytes have all their digits, whatever else changes at that commit; where one arm has no value, that is said."""
    counts = [
        {"peak_bytes": (1, 3_597_744), "vector_share": (1, 1.0), "graphs": (1, None)},
        {"peak_bytes": (1, 13_574_248), "vector_share": (1, 0.5), "graphs": (1, 2)},
    ]
    runs = [anchored(i, benchmarks=(), exact={"net": exact}) for i, exact in enumerate(counts)]

    table = tables.exact_steps(history(runs).exact)

    assert [row[-2:] for row in table.rows] == [["3,597,744", "13,574,248"], ["1", "0.5"], ["none", "2"]]


def test_other_tools_are_a_new_baseline():
    """Values counted by other tools do not accuse a commit; those counted by the same tools again do."""
    past = history([counted(0, 32), counted(1, 64, "3.10.0"), counted(2, 40), counted(3, 64, "3.10.0")])
    registers = past.exact[past.exact["metric"] == "registers"]

    assert list(zip(registers["kind"], registers["before"], registers["after"], strict=True)) == [
        ("re-baseline", commit(0)[:12], commit(1)[:12]),
        ("worse", commit(0)[:12], commit(2)[:12]),
    ]


def test_what_was_not_counted_does_not_differ():
    """A run without a metric is passed over: the next is compared with the last that had it."""
    past = history([counted(0, 32), counted(1, 0, exact={}), counted(2, 32), counted(3, 64)])

    assert list(past.exact["place"]) == [3, 3]


def test_without_ruptures_one_line_says_so(monkeypatch):
    """A history that is long enough needs it; a short one does not."""
    monkeypatch.setitem(sys.modules, "ruptures", None)

    with pytest.raises(InputError, match="ruptures is not installed"):
        history([anchored(i) for i in range(LEAST)])
    assert len(history([anchored(i) for i in range(LEAST - 1)]).points) == LEAST - 1
