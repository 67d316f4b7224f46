"""From what was found inside the nets to the sections of a study's page that show it."""

from __future__ import annotations

from deeptwins.findings.inside import Inside
from deeptwins.pages.page import Section, illustrate
from deeptwins.pages.study.inside import figures
from deeptwins.pages.study.inside import words as prose

NORMALIZED = "after its batch normalization"
UNNORMALIZED = "after its normalization or, in nets without, its bias"
RESPONSES = """
What leaves each 3x3 layer, {after}, before ReLU: its standard deviation over the test set, median over seeds; in
order of the layers, and ranked.
"""
GRADIENTS = """
L2 norm of the gradient of each layer's weights in the last step before an evaluation, median over seeds.
"""
ZEROS = """
At the bottom, 0: there it is exactly 0 in most seeds.
"""
GROWN = """
Of nets that were grown, evaluations since.
"""
BRANCHES = """
Norm of what each block adds to its shortcut, as a share of its input's, over the test set; median over seeds. A plain
block has no shortcut: there it is the norm of what would be added.
"""
STATISTICS = """
Running statistics of batch normalization against precise ones, measured with the final weights; deepest nets, root mean
square over channels, median over seeds. Means are off in precise standard deviations, standard deviations by the
logarithm of their ratio.
"""


def sections(inside: Inside) -> list[Section]:
    """Lay them out; what the records have nothing to say about is left out."""
    parts = []
    if len(inside.responses):
        figure = figures.layer_responses(inside.responses)
        caption = RESPONSES.format(after=NORMALIZED if _normalized(inside) else UNNORMALIZED)
        picture = illustrate("layer-responses", _line(caption), prose.responses(inside.responses), figure)
        parts.append(Section("Layer responses", (picture,)))
    if len(inside.gradients):
        figure = figures.gradients(inside.gradients)
        flow = inside.gradient_flow
        caption = GRADIENTS + (ZEROS if (inside.gradients["norm"] == 0).any() else "")
        caption += GROWN if flow["grown"].any() else ""
        picture = illustrate("gradients", _line(caption), prose.gradients(inside.gradients), figure)
        words = [*prose.flow(flow), prose.closed(flow)]
        parts.append(Section("Gradients", (picture,), (prose.flows(flow),), tuple(filter(None, words))))
    if len(inside.branches):
        figure = figures.branches(inside.branches)
        picture = illustrate("branches", _line(BRANCHES), prose.branches(inside.branches), figure)
        parts.append(Section("Residual branches", (picture,)))
    if len(inside.running_statistics):
        figure = figures.running_statistics(inside.running_statistics)
        alt = prose.running_statistics(inside.running_statistics)
        picture = illustrate("running-statistics", _line(STATISTICS), alt, figure)
        tables = (prose.precise(inside.precise),) if len(inside.precise) else ()
        parts.append(Section("Statistics of batch normalization", (picture,), tables))
    return parts


def _normalized(inside: Inside) -> bool:
    """Tell whether all nets are known to have batch normalization: where one has none, nor has it its statistics."""
    nets, normalized = (
        {*zip(table["group"], table["depth"], table["twin"], strict=True)}
        for table in (inside.responses, inside.running_statistics)
    )
    return nets <= normalized


def _line(text: str) -> str:
    return " ".join(text.split())
