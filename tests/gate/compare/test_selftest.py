"""Which trials make a self-test, and which of them are left."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gate_made as made
from deeptwins.gate.arms.worktrees import Suite
from deeptwins.gate.compare import selftest
from deeptwins.gate.compare.comparison import Request
from deeptwins.gate.compare.mutations import MUTATIONS

NAMES = ["bench_a", "bench_b", "bench_c"]


def done(trial, **changes):
    """The run that a trial leaves."""
    return made.run(kind=trial.kind, injected=trial.injected, added=dict(trial.added), **changes)


def test_a_self_test_has_as_many_of_each():
    """Twenty A/A, twenty of each slowdown, over all benchmarks alike, and each change of the source once."""
    planned = selftest.plan(NAMES)

    assert Counter(trial.kind for trial in planned) == {"mutant": len(MUTATIONS), "aa": 20, "slower": 20}
    for added in selftest.ADDED:
        shares = Counter(name for trial in planned for name, share in trial.added if share == added)
        assert {*shares} == {*NAMES}
        assert max(shares.values()) - min(shares.values()) <= 1
        assert shares.total() == 20


@pytest.mark.parametrize("number", [1, 2, 9])
def test_a_benchmark_is_slowed_by_one_share_at_a_time(number):
    """Slowdowns of a run are in different benchmarks; where there is one alone, in different runs."""
    planned = selftest.plan([f"bench_{i}" for i in range(number)], 20)

    assert all(len(dict(trial.added)) == len(trial.added) for trial in planned)
    assert Counter(share for trial in planned for _, share in trial.added) == dict.fromkeys(selftest.ADDED, 20)


@given(st.integers(1, 4), st.randoms(use_true_random=False), st.integers(0, 20))
def test_what_is_done_is_not_left(trials, random, number):
    """Whatever part is done, and in whatever order, the rest is left: each as often as it is planned."""
    planned = selftest.plan(NAMES, trials)
    some = random.sample(planned, min(number, len(planned)))

    left = selftest.left(planned, [done(trial) for trial in some])

    assert Counter(left) == Counter(planned) - Counter(some)


def test_what_broke_off_is_left():
    """A trial that ended early tells nothing; one that ran on another machine does."""
    planned = selftest.plan(NAMES, 1)
    aa = next(trial for trial in planned if trial.kind == "aa")

    assert aa in selftest.left(planned, [done(aa, failure="killed")])
    assert aa not in selftest.left(planned, [done(aa, machine="another")])


def test_a_trial_is_a_run_of_head_against_itself(tmp_path):
    """All that differs is what is made worse; a changed source is counted, added work is timed."""
    suite = Suite(Path("bench"), (), "c")
    usual = Request(repository=tmp_path, base="b", head="h", suite=suite)
    for trial in selftest.plan(NAMES, 1):
        request = trial.request(usual, 7)

        assert (request.base, request.head, request.kind) == ("h", "h", trial.kind)
        assert request.tiers == (("exact",) if trial.kind == "mutant" else ("paired",))
        assert dict(request.added) == dict(trial.added)
        assert (request.mutation and request.mutation.name) == trial.injected
        assert request.mutation or request.seed == 7


def test_slow_benchmarks_are_left_out_where_another_is_slowed(tmp_path):
    """By the newest A/A run: what got one block a pair is slow, and is measured only where it is slowed itself."""
    slow, fast, other = made.benchmark("a", blocks=1), made.benchmark("b"), made.benchmark("c")
    failed = made.benchmark("d", changes={"status": "failed", "pairs": ()})
    runs = [made.run(slow, fast, other, failed, kind="aa"), made.run(slow, kind="paired")]
    quick = selftest.quick(runs)
    usual = Request(repository=tmp_path, base="b", head="h", suite=Suite(Path("bench"), (), "c"))

    assert quick == ["b", "c"]
    assert selftest.quick([]) == []
    assert selftest.Trial("slower", added=(("a", 0.1),)).request(usual, 1, quick).only == ("b", "c", "a")
    assert selftest.Trial("slower", added=(("a", 0.1),)).request(usual, 1).only == ()
    assert selftest.Trial("aa").request(usual, 1, quick).only == ()
