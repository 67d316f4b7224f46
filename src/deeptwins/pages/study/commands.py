"""How a study is named: the commands that make its page again, and the folder of the page."""

from __future__ import annotations

import hashlib
import re
import shlex

from deeptwins.findings.frames import Frames
from deeptwins.pages.page import Commands
from deeptwins.study import Study, known, ships


def commands(study: Study, frames: Frames) -> Commands:
    """Write the commands that make the page of a study."""
    seeds = int(frames.runs["seed"].max()) + 1  # there may be records of more seeds than asked for
    if seeds > max(run.seed for run in study.runs) + 1:
        study = study.model_copy(update={"seeds": seeds})
    name = words(study)
    lines = (f"deeptwins run {name}", f"deeptwins report {name}")
    if not ships(study.path):
        return Commands("With deeptwins installed:", lines)
    where = "In a clone of the repository. The first line does what the other two do, in an environment of its own."
    return Commands(where, (f"tox -e ablate -- {name}", *lines))


def words(study: Study) -> str:
    """Return what to write after `deeptwins run` or `deeptwins report` to get this study, its settings and seeds."""
    parts = [study.name if _found(study) else str(study.path)]
    parts += [part for setting in study.settings for part in ("--set", setting)]
    if study.seeds is not None:
        parts += ["--seeds", str(study.seeds)]
    return shlex.join(parts)


def folder(study: Study) -> str:
    """Name the folder of the page: another recipe is another page, e.g. `depth-shift-0`; more seeds are not."""
    if not study.settings:
        return study.name
    text = "-".join(sorted({setting.removeprefix("recipe.").replace("=", "-", 1) for setting in study.settings}))
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-")[:60]
    if slug != text:  # then two texts may have the same slug
        slug += "-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{study.name}-{slug}"


def _found(study: Study) -> bool:
    """Tell whether the command line finds the study by its name alone."""
    found = known().get(study.name)
    return found is not None and found.resolve() == study.path.resolve()
