"""Diagrams of nets: their stages and blocks, twin by twin, and what is inside a block. Drawn from records alone.

A new shortcut, block order or norm is drawn by its name, until the tables below say how to draw it better. A net of
one's own is drawn by what it consists of at the top.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle, PathPatch, Rectangle
from matplotlib.path import Path

from deeptwins.errors import line
from deeptwins.pages.colours import CHANCE, DASHED, INK, Shade, ramp
from deeptwins.pages.drawing import WIDTH, Picture, styled
from deeptwins.pages.marks import Canvas
from deeptwins.study.specs import Net

XY = tuple[float, float]  # a place or a size, in inches

# He et al. 2016, "Identity mappings in deep residual networks", figure 4: each layer but the last, the last, and what
# follows the addition.
ORDERS = {
    "original": ("conv norm ReLU", "conv norm", "ReLU"),
    "norm-after-addition": ("conv norm ReLU", "conv", "norm ReLU"),
    "relu-before-addition": ("conv norm ReLU", "conv norm ReLU", ""),
    "relu-pre-activation": ("ReLU conv norm", "ReLU conv norm", ""),
    "full-pre-activation": ("norm ReLU conv", "norm ReLU conv", ""),
}
SHORTCUTS = {
    "zero-pad": "x",
    "projection": "x",
    "projections": "BN(W x)",
    "scaled": "0.5 x",
    "frozen-gate": "0.5 x",
    "gate": "(1 - g(x)) x",
    "shortcut-gate": "(1 - g(x)) x",
    "dropout": "dropout(x)",
}
TIMES = "\N{MULTIPLICATION SIGN}"
BRANCHES = {"frozen-gate": f"{TIMES} 0.5", "gate": f"{TIMES} g(x)"}
LEARNED = dict.fromkeys(("fixup", "skipinit", "rezero"), f"{TIMES} \N{GREEK SMALL LETTER ALPHA}")
NORMS = {"batch": "BN", "none": "bias", "scalar": "bias"}
SIZES = {2: ("3x3", "3x3"), 3: ("1x1", "3x3", "1x1")}  # of the convolutions of a block, by their number
STEMS = {"cifar": "3x3", "imagenet": "7x7, /2\npool, /2"}

# The fields of a net that can be seen in its drawing.
FIELDS = ("family", "depth", "width", "stem", "shortcut", "block_order", "norm", "initialization", "grown_with")

# In inches: the height of a block, of an operation inside one, of a line of text, of a shortcut above what it skips.
BLOCK, OPERATION, LINE, ARC = 0.42, 0.25, 0.17, 0.14
GAP, SPACE = 0.13, 0.2  # between boxes, between drawings
PLUS = 0.09  # radius
STEM, POOL, LINEAR = 0.66, 0.62, 0.5  # their widths
CHARACTERS = 72  # of a title, in a line
CHILD, LETTERS, DRAWN = 0.42, 24, 24  # of what a net of one's own consists of: height, letters in a line, how many


@dataclass(frozen=True)
class Drawn:
    """A net to be drawn: its name, what it is, and its stages as a run's header describes them."""

    name: str
    net: Net
    stages: Sequence[dict[str, Any]]
    """Of each stage: `blocks`, `layers` (of a block), `output` [C, H, W]; of a net that is grown, blocks `added`."""
    children: Sequence[dict[str, Any]] = ()
    """What a net of one's own consists of, in order: `name`, `kind`, `output`."""

    @property
    def outline(self) -> Hashable:
        """What nets that look the same from outside have in common."""
        if self.net.is_own:
            return self.net.family, self.net.depth, repr(self.children)
        plain = tuple(kind.around is None for kind in self.kinds)
        return self.net.family, self.net.depth, self.net.stem, plain, repr(self.stages)

    @property
    def kinds(self) -> tuple[Drawn, ...]:
        """Its kinds of blocks, each as a net that has no other.

        There are two where the blocks that are added when it grows have another shortcut, else one. Of a net of one's
        own nothing is known about its blocks.
        """
        if self.net.is_own:
            return ()
        added = self.net.grown_with or self.net.shortcut
        if added == self.net.shortcut:
            return (self,)
        return self, replace(self, name=f"{self.name} (added)", net=self.net.model_copy(update={"shortcut": added}))

    @property
    def inside(self) -> tuple[str, ...]:
        """The operations of a block in order; `+` is the addition, if there is a shortcut."""
        net, layers = self.net, self.stages[0]["layers"]
        inner, last, after = ORDERS.get(net.block_order, ("conv", "conv", _short(net.block_order)))
        words = [*inner.split() * (layers - 1), *last.split()]
        if net.shortcut != "none":
            # What the branch is multiplied by, then the addition.
            words += filter(None, (BRANCHES.get(net.shortcut), LEARNED.get(net.initialization)))
            words.append("+")
        words += after.split()
        # Convolutions go by their size, where it is known, and the norm by its name.
        sizes, norm = iter(SIZES.get(layers, ())), NORMS.get(net.norm, _short(net.norm))
        return tuple(next(sizes, "conv") if word == "conv" else norm if word == "norm" else word for word in words)

    @property
    def around(self) -> str | None:
        """What is added, if there is a shortcut."""
        return None if self.net.shortcut == "none" else SHORTCUTS.get(self.net.shortcut, _short(self.net.shortcut))


def _short(name: str) -> str:
    """Name a part in a drawing: one's own, `package.module:attribute`, by its attribute."""
    return name.rpartition(":")[2]


def deepest(runs: pd.DataFrame) -> list[Drawn]:
    """Choose from the runs of a study what to draw: each twin's deepest net in each group, if records describe it.

    Args:
        runs: one row per run and twin, with the fields of its net, and its `stages` or `children`, or None.
    """
    depths = runs.groupby(["group", "twin"])["depth"].transform("max")
    known = runs["stages"].notna() | runs["children"].notna()
    described = runs[known & (runs["depth"] == depths)]
    rows = described.drop_duplicates(["group", "twin"]).to_dict("records")
    nets = [Net(**{key: row[key] for key in FIELDS if pd.notna(row[key])}) for row in rows]
    return [
        Drawn(row["twin"], net, row["stages"] or (), row["children"] or ()) for row, net in zip(rows, nets, strict=True)
    ]


def draw(nets: Sequence[Drawn]) -> Picture:
    """Draw nets below each other, then the inside of their blocks; those that look the same are drawn once."""
    caption = "The deepest nets"
    if not all(net.net.is_own for net in nets):
        caption += "; a box is a block, and below each stage stands the shape of its output"
    if any(net.net.is_own for net in nets):
        caption += "; a net of one's own is drawn by what it consists of, each part above its output"
    caption += "."
    if any(net.around for net in nets if not net.net.is_own):
        caption += " Dashed shortcuts change the shape."
    if any(stage.get("added") for net in nets for stage in net.stages):
        caption += " The last box of a stage stands for the blocks that were added when the net was grown."
    return Picture("nets", caption, _in_words(nets), _figure(nets), ("runs",))


def _figure(nets: Sequence[Drawn]) -> Canvas:
    """Lay out the drawings from the top, each below the names of its nets."""
    drawings: list[tuple[list[str], str, float, Callable[[Axes, float], None]]] = []
    for same in _alike(nets, lambda net: net.outline):
        what, height = f"{same[0].net.family}, depth {same[0].net.depth}", ARC + BLOCK + 2 * LINE
        drawing: Callable[[Axes, float], None] = partial(_outline, drawn=same[0])
        if same[0].net.is_own:
            rows = _rows(same[0].children)
            height, drawing = len(rows) * (CHILD + LINE + SPACE) - SPACE, partial(_children, rows=rows)
        drawings.append((_names(same), what, height, drawing))
    for same in _blocks(nets):
        height = OPERATION + (ARC + LINE if same[0].around else 0)
        drawings.append((_names(same), "inside a block", height, partial(_inside, drawn=same[0])))
    total = sum(len(names) * LINE + height + SPACE for names, _, height, _ in drawings)
    with styled():
        figure = Canvas(figsize=(WIDTH, total))
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, WIDTH), ylim=(-total, 0))
        ax.set_axis_off()
        top = 0.0
        for names, what, height, drawing in drawings:
            for i, name in enumerate(names):
                ax.text(0, top - i * LINE, name, va="top", fontsize=9.5, fontweight="bold")
            ax.text(WIDTH, top, what, va="top", ha="right", fontsize=9)
            top -= len(names) * LINE
            drawing(ax, top - 0.06)
            top -= height + SPACE
    return figure


def _in_words(nets: Sequence[Drawn]) -> str:
    """Say what the diagram shows."""
    texts = []
    for same in _alike(nets, lambda net: net.outline):
        net = same[0]
        if net.net.is_own:
            texts.append(f"{' '.join(_names(same))}: {net.net.family}, depth {net.net.depth}: {_parts(net.children)}.")
            continue
        shortcuts = ("without shortcuts" if kind.around is None else "with shortcuts" for kind in net.kinds)
        what = f"{net.net.family}, depth {net.net.depth}, blocks {', those added '.join(shortcuts)}"
        texts.append(f"{' '.join(_names(same))}: {what}: {', '.join(map(_stage, net.stages))}.")
    for same in _blocks(nets):
        added = "" if same[0].around is None else f", + adds {same[0].around}"
        texts.append(f"Inside a block of {' '.join(_names(same))}: {' - '.join(same[0].inside)}{added}.")
    return " ".join(texts)


def _parts(children: Sequence[dict[str, Any]]) -> str:
    """Say in words what a net of one's own consists of."""
    words = [f"{child['name']} ({child['kind']}) to {_shape(child['output'])}" for child in children[:DRAWN]]
    left = len(children) - DRAWN
    return ", ".join([*words, *([f"and {left} more"] if left > 0 else [])])


def _shape(output: Sequence[int]) -> str:
    return "x".join(map(str, output)) or "no tensor"


def _stage(stage: dict[str, Any]) -> str:
    """Say in words what a stage is."""
    added = f" (of which {stage['added']} added)" if stage.get("added") else ""
    return f"{stage['blocks']}{added} to {'x'.join(map(str, stage['output']))}"


def _blocks(nets: Iterable[Drawn]) -> list[list[Drawn]]:
    """Bring together the kinds of blocks that look the same inside."""
    return _alike((kind for net in nets for kind in net.kinds), lambda net: (net.inside, net.around))


def _alike(nets: Iterable[Drawn], key: Callable[[Drawn], Hashable]) -> list[list[Drawn]]:
    """Bring together the nets that have the same key."""
    groups: dict[Hashable, list[Drawn]] = {}
    for net in nets:
        groups.setdefault(key(net), []).append(net)
    return list(groups.values())


def _names(nets: Sequence[Drawn]) -> list[str]:
    """Name nets, in lines of a title."""
    return textwrap.wrap(", ".join(dict.fromkeys(net.name for net in nets)), CHARACTERS, break_on_hyphens=False)


def _outline(ax: Axes, top: float, drawn: Drawn) -> None:
    """Draw stem, stages and classifier from left to right, below a height."""
    y = top - ARC - BLOCK / 2
    counts = _boxes(drawn)
    boxes = sum(map(len, counts))
    room = WIDTH - STEM - POOL - LINEAR - GAP * (2 * boxes + len(counts) + 2) - 0.04
    width, shape = min(0.46, room / boxes), _stem_output(drawn)
    x = _box(ax, (0.02, y), (STEM, BLOCK), STEMS.get(drawn.net.stem, drawn.net.stem))
    for stage, blocks, shade in zip(drawn.stages, counts, ramp(range(len(counts))).values(), strict=True):
        start = x + GAP
        text = "\n".join(SIZES.get(stage["layers"], [f"{stage['layers']}"]))
        for j, count in enumerate(blocks):
            added = j == len(blocks) - 1 and bool(stage.get("added"))
            _line(ax, x, x + 2 * GAP, y)
            x = _box(ax, (x + 2 * GAP, y), (width, BLOCK), text, shade)
            if count > 1 or added:
                times = f"{'+' if added else TIMES} {count}"
                ax.text(x - width / 2, y - BLOCK / 2 - 0.03, times, ha="center", va="top", fontsize=8)
            if drawn.kinds[-1 if added else 0].around is not None:
                dashed = j == 0 and stage["output"] != shape
                _arc(ax, (x - width - 0.5 * GAP, y), (x + 0.5 * GAP, y), y + BLOCK / 2 + ARC / 2, dashed=dashed)
        _line(ax, x, x + GAP, y)
        x, shape, height = x + GAP, stage["output"], ARC + BLOCK + LINE
        ax.add_patch(
            Rectangle((start, top - height), x - start, height, color=INK, alpha=0.12 * shade[-1], linewidth=0)
        )
        output = "x".join(map(str, shape))
        ax.text((start + x) / 2, top - height - 0.03, output, ha="center", va="top", fontsize=8)
    _line(ax, x, x + GAP, y)
    x = _box(ax, (x + GAP, y), (POOL, BLOCK), "average\npool")
    _line(ax, x, x + GAP, y)
    _box(ax, (x + GAP, y), (LINEAR, BLOCK), "linear")


def _rows(children: Sequence[dict[str, Any]]) -> list[list[tuple[float, list[str]]]]:
    """Lay out what a net of one's own consists of in rows of boxes: their widths, and lines of text, the last below."""
    boxes = [
        [line(child["name"], LETTERS), line(child["kind"], LETTERS), _shape(child["output"])] for child in children
    ]
    if len(boxes) > DRAWN:
        boxes[DRAWN:] = [["...", f"{len(children) - DRAWN} more", ""]]
    rows: list[list[tuple[float, list[str]]]] = [[]]
    for texts in boxes:
        width = 0.16 + 0.068 * max(map(len, texts))
        if rows[-1] and sum(box + 2 * GAP for box, _ in rows[-1]) + width > WIDTH - 2 * GAP:
            rows.append([])
        rows[-1].append((width, texts))
    return rows


def _children(ax: Axes, top: float, rows: Sequence[Sequence[tuple[float, list[str]]]]) -> None:
    """Draw the rows of boxes below a height, each above what leaves it."""
    for i, row in enumerate(rows):
        x, y = 0.02, top - i * (CHILD + LINE + SPACE) - CHILD / 2
        for j, (width, texts) in enumerate(row):
            if i or j:
                _line(ax, x, x + 2 * GAP, y)
                x += 2 * GAP
            end = _box(ax, (x, y), (width, CHILD), "\n".join(texts[:2]))
            ax.text((x + end) / 2, y - CHILD / 2 - 0.03, texts[2], ha="center", va="top", fontsize=8)
            x = end
        if i < len(rows) - 1:
            _line(ax, x, x + GAP, y)


def _boxes(drawn: Drawn) -> list[list[int]]:
    """Count the blocks that each box of each stage stands for.

    A first block that changes the shape has a box of its own, and so have the blocks that are added.
    """
    counts, shape = [], _stem_output(drawn)
    for stage in drawn.stages:
        changes, added = int(stage["output"] != shape), stage.get("added", 0)
        counts.append([count for count in (changes, stage["blocks"] - changes - added, added) if count])
        shape = stage["output"]
    return counts


def _stem_output(drawn: Drawn) -> list[int]:
    """Return the shape that the first stage is given: its own, with the stem's channels."""
    return [drawn.net.width, *drawn.stages[0]["output"][1:]]


def _inside(ax: Axes, top: float, drawn: Drawn) -> None:
    """Draw the operations of a block from left to right, and the shortcut around those before the addition."""
    y = top - OPERATION / 2 - (ARC + LINE if drawn.around else 0)
    x = fork = 2 * GAP
    _line(ax, 0, x, y)
    for word in drawn.inside:
        _line(ax, x, x + GAP, y)
        x += GAP
        if word == "+":
            ax.add_patch(Circle((x + PLUS, y), PLUS, fill=False, edgecolor=INK, linewidth=0.9))
            ax.text(x + PLUS, y, "+", ha="center", va="center_baseline", fontsize=9)
            above = y + OPERATION / 2 + ARC
            _arc(ax, (fork, y), (x + PLUS, y + PLUS), above, dashed=False)
            ax.text((fork + x + PLUS) / 2, above + 0.03, drawn.around or "", ha="center", va="bottom", fontsize=8)
            x += 2 * PLUS
        else:
            x = _box(ax, (x, y), (max(0.42, 0.12 + 0.075 * len(word)), OPERATION), word, _shade(word))
    _line(ax, x, x + 2 * GAP, y)


def _shade(word: str) -> str | Shade:
    """Choose the colour of an operation: convolutions, which go by their size, and norms stand out."""
    if word[0].isdigit():
        return INK
    return ramp(("norm", "convolution"))["norm"] if word in NORMS.values() else CHANCE


def _box(ax: Axes, at: XY, size: XY, text: str, colour: str | Shade = CHANCE) -> float:
    """Draw a box; `at` is the middle of its left side. Returns where it ends."""
    (x, y), (width, height) = at, size
    ax.add_patch(Rectangle((x, y - height / 2), width, height, fill=False, edgecolor=colour, linewidth=1.3))
    ax.text(x + width / 2, y, text, ha="center", va="center", fontsize=8, linespacing=1.1)
    return x + width


def _line(ax: Axes, start: float, end: float, y: float) -> None:
    ax.plot([start, end], [y, y], color=INK, linewidth=0.9, solid_capstyle="butt")


def _arc(ax: Axes, start: XY, end: XY, above: float, *, dashed: bool) -> None:
    """Draw a shortcut: up from where it starts, across at a height, and down to where it ends."""
    left, right, r = start[0], end[0], 0.09
    points = [start, (left, above - r), (left, above), (left + r, above)]
    points += [(right - r, above), (right, above), (right, above - r), end]
    path = Path(points, [Path.MOVETO, Path.LINETO, *[Path.CURVE3] * 2, Path.LINETO, *[Path.CURVE3] * 2, Path.LINETO])
    style = DASHED if dashed else "solid"
    ax.add_patch(PathPatch(path, fill=False, edgecolor=INK, linewidth=1.1, linestyle=style))
