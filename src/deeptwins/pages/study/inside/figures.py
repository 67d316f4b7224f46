"""From findings inside the nets to figures, each with what it shows in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from deeptwins.findings.inside import EVALUATIONS, Inside
from deeptwins.pages import colours, drawing, marks, scales
from deeptwins.pages.drawing import MOST_LINES, Panels, Picture
from deeptwins.pages.study.figures import in_words, net_words
from deeptwins.pages.study.inside.words import two_digits
from deeptwins.system.importing import is_own

RESPONSES = {"in order": ("layer", "response_std"), "ranked": ("rank", "response_std")}
# The later the evaluation, the longer the dashes.
DASHES: tuple[Any, ...] = ((0, (1, 1)), (0, (2.5, 1.2)), (0, (5, 1.2)), (0, (9, 1.2)), "-")
MOST_HUES = 5  # of twins, that hues alone tell apart
LENGTH_NOTE = "the deeper a net, the longer and thicker its line"
# From this ratio on, of the largest value to the least, a linear axis would lay the least on the floor.
SPREAD = 30.0
NORMALIZED = "after its batch normalization"
UNNORMALIZED = "after its normalization or, in nets without, its bias"
STATISTICS = {"mean": ("layer", "running_mean_error"), "standard deviation": ("layer", "running_std_error")}


def layer_responses(inside: Inside) -> Picture:
    """Draw the response of each 3x3 layer, in order and ranked: two panels per family, a line per net."""
    table = _sides(inside.responses, RESPONSES)
    labels = ("layer", "standard deviation")
    figure = _nets(inside, table, _value_axis, labels, columns=len(RESPONSES), height=2.4)
    caption = (
        f"Standard deviation, over the test set, of what leaves {_responding(inside)}; median over seeds."
        " Layers are in order, and ranked."
    )
    medians = _medians_in_words(inside.responses, "response_std")
    alt = f"Standard deviation of each layer's response, in order and ranked; median over layers: {medians}"
    return Picture("layer-responses", caption, alt, figure, ("responses",))


def branches(inside: Inside) -> Picture:
    """Draw the share of each block's branch: a panel per family, a line per net."""
    table = inside.branches
    table = table.assign(panel=table["group"], place=table["block"], value=table["branch_share"])
    figure = _nets(inside, table, _value_axis, ("block", "||F(x)|| / ||x||"))
    caption = (
        "Norm of what each block adds to its shortcut, as a share of the input's norm, over the test set; median over"
        " seeds. A plain block has no shortcut: there it is the norm of what would be added."
    )
    medians = _medians_in_words(inside.branches, "branch_share")
    alt = f"Norm of each block's branch as a share of the input's; median over blocks: {medians}"
    return Picture("branches", caption, alt, figure, ("branches",))


def gradients(inside: Inside) -> Picture:
    """Draw the gradient norm of each layer of the deepest nets: a panel per family and twin, a line per evaluation."""
    table = inside.gradients
    table = table.assign(panel=drawing.headings(table, "group", "depth", "twin"))
    names = set(table["evaluation"])
    shown = [name for name in EVALUATIONS if name in names]
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"], columns=table["twin"].nunique())
        dashes = dict(zip(shown, DASHES[-len(shown) :], strict=True))
        for ax, panel in drawing.by_panel(axes, table, "panel"):
            for name, shade in colours.ramp(shown).items():
                line = panel[panel["evaluation"] == name]
                style: dict[str, Any] = {"color": shade, "linestyle": dashes[name], "linewidth": 1.6}
                ax.plot(line["layer"], line["norm"], label=name, **style)
                _tell_gradients(ax, line, table)
        _number(axes, "layer")
        scales.share_axis(axes, table["norm"].to_numpy(float))
        figure.supylabel("L2 norm of the gradient")
        drawing.legend(figure, axes)
    caption = (
        "L2 norm of the gradient of each layer's weights in the last step before an evaluation, median over seeds."
    )
    if (table["norm"] == 0).any():
        caption += " At the bottom, 0: there it is exactly 0 in most seeds."
    if inside.gradient_flow["grown"].any():
        caption += " Nets that were grown: evaluations after the growth."
    return Picture("gradients", caption, _gradients_in_words(inside.gradients), figure, ("gradients",))


def running_statistics(inside: Inside) -> Picture:
    """Draw how far running statistics lie from precise ones by layer, in the deepest nets: two panels per family."""
    statistics = inside.running_statistics
    deepest = statistics[statistics["depth"] == statistics.groupby(["group", "twin"])["depth"].transform("max")]
    table = _sides(deepest, STATISTICS)
    labels = ("layer", "error of running statistics")
    figure = _nets(inside, table, scales.share_axis, labels, columns=len(STATISTICS), height=2.4)
    caption = (
        "Running statistics of batch normalization against precise ones, measured with the final weights; deepest nets,"
        " root mean square over channels, median over seeds. The error of a mean is in precise standard deviations;"
        " that of a standard deviation is the logarithm of its ratio to the precise one."
    )
    medians = _medians_in_words(deepest, "running_mean_error")
    alt = f"Error of running means and standard deviations by layer; of means, median over layers: {medians}"
    return Picture("running-statistics", caption, alt, figure, ("running_statistics",))


def _responding(inside: Inside) -> str:
    """Say what has a response."""
    own = inside.responses["family"].map(is_own)
    ours = f"each 3x3 layer, {NORMALIZED if _normalized(inside) else UNNORMALIZED}, before ReLU"
    theirs = "each convolution and linear map, after the norm that takes its output, if one does"
    if own.all():
        return theirs
    return f"{ours}, and of nets of one's own {theirs}" if own.any() else ours


def _normalized(inside: Inside) -> bool:
    """Tell whether all nets are known to have batch normalization: one without it has no running statistics."""
    key = ["group", "depth", "twin"]
    nets = {*inside.responses[key].itertuples(index=False, name=None)}
    normalized = {*inside.running_statistics[key].itertuples(index=False, name=None)}
    return nets <= normalized


def _medians_in_words(table: pd.DataFrame, value: str) -> str:
    """Read out the median of each net over its layers or blocks."""
    medians = table.groupby(["group", "twin", "depth"], sort=False)[value].median().reset_index()
    return in_words(medians, value, two_digits)


def _gradients_in_words(gradients: pd.DataFrame) -> str:
    """Read out the gradients of the first and the last layer of each net, at its last evaluation."""
    lines = []
    for (group, twin, depth), cell in gradients.groupby(["group", "twin", "depth"], sort=False):
        norms = cell[cell["iteration"] == cell["iteration"].max()].sort_values("layer")["norm"]
        first, last = two_digits(norms.iloc[0]), two_digits(norms.iloc[-1])
        lines.append(f"{group}, {twin}, depth {depth}: {first} in its first layer, {last} in its last")
    text = "L2 norm of the gradient of each layer at some evaluations, on a log scale; at the last evaluation: "
    return f"{text}{'; '.join(lines)}."


def _sides(table: pd.DataFrame, sides: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Lay out what is drawn side by side in each family.

    Args:
        table: one row per layer.
        sides: by the name of the side, the columns that are drawn to the right and upwards.
    """
    groups = [group for _, group in table.groupby("group", sort=False)]
    parts = [
        group.assign(side=side, place=group[place], value=group[value])
        for group in groups
        for side, (place, value) in sides.items()
    ]
    both = pd.concat(parts)
    return both.assign(panel=drawing.headings(both, "group", "side"))


def _nets(
    inside: Inside,
    table: pd.DataFrame,
    scale: Callable[[Panels, NDArray[np.float64]], None],
    labels: tuple[str, str],
    **layout: Any,  # noqa: ANN401  that of `drawing.panels`
) -> Figure:
    """Draw a line per net, in its twin's colour, the deeper the thicker, with a dot at its end if twins have several.

    Lines of more twins than hues tell apart have their twins' markers. Where a panel would have many, each twin has its
    own panels, in which shades are depths.

    Args:
        inside: the twins, each of which looks the same in all figures.
        table: what is drawn: in which `panel`, at which `place` to the right, which `value` above.
        scale: sets the axis of values.
        labels: what is counted to the right, and what the value is.
        layout: of the panels.
    """
    drawn = {*table["twin"]}
    twins = {twin: style for twin, style in colours.styles(inside.twins).items() if twin in drawn}
    markers = colours.markers(inside.twins)
    depths = table.groupby("twin")["depth"].agg(lambda depths: "/".join(map(str, dict.fromkeys(depths))))
    alone, apart = drawing.one_depth(table), depths.nunique() > 1
    if table.groupby("panel")[["twin", "depth"]].apply(lambda nets: len(nets.drop_duplicates())).max() > MOST_LINES:
        named = table["twin"] + (", depth " + table["twin"].map(depths) if alone and apart else "")
        titles = drawing.headings(table.assign(twin=named), "panel", "twin")
        return _by_twin(inside, table.assign(panel=titles), scale, labels)
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"], **layout)
        scale(axes, table["value"].to_numpy(float))
        for ax, panel in drawing.by_panel(axes, table.sort_values("place", kind="stable"), "panel"):
            for depth in sorted(panel["depth"].unique()):
                for place, (twin, style) in enumerate(twins.items()):
                    net = panel[(panel["depth"] == depth) & (panel["twin"] == twin)]
                    width = 0.8 + 1.1 * (depth / table["depth"].max()) ** 2
                    end: dict[str, Any] = {} if alone else {"marker": "o", "markersize": 3, "markevery": [-1]}
                    if len(twins) > MOST_HUES:
                        every = max(len(net) // 3, 1)
                        places = (every * place // len(twins), every)  # where the markers of others are not
                        end = {"marker": markers[twin], "markersize": 4, "markevery": places}
                    name = f"{twin}, depth {depths[twin]}" if alone and apart else twin
                    label = name if depth == panel["depth"].max() else None
                    ax.plot(net["place"], net["value"], linewidth=width, label=label, **style, **end)
                    _tell_net(ax, net, table)
        first = next(iter(axes.values()))
        if first.get_yscale() == "linear":
            first.set_ylim(0, None)
        drawing.legend(figure, axes, "" if alone else LENGTH_NOTE)
        _number(axes, labels[0])
        figure.supylabel(labels[1])
    return figure


def _by_twin(
    inside: Inside,
    table: pd.DataFrame,
    scale: Callable[[Panels, NDArray[np.float64]], None],
    labels: tuple[str, str],
) -> Figure:
    """Draw panels of one twin each: a line per net in the shade of its depth or, of one depth, its twin's hue."""
    twins, depths = colours.of_twins(inside.twins), colours.ramp(table["depth"].sort_values())
    alone = drawing.one_depth(table)
    with drawing.styled():
        figure, axes = drawing.panels(table["panel"])
        scale(axes, table["value"].to_numpy(float))
        for ax, panel in drawing.by_panel(axes, table.sort_values("place", kind="stable"), "panel"):
            for depth, net in panel.groupby("depth"):
                colour = twins[net["twin"].iloc[0]] if alone else depths[depth]
                ax.plot(net["place"], net["value"], linewidth=1.2, color=colour)
                _tell_net(ax, net, table)
        first = next(iter(axes.values()))
        if first.get_yscale() == "linear":
            first.set_ylim(0, None)
        if not alone:
            scales.depth_bar(figure, axes, depths)
        _number(axes, labels[0])
        figure.supylabel(labels[1])
    return figure


def _tell_net(ax: Axes, net: pd.DataFrame, table: pd.DataFrame) -> None:
    """Say whose line it is, and between which values it runs."""
    if net.empty:
        return
    low, middle, high = (two_digits(value) for value in net["value"].quantile([0, 0.5, 1]))
    words = f"{net_words(net.iloc[0].to_dict(), table)}: {low} to {high}, median {middle}"
    marks.tell_line(ax, net["place"], net["value"], words)


def _tell_gradients(ax: Axes, line: pd.DataFrame, table: pd.DataFrame) -> None:
    """Say whose line it is, of which evaluation, and how it begins and ends."""
    if line.empty:
        return
    first, last = line.iloc[0], line.iloc[-1]
    when = f"{net_words(first.to_dict(), table)}, {first['evaluation']} (iteration {first['iteration']:,})"
    ends = f"{two_digits(first['norm'])} in layer {first['layer']}, {two_digits(last['norm'])} in layer {last['layer']}"
    marks.tell_line(ax, line["layer"], line["norm"], f"{when}: {ends}")


def _value_axis(axes: Panels, values: NDArray[np.float64]) -> None:
    """Scale by powers of ten where the values differ so much that the least could not be told from 0."""
    if values.max() > SPREAD * values.min():
        scales.share_axis(axes, values)


def _number(axes: Panels, what: str) -> None:
    """Count layers or blocks from the first."""
    for title, ax in axes.items():
        ax.set_xlabel(f"{what}, the largest first" if "ranked" in title else what)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    scales.name_x_once(axes)
