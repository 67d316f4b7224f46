"""The page and the text of a diff: what they say of two sources."""

import functools
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import made
from deeptwins.errors import InputError
from deeptwins.pages.diff import facts, figures, tables, text, words
from deeptwins.pages.diff.page import PAGE
from deeptwins.pages.page import write

WIDE = 80

pytestmark = pytest.mark.slow


def level(add=0.0, spread=0.0):
    """Errors that lie higher by so much in the plain twin, and by so much more a seed."""
    return lambda run, twin: made.level(run, twin) + (add + spread * run.seed if twin == "plain" else 0.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the study `small` and its results, and results of it in other folders; the working directory."""
    folder = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("ablations").mkdir()
        study = made.small(Path("ablations"))
        made.results(Path(), study)
        made.results(Path("higher"), study, level(20, 0.5))
        made.results(Path("wavering"), study, level(0, 5))
        for run in study.runs:
            lines = made.records(run, diverged=("plain",)) if run.seed == 1 else made.records(run)
            if run.seed < 2:
                made.write(Path("lost/results"), run, lines)
            if run.seed == 0:
                made.write(Path("single/results"), run, made.records(run, level(1)))
        for name, changed in (
            ("longer", ("iterations = 240", "iterations = 480")),
            ("elsewhere", ('"digits"', '"fashion-mnist"')),
        ):
            content = Path("ablations/small.toml").read_text(encoding="utf-8").replace(*changed)
            made.results(Path(), made.load(Path("ablations"), content, name), level(20, 0.5))
        yield folder


@functools.cache
def loaded(a, b):
    """The facts of two sources, read once."""
    return facts.load(a, b, Path("results"))


@pytest.mark.parametrize(
    ("b", "answer"),
    [
        ("small", "Errors and losses of all 4 nets that A and B share are the same to the bit, in 3 seeds."),
        ("small@higher/results", "2 of 4 nets are apart in training error; 2 the same to the bit."),
        (
            "small@wavering/results",
            "No net is apart in training error: 2 within seeds and 2 the same to the bit.",
        ),
        ("small@lost/results", "No net is apart in training error: 2 the same to the bit and 2 not judged."),
        ("small@single/results", "No net is apart in training error: 2 the same to the bit and 2 not judged."),
        ("longer", "1 of 4 nets is apart in training error; 3 within seeds."),
    ],
)
def test_the_answer_counts_what_became_of_nets(root, b, answer):
    """It says how many nets are apart, within seeds, the same to the bit, and not judged."""
    assert words.answer(loaded("small", b)) == answer


def test_a_single_net_of_one_seed_cannot_be_judged(root):
    """Where nothing can be judged the answer says why."""
    content = Path("ablations/small.toml").read_text(encoding="utf-8")
    one = content.replace("depth = [20, 56]", "depth = 20").replace("seed = [0, 1, 2]", "seed = 0")
    for name, add in (("one", 0), ("other", 1)):
        alone = one.replace(made.TWINS, made.TWINS.splitlines()[0])
        made.results(Path(), made.load(Path("ablations"), alone, name), level(add))

    assert words.answer(loaded("one", "other")) == "Whether A and B are apart cannot be judged: one seed."
    assert words.answer(loaded("one", "one")).startswith(
        "Errors and losses of the one net that A and B share are the same"
    )


def test_other_data_are_said_first(root):
    """Errors on other images do not measure the same: the answer begins with it, and a caution names both."""
    found = loaded("small", "elsewhere")

    assert words.answer(found).startswith("Trained on different data. ")
    assert words.cautions(found) == [
        "A was trained on digits, B on fashion-mnist: their errors do not measure the same."
    ]


def test_other_code_is_said(root):
    """That the sides were made by different code of a part of one's own is a caution; the same code is none."""
    for at, digit in (("one", "1"), ("other", "2")):
        study = made.load(Path("ablations"), Path("ablations/small.toml").read_text(), "small")
        for run in study.runs:
            first, *rest = made.records(run)
            part = {"package": "mypkg", "version": None, "sha256": digit * 64, "commit": None}
            made.write(Path(at), run, [first | {"parts": {"mypkg.a:one": part}}, *rest])

    assert words.cautions(loaded("small@one", "small@one")) == []
    (caution,) = words.cautions(loaded("small@one", "small@other"))
    assert caution.endswith("mypkg was changed between runs (6 by 1111111, 6 by 2222222).")


def test_runs_that_have_not_finished_are_said(root):
    """A side that is not complete says so."""
    assert words.cautions(loaded("small", "small@lost/results")) == ["B is not complete: 4 of 6 runs have finished."]


def test_only_fields_that_differ_are_listed(root):
    """A field has a row where the sides differ in it: with the values of both."""
    assert tables.fields(loaded("small", "small@higher/results")) == []
    rows = tables.fields(loaded("small", "longer"))
    assert [(row.key, row.a, row.b) for row in rows] == [("iterations", "240 (240.0 epochs)", "480 (480.0 epochs)")]


def test_twins_in_another_order_are_the_same_nets(root):
    """The order of twins is a field; what each of them is, is none that differs."""
    content = Path("ablations/small.toml").read_text(encoding="utf-8")
    twins = "\n".join(reversed(made.TWINS.splitlines()))
    made.results(Path(), made.load(Path("ablations"), content.replace(made.TWINS, twins), "turned"))

    rows = tables.fields(loaded("small", "turned"))

    assert {row.key for row in rows} == {"twins"}


def test_sources_that_share_no_net_say_what_they_have(root):
    """A line names the twins, depths and seeds of both."""
    made.results(Path(), made.small(Path("ablations"), twins="wide = { width = 32 }\n", name="wide"))

    with pytest.raises(InputError, match=r"A has plain, residual of cifar 20, 56, seeds 0 to 2, B has wide of cifar"):
        loaded("small", "wide")


@pytest.mark.parametrize(
    ("a", "b", "difference", "shown"),
    [
        (0.44, 0.56, 0.12, ("0.44", "0.56", "+0.12")),
        (0.0, 72.94, 72.94, ("0.0", "72.9", "+72.9")),
        (50.06, 50.04, -0.02, ("50.06", "50.04", "-0.02")),
        (1.0, 1.0, 0.0, ("1.0", "1.0", "0.0")),
    ],
)
def test_numbers_beside_each_other_add_up(a, b, difference, shown):
    """The difference is that of the errors as they are written, with a further decimal where it takes one."""
    row = {"mean_a": a, "mean_b": b, "difference": difference, "verdict": "inconclusive"}

    assert tables.errors(row) == shown


def test_why_a_difference_is_none_stands_in_its_cell(root):
    """Beside an interval that excludes 0, a net that is not apart has the corrected p, and the text a footnote."""
    found = loaded("small", "small@wavering/results")
    row = {
        "result": "within seeds",
        "verdict": "inconclusive",
        "low": 1.0,
        "high": 5.0,
        "p_holm": 0.2,
        "same": 0,
        "n": 3,
    }

    assert tables.result(row, found.found) == "within seeds, corrected p 0.200"
    assert tables.corrected(row)
    assert not tables.corrected(row | {"low": -1.0})
    assert not tables.corrected(row | {"verdict": "agree"})


@pytest.mark.parametrize("b", ["small", "small@higher/results", "small@lost/results", "longer", "elsewhere"])
@pytest.mark.parametrize("columns", [40, WIDE, 120])
def test_the_text_fits_a_terminal_and_begins_with_the_answer(root, b, columns):
    """Tables are no wider than the terminal, and words where it is narrow; all that differs is in it."""
    found = loaded("small", b)
    lines = text.lines(found, columns)

    in_columns = [line for line in lines if "   " in line.strip()]
    assert max(map(len, in_columns), default=0) <= columns
    assert (columns >= WIDE) == bool(in_columns)
    assert " ".join(lines).startswith(words.answer(found))
    assert any(line.startswith("TRAINING ERROR (%)") for line in lines)
    assert all(any(line.startswith(field.key) for line in lines) for field in tables.fields(found))


def test_long_names_are_wrapped(root):
    """Twins with the longest names, and settings, still fit 80 columns."""
    names = [f"{letter}" * 60 for letter in "ab"]
    twins = "\n".join(f"{name} = {{ width = {8 + i} }}" for i, name in enumerate(names))
    grid = '[[vary]]\nfamily = "cifar"\ndepth = 1001\nseed = [0, 1]\nwarmup = [5, 9]\n'
    made.results(Path(), made.small(Path("ablations"), twins, grid, name="long"))
    found = loaded("long", "long")

    assert max(len(line) for line in text.lines(found, WIDE) if "   " in line.strip()) <= WIDE


def test_the_page_has_all_parts(root, tmp_path):
    """The page of two sources that differ has its figures, tables and data, and the command that makes it again."""
    written = write(PAGE, tmp_path, "small", "small@higher/results", Path("results"))
    page, folder = written.page.read_text(encoding="utf-8"), written.page.parent

    assert folder.name.startswith("diff-small-small-higher-results-")
    for part in ("Net by net", "Trends over depth", "Differences between the twins", "Provenance"):
        assert f"{part}</h2>" in page
    assert "deeptwins diff small small@higher/results --results results" in page
    assert {path.stem for path in folder.glob("*.svg")} == {"errors", "differences"}
    data = {path.stem for path in folder.joinpath("data").iterdir()}
    assert data == {"nets", "errors", "trends", "effects", "numbers"}


def test_two_diffs_have_two_pages(root):
    """Other sources, and the same the other way round, are another folder; a long name is cut, and still its own."""
    found = loaded("small", "small")

    def name(a, b):
        return PAGE.name(replace(found, a=replace(found.a, name=a), b=replace(found.b, name=b)))

    pairs = [("a", "b"), ("b", "a"), ("a+recipe.shift=1", "b"), ("a@x/y", "b"), ("a@x-y", "b"), ("a" * 99, "b")]

    names = [name(*pair) for pair in pairs]
    assert len({*names}) == len(pairs)
    assert names[0] == "diff-a-b"
    assert all(re.fullmatch(r"diff-[\w.-]{3,100}", name) for name in names)


def test_one_depth_is_drawn_in_rows(root):
    """Nets of one depth have a row each, with a dot per side; the figure is told in words."""
    content = Path("ablations/small.toml").read_text(encoding="utf-8").replace("depth = [20, 56]", "depth = 20")
    made.results(Path(), made.load(Path("ablations"), content, "flat"))

    picture = figures.errors(loaded("flat", "small").found)

    assert "cifar, plain: A 8." in picture.alt
    assert "B 8." in picture.alt
    assert [text.get_text() for text in picture.figure.axes[0].get_yticklabels()] == [
        "plain of cifar 20",
        "residual of cifar 20",
    ]
    assert len(picture.figure.marks) == 4


def test_names_of_others_are_escaped(root, tmp_path):
    """A folder's name cannot put a tag on the page, or a sign of control on the terminal."""
    folder = Path("<b>x\x1b")
    shutil.copytree("results", folder)

    written = write(PAGE, tmp_path, "small", f"small@{folder}", Path("results"))

    page = written.page.read_text(encoding="utf-8")
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page
    assert "\x1b" not in page
    shutil.rmtree(folder)


@pytest.mark.parametrize(("b", "numbers"), [("small", 0), ("small@higher/results", 2), ("small@lost/results", 2)])
def test_each_twin_has_the_number_that_carries_the_answer(root, b, numbers):
    """Where the sides differ a twin has the difference of a net that can be judged; where all is the same, none."""
    shown = PAGE.numbers(loaded("small", b))

    assert len(shown) == numbers
    assert [number.label for number in shown] == ["plain", "residual"][:numbers]
    if b == "small@higher/results":
        assert [number.value for number in shown] == ["+20.5 points", "same to the bit"]
