"""Commands that documents name can be typed: they exist, and so do their options, studies and environments of tox."""

import configparser
import re
import shlex
from functools import cache

import pytest
import typer.main

from deeptwins.cli import app
from deeptwins.study import networks
from places import ROOT

DOCUMENTS = sorted(
    str(path.relative_to(ROOT)) for where in ("*.md", "docs/*.md", "reports/**/*.md") for path in ROOT.glob(where)
)
ENVIRONMENTS = configparser.ConfigParser(interpolation=None)
ENVIRONMENTS.read(ROOT / "tox.ini", encoding="utf-8")
STUDIES = {path.stem for path in ROOT.glob("ablations/*.toml")}
NAMES = STUDIES | {
    *networks.NAMES,
    "plain-order",
    "weighted",
    "residual-path.toml",
}  # some that documents write


def commands(text):
    """Yield the commands of deeptwins and tox in a document, and whether a block has them, which can be copied.

    In a block, two spaces or a # begin what explains a command, and a shell may do more on its line.
    """
    fenced = r"^```(\w*)\n(.*?)^```$"
    blocks = "\n".join(body for language, body in re.findall(fenced, text, re.DOTALL | re.MULTILINE) if not language)
    prose = re.sub(fenced, "", text, flags=re.DOTALL | re.MULTILINE)
    blocks += "\n" + "\n".join(re.findall(r"^ {4}(.*)$", prose, re.MULTILINE))
    spans = re.findall(r"`([^`]+)`", re.sub(r"^ {4}.*$", "", prose, flags=re.MULTILINE))
    for whole, lines in ((True, blocks.splitlines()), (False, [" ".join(span.split()) for span in spans])):
        for line in lines:
            for part in re.split(r" (?:&&|\||;|>) ", re.split("  | #", line.strip())[0]):
                command = re.sub(r"^(?:git bisect run )?(?:\.venv/bin/)?(?=(?:deeptwins|tox)\b)", "", part)
                if re.match(r"deeptwins |tox( |$)", command):
                    yield command, whole


@cache
def parser():
    """The command line, which returns what it has read instead of doing it."""

    def read_only(command):
        command.callback = lambda **values: values
        for parameter in command.params:
            parameter.callback = None  # `--install-completion` would install it
        for part in getattr(command, "commands", {}).values():
            read_only(part)

    command = typer.main.get_command(app.build())
    read_only(command)
    return command


def expanded(command):
    """What tox runs for a command, if that is deeptwins.

    Raises:
        KeyError: tox has no such environment.
    """
    words, _, rest = command.partition(" -- ")
    name = re.search(r" -e (\S+)", words)
    if name is None or re.fullmatch(r"py3\d+", name[1]):
        return None
    runs = ENVIRONMENTS[f"testenv:{name[1]}"].get("commands", "")
    passed = re.sub(r"{posargs:?([^}]*)}", lambda usual: rest or usual[1], runs)
    return passed if passed.startswith("deeptwins") and "\n" not in passed else None


def known(name):
    """Whether a study or network is one that ships, or that documents write."""
    return name in NAMES or networks.OWN.fullmatch(name)


def faults(command, *, whole):
    """Yield what is wrong with a command."""
    if command.startswith("tox"):
        try:
            command = expanded(command)
        except KeyError as error:
            yield f"no environment {error}"
            return
    if command is None:
        return
    words = [re.sub(r"^N$", "1", re.sub(r"\|.*", "", word)) for word in shlex.split(command)[1:] if word != "..."]
    try:
        read = parser()(words, prog_name="deeptwins", standalone_mode=False)
    except Exception as error:  # noqa: BLE001  click's classes, or typer's own copy of them
        # In a sentence, a command may stand for all that begins so.
        if whole or type(error).__name__ != "MissingParameter":
            yield f"{type(error).__name__}: {error}"
    else:
        named = [*(read.get("names") or []), *(read.get("studies") or [])] if isinstance(read, dict) else []
        yield from (f"no study or network {name}" for name in named if name.islower() and not known(name))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_command_that_a_document_names_can_be_typed(document):
    """Every command line of deeptwins and tox is read without fault, and names studies and environments that exist."""
    text = ROOT.joinpath(document).read_text(encoding="utf-8")

    assert not [(command, fault) for command, whole in commands(text) for fault in faults(command, whole=whole)]


def test_what_documents_tell_to_run_beside_commands_is_there():
    """Files in bench/, steps of bench/gpu.sh and parts of the torture that documents name exist; none is left out."""
    texts = [ROOT.joinpath(document).read_text(encoding="utf-8") for document in DOCUMENTS]
    script = ROOT.joinpath("bench/gpu.sh").read_text(encoding="utf-8")
    torture = ROOT.joinpath("tests/torture/__main__.py").read_text(encoding="utf-8")
    files = {path for text in texts for path in re.findall(r"\bbench/\w+\.\w+\b", text)}
    steps = {
        name for text in texts for names in re.findall(r"bench/gpu\.sh((?: [a-z]+)+)", text) for name in names.split()
    }
    parts = {
        part.partition(":")[0]
        for text in texts
        for words in re.findall(r"tox -e torture --((?: [-\w.:]+)+)", text)
        for part in re.sub(r" --\w+ \S+", "", words).split()
    }

    assert files
    assert not {path for path in files if not ROOT.joinpath(path).is_file()}
    assert steps == {*re.search(r'^steps="(.*)"', script, re.MULTILINE)[1].split()}
    assert parts == {*re.findall(r'"(\w+)":', re.search("^GOALS = .*", torture, re.MULTILINE)[0])}


def test_the_readme_lists_the_studies():
    """The README's table of studies has all that `deeptwins list` shows without --all."""
    text = ROOT.joinpath("README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| study \| question \|\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE)

    assert {*re.findall(r"`([\w-]+)`", table)} == {name for name in STUDIES if not name.endswith("-cifar10")}
