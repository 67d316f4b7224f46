"""The house: which folders there are, how large they may grow, and that a name has one meaning."""

import ast
import re
import tomllib
from collections import defaultdict

import pytest

from places import ROOT

PACKAGE = ROOT / "src" / "deeptwins"
FOLDERS = {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE}
MOST = 13  # files: a folder that outgrows it is two families


def folders_of_the_contract():
    """The folders that the import contract names, row by row."""
    contracts = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    rows = next(contract["layers"] for contract in contracts["contracts"] if contract["type"] == "layers")
    return {name for row in rows for name in row.split(" | ")}


def definitions(path):
    """Yield the public classes and type aliases of a module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id[0].isupper() and not target.id.isupper():
                yield target.id


def test_the_package_is_what_the_contract_names():
    """Nothing lies at the top of the package but what the import contract has a row for."""
    top = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}

    assert top - {"__init__", "__pycache__"} == folders_of_the_contract()


@pytest.mark.parametrize("folder", sorted(FOLDERS), ids=lambda folder: str(folder.relative_to(PACKAGE)))
def test_a_folder_stays_a_family(folder):
    """No folder has more than thirteen files of its own."""
    assert len(list(folder.glob("*.py"))) <= MOST


def test_tests_mirror_the_folders():
    """A folder of tests is one of the package, but for what tests share, those of the repository, and the torture."""
    tests = {path.parent.relative_to(ROOT / "tests") for path in ROOT.glob("tests/*/**/*.py")}

    others = {str(path) for path in tests if not PACKAGE.joinpath(path).is_dir()}

    assert others == {"made", "project", "torture", "torture/shims"}


def test_a_name_has_one_meaning():
    """A public class or type alias is defined once in the package."""
    places = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in definitions(path):
            places[name].append(str(path.relative_to(PACKAGE)))

    several = {name: paths for name, paths in places.items() if len(paths) > 1}

    assert not several


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))])
def test_a_file_that_a_document_names_is_there(document):
    """Python files that a document names, whole or from a folder on, are in the repository."""
    named = set(re.findall(r"`([\w/.]+\.py)`", ROOT.joinpath(document).read_text(encoding="utf-8")))
    there = [path for folder in ("src", "bench", "tests") for path in ROOT.joinpath(folder).rglob("*.py")]

    assert not {name for name in named if not any(f"/{path.relative_to(ROOT)}".endswith(f"/{name}") for path in there)}
