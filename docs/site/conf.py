"""The site: the documents and the generated pages, with search. `tox -e site` lays them out as in the repository."""

# ruff: noqa: INP001  Sphinx reads this file by its path.
import os

from sphinx.application import Sphinx

pages = os.environ["SITE_PAGES"]  # the folder that holds both

project = "deeptwins"
extensions = ["myst_parser"]
root_doc = "index"  # which has the README in it
exclude_patterns = [
    "README.md",
    "docs/site",
    "reports/reference/index.html",  # index.md is the same list
]
myst_heading_anchors = 4  # levels of headings that links may name
highlight_language = "none"

html_theme = "furo"
html_title = "deeptwins"
html_extra_path = [pages]  # the generated pages as they are: standalone HTML, figures and their data
html_copy_source = False
html_show_copyright = False
html_permalinks_icon = "#"


def setup(app: Sphinx) -> None:
    """Tell Sphinx what to do with each document that it reads."""
    app.connect("source-read", link_to_the_page)


def link_to_the_page(_app: Sphinx, name: str, text: list[str]) -> None:
    """Let a report's text link, below its title, to its HTML page, which lies beside it."""
    if name.endswith("/report"):
        text[0] = text[0].replace("\n\n", '\n\n<a href="index.html">As one HTML page</a>\n\n', 1)
