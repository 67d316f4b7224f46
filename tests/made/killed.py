"""Kill a process that saves a page before each of its steps on files: python killed.py FOLDER exchange|move.

A line of JSON per kill: the page's files right after it, those after another page was saved, and what else lies about.
"""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

from deeptwins.pages import saving

STEPS = {"open", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"}


def page(text, *own):
    """The files of a page that has some figures and data."""
    links = "".join(f'<a href="{name}">{name}</a>' for name in own)
    return dict.fromkeys(own, text) | {"report.md": text, "index.html": f"{text} {saving.MARK} {links}"}


OLD = page("old", "a.svg", "gone.svg", "data/gone.csv", "figures/gone.pdf", "tables/gone.tex")
NEW = page("new", "a.svg", "b.svg", "data/b.csv")
USERS = dict.fromkeys(("own.svg", "data/own.csv", "notes/deep/a.svg", ".new-notes.txt", ".whole-1/a"), "mine")


def contents(folder):
    """The files of a folder, and their text, but for those of folders that the saving itself makes."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(name): (folder / name).read_text() for name in names if not saving.OWN.fullmatch(name.parts[0])}


def save(folder, files):
    """Save a page whose files are text."""
    saving.save(folder, {name: text.encode() for name, text in files.items()})


def refuse(*_folders):
    """Stand in for a file system that exchanges no folders."""
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def killed(folder, step):
    """Save a page in another process that is killed before a step; whether it came so far."""
    left = [step]

    def count(event, _arguments):
        if event in STEPS:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

    child = os.fork()
    if not child:
        sys.addaudithook(count)
        save(folder, NEW)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def main(place, how):
    """Kill before every step."""
    if how == "move":
        saving._rename_exchange = refuse
    reports, step, going = Path(place), 0, True
    while going:
        save(reports / "page", OLD)
        for name, text in USERS.items():
            (reports / "page" / name).parent.mkdir(parents=True, exist_ok=True)
            (reports / "page" / name).write_text(text)
        going = killed(reports / "page", step)
        right_after = contents(reports / "page")
        save(reports / "other", OLD)
        names = {path.name for path in (*reports.iterdir(), *(reports / "page").iterdir())}
        left = [name for name in names if saving.OWN.fullmatch(name)]
        sys.stdout.write(json.dumps([right_after, contents(reports / "page"), left]) + "\n")
        shutil.rmtree(reports)
        step += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
