"""Tables: findings as text, and how numbers are written."""

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made
from deeptwins.findings import comparisons, derive, frames, judging
from deeptwins.findings.rows import Difference, ErrorSummary, Trend
from deeptwins.findings.rows import table as table_of
from deeptwins.pages import tables as tables_
from deeptwins.pages.study import tables
from deeptwins.study.claims import Metric


def test_every_metric_has_a_label():
    """What the metrics are called is said for each of them, and for nothing else."""
    assert list(tables.METRICS) == list(comparisons.METRICS) == list(get_args(Metric))


def test_the_table_of_trends(shipped):
    """Every verdict stands beside the numbers that it rests on; a tiny p is bounded, a missing one is a dash."""
    table = tables.trends(shipped.facts.findings.trends, 1.0)

    assert len(table.rows) == 2 * 2 * 3
    cifar, imagenet = (next(row for row in table.rows if row[0] == name) for name in ("cifar", "imagenet"))
    assert cifar[:4] == ["cifar", "plain", "training error", "rises"]
    assert all(re.fullmatch(r"[+-]?\d+\.\d( to \d+\.\d)?", text) for text in (*cifar[4:6], cifar[12]))
    assert re.fullmatch(r"\d\.\d{3}", cifar[13])
    assert re.fullmatch(r"\d\.\d{3} to \d\.\d{3}", cifar[14])
    assert cifar[10:12] == ["< 0.001", "1.000"]
    assert imagenet[10:12] == ["-", "-"]
    assert table.columns[6:10] == ("p, corrected", "seeds", "seeds needed to detect 1 point", "p")
    assert all(len(row) == len(table.columns) and row[7] == "3" and int(row[8]) > 3 for row in (cifar, imagenet))


def test_the_table_of_agreements(tmp_path):
    """Every verdict on an agreement stands beside the numbers that it rests on."""
    study = made.load(tmp_path, made.AGREEING, "kernel")
    data = frames.load(study, made.results(tmp_path, study, lambda run, twin: 2 + run.seed + 0.5 * (twin == "triton")))

    rows = tables.agreements(derive.derive(study, data).agreements, 1.0).rows

    same, apart = ["0.0", "0.0 to 0.0", "3", "2", "0.0 to 0.0"], ["+0.5", "0.5 to 0.5", "3", "2", "0.5 to 0.5"]
    assert rows == [
        ["cifar", "8", "compiled - eager", "training error", "agree", *same],
        ["cifar", "8", "triton - eager", "training error", "agree", *apart],
        ["cifar", "8", "triton - eager", "test error", "agree", *apart],
    ]


def test_the_table_of_the_drift(agreeing):
    """Drift is told at the first evaluation, where it is furthest and at the last; no drift is furthest nowhere."""
    drift = agreeing.facts.findings.drift.copy()
    drift.loc[drift["twin"] == "compiled", ["median", "largest"]] = 0.0
    drift.loc[(drift["twin"] == "triton") & (drift["iteration"] == 24), "largest"] = 0.25
    drift.loc[drift["iteration"] == 48, "between_seeds"] = float("nan")

    rows = tables.drift(drift).rows

    assert [row[2:5] for row in rows] == [
        ["compiled and eager", "first", "12"],
        ["compiled and eager", "last", "48"],
        ["triton and eager", "first", "12"],
        ["triton and eager", "furthest apart", "24"],
        ["triton and eager", "last", "48"],
    ]
    assert [row[6] for row in rows[:2]] == ["0", "0"]
    assert rows[3][6:] == ["2.5e-1", "6.5e-2", "3"]
    assert rows[4][5:] == ["1.0e-3", "1.0e-3", "-", "3"]


def test_the_table_of_claims(tmp_path):
    """A claim is spelled out, be it of a trend or of an agreement."""
    text = made.AGREEING.replace("depth = 8", "depth = [8, 14]")
    study = made.load(tmp_path, text + '[[expect]]\ntwin = "eager"\ntrend = "flat"\n', "kernel")
    data = frames.load(study, made.results(tmp_path, study, made.alike))

    rows = tables.claims(derive.derive(study, data).claims).rows

    assert [row[1:4] for row in rows] == [
        ["training error of compiled agrees with that of eager", "agree", "✓ met"],
        ["training error of triton agrees with that of eager", "agree", "✓ met"],
        ["test error of triton agrees with that of eager", "agree", "✓ met"],
        ["training error of eager stays flat", "flat", "✓ met"],
    ]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"above": "a"}, "training error of b is above that of a"),
        ({"below": "a"}, "training error of b is below that of a"),
        ({"at_most": 5.0}, "training error of b is at most 5 %"),
        ({"fails": True}, "b fails to train"),
        ({"fails": False}, "b trains"),
        ({"fails": True, "metric": "test_error_pct"}, "b fails to train, by its test error"),
        (
            {"trend": float("nan"), "above": "a", "where": "warmup = 5"},
            "training error of b is above that of a, where warmup = 5",
        ),
    ],
)
def test_a_claim_is_spelled_out(row, text):
    """Whatever a study claims is a sentence; columns of claims of other kinds are empty."""
    assert tables.claim({"twin": "b", "metric": "train_error_pct"} | row) == text


def derived(study, level):
    """The comparisons and errors of a made-up study that needs no files."""
    last = made.last(study, level)
    errors = derive.by_depth(derive.final(last), study.fails_above_pct)
    return table_of(Difference, comparisons.judge(study, last)[1]), table_of(ErrorSummary, errors)


def test_the_table_of_comparisons():
    """Every difference stands beside its tests and the seeds that it would take; the running error is not shown."""
    errors = {"a": [5, 5, 5], "b": [25, 26, 27], "c": [5, 5.1, 5.1]}
    compared, _ = derived(made.asked("abc", margin=2.0), lambda run, twin: errors[twin][run.seed])

    table = tables.comparisons(compared, 2.0)

    assert table.columns[-4:] == ("seeds", "seeds needed to detect 2 points", "p", "bootstrap interval")
    assert table.columns[table.words] == "points"
    numbers = ["+21.0", "18.5 to 23.5", "0.002", "3", "5", "< 0.001", "20.0 to 22.0"]
    assert table.rows[0] == ["cifar", "20", "b - a", "training error", "above", *numbers]
    assert [row[2:5] for row in table.rows] == [
        ["b - a", "training error", "above"],
        ["b - a", "test error", "above"],
        ["c - a", "training error", "agree"],
        ["c - a", "test error", "agree"],
    ]


def test_what_all_rows_say_is_said_once():
    """Columns with the same name or number in every row go into the caption, and the first that is left names rows."""
    rows = [["cifar", "20", "b - a", "above", "+1.0", "3"], ["cifar", "56", "b - a", "above", "+1.0", "3"]]
    heads = ("family", "depth", "twins", "verdict", "points", "seeds")

    short = tables_.shorten(tables_.Table("Differences", heads, rows, 4))

    assert short.caption == "Differences. All rows: b - a, family cifar, 3 seeds."
    assert short.columns == ("depth", "verdict", "points")
    assert short.rows == [["20", "above", "+1.0"], ["56", "above", "+1.0"]]
    assert short.words == 2
    named = tables_.shorten(tables_.Table("Nets", ("twin", "seeds"), [["a", "0 to 4"], ["b", "0 to 4"]], 2))
    assert named.caption == "Nets. All rows: seeds 0 to 4."
    for table in (tables_.Table("One row", heads, rows[:1], 4), tables_.Table("None", ("what", "value"), rows[:0], 2)):
        assert tables_.shorten(table) == table


@given(
    rows=st.lists(st.lists(st.sampled_from(["-", "a", "b"]), min_size=5, max_size=5), max_size=3),
    heads=st.permutations(["family", "twin", "metric", "verdict", "points"]),
    words=st.integers(1, 4),
)
def test_nothing_that_a_table_says_is_lost(rows, heads, words):
    """What is in a cell is in the short table or in its caption, and rows that had a name keep one."""
    table = tables_.Table("Any", tuple(heads), rows, words)
    short = tables_.shorten(table)

    for row, left in zip(rows, short.rows, strict=True):
        assert {cell for cell in row if cell != "-"} <= {*left, *re.split(r"[ ,.]+", short.caption)}
    if rows and any(cell != "-" for row in rows for cell in row[:words]):
        assert short.words > 0


def test_columns_without_a_number_are_left_out():
    """A column of dashes alone is left out, of names or of numbers, even of a single row; the caption is silent."""
    heads = ("twin", "against", "95 % interval", "p", "95 % interval", "seeds")
    rows = [["b", "-", "1 to 2", "-", "-", "3"], ["c", "-", "-", "-", "-", "4"]]

    short = tables_.shorten(tables_.Table("Trends", heads, rows, 2))
    one = tables_.shorten(tables_.Table("Trends", heads, rows[:1], 2))

    assert short == tables_.Table("Trends", ("twin", heads[2], "seeds"), [["b", "1 to 2", "3"], ["c", "-", "4"]], 1)
    assert one == tables_.Table("Trends", ("twin", heads[2], "seeds"), [["b", "1 to 2", "3"]], 1)


def test_what_is_not_tested_has_no_column():
    """Over several depths, where no claim names a pair, differences have no verdict and no p, and that is said."""
    compared, _ = derived(made.asked("ab", (20, 32)), made.level)
    named, _ = derived(made.asked("ab", (20, 32), claims='[[expect]]\ntwin = "b"\nabove = "a"\n'), made.level)

    short = tables_.shorten(tables.comparisons(compared, 1.0))
    assert not {"verdict", "p, corrected", "p"} & {*short.columns}
    assert "not tested" in short.caption
    assert {"verdict", "p, corrected", "p"} < {*tables.comparisons(named, 1.0).columns}
    for table in (tables.comparisons(compared, 1.0), tables.comparisons(named, 1.0)):
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_twins_of_two_depths_are_told_with_both():
    """Where twins have different depths, a difference names the twin's and the other's."""
    twins = "[twins]\na = { depth = 20 }\nb = { depth = 56 }\n"
    study = made.load_text(f'{twins}[[vary]]\nfamily = "cifar"\nseed = [0, 1]\n')

    assert tables.comparisons(derived(study, made.level)[0], 1.0).rows[0][1] == "56/20"


def test_the_table_of_errors():
    """Each error stands beside its interval, the test error beside the noise of its test set too."""
    _, summary = derived(made.asked("ab"), lambda run, twin: 10.0 + run.seed)

    table = tables.errors(summary, 20.0)

    assert table.columns[3:] == (
        *("training error (%)", "95 % interval", "test error (%)", "95 % interval", "noise floor (points)"),
        *("running training error (%)", "95 % interval", "seeds"),
    )
    assert table.rows[1] == ["cifar", "20", "b", *["11.0", "8.5 to 13.5"] * 2, "1.6", "11.0", "8.5 to 13.5", "3"]


def test_failures_have_a_column_where_there_are_any():
    """Where a seed fails to train the table of errors says of each twin what becomes of it, and in how many seeds."""
    _, summary = derived(made.asked("ab"), lambda run, twin: 2.0 if twin == "a" else 90.0)

    table = tables.errors(summary, 20.0)

    assert table.columns[table.words - 1] == "fails to train"
    assert [row[table.words - 1] for row in table.rows] == ["no, 0 of 3", "yes, 3 of 3"]


def test_without_a_bound_no_error_is_a_failure():
    """Where the study does not say when a net fails to train, its table counts only nets that learned nothing."""
    study = made.asked("abc").model_copy(update={"fails_above_pct": None})
    _, summary = derived(study, lambda run, twin: {"a": 2.0, "b": 42.0, "c": 90.0}[twin])

    table = tables.errors(summary, study.fails_above_pct)

    assert table.columns[table.words - 1] == "did not train"
    assert [row[table.words - 1] for row in table.rows] == ["0 of 3", "0 of 3", "3 of 3"]


def rows_of(verdict, low, high, p_holm):
    """The cell of the verdict on a trend and on a difference of 1 point."""
    study = made.asked("ab", (20, 32), claims='[[expect]]\ntwin = "b"\nabove = "a"\n')
    findings = comparisons.judge(study, made.last(study))
    for table, kind, rows in zip((tables.trends, tables.comparisons), (Trend, Difference), findings, strict=True):
        row = table_of(kind, rows).head(1).assign(verdict=verdict, low=low, high=high, p_holm=p_holm)
        made_table = table(row, 1.0)
        yield made_table.rows[0][made_table.columns.index("verdict")]


@pytest.mark.parametrize(
    ("verdict", "low", "high", "cell"),
    [
        ("inconclusive", 53.1, 92.3, "undecided, p 0.105 corrected"),
        ("inconclusive", -92.3, -53.1, "undecided, p 0.105 corrected"),
        ("inconclusive", -1.0, 5.0, "undecided"),
        ("diverged", 53.1, 92.3, "diverged"),
        ("flat", 0.1, 0.3, "flat"),
    ],
)
def test_a_verdict_says_why_it_is_none_where_its_interval_excludes_0(verdict, low, high, cell):
    """An effect beside which nothing is decided has, in the same cell, the corrected p that decides."""
    assert [*rows_of(verdict, low, high, 0.105)] == [cell] * 2


def test_what_was_not_tested_has_no_p():
    """Beside pairs that a claim names and that are tested, others have no p."""
    claim = '[[expect]]\ntwin = "b"\nabove = "a"\n'
    compared, _ = derived(made.asked("abc", (20, 32), claims=claim), made.level)

    table = tables.comparisons(compared, 1.0)

    verdict, p = (table.columns.index(head) for head in ("verdict", "p"))
    assert {row[verdict] == "not tested": row[p] == "-" for row in table.rows} == {True: True, False: False}


def test_a_validation_error_has_a_column_where_there_is_one(tmp_path):
    """With a validation set its error stands before the test error."""
    study = made.load(tmp_path, made.AGREEING.replace("evaluate_every", "validation = 0.1\nevaluate_every"))
    data = frames.load(study, made.results(tmp_path, study))

    table = tables.errors(derive.derive(study, data).by_depth, None)

    assert [head for head in table.columns if "error" in head][1:3] == ["validation error (%)", "test error (%)"]
    assert {len(row) for row in table.rows} == {len(table.columns)}


def across(study, errors):
    """The table across scales, from the error of each twin by seed."""
    last = made.last(study, lambda run, twin: errors[twin][run.seed])
    summary = derive.by_depth(derive.final(last), 20)
    return tables.across_scales(judging.across_scales(study, last, summary, comparisons.judge(study, last)[1]))


def test_the_table_across_scales():
    """Published differences stand beside ours: values, points, depth and data of both, and the reading."""
    of_cifar10 = (("a", 5.93), ("b", 5.91), ("c", '"fails"'))
    values = "".join(made.paper(twin, value, 'dataset = "cifar10"', 110) for twin, value in of_cifar10)
    study = made.asked("abc", claims=values + made.paper("b", '"fails"', 'dataset = "svhn"', 110))

    rows = across(study, {"a": [5.0, 6.0, 7.0], "b": [6.0, 7.0, 8.0], "c": [52.0, 53.0, 54.0]}).rows

    error, source, ours = "test error", "cifar10, depth 110", "cifar, depth 20"
    lower = ["5.91 against 5.93", "-0.02", "7.0 against 6.0", "+1.0", "1.0 to 1.0", "3"]
    higher = ["fails against 5.93", "-", "53.0 against 6.0", "+47.0", "47.0 to 47.0", "3"]
    alone = ["fails", "-", "7.0", "-", "-", "3"]
    assert rows == [
        ["b", "a", error, "table 6", source, ours, "opposite direction", *lower],
        ["c", "a", error, "table 6", source, ours, "same direction", *higher],
        ["b", "-", error, "table 6", "svhn, depth 110", ours, "fails as published, trains here", *alone],
    ]


def test_what_stands_beside_two_published_values_is_written_once():
    """Ours is no second result beside a second published value, which names its family where ours is another."""
    places = [(110, "cifar"), (164, "cifar-bottleneck")]
    values = "".join(
        made.paper(twin, value, 'dataset = "cifar10"', *place)
        for place in places
        for twin, value in (("a", 7), ("b", 8))
    )

    rows = across(made.asked("ab", claims=values), {"a": [5.0, 6.0, 7.0], "b": [6.0, 7.0, 8.0]}).rows

    assert [row[4] for row in rows] == ["cifar10, depth 110", "cifar10, cifar-bottleneck family, depth 164"]
    assert [row[9:12] for row in rows] == [["7.0 against 6.0", "+1.0", "1.0 to 1.0"], ["as above"] * 3]


def test_a_reading_that_decides_nothing_is_called_undecided():
    """Beside a net that was published to fail, one that may or may not do so has no reading but that."""
    study = made.asked("a", claims=made.paper("a", '"fails"'))
    last = made.last(study, lambda run, _: [1.0, 9.0, 30.0][run.seed])
    summary = derive.by_depth(derive.final(last), 20)

    (row,) = tables.paper(judging.against_paper(study, last, summary)).rows

    assert row[-1] == "undecided"
