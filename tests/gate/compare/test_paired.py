"""The parts of the paired tier that need no process: calibration, disturbances, memory for files."""

import contextlib
import itertools
import math

import pytest

import gate_made as made
from deeptwins.gate import runs
from deeptwins.gate.compare import comparison, disturbances, paired, processes
from deeptwins.gate.judge.verdict import judge


class Fixed:
    """A worker whose calls take a fixed time."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.asked = []

    def ask(self, run):
        """Answer a request."""
        self.asked.append(run)
        return {"seconds": self.seconds}


@pytest.mark.parametrize("seconds", [3.0, 0.05, 0.02, 1e-3, 1e-7])
def test_a_segment_is_long_enough(seconds):
    """So many calls as fill a segment, and one where a call is longer; the first guess may be a cold call's."""
    worker = Fixed(seconds)

    calls, told = paired._calibrate(worker, 1.2 * seconds, 0.05)

    assert told == pytest.approx(seconds, rel=0.21)
    assert calls * seconds * 1.0001 >= 0.05 or calls * 1.2 * seconds >= 0.05
    assert (calls - 1) * seconds < 0.05
    assert len(worker.asked) <= 12


def test_a_cold_first_call_does_not_set_the_length():
    """Where the first call took much longer than those that follow, more of them make a segment."""
    calls, _ = paired._calibrate(Fixed(0.001), 0.02, 0.05)

    assert calls == 50


def test_a_timer_that_stands_still_does_not_make_a_segment_endless(monkeypatch):
    """Where calls take seconds by the clock, and none by the benchmark's timer, the clock says how many are enough."""
    now = [0.0]

    class Sleeping(Fixed):
        def ask(self, run):
            now[0] += 0.1 * run
            return super().ask(run)

    monkeypatch.setattr(paired.time, "monotonic", lambda: now[0])
    worker = Sleeping(0.0)

    assert paired._calibrate(worker, 0.0, 0.05) == (100, pytest.approx(0.1))
    assert worker.asked == [100]


CALM = {"switches": 0, "sentinel": 0.001}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine whose clock and stolen time are told."""
    now = {"seconds": 0.0, "stolen": 100}
    monkeypatch.setattr(disturbances.time, "perf_counter", lambda: now["seconds"])
    monkeypatch.setattr(disturbances.os, "sysconf", lambda _name: 100)

    class Stat:
        def read_text(self, encoding):
            return f"cpu  1 2 3 4 5 6 7 9999 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0\ncpu1 1 2 3 4 5 6 7 {now['stolen']} 0 0\n"

    monkeypatch.setattr(disturbances, "STAT", Stat())
    return now


def watched(machine, replies, seconds=1.0, stolen=0):
    """What is said of a block that took so long on core 1."""
    watch = disturbances.Watch(1)
    machine["seconds"] += seconds
    machine["stolen"] += stolen
    return watch.disturbed(replies)


def test_a_calm_block_counts(machine):
    """Little of each disturbance is no reason."""
    assert watched(machine, [CALM, CALM | {"sentinel": 0.0014}, CALM | {"switches": 20}, CALM], stolen=4) is None


def test_disturbed_blocks_do_not_count(machine):
    """Stolen time, other work on the core, a clock that changes: each is told."""
    assert "stolen" in watched(machine, [CALM] * 4, stolen=6)
    assert "other work" in watched(machine, [CALM] * 3 + [CALM | {"switches": 23}])
    assert "unsteady" in watched(machine, [CALM] * 3 + [CALM | {"sentinel": 0.0016}])


def test_the_same_is_said_whichever_arm_was_disturbed(machine):
    """The rule does not look at which segment is whose."""
    replies = [CALM] * 3 + [CALM | {"sentinel": 0.002}]
    said = {watched(machine, replies[i:] + replies[:i]) for i in range(4)}

    assert len(said) == 1
    assert None not in said


def test_stolen_time_is_of_the_core(machine):
    """Seconds of the core that is measured on; nothing where the system does not tell."""
    assert disturbances.stolen(1) == 1.0
    assert disturbances.stolen(None) == 99.99
    assert disturbances.stolen(7) is None


def test_files_lie_in_memory_only_where_there_is_room(monkeypatch, tmp_path):
    """A folder of the system's choice where memory has none, or is short."""
    monkeypatch.setattr(processes, "MEMORY", tmp_path)
    with processes.folder_for_files() as folder:
        assert folder.parent == tmp_path
    assert not folder.exists()
    monkeypatch.setattr(processes, "ROOM", 1 << 62)
    with processes.folder_for_files() as folder:
        assert folder.parent != tmp_path


@pytest.mark.parametrize(("deadline", "begun"), [(math.inf, ["a", "b"]), (0.0, [])])
def test_when_the_time_is_up_no_benchmark_begins(monkeypatch, tmp_path, deadline, begun):
    """Within a pair, too; what was not measured says why."""
    names, measured = ["a", "b"], []

    class Told:
        def read(self):
            return {"collected": names}

    @contextlib.contextmanager
    def workers(*_arguments, **_named):
        yield Told(), Told()

    task = processes.Task((), None, comparison.DESIGN, None, tmp_path)
    measurement = paired.Measurement(task, str, deadline)
    monkeypatch.setattr(measurement, "_workers", workers)
    monkeypatch.setattr(measurement, "_benchmark", lambda _batch, name, _workers: measured.append(name))
    measurement._samples |= {name: paired.Samples() for name in names}

    measurement._batch("pairs", names, 1, tmp_path)

    assert sorted(measured) == begun
    assert {one.reason for one in measurement.benchmarks()} == {"not begun" if begun else "the time was up"}


@pytest.mark.parametrize(
    ("disturbed", "pairs", "verdict"),
    [((), 5, "regressed"), ((5, 6), 8, "regressed"), (range(5, 15), 10, "inconclusive")],
    ids=["quiet", "disturbed for a while", "disturbed throughout"],
)
def test_a_second_batch_that_was_disturbed_goes_on(monkeypatch, tmp_path, disturbed, pairs, verdict):
    """Until three blocks in four count, or there is twice as much of it; a disturbance does not hide a slowdown."""
    numbers = itertools.count()

    def pair(batch, names, _scratch):
        number = next(numbers)
        measured = made.batch(math.log(1.1), pairs=1, seed=number, noise=0.002, rejected=4 * (number in disturbed))
        for name in names:
            measurement._samples[name].status = "ok"
            measurement._samples[name].batches[batch] += measured

    task = processes.Task((), None, comparison.DESIGN, None, tmp_path)
    measurement = paired.Measurement(task, str, math.inf)
    monkeypatch.setattr(measurement, "_pair", pair)
    monkeypatch.setattr(measurement, "_collect", lambda *_: measurement._samples.update(b=paired.Samples()) or ["b"])

    measurement.run()

    (found,) = measurement.benchmarks()
    assert (len(found.pairs), len(found.confirmation)) == (5, pairs)
    assert judge([found], comparison.DESIGN)[0].verdict == verdict


def test_what_base_could_run_before_is_not_new():
    """A benchmark that base has run, and now fails in, is lost."""
    assert paired.Measurement._status(("failed", "late"), ("ok", ""), known=True) == ("failed", "base: late")


@pytest.mark.parametrize(
    ("base", "head", "status"),
    [
        (("ok", ""), ("ok", ""), "ok"),
        (("failed", "no such thing"), ("ok", ""), "new"),
        (("ok", ""), ("failed", "broken"), "failed"),
        (("ok", ""), ("skipped", "no GPU"), "skipped"),
        (("failed", "a"), ("failed", "b"), "failed"),
    ],
)
def test_head_says_what_became_of_a_benchmark(base, head, status):
    """What only base cannot run is new; what head cannot is lost."""
    found, reason = paired.Measurement._status(base, head)

    assert found == status
    assert (reason is None) == (status == "ok")
    assert runs.Benchmark(id="a", status=found, reason=reason).status == status
