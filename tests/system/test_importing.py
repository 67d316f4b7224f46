"""Parts of one's own: names, imports that go wrong, tables."""

import os
import sys

import pytest

from deeptwins.errors import InputError
from deeptwins.system.importing import Parts, attribute, exits_raised, is_own


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a module of this name, for this test alone, into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = {*sys.modules}

    def write(name, text):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    yield write
    for name in {*sys.modules} - before:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["math:pi", "os.path:join", "a_b.c1:D.e", "mödul:größe"])
def test_names_with_one_colon_between_dotted_names_are_of_ones_own(name):
    """`package.module:attribute` is of one's own, nothing else."""
    assert is_own(name)


@pytest.mark.parametrize(
    "name", ["zero-pad", "", ":a", "a:", "a:b:c", "a/b.py:c", "a..b:c", "a:b()", "1a:b", "a:b ", 3]
)
def test_other_names_are_not(name):
    """What has another form is no name of one's own, and is not imported."""
    assert not is_own(name)
    if isinstance(name, str):
        with pytest.raises(InputError, match=r"write package\.module:attribute"):
            attribute(name)


def test_what_is_installed_is_found_before_what_lies_in_the_folder(module):
    """A module is found where it is installed, or else in the current folder."""
    module("colorsys", "rgb_to_hsv = 'of the folder'")
    module("own_pkg.parts", "class Table:\n    row = 7")
    sys.modules.pop("colorsys", None)
    assert attribute("own_pkg.parts:Table.row") == 7
    assert callable(attribute("colorsys:rgb_to_hsv"))


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("", "own_pgk:part", "own_pgk:part: no module 'own_pgk', neither installed nor in this folder"),
        ("", "own_slip.parts:part", "own_slip.parts:part: no module 'own_slip.parts', neither installed nor in"),
        ("weighted = 1", "own_slip:wieghted", "nothing of the name 'wieghted' in own_slip; did you mean weighted?"),
        ("x = 1", "own_slip:x.y", "own_slip:x.y: nothing of the name 'y' in own_slip"),
        ("1 / 0", "own_slip:x", "own_slip:x: ZeroDivisionError: division by zero (*own_slip.py:1)"),
        ("\nx = = 1", "own_slip:x", "own_slip:x: SyntaxError: invalid syntax (own_slip.py, line 2) (*own_slip.py:2)"),
        ("import no_such", "own_slip:x", "own_slip:x: ModuleNotFoundError: No module named 'no_such' (*own_slip.py:1)"),
        ("\nimport sys; sys.exit(3)", "own_slip:x", "own_slip:x: ends Python (*own_slip.py:2)"),
        ("import os; os._exit(3)", "own_slip:x", "own_slip:x: ends Python (*own_slip.py:1)"),
        ("raise BaseException", "own_slip:x", "own_slip:x: BaseException (*own_slip.py:1)"),
        ("def __getattr__(n): raise OSError(n)", "own_slip:x", "own_slip:x: OSError: x (*own_slip.py:1)"),
        ("print('\\x1b[2Jhi')", "own_slip:x", "own_slip:x: prints '\\x1b[2Jhi' when it is imported: put that into"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(module, capsys, text, name, told):
    """Whatever a module of one's own does when it is imported, it is one line: the name, what, file and line."""
    module("own_slip", text)
    for _ in range(2):
        with pytest.raises(InputError) as slip:
            attribute(name)
        line = str(slip.value)
        before, _, after = told.partition("*")
        assert before in line
        assert after in line
        assert line.isprintable()
    assert capsys.readouterr() == ("", "")


def test_what_a_module_warns_of_is_escaped_lines(module, capsys):
    """A module may warn while it is imported; a terminal obeys none of it."""
    module("own_warning", "import sys\nprint('old\\x1b[2J', file=sys.stderr)\npart = 1")
    assert attribute("own_warning:part") == 1
    assert capsys.readouterr() == ("", "old\\x1b[2J\n")


def test_a_table_has_what_ships_and_what_is_of_ones_own(module):
    """A table imports a name of one's own when it is asked for, and refuses what is no part."""
    module("own_parts", "def double(x):\n    return 2 * x\nlimit = 3")
    table = Parts({"negate": lambda x: -x})
    assert "negate" in table
    assert "own_parts:double" in table
    assert "double" not in table
    assert [*table] == ["negate"]
    assert table["own_parts:double"](4) == 8
    with pytest.raises(InputError, match="own_parts:limit: of the type int; it must be a function or a class"):
        table["own_parts:limit"]
    with pytest.raises(KeyError):
        table["double"]


def test_a_function_of_ones_own_is_wrapped_as_the_table_wants_it(module):
    """Where parts are objects, one's own may be one, or the function that makes one."""
    module("own_parts", "import fractions\nhalf = fractions.Fraction(1, 2)\ndef whole(): ...")
    table = Parts({}, wrap=type(attribute("own_parts:half")))
    assert table["own_parts:half"] == 0.5
    with pytest.raises(TypeError):
        table["own_parts:whole"]


def test_ending_python_at_once_can_be_told(monkeypatch):
    """Inside, `os._exit` raises, and afterwards it is what it was."""
    before = os._exit
    with pytest.raises(SystemExit), exits_raised():
        os._exit(3)
    assert os._exit is before
