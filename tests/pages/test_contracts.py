"""What holds for every kind of page: those of `PAGES`, and the one that CONTRIBUTING adds as its worked example."""

import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pages_made
import reading
from deeptwins import pages
from deeptwins.cli.pages import PAGES, spec_of
from deeptwins.pages import saving
from deeptwins.pages.colours import PLAIN, RESIDUAL
from deeptwins.pages.listing import write_index
from deeptwins.pages.page import HTML, PageSpec, Written, write
from deeptwins.pages.wording import minus
from reading import Outline, titles

NEEDLESS = ("torch", "triton", *(f"deeptwins.{folder}" for folder in ("data", "kernels", "nets", "train", "profile")))

# By kind: a figure, the data that it draws, which rows of them, and what it says of each.
TOLD = {
    "diff": [
        (
            "errors",
            "errors",
            "metric == 'train_error_pct'",
            "{side}, {twin} of {family} {depth}: {mean:.1f} %, 95 % interval {low:.1f} to {high:.1f}, {n} seeds",
        ),
        (
            "differences",
            "nets",
            "metric == 'train_error_pct'",
            "{twin} of {family} {depth}: B - A {difference:+.1f} points, 95 % interval {low:.1f} to {high:.1f}: apart",
        ),
    ],
    "study": [
        (
            "error-by-depth",
            "by_depth",
            "metric == 'train_error_pct'",
            "{twin}, depth {depth}: training error {mean:.1f} %, 95 % interval {low:.1f} to {high:.1f}, {n} seeds",
        ),
        (
            "error-by-depth",
            "final",
            "seed >= 0",
            "{twin}, depth {depth}, seed {seed}: training error {train_error_pct:.1f} %",
        ),
        (
            "learning-curves",
            "curves",
            "depth > 0",
            "{twin}, depth {depth}, iteration {iteration:,}: test error {test_error_pct:.1f} %",
        ),
        (
            "learning-curves",
            "curves",
            "depth > 0",
            "{twin}, depth {depth}, iteration {iteration:,}: training error {train_error_pct:.1f} %",
        ),
        (
            "gap-by-depth",
            "comparisons",
            "metric == 'train_error_pct'",
            "{twin} \N{MINUS SIGN} {other}, depth {depth}: {difference:+.1f} points",
        ),
    ],
    "kernels": [
        ("registers", "kernels", "registers > 0", "{kernel}, "),
        (
            "traffic",
            "sites",
            "site == 'join'",
            "join, {implementation}: {bytes_per_element_forward:g} bytes per element forward",
        ),
        ("floors", "floors", "site == 'join'", "join, {device}, {shape}: {total_us:,.1f} microseconds"),
        ("roofline", "timings", "gb_per_s > 0", "{implementation}, {direction}, {site}, {shape}, {dtype}, {layout}: "),
        ("roofline", "timings", "gb_per_s > 0", "{gb_per_s:,.0f} GB/s, {over_eager:.2f} times as fast as eager"),
    ],
    "profile": [
        ("kinds", "kinds", "kind == 'convolution'", "{net}, convolution: "),
        ("layers", "layers", "time_us > 0", "{net}, layer "),
    ],
    "throughput": [
        ("by-depth", "cases", "way == 'alone'", "{twin}, depth {depth:g}, {precision}: "),
        (
            "ways",
            "ways",
            "net_iterations_per_s > 0",
            "{precision}: {net_iterations_per_s:,.1f} net-iterations per second",
        ),
    ],
    "choices": [
        ("packing", "packing", "ratio > 0", "{ratio:.2f} times as fast, quartiles {ratio_q1:.2f} to {ratio_q3:.2f}"),
        ("choices", "choices", "ms > 0", "{choice} {value:,}"),
    ],
    "performance": [
        ("ratios", "ratios", "pairs > 0", "95 % interval"),
        ("history", "history", "place >= 0", "{commit:.12}"),
        ("self-test", "self-test", "fine > 0", "no slowdown in {fine} of {runs} runs"),
        ("sensitivity", "controls", "pairs > 0", "A/A run: "),
    ],
    "speed": [("products", "rates", "flops_per_s > 0", "{precision}: ")],
}
OF_TWINS = {
    "diff": {"errors.svg", "differences.svg"},
    "study": {"error-by-depth.svg", "branches.svg", "layer-responses.svg", "running-statistics.svg"},
    "profile": {"kinds.svg", "layers.svg"},
    "throughput": {"by-depth.svg"},
}

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Made:
    """A page of some kind, written twice from the same results."""

    kind: str
    spec: PageSpec[Any]
    one: Written[Any]
    two: Written[Any]


def texts(written: Written[Any]) -> dict[str, str]:
    """The files of a page, by name."""
    folder = written.page.parent
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes().decode() for path in paths}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Add the worked example to the package; returns the folder that it lies in."""
    folder = tmp_path_factory.mktemp("package")
    pages_made.add_example(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "__path__", [*pages.__path__, str(folder)])
        for kind, module in pages_made.EXAMPLE.items():
            patch.setitem(PAGES, kind, module)
        yield folder


@pytest.fixture(scope="module", params=list(pages_made.KINDS))
def made(request, example, tmp_path_factory):
    """A kind's page; the working directory is where its results lie."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pages_made.RESULTS[request.param](folder)
        spec = spec_of(request.param)
        (source,) = pages_made.NAMED.get(request.param) or spec.find(Path("results"))
        umask = os.umask(0o022)
        try:
            one, two = (write(spec, folder / name, *source) for name in ("one", "two"))
        finally:
            os.umask(umask)
        yield Made(request.param, spec, one, two)


def test_the_same_results_give_the_same_page(made):
    """Written twice, no byte of any file differs, and none names a place on this machine."""
    one, two = texts(made.one), texts(made.two)

    assert {"index.html", "report.md", "summary.json"} <= one.keys()
    assert one == two
    assert [name for name, text in one.items() if str(made.one.page.parents[2]) in text] == []


def test_a_page_is_readable_to_all(made):
    """It says its language, figures what they are, tables of what; nothing comes from elsewhere; all may read files."""
    text = texts(made.one)["index.html"]
    outline = Outline(text)

    assert '<html lang="en"' in text
    assert outline.names().count("h1") == outline.names().count("main") == 1
    assert text.count("<caption>") == text.count("<table") > 0
    assert all("scope" in attrs for tag, attrs in outline.tags if tag == "th")
    assert all(attrs["role"] == "img" for tag, attrs in outline.tags if tag == "svg")
    assert not {"script", "img", "iframe"} & {*outline.names()}
    assert [attrs["href"][:5] for tag, attrs in outline.tags if tag == "link"] == ["data:"]
    assert "@import" not in outline.text
    folder = made.one.page.parent
    for path in [folder, *folder.rglob("*")]:
        assert oct(path.stat().st_mode & 0o777) == ("0o755" if path.is_dir() else "0o644"), path


def test_what_a_page_names_is_there(made):
    """Files and headings that it links are there, and the list of pages, in HTML and Markdown; its commands in both."""
    files = texts(made.one)
    outline = Outline(files["index.html"])
    names = {
        "index.html": [link for link in outline.links() if not link.startswith(("#", "data:"))],
        "report.md": re.findall(r"\]\(([^)]*)\)", files["report.md"]),
    }

    assert {link[1:] for link in outline.links() if link.startswith("#")} == {
        attrs["id"] for tag, attrs in outline.tags if tag == "h2"
    }
    for name, links in names.items():
        lists, *others = sorted(links)
        assert lists == f"../index{Path(name).suffix}"
        assert others
        assert {*others} <= {*files}
        for command in made.spec.commands(made.one.facts).lines:
            assert f"{command}\n" in unescape(files[name])


def test_every_picture_is_told_in_words_and_every_table_is_in_the_data(made):
    """A figure has a title that describes it, also beside its file; the tables behind the page lie beside it."""
    files = texts(made.one)
    told = titles(files["index.html"])
    figures = [name for name in files if name.endswith(".svg")]
    ours = {name for name in files if name.endswith((".svg", ".csv"))}
    tables = {name: table for name, table in made.spec.data(made.one.facts).items() if len(table)}

    assert saving._ours(made.one.page.parent) == ours  # which its next version may remove
    assert len(told) == files["index.html"].count("<svg") == len(figures) > 0
    assert all(len(title) > len("a figure of something") for title in told)
    assert all(len(titles(files[name])) == 1 for name in figures)
    assert {name for name in files if name.startswith("data/")} == {f"data/{name}.csv" for name in tables}
    for name, table in tables.items():
        assert files[f"data/{name}.csv"].splitlines()[0] == ",".join(table.columns)
        assert f"{name}.csv" in files["report.md"]


def test_a_pointer_shows_what_every_mark_is(made):
    """On the page and in its files a figure's marks say what they show: whose it is, and the value that the CSV has."""
    files = texts(made.one)
    pictures = [picture for section in made.spec.sections(made.one.facts) for picture in section.pictures]
    marked = [picture for picture in pictures if picture.name != "nets"]  # a diagram, of no values
    told = {picture.name: reading.told(files[f"{picture.name}.svg"]) for picture in marked}

    assert reading.told(files["index.html"]) == [words for picture in marked for words in told[picture.name]]
    assert all(told.values())
    for name, table, asked, words in TOLD[made.kind]:
        rows = (
            pd.read_csv(io.StringIO(files[f"data/{table}.csv"]), dtype={"commit": str}).query(asked).to_dict("records")
        )
        assert rows
        for row in rows:
            assert [said for said in told[name] if minus(words.format(**row)) in said], words.format(**row)


def test_every_picture_names_its_data(made):
    """Every CSV that a figure draws lies beside it, also where a pointer shows values of several."""
    files = texts(made.one)
    pictures = [picture for section in made.spec.sections(made.one.facts) for picture in section.pictures]

    for picture in pictures:
        told = {table for name, table, *_ in TOLD[made.kind] if name == picture.name}
        assert {*picture.data} >= told, picture.name
        assert picture.data
        assert all(f"data/{name}.csv" in files for name in picture.data), picture.name


def test_hues_of_plain_and_residual_mean_nothing_else(made):
    """Where no twin is drawn, neither hue is."""
    drawn = {name: text.lower() for name, text in texts(made.one).items() if name.endswith(".svg")}
    hues = {name: {hue for hue in (PLAIN, RESIDUAL) if hue in text} for name, text in drawn.items()}

    assert hues == {name: {PLAIN, RESIDUAL} if name in OF_TWINS.get(made.kind, ()) else set() for name in hues}


def test_the_index_lists_a_page(made):
    """The list of all pages links it, with its question."""
    page = made.one.page

    index = write_index(page.parents[1]).read_text(encoding="utf-8")

    assert f'href="{page.parent.name}/index.html"' in index
    assert made.spec.size(made.one.facts) in index


def test_a_browser_finds_nothing(made, look, tmp_path):
    """Valid HTML, one request; axe-core finds nothing, light and dark; all is whole and legible at 390 px and on A4."""
    names = HTML.get_template("nav.html.j2").render(before="long-name" * 9, after="long-name" * 9)
    page = tmp_path / "index.html"
    page.write_text(saving.NAV.sub(names, made.one.page.read_text(encoding="utf-8")), encoding="utf-8")

    found = look(page)

    del found["height"]
    assert found.pop("requests") == ["index.html"]
    assert found.pop("wide_1280") == found.pop("wide_390") == 0
    assert {name: what for name, what in found.items() if what} == {}


def test_pages_need_nothing_that_trains(example):
    """A fresh interpreter that loads all declarations loads neither torch nor a folder of ours that computes."""
    code = (
        "import sys, deeptwins.pages; from deeptwins.cli.pages import PAGES, spec_of;"
        "deeptwins.pages.__path__.append(sys.argv[1]); PAGES |= dict(kind.split('=') for kind in sys.argv[2:]);"
        "[spec_of(kind) for kind in PAGES]; print(*sys.modules)"
    )
    kinds = [f"{kind}={module}" for kind, module in pages_made.KINDS.items()]

    done = subprocess.run(  # noqa: S603  our own code
        [sys.executable, "-c", code, str(example), *kinds], capture_output=True, text=True, check=True
    )

    loaded = done.stdout.split()
    assert {*pages_made.KINDS.values()} <= {*loaded}
    assert [name for name in loaded if name.startswith(NEEDLESS)] == []


def test_every_kind_of_page_is_tested_here():
    """Whoever adds a kind of page says in `pages_made.RESULTS` how to make results for one."""
    assert pages_made.RESULTS.keys() == pages_made.KINDS.keys()
