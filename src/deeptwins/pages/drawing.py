"""Figures of pages: colours, panels, axes, legends, and the SVG that fits them to light and dark pages."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Panels = dict[str, Axes]
End = tuple[str, float, float, str, Any]  # of a line: panel, x, y, text beside it, colour

# Near Okabe and Ito's hues: told apart by the colour-blind, and at least 3:1 against white and GitHub's dark page. No
# more than five can be so: those that follow are for everyone else, and their lines are dashed.
HUES = ("#d55e00", "#2580c8", "#0a9a74", "#c06c9c", "#8a8a8a")
TWINS = (*HUES, "#8c6bd1", "#a17c00", "#1593a8", "#d0435b", "#7d8b2f")
MARKERS = ("o", "s", "^", "D", "v", "P")
# Depth is ordered, so its colours are a ramp; of one lightness, so that both ends stand out on white and on dark.
DEPTHS = ("#2580c8", "#8c6bd1", "#cc5a8e", "#d55e00")
PASSES = {"forward": HUES[1], "backward": HUES[0]}
DEPTH_NOTE = "the number at a line's end is its depth"
CHANCE = "#8a8a8a"
DASHED = (0, (3, 1.5))
LINES = ("-", DASHED, (0, (1, 1)))
DECADES = 8  # between ticks of a logarithmic axis, at most
INK = "#010203"  # stands for the page's own text colour: `svg` puts currentColor in its place
INK_LIGHT, INK_DARK = "#1f2328", "#e6edf3"  # where a page does not give one: GitHub's
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# Chosen by looking. Beyond them lines get panels of their own, a colour bar tells depths apart, and ticks are left out.
MOST_LINES = 10  # of nets, in a panel
MOST_TWINS = 6  # lines with intervals, in a panel
MOST_DEPTHS = 8  # that can stand beside the ends of lines, or along a colour bar

COLUMNS = 3  # panels side by side, at most
HEIGHTS = (3.0, 3.0, 2.2)  # of a panel, in inches, by the number of columns
LEGEND_LINE = 0.19  # inches
TITLE = 80  # characters in all titles of a row, at most: the longer ones are wrapped
TITLE_OF_THREE = 22  # in a row of three, with the gaps between panels
WIDTH = 7.6  # inches: shown at 96 px an inch the figure fills a page's column, and its text has the size it says

STYLE: Any = {
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "grid.color", "xtick.color", "ytick.color"), INK
    ),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "figure.labelsize": 9.5,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the layout is the same on every machine
    "grid.alpha": 0.15,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "deeptwins",
    "text.parse_math": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "ytick.major.size": 0,
}


@dataclass(frozen=True)
class Picture:
    """A figure on a page."""

    name: str
    """The stem of its file."""
    caption: str
    alt: str
    """What it shows in words, for who cannot see it."""
    figure: Figure
    data: str = ""
    """The stem of the CSV file under `data/` that it draws."""

    @cached_property
    def svg(self) -> Markup:
        """Its drawing."""
        return Markup(svg(self.figure, self.name, self.alt))  # noqa: S704  `svg` escapes


def read_out(rows: pd.DataFrame, keys: Sequence[str], say: Callable[[pd.DataFrame], str]) -> str:
    """Read out what a figure shows, group by group: the values of the keys, then what `say` makes of the rows."""
    groups = rows.groupby([*keys], sort=False)
    return "; ".join(f"{', '.join(map(str, names))}: {say(group)}" for names, group in groups) + "."


def svg(figure: Figure, name: str, alt: str) -> str:
    """Render a figure as standalone SVG whose ink follows the reader's light or dark mode. Same figure, same text."""
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", text)  # figures that share a page share no id
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONTS, text).replace(INK, "currentColor")
    # `svg:root` is the figure where it stands alone; inside a page it takes the page's colour.
    style = f"svg:root{{color:{INK_LIGHT}}}@media(prefers-color-scheme:dark){{svg:root{{color:{INK_DARK}}}}}"
    start, rest = text.split(">", 1)
    start += f' role="img" aria-labelledby="{name}-title" stroke-linejoin="round">'
    return f'{start}\n<title id="{name}-title">{escape(alt)}</title>\n<style>{style}</style>{rest}'


@contextmanager
def styled(**changes: object) -> Iterator[None]:
    """Draw in the project's style while this is entered; `axes__grid=False` changes its key `axes.grid`."""
    style: Any = {key.replace("__", "."): value for key, value in changes.items()}
    with mpl.rc_context({**STYLE, **style}), warnings.catch_warnings():
        # Of letters that matplotlib's font lacks; the reader's browser has them.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        yield


def canvas(height: float) -> Figure:
    """Make an empty figure as wide as a page's column, `height` inches high."""
    return Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(h_pad=0.06))


def rows(names: Sequence[str], xlabel: str, height: float) -> tuple[Figure, Axes]:
    """Lay out a row per name, from the top; the figure is `height` inches high."""
    figure = canvas(height)
    ax = figure.subplots()
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(xlabel)
    return figure, ax


def panels(
    titles: pd.Series, columns: int = COLUMNS, height: float | None = None, *, most: int = COLUMNS
) -> tuple[Figure, Panels]:
    """Lay out a panel per title, with common y, so that they can be compared. A lone panel needs no title.

    Args:
        titles: one per panel; the same one again is the same panel.
        columns: panels side by side, of which there are never more than `most`.
        height: of a panel, in inches; by default what suits the number of columns.
        most: more than the default only with a height.
    """
    names = list(dict.fromkeys(titles))
    rows = -(-len(names) // min(columns, most))
    columns = -(-len(names) // rows)  # that no row is nearly empty
    height = height or HEIGHTS[columns - 1]
    figure = canvas(height * rows + 0.3)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for ax in axes[len(names) :]:
        ax.remove()
    width = TITLE_OF_THREE if columns == COLUMNS else TITLE // columns
    for name, ax in zip(names, axes, strict=False):
        ax.set_title(textwrap.fill(name, width, break_on_hyphens=False) if len(names) > 1 else "")
    return figure, dict(zip(names, axes, strict=False))


def by_panel(axes: Panels, table: pd.DataFrame, column: str) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """Go through the panels, each with the rows of a table that have its title in a column."""
    return ((ax, table[table[column] == title]) for title, ax in axes.items())


def palette(names: pd.Series, colours: Sequence[Any]) -> dict[Any, Any]:
    """Give each name a colour, in order, and again from the first where they run out."""
    return {name: colours[i % len(colours)] for i, name in enumerate(dict.fromkeys(names))}


def styles(twins: pd.Series) -> dict[Any, dict[str, Any]]:
    """Give each twin its colour, and its line where colours alone do not tell all apart."""
    colours = palette(twins, TWINS)
    return {
        twin: {"color": colour, "linestyle": LINES[i // len(HUES) % len(LINES)]}
        for i, (twin, colour) in enumerate(colours.items())
    }


def headings(table: pd.DataFrame, *keys: str) -> pd.Series:
    """Name the panel of each row: by the last key and, before a colon, those of the others that differ between rows."""
    names = table[keys[-1]].astype(str)
    varied = [key for key in keys[:-1] if table[key].nunique() > 1]
    if not varied:
        return names
    before = table[varied].astype(str).agg(" ".join, axis="columns")
    return ("depth " if varied == ["depth"] else "") + before + ": " + names


def one_depth(table: pd.DataFrame) -> bool:
    """Tell whether each twin of a family has a single depth, so that it need not be told line by line."""
    return int(table.groupby(["group", "twin"])["depth"].nunique().max()) == 1


def points(ax: Axes, table: pd.DataFrame, y: str, aside: float = 0.0, **style: Any) -> None:  # noqa: ANN401 - matplotlib's
    """Draw a line through the means, with their intervals where there are any."""
    x = table["depth"] + aside
    ax.vlines(x, table["low"], table["high"], color=style["color"], linewidth=7, alpha=0.2)
    ax.plot(x, table[y], linewidth=1.6, markersize=5, **style)


def depth_axis(ax: Axes, depths: pd.Series) -> None:
    """Put a tick at each depth, from the deepest on, but for those whose labels would touch the one before."""
    *others, deepest = sorted(set(depths))
    grid = ax.get_subplotspec().get_gridspec()  # type: ignore[union-attr]
    room = (WIDTH / grid.ncols - 1.1) / max(1.16 * (deepest - min([*others, deepest])), 1)  # inches for one layer more
    ticks = [deepest]
    for depth in reversed(others):
        if (ticks[0] - depth) * room > 0.1 + 0.08 * len(str(ticks[0])):
            ticks.insert(0, depth)
    ax.set_xlabel("depth")
    ax.set_xticks(ticks)
    ax.margins(x=0.08)


def depth_bar(figure: Figure, axes: Panels, colours: dict[Any, Any]) -> None:
    """Draw a bar of the colours of many depths beside all panels."""
    norm = BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours))
    mappable = ScalarMappable(norm, ListedColormap([*colours.values()]))
    bar = figure.colorbar(mappable, ax=[*axes.values()], aspect=40, pad=0.02, label="depth")
    ticks = range(len(colours) - 1, -1, -len(colours) // MOST_DEPTHS)
    bar.set_ticks([*ticks], labels=[str([*colours][i]) for i in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.grid(visible=False)
    bar.outline.set_visible(False)


def iteration_axis(ax: Axes) -> None:
    """Count iterations from 0."""
    ax.set(xlabel="iteration", ylabel="", xlim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def share_axis(axes: Panels, values: NDArray[np.float64]) -> None:
    """Scale by powers of ten; where there are zeros, they get a place of their own, a decade below the rest."""
    first = next(iter(axes.values()))
    positive, zeros = values[values > 0], bool((values == 0).any())
    least, most = (np.floor(np.log10(positive.min())), np.ceil(np.log10(positive.max()))) if len(positive) else (-1, 0)
    most = max(most, least + 1)
    if zeros:
        first.set_yscale("symlog", linthresh=10.0**least)
    else:
        first.set_yscale("log")
    exponents = range(int(least), int(most) + 1, int(np.ceil((most - least) / DECADES)))
    ticks = {10.0**exponent: f"1e{exponent}" if exponent else "1" for exponent in exponents}
    ticks |= {0.0: "0"} if zeros else {}
    first.set_yticks(list(ticks), list(ticks.values()))
    first.yaxis.set_minor_locator(NullLocator())
    first.set_ylim(-0.2 * 10.0**least if zeros else 10.0**least, 10.0**most)


def error_axis(figure: Figure, axes: Panels, label: str, values: Iterable[float], *, across: bool = False) -> None:
    """Choose the scale: linear, or square roots where errors differ so much that the low ones would lie on the axis.

    It is that of y, which the panels share, or, with `across`, of x in each panel.
    """
    shown = [value for value in values if np.isfinite(value)]
    top = max(1.05 * max(shown), 0.1)
    ticks = [0.0]
    for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 100):
        if tick <= top and np.sqrt(tick) - np.sqrt(ticks[-1]) > 0.09 * np.sqrt(top):
            ticks.append(tick)
    root = top > 6 * min(shown)
    for ax in axes.values() if across else list(axes.values())[:1]:
        axis = ax.xaxis if across else ax.yaxis
        if root:
            # Unlike a logarithm, the root has room for 0 % and keeps large differences looking large.
            scale = ax.set_xscale if across else ax.set_yscale
            scale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_minor_locator(NullLocator())
        ax.set(**{"xlim" if across else "ylim": (0, top)})
    text = f"{label} (%{', square-root scale' if root else ''})"
    figure.supxlabel(text) if across else figure.supylabel(text)


def name_x_once(axes: Panels) -> None:
    """Leave the name of the x axis to the lowest panel of each column."""
    lowest = {ax.get_subplotspec().colspan.start: ax for ax in axes.values()}  # type: ignore[union-attr]
    for ax in axes.values():
        if ax not in lowest.values():
            ax.set_xlabel("")


def label_ends(figure: Figure, axes: Panels, ends: Sequence[End]) -> None:
    """Write beside each line's end; labels that would overlap are moved apart, as little as that takes."""
    figure.draw_without_rendering()  # settles where on the page the ends lie
    columns = defaultdict(list)
    for end in sorted(ends, key=lambda end: end[2]):
        columns[end[:2]].append(end)
    for (panel, x), column in columns.items():
        at = np.array([axes[panel].transData.transform((x, y))[1] * 72 / figure.dpi for _, _, y, _, _ in column])
        room = 11.0 * np.arange(len(at))  # in points; least squares with such gaps is an isotonic regression
        offsets = isotonic_regression(at - room).x + room - at
        for (_, _, y, text, colour), offset in zip(column, offsets, strict=True):
            style: dict[str, Any] = {"va": "center", "fontsize": 9, "color": colour, "annotation_clip": False}
            axes[panel].annotate(text, (x, y), (10, offset), textcoords="offset points", **style)


def legend(figure: Figure, axes: Panels, note: str = "") -> None:
    """Write one legend over all panels, at the left, in as many lines as it takes, and a note at the right."""
    handles, names = next(iter(axes.values())).get_legend_handles_labels()
    labels = [textwrap.fill(name, TITLE, break_on_hyphens=False) for name in names]
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    room = figure.bbox.width
    if note:
        blank = [Line2D([], [], linestyle="")]
        right = figure.legend(blank, [note], loc="upper right", handlelength=0, handletextpad=0)
        room -= right.get_window_extent().width
    for rows in range(1, len(labels) + 1):
        written = figure.legend(handles, labels, loc="outside upper left", ncols=-(-len(labels) // rows))
        if rows == len(labels) or written.get_window_extent().width <= room:
            figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (lines * rows - 1))
            break
        written.remove()
