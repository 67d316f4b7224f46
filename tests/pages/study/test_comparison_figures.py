"""The figure of a study of one depth."""

from xml.etree import ElementTree as ET

import pandas as pd
import pytest

import made
from deeptwins.findings import comparisons, derive
from deeptwins.findings.rows import Difference, ErrorSummary, table
from deeptwins.pages import colours
from deeptwins.pages.study import figures

TWO_FAMILIES = (
    '[[vary]]\nfamily = "cifar"\ndepth = 20\nseed = [0, 1]\n[[vary]]\nfamily = "imagenet"\ndepth = 18\nseed = [0, 1]\n'
)
STUDIES = {
    "two twins": made.asked("ab"),
    "nine twins": made.asked("abcdefghi"),
    "one seed": made.asked("ab", seeds=1),
    "two families": made.load_text(f"[twins]\na = {{}}\nb = {{ width = 8 }}\n{TWO_FAMILIES}"),
}


def drawn(study, level=made.level):
    """The picture of a made-up study, and the table behind it."""
    last = made.last(study, level)
    final = derive.final(last)
    summary = table(ErrorSummary, derive.by_depth(final, 20))
    return figures.errors_by_twin(summary, final), summary


@pytest.mark.parametrize("study", STUDIES)
def test_any_study_of_one_depth_can_be_drawn(study):
    """Few twins or many, one seed or three, one family or two: the figure is well-formed SVG, with all twins named."""
    picture, summary = drawn(STUDIES[study])

    root = ET.fromstring(picture.svg)  # noqa: S314 - our own

    words = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {*summary["twin"], "training", "test"} <= words


def test_a_row_per_twin_and_a_mark_per_error():
    """Each twin has its row, from the first at the top, and in it the means of training, filled, and test, hollow."""
    picture, summary = drawn(STUDIES["two twins"])

    (ax,) = picture.figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    marks = [line for line in ax.get_lines() if len(line.get_xdata())]
    means = summary[summary["metric"] != "running_error_pct"].set_index(["twin", "metric"])["mean"]
    for line in marks:
        metric = "test_error_pct" if line.get_markerfacecolor() == "none" else "train_error_pct"
        twin = "ab"[round(line.get_ydata()[0])]
        assert line.get_xdata()[0] == means[twin, metric]
        assert line.get_color() == colours.OTHERS["ab".index(twin)]
    assert len(marks) == 4


def test_each_family_has_a_panel():
    """Two families stand side by side, with the twins named once and errors on the same scale."""
    picture, _ = drawn(STUDIES["two families"], lambda run, twin: 90.0 if run.twins[twin].depth == 20 else 1.0)

    axes = picture.figure.axes
    assert [ax.get_title(loc="left") for ax in axes] == ["cifar", "imagenet"]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert {ax.get_xscale() for ax in axes} == {"function"}


def test_errors_alike_have_a_plain_scale():
    """Where errors do not differ by much, the scale is linear, and nothing is cut off."""
    picture, summary = drawn(STUDIES["two twins"], lambda run, twin: 20.0 + run.seed)

    (ax,) = picture.figure.axes
    assert ax.get_xscale() == "linear"
    assert ax.get_xlim()[0] == 0
    assert ax.get_xlim()[1] > summary["high"].max()


def test_a_row_per_pair_in_the_hue_of_its_first_twin():
    """Differences of one depth are drawn pair by pair, in the hue that the twin has in the figure of errors."""
    study = made.asked("abc", claims='[[expect]]\ntwin = "c"\nabove = "b"\n')
    last = made.last(study, lambda run, twin: "abc".index(twin) * 10.0 + run.seed)
    final = derive.final(last)
    compared = table(Difference, comparisons.judge(study, last)[1])

    picture = figures.gap_by_twin(compared, final)

    (ax,) = picture.figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "b \N{MINUS SIGN} a",
        "c \N{MINUS SIGN} a",
        "c \N{MINUS SIGN} b",
    ]
    found = {(line.get_xdata()[0], line.get_color()) for line in ax.get_lines() if len(line.get_ydata()) == 1}
    assert found == {(10.0, colours.OTHERS[1]), (20.0, colours.OTHERS[2]), (10.0, colours.OTHERS[2])}
    assert "b \N{MINUS SIGN} a: training error +10.0 points, 95 % interval 10.0 to 10.0, 3 seeds" in picture.svg
    assert "c \N{MINUS SIGN} b: +10.0 in training, +10.0 in test" in picture.alt


def test_a_twin_has_its_hue_also_where_the_first_is_not_drawn():
    """Differences over depth leave out the first twin; the others keep the hues of the figure of errors."""
    rows = [
        {"group": "cifar", "twin": twin, "other": "a", "depth": depth, "n": 3, "metric": "train_error_pct"}
        | dict.fromkeys(("difference", "low", "high"), 1.0)
        for twin in "bc"
        for depth in (8, 20)
    ]

    (ax,) = figures.gap_by_depth(pd.DataFrame(rows)).figure.axes

    lines = {line.get_label(): line.get_color() for line in ax.get_lines()}
    assert (lines["b \N{MINUS SIGN} a"], lines["c \N{MINUS SIGN} a"]) == colours.OTHERS[1:3]
