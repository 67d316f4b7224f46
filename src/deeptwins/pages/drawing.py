"""Figures of pages: their style, panels and legends; as SVG for light and dark pages, and in the formats of papers."""

from __future__ import annotations

import io
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
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
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text
from scipy.optimize import isotonic_regression

from deeptwins.errors import escaped
from deeptwins.pages import marks, wording
from deeptwins.pages.colours import INK
from deeptwins.pages.marks import Canvas

Panels = dict[str, Axes]
End = tuple[str, float, float, str, Any]  # of a line: panel, x, y, text beside it, colour

INK_LIGHT, INK_DARK = "#1f2328", "#e6edf3"  # where a page does not give one: GitHub's
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
DPI = 300  # of a figure that a paper takes as PNG
# What names the day or the program is left out: the same figure, the same bytes.
METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}

# Chosen by looking. Beyond them lines get panels of their own, a colour bar tells depths apart, and ticks are left out.
MOST_LINES = 10  # of nets, in a panel
MOST_TWINS = 6  # lines with intervals, in a panel
MOST_DEPTHS = 8  # that can stand beside the ends of lines, or along a colour bar

COLUMNS = 3  # panels side by side, at most; of many, one more
MANY = 9
HEIGHTS = (3.0, 3.0, 2.2, 1.8)  # of a panel, in inches, by the number of columns
LEGEND_LINE = 0.19  # inches
ABOVE_AXIS = 6.0  # points from the axis to the middle of a label beside a line's end
TITLE = 80  # characters in all titles of a row, at most: the longer ones are wrapped
TITLE_OF_THREE = 22  # in a row of three, with the gaps between panels
WIDTH = 7.6  # inches: shown at 96 px an inch the figure fills a page's column, and its text has the size it says

STYLE: Any = {
    "axes.facecolor": "none",
    "figure.edgecolor": "none",
    "figure.facecolor": "none",
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
    "grid.color": INK,
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
    """What it shows in words, for readers who cannot see it."""
    figure: Figure
    data: tuple[str, ...] = ()
    """The stems of the CSV files under `data/` that it draws."""

    @cached_property
    def svg(self) -> Markup:
        """Its drawing."""
        return Markup(svg(self.figure, self.name, self.alt))  # noqa: S704  `svg` escapes


def read_out(rows: pd.DataFrame, keys: Sequence[str], say: Callable[[pd.DataFrame], str]) -> str:
    """Read out what a figure shows, group by group: the values of the keys, then what `say` makes of the rows."""
    groups = rows.groupby([*keys], sort=False)
    return "; ".join(f"{', '.join(map(str, names))}: {say(group)}" for names, group in groups) + "."


def svg(figure: Figure, name: str, alt: str) -> str:
    """Render a figure as standalone SVG whose ink follows the reader's light or dark mode. Same figure, same text.

    A pointer shows what each mark is. The words for the whole figure are its description, which no pointer shows.
    """
    backend: Any = FigureCanvasSVG(figure)
    buffer, dpi = io.StringIO(), figure.dpi
    with styled():
        backend.print_svg(buffer, metadata=METADATA["svg"])  # savefig would lay out and draw twice
    figure.dpi = dpi  # which that has changed
    figure.set_layout_engine("none")  # which would move what is drawn again by a hair
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", text)  # figures that share a page share no id
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONTS, _shortened(text)).replace(INK, "currentColor")
    # `svg:root` is the figure where it stands alone; inside a page it takes the page's colour.
    style = f"svg:root{{color:{INK_LIGHT}}}@media(prefers-color-scheme:dark){{svg:root{{color:{INK_DARK}}}}}"
    start, rest = text.split(">", 1)
    # What has no colour of its own is ink: matplotlib leaves out the fill of what is black.
    start += f' role="img" aria-labelledby="{name}-desc" fill="currentColor" stroke-linejoin="round"'
    start += f' font-family="{FONTS}">'
    body, end = rest.rsplit("</svg>", 1)
    head = f'{start}\n<desc id="{name}-desc">{escape(wording.minus(alt))}</desc>\n<style>{style}{marks.STYLE}</style>'
    return f"{head}{body}{marks.overlay(figure)}</svg>{end}"


def _shortened(text: str) -> str:
    """Leave out of an SVG what nobody can see: indents, names of groups, thousandths, the font of every label."""

    def tag(found: re.Match[str]) -> str:
        short = re.sub(r"font-family: [^;\"]*;? ?", "", found[0])  # the figure has it
        short = re.sub(r'(?<=<g) id="[^"]*"| transform="rotate\(-0 [^"]*"', "", short)
        short = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), short)
        return re.sub(r"\s*\n(?:([A-Z]) )?", r"\1", short)  # between the steps of a path

    text = re.sub(r"<[^>]*>", tag, re.sub(r"\n\s*", "\n", text))
    return re.sub(r"<g/>\n", "", text)


def for_paper(picture: Picture, form: str) -> bytes:
    """Render a figure in black on white: letters are outlines in SVG, and embedded in PDF. Same figure, same bytes."""
    _ = picture.svg  # where that has everything, this has it
    _escape(picture.figure)
    buffer = io.BytesIO()
    with styled(pdf__fonttype=42, svg__fonttype="path"):
        picture.figure.savefig(buffer, format=form, dpi=DPI, metadata=METADATA[form], facecolor="white")
    return buffer.getvalue()


def _escape(figure: Figure) -> None:
    """Escape what fonts cannot show, such as marks of direction and of byte order: of some matplotlib writes no PDF."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        labels = [label.get_text() for label in axis.get_ticklabels()]
        if any(escaped(label, kept="\n") != label for label in labels):
            axis.set_ticks(axis.get_ticklocs(), [escaped(label) for label in labels])
    for text in figure.findobj(Text):
        text.set_text(escaped(text.get_text(), kept="\n"))


@contextmanager
def styled(**changes: object) -> Iterator[None]:
    """Draw in the project's style while this is entered; `axes__grid=False` changes its key `axes.grid`."""
    style: Any = {key.replace("__", "."): value for key, value in changes.items()}
    with mpl.rc_context({**STYLE, **style}), warnings.catch_warnings():
        # Of letters that matplotlib's font lacks; the reader's browser has them.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        yield


def canvas(height: float) -> Canvas:
    """Make an empty figure as wide as a page's column, `height` inches high."""
    return Canvas(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(h_pad=0.06))


def rows(names: Sequence[str], xlabel: str, height: float) -> tuple[Canvas, Axes]:
    """Lay out a row per name, from the top; the figure is `height` inches high."""
    figure = canvas(height)
    ax = figure.subplots()
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(xlabel)
    return figure, ax


def panels(
    titles: pd.Series, columns: int | None = None, height: float | None = None, *, most: int | None = None
) -> tuple[Canvas, Panels]:
    """Lay out a panel per title, with common y, so that they can be compared. A lone panel needs no title.

    Args:
        titles: one per panel; the same one again is the same panel.
        columns: panels side by side, of which there are never more than `most`; by default as many.
        height: of a panel, in inches; by default what suits the number of columns.
        most: by default what leaves titles legible; more than that only with a height.
    """
    names = list(dict.fromkeys(titles))
    most = most or COLUMNS + (len(names) > MANY)
    rows = -(-len(names) // min(columns or most, most))
    columns = -(-len(names) // rows)  # that no row is nearly empty
    height = height or HEIGHTS[columns - 1]
    figure = canvas(height * rows + 0.3)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for ax in axes[len(names) :]:
        ax.remove()
    width = TITLE_OF_THREE if columns == COLUMNS else TITLE // columns
    for name, ax in zip(names, axes, strict=False):
        ax.set_title(wrapped(name, width) if len(names) > 1 else "")
    return figure, dict(zip(names, axes, strict=False))


def wrapped(text: str, width: int) -> str:
    """Break text into lines: between words; in a word longer than a line, such as a path, after its signs, if any."""
    lines = [""]
    for word in re.findall(r"\S+\s*", text):
        parts = [word] if len(word.rstrip()) <= width else re.findall(r"[^.:_/-]*[.:_/-]+|[^.:_/-]+", word)
        for part in parts:
            while len(part.rstrip()) > (room := max(width - len(lines[-1]), 0)):
                if len(part.rstrip()) > width:  # no line holds it
                    lines[-1] += part[:room]
                    part = part[room:]  # noqa: PLW2901  what is left of it
                lines.append("")
            lines[-1] += part
    return "\n".join(line.strip() for line in lines if line.strip())


def by_panel(axes: Panels, table: pd.DataFrame, column: str) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """Go through the panels, each with the rows of a table that have its title in a column."""
    return ((ax, table[table[column] == title]) for title, ax in axes.items())


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


def label_ends(figure: Figure, axes: Panels, ends: Sequence[End]) -> None:
    """Write beside each line's end; labels that would overlap are moved apart, as little as that takes."""
    if layout := figure.get_layout_engine():
        layout.execute(figure)  # settles where on the page the ends lie
    columns = defaultdict(list)
    for end in sorted(ends, key=lambda end: end[2]):
        columns[end[:2]].append(end)
    for (panel, x), column in columns.items():
        at = np.array([axes[panel].transData.transform((x, y))[1] * 72 / figure.dpi for _, _, y, _, _ in column])
        room = 11.0 * np.arange(len(at))  # in points; least squares with such gaps is an isotonic regression
        floor = axes[panel].bbox.y0 * 72 / figure.dpi + ABOVE_AXIS  # the line of the axis would strike a label out
        offsets = np.maximum(isotonic_regression(at - room).x, floor) + room - at
        for (_, _, y, text, colour), offset in zip(column, offsets, strict=True):
            style: dict[str, Any] = {"va": "center", "fontsize": 9, "color": colour, "annotation_clip": False}
            axes[panel].annotate(text, (x, y), (10, offset), textcoords="offset points", **style)


def legend(figure: Figure, axes: Panels, note: str = "") -> None:
    """Write one legend over all panels, at the left, in as many lines as it takes, and a note at the right."""
    handles, names = next(iter(axes.values())).get_legend_handles_labels()
    labels = [wrapped(name, TITLE) for name in names]
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
