"""Segments: what is timed in a worker, and what is not."""

import json
import os
import subprocess
import sys
from multiprocessing import Pipe
from types import SimpleNamespace

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
    ours, theirs = Pipe()
    theirs.close()
    code = f"from deeptwins.gate.compare import worker; worker.Channel({ours.fileno()}).ask()"

    process = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], pass_fds=[ours.fileno()], check=False, capture_output=True, text=True
    )
    ours.close()

    assert (process.returncode, process.stderr) == (1, "")


def test_a_channel_carries_objects():
    """Messages arrive as JSON, in both directions."""
    ours, theirs = Pipe()
    channel = worker.Channel(os.dup(theirs.fileno()))
    ours.send_bytes(b'{"run": 3}')

    channel.tell(ready="a", seconds=1.5)

    assert channel.ask() == {"run": 3}
    assert json.loads(ours.recv_bytes()) == {"ready": "a", "seconds": 1.5}
    channel._pipe.close()
    theirs.close()
    ours.close()
