"""Parts of one's own: those of docs/parts.md, and modules that a test writes."""

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from places import ROOT

TEXT = ROOT.joinpath("docs/parts.md").read_text(encoding="utf-8")
CODE = "\n\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
NAMED = dict(re.findall(r'^    (\w+) = "(mypkg\.parts:\w+)"$', TEXT, re.MULTILINE))
"""The examples of the page: the name by the field that takes it."""
(STUDY,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)

_FOLDER = TemporaryDirectory(prefix="deeptwins-parts-")


def write(folder, text=CODE, name="mypkg.parts"):
    """Write a module into a folder."""
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def install():
    """Let `mypkg.parts` be found, as the page has it."""
    if _FOLDER.name not in sys.path:
        write(Path(_FOLDER.name))
        sys.path.append(_FOLDER.name)


@contextmanager
def forgotten():
    """Forget, before and afterwards, the modules of tests, `own...` and `mypkg...`, and where they were found."""
    path, kept = [*sys.path], {}
    for name in [name for name in sys.modules if name.startswith(("own", "mypkg"))]:
        kept[name] = sys.modules.pop(name)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.startswith(("own", "mypkg"))]:
            del sys.modules[name]
        sys.modules.update(kept)
