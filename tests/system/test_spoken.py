"""What somebody's code prints, line by line."""

import sys

from deeptwins.system.spoken import Spoken, heard


def test_what_is_written_is_said_by_the_line():
    """A line is said when it is complete, escaped; one that is written over itself is said as it ends."""
    said = []
    stream = Spoken(said.append)

    for text in ("one\ntw", "o\n", "10 %\r", "50 %\r99 %", "\rall\r\n", "\x1b[2J\n", "left"):
        stream.write(text)

    assert said == ["one", "two", "all", "\\x1b[2J"]
    with stream:
        pass
    assert said[-1] == "left"


def test_a_bar_that_never_ends_takes_no_memory():
    """Of a line that is written over and over, only the last state is kept."""
    stream = Spoken(lambda _line: None)
    for number in range(1000):
        stream.write(f"\r{number} of 1000")

    assert len(stream._begun) < 20


def test_who_says_it_may_print(capsys):
    """Inside, what is printed or warned of is said; saying may print, and afterwards all is as it was."""
    before = sys.stdout, sys.stderr
    with heard(lambda text: sys.stdout.write(f"said {text}\n")):
        sys.stdout.write("a\n")
        sys.stderr.write("b")

    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr() == ("said a\nsaid b\n", "")
