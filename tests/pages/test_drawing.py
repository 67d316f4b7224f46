"""Figures: how panels are laid out."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins.pages import drawing


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 11])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 7, 12])
def test_every_title_has_a_panel(number, columns):
    """However many panels are asked for side by side, there is one per title: at most three in a row, of many four."""
    titles = [f"panel {i}" for i in range(number)]
    figure, axes = drawing.panels(pd.Series([*titles, *titles]), columns)

    assert list(axes) == titles
    assert len(figure.axes) == number
    most = 4 if number == 12 else 3
    assert max(ax.get_subplotspec().get_gridspec().ncols for ax in axes.values()) <= min(columns, most)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("residual-unnormalized of depth 20", ["residual-unnormalized", "of depth 20"]),
        ("my.transformers:make_with_path: plain", ["my.transformers:make_", "with_path: plain"]),
        ("x" * 25, ["x" * 22, "xxx"]),
        ("", [""]),
    ],
)
def test_titles_break_between_words(text, lines):
    """A path that no line holds breaks after one of its signs; what has no sign, where the line ends."""
    assert drawing.wrapped(text, 22).split("\n") == lines


@given(text=st.text(" ab.:_/-", max_size=60), width=st.integers(1, 30))
def test_no_line_of_a_title_is_too_long(text, width):
    """Whatever the text: no line is wider than asked, and no letter is lost."""
    lines = drawing.wrapped(text, width).split("\n")

    assert max(map(len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_no_label_lies_on_the_axis():
    """The labels beside lines that end at 0 stand above the line of the x axis, each above the one before."""
    figure, axes = drawing.panels(pd.Series(["one"]))
    ax = axes["one"]
    ax.set(xlim=(0, 1), ylim=(0, 100))

    drawing.label_ends(figure, axes, [("one", 1.0, 0.0, f"{i} %", "C0") for i in range(3)])

    heights = [label.get_window_extent().y0 for label in ax.texts]
    assert heights == sorted(heights)
    assert heights[0] >= ax.bbox.y0
