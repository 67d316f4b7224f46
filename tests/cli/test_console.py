"""What commands print: one printable line at a time, whatever others have written, and wherever it goes."""

import ast
from pathlib import Path

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
