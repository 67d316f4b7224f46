"""The list of a suite, gate.txt: a name a line of what must be measured.

What follows a # is a comment. A name that would not be read as itself, as it has a # after a space, stands as a JSON
string. Suites that are files of one folder share its list: each reads the names of its own file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

HEAD = "# What `deeptwins gate` must measure; it writes this list with --write-list. Exit code 4: not the same.\n"
COMMENT = re.compile(r"(?:^|\s)#")  # a # inside a word is part of a name


def parse(text: str) -> list[str]:
    """Return the names of a list."""
    return [name for name in map(_name, text.splitlines()) if name]


def _name(row: str) -> str:
    try:
        name, _ = json.JSONDecoder().raw_decode(row.strip())
        if isinstance(name, str):
            return name
    except ValueError:
        pass
    return COMMENT.split(row)[0].strip()


def render(names: Iterable[str]) -> str:
    """Return the text of a list of some names."""
    rows = (name if parse(name) == [name] else json.dumps(name) for name in names)
    return HEAD + "".join(f"{row}\n" for row in rows)


def within(name: str, suite: Path) -> bool:
    """Tell whether a name belongs to a suite: an exact metric does, and a benchmark or file that lies in it."""
    file = name.split("::", maxsplit=1)[0]
    return Path(file).is_relative_to(suite) or not ("::" in name or file.endswith(".py"))
