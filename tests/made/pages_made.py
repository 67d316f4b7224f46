"""Results for a page of every kind, and the page that CONTRIBUTING adds as its worked example."""

import re
from pathlib import Path

import choices_made
import gate_results_made
import kernel_timings_made
import kernels_made
import made
import profiles_made
import throughput_made
from deeptwins.cli.pages import PAGES
from deeptwins.pages.choices import numbers as choices
from deeptwins.pages.kernels import timings
from deeptwins.pages.throughput import numbers as throughput
from deeptwins.records import kernels, profiles, tables
from places import ROOT


def study(folder):
    """Write a study of two depths, and its records."""
    folder.joinpath("ablations").mkdir()
    made.results(folder, made.small(folder / "ablations"))


def two(folder):
    """Write two studies, and their records."""
    study(folder)
    made.results(folder, made.small(folder / "ablations", name="other"), lambda run, twin: made.level(run, twin) + 9)


def compiled(folder):
    """Write the metrics of compiled kernels, and timings."""
    tables.write(kernels.path_of(folder / "results"), kernels_made.compiled())
    cases = kernel_timings_made.three()
    kernel_timings_made.written(folder, *cases).replace(timings.BENCHES.path_of(folder / "results"))


def profile(folder):
    """Write a profile of two nets."""
    record = profiles_made.made()
    tables.write(profiles.path_of(folder / "results", record.name), record)


def grid(folder):
    """Write timings of throughput."""
    kept = throughput.BENCHES.path_of(folder / "results")
    kept.parent.mkdir(parents=True)
    throughput_made.written(folder, *throughput_made.grid()).replace(kept)


def chosen(folder):
    """Write timings of packing and of choices."""
    kept = choices.BENCHES.path_of(folder / "results")
    kept.parent.mkdir(parents=True)
    choices_made.written(folder, *choices_made.all_of_them()).replace(kept)


def performance(folder):
    """Write runs of the gate."""
    gate_results_made.every_kind(folder / "results")


def example():
    """Read CONTRIBUTING's worked example of a page: its path in the package, its code, its line of `PAGES`."""
    text = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
    pattern = r"`src/deeptwins/(pages/\w+/page\.py)`:\n\n```python\n(.*?)```.*?```python\n(.*?)```"
    return re.search(pattern, text, re.DOTALL).groups()


PATH, CODE, LINE = example()
EXAMPLE = eval("{" + LINE + "}")  # noqa: S307  our own text
KINDS = PAGES | EXAMPLE
RESULTS = {
    "study": study,
    "diff": two,
    "kernels": compiled,
    "profile": profile,
    "throughput": grid,
    "choices": chosen,
    "performance": performance,
    **dict.fromkeys(EXAMPLE, profile),
}
"""By kind of page, what writes results for one such page into a folder."""
NAMED = {"diff": [("small", "other", Path("results"))]}
"""The arguments of `load` of kinds that a folder of results does not find by itself: a user names them."""


def add_example(folder: Path) -> None:
    """Write the worked example where `deeptwins.pages`, once `folder` is on its path, finds it as its own."""
    path = folder / Path(PATH).relative_to("pages")
    path.parent.mkdir(parents=True)
    path.parent.joinpath("__init__.py").write_text("", encoding="utf-8")
    path.write_text(CODE, encoding="utf-8")
