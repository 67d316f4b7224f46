"""Segments: what is timed in a worker, and what is not."""

import json
import socket
import subprocess
import sys

import pytest

pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark")

from deeptwins.gate.compare import worker


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


@pytest.fixture
def clock():
    """A clock of the test's own."""
    return Clock()


def test_a_segment_is_so_many_calls(clock):
    """Seconds are those of one call, whatever their number; the result is the last call's."""
    segments = worker.Segments(clock, clock.advance, ((2.0,), {}))

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

    segments = worker.Segments(clock, target, ((), {}), (setup, teardown))

    assert segments.run(2)["seconds"] == pytest.approx(3.0)
    assert calls == [((1.0,), {"more": 2.0})] * 2


@pytest.mark.parametrize("around", [(None, None), (lambda: None, None)])
def test_added_work_lengthens_every_call(clock, monkeypatch, around):
    """Work is added after each call, and counts."""
    monkeypatch.setattr(worker, "work", clock.advance)
    segments = worker.Segments(clock, clock.advance, ((1.0,), {}), around)
    segments.added = 0.5

    assert segments.run(4)["seconds"] == pytest.approx(1.5)


def test_work_lasts_as_long_as_it_should(clock, monkeypatch):
    """By the clock, of which every look takes a moment."""
    monkeypatch.setattr(worker.time, "perf_counter", lambda: clock.advance(0.25))

    worker.work(2.0)

    assert clock.now == 2.25


def test_a_worker_ends_with_the_gate():
    """Where nobody asks any more, a worker does not go on by itself."""
    ours, theirs = socket.socketpair()
    theirs.close()
    code = f"from deeptwins.gate.compare import worker; worker.Channel({ours.fileno()}).ask()"

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
    segments = worker.Segments(clock, lambda: json.dumps({}, indent=1), ((), {}))
    segments.files = files = set()

    segments.run(1)

    assert json.encoder.__file__ in files
    assert pytest.__file__ not in files
    assert sys.getprofile() is None
