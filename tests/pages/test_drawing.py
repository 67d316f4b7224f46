"""Figures: how panels are laid out."""

import pandas as pd
import pytest

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
