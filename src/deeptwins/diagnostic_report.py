"""From what was found inside the nets to the sections of a study's page that show it."""

from __future__ import annotations

from deeptwins import diagnostic_figures as figures
from deeptwins import diagnostic_prose as prose
from deeptwins.diagnostic_findings import Inside
from deeptwins.pages import Section, illustrate

RESPONSES = """
Outputs of each 3x3 layer, after batch normalization, before addition and ReLU: their standard deviation over the test
set, mean over seeds; in order of the layers, and ranked.
"""
GRADIENTS = """
L2 norm of the gradient of each layer's weights in the last step before an evaluation, geometric mean over seeds.
"""
BRANCHES = """
Norm of what each block adds to its shortcut, as a share of its input's, over the test set; mean over seeds. A plain
block has no shortcut: there it is the norm of what would be added.
"""
STATISTICS = """
Running statistics of batch normalization against precise ones, measured with the final weights; deepest nets, root mean
square over channels, mean over seeds. Means are off in precise standard deviations, standard deviations by the
logarithm of their ratio.
"""


def sections(inside: Inside) -> list[Section]:
    """Lay them out; what the records have nothing to say about is left out."""
    parts = []
    if len(inside.responses):
        figure = figures.layer_responses(inside.responses)
        picture = illustrate("layer-responses", _line(RESPONSES), prose.responses(inside.responses), figure)
        parts.append(Section("Layer responses", (picture,)))
    if len(inside.gradients):
        figure = figures.gradients(inside.gradients)
        picture = illustrate("gradients", _line(GRADIENTS), prose.gradients(inside.gradients), figure)
        flow = inside.gradient_flow
        parts.append(Section("Gradients", (picture,), (prose.flows(flow),), tuple(prose.flow(flow))))
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


def _line(text: str) -> str:
    return " ".join(text.split())
