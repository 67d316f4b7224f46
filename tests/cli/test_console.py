"""What commands print: one printable line at a time, whatever others have written, and wherever it goes."""

import ast
import json
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins import cli
from deeptwins.cli import app, console
from deeptwins.errors import escaped, line, naming

# ESC, BEL, a C1 control, marks of direction, signs without width, NUL, half a code point as of a name not in UTF-8.
OBEYED = "\x1b[31m", "\a", "\x9b31m", "\u202e", "\u2066", "\u200b", "\ufeff", "\0", "\x7f", "\udcff"
ANY = st.text(st.characters() | st.sampled_from("".join(OBEYED)), max_size=30)


@given(text=ANY, longest=st.integers(3, 20))
def test_any_text_is_one_printable_line(text, longest):
    """No character moves the cursor, rings, hides or turns the direction; printable text stays as it is."""
    assert line(text, longest).isprintable()
    assert len(line(text, longest)) <= longest
    assert escaped(text) == text or not text.isprintable()


@pytest.mark.parametrize("text", OBEYED)
def test_what_a_terminal_would_obey_is_escaped(capsys, text):
    """In a line, in a refusal and in a table it is a code that says what it is; lines and cells end somewhere."""
    console.say(f"a {text} b")
    console.refuse(f"a {text} b\nc")
    console.print_table([("x", f"a {text} b"), ("y\nz", "long" * 1000)])

    out, err = capsys.readouterr()
    written = f"a {text.encode('unicode_escape').decode()} b"
    said, first, second = out.splitlines()
    assert (said, err, first) == (written, f"deeptwins: {written} c\n", f"x    {written}")
    assert second.startswith("y z  long")
    assert len(second) == 5 + console.LONGEST_CELL


@given(
    text=st.text(st.characters(categories=["L", "N"]) | st.sampled_from(" -"), max_size=400),
    columns=st.integers(20, 200),
)
def test_paragraphs_are_as_wide_as_the_terminal(text, columns):
    """No line is wider, unless it is a single word, which stays whole; and no word is lost or parted."""
    with (
        mock.patch.object(console, "width", return_value=columns),
        mock.patch.object(console.typer, "echo") as echo,
    ):
        console.wrap(f"  {text}", hanging=4)

    lines = [call.args[0] for call in echo.call_args_list]
    assert [word for line in lines for word in line.split()] == text.split()
    assert all(len(line) <= columns or len(line.split()) == 1 for line in lines)
    assert all(line.startswith("    ") for line in lines[1:])


@pytest.mark.parametrize(("columns", "printed"), [(11, ["net", "small", "large"]), (10, ["small: MS", "large: MS"])])
def test_a_table_that_is_too_wide_for_a_terminal_is_told_in_paragraphs(capsys, columns, printed):
    """Each row with its headings, no line wider than the terminal; what is piped stays a table."""
    rows = [("net", "MS"), ("small", "1.5"), ("large", "200.")]
    with mock.patch.object(console, "width", return_value=columns):
        with mock.patch("sys.stdout.isatty", return_value=True):
            console.print_table(rows)
        told = capsys.readouterr().out.splitlines()
        console.print_table(rows)
    table = capsys.readouterr().out.splitlines()

    assert [text for text in told if not text.startswith(" ")] == (table if columns == 11 else printed)
    assert max(map(len, told)) <= columns
    assert [text.split() for text in table] == [[*row] for row in rows]


@pytest.mark.parametrize(("terminal", "columns"), [(True, 123), (False, 80)])
def test_the_width_is_that_of_the_terminal(monkeypatch, terminal, columns):
    """80 columns where the output is piped."""
    monkeypatch.setenv("COLUMNS", "123")
    monkeypatch.setattr("sys.stdout", mock.Mock(isatty=lambda: terminal))

    assert console.width() == columns


@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | ANY,
        lambda inner: st.lists(inner) | st.dictionaries(ANY, inner),
        max_leaves=8,
    )
)
def test_whatever_is_told_is_json(content):
    """A number that is not finite is null, a path is text; nothing that a terminal would obey is in it."""
    with mock.patch.object(console.typer, "echo") as echo:
        console.answer_programs(asked=True)
        console.say("for people")
        console.tell(lambda: {"content": content, "path": Path("a/b")})
        console.answer_programs(asked=False)

    (text,) = [call.args[0] for call in echo.call_args_list]
    told = json.loads(text, parse_constant=pytest.fail)
    assert told["path"] == "a/b"
    assert text.isascii()
    assert all(line.isprintable() for line in text.split("\n"))
    if isinstance(content, int | str | bool | None):
        assert told["content"] == content


def test_all_is_printed_in_one_place():
    """No other file of the commands prints by itself, so that none can forget to escape."""
    files = [path for path in Path(cli.__file__).parent.glob("*.py") if path.name != "console.py"]
    named = {ast.unparse(node.func) for path in files for node in ast.walk(_parsed(path)) if isinstance(node, ast.Call)}

    assert "say" in named
    assert not named & {"print", "typer.echo", "typer.secho", "click.echo", "sys.stdout.write", "sys.stderr.write"}


def _parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("arguments", [[], ["--help"], ["show", "cifar-plain-8"]])
def test_a_full_output_is_named(monkeypatch, capfd, arguments):
    """No space left for what is printed: one line on stderr, and the exit code of bad input."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert ended(monkeypatch, *arguments) == console.BAD_INPUT

    assert capfd.readouterr().err == "deeptwins: standard output: No space left on device\n"


def test_a_full_disk_is_named(monkeypatch, capfd):
    """No space left for a file: one line that names it."""
    assert ended(monkeypatch, "show", "cifar-plain-8", "--diagram", "/dev/full") == console.BAD_INPUT

    assert capfd.readouterr().err == "deeptwins: /dev/full: No space left on device\n"


def ended(monkeypatch, *arguments):
    """Run the command line, and return its exit code."""
    monkeypatch.setattr("sys.argv", ["deeptwins", *arguments])
    with pytest.raises(SystemExit) as end:
        app.main()
    return end.value.code


@pytest.mark.parametrize(("own", "named"), [(None, "results/x"), ("other", "other")])
def test_an_error_of_the_system_gets_its_file(own, named):
    """A failed write names no file by itself; one that does keeps it."""
    with pytest.raises(OSError, match="No space") as raised, naming("results/x"):
        raise OSError(28, "No space left on device", own)

    assert raised.value.filename == named


@pytest.mark.parametrize("long", [True, False])
def test_what_lasts_a_moment_only_is_not_announced(monkeypatch, long):
    """What a command does is said once it has taken longer than a moment, and never after it is done."""
    told, timers = [], []

    class Clock:
        def __init__(self, seconds, function, arguments):
            assert seconds == console.MOMENT_SECONDS
            self.ring, self.on = lambda: self.on and function(*arguments), False
            timers.append(self)

        def start(self):
            self.on = True

        def cancel(self):
            self.on = False

    monkeypatch.setattr(console, "Timer", Clock)
    monkeypatch.setattr(console, "beginning", told.append)
    with console.lasting("reading"):
        if long:
            timers[0].ring()
    timers[0].ring()

    assert told == ["reading"] * long
