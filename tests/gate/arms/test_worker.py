"""Segments: what is timed in a worker, and what is not."""

import asyncio
import json
import math
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark")

from deeptwins.gate.arms import segments as timing
from deeptwins.gate.arms import worker


class Clock:
    """Advances when told."""

    now = 0.0

    def __call__(self):
        """Read it."""
        return self.now

    def advance(self, seconds=1.0):
        """Let time pass."""
        self.now += seconds
        return self.now


def test_of_errors_that_led_to_each_other_the_last_is_told():
    """Its first line is; what it was raised from, and its own further lines, are not."""
    lines = [
        *("Traceback:", "t.py:1: in <module>", "E   ModuleNotFoundError: No module named 'fast'", ""),
        *("During handling of the above exception, another exception occurred:", "t.py:3: in <module>"),
        *("E   ImportError: install the extra: fast", "E   or slow"),
    ]

    report = SimpleNamespace(skipped=False, longrepr="\n".join(lines))
    assert worker._reason(report) == "ImportError: install the extra: fast"


@pytest.fixture
def clock():
    """A clock of the test's own."""
    return Clock()


def test_a_segment_is_so_many_calls(clock):
    """Seconds are those of one call, whatever their number; the result is the last call's."""
    segments = timing.Segments(clock, clock.advance, ((2.0,), {}))

    assert segments.run(3)["seconds"] == pytest.approx(2.0)
    assert segments.result == 6.0


def test_what_is_around_a_call_is_not_timed(clock):
    """Setup, whose arguments are taken, and teardown take time that does not count."""
    calls = []

    def setup():
        clock.advance(10)
        return (1.0,), {"more": 2.0}

    def target(seconds, more):
        clock.advance(seconds + more)

    def teardown(*arguments, **named):
        calls.append((arguments, named))
        clock.advance(100)

    segments = timing.Segments(clock, target, ((), {}), (setup, teardown), rounds=2)

    assert segments.run(2)["seconds"] == pytest.approx(3.0)
    assert calls == [((1.0,), {"more": 2.0})] * 2


@pytest.mark.parametrize(("rounds", "iterations", "segments"), [(3, 1, 1), (2, 4, 1), (1, 5, 2)])
def test_a_benchmark_says_how_often_it_is_called(clock, rounds, iterations, segments):
    """Rounds of so many calls, with setup and teardown around each round, and no call more."""
    seen = []
    one = timing.Segments(
        clock, lambda: seen.append(clock.advance()), ((), {}), (lambda: seen.append("setup"), None), rounds, iterations
    )

    seconds = [one.run(one.fixed)["seconds"] for _ in range(segments)]

    assert seconds == [pytest.approx(1.0)] * segments
    assert seen.count("setup") == segments * rounds
    assert len(seen) - seen.count("setup") == segments * rounds * iterations


@pytest.mark.parametrize("reading", [math.nan, math.inf, 1e10, 10**400], ids=["nan", "inf", "years", "400 digits"])
def test_a_timer_that_tells_no_time_fails_the_benchmark(reading):
    """Not the gate: the test fails with what the timer gave."""
    readings = iter([0, reading])

    with pytest.raises((ValueError, OverflowError)):
        timing.Segments(lambda: next(readings), lambda: None, ((), {})).run(1)


@pytest.mark.parametrize("around", [(None, None), (lambda: None, None)])
def test_added_work_lengthens_every_call(clock, monkeypatch, around):
    """Work is added after each call, and counts."""
    monkeypatch.setattr(timing, "work", clock.advance)
    segments = timing.Segments(clock, clock.advance, ((1.0,), {}), around)
    segments.added = 0.5

    assert segments.run(4)["seconds"] == pytest.approx(1.5)


def test_work_lasts_as_long_as_it_should(clock, monkeypatch):
    """By the clock, of which every look takes a moment."""
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.advance(0.25))

    timing.work(2.0)

    assert clock.now == 2.25


def test_a_worker_ends_with_the_gate():
    """Where nobody asks any more, a worker does not go on by itself."""
    ours, theirs = socket.socketpair()
    theirs.close()
    code = f"from deeptwins.gate.arms import worker; worker.Channel({ours.fileno()}).ask()"

    process = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], pass_fds=[ours.fileno()], check=False, capture_output=True, text=True
    )
    ours.close()

    assert (process.returncode, process.stderr) == (1, "")


def test_a_channel_carries_objects():
    """Messages arrive as JSON, one a line, in both directions; what a benchmark starts does not hold it open."""
    ours, theirs = socket.socketpair()
    channel = worker.Channel(theirs.detach())
    ours.sendall(b'{"run": 3}\n{"end": true}\n')

    channel.tell(ready="a", seconds=1.5)

    assert [channel.ask(), channel.ask()] == [{"run": 3}, {"end": True}]
    assert json.loads(ours.recv(100)) == {"ready": "a", "seconds": 1.5}
    assert not channel._socket.get_inheritable()
    channel._lines.close()
    channel._socket.close()
    ours.close()


def test_files_whose_code_runs_are_noted(clock):
    """Those of the functions that a call calls, and of nothing else; the profiler of before goes on after it."""
    segments = timing.Segments(clock, lambda: json.dumps({}, indent=1), ((), {}))
    segments.files = files = set()

    segments.run(1)

    assert json.encoder.__file__ in files
    assert pytest.__file__ not in files
    assert sys.getprofile() is None


class Asked:
    """A channel whose requests are known; it keeps what it is told."""

    def __init__(self, *requests):
        self.requests, self.told = [*requests, {"end": True}], []

    def ask(self):
        """Give the next request."""
        return self.requests.pop(0)

    def tell(self, **message):
        """Keep a message."""
        self.told.append(message)


def plugin(channel, **settings):
    """The plugin, with settings of which each test says its own."""
    usual = {"names": None, "only": (), "once": (), "note_files": False, "core": None, "copies": ()}
    return worker.GatePlugin(channel, usual | {"elsewhere": "/nowhere", "only_collect": False} | settings)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_coroutine_is_awaited_on_the_loop_that_runs(clock, hidden):
    """What it awaits is timed, whether or not the function says that it is a coroutine's."""

    async def target():
        await asyncio.sleep(0)
        return clock.advance(2.0)

    channel = Asked({"run": 3})
    segments = timing.Segments(clock, (lambda: target()) if hidden else target, ((), {}))  # noqa: PLW0108

    async def measured():
        return await plugin(channel).measure("b", segments, float)

    assert asyncio.run(measured()) == 8.0
    assert [one["seconds"] for one in channel.told] == [2.0, pytest.approx(2.0)]


def test_a_coroutine_that_is_not_awaited_is_refused(clock):
    """The benchmark has failed, and says what to do: only how the coroutine is made would be timed."""

    async def target():
        pass

    channel = Asked()
    gate = plugin(channel)
    gate.measure("b", timing.Segments(clock, target, ((), {})), float)

    gate.pytest_runtest_logreport(SimpleNamespace(when="call", outcome="passed", nodeid="b"))

    assert [(one["outcome"], "await benchmark(...)" in one["reason"]) for one in channel.told] == [("failed", True)]


@pytest.mark.parametrize(("once", "calls"), [((), 1 + 4), (("b",), 4)])
def test_what_can_be_run_but_once_is_not_warmed_up(clock, once, calls):
    """It is called as often as it says itself, all told."""
    seen = []
    segments = timing.Segments(clock, lambda: seen.append(1), ((), {}), rounds=4)
    channel = Asked({"run": 4})

    plugin(channel, once=once).measure("b", segments, float)

    assert len(seen) == calls
    assert channel.told[0]["calls"] == 4


def test_a_mark_alone_makes_the_whole_test_a_benchmark():
    """With the fixtures that it asks for; what uses pytest-benchmark's own is left to that."""
    seen, channel = [], Asked({"run": 2})
    item = SimpleNamespace(
        nodeid="b",
        fixturenames=("size", "autouse"),
        funcargs={"size": 3, "autouse": None},
        obj=lambda size: seen.append(size),  # noqa: PLW0108  its argument has a name
        _fixtureinfo=SimpleNamespace(argnames=("size",)),
    )

    assert plugin(channel).pytest_pyfunc_call(item) is True

    assert seen == [3] * 3
    assert channel.told[0]["ready"] == "b"
    assert plugin(Asked()).pytest_pyfunc_call(SimpleNamespace(fixturenames=("benchmark",))) is None


class Item:
    """A test that pytest has collected."""

    fixturenames = ("benchmark",)

    def __init__(self, nodeid):
        self._nodeid = nodeid

    @property
    def nodeid(self):
        """Its name, as pytest has it."""
        return self._nodeid

    def get_closest_marker(self, _name):
        """It has none."""


def collect(items, deselect=lambda _items: None, **settings):
    """Collect tests, of which the project deselects some; returns what the gate is told."""
    channel = Asked()
    hook = plugin(channel, **settings).pytest_collection_modifyitems(items)
    next(hook)
    deselect(items)
    next(hook, None)
    return channel.told[0]


def test_names_do_not_depend_on_the_worktree(tmp_path, monkeypatch):
    """A path in a parameter's name is relative to it, and the test is called so in all reports."""
    monkeypatch.chdir(tmp_path)
    items = [Item(f"bench/test_x.py::test_x[{tmp_path}/data/a.json]"), Item("bench/test_x.py::test_x[/other/b.json]")]

    told = collect(items)

    assert told["collected"] == ["bench/test_x.py::test_x[data/a.json]", "bench/test_x.py::test_x[/other/b.json]"]
    assert [item.nodeid for item in items] == told["collected"]


def test_what_the_project_deselects_stays_out_unless_it_is_all(tmp_path, monkeypatch):
    """The benchmarks that are asked for come in their order."""
    monkeypatch.chdir(tmp_path)

    assert collect([Item("a"), Item("b"), Item("c")], lambda items: items.pop(0))["collected"] == ["b", "c"]
    assert collect([Item("a"), Item("b")], list.clear)["collected"] == ["a", "b"]
    assert collect([Item("a"), Item("b"), Item("c")], names=["c", "gone", "a"])["collected"] == ["c", "a"]
