"""What a pointer shows of a figure's marks, without script: shapes without colour, each with its words as `<title>`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from deeptwins.pages import wording

POINT, DOT, LINE = 6.0, 3.5, 7.0  # the radius of points and dots, and the width of lines, in points
STYLE = ".marks :hover{stroke:currentColor;stroke-opacity:.4}"


class Tooltip(NamedTuple):
    """What is told of a place in a figure."""

    ax: Axes
    places: Any
    """(N, 2), in the data's units: one point, two corners of a bar, or the points of a line."""
    words: str
    shape: str
    """One of `SHAPES`."""


SHAPES = ("line", "bar", "point", "dot")  # those named later lie above


class Canvas(Figure):
    """A figure that keeps the words that a pointer shows for its marks."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  matplotlib's
        super().__init__(*args, **options)
        self.marks: list[Tooltip] = []


def tell(ax: Axes, x: ArrayLike, y: ArrayLike, words: Iterable[str], shape: str = "point") -> None:
    """Say what each of several points shows.

    Args:
        ax: where they are drawn.
        x: to the right, one per point; or the same for all.
        y: upwards, as `x`.
        words: one text per point.
        shape: `point`, or `dot` where many lie close.
    """
    texts = list(words)
    across, up = (np.broadcast_to(np.asarray(values, float), len(texts)) for values in (x, y))
    for at, text in zip(np.stack([across, up], 1), texts, strict=True):
        _add(ax, at[None], text, shape)


def tell_line(ax: Axes, x: ArrayLike, y: ArrayLike, words: str) -> None:
    """Say what a line shows."""
    _add(ax, np.stack([np.asarray(x, float), np.asarray(y, float)], 1), words, "line")


def tell_upright(ax: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, words: Iterable[str]) -> None:
    """Say what each of several upright intervals shows."""
    for at, text in zip(np.stack([np.asarray(part, float) for part in (x, low, high)], 1), words, strict=True):
        tell_line(ax, at[[0, 0]], at[1:], text)


def tell_bar(ax: Axes, x: tuple[float, float], y: tuple[float, float], words: str) -> None:
    """Say what a bar shows, between its left and right and its lower and upper end."""
    _add(ax, np.stack([x, y], 1), words, "bar")


def _add(ax: Axes, places: Any, words: str, shape: str) -> None:  # noqa: ANN401  an array
    figure = ax.get_figure()
    if not isinstance(figure, Canvas):
        raise TypeError(f"{type(figure).__name__}: marks are told on a figure of drawing.canvas")
    if np.isfinite(places).all(1).any():
        figure.marks.append(Tooltip(ax, places, words, shape))


def overlay(figure: Figure) -> str:
    """Return the marks of a figure that was drawn as SVG, in points from its upper left; empty where there are none."""
    marks = sorted(getattr(figure, "marks", ()), key=lambda mark: SHAPES.index(mark.shape))
    if not marks:
        return ""
    width, height = 72 * figure.get_size_inches()
    size = np.array([width, -height]) / figure.bbox.size
    shapes = [
        _shape(mark, mark.ax.transData.transform(mark.places[np.isfinite(mark.places).all(1)]) * size + (0, height))
        for mark in marks
    ]
    return f'<g class="marks" fill="none" pointer-events="all">\n{"".join(shapes)}</g>\n'


def _shape(mark: Tooltip, at: Any) -> str:  # noqa: ANN401  an array
    """Write a mark at places in points."""
    title = f"<title>{escape(wording.minus(mark.words), quote=False)}</title>"
    if mark.shape == "line":
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        return f'<path d="M{path}" stroke-width="{LINE:g}" pointer-events="stroke">{title}</path>\n'
    if mark.shape == "bar":
        (left, top), (right, low) = at.min(0), at.max(0)
        box = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{low - top:.1f}"'
        return f"<rect {box}>{title}</rect>\n"
    ((x, y),) = at
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{POINT if mark.shape == "point" else DOT:g}">{title}</circle>\n'
