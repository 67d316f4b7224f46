"""Figures of many depths and many twins: all of their text can be read, at whatever size of study."""

import itertools
import warnings
from types import SimpleNamespace

import pandas as pd
import pytest
from matplotlib.text import Text

from deeptwins.pages import drawing
from deeptwins.pages.study import figures
from deeptwins.pages.study.inside import figures as inside_figures

pytestmark = pytest.mark.slow

PICTURES = {
    "error": lambda nets: figures.error_by_depth(
        nets.assign(metric="train_error_pct", mean=nets["value"], low=nets["value"] - 1, high=nets["value"] + 1),
        nets.assign(train_error_pct=nets["value"]),
    ),
    "curves": lambda nets: figures.learning_curves(
        pd.concat(
            nets.assign(iteration=at, train_error_pct=nets["value"], test_error_pct=nets["value"] + 1) for at in (1, 9)
        )
    ),
    "gap": lambda nets: figures.gap_by_depth(
        nets[nets["twin"] != nets["twin"][0]].assign(
            metric="train_error_pct", difference=nets["value"], low=nets["value"] - 1, high=nets["value"] + 1, other="a"
        )
    ),
    "gap of one depth": lambda nets: figures.gap_by_twin(
        nets[nets["twin"] != nets["twin"][0]]
        .drop_duplicates(["group", "twin"])
        .assign(
            metric="train_error_pct", difference=nets["value"], low=nets["value"] - 1, high=nets["value"] + 1, other="a"
        ),
        nets,
    ),
    "drift": lambda nets: figures.drift(
        pd.concat(
            nets[nets["twin"] != nets["twin"][0]].assign(
                iteration=at, other=nets["twin"][0], median=at / 1e3, largest=at / 5e2, between_seeds=at / 1e2
            )
            for at in (1, 9)
        ),
        nets,
    ),
    "branches": lambda nets: inside_figures.branches(
        SimpleNamespace(
            twins=tuple(nets["twin"].unique()),
            branches=pd.concat(nets.assign(block=at, branch_share=nets["value"] / at) for at in (1, 9)),
        )
    ),
}


def made(depths, twins, name="twin-{}", families=("cifar",)):
    """Return the nets of a study, a row each, with a value."""
    names = [name.format(i) for i in range(twins)]
    rows = itertools.product(families, names, range(8, 6 * depths + 3, 6))
    nets = pd.DataFrame(rows, columns=["group", "twin", "depth"])
    return nets.assign(n=3, seed=0, value=nets["depth"] * (0.1 + 0.04 * nets["twin"].map(names.index)))


def crowded(figure):
    """Name the texts of a figure that overlap, or that leave it."""
    with drawing.styled():
        figure.draw_without_rendering()
    unseen = [
        label
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for at, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
        if not min(axis.get_view_interval()) <= at <= max(axis.get_view_interval())
    ]
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and text not in unseen]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    whole = figure.bbox.padded(1)
    beyond = [name for name, box in boxes if not (whole.contains(*box.min) and whole.contains(*box.max))]
    return beyond + [(a, b) for (a, one), (b, other) in itertools.combinations(boxes, 2) if touch(one, other)]


def touch(one, other):
    """Whether two boxes share more than a pixel."""
    return all(min(one.max[i], other.max[i]) - max(one.min[i], other.min[i]) > 1 for i in range(2))


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize(("depths", "twins"), [(2, 12), (8, 2), (9, 7), (30, 2)])
def test_all_text_can_be_read(picture, depths, twins):
    """No text of a figure overlaps another or leaves the figure, and matplotlib has nothing to warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = PICTURES[picture](made(depths, twins)).figure
        assert not crowded(figure)


@pytest.mark.parametrize("picture", PICTURES)
def test_names_may_be_long_and_of_any_script(picture):
    """The longest names, two families, and letters that matplotlib's font lacks: the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nets = made(4, 3, "a-very-long-name-of-a-twin-" + "x" * 31 + "-{}", ("cifar", "cifar, dataset 數據"))
        assert not crowded(PICTURES[picture](nets).figure)


def test_many_twins_have_panels_and_many_depths_a_bar():
    """Few lines share a panel and are named at their ends; of many, each twin has one, and a bar tells the depths."""
    few, many = (PICTURES["branches"](made(5, twins)).figure for twins in (2, 3))
    assert [len(figure.axes) for figure in (few, many)] == [1, 3 + 1]
    for picture in ("error", "gap", "drift"):
        most = drawing.MOST_TWINS + (picture != "error")  # one fewer difference than twins
        assert [len(PICTURES[picture](made(1, twins)).figure.axes) for twins in (most, most + 1)] == [
            1,
            drawing.MOST_TWINS + 1,
        ]
    assert "#000000" not in PICTURES["branches"](made(5, 3)).svg  # all ink is the page's own
    assert "<image" not in PICTURES["curves"](made(51, 2)).svg  # of which a picture would have a fixed colour
    ends = [PICTURES["curves"](made(depths, 2)).figure for depths in (drawing.MOST_DEPTHS, drawing.MOST_DEPTHS + 1)]
    assert [len(figure.axes[0].texts) for figure in ends] == [drawing.MOST_DEPTHS, 0]
    assert [len(figure.axes) for figure in ends] == [2, 2 + 1]


def test_twins_stand_nearer_to_their_depth_than_to_the_next():
    """Lines of a panel are moved aside so that intervals do not hide each other, but never as far as half a depth."""
    nets = made(30, drawing.MOST_TWINS)
    (ax,) = PICTURES["error"](nets).figure.axes

    aside = [
        abs(x - depth) for line in ax.get_lines() for x, depth in zip(line.get_xdata(), range(8, 183, 6), strict=True)
    ]
    assert 0 < max(aside) < 3
