"""The package: what is installed with it, what it says of itself, and where it is tested."""

import configparser
import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import deeptwins
from deeptwins import study
from deeptwins.cli import console
from places import ROOT

PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))
TOX = configparser.ConfigParser(interpolation=None)
TOX.read(ROOT / "tox.ini", encoding="utf-8")
DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def versions(text):
    """The versions of Python that a text names, as (3, 11)."""
    return {(3, int(minor)) for minor in re.findall(r"\b(?:3\.|py3)(\d\d)\b", text)}


def test_the_versions_of_python_agree():
    """Classifiers, tox, CI, the README and the lower bound name the same versions."""
    workflow = yaml.safe_load(ROOT.joinpath(".github", "workflows", "ci.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["tox"]["strategy"]["matrix"]["include"]
    (first, last) = re.search(
        r"Python \(3\.(\d+) to 3\.(\d+)\)", ROOT.joinpath("README.md").read_text(encoding="utf-8")
    ).groups()

    said = {each for name in PROJECT["project"]["classifiers"] if "Python ::" in name for each in versions(name)}

    assert min(said) == (3, 11)
    assert said == versions(TOX["tox"]["env_list"])
    assert said == {(3, minor) for minor in range(int(first), int(last) + 1)}
    assert said == {each for row in matrix if row["env"].startswith("py") for each in versions(row["python"])}
    assert all(versions(row["env"]) <= versions(row["python"]) for row in matrix)
    assert PROJECT["project"]["requires-python"] == ">=3.11"


def test_types_are_shipped():
    """Those who check their types see ours."""
    assert Path(deeptwins.__file__).with_name("py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]


def test_the_studies_are_found_in_an_empty_folder(tmp_path, monkeypatch):
    """Those of ablations/ are installed with the package: in tox's environments they are read of the wheel."""
    monkeypatch.chdir(tmp_path)

    assert {*study.known()} == {path.stem for path in ROOT.glob("ablations/*.toml")}
    assert study.load(study.find("depth-cifar10")).runs == study.load(ROOT / "ablations" / "depth-cifar10.toml").runs
    assert study.find("depth").with_name("study.schema.json").is_file()


def test_what_trains_is_an_extra():
    """The modules that a command misses with words of its own are those of the extra, and of no other requirement."""
    extras = PROJECT["project"]["optional-dependencies"]
    needed = {Requirement(text).name for text in PROJECT["project"]["dependencies"]}
    training = {DISTRIBUTIONS.get(name, name) for name in console.TRAINING}

    assert training == {Requirement(text).name for text in extras["train"]}
    assert not training & needed


def test_environments_that_need_no_training_do_without():
    """Of tox's environments those that read records have no extra; those that run studies have it."""
    extras = {name.removeprefix("testenv:"): TOX[name].get("extras") for name in TOX if name.startswith("testenv:")}

    assert {name for name, value in extras.items() if value == ""} == {"quick", "report", "site"}
    assert TOX["testenv"]["extras"] == "train"
    assert "train" in extras["types"]
    assert all(extras[name] is None for name in ("ablate", "bench", "gate", "gpu", "lowest", "torture"))
