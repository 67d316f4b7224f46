"""Progress: the time left, and what is shown of it."""

import dataclasses
import heapq
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins.train.schedule.progress import (
    Effort,
    Going,
    Lines,
    Live,
    Running,
    State,
    display,
    duration,
    seconds_left,
)

TWINS = {f"a-twin-with-a-long-name-{i}": 10.0 + i for i in range(5)}
RUNNING = [Running("cifar-8-seed0", 30, 60, {"plain": 72.94, "residual": 0.8}), Running("cifar-8-seed1", 0, 60, {})]
STATE = State(total=4, done=1, diverged=1, failed=0, running=RUNNING, elsewhere=1, fraction=0.5, left_s=250.0)


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
        *[
            "... 1 of 4 runs done, 1 diverged, 2 running, 1 elsewhere; about 4 min 10 s left",
            "      cifar-8-seed0: 30 of 60; training error: plain 72.9 %, residual 0.8 %",
            "      cifar-8-seed1: starting",
        ]
        * 3,
        r"cifar-8-seed1  plain 5.0 %\x1b[2J",
    ]
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


def screen(text, columns):
    """What a terminal shows after a text: it obeys line feeds and rich's way of going up and erasing, and wraps."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]|.|\n", text):
        if part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            rows[row] = ""
        elif part == "\r":
            column = 0
        elif part == "\n" or (len(part) == 1 and column == columns):
            row, column = row + 1, 0
            rows += [""] * (row == len(rows))
        if len(part) == 1 and part.isprintable():
            rows[row] = rows[row].ljust(column)[:column] + part + rows[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in rows]


@pytest.fixture
def live(monkeypatch):
    """Make a display on a terminal of so many columns; its stream."""

    def make(columns):
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        stream = Terminal()
        shown = display(stream)
        assert isinstance(shown, Live)
        return shown, stream

    return make


@pytest.mark.parametrize("columns", [160, 80])
def test_a_terminal_gets_bars_and_keeps_the_lines(live, columns):
    """There is a bar for all and one a run, with its errors below, redrawn in place; lines stay, brackets and all."""
    shown, stream = live(columns)
    with shown:
        shown.update(STATE)
        shown.say("run [bold]x  plain 5.0 %\x1b[2J")
        shown.update(STATE)
        seen = screen(stream.getvalue(), columns)

    bar = "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
    assert seen[0] == r"run [bold]x  plain 5.0 %\x1b[2J"
    assert re.fullmatch(f"all runs +{bar}.* about 4 min 10 s left", seen[1])
    assert seen[2] == "  1 of 4 runs done, 1 diverged, 2 running, 1 elsewhere"
    assert re.fullmatch(f"cifar-8-seed0 {bar}.* 30 of 60", seen[3])
    assert seen[4] == "  training error: plain 72.9 %, residual 0.8 %"
    assert re.fullmatch(f"cifar-8-seed1 {bar}+ starting", seen[5])
    assert max(map(len, seen)) <= columns - 4


@pytest.mark.parametrize("columns", [40, 80])
def test_no_bar_stays_once_the_session_stops(live, columns):
    """Not where the terminal shows `^C` behind the last bar, nor of many twins; later updates draw nothing."""
    shown, stream = live(columns)
    many = dataclasses.replace(STATE, running=[Running("cifar-8-seed0", 30, 60, TWINS), RUNNING[1]])  # a bar comes last
    with shown:
        for _ in range(3):
            shown.update(many)
            stream.write("^C^C")
            shown.say("run x")
        shown.settle()
        shown.say("stopping")
        shown.update(many)

    assert [*filter(None, screen(stream.getvalue(), columns))] == ["run x"] * 3 + ["stopping"]
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1  # the cursor is back


def test_a_line_that_stays_is_wrapped_between_words(live):
    """A narrow terminal would part a word where its last column is."""
    shown, stream = live(40)
    with shown:
        shown.say("stopping: the runs on the workers are saved first")

    assert [*filter(None, screen(stream.getvalue(), 40))] == ["stopping: the runs on the workers", "are saved first"]


def test_a_number_stays_with_its_unit(live):
    """However many twins a run has, all of them are told, and no line begins with a percent sign."""
    shown, stream = live(80)
    with shown:
        shown.update(dataclasses.replace(STATE, running=[Running("cifar-8-seed0", 30, 60, TWINS)]))
        seen = screen(stream.getvalue(), 80)

    told = " ".join(line.strip() for line in seen[3:])
    assert told == "training error: " + ", ".join(f"{twin} {error:.1f} %" for twin, error in TWINS.items())
    assert not [line for line in seen if line.strip().startswith("%")]


def test_colours_can_be_switched_off(live, monkeypatch):
    """With NO_COLOR there is none."""
    coloured = r"\x1b\[[0-9;]*m"
    for value, has in ((None, True), ("1", False)):
        if value:
            monkeypatch.setenv("NO_COLOR", value)
        shown, stream = live(80)
        with shown:
            shown.update(STATE)
        assert bool(re.search(coloured, stream.getvalue())) is has


@pytest.mark.parametrize(("stream", "term"), [(io.StringIO(), "xterm"), (Terminal(), "dumb")])
def test_no_terminal_no_bars(stream, term, monkeypatch):
    """A file, a pipe and a terminal without cursor movement get plain lines."""
    monkeypatch.setenv("TERM", term)

    assert isinstance(display(stream), Lines)
