"""Parts of one's own on the command line: whatever is wrong with them is one line, and nothing is trained."""

import re
import sys
from pathlib import Path

import pytest

import made
import parts_made
from deeptwins.cli import app
from deeptwins.train.schedule import forking

STUDY = """
question = "Does it work?"

[twins]
ours = { depth = 8, shortcut = "zero-pad" }

[[vary]]
family = "cifar"
seed = 0

[recipe]
dataset = "synthetic"
width = 4
iterations = 10
batch_size = 64
learning_rate = 0.1
"""
SHORTCUT = 'shortcut = "zero-pad"'
HEAD = "import os, sys, torch\nfrom torch import nn\nfrom deeptwins.errors import InputError\n"
BLOCK = (
    "class part(nn.Module):\n    def __init__(self, transition, net): super().__init__()\n    def forward(self, x): "
)
PLACE = r"\(\S*/own\.py:(\d+)\)"
LOG = "; the whole traceback: deeptwins-error.log"


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Call `deeptwins` in a folder with the module `own`; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(forking, "start", lambda: None)  # no worker is needed

    def main(code, *arguments):
        Path("own.py").write_text(code, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["deeptwins", *arguments])
        with parts_made.forgotten(), pytest.raises(SystemExit) as end:
            app.main()
        return end.value.code or 0, *capsys.readouterr()

    return main


SLIPS = [
    # The name, or the import.
    ("shortcut", "", r"twin ours, shortcut = own:part: nothing of the name 'part' in own"),
    ("norm", "1 / 0", rf"twin ours, norm = own:part: ZeroDivisionError: division by zero {PLACE}{LOG}"),
    ("block_order", "sys.exit()", rf"twin ours, block_order = own:part: ends Python {PLACE}{LOG}"),
    ("optimizer", "print('hi')", r"optimizer = own:part: prints 'hi' when it is imported: put that into a function"),
    ("schedule", "part = 3", "schedule = own:part: of the type int; it must be a function or a class"),
    # The signature.
    (
        "shortcut",
        "def part(transition): ...",
        rf"twin ours, shortcut = own:part: called with \(transition, net\): too many positional arguments {PLACE}",
    ),
    ("initialization", "def part(): ...", rf"twin ours, .*called with \(net, seed\): too many .* {PLACE}"),
    ("optimizer", "def part(net, recipe, lr): ...", rf".*\(net, recipe\): missing a required argument: 'lr' {PLACE}"),
    ("dataset", "def part(): ...", rf"dataset = own:part: called with \(folder\): too many .* {PLACE}"),
    (
        "shortcut",
        BLOCK.replace("self, x", "self") + "return None, None",
        rf"twin ours, shortcut = 'own:part': called with \(x\): too many positional arguments {PLACE}",
    ),
    # What is returned.
    (
        "shortcut",
        "def part(t, n): return 3",
        rf"twin ours, PartError: own:part returns int, and must return Module {PLACE}",
    ),
    ("shortcut", BLOCK + "return x", rf"twin ours, PartError: shortcut = 'own:part' returns a tensor .* {PLACE}"),
    ("block_order", "def part(layers, x): pass", rf"twin ours, PartError: block_order .* returns NoneType, .* {PLACE}"),
    (
        "initialization",
        "def part(n, s): return 1",
        rf"twin ours, PartError: .* int, and must return nothing .* {PLACE}",
    ),
    ("optimizer", "def part(n, r): pass", rf"twin ours, PartError: .* NoneType, and must return Optimizer {PLACE}"),
    (
        "schedule",
        "def part(r, i): return -i",
        rf"schedule = 'own:part', PartError: returns -9 for iteration 9, .* {PLACE}",
    ),
    (
        "schedule",
        "def part(r, i): return '1'",
        rf"schedule = 'own:part', PartError: .* str, and must .* number {PLACE}",
    ),
    ("dataset", "def part(f): pass", rf"dataset = 'own:part', PartError: returns NoneType, and must .* {PLACE}"),
    # What is raised.
    ("shortcut", BLOCK + "raise OSError('no')", rf"twin ours, OSError: no {PLACE}"),
    ("shortcut", BLOCK + "raise InputError('no')", rf"twin ours, InputError: no {PLACE}"),
    ("shortcut", BLOCK + "raise BaseException('no')", rf"twin ours, BaseException: no {PLACE}"),
    ("shortcut", BLOCK + "os._exit(3)", rf"twin ours, SystemExit: 3 {PLACE}"),
    ("norm", "def part(channels, net, order): os._exit(3)", rf"twin ours, SystemExit: 3 {PLACE}"),
    ("initialization", "def part(net, seed): sys.exit(3)", rf"twin ours, SystemExit: 3 {PLACE}"),
    ("optimizer", "def part(net, recipe): raise InputError('no')", rf"twin ours, InputError: no {PLACE}"),
    ("dataset", "def part(folder): open(folder / 'none')", rf"dataset = 'own:part', FileNotFoundError: .* {PLACE}"),
]


def naming(field):
    """Write a study that has a part of one's own in a field."""
    part = f'{field} = "own:part"'
    if field == "shortcut":
        return STUDY.replace(SHORTCUT, part)
    if field == "dataset":
        return STUDY.replace('dataset = "synthetic"', part)
    if field in {"optimizer", "schedule"}:
        return f"{STUDY}{part}\n"
    return STUDY.replace(SHORTCUT, f"{SHORTCUT}, {part}")


@pytest.mark.parametrize(("field", "code", "told"), SLIPS)
def test_a_slip_is_one_line_before_anything_is_trained(call, tmp_path, field, code, told):
    """Whatever a part does when a study is checked: study, twin, what, file and line; exit code 2, nothing trained."""
    made.load(tmp_path, naming(field), "tiny")

    status, said, err = call(HEAD + code, "run", "tiny.toml", "--device", "cpu")

    study = "" if field == "dataset" else "study tiny, "
    log = tmp_path / "deeptwins-error.log"
    assert status == 2
    assert "\ntiny: trying parts of your own: own:part" in said  # where C ends the process, it is the last word
    assert err.count("\n") == 1
    assert re.match(f"deeptwins: {study}{told}", err), err
    assert (LOG in err) == log.exists()
    if log.exists():
        assert log.read_text(encoding="utf-8").startswith("Traceback")
    assert {path.name for path in tmp_path.iterdir()} <= {"own.py", "tiny.toml", log.name, "__pycache__"}


def test_what_a_part_prints_is_lines_on_stderr(call):
    """What is printed by a part while it is tried is escaped, and mixes neither with a table nor with JSON."""
    code = HEAD + BLOCK + "print('a\\x1b[2Jb', end='') or print('c') or sys.stderr.write('d\\n'); return None, None"

    show = ("show", "cifar-resnet-8", "--set", "shortcut=own:part")
    plain, spoken, as_json = (
        call("", "show", "cifar-plain-8"),
        call(code, *show),
        call(code, *show, "--json", "--input", "3x9x9"),
    )

    assert spoken[:2] == plain[:2]
    assert as_json[1].startswith("{")
    for _, _, err in (spoken, as_json):
        assert err == "a\\x1b[2Jbc\nd\n" * 3


def test_a_name_that_ships_wins_over_one_of_ones_own(call):
    """`folder:PATH` is a folder of images also where a module has that name."""
    Path("folder.py").write_text("def part(folder): sys.exit(9)")

    code, _, err = call("", "doctor", "folder:part")

    assert code == 2
    assert err.startswith("deeptwins: part: no such folder")
