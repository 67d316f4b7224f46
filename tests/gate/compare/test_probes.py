"""The exact tier: what differs between base and head, which of it is worse, and how the probe is run in both."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins.errors import InputError
from deeptwins.gate.arms.worktrees import Arm
from deeptwins.gate.compare import probes
from deeptwins.gate.compare.probes import Counts, measure, merge
from deeptwins.gate.judge.metrics import METRICS, Change, changes, lost
from deeptwins.gate.runs import Run

TOOLS = {"torch": "2.14", "triton": "3.8"}
JUDGED = sorted(name for name, metric in METRICS.items() if metric.better)
COUNTS = st.dictionaries(st.sampled_from(sorted(METRICS)), st.tuples(*[st.integers(0, 300)] * 2))


def judged(metric, base, head):
    """Say whether a change is for the worse, all that there is to compare being this."""
    (change,) = changes({"kernel": {metric: (base, head)}})
    assert change == Change("kernel", metric, base, head, change.worse)
    return change.worse


def counts_of(exact=None, unavailable=None, **toolchain):
    """Make what the probe writes."""
    return Counts(toolchain=TOOLS | toolchain, exact=exact or {}, unavailable=unavailable or {})


@pytest.mark.parametrize(
    ("metric", "base", "head", "worse"),
    [
        ("launches_forward", 2, 3, True),
        ("launches_forward", 3, 2, False),
        ("vector_share", 1.0, 0.5, True),
        ("vector_share", 0.5, 1.0, False),
        ("narrowest_access_bits", 128, 16, True),
        ("resident_warps", 16, 24, False),
        ("graph_breaks", 0, 1, True),
        ("torch", 0, 1, True),
        ("registers", 97, 104, None),  # a thread is given 104 in either case
        ("registers", 104, 105, True),
        ("shared_bytes", 128, 256, True),
        ("opcodes_sha256", "ab", "cd", None),
        ("instructions", 100, 200, None),
        ("of another version", 1, 2, None),
        ("spill_instructions", None, 3, None),
        ("spill_instructions", 3, None, None),
    ],
)
def test_a_difference_is_judged_by_what_its_metric_is(metric, base, head, worse):
    """Fewer is better, or more, or neither; what hardware hands out in larger units counts by those."""
    assert judged(metric, base, head) is worse


@given(COUNTS)
def test_every_difference_is_told_and_no_other(counts):
    """Changes are the pairs that differ, and with the arms exchanged each is worse where it was better."""
    different = changes({"kernel": counts})

    assert {(change.metric, change.base, change.head) for change in different} == {
        (name, base, head) for name, (base, head) in counts.items() if base != head
    }
    exchanged = changes({"kernel": {name: (head, base) for name, (base, head) in counts.items()}})
    flipped = {True: False, False: True, None: None}
    assert [change.worse for change in exchanged] == [flipped[change.worse] for change in different]


@pytest.mark.parametrize("metric", JUDGED)
def test_every_judged_metric_can_be_worse(metric):
    """No judged metric lets everything pass."""
    assert {judged(metric, 0, 1000), judged(metric, 1000, 0)} == {True, False}


def test_a_subject_is_lost_where_head_has_none_of_it():
    """What head no longer measures is no change for the better, and is named."""
    exact = {"here": {"flops": (1, 1)}, "gone": {"flops": (1, None)}, "new": {"flops": (None, 1)}}

    assert lost(exact) == ["gone"]
    assert [change.worse for change in changes(exact)] == [None, None]


def test_arms_are_merged_by_subject_and_metric():
    """Each value stands beside that of the other arm, or beside None; a run takes them as they are."""
    base = counts_of({"kernel": {"registers": 32, "barriers": 1}, "old": {"flops": 7}})
    head = counts_of({"kernel": {"registers": 40, "instructions": 9}, "new": {"torch": 0}})

    merged = merge(base, head)

    assert merged.toolchain == TOOLS
    assert merged.exact == {
        "kernel": {"registers": (32, 40), "instructions": (None, 9), "barriers": (1, None)},
        "new": {"torch": (None, 0)},
        "old": {"flops": (7, None)},
    }
    assert Run.__pydantic_validator__.validate_assignment(Run.model_construct(), "exact", merged.exact)


def test_what_could_not_be_counted_is_told_by_arm():
    """A reason that both arms give stands once, others with the arm that gives them."""
    base = counts_of(unavailable={"kernels": "no Triton", "nets": "older", "old": "gone"})
    head = counts_of(unavailable={"kernels": "no Triton", "nets": "broken"})

    assert merge(base, head).unavailable == {
        "kernels": "no Triton",
        "nets (base)": "older",
        "nets (head)": "broken",
        "old (base)": "gone",
    }


@pytest.mark.parametrize("other", [{"triton": "3.9"}, {"ptxas": "13.1"}])
def test_other_tools_are_refused(other):
    """Numbers by different compilers are not compared."""
    (tool,) = other
    with pytest.raises(InputError, match=f"base and head were counted with {tool} (3.8|none) and {other[tool]}"):
        merge(counts_of(), counts_of(**other))


PROBE = """
import json, os, sys
from pathlib import Path
import deeptwins
output = Path(sys.argv[sys.argv.index("--output") + 1])
seen = {"arm": deeptwins.ARM, "groups": " ".join(sys.argv[sys.argv.index("--only") + 1 :]), "folder": os.getcwd()}
seen |= {name: os.environ.get(name) for name in ("PYTHONHASHSEED", "OMP_NUM_THREADS", "TRITON_INTERPRET")}
seen |= {name: os.environ[name] for name in ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")}
deeptwins.before()
output.write_text(json.dumps({"toolchain": {}, "exact": {"seen": seen}, "unavailable": {}}))
"""


@pytest.fixture
def checkouts(tmp_path):
    """Two checkouts with a probe that tells how it is run, after doing what an arm's package says."""

    def made(**before):
        for arm in ("base", "head"):
            package = tmp_path / arm / "src" / "deeptwins"
            package.mkdir(parents=True)
            code = f"ARM = {arm!r}\n\ndef before():\n    {before.get(arm, 'pass')}\n"
            (package / "__init__.py").write_text(code, encoding="utf-8")
        probe = tmp_path / "head" / "bench" / "exact_metrics.py"
        probe.parent.mkdir()
        probe.write_text(PROBE, encoding="utf-8")
        return Arm("head", "h", tmp_path / "head"), Arm("base", "b", tmp_path / "base")

    return made


def test_the_probe_runs_in_both_arms_alike(checkouts, monkeypatch):
    """Head's probe meets each arm's package, in the same environment, with caches of its own that are gone after."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")

    seen = measure(*checkouts(), groups=["imports", "nets"]).exact["seen"]

    assert seen["arm"] == ("base", "head")
    assert seen["groups"] == ("imports nets",) * 2
    assert seen["PYTHONHASHSEED"] == ("0", "0")
    assert seen["OMP_NUM_THREADS"] == ("1", "1")
    assert seen["TRITON_INTERPRET"] == (None, None)
    places = [place for name in ("folder", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR") for place in seen[name]]
    assert len({*places}) == 6
    assert not any(Path(place).exists() for place in places)


@pytest.mark.parametrize("arm", ["base", "head"])
def test_a_probe_that_dies_is_named(checkouts, arm):
    """The error says which arm it was and its last line; the other arm is not waited for."""
    other = {"base": "head", "head": "base"}[arm]
    code = {arm: "raise ValueError('no such kernel')", other: "import time; time.sleep(600)"}

    with pytest.raises(InputError, match=rf"^exact metrics of {arm}: ValueError: no such kernel \(exit code 1\)$"):
        measure(*checkouts(**code))


def test_a_probe_that_is_killed_is_named(checkouts):
    """A signal leaves no line."""
    with pytest.raises(InputError, match=r"^exact metrics of head: not a word \(signal 9\)$"):
        measure(*checkouts(head="os.kill(os.getpid(), 9)".replace("os", "__import__('os')")))


def test_probes_have_a_time_limit(checkouts, monkeypatch):
    """Whoever is late is named. By the clock of this test, time passes only when base's probe has ended."""
    ended = []

    class Process(subprocess.Popen):
        def poll(self):
            code = super().poll()
            if code is not None:
                ended.append(self)
            return code

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(probes.time, "monotonic", lambda: 3.0 if ended else 0.0)

    with pytest.raises(InputError, match=r"^exact metrics of head: not counted after 2 s"):
        measure(*checkouts(head="import time; time.sleep(600)"), limit_s=2)


@pytest.mark.parametrize("gone", ["head/bench/exact_metrics.py", "base/src/deeptwins/__init__.py"])
def test_an_arm_needs_a_package_of_its_own(checkouts, tmp_path, gone):
    """Without it Python would find the installed one, and nothing would differ."""
    arms = checkouts()
    (tmp_path / gone).unlink()

    with pytest.raises(InputError, match=f"{gone}: not there"):
        measure(*arms)


@pytest.mark.parametrize("written", ["", "{", '{"toolchain": {}, "exact": {"net": {"flops": [1]}}, "unavailable": {}}'])
def test_a_probe_that_leaves_no_answer_is_named(checkouts, written):
    """Neither no file nor anything that is in it is ever taken for counts."""
    code = f"__import__('__main__').output.write_text({written!r}); raise SystemExit"

    with pytest.raises(InputError, match="exact metrics of base: the probe left no answer"):
        measure(*checkouts(base=code if written else "raise SystemExit"))
