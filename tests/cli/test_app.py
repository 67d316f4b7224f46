"""The command line: what it prints, what it refuses, and with which exit code."""

import dataclasses
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import pytest
import torch

import choices_made
import made
import pages_made
import profiles_made
import throughput_made
from deeptwins import __version__, nets, records, study
from deeptwins.cli import app
from deeptwins.cli.app import COMMANDS
from deeptwins.cli.pages import PAGES
from deeptwins.errors import InputError
from deeptwins.kernels import IMPLEMENTATIONS
from deeptwins.nets import orders
from deeptwins.pages import listing
from deeptwins.pages import page as pages
from deeptwins.pages.page import UnwritableError
from deeptwins.profile import measure, roofline
from deeptwins.records import host, profiles
from deeptwins.study import known, networks, places, reference
from deeptwins.system import signals
from deeptwins.train.schedule import scheduling
from deeptwins.train.schedule.scheduling import Outcome
from places import ROOT
from reading import Outline, documented_keys

TINY = """
question = "Does it work?"
cost = "a moment"

[twins]
plain = { shortcut = "none" }

[[vary]]
family = "cifar"
depth = [8, 14]
seed = 0

[recipe]
dataset = "synthetic"
width = 4
iterations = 10
batch_size = 64
learning_rate = 0.1
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The root of a repository with the study `tiny`, where none ships; the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "shipped")
    monkeypatch.delenv("DEEPTWINS_DATA", raising=False)
    Path("ablations").mkdir()
    made.load(tmp_path / "ablations", TINY, "tiny")
    return tmp_path


@pytest.fixture
def call(root, monkeypatch, capsys):
    """Call `deeptwins` with arguments; returns exit code, stdout and stderr."""

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["deeptwins", *arguments])
        with pytest.raises(SystemExit) as end:
            app.main()
        return end.value.code or 0, *capsys.readouterr()

    return main


CRASH = "import ctypes; from deeptwins.cli import app; app.build = lambda: lambda **_: ctypes.string_at(0); app.main()"


def test_what_crashes_python_is_told():
    """Where somebody's code crashes Python, its file and line are printed: no command ends without a word."""
    ended = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, check=False)  # noqa: S603

    assert ended.returncode < 0
    assert "Fatal Python error: Segmentation fault" in ended.stderr
    assert 'File "<string>", line 1' in ended.stderr


def python(*arguments, extra=".", **options):
    """Start a Python that finds what this one finds, and first what is in another folder."""
    path = os.pathsep.join(map(os.path.abspath, (extra, *sys.path)))
    return subprocess.Popen(  # noqa: S603  our own command
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def files(root):
    """All files below a folder."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture
def trained(monkeypatch):
    """Stand-in for training: remembers what it was called with, and has an outcome."""

    class Trained:
        outcome = Outcome(total=2, done=2, diverged=0, failed=0)

        def __call__(self, runs, **options):
            self.runs, self.options = runs, options
            return self.outcome

    stand_in = Trained()
    monkeypatch.setattr(scheduling, "train_all", stand_in)
    return stand_in


@pytest.fixture
def reported(monkeypatch):
    """Stand-in for reports: remembers the studies, and says whether the records contradict them."""

    class Reported:
        contradicted = False

        def __init__(self):
            self.studies, self.refusal = [], {}

        def write(self, _spec, reports, study, _results, forms=()):
            if error := self.refusal.get(study.name):
                raise error
            self.studies.append(study)
            self.forms = [*forms]
            lines = (f"{study.name}: It works.", "  cifar: plain rises: held")
            facts = SimpleNamespace(contradicted=self.contradicted)
            return pages.Written(facts, (), lines, reports / study.name / "index.html")

    stand_in = Reported()
    monkeypatch.setattr(pages, "write", stand_in.write)
    monkeypatch.setattr(listing, "write_index", lambda reports: reports / "index.html")
    return stand_in


LOADED = """
import sys
from deeptwins.cli import main

for arguments in ("--help", "run --help", "list", "gate --help", "report", "diff tiny tiny"):
    sys.argv[1:] = arguments.split()
    if arguments == "gate --help":
        from deeptwins.gate.compare import comparison  # all that measures and judges
    if arguments == "report":
        from deeptwins.pages import drawing
        drawing.svg = lambda *_: ""  # which takes half of the time, and loads no more than drawing has loaded
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
    print("loaded", *sys.modules)
"""


def test_a_command_loads_only_its_side(root):
    """Help comes at once, studies are listed and commits timed without torch and pandas, pages made without torch."""
    made.results(root, made.load(root / "ablations", TINY, "tiny"))
    for kind in PAGES.keys() - {"study", *pages_made.NAMED}:
        pages_made.RESULTS[kind](root)
    process = python("-c", LOADED, cwd=root)
    out, err = process.communicate()

    assert process.returncode == 0, err
    loaded = [{*line.split()} for line in out.splitlines() if line.startswith("loaded ")]
    left_out = [{"torch", "pandas", "pydantic", "rich"}, *[{"torch", "pandas"}] * 3, *[{"torch"}] * 2]
    assert [some & without for some, without in zip(loaded, left_out, strict=True)] == [set()] * 6


def test_without_a_command_there_is_help(call):
    """`deeptwins` alone tells a newcomer what to type first, and in whole sentences what each command is for."""
    code, out, _ = call()

    assert code == 0
    assert "..." not in out.split("Commands:")[1]
    assert "deeptwins run smoke" in out
    assert re.findall(r"^  (\w+)  ", out.split("Commands:")[1], re.MULTILINE) == [
        "list", "new", "run", "report", "diff", "export", "show", "profile", "kernels", "doctor", "schema", "gate"
    ]  # fmt: skip


@pytest.fixture
def example(monkeypatch):
    """CONTRIBUTING's worked example of a command, as one more file of cli/ and one more line of `COMMANDS`."""
    text = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
    name, code, line = re.search(
        r"cli/(\w+)\.py`, a new file:\n\n```python\n(.*?)```.*?`COMMANDS`.*?```python\n(.*?)```", text, re.DOTALL
    ).groups()
    module = ModuleType(f"deeptwins.cli.{name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code, vars(module))  # noqa: S102  our own text
    for command, place in eval("{" + line + "}").items():  # noqa: S307
        monkeypatch.setitem(COMMANDS, command, place)


@pytest.mark.usefixtures("example")
def test_a_new_command_is_one_file_and_one_line(call):
    """The example command is in the help, lists a study's twins, and refuses a slip as the other commands do."""
    assert re.search(r"^  twins +List the twins of a study, with their shortcuts\.$", call("--help")[1], re.MULTILINE)
    assert call("twins", "tiny") == (0, "TWIN   SHORTCUT\nplain  none\n", "")
    assert call("twins", "tinny") == (2, "", 'deeptwins: no study "tinny" in ablations/; did you mean tiny?\n')
    assert call("twins") == (2, "", "deeptwins: Missing argument 'STUDY'; see `deeptwins twins --help`\n")


@pytest.mark.parametrize("command", [*COMMANDS, "twins"])
@pytest.mark.usefixtures("example")
def test_every_command_explains_itself(call, command):
    """Each command has a sentence that says what it does, and one for each of its options."""
    code, out, _ = call(command, "--help")

    assert code == 0
    assert re.search(r"^  [A-Z][^.]*\.$", out, re.MULTILINE)
    assert not re.search(r"^  --\w+( \S+)?$", out, re.MULTILINE)
    assert not re.search(r"<(list|str|path)", out)  # a type of Python tells people nothing


@pytest.mark.parametrize(
    ("arguments", "file"),
    [((), "ablations/study.schema.json"), (("--markdown",), "docs/keys.md"), (("--columns",), "docs/columns.md")],
    ids=["json", "keys", "columns"],
)
def test_the_committed_schema_is_what_the_command_prints(call, arguments, file):
    """`deeptwins schema` prints the schema that studies name in their first line, and pages of all keys and columns."""
    assert call("schema", *arguments) == (0, ROOT.joinpath(file).read_text(encoding="utf-8"), "")


@pytest.fixture
def without_torch(monkeypatch):
    """An environment that has no PyTorch, as `tox -e report` makes it."""
    for name in [name for name in sys.modules if re.match(r"deeptwins\.(nets|train|kernels|data|profile)\b", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.usefixtures("without_torch")
def test_the_schema_needs_no_torch(call, monkeypatch):
    """Without PyTorch, which has the names of shortcuts and the like, the schema is as it shipped; one line says so."""
    monkeypatch.setattr(places, "SHIPPED", ROOT / "ablations")
    shipped = ROOT.joinpath("ablations", "study.schema.json").read_text(encoding="utf-8")
    note = f"without PyTorch, which has the names of parts: as shipped with deeptwins {__version__}\n"

    assert call("schema") == (0, shipped, note)
    assert call("schema", "--markdown") == (0, f"{reference.markdown(json.loads(shipped))}", note)


@pytest.mark.parametrize(
    "arguments",
    [("run", "tiny"), ("show", "resnet-18"), ("profile", "resnet-18"), ("kernels",), ("doctor", "folder:x")],
    ids=" ".join,
)
@pytest.mark.usefixtures("without_torch")
def test_a_command_that_needs_torch_says_so(call, root, arguments):
    """Without PyTorch, a command that needs it is one line that says which extra to install; no log is left."""
    code, out, err = call(*arguments)

    assert (code, out) == (2, "")
    assert re.fullmatch(
        r"deeptwins: torch is not installed; it comes with the extra deeptwins\[train\]: .*\[train\]'?\n", err
    )
    assert not root.joinpath("deeptwins-error.log").exists()


@pytest.mark.usefixtures("without_torch")
def test_doctor_needs_no_torch(call):
    """Without PyTorch, `doctor` tells the machine and the studies, and what to install to train."""
    code, out, err = call("doctor")
    _, as_json, _ = call("doctor", "--json")
    told = json.loads(as_json)

    assert (code, err) == (0, "")
    assert re.search(r"^training +torch is not installed", out, re.MULTILINE)
    assert re.search(r"^studies +tiny$", out, re.MULTILINE)
    assert "torch is not installed" in told["training"]
    assert (told["python"], told["studies"], told["datasets"]) == (platform.python_version(), ["tiny"], {})


def test_module_and_command_are_the_same(root):
    """`python -m deeptwins` is `deeptwins`."""
    process = python("-m", "deeptwins", "run", "nothing", cwd=root)

    out, err = process.communicate()
    assert (out, process.returncode) == ("", 2)
    assert err.startswith('deeptwins: no study "nothing" in ablations/ or ')
    assert process.returncode == 2


def test_list_says_how_far_each_study_is(call, root):
    """`list` shows each study's cost and state, diverged runs as done and half-done ones by themselves; and asks."""
    study = made.load(root / "ablations", TINY, "tiny")
    made.load(root / "ablations", TINY, "untouched")
    made.write(root / "results", study.runs[0], made.records(study.runs[0], diverged=["plain"]))
    made.write(root / "results", study.runs[1], made.records(study.runs[1], status=None))

    code, out, err = call("list")

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Other studies",
        "  tiny       a moment  1 of 2 runs done, 1 diverged, 1 half done",
        "      Does it work?",
        "  untouched  a moment  2 runs to do",
        "      Does it work?",
        "",
    ]


def test_list_fits_80_columns_and_has_headings_in_order(call, root):
    """However long a cost or a question is, no line is wider; studies stand by group, in order, `depth` first."""
    for name, group in (("a", "Training"), ("b", "Speed"), ("c", "Ours"), ("d", "Degradation"), ("depth", "Speed")):
        text = TINY.replace("a moment", "many words " * 20).replace("Does it", "Is it long " * 20)
        made.load(root / "ablations", f'group = "{group}"\n{text}', name)

    _, out, _ = call("list")

    assert max(map(len, out.splitlines())) <= 80
    assert [line for line in out.splitlines() if re.match(r"[A-Z]", line)] == [
        "Degradation", "Training", "Speed", "Other studies", "Ours"
    ]  # fmt: skip
    assert out.index("\n  depth  ") < out.index("\n  b  ")


def test_list_keeps_a_cost_in_one_line(call, root):
    """One that is too long for its column stands in a line of its own, below the state."""
    cost = "4 min on 2 CPU cores, in Triton's interpreter: TRITON_INTERPRET=1"
    made.load(root / "ablations", TINY.replace("a moment", cost), "kernel")

    assert f"  kernel{' ' * 29}2 runs to do\n      {cost}\n      Does it work?\n" in call("list")[1]


def test_studies_that_ship_are_found_anywhere(call, root, monkeypatch):
    """They are listed beside those of ablations/, which come first; one that hides another is told."""
    monkeypatch.setattr(places, "SHIPPED", root / "shipped")
    (root / "shipped").mkdir()
    made.load(root / "shipped", TINY.replace("work", "ship"), "tiny")
    made.load(root / "shipped", TINY.replace("work", "ship"), "other")

    _, out, _ = call("list")
    listed = {study["name"]: study["path"] for study in json.loads(call("list", "--json")[1])["studies"]}

    assert re.findall("Does it (.*)", out) == ["ship?", "work?"]
    assert out.splitlines()[-1] == "tiny: that of ablations/, not the study of this name that ships"
    assert listed == {"other": f"{root}/shipped/other.toml", "tiny": "ablations/tiny.toml"}
    assert call("run", "othr")[2] == (
        f'deeptwins: no study "othr" in ablations/ or {root}/shipped/; did you mean other?\n'
    )
    (root / "ablations" / "tiny.toml").write_bytes((root / "shipped" / "tiny.toml").read_bytes())
    assert "that of ablations/" not in call("list")[1]
    for path in (root / "ablations").iterdir():
        path.unlink()
    (root / "ablations").rmdir()
    assert [*known()] == ["other", "tiny"]
    assert call("list")[0] == 0


@pytest.fixture
def shipped(root, monkeypatch):
    """The studies that ship with the real package."""
    monkeypatch.setattr(places, "SHIPPED", ROOT / "ablations")
    return root


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("options", "source"),
    [([], "smoke"), (["--from", "depth"], "depth"), (["--from", "ablations/tiny.toml"], "tiny")],
)
def test_a_new_study_is_a_copy(call, root, options, source):
    """It has the text of the other, comments too, below the line for editors, whose schema is laid beside it."""
    original = Path("ablations/tiny.toml") if source == "tiny" else ROOT / "ablations" / f"{source}.toml"
    code, out, err = call("new", "my-study", *options)

    text = Path("ablations/my-study.toml").read_text(encoding="utf-8")
    body = original.read_text(encoding="utf-8").removeprefix("#:schema ./study.schema.json\n")
    assert (code, err) == (0, "")
    assert text == f"#:schema ./study.schema.json\n{body}"
    assert Path("ablations/study.schema.json").read_bytes() == (ROOT / "ablations/study.schema.json").read_bytes()
    assert out.splitlines()[0] == f"ablations/my-study.toml: a copy of {original}"
    assert out.splitlines()[-1] == "  deeptwins run my-study --report"


@pytest.mark.usefixtures("shipped")
def test_a_new_study_stands_alone(call):
    """A copy of a study that extends another has what both say; one that hides a study that ships says so."""
    code, out, _ = call("new", "depth", "--from", "depth-cifar10")

    copy, original = study.load(Path("ablations/depth.toml")), study.load(ROOT / "ablations/depth-cifar10.toml")
    assert code == 0
    assert [run.recipe for run in copy.runs] == [run.recipe for run in original.runs]
    assert "`deeptwins run depth` means this one" in " ".join(out.split())


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["tiny"], "ablations/tiny.toml: there is such a file, which stays as it is; give another name"),
        (
            ["Tiny"],
            '"Tiny": a study has its file\'s name: at most 60 lower-case letters, digits and hyphens; rename it',
        ),
        (
            ["../x"],
            '"../x": a study has its file\'s name: at most 60 lower-case letters, digits and hyphens; rename it',
        ),
        (["gate"], '"gate": other results or pages lie in a folder of this name; rename the study\'s file'),
        (["x", "--from", "dept"], f'no study "dept" in ablations/ or {ROOT}/ablations/; did you mean depth?'),
        (["x", "--from", "bad.toml"], "bad.toml: question: missing"),
    ],
)
def test_a_new_study_takes_no_place_of_another(call, root, arguments, line):
    """A name that is taken, or that no study can have, and a study that cannot be read: a line, and nothing written."""
    (root / "bad.toml").write_text("", encoding="utf-8")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert call("new", *arguments) == (2, "", f"deeptwins: {line}\n")
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_show_prints_a_study_with_all_that_it_extends(call, root):
    """What it prints is TOML that loads to the same study, with settings if they are given."""
    odd = 'extends = "tiny"\nsource = "\\u001b[31m \\u200b"\nscale = "' + "\\u200b" * 4000 + '"\n[recipe]\nwidth = 8\n'
    path = root / "ablations" / "some.toml"
    path.write_text(odd, encoding="utf-8")

    code, out, err = call("show", "some", "--set", "recipe.shift=1")
    copy = root / "some.toml"
    copy.write_text(out, encoding="utf-8")
    told = json.loads(call("show", "some", "--json")[1])

    original = study.load(path, ["recipe.shift=1"])
    assert (code, err) == (0, "")
    assert study.load(copy) == original.model_copy(update={"path": copy, "settings": ()})
    assert (told["name"], told["path"], told["content"]["recipe"]["width"]) == ("some", "ablations/some.toml", 8)


def test_list_shows_the_papers_recipes_on_demand(call, root):
    """The `-cifar10` versions are counted, and shown with --all, or once they are begun."""
    full = [made.load(root / "ablations", TINY, f"{name}-cifar10") for name in ("one", "two")]
    made.write(root / "results", full[1].runs[0], made.records(full[1].runs[0], status=None))

    names = [re.findall(r"^  ([a-z0-9-]+)  ", call("list", *options)[1], re.MULTILINE) for options in ([], ["--all"])]

    assert names == [["tiny", "two-cifar10"], ["one-cifar10", "tiny", "two-cifar10"]]
    assert call("list")[1].splitlines()[-2:] == [
        "1 more has its paper's recipe on CIFAR-10, and needs a GPU. To list all:", "  deeptwins list --all"
    ]  # fmt: skip


def test_programs_get_one_json_object(call, root):
    """With --json a command prints one object with the keys that are documented, and nothing else."""
    study = made.load(root / "ablations", TINY, "tiny")
    made.results(root, study)
    (root / "ablations" / "bad.toml").write_text("question =", encoding="utf-8")

    told = {}
    for command, *arguments in (["list"], ["show", "cifar-plain-8"], ["doctor"], ["report", "tiny"]):
        _, out, _ = call(command, *arguments, "--json")
        told[command] = json.loads(out)
        (inner,) = told[command].get({"list": "studies", "show": "networks", "report": "pages"}.get(command), [{}])[-1:]
        assert sorted([*told[command], *inner]) == documented_keys(command)

    bad, tiny = told["list"]["studies"]
    assert (bad["name"], bad["runs"], bad["error"][:19]) == ("bad", None, "ablations/bad.toml:")
    assert (tiny["group"], tiny["question"], tiny["cost"]) == ("Other studies", "Does it work?", "a moment")
    assert [tiny[key] for key in ("runs", "done", "diverged", "failed", "unfinished")] == [2, 2, 0, 0, 0]
    (net,) = told["show"]["networks"]
    assert sum(row["parameters"] for row in net["rows"]) == net["parameters"] == 75290
    (page,) = told["report"]["pages"]
    assert (page["kind"], page["name"], page["runs"], page["finished"]) == ("study", "tiny", 2, 2)
    assert page["page"] == "reports/tiny/index.html"
    assert not page["contradicted"]
    assert not call("list")[1].startswith("{")  # the next command is for people again


@pytest.mark.parametrize(
    "command",
    [
        *[["show", "frob"], ["report", "frob"], ["diff", "tiny", "frob"], ["gate"], ["doctor", "folder:frob"]],
        *[["list", "--frob"], ["lst"], ["show"], ["diff", "tiny"], ["report", "--seeds", "0"], ["run", "tiny"]],
    ],
    ids=" ".join,
)
def test_programs_are_told_what_is_wrong(call, command):
    """Where a command fails, what people read on stderr is the object on stdout, too."""
    code, out, err = call(*command, "--json")

    assert code == 2
    assert f"deeptwins: {json.loads(out)['error']}\n" == err


WAITING = [
    *["show resnet-18", "profile resnet-18", "profile --timings x.json", "kernels", "kernels --no-compile"],
    *["schema", "report", "report tiny", "diff tiny tiny", "export tiny --to csv", "gate page"],
    "gate import a.json b.json",
]


@pytest.fixture
def nothing_loads(root, monkeypatch):
    """Results of a study, and an environment where PyTorch and pandas are not to be had."""
    made.results(root, study.load(root / "ablations" / "tiny.toml"))
    sides = r"deeptwins\.(nets|train|kernels|data|profile|findings|pages|export|gate)\b"
    for name in [name for name in sys.modules if re.match(sides, name)]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("torch", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("arguments", WAITING)
@pytest.mark.usefixtures("nothing_loads")
def test_who_waits_at_a_terminal_is_told_for_what(call, monkeypatch, arguments):
    """Before a command loads PyTorch or pandas, or reads records, a line says so on a terminal, and nowhere else."""
    piped = call(*arguments.split())[2]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    seen = call(*arguments.split())[2]

    assert not re.search(r" \.\.\.$", piped, re.MULTILINE)
    assert re.match(r"(loading|reading|writing) .* \.\.\.\n", seen)


def test_the_version_is_told(call):
    """`--version` is one line."""
    assert call("--version") == (0, f"deeptwins {__version__}\n", "")


def asked_by(shell, words):
    """What a shell sets when TAB is pressed behind words."""
    asked = {"_DEEPTWINS_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        return asked | {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return asked | {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("deeptwins run t", {"tiny", "two"}),
        ("deeptwins report ti", {"tiny"}),
        ("deeptwins show resnet-1", {"resnet-18", "resnet-101", "resnet-152"}),
        ("deeptwins show t", {"tiny", "two"}),
        ("deeptwins new x --from ti", {"tiny"}),
        ("deeptwins profile t", {"tiny", "two"}),
        ("deeptwins profile cifar-plain-5", {"cifar-plain-56"}),
        ("deeptwins run --fr", {"--fresh"}),
        ("deeptwins prof", {"profile"}),
    ],
)
def test_shells_complete_studies_and_nets(call, root, monkeypatch, shell, words, completed):  # noqa: PLR0913, PLR0917
    """TAB completes commands, options, the studies that are here, and the networks of the papers."""
    made.load(root / "ablations", TINY, "two")
    for name, value in asked_by(shell, words).items():
        monkeypatch.setenv(name, value)

    code, out, err = call()

    assert (code, err) == (0, "")
    assert {*re.findall(r"^(?:_arguments '\*: :\(\()?\"?([a-z0-9-]+)", out, re.MULTILINE)} == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_completion_is_shown_and_installed(call, root, monkeypatch, shell, option):
    """Either option ends well, and `--install-completion` leaves a file for the shell that asks."""
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))

    code, out, err = call(option)

    assert (code, err) == (0, "")
    scripts = [path for path in root.rglob("*deeptwins*") if path.is_file()]
    assert ("completion installed" in out) == (len(scripts) == 1) == (option == "--install-completion")


@pytest.mark.parametrize("name", networks.NAMES)
def test_every_network_that_is_completed_exists(name):
    """The names that TAB offers are names of nets that can be built."""
    net, _, _ = networks.named(name)

    nets.check(net)


def test_an_error_in_a_part_is_one_line_and_a_log(call, root, monkeypatch):
    """Whatever a block raises while a study is checked: study, twin, file and line; the whole traceback in a file."""

    def broken(layers, _x):
        (one,) = layers
        return one

    monkeypatch.setitem(
        orders.BLOCK_ORDERS, "broken", dataclasses.replace(orders.BLOCK_ORDERS["original"], branch=broken, fused=None)
    )
    made.load(root / "ablations", TINY.replace('"none"', '"zero-pad", block_order = "broken"'), "tiny")
    place = rf"\({re.escape(__file__)}:\d+\); the whole traceback: deeptwins-error\.log\n"

    for arguments, where in (
        (["run", "tiny", "--device", "cpu"], "study tiny, twin plain"),
        (["show", "cifar-resnet-8", "--set", "block_order=broken"], "net cifar-resnet-8"),
        (["profile", "cifar-resnet-8", "--set", "block_order=broken", "--device", "cpu"], "net cifar-resnet-8"),
    ):
        code, _, err = call(*arguments)
        log = root / "deeptwins-error.log"
        assert code == 2
        assert re.fullmatch(rf"deeptwins: {where}, ValueError: too many values to unpack .*{place}", err), err
        assert "(one,) = layers" in log.read_text(encoding="utf-8")
        log.unlink()
    assert not (root / "results").exists()


@pytest.mark.parametrize("native", [True, False])
def test_profile_tells_of_a_precision_that_is_imitated(call, root, monkeypatch, native):
    """Before minutes of profiling in bf16, one line says that this processor imitates it, where it does."""

    def stopped(*_arguments):
        raise InputError("stopped before the measurement")

    monkeypatch.setattr(host, "native_bf16", lambda: native)
    monkeypatch.setattr(measure, "profile", stopped)

    _, _, err = call("profile", "cifar-resnet-8", "--set", "recipe.precision=bf16", "--device", "cpu")

    assert ("precision bf16: this processor has no instructions for it" in err) is not native
    assert "stopped before the measurement" in err


@pytest.mark.parametrize(
    ("answer", "said"),
    [(lambda: sys.exit(7), "SystemExit: 7"), (lambda: None, "PartError: block_order = 'broken' returns NoneType, and")],
    ids=["ends Python", "returns nothing"],
)
def test_a_part_that_ends_python_or_returns_nothing_is_told_by_twin_and_line(call, root, monkeypatch, answer, said):
    """A block that calls `sys.exit`, or returns no tensor, is named like one that raises: twin, its file and line."""

    def broken(_layers, _x):
        return answer()

    monkeypatch.setitem(
        orders.BLOCK_ORDERS, "broken", dataclasses.replace(orders.BLOCK_ORDERS["original"], branch=broken, fused=None)
    )

    code, out, err = call("show", "cifar-resnet-8", "--set", "block_order=broken", "--json")

    assert (code, f"deeptwins: {json.loads(out)['error']}\n") == (2, err)
    assert err.startswith(f"deeptwins: net cifar-resnet-8, {said}")
    assert f"({__file__}:" in err


def test_runs_with_other_settings_are_told_alike(call, root, trained):
    """`list`, `run` and `report` say which other runs lie in a study's folder, with the keys that differ."""
    study = made.load(root / "ablations", TINY, "tiny")
    run = study.runs[0]
    made.write(root / "results", run.model_copy(update={"recipe": run.recipe.model_copy(update={"momentum": 0.25})}))
    differs = f"1 run with momentum 0.25 (here {run.recipe.momentum})"

    _, listed, _ = call("list")
    _, begun, _ = call("run", "tiny")
    code, _, refused = call("report", "tiny")

    assert "  2 runs to do\n" in listed
    told = f"results/tiny has runs with other settings: {differs}"
    assert listed.splitlines()[-1] == begun.splitlines()[3] == told
    assert (code, trained.runs) == (2, study.runs)
    assert differs in refused


def test_a_broken_study_hides_no_other(call, root):
    """A study file that cannot be read has its line in the list, which exits with 2 after all the others."""
    (root / "ablations" / "a.toml").write_text("question = ")

    code, out, _ = call("list")

    assert code == 2
    assert "  tiny  a moment  2 runs to do" in out
    assert "Cannot be read\n  a: ablations/a.toml: not TOML" in out


LATE = {
    "run tiny", "run tiny --device cuda", "run depth", "run unused", "run tiny --results ablations/tiny.toml",
    *(f"run tiny --set recipe.{text}" for text in ("optimizer=frob", "dataset=frob", "fused_op=cudnn")),
}  # fmt: skip
"""Slips that only what needs torch can find, after what is asked was announced."""
ANNOUNCED = (
    "tiny: Does it work?\n"
    "  2 runs with 2 nets: plain; depths 8 to 14; 1 seed; 10 iterations on synthetic;\n"
    "  takes a moment\n"
    "loading PyTorch, to train on a GPU if there is one, or else on the CPU\n"
)


def test_what_will_be_trained_is_told_before_pytorch_is_loaded(call, root):
    """The first output of `run` does not wait for torch: which studies, how much of what, and where."""
    (root / "torch.py").write_text("raise ImportError('torch is loaded')", encoding="utf-8")
    process = python("-m", "deeptwins", "run", "tiny", cwd=root)
    out, err = process.communicate()

    assert out == ANNOUNCED
    assert "torch is loaded" in err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("frob", "No such command 'frob'"),
        ("run", "Missing argument 'STUDY'"),
        ("run nothing", 'no study "nothing" in ablations/; choose from tiny'),
        ("run nothing.toml", "nothing.toml: no such file"),
        ("run tiny --frob", "No such option"),
        ("run tiny --device tpu", "Invalid value for '--device'"),
        ("run tiny --device cuda", "--device cuda: PyTorch finds no CUDA device"),
        ("run tiny --workers 0", "Invalid value for '--workers'"),
        ("run tiny --workers many", "Invalid value for '--workers'"),
        ("run tiny --seeds 0", "Invalid value for '--seeds'"),
        ("run tiny --seeds 1000000000", "Invalid value for '--seeds'"),
        ("report tiny --seeds 1000000000", "Invalid value for '--seeds'"),
        ("run tiny --workers 1000000", "Invalid value for '--workers'"),
        ("run tiny --set width=8", 'ablations/tiny.toml: --set "width=8": write recipe.KEY=VALUE'),
        ("run tiny --set recipe.depht=8", "ablations/tiny.toml: recipe.depht: unknown key; did you mean depth?"),
        ("run tiny --set recipe.shortcut=frob", "ablations/tiny.toml: twins.plain"),
        ("run tiny --set recipe.family=frob", 'ablations/tiny.toml: --set "recipe.family=frob": vary[0] varies family'),
        ("run tiny --set recipe.optimizer=frob", "ablations/tiny.toml: optimizer = 'frob': choose from sgd"),
        ("run tiny --set recipe.dataset=frob", "no dataset 'frob'"),
        (
            "run tiny --set recipe.fused_op=cudnn",
            "ablations/tiny.toml: fused_op = 'cudnn': choose from auto, eager, compiled, triton\n",
        ),
        ("run tiny --results ablations/tiny.toml", "ablations/tiny.toml/tiny"),
        ("run syntax", "ablations/syntax.toml: not TOML"),
        ("run depth", "ablations/depth.toml: depth = 21: family cifar has depths 6n+2"),
        ("run unused", "ablations/unused.toml: shortcut = 'frob': choose from none"),
        ("report", "results: no results of a study in ablations/"),
        ("report nothing", 'no study "nothing" in ablations/'),
        ("report tiny", "results/tiny"),
        ("show frob", 'no network and no study "frob": choose from cifar-bottleneck-resnet-164, '),
        ("show tinny", 'no network and no study "tinny": did you mean tiny?'),
        ("show tiny resnet-18", '"tiny" is a study, which is printed alone: give one name'),
        ("show tiny --layers", '"tiny" is a study: only --set recipe.KEY=VALUE and --json go with one'),
        ("show tiny --set width=8", 'ablations/tiny.toml: --set "width=8": write recipe.KEY=VALUE'),
        ("show gone.toml", "gone.toml: no such file"),
        ("show cifar-plain-21", 'no network "cifar-plain-21": depth = 21: family cifar has depths 6n+2'),
        ("show cifar-resnet-1001", 'no network "cifar-resnet-1001": depth = 1001: family cifar has depths 6n+2'),
        ("show resnet-18 --set width", '--set "width": write KEY=VALUE'),
        ("show resnet-18 --set widht=8", "net.widht: unknown key; did you mean width?"),
        ("show resnet-18 --set width=wide", 'width = "wide": should be a valid integer'),
        ("show resnet-18 --set survival=2", "survival = 2: should be less than or equal to 1"),
        ("show resnet-18 --set norm=frob", "no network \"resnet-18\": norm = 'frob': choose from batch, none, scalar"),
        ("show resnet-18 --set initialization=fixup", "no network \"resnet-18\": initialization = 'fixup': needs norm"),
        ("show resnet-18 --diagram no/where.svg", "no/where.svg: No such file or directory"),
        ("show resnet-18 --input 3x32", "--input 3x32: write CxHxW"),
        ("show resnet-18 --width 1000000000", "Invalid value for '--width'"),
        ("show resnet-18 --classes 1000000000000000000", "Invalid value for '--classes'"),
        ("show resnet-18 --input 0x32x32", "--input 0x32x32: write CxHxW"),
        ("profile", "Missing argument 'STUDY|NETWORK'"),
        (
            "profile --timings none.json",
            "none.json: No such file or directory; write it with `bench/gpu.sh throughput packing choices`",
        ),
        ("profile frob", 'no study and no network "frob": choose from'),
        ("profile tinny", 'no study and no network "tinny": did you mean tiny?'),
        ("profile cifar-plain-21", 'no network "cifar-plain-21": depth = 21: family cifar has depths 6n+2'),
        ("profile nowhere.toml", "nowhere.toml: no such file"),
        ("profile tiny --input 3x8x8", "--input: the images of a study are its dataset's"),
        ("profile cifar-plain-8 --input 3x8", "--input 3x8: write CxHxW"),
        ("profile tiny --set width=8", 'ablations/tiny.toml: --set "width=8": write recipe.KEY=VALUE'),
        ("profile cifar-plain-8 --set widht=8", "net.widht: unknown key; did you mean width?"),
        (
            "profile cifar-plain-8 --set recipe.optimizer=frob",
            "cifar-plain-8, optimizer frob: optimizer = 'frob': choose from sgd",
        ),
        ("profile cifar-plain-8 --device cuda", "--device cuda: PyTorch finds no CUDA device"),
        ("profile cifar-plain-8 --batch 0", "Invalid value for '--batch'"),
        ("profile tiny --results ablations/tiny.toml", "ablations/tiny.toml/profile"),
        (f"show resnet-18 --input 3x32x{'9' * 5000}", "--input 3x32x999"),
    ],
)
def test_bad_input_is_one_line(call, root, monkeypatch, arguments, line):
    """What a user got wrong is one line on stderr that says so, exit code 2, and nothing is written."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (root / "ablations" / "syntax.toml").write_text("question = ")
    (root / "ablations" / "depth.toml").write_text(TINY.replace("14", "21"))
    (root / "ablations" / "unused.toml").write_text(f'{TINY}shortcut = "frob"\n')  # every twin has its own
    if "nothing" in arguments:
        for name in ("syntax", "depth", "unused"):
            (root / "ablations" / f"{name}.toml").unlink()
    if "shortcut" in arguments:
        line = "ablations/tiny.toml: "
        (root / "ablations" / "tiny.toml").write_text(TINY.replace('"none"', '"frob"'))
        arguments = "run tiny"
    before, late = files(root), arguments in LATE

    code, out, err = call(*arguments.split())

    assert code == 2
    assert [text[:15] for text in out.splitlines()[-1:]] == (["loading PyTorch"] if late else [])
    assert err.startswith(f"deeptwins: {line}")
    assert err.count("\n") == 1
    assert files(root) == before


def test_a_damaged_record_is_named(call, root):
    """A record that cannot be read stops the command with the file and the line, and stays as it is."""
    study = made.load(root / "ablations", TINY, "tiny")
    path = made.write(root / "results", study.runs[0])
    path.write_text(path.read_text().replace('"kind": "end"', '"kind" "end"'))
    before = path.read_bytes()

    code, _, err = call("run", "tiny", "--device", "cpu")

    assert code == 2
    assert re.match(r"deeptwins: results/tiny/cifar-8-seed0-\w+\.jsonl:\d+: not a record", err)
    assert path.read_bytes() == before


def test_run_hands_on_what_it_was_given(call, trained):
    """Settings reach the runs, options the scheduler, and the last line is the command that comes next."""
    code, out, _ = call(
        "run", "tiny", "ablations/tiny.toml", "--set", "recipe.iterations=7", "--seeds", "2", "--workers", "3",
        "--results", "elsewhere", "--data", "sets", "--fresh", "--device", "cpu", "--together", "2",
    )  # fmt: skip

    assert code == 0
    assert [(run.seed, run.twins["plain"].depth, run.recipe.iterations) for run in trained.runs] == [
        (0, 8, 7), (1, 8, 7), (0, 14, 7), (1, 14, 7)
    ]  # fmt: skip
    del trained.options["display"]
    assert trained.options == {
        "device": "cpu", "results": Path("elsewhere"), "data_folder": Path("sets"), "workers": 3, "together": 2,
        "deadline": math.inf, "fresh": True,
    }  # fmt: skip
    assert out.splitlines()[-1] == (
        "2 runs are finished; next: deeptwins report tiny ablations/tiny.toml"
        " --set recipe.iterations=7 --seeds 2 --results elsewhere"
    )


def test_data_folder_comes_from_the_environment(call, trained, monkeypatch):
    """DEEPTWINS_DATA says where datasets lie when --data does not."""
    monkeypatch.setenv("DEEPTWINS_DATA", "sets")

    call("run", "tiny")

    assert trained.options["data_folder"] == Path("sets")


ON = "1 of 2 runs are finished, and nothing is lost. To go on:\n"


@pytest.mark.parametrize(
    ("outcome", "arguments", "code", "said"),
    [
        ({"failed": 1}, "tiny", 1, "1 of 2 runs failed; the same command tries them again"),
        ({"diverged": 1}, "tiny", 0, "2 runs are finished; next: deeptwins report tiny"),
        ({"total": 1}, "tiny", 0, "1 run is finished; next: deeptwins report tiny"),
        (
            {}, "tiny --set 'recipe.dataset=a b' --fresh --workers 2 --data sets", 130,
            f"{ON}  deeptwins run tiny --workers 2 --data sets --set 'recipe.dataset=a b'",
        ),
        ({}, "tiny --report", 130, f"{ON}  deeptwins run --report tiny"),
        (
            {"out_of_time": True}, "tiny --together 2 --time-limit 9m", 3,
            f"the time is over: {ON}  deeptwins run tiny --together 2 --time-limit 9m",
        ),
    ],
    ids=["failed", "diverged", "one run", "interrupted", "interrupted, with --report", "out of time"],
)  # fmt: skip
def test_what_became_of_runs_is_told(call, trained, reported, outcome, arguments, code, said):  # noqa: PLR0913, PLR0917
    """Failed is 1, diverged fine; interrupted is 130 and out of time 3: the command to go on, no --fresh, no page."""
    trained.outcome = Outcome(**{"total": 2, "done": 1, "diverged": 0, "failed": 0} | outcome)

    code_, out, err = call("run", *shlex.split(arguments))
    assert (code_, out.partition("on the CPU\n")[2], err) == (code, f"{said}\n", "")
    assert not reported.studies


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("9m", 540), ("1h30m", 5400), ("2h1s", 7201)])
def test_a_time_limit_counts_from_the_start(call, trained, text, seconds):
    """Hours, minutes and seconds become a deadline on the monotonic clock."""
    before = time.monotonic()

    assert call("run", "tiny", "--time-limit", text)[0] == 0

    assert before + seconds <= trained.options["deadline"] <= time.monotonic() + seconds


@pytest.mark.parametrize("text", ["", "9", "0s", "m", "9 m", "-9m", "1.5h", "30m1h", "soon"])
def test_a_time_limit_that_is_none_is_refused(call, trained, text):
    """What is no time, or no time at all, is one line and exit code 2."""
    code, out, err = call("run", "tiny", f"--time-limit={text}")

    assert (code, out) == (2, "")
    assert err == f"deeptwins: {' '.join(f'--time-limit {text}: write'.split())} a time like 90s, 9m or 1h30m\n"
    assert not hasattr(trained, "options")


def test_under_tox_the_command_to_go_on_is_one_of_tox(call, trained, monkeypatch):
    """In `tox -e ablate`, whose `deeptwins` is not on the PATH, the command to go on is that of tox."""
    monkeypatch.setenv("TOX_ENV_NAME", "ablate")
    trained.outcome = Outcome(total=2, done=1, diverged=0, failed=0)

    code, out, _ = call("run", "--report", "tiny", "--data", "sets", "--seeds", "2")

    assert code == 130
    assert out.endswith("To go on:\n  tox -e ablate -- tiny --data sets --seeds 2\n")


def test_run_with_report_writes_the_pages_too(call, trained, reported):
    """With --report the verdict and the page follow, of the studies as they were trained, and nothing is left to do."""
    code, out, _ = call("run", "--report", "tiny", "--seeds", "3", "--device", "cpu")

    assert code == 0
    assert out.partition("loading PyTorch, to train on the CPU\n")[2] == (
        "2 runs are finished\n"
        "tiny: It works.\n  cifar: plain rises: held\nreports/tiny/index.html\nall reports: reports/index.html\n"
    )
    assert [len(study.runs) for study in reported.studies] == [6]


def test_failed_runs_get_their_page_and_still_exit_with_1(call, trained, reported):
    """With --report a failed run keeps no page from being written, and the page does not hide the failure."""
    trained.outcome = Outcome(total=2, done=1, diverged=0, failed=1)

    code, out, _ = call("run", "--report", "tiny")

    assert code == 1
    assert "\n1 of 2 runs failed; the same command tries them again\ntiny: It works.\n" in out


def test_runs_that_all_failed_have_no_page_and_exit_with_1(call, trained):
    """When no run has come far enough for a page, --report says so in a line, and the exit code stays that of run."""
    trained.outcome = Outcome(total=2, done=0, diverged=0, failed=2)

    code, _, err = call("run", "--report", "tiny")

    assert code == 1
    assert err.startswith("deeptwins: results/tiny: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), (130, "deeptwins: interrupted\n")),
        (OSError(28, os.strerror(28), "results/tiny/x"), (2, "deeptwins: results/tiny/x: No space left on device\n")),
    ],
    ids=["Ctrl-C", "a full disk"],
)
def test_what_is_no_defect_has_no_traceback(call, monkeypatch, error, expected):
    """Ctrl-C at any other moment is exit code 130, and an error of the operating system a line that names its file."""
    monkeypatch.setattr(scheduling, "train_all", mock.Mock(side_effect=error))

    code, _, err = call("run", "tiny")
    assert (code, err) == expected


def test_a_defect_is_not_hidden(call, root, monkeypatch):
    """An error that the user cannot mend keeps its traceback, in a file that the line names: here, or where it can."""
    monkeypatch.setattr(scheduling, "train_all", mock.Mock(side_effect=ZeroDivisionError))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(root / "results"))
    (root / "results").mkdir()

    for log in ("deeptwins-error.log", f"{root}/results/deeptwins-error.log"):
        code, _, err = call("run", "tiny")
        assert (code, err[:28]) == (1, "deeptwins: ZeroDivisionError")
        assert err.endswith(f"; the whole traceback: {log}\n")
        assert Path(log).read_text(encoding="utf-8").startswith("Traceback")
        Path(log).unlink()
        Path("deeptwins-error.log").mkdir(exist_ok=True)  # takes no file


def test_report_prints_verdict_and_page(call, reported):
    """For each study come the verdict, the claims and the page."""
    code, out, _ = call("report", "tiny", "--reports", "pages", "--set", "recipe.iterations=7", "--seeds", "3")

    assert code == 0
    assert out == (
        "tiny: It works.\n  cifar: plain rises: held\npages/tiny/index.html\nall reports: pages/index.html\n"
    )
    assert [run.recipe.iterations for run in reported.studies[0].runs] == [7] * 6
    assert reported.forms == []


def test_what_a_paper_takes_is_there_as_long_as_it_is_asked_for(call, root):
    """Each figure in each form, each table twice, in links of the page; a form that is none is a slip."""
    pages_made.chosen(root)
    folder = root / "reports" / "choices"

    assert call("report", "--figures", "pdf", "--figures", "png")[0] == 0
    there = {str(path.relative_to(folder)) for path in folder.glob("[ft]*/*")}
    figures = {f"figures/choices-{name}.{form}" for name in ("packing", "choices") for form in ("pdf", "png")}
    assert figures < there
    assert {name[-3:] for name in there - figures} == {"tex", "csv"}
    assert there < {*Outline(folder.joinpath("index.html").read_text(encoding="utf-8")).links()}
    assert call("report")[0] == 0
    assert [*folder.glob("[ft]*")] == []
    assert call("report", "--figures", "gif")[0] == 2


@pytest.mark.parametrize(
    ("contradicted", "options", "code"), [(False, ["--strict"], 0), (True, [], 0), (True, ["--strict"], 3)]
)
def test_a_contradicted_claim_exits_with_3_when_strict(call, reported, contradicted, options, code):
    """Only --strict makes a contradicted claim an exit code."""
    reported.contradicted = contradicted

    assert call("report", "tiny", *options)[0] == code


@pytest.mark.parametrize("named", [True, False])
def test_one_study_keeps_no_other_from_its_page(call, root, reported, named):
    """A damaged study file, and damaged records, are a line each; the other studies get their pages."""
    made.load(root / "ablations", TINY, "odd")
    (root / "ablations" / "bad.toml").write_text("question =", encoding="utf-8")
    for name in ("bad", "odd", "tiny"):
        (root / "results" / name).mkdir(parents=True)
        (root / "results" / name / "any.jsonl").touch()
    reported.refusal["odd"] = InputError("odd: a damaged record")

    code, out, err = call("report", *(["bad", "odd", "tiny"] if named else []))

    assert code == 2
    assert [study.name for study in reported.studies] == ["tiny"]
    assert "tiny: It works." in out
    assert "all reports: " in out
    assert [line.split(": ")[1] for line in err.splitlines()] == ["ablations/bad.toml", "odd"]


def test_where_no_page_can_be_written_it_is_said_once(call, root, reported):
    """A folder that cannot be written is one line, however many pages it was to have."""
    made.load(root / "ablations", TINY, "odd")
    reported.refusal = dict.fromkeys(("odd", "tiny"), UnwritableError("reports: Permission denied"))

    assert call("report", "odd", "tiny") == (2, "", "deeptwins: reports: Permission denied\n")


def test_report_without_a_study_takes_all_with_results(call, root, reported):
    """Every study that has results is reported; results whose study is not here are named and left out."""
    study = made.load(root / "ablations", TINY, "tiny")
    made.load(root / "ablations", TINY, "untrained")
    made.write(root / "results", study.runs[0])
    made.write(root / "results", study.runs[0].model_copy(update={"study": "gone"}))

    code, _, err = call("report")

    assert code == 0
    assert [study.name for study in reported.studies] == ["tiny"]
    assert err == "gone: left out, its study is not in ablations/; name its .toml file\n"


def test_report_without_a_study_writes_all_other_pages_too(call, root):
    """Of pages that are no study's only the place is printed, in the order of `PAGES`, then the list of all, once."""
    pages_made.chosen(root)
    pages_made.profile(root)

    code, out, err = call("report")

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"reports/profile-{'-'.join(profiles_made.NETS)}/index.html",
        "reports/choices/index.html",
        "all reports: reports/index.html",
    ]


def test_report_of_a_study_writes_no_other_page(call, root):
    """Who names a study gets that one."""
    made.results(root, made.load(root / "ablations", TINY, "tiny"))
    pages_made.chosen(root)

    assert call("report", "tiny")[0] == 0
    assert [path.parent.name for path in root.glob("reports/*/index.html")] == ["tiny"]


def test_show_prints_the_classic_shape_trace(call):
    """`show` tells a net stage by stage, with shapes, parameters and FLOPs, and what they sum up to."""
    code, out, _ = call("show", "resnet-18", "--input", "1x224x224", "--classes", "10")

    rows = [re.split(r"  +", line) for line in out.splitlines()]
    assert code == 0
    assert rows[0] == ["STAGE", "KIND", "OUTPUT", "PARAMETERS", "FLOPS"]
    assert [row[2] for row in rows[1:-1]] == [
        "64x56x56", "64x56x56", "128x28x28", "256x14x14", "512x7x7", "512x1x1", "512", "10"
    ]  # fmt: skip
    assert [row[0] for row in rows[1:-1]] == [
        "stem",
        *(f"stage {i}" for i in range(1, 5)),
        "average pooling",
        "flatten",
        "linear",
    ]
    assert rows[2][1] == "2 blocks of 2 layers"
    for column in (-2, -1):
        numbers = [int(row[column].replace(",", "")) for row in rows[1:]]
        assert sum(numbers[:-1]) == numbers[-1]
    assert rows[-1][1] == "11,175,370"  # torchvision's, with one channel and ten classes


def test_show_layers_adds_up_to_the_papers_counts(call):
    """With --layers `show` lists layers in order, and its total is the known number of parameters."""
    code, out, _ = call("show", "cifar-resnet-20", "--layers")

    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert rows[1][:4] == ["conv", "Conv2d", "16x32x32", "432"]
    assert rows[-2][:4] == ["linear", "Linear", "10", "650"]
    assert rows[-1][:2] == ["total", "269,722"]


def test_show_takes_another_image_width_and_classes(call):
    """Input, width and classes can be chosen, and so can every other field of a net."""
    options = ("--input", "1x8x8", "--classes", "3", "--layers")
    _, out, _ = call("show", "cifar-plain-8", "--width", "4", *options)
    _, same, _ = call("show", "cifar-plain-8", "--set", "width=4", *options)
    _, other, _ = call("show", "cifar-plain-8", "--set", "shortcut=gate", "--set", "gate_bias=-6", "--set", "norm=none")

    assert out.splitlines()[1].split()[2:4] == ["4x8x8", "36"]
    assert out.splitlines()[-2].split()[2] == "3"
    assert same == out
    assert "BatchNorm" not in other


def test_show_takes_nets_of_ones_own(call, root):
    """`module:function-DEPTH` is a network: by what it consists of, layer by layer, drawn, and refused in one line."""
    options = ("--input", "3x6x10", "--classes", "5", "--width", "4")
    code, out, _ = call("show", "own_nets:small-3", *options, "--set", "options.skip=false", "--diagram", "nets.svg")
    _, layers, _ = call("show", "own_nets:small-3", *options, "--layers")
    refused, _, err = call("show", "own_nets:small-3", *options, "--set", "options.skpi=false")

    assert code == 0
    assert re.search(r"^convs +3 Conv2d +4x2x4 +432 +6,912$", out, re.MULTILINE)
    assert re.search(r"^convs.2 +Conv2d +4x2x4 +144 +2,304$", layers, re.MULTILINE)
    assert out.splitlines()[-1].split() == layers.splitlines()[-1].split()
    assert "own_nets:small, depth 3" in root.joinpath("nets.svg").read_text(encoding="utf-8")
    assert (refused, err.count("\n")) == (2, 1)
    assert "options.skpi: own_nets:small has no such option; did you mean skip?" in err


def test_show_draws_nets_side_by_side(call, root):
    """Several nets are shown below each other, and --diagram draws them into one file."""
    code, out, _ = call("show", "cifar-plain-56", "cifar-resnet-56", "--diagram", "nets.svg")

    assert code == 0
    assert out.count("853,018") == 2
    assert out.splitlines()[0] == "cifar-plain-56"
    drawn = (root / "nets.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<svg")
    assert "cifar-plain-56" in drawn
    assert "cifar-resnet-56" in drawn


@pytest.fixture
def quick(monkeypatch):
    """Keep the device's rates from being measured, which takes seconds."""
    monkeypatch.setattr(
        roofline,
        "measure",
        lambda _, precision: roofline.Rate(precision=precision, copy_bytes_per_s=1e10, flops_per_s=1e11),
    )


@pytest.mark.parametrize(
    ("arguments", "nets"),
    [
        ("tiny", ["cifar-8 plain", "cifar-14 plain"]),
        (
            "cifar-plain-8 cifar-resnet-8 --set width=4 --batch 4 --input 1x8x8",
            ["cifar-plain-8, width 4", "cifar-resnet-8, width 4"],
        ),
    ],
)
@pytest.mark.usefixtures("quick")
def test_profile_prints_tables_and_writes_a_page(call, root, arguments, nets):
    """A study's nets, or networks, are profiled: tables on the terminal, a record, a page that says how it was made."""
    name = "tiny" if arguments == "tiny" else "cifar-plain-8-cifar-resnet-8"

    code, out, err = call("profile", *arguments.split(), "--steps", "1")

    assert code == 0, err
    assert out.index("by the clock") < out.index("KIND ") < out.index("LAYER ") < out.index("A step of ")
    for net in nets:
        assert re.search(rf"^{net} +[\d.]+ ", out, re.MULTILINE)
        assert f"{net}, by kind of work:" in out
    page = root / "reports" / f"profile-{name}" / "index.html"
    assert out.endswith(f"reports/profile-{name}/index.html\nall reports: reports/index.html\n")
    assert "deeptwins profile " in page.read_text(encoding="utf-8")
    profile = profiles.read(root / "results" / "profile" / f"{name}.json")
    assert {*profile.command.split()} == {"deeptwins", "profile", *arguments.split(), "--steps", "1"}
    assert [step.net for step in profile.nets] == nets
    assert str(root) not in (root / "results" / "profile" / f"{name}.json").read_text(encoding="utf-8")


def test_profile_shows_timings(call, root):
    """With --timings no network is named: timings of several benches are stored and printed, on the page of each."""
    files = {"throughput": throughput_made.grid(), "choices": choices_made.all_of_them()}
    options = []
    for name, benchmarks in files.items():
        root.joinpath(f"{name}.json").write_text(json.dumps({"benchmarks": benchmarks}), encoding="utf-8")
        options += ["--timings", f"{name}.json"]

    code, out, err = call("profile", *options)

    assert (code, err) == (0, "")
    assert "all nets together" in out
    assert out.index("reports/throughput/index.html") < out.index("reports/choices/index.html")
    assert out.endswith("reports/choices/index.html\nall reports: reports/index.html\n")
    for name, benchmarks in files.items():
        stored = json.loads((root / "results" / name / "timings.json").read_bytes())
        assert stored == json.loads(json.dumps({"benchmarks": benchmarks}))
    assert not (root / "results" / "profile").exists()


def test_timings_that_make_no_sense_replace_none_that_do(call, root):
    """They are refused in one line before anything is written, even where those of another bench are sound."""
    good, bad = root / "good.json", root / "bad.json"
    good.write_text(json.dumps({"benchmarks": throughput_made.grid() + choices_made.all_of_them()}), encoding="utf-8")
    call("profile", "--timings", str(good))
    stored = {path: path.read_bytes() for path in root.joinpath("results").rglob("*.json")}
    assert len(stored) == 2

    for benchmarks, message in (
        (
            [{"fullname": "bench/bench_commands.py::bench_help"}],
            "no timing by bench_throughput, bench_packing, bench_choices; write it with",
        ),
        ([*throughput_made.grid(), choices_made.packed(ratio=-1.0)], "extra_info.ratio: input should be greater"),
        ([*choices_made.all_of_them(), throughput_made.case()], "no timing of all nets together"),
    ):
        bad.write_text(json.dumps({"benchmarks": benchmarks}), encoding="utf-8")
        code, out, err = call("profile", "--timings", str(bad))

        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1
        assert {path: path.read_bytes() for path in root.joinpath("results").rglob("*.json")} == stored


def test_an_interrupted_profile_is_quiet(call, monkeypatch):
    """Ctrl-C while steps are timed is exit code 130 without a traceback, and leaves nothing behind."""
    monkeypatch.setattr(roofline, "measure", mock.Mock(side_effect=KeyboardInterrupt))

    code, out, err = call("profile", "cifar-plain-8")

    assert (code, out) == (130, "")
    assert err.endswith("deeptwins: interrupted\n")
    assert "Traceback" not in err


def test_doctor_tells_what_is_here(call):
    """`doctor` names the device, the versions, the datasets and the studies."""
    code, out, err = call("doctor")

    assert (code, err) == (0, "")
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in re.sub(r"\n  +", " ", out).splitlines())
    assert max(map(len, out.splitlines())) <= 80
    assert re.fullmatch(r"[\d.]+ on \d+ cores in the last minute; (busy: .*|quiet enough .*)", rows["load"])
    assert re.fullmatch(r"[\d.]+ GiB where results/ lies", rows["free disk"])
    assert rows["bf16"] in {"native", "imitated, slowly", "not known"}
    assert rows["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert rows["torch"] == torch.__version__
    assert rows["fused op eager"] == "can run"
    assert {key for key in rows if key.startswith("fused op ")} == {f"fused op {name}" for name in IMPLEMENTATIONS}
    assert rows["dataset digits"] == "inside scikit-learn"
    assert rows["studies"] == "tiny"


def test_doctor_looks_at_own_datasets(call, tmp_path):
    """`doctor folder:PATH` says how many images there are, and what is left out; a slip is one line."""
    for name in ("train/ant/0.png", "train/ant/._0.png", "train/bee/2.png", "test/ant/1.png"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).touch()

    code, out, err = call("doctor", f"folder:{tmp_path}/own")

    assert (code, err) == (0, "")
    assert "2 images for training, 1 for test; left out: 1 hidden (such as train/ant/._0.png)" in " ".join(out.split())
    assert call("doctor", "folder:missing")[0] == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
@pytest.mark.parametrize("name", [*sorted(PAGES.keys() - {"study"}), "profile-tiny", "diff-tiny"])
def test_a_study_takes_no_page_of_another_kind(call, root, name):
    """A study whose page would lie where another kind of page does is refused before anything is trained or written."""
    made.load(root / "ablations", TINY, "tiny").path.rename(root / "ablations" / f"{name}.toml")

    for command in ("run", "report"):
        code, _, err = call(command, name)
        assert code == 2
        assert re.fullmatch(r".*: .* this name; rename the study's file\n", err)
    assert not Path("results").exists()


def test_triton_without_a_device_is_one_line(call, root, monkeypatch):
    """A study that asks for Triton's kernels where they cannot run is refused in one line that says what to do."""
    operator = pytest.importorskip("deeptwins.kernels.bn_relu_add.operator", reason="needs Triton")
    monkeypatch.setattr(operator, "INTERPRETED", False)
    code, out, err = call("run", "tiny", "--device", "cpu", "--set", "recipe.fused_op=triton")

    assert code == 2
    assert out.endswith("loading PyTorch, to train on the CPU\n")
    assert err.startswith("deeptwins: ablations/tiny.toml: fused_op = 'triton': ")
    assert err.endswith("set TRITON_INTERPRET=1\n")
    assert err.count("\n") == 1
    assert not (root / "results").exists()


def test_an_output_that_is_not_utf_8_is_no_error(root, monkeypatch):
    """A character that the terminal cannot show is a question mark, not a traceback."""
    made.load(root / "ablations", TINY.replace("Does it work?", "Does it work \u2713"), "tiny")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    process = python("-m", "deeptwins", "list", cwd=root)
    out, err = process.communicate()

    assert (process.returncode, err) == (0, "")
    assert "Does it work ?\n" in out


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["report"]])
def test_a_reader_who_leaves_ends_no_command(root, arguments):
    """When nobody reads on (`deeptwins list | head -1`), there is no traceback, and the exit code is the command's."""
    process = python("-m", "deeptwins", *arguments, cwd=root)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()

    assert (process.wait(), err[:33]) == (
        (2, "deeptwins: results: no results of") if arguments == ["report"] else (0, "")
    )


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("number", "module"), [(number, "typer") for number in signals.STOPPING] + [(2, "torch.version")]
)
def test_a_signal_ends_a_command_while_it_is_imported(root, number, module):
    """From its first moment on, and while PyTorch is loaded: in one line, with the exit code of every interrupt."""
    (root / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Signalling:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == '{module}' and 'deeptwins' in sys.orig_argv: os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Signalling())\n"
    )
    process = python("-m", "deeptwins", "run", "tiny", cwd=root, extra=root)

    out, err = process.communicate()
    assert (out != "", err) == (module != "typer", "deeptwins: interrupted\n")
    assert process.returncode == 130
    assert not (root / "results").exists()


@pytest.mark.parametrize("streams", [{"close_fds": True, "preexec_fn": lambda: os.closerange(0, 3)}])
def test_streams_that_are_closed_are_no_error(root, streams):
    """Without standard input, output and error a command does what it does."""
    process = subprocess.Popen([sys.executable, "-m", "deeptwins", "list"], cwd=root, **streams)

    assert process.wait() == 0


def test_records_of_a_real_run_are_counted(call, root):
    """The whole way: a study is trained, its runs are listed as done, and training it again trains nothing."""
    code, out, err = call("run", "tiny", "--device", "cpu", "--workers", "1")

    assert (code, err) == (0, "")
    assert re.findall("^cifar-[0-9]+-seed0", out, re.MULTILINE) == ["cifar-14-seed0", "cifar-8-seed0"]
    assert all(records.status(records.read(path)) == "done" for path in (root / "results" / "tiny").glob("*.jsonl"))
    assert "2 of 2 runs done" in call("list")[1]
    assert "2 of 2 runs were finished before" in call("run", "tiny")[1].splitlines()
