"""Sections of a study's page: what a new figure takes."""

import re

from deeptwins.pages.page import write
from deeptwins.pages.study import figures, sections
from deeptwins.pages.study.page import PAGE
from places import ROOT
from reading import markdown


def test_a_figure_is_a_function_and_a_line(tmp_path, monkeypatch, one_depth):
    """CONTRIBUTING's example of a figure, pasted where it says, is on the page with its caption and its words."""
    text = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
    code, line = re.search(
        r"pages/study/figures\.py`:\n\n```python\n(.*?)```.*?`SECTIONS` of .*?```\n(.*?)```", text, re.DOTALL
    ).groups()
    names = {**vars(figures)}
    exec(code, names)  # noqa: S102  our own text
    (name,) = names.keys() - vars(figures).keys()
    monkeypatch.setattr(figures, name, names[name], raising=False)
    added = eval(f"({line})", vars(sections))  # noqa: S307
    monkeypatch.setattr(sections, "SECTIONS", (*sections.SECTIONS, *added))

    page = write(PAGE, tmp_path / "reports", one_depth.facts.study, one_depth.page.parents[2] / "results")

    (picture,) = added[0][1](one_depth.facts)
    assert f"\n## {added[0][0]}\n\n![{picture.alt}]({picture.name}.svg)" in markdown(page)
    assert picture.caption in markdown(page)
    assert page.page.with_name(f"{picture.name}.svg").is_file()
