"""A study that extends another: its file has what it changes. Tables are merged key by key, lists are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deeptwins.errors import InputError, choices, line, shown
from deeptwins.study import places, toml
from deeptwins.study.places import FOLDER
from deeptwins.study.specs import LONGEST_TEXT

EXTENDS, WITHOUT = "extends", "without"
KEYS = {
    EXTENDS: {
        "type": "string",
        "minLength": 1,
        "description": (
            "The study that this one changes, by name or by the path of its file. This file then has what is"
            " different: tables are merged key by key; lists, `[[vary]]`, `[[expect]]` and `[[paper]]` among them,"
            " are replaced."
        ),
    },
    WITHOUT: {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "uniqueItems": True,
        "description": (
            "Keys of the extended study that are left out: `scale`, `recipe.warmup`, or the twin `twins.plain`."
        ),
    },
}
"""The JSON schema of the keys that only such a study has."""

TomlTable = dict[str, Any]


def merged(path: Path, folder: Path = FOLDER) -> tuple[TomlTable, list[Path]]:
    """Read a study file with all that it extends, directly or through others.

    Args:
        path: of the file.
        folder: where studies are looked for by name, after the folder of the file that names them.

    Returns:
        What the files say together, and the files that are extended, the nearest first.

    Raises:
        InputError: a file cannot be read, extends what is not there or itself, or leaves out what is not there.
    """
    files, changes = [path], []
    while True:
        content = toml.read(files[-1])
        name, without = content.pop(EXTENDS, None), content.pop(WITHOUT, None)
        _check(files[-1], name, without)
        changes.append((files[-1], without or [], content))
        if name is None:
            break
        files.append(_base(name, files, folder))
    _, _, whole = changes.pop()
    for file, without, content in reversed(changes):
        for key in without:
            _drop(whole, key, file)
        whole = _merge(whole, content)
    return whole, files[1:]


def _check(path: Path, name: object, without: object) -> None:
    if name is not None and not (isinstance(name, str) and name):
        raise InputError(f"{path}: {EXTENDS} = {shown(name)}: should be the name of a study, or the path of its file")
    if without is not None and name is None:
        raise InputError(f"{path}: {WITHOUT}: of no use without {EXTENDS}")
    if without is not None and not (isinstance(without, list) and all(isinstance(key, str) for key in without)):
        raise InputError(f"{path}: {WITHOUT} = {shown(without)}: should be a list of keys, such as recipe.warmup")


def _base(name: str, files: Sequence[Path], folder: Path) -> Path:
    """Find what the last file extends: beside it, else as every study is found. A file's own name is another's."""
    path = files[-1]
    said = f"{path}: {EXTENDS} = {shown(name)}"
    looked = {} if name.endswith(".toml") else places.known(path.parent, folder)
    if name.endswith(".toml"):
        candidates = [path.parent / name]
    elif name == path.stem:  # changes the study of the same name that it hides
        candidates = [file for place in (folder, places.SHIPPED) if (file := place / f"{name}.toml").is_file()]
    elif name in looked:
        candidates = [looked[name]]
    else:
        raise InputError(f"{said}: no such study in {places.where(path.parent, folder)}; {choices(looked, name)}")
    try:
        there = [file for file in candidates if not file.samefile(path)]
    except (FileNotFoundError, ValueError):  # a name may have what no name of a file has
        raise InputError(f"{said}: no such file: {line(candidates[0], LONGEST_TEXT)}") from None
    except OSError as error:
        raise InputError(f"{said}: {error.strerror}") from None
    if not there:
        raise InputError(f"{said}: the study extends itself")
    if any(there[0].samefile(file) for file in files):
        circle = " -> ".join(line(file.name) for file in [*files, there[0]])
        raise InputError(f"{said}: the studies extend each other: {circle}")
    return there[0]


def _drop(content: TomlTable, key: str, path: Path) -> None:
    """Leave out a key, given with the tables that it is in."""
    names = key.split(".")
    table: Any = content
    for i, name in enumerate(names):
        if not isinstance(table, dict) or name not in table:
            there = f"; {choices(table, name)}" if isinstance(table, dict) and table else ""
            raise InputError(f"{path}: {WITHOUT}: {shown(key)} is not in the extended study{there}")
        if i + 1 == len(names):
            del table[name]
        else:
            table = table[name]


def _merge(base: TomlTable, change: TomlTable) -> TomlTable:
    """Merge two tables: the keys of the first keep their order, new ones follow."""
    whole = dict(base)
    for key, value in change.items():
        old = base.get(key)
        whole[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return whole
