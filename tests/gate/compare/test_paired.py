"""The paired tier, with workers that stand in for processes: what is measured, how much of it, what became of it."""

import math
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from deeptwins.gate.arms import processes
from deeptwins.gate.arms.worktrees import Arm, Suite
from deeptwins.gate.compare import disturbances, paired
from deeptwins.gate.judge.verdict import judge
from deeptwins.gate.runs import DESIGN

CALM = {"switches": 0, "sentinel": 0.001}
NO_CORE = 1 << 20  # a core that no machine has: no time is stolen from it


@dataclass
class Costs:
    """What a call of a benchmark costs in one arm, and what goes wrong there."""

    seconds: float = 1.0
    cold: float = 1.0
    """The first call takes so many times as long."""
    outcome: str = "passed"
    from_pair: int = 0
    """The outcome holds from this pair on."""
    disturbed: frozenset[int] = frozenset()
    """Pairs in which other work runs on the core."""
    fixed: int | None = None
    """It says that a segment has so many calls."""
    once: bool = False
    """It fails where it is run again after that many."""
    file: str = "src/thing.py"
    """Whose code it runs."""


@dataclass(eq=False)
class Worker:
    """An arm's process, which runs nothing."""

    arm: Arm
    benchmarks: dict[str, Costs]
    names: tuple[str, ...]
    pair: int
    settings: dict
    requests: list[dict] = field(default_factory=list)
    messages: list[dict] = field(default_factory=list)

    def __post_init__(self):
        """Tell what a process would, up to the first request."""
        self.messages.append({"collected": list(self.names), "broken": {}, "tests": 9, "others": [*self.benchmarks]})
        for name in self.names:
            costs = self.benchmarks[name]
            if self.pair >= costs.from_pair and costs.outcome != "passed":
                self._end(name, costs.outcome)
            else:
                ready = {"ready": name, "seconds": costs.seconds * costs.cold, "elsewhere": [], "files": [costs.file]}
                ready |= {"calls": costs.fixed}
                self.messages.append(ready)

    def _end(self, name, outcome):
        """Tell how a test ended."""
        if outcome != "passed":
            self.messages.append({"test": name, "outcome": outcome, "when": "call", "reason": "a reason"})
        self.messages.append({"test": name, "outcome": "passed", "when": "teardown", "reason": ""})

    def read(self, patience=0.0):
        """Return the next message."""
        message = self.messages.pop(0)
        self.current = message.get("ready", "")
        return message

    def ask(self, patience=0.0, **request):
        """Answer a request."""
        self.requests.append(request)
        costs = self.benchmarks[self.current]
        if "end" in request:
            return {"test": self.current, "outcome": "passed", "when": "teardown", "reason": ""}
        ran = self.current not in self.settings.get("once", ()) or [one for one in self.requests[:-1] if "run" in one]
        if costs.once and ran:
            self._end(self.current, "failed")
            return self.messages.pop(0)
        switches = 1000 if self.pair in costs.disturbed else 0
        return CALM | {"seconds": costs.seconds, "switches": switches}


def _matching(names, words):
    return [name for name in names if not words or any(word in name for word in words)]


class Workers:
    """Starts pairs of workers, and remembers them; in a pair its number is the first's, 1."""

    def __init__(self, base, head, worker=Worker):
        self.sides, self.worker = (base, head), worker
        self.started = []

    @contextmanager
    def __call__(self, task, names, scratch, number, *, only=(), **settings):
        """Stand in for `pair_of_processes`."""
        pair = number % 1000
        workers = tuple(
            self.worker(arm, side, tuple(_matching(side, only) if names is None else names), pair, settings)
            for arm, side in zip(task.arms, self.sides, strict=True)
        )
        self.started.append(workers)
        yield workers


def measure(workers, path, deadline=math.inf, only=(), added=None, changed=(), tell=str):  # noqa: PLR0913, PLR0917
    """Run a measurement, and return it."""
    arms = Arm("base", "b", path), Arm("head", "h", path)
    task = processes.Task(arms, Suite(path, (), "c"), DESIGN, NO_CORE, path, added or {}, deadline)
    measurement = paired.PairedMeasurement(task, tell, changed=changed, start=workers)
    measurement.run(only)
    return measurement


def calls(path, costs, worker=Worker):
    """Return how many calls make a segment of a benchmark, and the requests that its calibration took."""
    workers = Workers({"b": costs}, {"b": costs}, worker)
    (benchmark,) = measure(workers, path).benchmarks()
    blocks = 2 * len(benchmark.pairs[0])
    return benchmark.calls, len([one for one in workers.started[1][0].requests if "run" in one]) - blocks


@pytest.mark.parametrize("seconds", [3.0, 0.05, 0.02, 1e-3, 1e-7])
def test_a_segment_is_long_enough(tmp_path, seconds):
    """So many calls as fill a segment, and one where a call is longer; the first guess may be a cold call's."""
    number, segments = calls(tmp_path, Costs(seconds, cold=1.2))

    assert 1.2 * number * seconds * 1.0001 >= 0.05
    assert (number - 1) * seconds < 0.05
    assert segments <= 12


def test_a_cold_first_call_does_not_set_the_length(tmp_path):
    """Where the first call took much longer than those that follow, more of them make a segment."""
    assert calls(tmp_path, Costs(0.001, cold=20))[0] == 50


def test_a_timer_that_stands_still_does_not_make_a_segment_endless(tmp_path, monkeypatch):
    """Where calls take seconds by the clock, and none by the benchmark's timer, the clock says how many are enough."""
    now = [0.0]

    class Sleeping(Worker):
        def ask(self, patience=0.0, **request):
            now[0] += 0.1 * request.get("run", 0)
            return super().ask(patience, **request)

    monkeypatch.setattr("time.monotonic", lambda: now[0])

    assert calls(tmp_path, Costs(0.0), Sleeping) == (100, 1)


def test_a_slow_benchmark_has_fewer_blocks(tmp_path):
    """So many as take five seconds, and one at least."""
    for seconds, blocks in ((0.01, 6), (0.5, 2), (3.0, 1)):
        workers = Workers({"b": Costs(seconds)}, {"b": Costs(seconds)})
        (benchmark,) = measure(workers, tmp_path).benchmarks()
        assert {len(pair) for pair in benchmark.pairs} == {blocks}


def test_added_work_is_a_share_of_a_call_of_base(tmp_path):
    """Head is told how many seconds to add."""
    workers = Workers({"b": Costs(2.0)}, {"b": Costs(3.0)})
    measure(workers, tmp_path, added={"b": 0.1})

    base, head = workers.started[1]
    assert [one["add"] for one in head.requests if "add" in one] == [pytest.approx(0.2)]
    assert not [one for one in base.requests if "add" in one]


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
    watch = disturbances.BlockWatch(1)
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
    reasons = {watched(machine, replies[i:] + replies[:i]) for i in range(4)}

    assert len(reasons) == 1
    assert None not in reasons


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


def test_when_the_time_is_up_no_benchmark_begins(tmp_path):
    """Of those that were collected none is asked anything; each says why."""
    workers = Workers({"a": Costs(), "b": Costs()}, {"a": Costs(), "b": Costs()})

    late = measure(workers, tmp_path, deadline=-math.inf).benchmarks()

    assert [(one.id, one.status, one.reason, one.pairs) for one in late] == [
        (name, "unfinished", "the time was up", ()) for name in "ab"
    ]
    assert not [request for pair in workers.started for worker in pair for request in worker.requests]


@pytest.fixture
def clock(monkeypatch):
    """The gate's clock, which goes on only where a worker runs calls."""
    now = [0.0]

    class Running(Worker):
        def ask(self, patience=0.0, **request):
            now[0] += request.get("run", 0) * self.benchmarks[self.current].seconds
            return super().ask(patience, **request)

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return Running


def test_the_time_is_shared_before_the_start(tmp_path, clock):
    """What runs changed code comes first, then what is quick; the rest is dropped by name, with the limit it takes."""
    sides = {
        "slow": Costs(2.0),
        "changed": Costs(1.0, file="src/changed.py"),
        "quick": Costs(0.05),
        "quicker": Costs(0.025),
    }
    told = []

    measured = measure(
        Workers(sides, sides, clock), tmp_path, deadline=60.0, changed=["src/changed.py", "README"], tell=told.append
    ).benchmarks()

    reasons = {one.id: one.reason for one in measured if one.status != "ok"}
    enough = "the limit suffices for 3 of 4 benchmarks; all of them take --time-limit 3m"
    assert reasons == {"slow": f"dropped: {enough}"}
    assert enough in told
    assert all(len(one.pairs) >= 5 for one in measured if one.status == "ok")


def test_it_is_said_how_long_a_first_batch_takes(tmp_path, clock):
    """Before it begins."""
    told = []

    measure(Workers({"b": Costs()}, {"b": Costs()}, clock), tmp_path, deadline=600.0, tell=told.append)

    assert told[2] == "a first batch of 1 benchmark takes about 30 s; what it leaves open takes longer"
    assert told[3].startswith("pair 1")


def test_where_time_is_short_a_pair_has_fewer_blocks(tmp_path, clock):
    """Down to three of six, before a benchmark is dropped."""
    sides = {name: Costs(0.05) for name in "abcd"}

    measured = measure(Workers(sides, sides, clock), tmp_path, deadline=30.0).benchmarks()

    assert [{len(pair) for pair in one.pairs} for one in measured] == [{4}] * 4


def test_one_pair_of_processes_serves_several_benchmarks_and_both_batches(tmp_path):
    """Where one is measured a second time, another that is open goes on in the same processes."""
    base = {"slower": Costs(0.01), "open": Costs(0.01, disturbed=frozenset(range(1, 6)))}
    head = base | {"slower": Costs(0.02)}
    workers = Workers(base, head)

    measured = {one.id: one for one in measure(workers, tmp_path).benchmarks()}

    assert len(measured["slower"].confirmation) == 5
    assert len(measured["open"].pairs) == 10
    assert len(workers.started) == 1 + 5 + 5


@pytest.mark.parametrize(
    ("disturbed", "pairs", "verdict"),
    [((), 5, "regressed"), ((6, 7), 8, "regressed"), (range(6, 16), 10, "inconclusive")],
    ids=["quiet", "disturbed for a while", "disturbed throughout"],
)
def test_a_second_batch_that_was_disturbed_goes_on(tmp_path, disturbed, pairs, verdict):
    """Until three blocks in four count, or there is twice as much of it; a disturbance does not hide a slowdown."""
    costs = {"b": Costs(0.01, disturbed=frozenset(disturbed))}

    (benchmark,) = measure(Workers(costs, {"b": Costs(0.011)}), tmp_path).benchmarks()

    assert (len(benchmark.pairs), len(benchmark.confirmation)) == (5, pairs)
    assert judge([benchmark], DESIGN)[0].verdict == verdict


@pytest.mark.parametrize(
    ("base", "head", "status", "reason"),
    [
        ("passed", "passed", "ok", None),
        ("failed", "passed", "new", "base: a reason"),
        ("passed", "failed", "failed", "head: a reason"),
        ("passed", "skipped", "skipped", "head: a reason"),
        ("skipped", "skipped", "skipped in both", "a reason"),
        ("skipped", "passed", "new", "base: a reason"),
        ("failed", "failed", "failed", "head: a reason"),
    ],
)
def test_head_says_what_became_of_a_benchmark(tmp_path, base, head, status, reason):
    """What only base cannot run is new; what head cannot is lost; what both skip is neither."""
    workers = Workers({"b": Costs(outcome=base)}, {"b": Costs(outcome=head)})

    (benchmark,) = measure(workers, tmp_path).benchmarks()

    assert (benchmark.status, benchmark.reason) == (status, reason)
    assert bool(benchmark.pairs) == (status == "ok")


def test_what_base_could_run_before_is_not_new(tmp_path):
    """A benchmark that base has run, and now fails in, is lost."""
    workers = Workers({"b": Costs(outcome="failed", from_pair=2)}, {"b": Costs()})

    (benchmark,) = measure(workers, tmp_path).benchmarks()

    assert (benchmark.status, benchmark.reason, len(benchmark.pairs)) == ("failed", "base: a reason", 1)


def test_what_can_be_run_but_once_has_one_segment_in_each_process(tmp_path):
    """Where its own number of calls cannot be run again, each pair of processes runs it once, and it has a verdict."""
    base, head = ({"b": Costs(seconds, fixed=7, once=True)} for seconds in (1.0, 1.2))

    (benchmark,) = measure(Workers(base, head), tmp_path).benchmarks()

    assert (benchmark.status, benchmark.calls) == ("ok", 7)
    assert {len(pair) for pair in benchmark.pairs} == {1}
    assert {block.order for pair in benchmark.pairs for block in pair} == {"AB", "BA"}
    assert judge([benchmark], DESIGN)[0].verdict == "regressed"


def test_a_segment_has_the_calls_that_the_benchmark_says(tmp_path):
    """However short that is; where they can be run again, a pair has as many blocks as of others."""
    sides = {"b": Costs(1e-6, fixed=7)}

    (benchmark,) = measure(Workers(sides, sides), tmp_path).benchmarks()

    assert (benchmark.calls, {len(pair) for pair in benchmark.pairs}) == (7, {6})


def test_what_nobody_foresaw_loses_nothing(tmp_path):
    """The run has failed and says how, and has what was measured before."""

    class Senseless(Worker):
        def ask(self, patience=0.0, **request):
            return {"nonsense": 1} if self.pair == 3 else super().ask(patience, **request)

    measurement = measure(Workers({"b": Costs()}, {"b": Costs()}, Senseless), tmp_path)

    assert measurement.failure == "unexpected KeyError: 'seconds'"
    assert [len(one.pairs) for one in measurement.benchmarks()] == [2]


class Stuck(Worker):
    """Does not answer where a benchmark is called `stuck`, and nothing after that."""

    def read(self, patience=0.0):
        """Return the next message."""
        if self.messages[0].get("ready") == "stuck":
            raise processes.GoneError(f"{self.arm.name}: killed by SIGSEGV")
        return super().read()


@pytest.mark.parametrize("side", ["base", "head"])
def test_a_benchmark_that_does_not_end_takes_no_other_with_it(tmp_path, side):
    """One that hangs, or ends its process, in either arm: it has failed, and the others go on in fresh processes."""

    class OfOneSide(Stuck):
        def read(self, patience=0.0):
            return super().read() if self.arm.name == side else Worker.read(self)

    sides = {"a": Costs(), "stuck": Costs(), "z": Costs()}
    workers = Workers(sides, sides, OfOneSide)

    measured = {one.id: one for one in measure(workers, tmp_path).benchmarks()}

    assert (measured["stuck"].status, measured["stuck"].reason) == ("failed", f"{side}: killed by SIGSEGV")
    assert [measured[name].status for name in "az"] == ["ok", "ok"]
    assert "stuck" not in {name for pair in workers.started[2:] for name in pair[0].names}


def test_when_the_time_is_up_in_the_midst_what_was_measured_is_judged(tmp_path):
    """A segment that has not ended then is given up, and the run has not failed."""

    class Late(Worker):
        def ask(self, patience=0.0, **request):
            if self.pair == 4:
                raise processes.LateError("head: no answer for 9 s, when the time was up")
            return super().ask(patience, **request)

    measurement = measure(Workers({"b": Costs(0.01)}, {"b": Costs(0.01)}, Late), tmp_path)

    assert measurement.failure is None
    (benchmark,) = measurement.benchmarks()
    assert (benchmark.status, len(benchmark.pairs)) == ("ok", 3)


@pytest.fixture
def arm(tmp_path):
    """A process of an arm that does not run, and the other end of its socket."""
    process = object.__new__(processes.ArmProcess)
    process.patience, process._deadline = 300.0, math.inf
    process.arm, process._received, process._log = Arm("head", "h", tmp_path), b"", tmp_path / "log"
    process._log.write_text("")
    ours, process._socket = socket.socketpair()
    yield process, ours
    ours.close()
    process._socket.close()


@pytest.mark.parametrize("junk", [b"junk", b"[1]", b"\xff", b"", b"9" * 5000, b'"x"'])
def test_junk_from_a_worker_is_an_error_of_its_arm(arm, junk):
    """Whatever a benchmark writes there is told, and is neither a time nor a crash."""
    process, theirs = arm
    theirs.sendall(junk + b"\n")

    with pytest.raises(processes.ArmError, match="head: something else writes"):
        process.read()


@pytest.mark.parametrize(
    ("deadline", "error"), [(math.inf, processes.GoneError), (-math.inf, processes.LateError)], ids=["hangs", "late"]
)
def test_a_silent_worker_is_given_up(arm, deadline, error):
    """After as long as its answer may take, and when the time is up; what it printed last is told."""
    process, _ = arm
    process._deadline = deadline
    process._log.write_bytes(b"x" * 100_000 + b"\nsleeping\n")

    with pytest.raises(error, match=r"no answer for .*: sleeping"):
        process.read(patience=0.0)


def test_what_a_benchmark_left_behind_is_ended(tmp_path):
    """A process in a session of its own, too: it has the folder of its arm in its variables."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    arms = [Arm("head", "h", tmp_path / name) for name in ("head", "headless")]
    left, other = (
        subprocess.Popen(command, env=os.environ | one.environment(), start_new_session=True)  # noqa: S603
        for one in arms
        if not one.root.mkdir()
    )

    processes._end_left(arms[0])

    assert left.wait() == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait()


def test_what_writes_without_end_is_cut_off(arm, monkeypatch):
    """Where no line ends, the message is too long some time."""
    monkeypatch.setattr(processes, "LONGEST", 100)
    process, theirs = arm
    theirs.sendall(b"x" * 200)

    with pytest.raises(processes.ArmError, match="without end"):
        process.read()


def test_some_benchmarks_can_be_chosen(tmp_path):
    """Those whose names hold one of the words; what one arm alone has is told, and not measured."""
    workers = Workers(
        {"one": Costs(), "two": Costs(), "old": Costs()}, {"one": Costs(), "two": Costs(), "new": Costs()}
    )

    measured = measure(workers, tmp_path, only=["ne", "l"]).benchmarks()

    assert [(one.id, one.status, one.reason) for one in measured] == [
        ("new", "new", "not in base"),
        ("old", "skipped", "not in head"),
        ("one", "ok", None),
    ]
