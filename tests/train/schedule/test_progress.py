"""Progress: the time left, and what is shown of it."""

import heapq
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins.train.schedule.progress import Effort, Going, Lines, Live, State, display, duration, seconds_left

STATE = State(
    total=4, done=1, diverged=1, failed=0, running=[("cifar-8-seed0", 30, 60)], elsewhere=1, fraction=0.5, left_s=250.0
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


def simulated(runs, workers, now):
    """Train (FLOPs, FLOPs a second) runs in order on so many workers; where that stands now, and when it is over."""
    free_at = [0.0] * workers
    going, waiting, work, seconds = [], [], 0.0, 0.0
    for flops, pace in runs:
        begun = heapq.heappop(free_at)
        ended = begun + flops / pace
        heapq.heappush(free_at, ended)
        if ended <= now:
            work, seconds = work + flops, seconds + ended - begun
        elif begun <= now:
            done = (now - begun) * pace
            going.append(Going(done, flops - done, now - begun))
        else:
            waiting.append(flops)
    return going, waiting, Effort(work, seconds), max(free_at)


@given(
    flops=st.lists(st.floats(1, 1000), min_size=1, max_size=40),
    workers=st.integers(1, 16),
    share=st.floats(0.01, 0.99),
    pace=st.floats(0.1, 1000),
)
def test_time_left_is_exact_at_an_even_pace(flops, workers, share, pace):
    """When every run has the same pace, the time left is known exactly, idle workers at the end included."""
    runs = [(work, pace) for work in sorted(flops, reverse=True)]
    end = simulated(runs, workers, 0.0)[3]
    going, waiting, spent, _ = simulated(runs, workers, share * end)

    assert seconds_left(going, waiting, spent, workers) == pytest.approx((1 - share) * end, rel=1e-6)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("now", [60, 90, 100])
def test_time_left_is_right_within_a_fifth_after_a_minute(workers, now):
    """With the sizes and paces that the nets of `depth` have on one core, the estimate is off by 20 % at most."""
    measured = {56: (2800, 71), 44: (2200, 70), 32: (1600, 68), 20: (950, 65.5), 34: (1700, 54.5), 18: (850, 62.5)}
    runs = sorted((size for size in measured.values() for _seed in range(3)), reverse=True)
    going, waiting, spent, end = simulated(runs, workers, now)

    assert seconds_left(going, waiting, spent, workers) == pytest.approx(end - now, rel=0.2)


def test_time_left_is_unknown_before_anything_was_measured():
    """Without work done there is no pace, and no number is made up."""
    assert seconds_left([Going(0.0, 5.0, 0.0)], [3.0], Effort(0.0, 0.0), 2) is None


def test_a_slow_run_is_judged_by_its_own_pace():
    """A run that has long been slower than the others is expected to stay so."""
    slow = Going(done=10.0, left=10.0, seconds=1000.0)

    assert seconds_left([slow], [], Effort(1000.0, 1000.0), 2) == pytest.approx(1000.0, rel=0.4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (38, "38 s"),
        (99.4, "99 s"),
        (99.6, "1 min 40 s"),
        (154, "2 min 30 s"),
        (596, "10 min"),
        (3569, "59 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds, text):
    """Seconds below 100, then minutes with tens of seconds, from ten on minutes alone, then hours and minutes."""
    assert duration(seconds) == text


def test_plain_lines_come_every_ten_seconds():
    """However often the state is updated, a line of progress comes every ten seconds, without control characters."""
    stream, now = io.StringIO(), [0.0]
    lines = Lines(stream, clock=lambda: now[0])
    with lines:
        for now[0] in range(35):
            lines.update(STATE)
        lines.say("cifar-8-seed1  plain 5.0 %\x1b[2J")

    text = stream.getvalue()
    assert text.splitlines() == [
        *["... 1 of 4 runs done, 1 diverged, 1 running, 1 elsewhere; about 4 min 10 s left"] * 3,
        r"cifar-8-seed1  plain 5.0 %\x1b[2J",
    ]
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


def test_a_terminal_gets_bars_and_keeps_the_lines(monkeypatch):
    """On a terminal there is a bar for all and one a run, redrawn in place; lines stay, brackets and all."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    stream = Terminal()
    shown = display(stream)
    assert isinstance(shown, Live)
    with shown:
        shown.update(STATE)
        shown.say("run [bold]x  plain 5.0 %\x1b[2J")
        shown.update(STATE)

    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "about 4 min 10 s left; 1 of 4 runs done, 1 diverged, 1 running, 1 elsewhere" in text
    assert re.search(r"cifar-8-seed0 .*iteration 30 of 60", text)
    assert r"run [bold]x  plain 5.0 %\x1b[2J" in text


@pytest.mark.parametrize(("stream", "term"), [(io.StringIO(), "xterm"), (Terminal(), "dumb")])
def test_no_terminal_no_bars(stream, term, monkeypatch):
    """A file, a pipe and a terminal without cursor movement get plain lines."""
    monkeypatch.setenv("TERM", term)

    assert isinstance(display(stream), Lines)
