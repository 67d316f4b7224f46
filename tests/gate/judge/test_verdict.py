"""Verdicts: what is said of benchmarks whose truth is known, and of runs as a whole."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gate_made as made
from deeptwins.gate.judge import estimates
from deeptwins.gate.judge.conclusion import conclude
from deeptwins.gate.judge.estimates import p_beyond, usable
from deeptwins.gate.judge.verdict import judge, suspects, undecided

SLOW, FAST = math.log(1.1), -math.log(1.1)
QUIET = {"noise": 0.002}
KERNEL = "kernel[sm_90]"


def judged(*benchmarks, design=made.DESIGN):
    """Return the verdicts, or the only one."""
    result = judge(benchmarks, design)
    return result[0] if len(result) == 1 else result


def of(log_ratio=0.0, confirmation=None, id="b", **sample):  # noqa: A002
    """A quiet benchmark."""
    return made.benchmark(id, log_ratio, confirmation=confirmation, **QUIET | sample)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (SLOW, SLOW, "regressed"),
        (FAST, FAST, "improved"),
        (SLOW, None, "inconclusive"),
        (SLOW, 0.0, "inconclusive"),
        (SLOW, FAST, "inconclusive"),
        (FAST, SLOW, "inconclusive"),
        (0.0, None, "no_worse"),
        (FAST, None, "no_worse"),
        (FAST, 0.0, "no_worse"),
        (0.0, SLOW, "inconclusive"),
        (0.02, None, "no_worse"),
        (math.log(1.03), None, "inconclusive"),
    ],
)
def test_a_change_must_be_seen_twice(first, second, verdict):
    """Slower or faster is what both batches show; no worse is what no batch leaves in doubt."""
    assert judged(of(first, second)).verdict == verdict


def test_the_second_batch_must_be_significant_by_itself():
    """A second batch that is slower by more than the margin, yet noisy, confirms nothing; the reason tells both."""
    noisy = made.batch(SLOW, noise=0.1, layout=0.1, seed=5)
    assert p_beyond(usable(noisy), math.log(1.03)) > 0.05

    result = judged(of(SLOW).model_copy(update={"confirmation": noisy}))

    assert result.verdict == "inconclusive"
    assert result.reason.startswith("slower in the first batch, not confirmed by the second: ")
    assert result.confirmation.pairs == 5


def test_the_margin_counts():
    """What is slower by 10 % is so with the margin of the design, and no worse with one of 20 % of its own."""
    wide = of(SLOW, SLOW, changes={"margin": 0.2, "controls": 30})
    result = judged(wide)

    assert judged(of(SLOW, SLOW)).margin == made.DESIGN.least_margin
    assert (result.verdict, result.margin, result.controls) == ("no_worse", 0.2, 30)
    assert judged(of(0.05, 0.05), design=made.DESIGN.model_copy(update={"least_margin": 0.1})).verdict == "no_worse"


def test_a_speed_up_counts_as_much_as_a_slowdown():
    """With the arms swapped, slower is faster: 3.5 % more time counts as much as 1 - 1 / 1.035 less."""
    beyond, within = math.log(1.035), math.log(1.025)

    assert [judged(of(x, x, noise=0.0005)).verdict for x in (beyond, -beyond)] == ["regressed", "improved"]
    assert [judged(of(x, x, noise=0.0005)).verdict for x in (within, -within)] == ["no_worse", "no_worse"]


@pytest.mark.parametrize(("against", "verdict"), [(3, "regressed"), (4, "inconclusive")])
@pytest.mark.parametrize("batch", ["pairs", "confirmation"])
def test_four_of_five_pairs_must_agree(batch, against, verdict):
    """Of fifteen pairs in either batch, three may point the other way; with four that do, nothing is said."""
    mixture = made.batch(0.2, pairs=15 - against, **QUIET) + made.batch(-0.02, pairs=against, **QUIET)
    both = {"pairs": made.batch(0.2, **QUIET), "confirmation": made.batch(0.2, seed=1, **QUIET), batch: mixture}
    assert p_beyond(usable(mixture), math.log(1.03)) < 0.05

    result = judged(of(changes=both))

    assert result.verdict == verdict
    assert ("pairs agree" in result.reason) == (verdict == "inconclusive")


def test_more_than_a_quarter_rejected_says_nothing():
    """Six of twenty blocks are too many, whatever the others say, and five are not; both batches are counted."""
    assert judged(of(SLOW, SLOW, rejected=5)).verdict == "regressed"
    assert judged(of(0.0, rejected=6)).verdict == "inconclusive"
    result = judged(of(SLOW, SLOW, rejected=6))

    assert (result.verdict, result.reason) == ("inconclusive", "6 of 20 blocks rejected (steal time)")
    assert (result.rejected, result.blocks) == (12, 40)
    assert result.estimate.blocks == 14
    second = judged(of(SLOW, changes={"confirmation": made.batch(SLOW, rejected=6)}))
    assert (
        second.reason
        == "slower in the first batch, and the second cannot be judged: 6 of 20 blocks rejected (steal time)"
    )


def test_one_pair_says_nothing():
    """A single pair, however clear, is no evidence; nor is a second batch of one."""
    result = judged(of(SLOW, SLOW, pairs=1))

    assert (result.verdict, result.reason) == ("inconclusive", "1 pair of processes; 2 are needed")
    assert judged(of(SLOW, changes={"confirmation": made.batch(SLOW, pairs=1)})).verdict == "inconclusive"


WORSE = {"k": {"spill_instructions": (0, 2), "barriers": (0, 1)}}


@pytest.mark.parametrize(
    ("run", "answer"),
    [
        (
            made.run(of(), exact={"k": {"graphs": (1, 1)}}),
            "No slowdown: 1 benchmark within 3 %, 1 exact value unchanged.",
        ),
        (made.run(of(SLOW, SLOW), of(id="fine")), "Slower: b by 10.0 % ("),
        (made.run(of(SLOW, SLOW), of(0.2, 0.2, id="c")), "Slower: 2 benchmarks, c most, by 22."),
        (made.run(of(SLOW, SLOW), exact=WORSE), "Slower: b by 10."),
        (made.run(exact=WORSE), "Worse: 2 exact values worse."),
        (made.run(of(SLOW), of(id="c")), "No slowdown was confirmed; 1 of 2 benchmarks inconclusive."),
        (made.run(), "No verdict: nothing was measured."),
        (made.run(of(), failure="killed."), "No verdict, the run ended early: killed."),
        (made.run(of(), expected=("b", "a", "c")), "No verdict: 2 expected benchmarks were not measured."),
    ],
)
def test_the_answer_is_one_sentence(run, answer):
    """It sums up what several sentences say, and repeats none of them."""
    result = conclude(run)

    assert result.answer.startswith(answer)
    assert result.answer not in result.details
    assert {*result.details} >= {*result.lines} - {result.answer}


@pytest.mark.parametrize("status", ["failed", "skipped", "unfinished"])
def test_what_did_not_end_well_is_not_measured(status):
    """Whatever it measured before: that is told, and the reason, and no verdict drawn from it."""
    result = judged(of(SLOW, SLOW, changes={"status": status, "reason": "out of memory"}))

    assert (result.verdict, result.reason) == ("not_measured", "out of memory")
    assert result.estimate.log_ratio == pytest.approx(SLOW, abs=0.01)
    assert judged(of(changes={"status": status})).reason == status
    assert judged(of(changes={"pairs": ()})).reason == "no block was measured"
    assert judged(of(changes={"pairs": ((), ())})).estimate is None


def test_among_many_benchmarks_more_is_asked_for():
    """What is significant alone, p from 1 to 5 %, is not among twenty quiet ones; nor do failed ones count as tests."""
    seeds = (seed for seed in range(99) if 0.01 < p_beyond(usable(borderline(seed).pairs), math.log(1.03)) < 0.04)
    one = borderline(next(seeds))
    others = [of(id=f"quiet {i}") for i in range(20)]
    failed = [of(id=f"failed {i}", changes={"status": "failed"}) for i in range(20)]

    alone, among, *_ = judged(one, *failed)[0], judged(one, *others)[0]

    assert (alone.verdict, among.verdict) == ("regressed", "inconclusive")
    assert alone.q < 0.05 < among.q
    assert "adjusted for the number of benchmarks" in among.reason
    assert among.estimate == alone.estimate


def borderline(seed):
    """A benchmark that may be slower, for sure in its second batch."""
    return made.benchmark("b", 0.07, noise=0.03, layout=0.02, seed=seed, changes={"confirmation": made.batch(SLOW)})


def test_suspects_are_those_that_need_a_second_batch():
    """Slower or faster in the first, and nothing measured again yet."""
    result = [of(0.0, id="same"), of(SLOW, id="slow"), of(FAST, id="fast"), of(SLOW, SLOW, id="done")]
    result += [of(SLOW, id="spoiled", rejected=6), of(SLOW, id="failed", changes={"status": "failed"})]

    assert suspects(result, made.DESIGN) == ["slow", "fast"]


def test_the_undecided_come_by_what_they_need():
    """Those that more pairs may decide, first those nearest to it, last those that nothing is known of."""
    wide = made.benchmark("wide", 0.02, noise=0.04, layout=0.03, seed=1)
    wider = made.benchmark("wider", 0.03, noise=0.08, layout=0.06, seed=1)
    result = [
        of(0.0, id="spoiled", rejected=6),
        wider,
        wide,
        of(id="same"),
        of(SLOW, id="slow"),
        of(SLOW, 0.0, id="done"),
    ]
    assert [one.verdict for one in judge(result, made.DESIGN)] == [
        *["inconclusive"] * 3,
        "no_worse",
        *["inconclusive"] * 2,
    ]

    assert undecided(result, made.DESIGN) == ["wide", "wider", "spoiled"]


def test_reasons_are_told_only_where_there_is_something_to_explain():
    """Of what is slower, faster or no worse, the numbers say enough."""
    assert {one.reason for one in judge([of(SLOW, SLOW), of(FAST, FAST), of()], made.DESIGN)} == {""}
    assert judged(of(noise=0.1)).reason == "the interval reaches beyond the margin of 3.0 %"
    assert judged(of(0.0, SLOW)).reason.startswith("the interval of the second batch (9.")


@settings(max_examples=25)  # Each takes bootstrap samples of every benchmark, twice.
@given(st.lists(st.sampled_from([SLOW, FAST, 0.0, 0.03]), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_benchmarks_means_nothing(ratios, rng):
    """Each is judged among the others, whatever their order."""
    benchmarks = [of(ratio, ratio, id=f"b{i}", noise=0.01) for i, ratio in enumerate(ratios)]
    shuffled = rng.sample(benchmarks, len(benchmarks))

    result = {one.id: one for one in judge(benchmarks, made.DESIGN)}

    assert judge(shuffled, made.DESIGN) == [result[benchmark.id] for benchmark in shuffled]


# Of a run.


def test_what_a_run_that_ended_early_lacks_is_not_said_to_be_gone():
    """What was not measured because the run ended early may well be in head: the reason is the end of the run."""
    result = conclude(made.run(of(), expected=("b", "a"), failure="interrupted"))

    assert "Not measured: a (the run ended early)." in result.lines


@pytest.mark.parametrize(
    ("run", "code", "first"),
    [
        (made.run(of()), 0, "No slowdown: 1 benchmark within 3 %."),
        (made.run(of(SLOW, SLOW)), 1, "Slower: b by "),
        (made.run(of(SLOW)), 3, "Inconclusive: b: "),
        (
            made.run(of(), failure="the worker of head was killed."),
            2,
            "No verdict, the run ended early: the worker of head was killed.",
        ),
        (made.run(), 4, "Nothing was measured."),
        (made.run(expected=()), 4, "Nothing was measured."),
        (made.run(of(), expected=("b", "a")), 4, "Not measured: a (not in head)."),
        (made.run(of(), expected=("a",)), 4, "Not measured: a (not in head)."),
        (made.run(of(), of(id="new"), expected=("b",)), 4, "Not in the suite's list, gate.txt: new."),
        (made.run(of(), expected=("b",)), 0, "No slowdown: "),
        (made.run(of(FAST, FAST)), 0, "Faster: b by "),
    ],
)
def test_exit_codes_and_what_is_said_first(run, code, first):
    """Each code has its sentence, and it is the first."""
    result = conclude(run)

    assert result.code == code
    assert result.lines[0].startswith(first)


@pytest.mark.parametrize("status", ["failed", "skipped", "unfinished"])
@pytest.mark.parametrize("expected", [None, ("b", "gone")])
def test_a_benchmark_that_fails_is_not_measured(status, expected):
    """Whether it is expected or only named, a failure is no silence: the exit code is 4, and the sentence says why."""
    broken = of(id="gone", changes={"status": status, "reason": "ImportError: no module named x"})

    result = conclude(made.run(of(), broken, expected=expected))

    assert result.code == 4
    assert result.lines[0] == "Not measured: gone (ImportError: no module named x)."


@pytest.mark.parametrize("expected", [None, ("b",), ("b", "gpu")])
def test_what_both_arms_skip_is_no_change(expected):
    """Whether the list has it or not: it is told with its reason, and all else decides."""
    skipped = of(id="gpu", changes={"status": "skipped in both", "reason": "no GPU", "pairs": ()})

    result = conclude(made.run(of(), skipped, expected=expected))

    assert result.code == 0
    assert "Skipped in both: gpu (no GPU)." in result.lines
    assert conclude(made.run(skipped)).code == 4


def test_a_failing_benchmark_that_nobody_expects_is_not_expected():
    """A new benchmark that fails does not hide behind the list that lacks it."""
    assert conclude(made.run(of(), of(id="new", changes={"status": "failed"}), expected=("b",))).code == 4


def test_the_gravest_code_holds_and_all_is_said():
    """A failure, then what is slower, then a changed set, then a doubt; each is told even where another decides."""
    slower, doubtful, fine = of(SLOW, SLOW, id="slow"), of(SLOW, id="doubt"), of(id="fine")
    everything = {"expected": ("slow", "doubt", "fine", "gone")}

    result = [
        conclude(made.run(slower, doubtful, fine, **everything, failure="killed")),
        conclude(made.run(slower, doubtful, fine, **everything)),
        conclude(made.run(doubtful, fine, expected=("doubt", "fine", "gone"))),
        conclude(made.run(doubtful, fine)),
        conclude(made.run(fine)),
    ]

    assert [one.code for one in result] == [2, 1, 4, 3, 0]
    begins = ["No verdict, the run ended early: ", "Slower: slow", "Not measured: gone", "Inconclusive: doubt"]
    *grave, last = (line.replace("gone (the run ended early)", "gone (not in head)") for line in result[0].lines)
    assert all(line.startswith(begin) for line, begin in zip(grave, begins, strict=True))
    assert [one.lines[0] for one in result[1:4]] == grave[1:]
    assert last == "No slowdown elsewhere: 1 benchmark within 3 %."
    assert result[4].lines == ("No slowdown: 1 benchmark within 3 %.",)
    assert [one.id for one in result[0].judged] == ["slow", "doubt", "fine"]


def test_a_confirmed_change_is_told_with_its_interval():
    """In percent of base's time: 10 % more, or 9.1 % less, never a negative number."""
    slower, faster = conclude(made.run(of(SLOW, SLOW, noise=1e-5))), conclude(made.run(of(FAST, FAST, noise=1e-5)))

    assert slower.lines == ("Slower: b by 10.0 % (10.0 to 10.0 %), confirmed by a second batch (10.0 %).",)
    assert faster.lines == ("Faster: b by 9.1 % (9.1 to 9.1 %), confirmed by a second batch (9.1 %).",)


def counted(**values):
    """Exact values of a kernel: base and head, by metric."""
    return {KERNEL: values}


@pytest.mark.parametrize(
    ("exact", "code", "line"),
    [
        (counted(spill_instructions=(0, 0)), 0, "No slowdown: 1 exact value unchanged."),
        (
            counted(spill_instructions=(0, 2)),
            1,
            f"Worse: {KERNEL}: instructions that spill registers: 0 before, 2 now.",
        ),
        (counted(stack_bytes=(2000, 8)), 0, f"Better: {KERNEL}: stack per thread: 2,000 bytes before, 8 now."),
        (counted(opcodes_sha256=("a", "b")), 0, "Changed, neither better nor worse: 1 exact value."),
        (counted(graphs=(1, 1), barriers=(None, 1)), 0, f"Only head has {KERNEL}: barriers."),
        (counted(graphs=(1, 1), barriers=(1, None)), 0, f"Only base has {KERNEL}: barriers."),
        (counted(graphs=(1, None)), 4, f"Not measured: {KERNEL} (not in head)."),
        ({KERNEL: {}}, 4, "Nothing was measured."),
    ],
)
def test_exact_values(exact, code, line):
    """One that is worse fails, one that is better or neither does not; a subject that head lacks is not measured."""
    result = conclude(made.run(exact=exact))

    assert result.code == code
    assert line in result.lines


def test_a_metric_that_is_worse_of_many_nets_is_one_sentence():
    """It tells the first and how many more; what is better or another metric has a sentence of its own."""
    nets = {
        f"step {depth}": {"operators": (depth, depth + 14), "peak_bytes": (9, 8), "graphs": (1, 1)}
        for depth in (20, 32)
    }
    nets["step 44"] = {"operators": (44, 58)}

    result = conclude(made.run(exact=nets))

    assert result.code == 1
    assert result.lines == (
        "Worse: step 20: operators that compute: 20 before, 34 now; 2 more values of this metric.",
        "Better: step 20: peak of what is allocated: 9 bytes before, 8 now; 1 more value of this metric.",
        "No slowdown elsewhere: 2 exact values unchanged.",
    )


def test_an_exact_slowdown_is_not_hidden():
    """By nothing but a run that ended early."""
    worse = counted(spill_instructions=(0, 2))

    assert conclude(made.run(of(SLOW), exact=worse, expected=("b", KERNEL, "gone"))).code == 1
    assert conclude(made.run(exact=worse, failure="killed")).code == 2


def test_subjects_of_exact_values_are_part_of_the_set():
    """Expected ones that were not counted are missing, with the reason; others are not expected."""
    both = counted(graphs=(1, 1))

    assert conclude(made.run(of(), exact=both, expected=("b", KERNEL))).code == 0
    assert (
        conclude(made.run(of(), exact=both, expected=("b",))).lines[0]
        == f"Not in the suite's list, gate.txt: {KERNEL}."
    )
    for name in ("kernel[sm_80]", "kernel[sm_80] (head)"):
        result = conclude(made.run(exact=both, expected=(KERNEL, "kernel[sm_80]"), unavailable={name: "no ptxas"}))
        assert (result.code, result.lines[0]) == (4, "Not measured: kernel[sm_80] (no ptxas).")


def test_a_subject_that_head_no_longer_has_nor_is_expected_to_have_is_gone():
    """Removed from code and list alike, it fails nothing."""
    exact = counted(graphs=(1, 1)) | {"old": {"graphs": (1, None)}}

    assert conclude(made.run(exact=exact, expected=(KERNEL,))).code == 0
    assert conclude(made.run(exact=exact, expected=(KERNEL, "old"))).code == 4


def test_many_names_are_counted():
    """A sentence names eight of what is missing, and how many more there are; a reason that all have stands once."""
    expected = tuple(f"b{i:02}" for i in range(20))
    failed = of(id="b01", changes={"status": "failed", "reason": "broken"})

    line = conclude(made.run(of(id="b00"), failed, expected=expected)).lines[0]

    assert line.startswith("Not measured: b01 (broken) and b02, b03")
    assert line.endswith("b09 and 10 more (not in head).")
    assert "b10" not in line


def test_margins_are_told_as_a_range():
    """From the least to the largest of those within."""
    wide = of(id="wide", changes={"margin": 0.08})

    assert conclude(made.run(of(), wide)).lines == ("No slowdown: 2 benchmarks within 3 to 8 %.",)


# Many runs, with heavy tails and pairs of their own layout.


def simulated(number, log_ratio, monkeypatch, others=7):
    """Conclude from runs of one benchmark that is slower, and of others that are not, each suspect measured again."""
    monkeypatch.setattr(estimates, "DRAWS", 400)
    sample = {"noise": 0.02, "layout": 0.01}
    for seed in range(number):
        truth = {"slow": log_ratio} | {f"b{i}": 0.0 for i in range(others)}
        result = [made.benchmark(name, ratio, seed=seed, **sample) for name, ratio in truth.items()]
        again = suspects(result, made.DESIGN)
        yield conclude(
            made.run(
                *(
                    made.benchmark(one.id, truth[one.id], confirmation=truth[one.id], seed=seed, **sample)
                    if one.id in again
                    else one
                    for one in result
                )
            )
        )


@pytest.mark.slow
def test_no_run_of_a_commit_against_itself_is_red(monkeypatch):
    """Of 60 with eight benchmarks each."""
    codes = [result.code for result in simulated(60, 0.0, monkeypatch)]

    assert {*codes} <= {0, 3}
    assert codes.count(0) > 20


@pytest.mark.slow
def test_a_tenth_more_time_is_found(monkeypatch):
    """In 95 of 100, and nothing else is."""
    runs = [*simulated(40, math.log(1.1), monkeypatch, others=3)]

    assert sum(result.code == 1 for result in runs) >= 38
    assert {one.id for result in runs for one in result.judged if one.verdict == "regressed"} == {"slow"}


def test_a_twentieth_more_time_is_found_or_in_doubt(monkeypatch):
    """It is never called fine by an interval that excludes it."""
    runs = [*simulated(100, math.log(1.05), monkeypatch, others=0)]

    assert {result.judged[0].verdict for result in runs} == {"regressed", "inconclusive"}
    assert sum(result.code == 1 for result in runs) > 40
