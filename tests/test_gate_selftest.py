"""Which trials make a self-test, and which of them are left."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

import gate_made as made
from deeptwins.gate import selftest
from deeptwins.gate.mutations import MUTATIONS

NAMES = ["bench_a", "bench_b", "bench_c"]


def done(trial, **changes):
    """The run that a trial leaves."""
    return made.run(kind=trial.kind, injected=trial.injected, added=trial.added, **changes)


def test_a_self_test_has_as_many_of_each():
    """Twenty A/A, twenty of each slowdown, over all benchmarks alike, and each change of the source once."""
    planned = selftest.plan(NAMES)

    assert Counter((trial.kind, trial.added) for trial in planned) == {
        ("mutant", None): len(MUTATIONS),
        ("aa", None): 20,
        ("slower", 0.1): 20,
        ("slower", 0.05): 20,
    }
    for added in selftest.ADDED:
        shares = Counter(trial.injected for trial in planned if trial.added == added)
        assert {*shares} == {*NAMES}
        assert max(shares.values()) - min(shares.values()) <= 1


@given(st.integers(1, 4), st.randoms(use_true_random=False), st.integers(0, 20))
def test_what_is_done_is_not_left(trials, random, number):
    """Whatever part is done, and in whatever order, the rest is left: each as often as it is planned."""
    planned = selftest.plan(NAMES, trials)
    some = random.sample(planned, min(number, len(planned)))

    left = selftest.left(planned, [done(trial) for trial in some], made.MACHINE)

    assert Counter(left) == Counter(planned) - Counter(some)


def test_what_broke_off_or_ran_elsewhere_is_left():
    """A trial that ended early tells nothing, and times of another machine are others; counts are not."""
    planned = selftest.plan(NAMES, 1)
    aa, mutant = next(trial for trial in planned if trial.kind == "aa"), planned[0]

    assert aa in selftest.left(planned, [done(aa, failure="killed")], made.MACHINE)
    assert aa in selftest.left(planned, [done(aa, machine="another")], made.MACHINE)
    assert mutant not in selftest.left(planned, [done(mutant, machine="another")], made.MACHINE)
