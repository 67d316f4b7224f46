"""Hints: a command that exists where the user stands."""

import os
import sys
from pathlib import Path

import pytest

from deeptwins.system import invocation


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to stand in, an empty PATH, and a Python that lies elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("TOX_ENV_NAME", raising=False)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    return tmp_path


def install(path):
    """Put a program somewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="ascii")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("started", "installed", "typed"),
    [
        ("deeptwins", [], "deeptwins"),
        ("{here}/bin/deeptwins", ["bin/deeptwins"], "deeptwins"),
        (".venv/bin/deeptwins", [".venv/bin/deeptwins"], ".venv/bin/deeptwins"),
        ("{here}/.venv/bin/deeptwins", [".venv/bin/deeptwins"], ".venv/bin/deeptwins"),
        (".venv/bin/deeptwins", [".venv/bin/deeptwins", "bin/deeptwins"], ".venv/bin/deeptwins"),
        ("{here}/my env/deeptwins", ["my env/deeptwins"], "'my env/deeptwins'"),
        ("{here}/src/deeptwins/__main__.py", [], "python3 -m deeptwins"),
    ],
)
def test_deeptwins_is_typed_as_it_was_started(place, monkeypatch, started, installed, typed):
    """By its name where the PATH has it, else by its path, or by Python as `python -m`."""
    for path in installed:
        install(place / path)
    monkeypatch.setattr(sys, "argv", [started.format(here=place), "list"])
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "deeptwins", "list"])

    assert invocation.here("deeptwins run depth") == f"{typed} run depth"
    assert invocation.hint("no run; `deeptwins run` makes one") == f"no run; `{typed} run` makes one"


@pytest.mark.parametrize(
    ("installed", "typed"),
    [
        ([], "tox"),
        (["bin/tox", ".venv/bin/tox"], "tox"),
        ([".venv/bin/tox"], ".venv/bin/tox"),
        (["own/tox"], "own/tox"),
    ],
)
def test_tox_is_where_it_was_installed(place, monkeypatch, installed, typed):
    """On the PATH, in the environment that README makes, or beside this Python."""
    for path in installed:
        install(place / path)
    monkeypatch.setattr(sys, "executable", str(place / "own/python"))

    assert invocation.here("tox -e bench") == f"{typed} -e bench"


@pytest.mark.parametrize(
    ("command", "typed"),
    [
        ("deeptwins run --report depth --seeds 2", ".venv/bin/tox -e ablate -- depth --seeds 2"),
        ("deeptwins report depth", ".venv/bin/tox -e report -- depth"),
        ("deeptwins report", ".venv/bin/tox -e report"),
        ("deeptwins gate --base REF", ".venv/bin/tox -e gate -- --base REF"),
        ("deeptwins list --all", ".tox/ablate/bin/deeptwins list --all"),
        ("pytest --benchmark-json=FILE", "pytest --benchmark-json=FILE"),
    ],
)
def test_under_tox_a_command_is_one_of_tox(place, monkeypatch, command, typed):
    """Where tox has an environment for it, else by its path: the PATH there is not the user's, and has tox itself."""
    program = install(place / ".tox/ablate/bin/deeptwins")
    tox = install(place / ".venv/bin/tox")
    monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), str(tox.parent)]))
    monkeypatch.setenv("TOX_ENV_NAME", "ablate")
    monkeypatch.setattr(sys, "argv", [str(program), "run"])

    assert invocation.here(command) == typed


def test_every_environment_that_hints_name_exists():
    """Those of `TOX` are sections of tox.ini."""
    text = Path(__file__).parents[2].joinpath("tox.ini").read_text(encoding="utf-8")

    assert not [name for name in invocation.TOX.values() if f"[testenv:{name}]" not in text]


@pytest.mark.parametrize(
    ("there", "typed"),
    [
        (["env/bin/pip"], "pip install 'deeptwins[train]'"),
        (["elsewhere/bin/pip"], "env/bin/python -m pip install 'deeptwins[train]'"),
        (["no pip"], "uv pip install --python env/bin/python 'deeptwins[train]'"),
        (["no pip", "env/uv-receipt.toml"], "uv tool install 'deeptwins[train]'"),
        (["env/pipx_metadata.json"], "pipx install --force 'deeptwins[train]'"),
        (["checkout/pyproject.toml", "env/bin/pip"], "pip install -e 'checkout[train]'"),
        (["pyproject.toml", "env/bin/pip"], "pip install -e '.[train]'"),
    ],
)
def test_an_extra_is_installed_where_deeptwins_is(place, monkeypatch, there, typed):
    """By pip of this environment, by uv where that has no pip, by what installs tools, or from the checkout."""
    for path in there:
        install(place / path)
    root = place / "checkout" if "checkout/pyproject.toml" in there else place
    monkeypatch.setattr(invocation, "__file__", str(root / "src/deeptwins/system/invocation.py"))
    monkeypatch.setattr(invocation, "find_spec", lambda _: None if "no pip" in there else object())
    monkeypatch.setattr(sys, "prefix", str(place / "env"))
    monkeypatch.setattr(sys, "executable", str(place / "env/bin/python"))
    monkeypatch.setenv("PATH", os.pathsep.join(str(place / path / "bin") for path in ("env", "elsewhere")))

    assert invocation.installing("train") == typed
